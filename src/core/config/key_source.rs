//! `key_sources`: where a request carries its API key.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema::TOKEN;
use super::node::Node;
use super::read::{Fields, Read, wrong_type};
use super::token::{HeaderName, NameError, is_token};

/// A part of a request that may carry a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A header; its whole value is the key.
    Header(HeaderName),
    /// A header; its value is a scheme, a space and the key (RFC 9110, section 11.4).
    Scheme {
        /// The name of the header.
        header: HeaderName,
        /// The scheme. It is case-insensitive.
        scheme: String,
    },
    /// A parameter of the URL's query, by its decoded name.
    Query(String),
    /// The item of `Sec-WebSocket-Protocol` (RFC 6455, section 11.3.4) that begins with this prefix; the rest of the item is the key.
    /// It is the only header of a WebSocket's handshake that a page can set.
    WebSocketProtocol(String),
}

impl KeySource {
    /// The header that carries the key. `None` for a query parameter, and for `Sec-WebSocket-Protocol`, which also carries other items.
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            KeySource::Header(header) | KeySource::Scheme { header, .. } => Some(header),
            KeySource::Query(_) | KeySource::WebSocketProtocol(_) => None,
        }
    }

    /// The scheme before the key, if the source has one.
    pub fn scheme(&self) -> Option<&str> {
        match self {
            KeySource::Scheme { scheme, .. } => Some(scheme),
            KeySource::Header(_) | KeySource::Query(_) | KeySource::WebSocketProtocol(_) => None,
        }
    }

    /// The sources of a policy without `key_sources`: `Authorization: Bearer`.
    pub fn by_default() -> Vec<KeySource> {
        vec![KeySource::Scheme {
            header: HeaderName("Authorization".into()),
            scheme: "Bearer".into(),
        }]
    }
}

/// For messages: `Authorization: Bearer`, `X-API-Key`, `?api_key`, `Sec-WebSocket-Protocol: api-key.`.
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

enum KeySourceDiagnostic {
    /// The list is empty.
    NoSources,
    /// The fields are those of no source.
    Form,
    /// An earlier source finds the same key.
    Duplicate,
    /// The name of the query parameter is empty.
    NoParameterName,
    /// The key is in URLs.
    Query {
        /// `forward_api_key` is true.
        forwarded: bool,
    },
    /// The key is the whole value of `Cookie`.
    Cookie,
    /// The key is an encoded name and password.
    Basic,
}

impl DiagnosticKind for KeySourceDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::NoSources => Message::error(
                "without a source, no request can carry a key",
                "list a source, or leave the field out for Authorization: Bearer",
            ),
            Self::Form => Message::error(
                "a source is either a header, with or without a scheme, or a query parameter, or a WebSocket protocol",
                r#"write {"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"} or {"websocket_protocol": "api-key."}"#,
            ),
            Self::Duplicate => Message::error(
                "this source is listed already, and a key presented twice is refused",
                "keep one of them",
            ),
            Self::NoParameterName => Message::error(
                "a query parameter must have a name",
                r#"write it as in {"query": "api_key"}"#,
            ),
            Self::Query { forwarded: true } => Message::warning(
                "URLs with the key in them end up in logs, histories and Referer headers, and as forward_api_key is true \
                 also in trace spans, mirrored requests, x-envoy-original-path and the Location of redirects",
                "carry the key in a header where the client can, or set forward_api_key to false",
            ),
            Self::Query { forwarded: false } => Message::warning(
                "URLs with the key in them end up in logs, histories and Referer headers, and Envoy's own redirects lose the key",
                "carry the key in a header where the client can",
            ),
            Self::Cookie => Message::warning(
                "the value of Cookie is all cookies together, so any other cookie makes the key unknown, and browsers send it from every page",
                r#"carry the key in a header of its own, as in {"header": "X-API-Key"}"#,
            ),
            Self::Basic => Message::warning(
                "Basic is followed by the base64 of a name and a password, and all of it would be the key",
                r#"write {"header": "Authorization", "scheme": "Bearer"} or {"header": "X-API-Key"}"#,
            ),
        }
    }
}

