//! Entries of `indexes`: a name, or the beginning of names.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::node::Node;
use super::read::Read;

/// What one entry of `indexes` matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPattern<'a> {
    /// The name, or what the name begins with. It has no `/` and no `%`, as no captured name that may match has one.
    pub name: Cow<'a, str>,
    /// The entry ended in `*`.
    pub is_prefix: bool,
}

impl<'a> IndexPattern<'a> {
    /// Reads `products` or `articles-*`; `None` for what could match no index.
    pub fn parse(entry: Cow<'a, str>) -> Option<Self> {
        let is_prefix = entry.ends_with('*');
        let name = match entry {
            Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('*').unwrap_or(text)),
            Cow::Owned(text) => Cow::Owned(text.strip_suffix('*').unwrap_or(&text).to_owned()),
        };
        let fits = name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'/' | b'%' | b'?' | b'#' | b';' | b'\\'));
        (fits && (is_prefix || !name.is_empty())).then_some(IndexPattern { name, is_prefix })
    }
}

/// As it was written.
impl fmt::Display for IndexPattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.is_prefix { "*" } else { "" })
    }
}

impl<'a> Read<'a> for IndexPattern<'a> {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entry = Cow::read(node, place, diagnostics)?;
        let parsed = IndexPattern::parse(entry.clone());
        if parsed.is_none() {
            diagnostics.add(place, &Node::Text(entry), DiagnosticKind::BadIndexEntry);
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        for (entry, parsed) in [
            ("products", Some(("products", false))),
            ("articles-*", Some(("articles-", true))),
            ("*", Some(("", true))),
            ("", None),
            ("a*b", None),
            ("a**", None),
            ("a/b", None),
            ("a%20b", None),
            ("a b", None),
            ("é", None),
        ] {
            let pattern = IndexPattern::parse(entry.into());
            let parts = pattern.as_ref().map(|p| (&*p.name, p.is_prefix));
            assert_eq!(parts, parsed, "{entry:?}");
            assert!(pattern.is_none_or(|pattern| pattern.to_string() == entry), "{entry:?}");
        }
    }
}
