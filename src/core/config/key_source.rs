//! `key_sources`: where a request carries its key.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::node::Node;
use super::read::{Fields, Read, wrong_type};
use super::token::{HeaderName, is_token};

/// One place in a request where a key may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A header whose whole value is the key.
    Header(HeaderName),
    /// A header whose value is a scheme and the key (RFC 9110, section 11.4).
    Scheme {
        /// The header.
        header: HeaderName,
        /// Compared without regard to case.
        scheme: String,
    },
    /// A parameter of the URL's query.
    Query(String),
    /// The item of `Sec-WebSocket-Protocol` (RFC 6455, section 11.3.4) that begins so; the key is the rest of it. A page can set no
    /// other header of a WebSocket's handshake.
    WebSocketProtocol(String),
}

impl KeySource {
    /// The header that carries the key, if one does.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            KeySource::Header(header) | KeySource::Scheme { header, .. } => Some(header),
            KeySource::Query(_) | KeySource::WebSocketProtocol(_) => None,
        }
    }

    /// What stands before the key, if anything does.
    pub fn scheme(&self) -> Option<&str> {
        match self {
            KeySource::Scheme { scheme, .. } => Some(scheme),
            KeySource::Header(_) | KeySource::Query(_) | KeySource::WebSocketProtocol(_) => None,
        }
    }

    /// What a policy has that names no sources.
    pub fn by_default() -> Vec<KeySource> {
        vec![KeySource::Scheme {
            header: HeaderName("Authorization".into()),
            scheme: "Bearer".into(),
        }]
    }
}

/// As people write it: `Authorization: Bearer`, `X-API-Key`, `?api_key`, `Sec-WebSocket-Protocol: api-key.`.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Header(header) => f.write_str(&header.0),
            KeySource::Scheme { header, scheme } => write!(f, "{}: {scheme}", header.0),
            KeySource::Query(name) => write!(f, "?{name}"),
            KeySource::WebSocketProtocol(prefix) => write!(f, "Sec-WebSocket-Protocol: {prefix}"),
        }
    }
}

impl<'a> Read<'a> for KeySource {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let errors_before = diagnostics.error_count();
        let mut fields = Fields::of(node, place, diagnostics)?;
        let header: Option<HeaderName> = fields.take("header", diagnostics);
        let scheme: Option<Cow<'a, str>> = fields.take("scheme", diagnostics);
        let query: Option<Cow<'a, str>> = fields.take("query", diagnostics);
        let protocol: Option<Cow<'a, str>> = fields.take("websocket_protocol", diagnostics);
        fields.finish(diagnostics);
        if diagnostics.error_count() > errors_before {
            return None;
        }
        match (header, scheme, query, protocol) {
            (Some(header), None, None, None) => Some(KeySource::Header(header)),
            (Some(header), Some(scheme), None, None) => {
                if !is_token(&scheme) {
                    diagnostics.add(&place.field("scheme"), &Node::Text(scheme), DiagnosticKind::NotAToken);
                    return None;
                }
                let scheme = scheme.into_owned();
                Some(KeySource::Scheme { header, scheme })
            }
            (None, None, None, Some(prefix)) => {
                if !is_token(&prefix) {
                    diagnostics.add(
                        &place.field("websocket_protocol"),
                        &Node::Text(prefix),
                        DiagnosticKind::NotAToken,
                    );
                    return None;
                }
                Some(KeySource::WebSocketProtocol(prefix.into_owned()))
            }
            (None, None, Some(name), None) => {
                if name.is_empty() {
                    diagnostics.add(
                        &place.field("query"),
                        &Node::Text(name),
                        DiagnosticKind::BadParameterName,
                    );
                    return None;
                }
                Some(KeySource::Query(name.into_owned()))
            }
            _ => {
                diagnostics.add_bare(place, DiagnosticKind::KeySourceForm);
                None
            }
        }
    }
}

/// Reads the list, which is not empty, and where no two sources find the same key. `forwarded`: the upstream sees the key.
pub fn read_key_sources(
    node: Node<'_>,
    forwarded: bool,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<KeySource> {
    let items = match node {
        Node::List(items) if items.is_empty() => {
            diagnostics.add(place, &"[]", DiagnosticKind::NoKeySources);
            items
        }
        Node::List(items) => items,
        other => wrong_type(&other, "a list", place, diagnostics).unwrap_or_default(),
    };
    let mut sources: Vec<KeySource> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = place.item(index);
        let Some(source) = KeySource::read(item, &at, diagnostics) else {
            continue;
        };
        if sources.iter().any(|earlier| is_same(earlier, &source)) {
            diagnostics.add_bare(&at, DiagnosticKind::DuplicateKeySource);
        }
        warn(&source, forwarded, &at, diagnostics);
        sources.push(source);
    }
    sources
}

/// Notes what is doubtful about a source that can be used.
fn warn(source: &KeySource, forwarded: bool, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    if let KeySource::Query(name) = source {
        let problem = DiagnosticKind::QueryKeySource { forwarded };
        diagnostics.add(&place.field("query"), &format_args!("{name:?}"), problem);
    }
    if let Some(header) = source.header().filter(|header| header.is("Cookie")) {
        diagnostics.add(
            &place.field("header"),
            &format_args!("{:?}", header.0),
            DiagnosticKind::CookieKeySource,
        );
    }
    if let Some(scheme) = source.scheme().filter(|scheme| scheme.eq_ignore_ascii_case("Basic")) {
        diagnostics.add(
            &place.field("scheme"),
            &format_args!("{scheme:?}"),
            DiagnosticKind::BasicKeySource,
        );
    }
}

fn is_same(one: &KeySource, other: &KeySource) -> bool {
    match (one, other) {
        // A whole value is what has a scheme before it, too.
        (KeySource::Header(a), KeySource::Header(b))
        | (KeySource::Header(a), KeySource::Scheme { header: b, .. })
        | (KeySource::Scheme { header: a, .. }, KeySource::Header(b)) => a.equals_ignoring_separators(&b.0),
        (KeySource::Scheme { header: a, scheme: s }, KeySource::Scheme { header: b, scheme: t }) => {
            a.equals_ignoring_separators(&b.0) && s.eq_ignore_ascii_case(t)
        }
        (KeySource::Query(a), KeySource::Query(b)) => a == b,
        (KeySource::WebSocketProtocol(a), KeySource::WebSocketProtocol(b)) => a.starts_with(b) || b.starts_with(a),
        (KeySource::WebSocketProtocol(_), other) | (other, KeySource::WebSocketProtocol(_)) => other
            .header()
            .is_some_and(|header| header.equals_ignoring_separators("Sec-WebSocket-Protocol")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_as_people_write_them() {
        for (source, written) in [
            (KeySource::by_default().remove(0), "Authorization: Bearer"),
            (KeySource::Header(HeaderName("X-API-Key".into())), "X-API-Key"),
            (KeySource::Query("api_key".into()), "?api_key"),
            (
                KeySource::WebSocketProtocol("api-key.".into()),
                "Sec-WebSocket-Protocol: api-key.",
            ),
        ] {
            assert_eq!(source.to_string(), written);
        }
    }
}
