//! Percent-encoding in paths (RFC 3986, section 2.1): whether upstreams may read a path in different ways.

use std::slice::Iter;

/// How often a path is decoded. A path that still has escapes after that is taken for an attack.
const MAX_DECODINGS: usize = 4;

/// Whether servers and proxies may read a path, or a segment of one, in different ways. They may if decoding it, once or several times,
/// gives a delimiter, a dot, a control character, white space after the dots of a dot segment, or bytes that are not UTF-8. They also may
/// if it has an escape of the form `%uXXXX`, which only some of them decode.
pub fn can_mislead(path: &[u8]) -> bool {
    if !path.contains(&b'%') {
        return false;
    }
    for times in 0..=MAX_DECODINGS {
        let mut decoder = Decoder::new(path, times);
        let mut reader = Reader::default();
        while let Some(byte) = decoder.next() {
            if !reader.accepts(byte) {
                return true;
            }
        }
        let has_invalid_escape = times == 0 && reader.has_u;
        if decoder.gave_reserved || has_invalid_escape || !reader.accepts_end() {
            return true;
        }
        if !reader.has_escape {
            return false;
        }
    }
    true
}

/// Whether a path must not have this byte as an escape. `%` is allowed: `%25` is the only way to write it.
fn is_reserved(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'.' | b';' | b'?' | b'#')
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Decodes a text several times while it is read, so that no intermediate result needs memory.
struct Decoder<'p> {
    path: Iter<'p, u8>,
    stages: [Stage; MAX_DECODINGS],
    times: usize,
    gave_reserved: bool,
}

/// One of several decodings in a row. It holds the bytes that it has read ahead and not decoded: at most two, after a percent sign.
#[derive(Default, Clone, Copy)]
struct Stage {
    first: Option<u8>,
    second: Option<u8>,
}

impl Stage {
    fn take(&mut self) -> Option<u8> {
        let byte = self.first.take();
        self.first = self.second.take();
        byte
    }
}

impl<'p> Decoder<'p> {
    fn new(path: &'p [u8], times: usize) -> Self {
        Decoder {
            path: path.iter(),
            stages: [Stage::default(); MAX_DECODINGS],
            times,
            gave_reserved: false,
        }
    }

    fn next(&mut self) -> Option<u8> {
        let stages = self.stages.get_mut(..self.times)?;
        decode(&mut self.path, stages, &mut self.gave_reserved)
    }
}

/// Returns the next byte from the last of `stages`. A percent sign without two hex digits stays as it is.
fn decode(path: &mut Iter<'_, u8>, stages: &mut [Stage], gave_reserved: &mut bool) -> Option<u8> {
    let Some((stage, before)) = stages.split_last_mut() else {
        return path.next().copied();
    };
    let mut read = |stage: &mut Stage| stage.take().or_else(|| decode(path, before, gave_reserved));
    let byte = read(stage)?;
    if byte != b'%' {
        return Some(byte);
    }
    let first = read(stage);
    let second = first.filter(|byte| digit(*byte).is_some()).and_then(|_| read(stage));
    match (first.and_then(digit), second.and_then(digit)) {
        (Some(high), Some(low)) => {
            let value = high * 16 + low;
            *gave_reserved |= is_reserved(value);
            Some(value)
        }
        _ => {
            // The stage is empty here: it held two bytes at most, and they were `byte` and `first`.
            *stage = Stage { first, second };
            Some(byte)
        }
    }
}

/// Checks a text byte by byte.
#[derive(Default)]
struct Reader {
    /// The first bytes of a character outside ASCII, until it is complete.
    partial: [u8; 4],
    partial_length: usize,
    segment: Segment,
    escape: Escape,
    has_escape: bool,
    has_u: bool,
}

/// The current segment so far.
#[derive(Default)]
enum Segment {
    #[default]
    Empty,
    OneDot,
    TwoDots,
    /// One or two dots, and white space after them.
    DotsAndSpace,
    Other,
}

/// How much of an escape has been read so far.
#[derive(Default)]
enum Escape {
    #[default]
    None,
    Percent,
    OneDigit,
    /// `%u` and this number of hex digits.
    U(u8),
}

impl Reader {
    /// Whether the text may continue with this byte.
    fn accepts(&mut self, byte: u8) -> bool {
        if byte.is_ascii() {
            return self.partial_length == 0 && self.follow_escape(byte) && self.follow_segment(char::from(byte));
        }
        self.escape = Escape::None;
        let Some(next) = self.partial.get_mut(self.partial_length) else {
            return false;
        };
        *next = byte;
        self.partial_length += 1;
        let so_far = self.partial.get(..self.partial_length).unwrap_or_default();
        match std::str::from_utf8(so_far) {
            Ok(text) => {
                let character = text.chars().next();
                self.partial_length = 0;
                character.is_some_and(|character| !character.is_control() && self.follow_segment(character))
            }
            Err(error) => error.error_len().is_none(),
        }
    }

    fn accepts_end(&mut self) -> bool {
        self.partial_length == 0 && self.follow_segment('/')
    }

    fn follow_escape(&mut self, byte: u8) -> bool {
        let is_digit = digit(byte).is_some();
        self.escape = match self.escape {
            _ if byte == b'%' => Escape::Percent,
            Escape::Percent if is_digit => Escape::OneDigit,
            Escape::Percent if matches!(byte, b'u' | b'U') => {
                self.has_u = true;
                Escape::U(0)
            }
            Escape::OneDigit if is_digit => {
                self.has_escape = true;
                Escape::None
            }
            Escape::U(3) if is_digit => return false,
            Escape::U(count) if is_digit => Escape::U(count + 1),
            _ => Escape::None,
        };
        true
    }

    fn follow_segment(&mut self, character: char) -> bool {
        self.segment = match (&self.segment, character) {
            (Segment::DotsAndSpace, '/') => return false,
            (_, '/') => Segment::Empty,
            (Segment::Empty, '.') => Segment::OneDot,
            (Segment::OneDot, '.') => Segment::TwoDots,
            (Segment::OneDot | Segment::TwoDots | Segment::DotsAndSpace, space) if space.is_whitespace() => {
                Segment::DotsAndSpace
            }
            _ => Segment::Other,
        };
        true
    }
}
