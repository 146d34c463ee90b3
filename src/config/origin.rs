//! Origin patterns, as strictly as an operator should write them: byte for byte what a browser sends, or a wildcard over it.
//!
//! A browser serializes an origin (HTML, "ASCII serialization of an origin") in one way only, so anything else could never match,
//! and is refused with the spelling that would.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::punycode;

/// What one entry of `allowed_origins` matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// `null`: what sandboxed frames and local files send.
    Null,
    /// A scheme, a host and a port.
    Tuple(TuplePattern),
}

/// `scheme://[*.]host[:port]`. Each part is in the one form that a browser sends, and the host is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuplePattern {
    /// Lower case, without `://`.
    pub scheme: String,
    /// The pattern began with `*.`: only subdomains of `host` match, at any depth.
    pub subdomains: bool,
    /// Lower case; an IPv6 address is in its brackets.
    pub host: String,
    /// Which ports match.
    pub port: PortPattern,
}

/// The port of an origin pattern. The default port of a scheme is [`PortPattern::Absent`], as browsers leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortPattern {
    /// No port is written.
    Absent,
    /// This one, from 1.
    Exact(u16),
    /// `:*`: any port, or none.
    Any,
}

/// Why a pattern could never match, or would match too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OriginFault {
    /// Nothing is written.
    Empty,
    /// White space or a control character.
    WhiteSpace,
    /// It is written as a regular expression.
    RegularExpression,
    /// `file:` pages send `null`.
    FileScheme,
    /// There is no `scheme://`.
    NoScheme,
    /// The scheme has a character that no scheme has.
    BadScheme,
    /// `user@` stands before the host.
    UserInfo,
    /// A `/` stands after the host.
    TrailingSlash,
    /// A path stands after the host.
    Path,
    /// A query stands after the host.
    Query,
    /// A fragment stands after the host.
    Fragment,
    /// A letter outside ASCII.
    NonAscii,
    /// An upper-case letter.
    UpperCase,
    /// The port that the scheme has anyway.
    DefaultPort,
    /// Port 0, over 65535, with leading zeros or no number.
    BadPort,
    /// The host is missing.
    NoHost,
    /// The host ends in a dot.
    TrailingDot,
    /// Two dots follow each other, or one leads.
    EmptyLabel,
    /// An IPv4 address that is not four decimal numbers.
    Ipv4Form,
    /// An IPv6 address that is not in its shortest form, or not in brackets.
    Ipv6Form,
    /// `*` is part of a label, or not the leftmost one.
    MisplacedWildcard,
    /// `*.` before a single label would match a whole top-level domain.
    BroadWildcard,
    /// A character that no host name has.
    BadHost,
    /// A scheme over 200, a label over 63 or a host over 253 characters.
    TooLong,
}

impl OriginFault {
    /// The reason in a plain clause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "an origin is not empty",
            Self::WhiteSpace => "an origin has no white space or control characters",
            Self::RegularExpression => "origins are compared byte for byte; there are no regular expressions",
            Self::FileScheme => "pages from files send the origin null, never file:",
            Self::NoScheme => "an origin begins with its scheme",
            Self::BadScheme => "a scheme is a letter, then letters, digits, +, - and .",
            Self::UserInfo => "an origin has no user info",
            Self::TrailingSlash => "an origin has no trailing slash; browsers send it without",
            Self::Path => "an origin has no path",
            Self::Query => "an origin has no query",
            Self::Fragment => "an origin has no fragment",
            Self::NonAscii => "browsers send host names in ASCII (punycode)",
            Self::UpperCase => "browsers send origins in lower case, and the comparison is exact",
            Self::DefaultPort => "browsers leave out the default port of the scheme",
            Self::BadPort => "a port is a number from 1 to 65535 without leading zeros, or *",
            Self::NoHost => "an origin has a host",
            Self::TrailingDot => "a host with a trailing dot is another host than without",
            Self::EmptyLabel => "a host has no empty label between dots",
            Self::Ipv4Form => "browsers send IPv4 addresses as four decimal numbers",
            Self::Ipv6Form => "browsers send IPv6 addresses in brackets and in the shortest form",
            Self::MisplacedWildcard => "* stands for the whole leftmost label or the whole port only",
            Self::BroadWildcard => "*. before fewer than two labels would let in a whole top-level domain",
            Self::BadHost => "a host is letters, digits, -, _ and dots",
            Self::TooLong => "a label has at most 63 characters, a host 253 and a scheme 200",
        }
    }
}

