//! The JSON text of a configuration, read in two passes: first everything except the keys, then the keys one by one.
//!
//! So 100,000 keys are never in memory both as JSON and as policy. And the scopes and sources that keys refer to are known before the
//! keys are read, wherever they are in the text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::byte_order_mark::{is_utf16, without_byte_order_mark};
use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::key::{Key, KeyContext, read_key};
use super::node::{Name, Node};
use super::read::{Fields, wrong_type_unshown};
use super::top_level::{Config, read_config};

/// Reads the top-level fields of a JSON text, except `keys`, and adds their errors and warnings to `diagnostics`. Returns `None` if the
/// text is not JSON, or not an object.
pub fn read<'a>(text: &'a [u8], diagnostics: &mut Diagnostics) -> Option<Config<'a>> {
    let mut deserializer = serde_json::Deserializer::from_slice(without_byte_order_mark(text));
    let read = WithoutKeys(diagnostics).deserialize(&mut deserializer);
    match read.and_then(|node| deserializer.end().map(|()| node)) {
        Ok(node) => {
            let fields = Fields::of(node?, &ConfigPath::ROOT, diagnostics)?;
            Some(read_config(fields, diagnostics))
        }
        Err(_) if is_utf16(text) => {
            let utf16 = SyntaxError {
                line: 1,
                column: 1,
                message: "it is UTF-16; save it as UTF-8".into(),
            };
            diagnostics.add_bare(&ConfigPath::ROOT, &utf16);
            None
        }
        Err(error) => {
            diagnostics.add_bare(&ConfigPath::ROOT, &SyntaxError::from(error));
            None
        }
    }
}

/// Reads the keys of a text that [`read`] has read. Calls `on_key` with each key that can be used, its index in `keys`, its path and
/// `diagnostics`.
pub fn read_keys<'a>(
    text: &'a [u8],
    context: KeyContext<'_>,
    diagnostics: &mut Diagnostics,
    on_key: &mut dyn FnMut(usize, Key<'a>, &ConfigPath<'_>, &mut Diagnostics),
) {
    let mut deserializer = serde_json::Deserializer::from_slice(without_byte_order_mark(text));
    let keys = OnlyKeys(KeysSeed {
        context,
        diagnostics,
        on_key,
    });
    if let Err(error) = keys.deserialize(&mut deserializer) {
        diagnostics.add_bare(&ConfigPath::ROOT, &SyntaxError::from(error));
    }
}

/// A text that is not JSON.
#[derive(Debug)]
pub struct SyntaxError {
    line: usize,
    column: usize,
    /// Without the position.
    message: String,
}

impl From<serde_json::Error> for SyntaxError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let whole = error.to_string();
        let at = format!(" at line {line} column {column}");
        SyntaxError {
            line,
            column,
            message: whole.strip_suffix(&at).unwrap_or(&whole).to_owned(),
        }
    }
}

impl SyntaxError {
    /// The same error where its text is a part of another, and begins there at this line and column.
    pub fn of_part(self, line: usize, column: usize) -> SyntaxError {
        SyntaxError {
            line: line + self.line.saturating_sub(1),
            column: match self.line {
                0 | 1 => column + self.column.saturating_sub(1),
                _ => self.column,
            },
            message: self.message,
        }
    }
}

impl DiagnosticKind for SyntaxError {
    fn message(&self) -> Message {
        let SyntaxError { line, column, message } = self;
        Message::error(
            format!("this is not JSON: {message}"),
            format!("look at line {line}, column {column}"),
        )
        .about_position(*line, *column)
    }
}

/// Reads the whole text as a node, with an empty list instead of the keys. `None` if it is not an object.
struct WithoutKeys<'f>(&'f mut Diagnostics);

impl<'a> DeserializeSeed<'a> for WithoutKeys<'_> {
    type Value = Option<Node<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for WithoutKeys<'_> {
    type Value = Option<Node<'a>>;

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let node = if name == "keys" {
                map.next_value::<IgnoredAny>()?;
                Node::List(Vec::new())
            } else {
                map.next_value()?
            };
            members.push((name, node));
        }
        Ok(Some(Node::Object(members)))
    }

    fn other(self, node: Node<'a>) -> Self::Value {
        wrong_type_unshown(&node, "an object", &ConfigPath::ROOT, self.0)
    }
}

/// Reads the value of `keys` as a stream, and skips all other members.
struct OnlyKeys<'f, 'a>(KeysSeed<'f, 'a>);

impl<'a> DeserializeSeed<'a> for OnlyKeys<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for OnlyKeys<'_, 'a> {
    type Value = ();

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Some(self.0);
        while let Some(Name(name)) = map.next_key()? {
            match keys.take_if(|_| name == "keys") {
                Some(keys) => map.next_value_seed(keys)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn other(self, _: Node<'a>) {}
}

/// Reads the keys one by one.
struct KeysSeed<'f, 'a> {
    context: KeyContext<'f>,
    diagnostics: &'f mut Diagnostics,
    on_key: &'f mut dyn FnMut(usize, Key<'a>, &ConfigPath<'_>, &mut Diagnostics),
}

impl<'a> DeserializeSeed<'a> for KeysSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(OneType(self))
    }
}

impl<'a> TypedVisitor<'a> for KeysSeed<'_, 'a> {
    type Value = ();

    fn seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let list = ConfigPath::ROOT.field("keys");
        let mut index = 0;
        while let Some(node) = seq.next_element()? {
            let path = list.item(index);
            if let Some(key) = read_key(node, self.context, &path, self.diagnostics) {
                (self.on_key)(index, key, &path, self.diagnostics);
            }
            index += 1;
        }
        Ok(())
    }

    fn other(self, node: Node<'a>) {
        let _: Option<()> = wrong_type_unshown(&node, "a list", &ConfigPath::ROOT.field("keys"), self.diagnostics);
    }
}

/// A visitor of lists or of objects only. A value of another type is an error of the configuration, not of the JSON syntax.
trait TypedVisitor<'a>: Sized {
    type Value;

    fn seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.other(Node::List(Vec::new())))
    }

    fn map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.other(Node::Object(Vec::new())))
    }

    fn other(self, node: Node<'a>) -> Self::Value;
}

/// Serde's visitor for a [`TypedVisitor`].
struct OneType<T>(T);

impl<'a, T: TypedVisitor<'a>> Visitor<'a> for OneType<T> {
    type Value = T::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<T::Value, A::Error> {
        self.0.seq(seq)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<T::Value, A::Error> {
        self.0.map(map)
    }

    fn visit_unit<E>(self) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value as f64)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<T::Value, E> {
        Ok(self.0.other(Node::Text(value.to_owned().into())))
    }
}
