//! Reading of typed values from JSON nodes. A value that cannot be read adds a diagnostic and is `None`; reading goes on with the next.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::nearest::nearest;
use super::node::Node;

/// A type that the configuration can hold.
pub trait Read<'a>: Sized {
    /// Reads the value of `node`, which is at `path`, and adds its errors and warnings to `diagnostics`. Returns `None` if it cannot be
    /// used; then `diagnostics` has an error.
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self>;
}

/// Errors of the structure: of fields, JSON types and choices.
#[derive(Debug, Clone, Copy)]
pub enum StructureError {
    /// The object has no such field.
    UnknownField {
        /// A field that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The object has this field twice.
    DuplicateField,
    /// The object lacks this field.
    MissingField {
        /// The field.
        name: &'static str,
    },
    /// A value of another JSON type.
    WrongType {
        /// The types that the field takes, in words.
        expected: &'static str,
        /// See [`Node::type_name`].
        found: &'static str,
    },
    /// A string that is none of the few that the field takes.
    UnknownChoice {
        /// The strings that the field takes.
        choices: &'static [&'static str],
        /// The one that was probably meant.
        nearest: Option<&'static str>,
    },
}

/// The reason of [`StructureError::UnknownField`].
pub const UNKNOWN_FIELD: &str = "unknown field";

impl DiagnosticKind for StructureError {
    fn message(&self) -> Message {
        match *self {
            Self::UnknownField { nearest } => {
                let help = nearest.map(|name| format!("did you mean {name}?").into());
                Message::error(UNKNOWN_FIELD, help.unwrap_or(Cow::Borrowed("take it out"))).about_name()
            }
            Self::DuplicateField => Message::error("duplicate field", "keep one of them").about_name(),
            Self::MissingField { name } => Message::error(format!("{name} is missing"), format!("add {name}")),
            Self::WrongType { expected, found } => {
                let help = match (found, expected) {
                    ("null", _) => "give it a value, or leave the field out".into(),
                    ("a boolean", "a string") => {
                        "put it in quotes: YAML reads on, off, yes, no, true and false as booleans".into()
                    }
                    ("a number", "a string") => "put it in quotes".into(),
                    _ => Cow::Owned(format!("write {expected}")),
                };
                Message::error(format!("expected {expected}, found {found}"), help)
            }
            Self::UnknownChoice { choices, nearest } => {
                let help = nearest.map(|name| format!("did you mean {name:?}?").into());
                Message::error(
                    format!("must be one of {}", choices.join(", ")),
                    help.unwrap_or(Cow::Borrowed("write one of these")),
                )
            }
        }
    }
}

/// Adds the diagnostic that `node` has another type than `expected`, and shows its value.
pub fn wrong_type<T>(
    node: &Node<'_>,
    expected: &'static str,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let found = node.type_name();
    diagnostics.add(path, node, &StructureError::WrongType { expected, found });
    None
}

/// Adds the diagnostic that `node` has another type than `expected`. Does not show its value, which may be an API key.
pub fn wrong_type_unshown<T>(
    node: &Node<'_>,
    expected: &'static str,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let found = node.type_name();
    diagnostics.add_bare(path, &StructureError::WrongType { expected, found });
    None
}

impl<'a> Read<'a> for bool {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(value),
            other => wrong_type(&other, "true or false", path, diagnostics),
        }
    }
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Text(value) => Some(value),
            other => wrong_type(&other, "a string", path, diagnostics),
        }
    }
}

impl<'a> Read<'a> for String {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        Cow::read(node, path, diagnostics).map(Cow::into_owned)
    }
}

/// Reads every item, so that each wrong one is reported; the result has those that could be read.
impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::List(items) => {
                let items = items.into_iter().enumerate();
                Some(
                    items
                        .filter_map(|(index, item)| T::read(item, &path.item(index), diagnostics))
                        .collect(),
                )
            }
            other => wrong_type(&other, "a list", path, diagnostics),
        }
    }
}

/// Returns the number of `node` if it is a whole number that `T` can hold. Protobuf's `Struct` has doubles only, so `600.0` is whole too.
pub fn whole_number<T: TryFrom<u64>>(node: &Node<'_>) -> Option<T> {
    match *node {
        Node::Number(value) if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) => {
            T::try_from(value as u64).ok()
        }
        _ => None,
    }
}

/// Reads one of a few names. Each of `values` has the name at the same index of `names`.
pub fn choice<'a, T: Copy>(
    node: Node<'a>,
    names: &'static [&'static str],
    values: &[T],
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let text = Cow::read(node, path, diagnostics)?;
    let found = names.iter().position(|name| *name == text);
    if let Some(value) = found.and_then(|index| values.get(index)) {
        return Some(*value);
    }
    let kind = StructureError::UnknownChoice {
        choices: names,
        nearest: nearest(&text, names.iter().copied()),
    };
    diagnostics.add(path, &Node::Text(text), &kind);
    None
}

/// The members of one object. The reader takes each field that it knows; at the end the rest are unknown fields.
pub struct Fields<'a, 'p> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
    path: &'p ConfigPath<'p>,
    known: Vec<&'static str>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The members of `node`; `None` and a diagnostic if it is not an object. `path` is the object's.
    pub fn of(node: Node<'a>, path: &'p ConfigPath<'p>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Object(members) => Some(Fields {
                members,
                path,
                known: Vec::with_capacity(16),
            }),
            other => wrong_type_unshown(&other, "an object", path, diagnostics),
        }
    }

    /// Takes the field `name` unread; `None` if the object has none. A duplicate is an error.
    pub fn node(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<Node<'a>> {
        self.known.push(name);
        let index = self.members.iter().position(|(member, _)| member == name)?;
        let (_, node) = self.members.remove(index);
        while let Some(again) = self.members.iter().position(|(member, _)| member == name) {
            self.members.remove(again);
            diagnostics.add_bare(&self.path.field(name), &StructureError::DuplicateField);
        }
        Some(node)
    }

    /// Takes and reads the field `name`; `None` if the object has none or if its value cannot be read.
    pub fn take<T: Read<'a>>(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        let node = self.node(name, diagnostics)?;
        T::read(node, &self.path.field(name), diagnostics)
    }

    /// Takes the field `name` unread. A missing one is an error.
    pub fn require(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<Node<'a>> {
        let node = self.node(name, diagnostics);
        if node.is_none() {
            diagnostics.add_bare(self.path, &StructureError::MissingField { name });
        }
        node
    }

    /// Adds an error for each member that was not taken. Its value is not shown: the value of a misspelt field may be an API key.
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for (name, _) in self.members {
            let kind = StructureError::UnknownField {
                nearest: nearest(&name, self.known.iter().copied()),
            };
            diagnostics.add_bare(&self.path.field(&name), &kind);
        }
    }
}
