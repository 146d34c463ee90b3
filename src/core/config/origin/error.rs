//! Why an origin pattern is refused.

use std::borrow::Cow;

use super::pattern::PortPattern;
use crate::config::diagnostic::{DiagnosticKind, Message};

/// Why a pattern is refused: it could never match, or would match too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OriginErrorKind {
    /// The text is empty.
    Empty,
    /// The text has white space or a control character.
    WhiteSpace,
    /// The text does not begin with `scheme://`.
    NoScheme,
    /// The scheme has a character that the URL standard does not allow in one.
    BadScheme,
    /// `user@` before the host.
    UserInfo,
    /// A `/` after host and port.
    TrailingSlash,
    /// A path after host and port.
    Path,
    /// A query after host and port.
    Query,
    /// A fragment after host and port.
    Fragment,
    /// A character outside ASCII.
    NonAscii,
    /// An upper-case letter.
    UpperCase,
    /// The default port of the scheme.
    DefaultPort,
    /// The port is 0, over 65535, has leading zeros or is not a number.
    BadPort,
    /// The host is missing.
    NoHost,
    /// The host ends in a dot.
    TrailingDot,
    /// The host begins with a dot, or has two dots in a row.
    EmptyLabel,
    /// An IPv4 address that is not four decimal numbers.
    Ipv4Form,
    /// An IPv6 address that is not in its shortest form, or not in brackets.
    Ipv6Form,
    /// A second `*` in the host, or one outside the leftmost label and the port.
    MisplacedWildcard,
    /// `*.` before a single label, which would match a whole top-level domain.
    BroadWildcard,
    /// `*` in the label before the last one, which would match names that anybody can register.
    RegistrableWildcard,
    /// A label with `*` has too few labels after it.
    ShortWildcard,
    /// `*` is the whole host of `http`, `https`, `ws` or `wss`, whose hosts belong to anybody, or of `file`, which has no hosts.
    AnyHost,
    /// A regular expression.
    RegularExpression,
    /// A character that host names do not have.
    BadHost,
    /// A comma or a character outside ASCII, with a scheme other than `http` and `https`.
    NotSendable,
    /// A scheme over 200 bytes, a label over 63, a host over 253 or a whole origin over 512.
    TooLong,
}

impl OriginErrorKind {
    /// The reason, as a clause without a full stop.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "an origin must not be empty",
            Self::WhiteSpace => "an origin must not contain white space or control characters",
            Self::NoScheme => "an origin must begin with its scheme and ://",
            Self::BadScheme => "a scheme is a letter, then letters, digits, +, - and .",
            Self::UserInfo => "an origin must not contain user info",
            Self::TrailingSlash => "an origin must not end in a slash; browsers send it without",
            Self::Path => "an origin must not have a path",
            Self::Query => "an origin must not have a query",
            Self::Fragment => "an origin must not have a fragment",
            Self::NonAscii => "browsers send host names in ASCII (punycode)",
            Self::UpperCase => "browsers send origins in lower case, and the comparison is exact",
            Self::DefaultPort => "browsers leave out the default port of the scheme",
            Self::BadPort => "a port must be a number from 1 to 65535 without leading zeros, or *",
            Self::NoHost => "an origin must have a host",
            Self::TrailingDot => "a host with a trailing dot is not the same host as without it",
            Self::EmptyLabel => "a host must not have an empty label between dots",
            Self::Ipv4Form => "browsers send IPv4 addresses as four decimal numbers",
            Self::Ipv6Form => "browsers send IPv6 addresses in brackets and in the shortest form",
            Self::MisplacedWildcard => {
                "* is allowed once in the leftmost label, as all or a part of it, and as the whole port"
            }
            Self::BroadWildcard => "*. before fewer than two labels would match a whole top-level domain",
            Self::RegistrableWildcard => "with * in the registered name, whoever registers a name that fits is let in",
            Self::ShortWildcard => "a label with * must be followed by two labels or more, or localhost",
            Self::AnyHost => "* as the whole host is not for http, https, ws, wss and file",
            Self::RegularExpression => "origins are compared byte for byte; there are no regular expressions",
            Self::BadHost => "a host is lower-case letters, digits, -, _ and dots",
            Self::NotSendable => "an origin must be printable ASCII without commas",
            Self::TooLong => "a label has at most 63 characters, a host 253, a scheme 200 and a whole origin 512",
        }
    }
}

/// A refused pattern: the reason, and the pattern that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    /// The reason.
    pub kind: OriginErrorKind,
    /// The pattern to write instead; `None` if it is unknown.
    pub suggestion: Option<String>,
}

impl From<OriginErrorKind> for OriginError {
    fn from(kind: OriginErrorKind) -> Self {
        OriginError { kind, suggestion: None }
    }
}

impl OriginError {
    /// The same error. If it suggests a scheme and a host, it now suggests them with this port.
    pub(super) fn with_port(mut self, port: PortPattern) -> Self {
        if let Some(suggestion) = &mut self.suggestion {
            suggestion.push_str(&port.to_string());
        }
        self
    }
}

impl OriginErrorKind {
    /// The error with a suggestion, which the caller has to parse before it shows it.
    pub(super) fn suggest(self, pattern: impl Into<String>) -> OriginError {
        OriginError {
            kind: self,
            suggestion: Some(pattern.into()),
        }
    }
}

impl DiagnosticKind for OriginError {
    fn message(&self) -> Message {
        let help = match (self.kind, &self.suggestion) {
            (OriginErrorKind::NotSendable, _) => "write it as the program sends it, one per entry".into(),
            (_, Some(pattern)) => Cow::Owned(format!("write {pattern:?}")),
            (_, None) => {
                r#"write it as in "https://yourapp.com", "https://*.yourapp.com" or "http://localhost:*""#.into()
            }
        };
        Message::error(self.kind.reason(), help)
    }
}
