//! Header lines that are collected for a response.

/// Names and values in one buffer, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList {
    text: Vec<u8>,
    /// Where in `text` each name ends, and each value.
    ends: Vec<(usize, usize)>,
}

impl HeaderList {
    /// With capacity for as many lines as a local reply has.
    pub fn for_reply() -> HeaderList {
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

    /// Whether a line has this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.iter().any(|(header, _)| header == name)
    }

    /// All lines, in their order.
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
