//! Percent-encoding in paths (RFC 3986, section 2.1), as far as upstreams read it differently.

use std::borrow::Cow;

/// A path that is still encoded after so many times of decoding is meant to mislead.
const MAX_DECODINGS: usize = 4;

/// Whether decoding a path or a part of it, once or again and again, gives a slash, a backslash, a dot or a NUL.
pub fn hide_separators(path: &[u8]) -> bool {
    let mut text = Cow::Borrowed(path);
    for _ in 0..MAX_DECODINGS {
        let mut is_nested = false;
        for (at, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
            match text.get(at + 1..).and_then(escaped) {
                Some((b'/' | b'\\' | b'.' | 0, _)) => return true,
                // Where the percent sign is what was encoded, or is none of an escape, the next decoding may find another.
                Some((b'%', _)) | None => is_nested = true,
                Some(_) => {}
            }
        }
        if !is_nested {
            return false;
        }
        let decoded = decoded(&text);
        if decoded.len() == text.len() {
            return false;
        }
        text = Cow::Owned(decoded);
    }
    text.split(|byte| *byte == b'%')
        .skip(1)
        .any(|rest| escaped(rest).is_some())
}

/// What the two digits after a percent sign stand for, and what follows them.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk()?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let value = digit(*high)? * 16 + digit(*low)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// Decoded once; a percent sign without two digits stays.
fn decoded(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        let escape = if byte == b'%' { escaped(rest) } else { None };
        let (byte, rest) = escape.unwrap_or((byte, rest));
        decoded.push(byte);
        text = rest;
    }
    decoded
}
