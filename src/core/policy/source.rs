//! The places in a request where a key may be, compiled.

use crate::config::key_source::KeySource;

/// A place in a request where a key may be.
#[derive(Debug)]
pub enum Source {
    /// A header, with an authentication scheme before the key or without.
    Header {
        /// In lower case, as Envoy has header names.
        name: Box<str>,
        /// Compared case-insensitively (RFC 9110, section 11.1).
        scheme: Option<Box<str>>,
    },
    /// The query parameter of this name.
    Query(Box<str>),
    /// An item of `Sec-WebSocket-Protocol` with this prefix.
    WebSocketProtocol(Box<str>),
}

impl Source {
    /// Compiles an entry of `key_sources`.
    pub fn new(source: &KeySource) -> Source {
        match source {
            KeySource::Header(header) => Source::Header {
                name: header.lower().into(),
                scheme: None,
            },
            KeySource::Scheme { header, scheme } => Source::Header {
                name: header.lower().into(),
                scheme: Some(scheme.as_str().into()),
            },
            KeySource::Query(name) => Source::Query(name.as_str().into()),
            KeySource::WebSocketProtocol(prefix) => Source::WebSocketProtocol(prefix.as_str().into()),
        }
    }
}