/// A refused pattern: why, and the pattern that was probably meant, where one can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    /// What is wrong.
    pub fault: OriginFault,
    /// The pattern to write instead.
    pub suggestion: Option<String>,
}

impl From<OriginFault> for OriginError {
    fn from(fault: OriginFault) -> Self {
        OriginError {
            fault,
            suggestion: None,
        }
    }
}

impl OriginError {
    /// A mend of the host keeps the port that was written.
    fn with_port(mut self, port: PortPattern) -> Self {
        if let Some(suggestion) = &mut self.suggestion {
            suggestion.push_str(&port.to_string());
        }
        self
    }
}

impl OriginFault {
    /// With a pattern that may be meant: whether it is one itself is for [`OriginPattern::parse`] to see.
    fn suggest(self, pattern: impl Into<String>) -> OriginError {
        OriginError {
            fault: self,
            suggestion: Some(pattern.into()),
        }
    }
}

impl OriginPattern {
    /// Reads one pattern. A mend that is itself refused would send people in circles, and is left out.
    pub fn parse(text: &str) -> Result<OriginPattern, OriginError> {
        Self::read_text(text).map_err(|mut error| {
            error.suggestion = error.suggestion.filter(|mend| Self::read_text(mend).is_ok());
            error
        })
    }

    fn read_text(text: &str) -> Result<OriginPattern, OriginError> {
        match text {
            "" => return Err(OriginFault::Empty.into()),
            "*" => return Ok(OriginPattern::Any),
            "null" => return Ok(OriginPattern::Null),
            _ => {}
        }
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
        if !is_plain && text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let joined: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
            return Err(OriginFault::WhiteSpace.suggest(joined));
        }
        if is_regular_expression(text) {
            return Err(OriginFault::RegularExpression.suggest(from_regular_expression(text)));
        }
        if text.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("file:")) {
            return Err(OriginFault::FileScheme.suggest("null"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(OriginFault::NoScheme.suggest(format!("https://{text}")));
        };
        let authority = without_tail(scheme, rest)?;
        if !text.is_ascii() {
            // There is no ASCII form of a scheme.
            let host = punycode::host_to_ascii(authority).filter(|_| scheme.is_ascii());
            return Err(match host {
                Some(host) => OriginFault::NonAscii.suggest(format!("{}://{host}", scheme.to_ascii_lowercase())),
                None => OriginFault::NonAscii.into(),
            });
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(OriginFault::UpperCase.suggest(text.to_ascii_lowercase()));
        }
        check_scheme(scheme)?;
        let (host, port) = split_port(scheme, authority)?;
        let port = port_pattern(scheme, host, port)?;
        let (subdomains, host) = host_pattern(scheme, host).map_err(|error| error.with_port(port))?;
        Ok(OriginPattern::Tuple(TuplePattern {
            scheme: scheme.to_owned(),
            subdomains,
            host: host.to_owned(),
            port,
        }))
    }
}

/// By what only regular expressions have, in a place where no origin has anything like it.
fn is_regular_expression(text: &str) -> bool {
    const PARTS: [&str; 12] = [
        "\\.", "\\/", "\\d", "\\w", "://.*", ".+", "[^", "[a-z", "[0-9", "(", "|", "?://",
    ];
    text.starts_with('^') || text.ends_with('$') || PARTS.iter().any(|part| text.contains(part))
}

/// The same as a pattern, where it is a simple one.
fn from_regular_expression(text: &str) -> String {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').unwrap_or(text);
    let subdomains = [".*", ".+", "[^.]+", "[^/]+", "[a-z0-9-]+", "[a-z]+"];
    let text = text
        .replace("\\/", "/")
        .replace("https?://", "https://")
        .replace("\\.", ".");
    subdomains
        .iter()
        .fold(text, |text, label| text.replace(&format!("://{label}."), "://*."))
}

