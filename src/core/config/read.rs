//! From JSON nodes to typed values. A value that cannot be read leaves a diagnostic and is `None`; reading goes on.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, nearest};
use super::node::Node;

/// A type that the configuration can hold.
pub trait Read<'a>: Sized {
    /// Reads `node`, which stands at `place`. Whatever is wrong is noted in `diagnostics`.
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self>;
}

/// Notes that `node` has the wrong type.
pub fn wrong_type<T>(
    node: &Node<'_>,
    expected: &'static str,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let found = node.type_name();
    diagnostics.add(place, node, DiagnosticKind::WrongType { expected, found });
    None
}

/// Notes that `node` has the wrong type, where it may be an API key.
pub fn wrong_type_unshown<T>(
    node: &Node<'_>,
    expected: &'static str,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let found = node.type_name();
    diagnostics.add_bare(place, DiagnosticKind::WrongType { expected, found });
    None
}

impl<'a> Read<'a> for bool {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(value),
            other => wrong_type(&other, "true or false", place, diagnostics),
        }
    }
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Text(value) => Some(value),
            other => wrong_type(&other, "a string", place, diagnostics),
        }
    }
}

impl<'a> Read<'a> for String {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        Cow::read(node, place, diagnostics).map(Cow::into_owned)
    }
}

/// Every item is read, so that each of them is reported.
impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::List(items) => {
                let items = items.into_iter().enumerate();
                Some(
                    items
                        .filter_map(|(index, item)| T::read(item, &place.item(index), diagnostics))
                        .collect(),
                )
            }
            other => wrong_type(&other, "a list", place, diagnostics),
        }
    }
}

/// A JSON number that is a whole number in `range`; a `Struct` makes `600` a double, which is the same integer.
pub fn whole_number<T: TryFrom<u64>>(node: &Node<'_>) -> Option<T> {
    match *node {
        Node::Number(value) if value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value) => {
            T::try_from(value as u64).ok()
        }
        _ => None,
    }
}

/// One of a few names. `names` pairs each with its value.
pub fn choice<'a, T: Copy>(
    node: Node<'a>,
    names: &'static [&'static str],
    values: &[T],
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let text = Cow::read(node, place, diagnostics)?;
    let found = names.iter().position(|name| *name == text);
    if let Some(value) = found.and_then(|index| values.get(index)) {
        return Some(*value);
    }
    let problem = DiagnosticKind::UnknownChoice {
        choices: names,
        nearest: nearest(&text, names.iter().copied()),
    };
    diagnostics.add(place, &Node::Text(text), problem);
    None
}

/// The members of one object. Each field is taken by its name; what is left over at the end is unknown.
pub struct Fields<'a, 'p> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
    place: &'p ConfigPath<'p>,
    known: Vec<&'static str>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The members of `node`, which must be an object.
    pub fn of(node: Node<'a>, place: &'p ConfigPath<'p>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node {
            Node::Object(members) => Some(Fields {
                members,
                place,
                known: Vec::with_capacity(16),
            }),
            other => wrong_type_unshown(&other, "an object", place, diagnostics),
        }
    }

    /// Takes the field `name` as it is; `None` where it is left out.
    pub fn node(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<Node<'a>> {
        self.known.push(name);
        let index = self.members.iter().position(|(member, _)| member == name)?;
        let (_, node) = self.members.remove(index);
        while let Some(again) = self.members.iter().position(|(member, _)| member == name) {
            self.members.remove(again);
            diagnostics.add_bare(&self.place.field(name), DiagnosticKind::DuplicateField);
        }
        Some(node)
    }

    /// Takes and reads the field `name`; `None` where it is left out or wrong.
    pub fn take<T: Read<'a>>(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<T> {
        let node = self.node(name, diagnostics)?;
        T::read(node, &self.place.field(name), diagnostics)
    }

    /// Takes the field `name`, which may not be left out.
    pub fn require(&mut self, name: &'static str, diagnostics: &mut Diagnostics) -> Option<Node<'a>> {
        let node = self.node(name, diagnostics);
        if node.is_none() {
            diagnostics.add_bare(self.place, DiagnosticKind::MissingField { name });
        }
        node
    }

    /// Notes every member that nobody took. Its value is not shown: under a misspelt name it may be an API key.
    pub fn finish(self, diagnostics: &mut Diagnostics) {
        for (name, _) in self.members {
            let problem = DiagnosticKind::UnknownField {
                nearest: nearest(&name, self.known.iter().copied()),
            };
            diagnostics.add_bare(&self.place.field(&name), problem);
        }
    }
}
