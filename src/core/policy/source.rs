//! Where a request may carry its key, ready to compare with a request.

use crate::config::key_source::KeySource;

/// Where a key may be, with names as Envoy has them.
#[derive(Debug)]
pub enum Source {
    /// A header, in lower case, and the scheme that stands before the key, if any.
    Header {
        /// In lower case.
        name: Box<str>,
        /// Compared without regard to case.
        scheme: Option<Box<str>>,
    },
    /// A query parameter.
    Query(Box<str>),
    /// What an item of `Sec-WebSocket-Protocol` begins with.
    WebSocketProtocol(Box<str>),
}

impl Source {
    /// As the configuration has it, with names as Envoy has them.
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