/// Refuses whatever follows or precedes host and port.
fn without_tail<'t>(scheme: &str, rest: &'t str) -> Result<&'t str, OriginError> {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(OriginFault::UserInfo.suggest(format!("{scheme}://{host}")));
    }
    let fault = match tail.bytes().next() {
        None => return Ok(authority),
        Some(b'?') => OriginFault::Query,
        Some(b'#') => OriginFault::Fragment,
        Some(_) if tail == "/" => OriginFault::TrailingSlash,
        Some(_) => OriginFault::Path,
    };
    Err(fault.suggest(format!("{scheme}://{authority}")))
}

/// Longer than any in use. With the longest host and port it is an origin that is still read when a client sends it.
const LONGEST_SCHEME: usize = 200;

fn check_scheme(scheme: &str) -> Result<(), OriginError> {
    let mut bytes = scheme.bytes();
    let leads = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if !leads || !rest {
        return Err(OriginFault::BadScheme.into());
    }
    if scheme.len() > LONGEST_SCHEME {
        return Err(OriginFault::TooLong.into());
    }
    Ok(())
}

/// Host and port text; an IPv6 address keeps its brackets.
fn split_port<'t>(scheme: &str, authority: &'t str) -> Result<(&'t str, Option<&'t str>), OriginError> {
    if authority.starts_with('[') {
        let Some((inner, after)) = authority.split_once(']') else {
            return Err(OriginFault::Ipv6Form.into());
        };
        let host = authority.get(..inner.len() + 1).unwrap_or(authority);
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err(OriginFault::Ipv6Form.into()),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(OriginFault::Ipv6Form.suggest(format!("{scheme}://[{authority}]")));
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn port_pattern(scheme: &str, host: &str, port: Option<&str>) -> Result<PortPattern, OriginError> {
    let Some(digits) = port else {
        return Ok(PortPattern::Absent);
    };
    if digits == "*" {
        return Ok(PortPattern::Any);
    }
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse::<u16>().ok())
        .flatten();
    match number {
        None | Some(0) if digits.is_empty() => Err(OriginFault::BadPort.suggest(format!("{scheme}://{host}"))),
        None | Some(0) => Err(OriginFault::BadPort.into()),
        Some(number) if digits.starts_with('0') => {
            Err(OriginFault::BadPort.suggest(format!("{scheme}://{host}:{number}")))
        }
        Some(number) if default_port(scheme) == Some(number) => {
            Err(OriginFault::DefaultPort.suggest(format!("{scheme}://{host}")))
        }
        Some(number) => Ok(PortPattern::Exact(number)),
    }
}

/// The special schemes of the URL standard.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        _ => None,
    }
}

/// Whether it is a wildcard, and the host below it.
fn host_pattern<'t>(scheme: &str, host: &'t str) -> Result<(bool, &'t str), OriginError> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| OriginFault::Ipv6Form)?;
        let canonical = browser_ipv6(address);
        return if canonical == inner {
            Ok((false, host))
        } else {
            Err(OriginFault::Ipv6Form.suggest(format!("{scheme}://[{canonical}]")))
        };
    }
    if host.is_empty() {
        return Err(OriginFault::NoHost.into());
    }
    if host.ends_with('.') {
        let bare = host.trim_end_matches('.');
        return Err(OriginFault::TrailingDot.suggest(format!("{scheme}://{bare}")));
    }
    let (subdomains, base) = match host.strip_prefix("*.") {
        Some(base) => (true, base),
        None if host == "*" => return Err(OriginFault::BroadWildcard.into()),
        None => (false, host),
    };
    if base.contains('*') {
        return Err(OriginFault::MisplacedWildcard.into());
    }
    check_labels(base)?;
    if subdomains && !base.contains('.') {
        return Err(OriginFault::BroadWildcard.into());
    }
    let last = base.rsplit('.').next().unwrap_or(base);
    if is_number(last) && (subdomains || !is_browser_ipv4(base)) {
        return Err(OriginFault::Ipv4Form.into());
    }
    Ok((subdomains, base))
}

fn check_labels(host: &str) -> Result<(), OriginFault> {
    // By bytes: in a text this short, a search for a character costs more than looking at each.
    let mut labels = host.as_bytes().split(|b| *b == b'.');
    if labels.clone().any(<[u8]>::is_empty) {
        return Err(OriginFault::EmptyLabel);
    }
    if !host.bytes().all(|b| b == b'.' || is_label_byte(b)) {
        return Err(OriginFault::BadHost);
    }
    if host.len() > 253 || labels.any(|label| label.len() > 63) {
        return Err(OriginFault::TooLong);
    }
    Ok(())
}

