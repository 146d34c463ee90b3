//! The request headers that only the filter may set, because the upstream believes what they say about the key.

use crate::config::token::{equals_ignoring_separators, length_bit};

/// The names of the identity header and of the headers that keys set. A client's own are removed from headers and trailers, under every name
/// that an upstream may read as one of these.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtectedHeaders {
    /// In lower case.
    names: Box<[Box<str>]>,
    /// The union of each name's [`length_bit`].
    lengths: u64,
}

impl ProtectedHeaders {
    /// The headers with these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> ProtectedHeaders {
        let names: Box<[Box<str>]> = names.map(|name| name.to_ascii_lowercase().into()).collect();
        let bits = names.iter().map(|name| length_bit(name.as_bytes()));
        ProtectedHeaders {
            lengths: bits.fold(0, |lengths, bit| lengths | bit),
            names,
        }
    }

    /// The union of the [`length_bit`] of each name.
    pub fn lengths(&self) -> u64 {
        self.lengths
    }

    /// Whether an upstream may read a header or trailer of this name as one of these.
    #[inline]
    pub fn may_be_read_from(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name) != 0 && self.is_alike(name)
    }

    /// Not inlined: most headers of a request do not have the length of one of these.
    #[inline(never)]
    fn is_alike(&self, name: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|protected| equals_ignoring_separators(name, protected.as_bytes()))
    }
}
