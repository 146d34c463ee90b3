//! The parser of origin patterns. It accepts only what a client can send, or a wildcard for it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{OriginError, OriginErrorKind};
use super::pattern::{HostPattern, LabelPattern, MAX_ORIGIN, OriginPattern, PortPattern, TuplePattern, is_label_byte};
use super::{punycode, regex};

impl OriginPattern {
    /// Parses one entry of `allowed_origins`. A suggestion of the error is a pattern itself.
    pub fn parse(text: &str) -> Result<OriginPattern, OriginError> {
        Self::read_text(text).map_err(|mut error| {
            if regex::is_likely(text) {
                error = OriginErrorKind::RegularExpression.suggest(regex::as_wildcards(text));
            }
            error.suggestion = error.suggestion.filter(|pattern| Self::read_text(pattern).is_ok());
            error
        })
    }

    fn read_text(text: &str) -> Result<OriginPattern, OriginError> {
        match text {
            "" => return Err(OriginErrorKind::Empty.into()),
            "*" => return Ok(OriginPattern::Any),
            "null" => return Ok(OriginPattern::Null),
            _ => {}
        }
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic());
        if !is_plain && text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let joined: String = text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
            return Err(OriginErrorKind::WhiteSpace.suggest(joined));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            // Documents with these schemes have no origin of their own (URL standard, "origin").
            let is_opaque = ["data:", "blob:", "about:", "javascript:"]
                .iter()
                .any(|scheme| text.starts_with(scheme));
            return Err(OriginErrorKind::NoScheme.suggest(match text.strip_suffix(':') {
                _ if is_opaque => "null".to_owned(),
                Some(scheme) => format!("{scheme}://"),
                // Few local servers have a certificate.
                None if text.starts_with("localhost") || text.starts_with("127.") => format!("http://{text}"),
                None => format!("https://{text}"),
            }));
        };
        let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
        let (hosts, port) = match is_web {
            true => web(text, scheme, rest)?,
            false => other(text, scheme, rest)?,
        };
        Ok(OriginPattern::Tuple(TuplePattern {
            scheme: scheme.to_owned(),
            hosts,
            port,
        }))
    }
}

/// Parses host and port of `http` and `https`.
fn web(text: &str, scheme: &str, rest: &str) -> Result<(HostPattern, PortPattern), OriginError> {
    let authority = without_tail(scheme, rest)?;
    if !text.is_ascii() {
        let lower = scheme.to_ascii_lowercase();
        return Err(match punycode::host_to_ascii(authority) {
            Some(host) => OriginErrorKind::NonAscii.suggest(format!("{lower}://{host}")),
            None => OriginErrorKind::NonAscii.into(),
        });
    }
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(OriginErrorKind::UpperCase.suggest(text.to_ascii_lowercase()));
    }
    let (host, port) = split_port(scheme, authority)?;
    let port = port_pattern(scheme, host, port)?;
    if host == "*" {
        return Err(OriginErrorKind::AnyHost.into());
    }
    let hosts = host_pattern(scheme, host).map_err(|error| match error.kind {
        OriginErrorKind::ShortWildcard if host.starts_with("*.") => OriginErrorKind::BroadWildcard.into(),
        OriginErrorKind::ShortWildcard if host.contains('.') => OriginErrorKind::RegistrableWildcard.into(),
        _ => error.with_port(port),
    })?;
    Ok((hosts, port))
}

