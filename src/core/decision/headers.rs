//! Header lines: those of a message, searched as rarely as possible, and those collected for an answer.

use crate::config::token::equals_ignoring_separators;

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

impl<'h, H: Iterator<Item = (&'h [u8], &'h [u8])> + Clone> Headers<H> {
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
    pub fn alike(&self, name: &[u8]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone {
        let lines = self.of_length(name);
        lines.filter(move |(header, _)| *header == name || equals_ignoring_separators(header, name))
    }

    /// Whether there is such a line.
    pub fn has(&self, name: &[u8]) -> bool {
        self.of_length(name).any(|(header, _)| header == name)
    }

    /// All lines, or none where no name is as long as this one.
    fn of_length(&self, name: &[u8]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone {
        let lines = (self.lengths & length_bit(name) != 0).then(|| self.lines.clone());
        lines.into_iter().flatten()
    }

    /// All of them.
    pub fn lines(&self) -> H {
        self.lines.clone()
    }
}

/// Lines that are put together, in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList {
    text: Vec<u8>,
    /// Where each name and each value ends.
    ends: Vec<(usize, usize)>,
}

impl HeaderList {
    /// Room for as many lines as an answer has.
    pub fn with_room() -> HeaderList {
        HeaderList {
            text: Vec::with_capacity(1024),
            ends: Vec::with_capacity(24),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// Whether there is such a line.
    pub fn has(&self, name: &[u8]) -> bool {
        self.iter().any(|(header, _)| header == name)
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let mut start = 0;
        let starts = self
            .ends
            .iter()
            .map(move |(_, end)| std::mem::replace(&mut start, *end));
        starts.zip(&self.ends).map(|(start, (middle, end))| {
            let name = self.text.get(start..*middle).unwrap_or_default();
            (name, self.text.get(*middle..*end).unwrap_or_default())
        })
    }
}