/// What stands in a label of a host, in what operators write and in what clients send.
pub const fn is_label_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
}

/// A host that ends in a number is an IPv4 address to the URL standard, in whatever base it is written.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_browser_ipv4(host: &str) -> bool {
    host.parse::<Ipv4Addr>()
        .is_ok_and(|address| address.to_string() == host)
}

/// The URL standard's serialization: hexadecimal throughout, where Rust writes an IPv4-mapped address with dots.
fn browser_ipv6(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        _ => address.to_string(),
    }
}

/// As it was written.
impl std::fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OriginPattern::Any => f.write_str("*"),
            OriginPattern::Null => f.write_str("null"),
            OriginPattern::Tuple(tuple) => tuple.fmt(f),
        }
    }
}

impl std::fmt::Display for TuplePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wildcard = if self.subdomains { "*." } else { "" };
        write!(f, "{}://{wildcard}{}{}", self.scheme, self.host, self.port)
    }
}

/// With its colon, as it follows the host.
impl std::fmt::Display for PortPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortPattern::Absent => Ok(()),
            PortPattern::Exact(port) => write!(f, ":{port}"),
            PortPattern::Any => f.write_str(":*"),
        }
    }
}

impl TuplePattern {
    /// Whether only this machine can be meant: what `http:` is harmless for.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host == "[::1]"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_sends_is_a_pattern() {
        for text in [
            "https://yourapp.com",
            "https://*.yourapp.com",
            "https://*.yourapp.com:8443",
            "https://*.yourapp.com:*",
            "http://localhost",
            "http://localhost:3000",
            "http://localhost:*",
            "http://127.0.0.1:8080",
            "http://[::1]:3000",
            "http://[::ffff:102:304]",
            "https://xn--bcher-kva.example",
            "https://a_b.example",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "https://yourapp.com:80",
            "http://yourapp.com:65535",
            "*",
            "null",
        ] {
            let pattern = OriginPattern::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_meant() {
        use OriginFault::*;
        let https = Some("https://yourapp.com");
        for (text, fault, suggestion) in [
            ("", Empty, None),
            (" https://yourapp.com", WhiteSpace, https),
            ("https://your app.com", WhiteSpace, https),
            ("https://yourapp.com\n", WhiteSpace, https),
            ("https://yourapp.com\0", WhiteSpace, https),
            ("^https://yourapp\\.com$", RegularExpression, https),
            (
                "^https://.*\\.example\\.com$",
                RegularExpression,
                Some("https://*.example.com"),
            ),
            (
                "https?:\\/\\/[^.]+\\.example\\.com",
                RegularExpression,
                Some("https://*.example.com"),
            ),
            (
                "https://.*.example.com",
                RegularExpression,
                Some("https://*.example.com"),
            ),
            ("^https://.*example\\.com$", RegularExpression, None),
            ("https://(a|b).example.com", RegularExpression, None),
            ("https://app-[0-9]+.example.com", RegularExpression, None),
            ("https://yourapp.com$", RegularExpression, https),
            ("file://", FileScheme, Some("null")),
            ("file:///index.html", FileScheme, Some("null")),
            ("yourapp.com", NoScheme, https),
            ("//yourapp.com", NoScheme, None),
            ("localhost:3000", NoScheme, Some("https://localhost:3000")),
            ("Null", NoScheme, None),
            ("1https://yourapp.com", BadScheme, None),
            ("://yourapp.com", BadScheme, None),
            ("https://user@yourapp.com", UserInfo, https),
            ("https://user:pw@yourapp.com/", UserInfo, https),
            ("https://yourapp.com/", TrailingSlash, https),
            ("https://yourapp.com/app", Path, https),
            ("https://yourapp.com\\app", Path, https),
            ("https://yourapp.com?a", Query, https),
            ("https://yourapp.com#a", Fragment, https),
            (
                "https://bücher.example",
                NonAscii,
                Some("https://xn--bcher-kva.example"),
            ),
            (
                "https://Bücher.example:8443",
                NonAscii,
                Some("https://xn--bcher-kva.example:8443"),
            ),
            ("ü://yourapp.com", NonAscii, None),
            ("ü://bücher.example", NonAscii, None),
            ("HTTPS://yourapp.com", UpperCase, https),
            ("https://YourApp.com", UpperCase, https),
            ("https://yourapp.com:443", DefaultPort, https),
            ("http://yourapp.com:80", DefaultPort, Some("http://yourapp.com")),
            ("ws://yourapp.com:80", DefaultPort, Some("ws://yourapp.com")),
            ("wss://yourapp.com:443", DefaultPort, Some("wss://yourapp.com")),
            ("ftp://yourapp.com:21", DefaultPort, Some("ftp://yourapp.com")),
            ("https://yourapp.com:", BadPort, https),
            ("https://yourapp.com:0", BadPort, None),
            ("https://yourapp.com:65536", BadPort, None),
            ("https://yourapp.com:08443", BadPort, Some("https://yourapp.com:8443")),
            ("https://yourapp.com:84*", BadPort, None),
            ("https://yourapp.com:+1", BadPort, None),
            ("https://yourapp.com:1:2", BadPort, None),
            ("https://", NoHost, None),
            ("https://:8443", NoHost, None),
            ("https://yourapp.com.", TrailingDot, https),
            (
                "https://yourapp.com.:8443",
                TrailingDot,
                Some("https://yourapp.com:8443"),
            ),
            ("https://.yourapp.com", EmptyLabel, None),
            ("https://your..app.com", EmptyLabel, None),
            ("https://*..yourapp.com", EmptyLabel, None),
            ("http://010.0.0.1", Ipv4Form, None),
            ("http://127.1", Ipv4Form, None),
            ("http://0x7f.1", Ipv4Form, None),
            ("http://1.2.3.4.5", Ipv4Form, None),
            ("https://*.0.0.1", Ipv4Form, None),
            ("http://[::0001]", Ipv6Form, Some("http://[::1]")),
            ("http://[0:0:0:0:0:0:0:1]:3000", Ipv6Form, Some("http://[::1]:3000")),
            ("http://[::ffff:1.2.3.4]", Ipv6Form, Some("http://[::ffff:102:304]")),
            ("http://::1", Ipv6Form, Some("http://[::1]")),
            ("http://[::1", Ipv6Form, None),
            ("http://[::1]x", Ipv6Form, None),
            ("http://[::1%25eth0]", Ipv6Form, None),
            ("https://a*.yourapp.com", MisplacedWildcard, None),
            ("https://a.*.yourapp.com", MisplacedWildcard, None),
            ("https://*.*.yourapp.com", MisplacedWildcard, None),
            ("https://*", BroadWildcard, None),
            ("https://*.com", BroadWildcard, None),
            ("http://*.localhost", BroadWildcard, None),
            ("https://your$app.com", BadHost, None),
            ("https://your%61pp.com", BadHost, None),
            ("https://a.com,https://b.com", Path, None),
        ] {
            let error = OriginPattern::parse(text).expect_err(text);
            assert_eq!(
                (error.fault, error.suggestion.as_deref()),
                (fault, suggestion),
                "{text}"
            );
        }
        let dots = format!("https://yourapp.com{}", ".".repeat(1_000_000));
        let error = OriginPattern::parse(&dots).unwrap_err();
        assert_eq!((error.fault, error.suggestion.as_deref()), (TrailingDot, https));
    }

    #[test]
    fn schemes_have_an_end() {
        for (length, fits) in [(200, true), (201, false), (500, false), (70_000, false)] {
            let parsed = OriginPattern::parse(&format!("{}://yourapp.com", "a".repeat(length)));
            let expected = if fits { Ok(()) } else { Err(OriginFault::TooLong.into()) };
            assert_eq!(parsed.map(drop), expected, "{length}");
        }
    }

    #[test]
    fn labels_and_hosts_have_an_end() {
        for (lengths, fits) in [
            (&[63, 3][..], true),
            (&[64, 3], false),
            (&[63, 63, 63, 61], true),
            (&[63, 63, 63, 62], false),
            (&[63, 63, 63, 63], false),
        ] {
            let labels: Vec<String> = lengths.iter().map(|&length| "a".repeat(length)).collect();
            let parsed = OriginPattern::parse(&format!("https://{}", labels.join(".")));
            let expected = if fits { Ok(()) } else { Err(OriginFault::TooLong.into()) };
            assert_eq!(parsed.map(drop), expected, "{lengths:?}");
        }
    }
}