/// Parses host and port of any other scheme. They are taken as they are written, unless they have a wildcard.
fn other(text: &str, scheme: &str, rest: &str) -> Result<(HostPattern, PortPattern), OriginError> {
    check_scheme(scheme)?;
    if !text.is_ascii() || text.contains(',') {
        return Err(OriginErrorKind::NotSendable.into());
    }
    if text.len() > MAX_ORIGIN {
        return Err(OriginErrorKind::TooLong.into());
    }
    if !rest.contains('*') {
        let (host, port) = split_written_port(rest.as_bytes());
        return Ok((
            HostPattern::One(rest.get(..host.len()).unwrap_or(rest).to_owned()),
            port,
        ));
    }
    let authority = without_tail(scheme, rest)?;
    let (host, port) = split_port(scheme, authority)?;
    let port = port_pattern(scheme, host, port)?;
    if host != "*" {
        return Ok((host_pattern(scheme, host).map_err(|error| error.with_port(port))?, port));
    }
    match ["ws", "wss", "file"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name))
    {
        true => Err(OriginErrorKind::AnyHost.into()),
        false => Ok((HostPattern::Any, port)),
    }
}

/// Returns host and port. User info before them, and anything after them, is an error.
fn without_tail<'t>(scheme: &str, rest: &'t str) -> Result<&'t str, OriginError> {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return Err(OriginErrorKind::UserInfo.suggest(format!("{scheme}://{host}")));
    }
    let kind = match tail.bytes().next() {
        None => return Ok(authority),
        Some(b'?') => OriginErrorKind::Query,
        Some(b'#') => OriginErrorKind::Fragment,
        Some(_) if tail == "/" => OriginErrorKind::TrailingSlash,
        Some(_) => OriginErrorKind::Path,
    };
    Err(kind.suggest(format!("{scheme}://{authority}")))
}

/// In bytes; schemes in use are shorter. With the longest host and port it makes an origin of less than [`MAX_ORIGIN`] bytes.
const LONGEST_SCHEME: usize = 200;

fn check_scheme(scheme: &str) -> Result<(), OriginError> {
    let mut bytes = scheme.bytes();
    let leads = bytes.next().is_some_and(|b| b.is_ascii_alphabetic());
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !leads || !rest {
        return Err(OriginErrorKind::BadScheme.into());
    }
    if scheme.len() > LONGEST_SCHEME {
        return Err(OriginErrorKind::TooLong.into());
    }
    Ok(())
}

/// Splits host and port. An IPv6 address keeps its brackets.
fn split_port<'t>(scheme: &str, authority: &'t str) -> Result<(&'t str, Option<&'t str>), OriginError> {
    if authority.starts_with('[') {
        let Some((inner, after)) = authority.split_once(']') else {
            return Err(OriginErrorKind::Ipv6Form.into());
        };
        let host = authority.get(..inner.len() + 1).unwrap_or(authority);
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err(OriginErrorKind::Ipv6Form.into()),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(OriginErrorKind::Ipv6Form.suggest(format!("{scheme}://[{authority}]")));
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
        None | Some(0) if digits.is_empty() => Err(OriginErrorKind::BadPort.suggest(format!("{scheme}://{host}"))),
        None | Some(0) => Err(OriginErrorKind::BadPort.into()),
        Some(number) if digits.starts_with('0') => {
            Err(OriginErrorKind::BadPort.suggest(format!("{scheme}://{host}:{number}")))
        }
        Some(number) if default_port(scheme) == Some(number) => {
            Err(OriginErrorKind::DefaultPort.suggest(format!("{scheme}://{host}")))
        }
        Some(number) => Ok(PortPattern::Exact(number)),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// Splits host and port of an `Origin` or a pattern, if the port is written as browsers write it. Otherwise the whole text is the host.
/// So two origins have the same host and port only if they have the same bytes.
pub fn split_written_port(authority: &[u8]) -> (&[u8], PortPattern) {
    let digits = authority.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let port = || {
        let (before, digits) = authority.split_at_checked(authority.len() - digits)?;
        let host = before.strip_suffix(b":")?;
        let is_plain = (1..=5).contains(&digits.len()) && digits.first() != Some(&b'0');
        let text = std::str::from_utf8(digits).ok().filter(|_| is_plain)?;
        Some((host, PortPattern::Exact(text.parse().ok()?)))
    };
    port().unwrap_or((authority, PortPattern::Absent))
}

fn host_pattern(scheme: &str, host: &str) -> Result<HostPattern, OriginError> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| OriginErrorKind::Ipv6Form)?;
        let canonical = browser_ipv6(address);
        return if canonical == inner {
            Ok(HostPattern::One(host.to_owned()))
        } else {
            Err(OriginErrorKind::Ipv6Form.suggest(format!("{scheme}://[{canonical}]")))
        };
    }
    if host.is_empty() {
        return Err(OriginErrorKind::NoHost.into());
    }
    if host.ends_with('.') {
        let bare = host.trim_end_matches('.');
        return Err(OriginErrorKind::TrailingDot.suggest(format!("{scheme}://{bare}")));
    }
    let Some((before, behind)) = host.split_once('*') else {
        check_labels(host)?;
        if is_number(last_label(host)) && !is_browser_ipv4(host) {
            return Err(OriginErrorKind::Ipv4Form.into());
        }
        return Ok(HostPattern::One(host.to_owned()));
    };
    if before.contains('.') || behind.contains('*') {
        return Err(OriginErrorKind::MisplacedWildcard.into());
    }
    let (suffix, parent) = behind.split_once('.').ok_or(OriginErrorKind::ShortWildcard)?;
    check_labels(parent)?;
    if parent != "localhost" && !parent.contains('.') {
        return Err(OriginErrorKind::ShortWildcard.into());
    }
    if is_number(last_label(parent)) {
        return Err(OriginErrorKind::Ipv4Form.into());
    }
    if before.is_empty() && suffix.is_empty() {
        return Ok(HostPattern::Below(parent.to_owned()));
    }
    // The pattern is well-formed if the shortest host that it matches is.
    check_labels(&host.replacen('*', "0", 1))?;
    Ok(HostPattern::Label(LabelPattern(host.to_owned())))
}

