//! The parts of a pasted text that may be an API key.
//!
//! A key may have any printable character, so no delimiter tells where it begins and ends. Each line is tried whole, and so is what is
//! between two white spaces, between two quotes of a kind, and between two delimiters. The number of candidates grows with the length of the
//! text alone: between two delimiters are at most [`MAX_PARTS`] parts.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The most parts of one candidate. Base64 of 48 bytes, whose `/` and `=` are delimiters, seldom has more.
const MAX_PARTS: usize = 8;

/// The longest token, in bytes. Keys are shorter.
const MAX_LENGTH: usize = 4_096;

/// A part of the text.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'t> {
    pub text: &'t str,
    /// From 1.
    pub line: usize,
}

/// Calls `visit` with every candidate. Some come more than once. `prefixes` may stand before a key: those of `Sec-WebSocket-Protocol`.
pub fn visit(text: &str, prefixes: &[String], visit: &mut dyn FnMut(Candidate<'_>)) {
    let mut with_forms = |line: usize, text: &str| {
        if text.is_empty() || text.len() > 3 * MAX_LENGTH {
            return;
        }
        for text in forms(text) {
            if text.len() <= MAX_LENGTH {
                visit(Candidate { text: &text, line });
            }
            for key in prefixes.iter().filter_map(|prefix| text.strip_prefix(prefix.as_str())) {
                visit(Candidate { text: key, line });
            }
        }
    };
    for (index, line) in text.lines().enumerate() {
        visit_line(line, &mut |text| with_forms(index + 1, text));
        // A log in JSON may write "/" as "\/", and "+" as "\u002B".
        if line.contains('\\') {
            visit_line(&without_json_escapes(line), &mut |text| with_forms(index + 1, text));
        }
    }
    // A mail or a terminal may have broken the line within the key.
    let joined: String = text.split_whitespace().collect();
    with_forms(1, &joined);
}

fn visit_line(line: &str, visit: &mut dyn FnMut(&str)) {
    visit(line.trim());
    for quote in ['"', '\'', '`'] {
        line.split(quote).for_each(&mut *visit);
    }
    for word in line.split(|c: char| c.is_whitespace() || c.is_control()) {
        visit(word);
        visit_runs(word, visit);
    }
}

/// Visits what is between each delimiter and one of the next [`MAX_PARTS`] ones.
fn visit_runs(word: &str, visit: &mut dyn FnMut(&str)) {
    let mut ends: Vec<usize> = word.match_indices(is_delimiter).map(|(at, _)| at).collect();
    ends.push(word.len());
    let after = word.match_indices(is_delimiter).map(|(at, found)| at + found.len());
    for (part, start) in std::iter::once(0).chain(after).enumerate() {
        for end in ends.iter().skip(part).take(MAX_PARTS) {
            visit(word.get(start..*end).unwrap_or_default());
        }
    }
}

/// What may stand before or behind a key in a URL, in a header, in JSON, in a shell's command and in a sentence.
fn is_delimiter(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '-' | '_' | '+' | '%' | '$' | '~' | '^')
        || matches!(c, '“' | '”' | '‘' | '’' | '«' | '»' | '…')
}

/// The text itself, and decoded as a query's value is (URL standard, `application/x-www-form-urlencoded` parsing).
fn forms(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let decoded = |text: &str| String::from_utf8(percent_decode_str(text).collect()).ok();
    let escaped = text.contains('%').then(|| decoded(text)).flatten();
    let spaced = text.contains('+').then(|| decoded(&text.replace('+', " "))).flatten();
    let decoded = [escaped, spaced].into_iter().flatten().map(Cow::Owned);
    std::iter::once(Cow::Borrowed(text)).chain(decoded)
}

/// Replaces the escapes of JSON (RFC 8259, section 7) that encode printable ASCII.
fn without_json_escapes(line: &str) -> String {
    let mut parts = line.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.strip_prefix('u').and_then(|code| code.get(..4));
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(u8::is_ascii_graphic) {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(part.get(5..).unwrap_or_default());
            }
            None => text.push_str(part),
        }
    }
    text
}