impl<'a> Read<'a> for KeySource {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let errors_before = diagnostics.error_count();
        let mut fields = Fields::of(node, path, diagnostics)?;
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
                    diagnostics.add(&path.field("scheme"), &Node::Text(scheme), &NameError::NotAToken);
                    return None;
                }
                let scheme = scheme.into_owned();
                Some(KeySource::Scheme { header, scheme })
            }
            (None, None, None, Some(prefix)) => {
                if !is_token(&prefix) {
                    diagnostics.add(
                        &path.field("websocket_protocol"),
                        &Node::Text(prefix),
                        &NameError::NotAToken,
                    );
                    return None;
                }
                Some(KeySource::WebSocketProtocol(prefix.into_owned()))
            }
            (None, None, Some(name), None) => {
                if name.is_empty() {
                    diagnostics.add(
                        &path.field("query"),
                        &Node::Text(name),
                        &KeySourceDiagnostic::NoParameterName,
                    );
                    return None;
                }
                Some(KeySource::Query(name.into_owned()))
            }
            _ => {
                diagnostics.add_bare(path, &KeySourceDiagnostic::Form);
                None
            }
        }
    }
}

/// Reads `key_sources`. An empty list is an error, and so are two sources that find the same key. `forwarded` is `forward_api_key`: it
/// changes a warning about query parameters.
pub fn read_key_sources(
    node: Node<'_>,
    forwarded: bool,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<KeySource> {
    let items = match node {
        Node::List(items) if items.is_empty() => {
            diagnostics.add(path, &"[]", &KeySourceDiagnostic::NoSources);
            items
        }
        Node::List(items) => items,
        other => wrong_type(&other, "a list", path, diagnostics).unwrap_or_default(),
    };
    let mut sources: Vec<KeySource> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = path.item(index);
        let Some(source) = KeySource::read(item, &at, diagnostics) else {
            continue;
        };
        if sources.iter().any(|earlier| is_same(earlier, &source)) {
            diagnostics.add_bare(&at, &KeySourceDiagnostic::Duplicate);
        }
        warn(&source, forwarded, &at, diagnostics);
        sources.push(source);
    }
    sources
}

/// Adds the warnings about a source.
fn warn(source: &KeySource, forwarded: bool, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    if let KeySource::Query(name) = source {
        let kind = KeySourceDiagnostic::Query { forwarded };
        diagnostics.add(&path.field("query"), &format_args!("{name:?}"), &kind);
    }
    if let Some(header) = source.header().filter(|header| header.is("Cookie")) {
        diagnostics.add(
            &path.field("header"),
            &format_args!("{:?}", header.0),
            &KeySourceDiagnostic::Cookie,
        );
    }
    if let Some(scheme) = source.scheme().filter(|scheme| scheme.eq_ignore_ascii_case("Basic")) {
        diagnostics.add(
            &path.field("scheme"),
            &format_args!("{scheme:?}"),
            &KeySourceDiagnostic::Basic,
        );
    }
}

/// Whether both sources may find the same key in a request.
fn is_same(one: &KeySource, other: &KeySource) -> bool {
    match (one, other) {
        // The whole value of a header includes the key after a scheme.
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

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(KeySource, "KeySource", generator => schemars::json_schema!({
    "type": "object",
    "properties": {
        "header": generator.subschema_for::<HeaderName>(),
        "scheme": {"type": "string", "pattern": TOKEN},
        "query": {"type": "string", "minLength": 1},
        "websocket_protocol": {"type": "string", "pattern": TOKEN},
    },
    "additionalProperties": false,
    "dependencies": {"scheme": ["header"]},
    "oneOf": [{"required": ["header"]}, {"required": ["query"]}, {"required": ["websocket_protocol"]}],
}));

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