fn last_label(host: &str) -> &str {
    host.rsplit('.').next().unwrap_or(host)
}

fn check_labels(host: &str) -> Result<(), OriginErrorKind> {
    // By bytes: in so short a text that is faster than a search for a character.
    let mut labels = host.as_bytes().split(|b| *b == b'.');
    if labels.clone().any(<[u8]>::is_empty) {
        return Err(OriginErrorKind::EmptyLabel);
    }
    if !host.bytes().all(|b| b == b'.' || is_label_byte(b)) {
        return Err(OriginErrorKind::BadHost);
    }
    if host.len() > 253 || labels.any(|label| label.len() > 63) {
        return Err(OriginErrorKind::TooLong);
    }
    Ok(())
}

/// Whether the URL standard takes a host that ends in this label for an IPv4 address ("ends in a number"). The base does not matter.
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

/// The address as the URL standard serializes it: all hexadecimal, while Rust writes an IPv4-mapped address with dots.
fn browser_ipv6(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::origin::has_label_wildcard;

    #[test]
    fn what_a_client_sends_is_a_pattern() {
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
            "http://*.localhost:3000",
            "http://*.localhost:*",
            "https://app-*-team.yourapp.com",
            "https://app-*.yourapp.com:8443",
            "https://*-team.a.yourapp.com:*",
            "https://a*b.yourapp.co.uk",
            "https://xn--*.yourapp.com",
            "https://app-*.localhost",
            "capacitor://localhost",
            "capacitor://localhost:*",
            "capacitor://*.yourapp.com",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "safari-web-extension://0D2A3B4C-AAAA-4BBB-8CCC-0123456789AB",
            "moz-extension://*",
            "app://*:*",
            "web+App://*:8443",
            "app://.",
            "app://-",
            "qrc://",
            "file://",
            "file:///index.html",
            "ionic://localhost:0",
            "ionic://localhost:08443",
            "ionic://localhost:65535",
            "ionic://localhost:65536",
            "ionic://127.1/",
            "odd://Me@$~(.+)",
            "ws://yourapp.com:80",
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
        use OriginErrorKind::*;
        let https = Some("https://yourapp.com");
        for (text, kind, suggestion) in [
            ("", Empty, None),
            (" https://yourapp.com", WhiteSpace, https),
            ("https://your app.com", WhiteSpace, https),
            ("https://yourapp.com\n", WhiteSpace, https),
            ("https://yourapp.com\0", WhiteSpace, https),
            ("file:", NoScheme, Some("file://")),
            ("qrc:", NoScheme, Some("qrc://")),
            ("data:", NoScheme, Some("null")),
            ("about:blank", NoScheme, Some("null")),
            ("yourapp.com", NoScheme, https),
            ("//yourapp.com", NoScheme, None),
            ("localhost:3000", NoScheme, Some("http://localhost:3000")),
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
            ("ü://yourapp.com", BadScheme, None),
            ("app://bücher.example", NotSendable, None),
            ("app://a,app://b", NotSendable, None),
            ("app://a b", WhiteSpace, Some("app://ab")),
            ("https,https://yourapp.com", BadScheme, None),
            ("HTTPS://yourapp.com", UpperCase, https),
            ("https://YourApp.com", UpperCase, https),
            ("https://yourapp.com:443", DefaultPort, https),
            ("http://yourapp.com:80", DefaultPort, Some("http://yourapp.com")),
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
            ("https://a.*.yourapp.com", MisplacedWildcard, None),
            ("https://a.b*.yourapp.com", MisplacedWildcard, None),
            ("https://*.*.yourapp.com", MisplacedWildcard, None),
            ("https://a*b*.yourapp.com", MisplacedWildcard, None),
            ("https://**.yourapp.com", MisplacedWildcard, None),
            ("https://*.com", BroadWildcard, None),
            ("https://*.com:8443", BroadWildcard, None),
            ("https://app-*.com", RegistrableWildcard, None),
            ("https://*-app.com:*", RegistrableWildcard, None),
            ("https://app-*", ShortWildcard, None),
            ("app://*.host", ShortWildcard, None),
            ("app://a-*", ShortWildcard, None),
            ("https://*", AnyHost, None),
            ("https://*:8443", AnyHost, None),
            ("http://*:*", AnyHost, None),
            ("ws://*", AnyHost, None),
            ("wss://*", AnyHost, None),
            ("file://*", AnyHost, None),
            ("FILE://*", AnyHost, None),
            ("file:///*", Path, Some("file://")),
            ("chrome-extension://*/*", Path, Some("chrome-extension://*")),
            ("moz-extension://*/", TrailingSlash, Some("moz-extension://*")),
            ("moz-extension://a.*", MisplacedWildcard, None),
            ("moz-extension://**", MisplacedWildcard, None),
            ("app://A*.yourapp.com", BadHost, None),
            ("https://app-*$.yourapp.com", BadHost, None),
            ("https://app-*_.your$app.com", BadHost, None),
            (
                "https://app-*.yourapp.com.",
                TrailingDot,
                Some("https://app-*.yourapp.com"),
            ),
            ("https://app-*..yourapp.com", EmptyLabel, None),
            ("https://app-*.0.0.1", Ipv4Form, None),
            (
                r"^https://.*\.yourapp\.com$",
                RegularExpression,
                Some("https://*.yourapp.com"),
            ),
            (r"https://(www|app)\.yourapp\.com", RegularExpression, None),
            ("https?://yourapp.com", RegularExpression, https),
            (r"http://localhost:\d+", RegularExpression, Some("http://localhost:*")),
            (r".*\.yourapp\.com", RegularExpression, None),
            (".*", RegularExpression, Some("*")),
            ("https://your$app.com", BadHost, None),
            ("https://your%61pp.com", BadHost, None),
            ("https://a.com,https://b.com", Path, None),
        ] {
            let error = OriginPattern::parse(text).expect_err(text);
            assert_eq!((error.kind, error.suggestion.as_deref()), (kind, suggestion), "{text}");
        }
        let dots = format!("https://yourapp.com{}", ".".repeat(1_000_000));
        let error = OriginPattern::parse(&dots).unwrap_err();
        assert_eq!((error.kind, error.suggestion.as_deref()), (TrailingDot, https));
    }

    #[test]
    fn schemes_have_an_end() {
        for (length, fits) in [(200, true), (201, false), (500, false), (70_000, false)] {
            let parsed = OriginPattern::parse(&format!("{}://yourapp.com", "a".repeat(length)));
            let expected = if fits {
                Ok(())
            } else {
                Err(OriginErrorKind::TooLong.into())
            };
            assert_eq!(parsed.map(drop), expected, "{length}");
        }
        for (length, fits) in [(505, true), (506, true), (507, false)] {
            let parsed = OriginPattern::parse(&format!("app://{}", "a".repeat(length)));
            let expected = if fits {
                Ok(())
            } else {
                Err(OriginErrorKind::TooLong.into())
            };
            assert_eq!(parsed.map(drop), expected, "{length}");
        }
    }

    #[test]
    fn a_label_pattern_has_parts() {
        for (text, parts) in [
            ("https://app-*-team.yourapp.com", Some(["app-", "-team", "yourapp.com"])),
            ("https://app-*.yourapp.com:*", Some(["app-", "", "yourapp.com"])),
            ("https://*-team.localhost", Some(["", "-team", "localhost"])),
            ("https://*.yourapp.com", None),
            ("http://localhost:*", None),
            ("moz-extension://*", None),
            ("moz-extension://*:1", None),
            ("*", None),
        ] {
            let pattern = OriginPattern::parse(text).unwrap();
            let found = match &pattern {
                OriginPattern::Tuple(TuplePattern {
                    hosts: HostPattern::Label(label),
                    ..
                }) => Some(label.parts()),
                _ => None,
            };
            assert_eq!(found, parts, "{text}");
            assert_eq!(has_label_wildcard(text), parts.is_some(), "{text}");
        }
    }

    #[test]
    fn a_port_is_split_off_as_it_is_written() {
        for (authority, host, port) in [
            ("a.test:8443", "a.test", PortPattern::Exact(8443)),
            ("a.test", "a.test", PortPattern::Absent),
            ("a.test:", "a.test:", PortPattern::Absent),
            ("a.test:0", "a.test:0", PortPattern::Absent),
            ("a.test:01", "a.test:01", PortPattern::Absent),
            ("a.test:65535", "a.test", PortPattern::Exact(65535)),
            ("a.test:65536", "a.test:65536", PortPattern::Absent),
            ("a.test:1:2", "a.test:1", PortPattern::Exact(2)),
            ("[::1]:1", "[::1]", PortPattern::Exact(1)),
            ("[::1]", "[::1]", PortPattern::Absent),
            ("123", "123", PortPattern::Absent),
            (":1", "", PortPattern::Exact(1)),
            ("", "", PortPattern::Absent),
        ] {
            let expected = (host.as_bytes(), port);
            assert_eq!(split_written_port(authority.as_bytes()), expected, "{authority}");
        }
    }

    #[test]
    fn labels_and_hosts_have_an_end() {
        for (lengths, fits) in [
            (&[63, 3, 3][..], true),
            (&[64, 3, 3], false),
            (&[63, 63, 63, 61], true),
            (&[63, 63, 63, 62], false),
            (&[63, 63, 63, 63], false),
        ] {
            let labels: Vec<String> = lengths.iter().map(|&length| "a".repeat(length)).collect();
            let parsed = OriginPattern::parse(&format!("https://{}", labels.join(".")));
            let expected = if fits {
                Ok(())
            } else {
                Err(OriginErrorKind::TooLong.into())
            };
            assert_eq!(parsed.map(drop), expected, "{lengths:?}");
            // `*` is at least one of the bytes.
            let starred = labels.join(".").replacen("a", "*", 1);
            let parsed = OriginPattern::parse(&format!("https://{starred}"));
            let expected = if fits {
                Ok(())
            } else {
                Err(OriginErrorKind::TooLong.into())
            };
            assert_eq!(parsed.map(drop), expected, "{starred}");
        }
    }
}
