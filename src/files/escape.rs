//! Escapes characters that programs or people could misread.
//!
//! YAML 1.1 ends a line at U+0085, U+2028 and U+2029 (section 4.1.4), YAML 1.2 does not (section 5.4). Neither allows
//! control characters, U+FFFE, U+FFFF, or U+FEFF within a document. The bidirectional controls (UAX #9, section 2) make an editor
//! show text in another order than a program reads it.

use std::fmt::Write;

/// Whether a character must be escaped in a value. Includes tab and line feed, which JSON also uses for its layout.
fn is_ambiguous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61C}'
                | '\u{200E}'
                | '\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2066}'..='\u{2069}'
                | '\u{FEFF}'
                | '\u{FFFE}'
                | '\u{FFFF}'
        )
}

/// Escapes these characters as `\uXXXX` in valid JSON, and makes all line breaks line feeds. Tabs and line breaks are always between
/// tokens, and the other characters always in strings (RFC 8259, sections 2 and 7).
pub fn json(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut escaped = String::with_capacity(lines.len());
    for c in lines.chars() {
        if is_ambiguous(c) && !matches!(c, '\n' | '\t') {
            // All of them are below U+10000, so four digits suffice.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Escapes text for people, so that it stays on one line.
pub fn line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_ambiguous(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_json() {
        for (text, expected) in [
            ("{}", "{}"),
            ("\"日本語 é 😀 \u{200D}\"", "\"日本語 é 😀 \u{200D}\""),
            ("\"a\u{7F}\u{85}\u{9F}\"", r#""a\u007f\u0085\u009f""#),
            ("\"\u{2028}\u{2029}\u{202E}\"", r#""\u2028\u2029\u202e""#),
            ("\"\u{FEFF}\u{FFFE}\u{FFFF}\"", r#""\ufeff\ufffe\uffff""#),
            ("[1,\r\n\t2,\r3]", "[1,\n\t2,\n3]"),
        ] {
            assert_eq!(json(text), expected);
        }
    }

    #[test]
    fn a_value_stays_on_one_line() {
        let text = "a\tb\r\nc\u{85}\u{2028}\u{202E}é";
        assert_eq!(line(text), r"a\tb\r\nc\u{85}\u{2028}\u{202e}é");
    }
}
