//! Names of headers and request methods. Both are tokens (RFC 9110, section 5.6.2).

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema::TOKEN;
use super::node::Node;
use super::read::Read;

/// Why the name of a header or a method is refused.
#[derive(Debug, Clone, Copy)]
pub enum NameError {
    /// The name is not a token.
    NotAToken,
    /// A standard method in another case.
    MethodCase,
    /// A method that Fetch forbids.
    ForbiddenMethod,
    /// A header that the operator must not set, because the filter or Envoy does.
    OwnedHeader,
    /// A header that cannot tell the upstream the id of the key, because it has a meaning of its own.
    ReservedHeader,
}

impl DiagnosticKind for NameError {
    fn message(&self) -> Message {
        match self {
            Self::NotAToken => Message::error(
                "it is not a token of RFC 9110",
                "use letters, digits and ! # $ % & ' * + - . ^ _ ` | ~ only",
            ),
            Self::MethodCase => Message::error("methods are case-sensitive", "write it in upper case"),
            Self::ForbiddenMethod => Message::error(
                "browsers never send CONNECT, TRACE and TRACK (Fetch: forbidden methods)",
                "take it out",
            ),
            Self::OwnedHeader => Message::error(
                "keyfence or Envoy writes this header itself",
                "take it out; CORS is configured under cors",
            ),
            Self::ReservedHeader => Message::error(
                "HTTP, Envoy or keyfence uses this header itself",
                "take it out, or write another name, as in \"X-Key-Id\"",
            ),
        }
    }
}

/// Whether `text` is a token: not empty, and each byte is one that [`is_token_byte`] accepts.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a token can have this byte (RFC 9110: `tchar`).
pub fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether `text` is 1 to 64 of `A-Z a-z 0-9 . _ -`, as the ids of keys and the labels of their entries are.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=64).contains(&text.len()) && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether the text is a field value (RFC 9110, section 5.5) in ASCII only.
pub fn is_header_value(value: &str) -> bool {
    value.trim() == value && value.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic())
}

/// The value of a header is not one for which [`is_header_value`] holds.
pub struct InvalidHeaderValue;

impl DiagnosticKind for InvalidHeaderValue {
    fn message(&self) -> Message {
        Message::error(
            "a header value must not contain line breaks, control characters, letters outside ASCII or white space at an end",
            "write the value on one line, in printable ASCII",
        )
    }
}

/// One bit for the length of a header's name, modulo 64. A name whose bit is not in the union of the bits of other names is none of them.
#[inline]
pub const fn length_bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

/// Whether an upstream may take two header names for the same, because both become the same meta-variable of CGI (RFC 3875, section
/// 4.1.18). The RFC turns `-` into `_`; servers do so with every character except letters and digits. WSGI, Rack and PHP do the same.
#[inline]
pub fn equals_ignoring_separators(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && have_equal_letters(a, b)
}

/// Compares names of the same length. It is not inlined, so that the comparison of lengths, which decides for nearly all headers of a
/// request, stays small. It goes backwards because many names have the same beginning (`x-`), and few the same end.
#[inline(never)]
fn have_equal_letters(a: &[u8], b: &[u8]) -> bool {
    let folded = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'_',
    };
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .all(|(a, b)| folded(*a) == folded(*b))
}

/// The header that tells the upstream the `filter` of a scoped token.
pub const FILTER_HEADER: &str = "x-key-filter";

/// The header that tells the upstream the `sub` of a scoped token.
pub const SUBJECT_HEADER: &str = "x-key-subject";

/// A header name as the operator wrote it. Header names are case-insensitive; `==` is not, [`HeaderName::is`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl HeaderName {
    /// The name in lower case, as HTTP/2 and Envoy write it.
    pub fn lower(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether an upstream may take both for the same header; see [`equals_ignoring_separators`].
    pub fn equals_ignoring_separators(&self, other: &str) -> bool {
        equals_ignoring_separators(self.0.as_bytes(), other.as_bytes())
    }

    /// Whether HTTP, Envoy or the filter gives this header a meaning of its own, or one that an upstream may take for it.
    pub fn is_reserved(&self) -> bool {
        const NAMES: [&str; 18] = [
            ":authority",
            ":method",
            ":path",
            ":scheme",
            "host",
            "origin",
            "access-control-request-method",
            "sec-fetch-site",
            "sec-websocket-protocol",
            "x-request-id",
            "connection",
            "content-length",
            "content-type",
            "transfer-encoding",
            "te",
            "upgrade",
            // What scoped tokens tell the upstream.
            FILTER_HEADER,
            SUBJECT_HEADER,
        ];
        NAMES.iter().any(|reserved| self.equals_ignoring_separators(reserved))
    }

    /// Whether `other` names the same header.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl<'a> Read<'a> for HeaderName {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let name: Cow<'a, str> = Cow::read(node, path, diagnostics)?;
        if is_token(&name) {
            return Some(HeaderName(name.into_owned()));
        }
        diagnostics.add(path, &Node::Text(name), &NameError::NotAToken);
        None
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(HeaderName, "HeaderName", _generator => schemars::json_schema!({"type": "string", "pattern": TOKEN}));

/// A request method, or `*` for any. Methods are case-sensitive (RFC 9110, section 9.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method(pub String);

impl<'a> Read<'a> for Method {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const COMMON: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
        /// Fetch, "forbidden method".
        const FORBIDDEN: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];
        let name: Cow<'a, str> = Cow::read(node, path, diagnostics)?;
        let is_one_of = |list: &[&str]| list.iter().any(|method| name.eq_ignore_ascii_case(method));
        let kind = if !is_token(&name) {
            NameError::NotAToken
        } else if is_one_of(&FORBIDDEN) {
            NameError::ForbiddenMethod
        } else if is_one_of(&COMMON) && !COMMON.contains(&&*name) {
            NameError::MethodCase
        } else {
            return Some(Method(name.into_owned()));
        };
        diagnostics.add(path, &Node::Text(name), &kind);
        None
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(Method, "Method", _generator => schemars::json_schema!({
    "type": "string",
    "pattern": TOKEN,
    "examples": ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"],
}));
