//! Entries of `indexes`: a name, or a prefix of names.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::node::Node;
use super::read::Read;

/// What one entry of `indexes` matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPattern<'a> {
    /// The name or the prefix. It has no `/` and no `%`: a name in a path that has one matches no entry.
    pub name: Cow<'a, str>,
    /// Whether the entry ended in `*`.
    pub is_prefix: bool,
}

impl<'a> IndexPattern<'a> {
    /// Parses an entry such as `products` or `articles-*`. Returns `None` for one that could match no index.
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
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entry = Cow::read(node, path, diagnostics)?;
        let parsed = IndexPattern::parse(entry.clone());
        if parsed.is_none() {
            diagnostics.add(path, &Node::Text(entry), &InvalidIndex);
        }
        parsed
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(IndexPattern<'_>, "Index", _generator => schemars::json_schema!({
    "type": "string",
    "minLength": 1,
    "examples": ["products", "articles-*"],
}));

struct InvalidIndex;

impl DiagnosticKind for InvalidIndex {
    fn message(&self) -> Message {
        Message::error(
            "it matches no index: an entry is a name without / and %, or a prefix with one * at its end",
            r#"write it as in "products" or "articles-*""#,
        )
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
