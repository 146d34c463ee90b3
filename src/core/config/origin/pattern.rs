//! Origin patterns and their parts.

use std::fmt;
use std::net::Ipv4Addr;

/// The longest `Origin` of a request that can match, in bytes.
pub const MAX_ORIGIN: usize = 512;

/// One entry of `allowed_origins`: which origins it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: every origin.
    Any,
    /// `null`: what sandboxed frames and local files send.
    Null,
    /// A scheme, a host and a port.
    Tuple(TuplePattern),
}

/// `scheme://host[:port]`. If the scheme is `http` or `https`, or a part is a wildcard, each part has the form in which browsers send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuplePattern {
    /// The scheme, without `://`. `http` and `https` are in lower case.
    pub scheme: String,
    /// Which hosts match.
    pub hosts: HostPattern,
    /// Which ports match.
    pub port: PortPattern,
}

/// The hosts of an origin pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This host. An IPv6 address has its brackets. With a scheme other than `http` and `https` it is what the program sends after
    /// `://`, which may be empty or have a path.
    One(String),
    /// `*.` and this host: its subdomains at any depth, but not the host itself.
    Below(String),
    /// `*` in a part of the leftmost label.
    Label(LabelPattern),
    /// `*`: any host, of a scheme other than `http`, `https`, `ws`, `wss` and `file`.
    Any,
}

/// A host such as `app-*-team.example.com`. `*` matches one or more bytes of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelPattern(pub(super) String);

impl LabelPattern {
    /// A pattern with these parts, see [`LabelPattern::parts`].
    pub fn new(prefix: &str, suffix: &str, parent: &str) -> LabelPattern {
        LabelPattern(format!("{prefix}*{suffix}.{parent}"))
    }

    /// The prefix and the suffix of the label, and the host after its dot. Prefix or suffix may be empty, but not both.
    pub fn parts(&self) -> [&str; 3] {
        let (prefix, rest) = self.0.split_once('*').unwrap_or_default();
        let (suffix, parent) = rest.split_once('.').unwrap_or_default();
        [prefix, suffix, parent]
    }
}

/// The port of an origin pattern. Browsers leave out the default port of `http` and `https`, so it is [`PortPattern::Absent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortPattern {
    /// No port.
    Absent,
    /// This port, from 1.
    Exact(u16),
    /// `:*`: any port, or no port.
    Any,
}

/// Whether `text` has a [`HostPattern::Label`], if it is a pattern. Unlike the parser, it allocates nothing.
pub fn has_label_wildcard(text: &str) -> bool {
    let ends_label = |before: &str| before.bytes().next_back().is_some_and(is_label_byte);
    let begins_label = |behind: &str| behind.bytes().next().is_some_and(is_label_byte);
    text.split_once('*')
        .is_some_and(|(before, behind)| ends_label(before) || begins_label(behind))
}

/// Whether a label of a host can have this byte, in a pattern and in what a client sends.
pub const fn is_label_byte(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_')
}

/// As it was written.
impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OriginPattern::Any => f.write_str("*"),
            OriginPattern::Null => f.write_str("null"),
            OriginPattern::Tuple(tuple) => tuple.fmt(f),
        }
    }
}

impl fmt::Display for TuplePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.hosts, self.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::One(host) => f.write_str(host),
            HostPattern::Below(host) => write!(f, "*.{host}"),
            HostPattern::Label(LabelPattern(host)) => f.write_str(host),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

/// As it follows the host: with its colon.
impl fmt::Display for PortPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortPattern::Absent => Ok(()),
            PortPattern::Exact(port) => write!(f, ":{port}"),
            PortPattern::Any => f.write_str(":*"),
        }
    }
}

impl TuplePattern {
    /// Whether only the browser's own machine can have this origin. Nobody on the network can change its pages, even over `http:`.
    pub fn is_loopback(&self) -> bool {
        let host = match &self.hosts {
            HostPattern::One(host) | HostPattern::Below(host) => host,
            HostPattern::Label(label) => label.parts()[2],
            HostPattern::Any => return false,
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback())
    }

    /// Whether host and port have a `/`, a path, a query or a fragment after them, which no browser sends.
    pub fn has_tail(&self) -> bool {
        matches!(&self.hosts, HostPattern::One(host) if host.contains(['/', '?', '#']))
    }
}
