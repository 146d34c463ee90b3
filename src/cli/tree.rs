//! JSON and YAML as a tree whose every part knows where in the source it stands.
//!
//! JSON is YAML, so that one parser locates both.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::scalar::{Block, Dialect, Scalar, quoted};

/// A position in a source: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value, and where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    pub mark: Mark,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A named value of an object. Repeated names stay.
#[derive(Debug, Clone)]
pub struct Member {
    pub mark: Mark,
    pub name: String,
    pub node: Node,
}

/// Why a source could not be read.
#[derive(Debug)]
pub struct SyntaxError {
    pub mark: Mark,
    pub message: String,
}

/// Aliases can make a small file a huge tree.
const MAX_ALIASED: usize = 100_000;

impl Mark {
    const START: Mark = Mark { line: 1, column: 1 };

    fn of(span: Span) -> Mark {
        Mark {
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

/// All documents of a source.
pub fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            mark: Mark {
                line: error.marker().line(),
                column: error.marker().col() + 1,
            },
            message: error.kind().to_string(),
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
}

/// A list or object whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The name whose value comes next.
    name: Option<(Mark, String)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let mark = Mark::of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let block = (style == ScalarStyle::Literal).then(|| Block {
                    first_line: mark.line,
                    indentation: span.indent.unwrap_or(0),
                });
                let scalar = Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain && tag.is_none(),
                    block,
                };
                let value = Value::Scalar(scalar);
                self.close(Node { mark, value }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(mark, Value::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => self.open(mark, Value::Object(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { node, anchor, .. }) = self.open.pop() {
                    self.close(node, anchor);
                }
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                self.aliased += node.as_ref().map_or(0, Node::size);
                let node = node.filter(|_| self.aliased <= MAX_ALIASED).ok_or(SyntaxError {
                    mark,
                    message: "the alias is too large, or within what it stands for".into(),
                })?;
                self.close(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, value: Value, anchor: usize) {
        self.open.push(Open {
            node: Node { mark, value },
            anchor,
            name: None,
        });
    }

    /// Puts a whole node where it belongs.
    fn close(&mut self, node: Node, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return;
        };
        match (&mut parent.node.value, parent.name.take()) {
            (Value::Object(members), Some((mark, name))) => members.push(Member { mark, name, node }),
            (Value::Object(_), None) => {
                let name = node.text().unwrap_or_default().to_owned();
                parent.name = Some((node.mark, name));
            }
            (Value::List(items), _) => items.push(node),
            (Value::Scalar(_), _) => {}
        }
    }
}

impl Node {
    /// What stands where nothing is written.
    pub fn nothing() -> Node {
        Node {
            mark: Mark::START,
            value: Value::Scalar(Scalar {
                text: String::new(),
                is_plain: true,
                block: None,
            }),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Object(members) => members.iter().map(|member| member.node.size()).sum(),
        }
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let member = self.members().iter().find(|member| member.name == name);
        member.map(|member| &member.node)
    }

    /// The value at the end of these names.
    pub fn at(&self, names: &[&str]) -> Option<&Node> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// A scalar as it is written, whatever it means.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    /// The tree as JSON, as a reader of this dialect understands it.
    pub fn to_json(&self, dialect: Dialect) -> String {
        let mut json = String::new();
        self.write_json(dialect, &mut json);
        json
    }

    fn write_json(&self, dialect: Dialect, json: &mut String) {
        match &self.value {
            Value::Scalar(scalar) => json.push_str(&scalar.to_json(dialect)),
            Value::List(items) => {
                json.push('[');
                for (index, item) in items.iter().enumerate() {
                    json.push_str(if index > 0 { "," } else { "" });
                    item.write_json(dialect, json);
                }
                json.push(']');
            }
            Value::Object(members) => {
                json.push('{');
                for (index, member) in members.iter().enumerate() {
                    json.push_str(if index > 0 { "," } else { "" });
                    json.push_str(&quoted(&member.name));
                    json.push(':');
                    member.node.write_json(dialect, json);
                }
                json.push('}');
            }
        }
    }
}
