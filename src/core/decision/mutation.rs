//! Changes to the headers of a message.

use super::headers::{Headers, Line};

/// One change to the headers of a message. Names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMutation<'e> {
    /// Replaces all lines of a header that is present by one with this value.
    Replace(&'e [u8], &'e [u8]),
    /// Adds a header that is not present.
    Add(&'e [u8], &'e [u8]),
    /// Removes all lines of a header.
    Remove(&'e [u8]),
}

/// Sets a header that may be present.
pub fn set<'h>(
    present: &Headers<impl Iterator<Item = Line<'h>> + Clone>,
    name: &[u8],
    value: &[u8],
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    mutate(if present.has(name) {
        HeaderMutation::Replace(name, value)
    } else {
        HeaderMutation::Add(name, value)
    });
}
