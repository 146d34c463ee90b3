//! Where keys are in a file, and what a diagnostic is about.

use keyfence_core::config::{Diagnostic, Subject};
use keyfence_files::located::{LocatedTree, Location, Origin};
use keyfence_files::tree::{self, Mark};
use serde_json::value::RawValue;

/// The positions in a file.
pub enum Positions<'p> {
    /// Of all values in the file.
    Tree(&'p LocatedTree),
    /// Of the keys in a JSON text. The rest is found when it is needed: a tree of 100,000 keys takes seconds.
    Keys(Vec<KeyText<'p>>),
}

/// A key in a JSON text.
pub struct KeyText<'p> {
    text: &'p str,
    mark: Mark,
}

impl<'p> Positions<'p> {
    /// The positions of the keys with these texts, which are parts of `json`, in their order.
    pub fn of_json(json: &'p [u8], texts: &[&'p RawValue]) -> Positions<'p> {
        let mut mark = Mark { line: 1, column: 1 };
        let mut done = 0;
        let keys = texts.iter().map(|text| {
            let text = text.get();
            let start = (text.as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
            mark = advance(mark, json.get(done..start).unwrap_or_default());
            done = start;
            KeyText { text, mark }
        });
        Positions::Keys(keys.collect())
    }

    /// Where the key with this index begins.
    pub fn of_key(&self, index: usize) -> Mark {
        match self {
            Positions::Keys(keys) => keys.get(index).map_or(Mark { line: 1, column: 1 }, |key| key.mark),
            Positions::Tree(tree) => {
                let keys = tree.root.as_ref().and_then(|root| root.get("keys"));
                let key = keys.and_then(|keys| keys.items().get(index));
                key.map_or(tree.start(), |key| tree.origin.in_source(key.mark))
            }
        }
    }

    /// Where each of these diagnostics is.
    pub fn of(&self, diagnostics: &[Diagnostic]) -> Vec<Mark> {
        match self {
            Positions::Keys(keys) => diagnostics.iter().map(|diagnostic| in_key(diagnostic, keys)).collect(),
            Positions::Tree(tree) => {
                let paths: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.path.as_str()).collect();
                let locations = tree.locate(&paths);
                let marks = diagnostics.iter().map(|diagnostic| match diagnostic.message.subject {
                    Subject::Position { line, column } => tree.origin.in_source(Mark {
                        line,
                        column: column.max(1),
                    }),
                    subject => {
                        let location = locations.get(&diagnostic.path);
                        location.map_or(tree.start(), |location| mark_of(subject, *location))
                    }
                });
                marks.collect()
            }
        }
    }
}

fn mark_of(subject: Subject, location: Location) -> Mark {
    match subject {
        Subject::Name => location.name,
        _ => location.value,
    }
}

/// Finds what a diagnostic is about in the text of its key.
fn in_key(diagnostic: &Diagnostic, keys: &[KeyText<'_>]) -> Mark {
    let path = diagnostic
        .path
        .strip_prefix("keys[")
        .and_then(|rest| rest.split_once(']'));
    let key = path.and_then(|(index, path)| Some((keys.get(index.parse::<usize>().ok()?)?, path)));
    let Some((key, path)) = key else {
        return Mark { line: 1, column: 1 };
    };
    let root = tree::parse_json(key.text).ok().flatten();
    let origin = Origin::default();
    let path = path.strip_prefix('.').unwrap_or(path);
    let location = LocatedTree { root, origin }.locate(&[path]).remove(path);
    let Some(found) = location.map(|location| mark_of(diagnostic.message.subject, location)) else {
        return key.mark;
    };
    match found.line {
        1 => Mark {
            line: key.mark.line,
            column: key.mark.column + found.column - 1,
        },
        line => Mark {
            line: key.mark.line + line - 1,
            column: found.column,
        },
    }
}

/// The position after this text, if it begins at `mark`.
fn advance(mark: Mark, text: &[u8]) -> Mark {
    let is_first_of_character = |byte: &&u8| **byte & 0xC0 != 0x80;
    let columns = |text: &[u8]| text.iter().filter(is_first_of_character).count();
    match text.iter().rposition(|byte| *byte == b'\n') {
        None => Mark {
            line: mark.line,
            column: mark.column + columns(text),
        },
        Some(last) => Mark {
            line: mark.line + text.iter().filter(|byte| **byte == b'\n').count(),
            column: columns(text.get(last..).unwrap_or_default()),
        },
    }
}

#[cfg(test)]
mod tests {
    use keyfence_core::config::config_path::ConfigPath;
    use keyfence_core::config::{Diagnostics, StructureError};

    use super::*;

    #[test]
    fn keys_are_where_a_tree_of_the_whole_text_has_them() {
        const TEXT: &str = "{\"é😀\": 1, \"keys\": [{\"id\": \"é\", \"a b\": 1}, {\"id\": {}}\r\n,\n\t{\n\"id\":\n[1, 2],\n  \"é\": 2}]}";
        let keys = TEXT.split_once("\"keys\": ").unwrap().1;
        let texts: Vec<&RawValue> = serde_json::from_str(keys.strip_suffix("}").unwrap()).unwrap();
        let tree = LocatedTree {
            root: tree::parse_json(TEXT).unwrap(),
            origin: Origin::default(),
        };
        let (whole, parts) = (Positions::Tree(&tree), Positions::of_json(TEXT.as_bytes(), &texts));
        for index in 0..3 {
            assert_eq!(parts.of_key(index), whole.of_key(index), "{index}");
        }
        let list = ConfigPath::ROOT.field("keys");
        let keys = [list.item(0), list.item(1), list.item(2)];
        let id = keys[2].field("id");
        let mut diagnostics = Diagnostics::default();
        for path in [
            keys[0],
            keys[0].field("id"),
            keys[0].field("a b"),
            keys[1].field("id"),
            keys[2],
            id,
            id.item(1),
            keys[2].field("é"),
        ] {
            for kind in [
                StructureError::DuplicateField,
                StructureError::MissingField { name: "id" },
            ] {
                diagnostics.add_bare(&path, &kind);
            }
        }
        let marks = whole.of(diagnostics.errors());
        assert_eq!(parts.of(diagnostics.errors()), marks);
        assert_eq!(marks[15], Mark { line: 6, column: 8 });
    }
}
