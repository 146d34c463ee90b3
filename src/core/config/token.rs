//! Names of headers and methods: tokens (RFC 9110, section 5.6.2).

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::node::Node;
use super::read::Read;

/// Whether `text` is a token: not empty, and of its characters only.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a token can have this character.
pub fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether two names of headers become the same meta-variable of CGI (RFC 3875, section 4.1.18). The RFC turns `-` into `_`; servers
/// do so with every character that is not a letter or a digit. WSGI, Rack and PHP have inherited it.
#[inline]
pub fn equals_ignoring_separators(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && have_equal_letters(a, b)
}

/// Out of the way of the comparison of lengths, which nearly all headers of a request do not pass. Backwards, because most names that
/// are not the same end differently, and many begin alike (`x-`).
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

/// A header's name as the operator wrote it. Names compare without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl HeaderName {
    /// As HTTP/2 and Envoy write it.
    pub fn lower(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether an upstream may take both for the same header, see [`equals_ignoring_separators`].
    pub fn equals_ignoring_separators(&self, other: &str) -> bool {
        equals_ignoring_separators(self.0.as_bytes(), other.as_bytes())
    }

    /// Whether both name the same header.
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl<'a> Read<'a> for HeaderName {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let name: Cow<'a, str> = Cow::read(node, place, diagnostics)?;
        if is_token(&name) {
            return Some(HeaderName(name.into_owned()));
        }
        diagnostics.add(place, &Node::Text(name), DiagnosticKind::NotAToken);
        None
    }
}

/// A request method, or `*` for any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method(pub String);

impl<'a> Read<'a> for Method {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const COMMON: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
        /// Fetch: forbidden methods.
        const FORBIDDEN: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];
        let name: Cow<'a, str> = Cow::read(node, place, diagnostics)?;
        let is_one_of = |list: &[&str]| list.iter().any(|method| name.eq_ignore_ascii_case(method));
        let problem = if !is_token(&name) {
            DiagnosticKind::NotAToken
        } else if is_one_of(&FORBIDDEN) {
            DiagnosticKind::ForbiddenMethod
        } else if is_one_of(&COMMON) && !COMMON.contains(&&*name) {
            DiagnosticKind::MethodCase
        } else {
            return Some(Method(name.into_owned()));
        };
        diagnostics.add(place, &Node::Text(name), problem);
        None
    }
}
