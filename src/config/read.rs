//! From JSON nodes to typed values. A value that cannot be read leaves a finding and is `None`; reading goes on.

use std::borrow::Cow;

use super::finding::{Findings, Problem, nearest};
use super::node::Node;
use super::place::Place;

/// A type that the configuration can hold.
pub trait Read<'a>: Sized {
    /// Reads `node`, which stands at `place`. Whatever is wrong is noted in `findings`.
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self>;
}

/// Notes that `node` has the wrong type.
pub fn wrong_type<T>(node: &Node<'_>, expected: &'static str, place: &Place<'_>, findings: &mut Findings) -> Option<T> {
    let found = node.type_name();
    findings.add(place, node, Problem::WrongType { expected, found });
    None
}

/// Notes that `node` has the wrong type, where it may be an API key.
pub fn wrong_type_unshown<T>(
    node: &Node<'_>,
    expected: &'static str,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<T> {
    let found = node.type_name();
    findings.add_bare(place, Problem::WrongType { expected, found });
    None
}

impl<'a> Read<'a> for bool {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(value),
            other => wrong_type(&other, "true or false", place, findings),
        }
    }
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        match node {
            Node::Text(value) => Some(value),
            other => wrong_type(&other, "a string", place, findings),
        }
    }
}

impl<'a> Read<'a> for String {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        Cow::read(node, place, findings).map(Cow::into_owned)
    }
}

/// Every item is read, so that each of them is reported.
impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        match node {
            Node::List(items) => {
                let items = items.into_iter().enumerate();
                Some(
                    items
                        .filter_map(|(index, item)| T::read(item, &place.item(index), findings))
                        .collect(),
                )
            }
            other => wrong_type(&other, "a list", place, findings),
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
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<T> {
    let text = Cow::read(node, place, findings)?;
    let found = names.iter().position(|name| *name == text);
    if let Some(value) = found.and_then(|index| values.get(index)) {
        return Some(*value);
    }
    let problem = Problem::UnknownChoice {
        choices: names,
        nearest: nearest(&text, names.iter().copied()),
    };
    findings.add(place, &Node::Text(text), problem);
    None
}

/// The members of one object. Each field is taken by its name; what is left over at the end is unknown.
pub struct Fields<'a, 'p> {
    members: Vec<(Cow<'a, str>, Node<'a>)>,
    place: &'p Place<'p>,
    known: Vec<&'static str>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// The members of `node`, which must be an object.
    pub fn of(node: Node<'a>, place: &'p Place<'p>, findings: &mut Findings) -> Option<Self> {
        match node {
            Node::Object(members) => Some(Fields {
                members,
                place,
                known: Vec::with_capacity(16),
            }),
            other => wrong_type_unshown(&other, "an object", place, findings),
        }
    }

    /// Takes the field `name` as it is; `None` where it is left out.
    pub fn node(&mut self, name: &'static str, findings: &mut Findings) -> Option<Node<'a>> {
        self.known.push(name);
        let index = self.members.iter().position(|(member, _)| member == name)?;
        let (_, node) = self.members.remove(index);
        while let Some(again) = self.members.iter().position(|(member, _)| member == name) {
            self.members.remove(again);
            findings.add_bare(&self.place.field(name), Problem::DuplicateField);
        }
        Some(node)
    }

    /// Takes and reads the field `name`; `None` where it is left out or wrong.
    pub fn take<T: Read<'a>>(&mut self, name: &'static str, findings: &mut Findings) -> Option<T> {
        let node = self.node(name, findings)?;
        T::read(node, &self.place.field(name), findings)
    }

    /// Takes the field `name`, which may not be left out.
    pub fn require(&mut self, name: &'static str, findings: &mut Findings) -> Option<Node<'a>> {
        let node = self.node(name, findings);
        if node.is_none() {
            findings.add_bare(self.place, Problem::MissingField { name });
        }
        node
    }

    /// Notes every member that nobody took. Its value is not shown: under a misspelt name it may be an API key.
    pub fn finish(self, findings: &mut Findings) {
        for (name, _) in self.members {
            let problem = Problem::UnknownField {
                nearest: nearest(&name, self.known.iter().copied()),
            };
            findings.add_bare(&self.place.field(&name), problem);
        }
    }
}
