//! The headers that a key sets for the upstream.

use std::sync::Arc;

/// A header that a key sets for the upstream.
#[derive(Debug)]
pub struct UpstreamHeader {
    /// In lower case. It is one of the protected headers.
    pub(crate) name: Arc<str>,
    /// Ready to send.
    pub(crate) value: Box<str>,
}

/// The headers of one key. Most keys have none, so none takes no more than a pointer.
#[derive(Debug, Default)]
pub struct UpstreamHeaders(Option<Box<List>>);

#[derive(Debug)]
struct List(Box<[UpstreamHeader]>);

/// An upper bound on the bytes of all headers of all keys.
pub fn bytes_for(headers: usize, value_bytes: usize) -> usize {
    use super::allocator::OVERHEAD;
    headers * (size_of::<UpstreamHeader>() + size_of::<List>() + 3 * OVERHEAD) + value_bytes
}

impl UpstreamHeaders {
    /// These headers.
    pub fn new(headers: Vec<UpstreamHeader>) -> UpstreamHeaders {
        let list = (!headers.is_empty()).then(|| Box::new(List(headers.into())));
        UpstreamHeaders(list)
    }

    /// The headers, in the order of the configuration.
    pub fn as_slice(&self) -> &[UpstreamHeader] {
        self.0.as_ref().map_or(&[], |list| &list.0)
    }
}
