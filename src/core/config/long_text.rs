//! The longest string of a configuration. A longer one is found before anything is allocated for it.

use super::diagnostic::{DiagnosticKind, Diagnostics, Message};

/// In bytes, as the string is written between its quotation marks. Envoy takes no header of that length.
const MAX: usize = 64 << 10;

/// Refuses a JSON text that has a string, or a name of a member, of more than 64 KiB.
pub fn check(text: &[u8]) -> Result<(), Diagnostics> {
    match is_in(text) {
        true => Err(Diagnostics::only(&LongText)),
        false => Ok(()),
    }
}

struct LongText;

impl DiagnosticKind for LongText {
    fn message(&self) -> Message {
        Message::error(
            format!("a string has more than {MAX} bytes"),
            "take it out, or cut it down",
        )
    }
}

/// Whether the JSON `text` has a string that is longer than [`MAX`].
///
/// Such a string covers a whole block of half that length without a quotation mark that ends it. Few texts have such a block, so most
/// need no second pass.
fn is_in(text: &[u8]) -> bool {
    let ends = |two: &[u8]| matches!(two, [before, b'"'] if *before != b'\\');
    let has_no_end = |block: &[u8]| !block.windows(2).any(ends);
    text.chunks_exact(MAX / 2).any(has_no_end) && longest(text) > MAX
}

/// The length of the longest string, in bytes; of one without an end, up to the end of the text.
fn longest(text: &[u8]) -> usize {
    let mut longest = 0;
    let mut length = None;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match (byte, &mut length) {
            (b'"', None) => length = Some(0),
            (b'"', Some(_)) => length = None,
            (b'\\', Some(so_far)) => {
                *so_far += 1 + usize::from(bytes.next().is_some());
            }
            (_, Some(so_far)) => *so_far += 1,
            (_, None) => {}
        }
        longest = longest.max(length.unwrap_or(0));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_up_to_64_kib() {
        let space = " ".repeat(200_000);
        for (name, text, expected) in [
            ("nothing", String::new(), false),
            ("short ones", format!("[{}]", vec!["\"a\""; 100_000].join(",")), false),
            ("the longest", format!("[\"{}\"]", "a".repeat(MAX)), false),
            ("one byte more", format!("[\"{}\"]", "a".repeat(MAX + 1)), true),
            ("a name", format!("{{\"{}\": 1}}", "a".repeat(MAX + 1)), true),
            ("escapes", format!("[\"{}\"]", "\\\"".repeat(MAX / 2)), false),
            ("one escape more", format!("[\"{}\"]", "\\\"".repeat(MAX / 2 + 1)), true),
            ("backslashes", format!("[\"{}\"]", "\\\\".repeat(MAX)), true),
            (
                "after white space",
                format!("{space}[\"{}\"]", "a".repeat(MAX + 1)),
                true,
            ),
            ("white space", format!("{space}[\"a\"{space}, 1]"), false),
            ("without an end", format!("[\"{}", "a".repeat(MAX + 1)), true),
        ] {
            for before in ["", " ", "[1, \"a\"], "] {
                assert_eq!(is_in(format!("{before}{text}").as_bytes()), expected, "{name}");
            }
        }
    }
}
