//! The header lines of a request or response, searched by name.

use crate::config::token::equals_ignoring_separators;

/// The name and the value of a header line.
pub type Line<'h> = (&'h [u8], &'h [u8]);

/// The lines of a request or response, names in lower case. It knows which lengths their names have, so that most questions for a header
/// that is not there are answered without a look at the lines.
#[derive(Debug, Clone, Copy)]
pub struct Headers<H> {
    lines: H,
    /// Bit `n`: a name has `n` bytes, or 64 more, and so on.
    lengths: u64,
}

/// The bit of the lengths that `name` has.
pub fn length_bit(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

impl<'h, H: Iterator<Item = Line<'h>> + Clone> Headers<H> {
    /// Of lines that were gone through already, which gave the union of each name's [`length_bit`].
    pub fn new(lines: H, lengths: u64) -> Self {
        Headers { lines, lengths }
    }

    /// The values of a header, line by line.
    pub fn values(&self, name: &[u8]) -> impl Iterator<Item = &'h [u8]> + Clone {
        let lines = self.of_length(name);
        lines.filter(move |(header, _)| *header == name).map(|(_, value)| value)
    }

    /// The lines whose name an upstream may read as this one, see [`equals_ignoring_separators`].
    pub fn alike(&self, name: &[u8]) -> impl Iterator<Item = Line<'h>> + Clone {
        let lines = self.of_length(name);
        lines.filter(move |(header, _)| *header == name || equals_ignoring_separators(header, name))
    }

    /// Whether there is such a line.
    pub fn has(&self, name: &[u8]) -> bool {
        self.of_length(name).any(|(header, _)| header == name)
    }

    /// All lines, or none where no name is as long as this one.
    fn of_length(&self, name: &[u8]) -> impl Iterator<Item = Line<'h>> + Clone {
        let lines = (self.lengths & length_bit(name) != 0).then(|| self.lines.clone());
        lines.into_iter().flatten()
    }

    /// All of them.
    pub fn lines(&self) -> H {
        self.lines.clone()
    }
}

/// The lines that have a value.
pub fn present<'l, const N: usize>(lines: [(&'static [u8], Option<&'l str>); N]) -> impl Iterator<Item = Line<'l>> {
    lines
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_bytes())))
}
