//! The header lines of a request or response, searched by name.

use crate::config::token::{equals_ignoring_separators, length_bit};

/// The name and the value of a header line.
pub type Line<'h> = (&'h [u8], &'h [u8]);

/// The lines of a request or response, names in lower case. It knows the lengths of the names, so that a search for an absent header
/// mostly ends without a look at the lines.
#[derive(Debug, Clone, Copy)]
pub struct Headers<H> {
    lines: H,
    /// The union of each name's [`length_bit`].
    lengths: u64,
}

impl<'h, H: Iterator<Item = Line<'h>> + Clone> Headers<H> {
    /// `lengths` is the union of the [`length_bit`] of each name in `lines`.
    pub fn new(lines: H, lengths: u64) -> Self {
        Headers { lines, lengths }
    }

    /// The value of each line of a header.
    pub fn values(&self, name: &[u8]) -> impl Iterator<Item = &'h [u8]> + Clone {
        let lines = self.of_length(name);
        lines.filter(move |(header, _)| *header == name).map(|(_, value)| value)
    }

    /// The lines whose name an upstream may read as `name`, see [`equals_ignoring_separators`].
    pub fn alike(&self, name: &[u8]) -> impl Iterator<Item = Line<'h>> + Clone {
        let lines = self.of_length(name);
        lines.filter(move |(header, _)| *header == name || equals_ignoring_separators(header, name))
    }

    /// Whether a line has this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.of_length(name).any(|(header, _)| header == name)
    }

    /// All lines, or none if no name has the length of `name`.
    fn of_length(&self, name: &[u8]) -> impl Iterator<Item = Line<'h>> + Clone {
        let lines = (self.lengths & length_bit(name) != 0).then(|| self.lines.clone());
        lines.into_iter().flatten()
    }

    /// All lines, in their order.
    pub fn lines(&self) -> H {
        self.lines.clone()
    }
}

/// The lines that have a value, in their order.
pub fn with_values<'l, const N: usize>(lines: [(&'static [u8], Option<&'l str>); N]) -> impl Iterator<Item = Line<'l>> {
    lines
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_bytes())))
}
