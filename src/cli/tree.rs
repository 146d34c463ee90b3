//! JSON and YAML as a tree whose every part knows where in the source it stands.
//!
//! JSON is YAML, so that one parser locates both.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::scalar::{Block, Dialect, Scalar, quoted};

/// A position in a source: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

/// A value, and where it begins. Clones share their content, so an alias costs no memory.
#[derive(Debug, Clone)]
pub struct Node {
    pub mark: Mark,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Rc<Scalar>),
    List(Rc<[Node]>),
    Object(Rc<[Member]>),
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

/// The most that the aliases of a source may add to it, in bytes. The tree shares what they refer to, but JSON and the compiled
/// policy have a copy for each. Ten thousand keys with the same list of ten origins are below this limit.
const MAX_ALIASED: usize = 8 << 20;

/// The size of a node, in addition to its text.
const NODE: usize = 40;

impl Mark {
    const START: Mark = Mark { line: 1, column: 1 };

    fn of(span: Span) -> Mark {
        Mark {
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

/// All documents of YAML.
pub fn parse_yaml(text: &str) -> Result<Vec<Node>, SyntaxError> {
    // Otherwise a comment or a value here could be another field to Kubernetes, which reads YAML 1.1.
    if let Some((before, _)) = text.split_once(['\u{85}', '\u{2028}', '\u{2029}']) {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        return Err(SyntaxError {
            mark: Mark { line, column },
            message: "readers of YAML 1.1 end a line here (U+0085, U+2028 or U+2029), and those of 1.2 do not".into(),
        });
    }
    parse(text, Options::default())
}

/// The document of JSON, which is YAML but for the length of names.
pub fn parse_json(text: &str) -> Result<Option<Node>, SyntaxError> {
    /// With a longer name, diagnostics have no line, and wildcards over public suffixes are not found.
    const LONGEST_NAME: usize = 1 << 16;
    let mut options = Options::default();
    options.simple_key_max_lookahead = LONGEST_NAME;
    Ok(parse(text, options)?.pop())
}

fn parse(text: &str, options: Options) -> Result<Vec<Node>, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
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
    anchors: HashMap<usize, Measured>,
    aliased: usize,
}

/// A node and its size, with all aliases expanded.
#[derive(Clone)]
struct Measured {
    node: Node,
    size: usize,
}

/// A list or object whose end has not come yet.
struct Open {
    mark: Mark,
    content: Content,
    size: usize,
    anchor: usize,
}

enum Content {
    List(Vec<Node>),
    Object {
        members: Vec<Member>,
        /// The name whose value comes next.
        name: Option<(Mark, String)>,
    },
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
                let size = NODE + scalar.text.len();
                let value = Value::Scalar(scalar.into());
                let node = Node { mark, value };
                self.close(Measured { node, size }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(mark, Content::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                let (members, name) = (Vec::new(), None);
                self.open(mark, Content::Object { members, name }, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open {
                    mark,
                    content,
                    size,
                    anchor,
                }) = self.open.pop()
                {
                    let value = match content {
                        Content::List(items) => Value::List(items.into()),
                        Content::Object { members, .. } => Value::Object(members.into()),
                    };
                    let node = Node { mark, value };
                    self.close(Measured { node, size }, anchor);
                }
            }
            Event::Alias(anchor) => {
                // Within what it stands for, that is not whole.
                let Some(aliased) = self.anchors.get(&anchor).cloned() else {
                    let message = "the alias is within what it stands for".into();
                    return Err(SyntaxError { mark, message });
                };
                self.aliased += aliased.size;
                if self.aliased > MAX_ALIASED {
                    let message = format!("up to this alias, aliases stand for more than {MAX_ALIASED} bytes");
                    return Err(SyntaxError { mark, message });
                }
                self.close(aliased, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, content: Content, anchor: usize) {
        self.open.push(Open {
            mark,
            content,
            size: NODE,
            anchor,
        });
    }

    /// Puts a whole node where it belongs.
    fn close(&mut self, closed: Measured, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, closed.clone());
        }
        let Measured { node, size } = closed;
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return;
        };
        parent.size += size;
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Object { members, name } => match name.take() {
                Some((mark, name)) => members.push(Member { mark, name, node }),
                None => *name = Some((node.mark, node.text().unwrap_or_default().to_owned())),
            },
        }
    }
}

impl Node {
    /// What stands where nothing is written.
    pub fn nothing() -> Node {
        Node {
            mark: Mark::START,
            value: Value::Scalar(Rc::new(Scalar {
                text: String::new(),
                is_plain: true,
                block: None,
            })),
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
