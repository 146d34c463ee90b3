//! JSON and YAML as a tree of nodes with their positions in the source.
//!
//! JSON is a subset of YAML, so one parser reads both.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use crate::scalar::{self, Block, Dialect, Scalar, quoted};

/// A position in a source: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A value and its position. Clones share their content, so an alias costs no memory.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string, number or boolean, or null.
    Scalar(Rc<Scalar>),
    /// A list.
    List(Rc<[Node]>),
    /// An object.
    Object(Rc<[Member]>),
}

/// A name and value of an object. Repeated names are kept.
#[derive(Debug, Clone)]
pub struct Member {
    /// The position of the name.
    pub mark: Mark,
    /// The name, as written.
    pub name: String,
    /// Whether the name is neither quoted nor tagged, so that Kubernetes may take it for a number or a boolean.
    pub is_plain: bool,
    /// Whether the name is a plain `<<`, a merge key of YAML 1.1.
    pub is_merge: bool,
    /// The value.
    pub node: Node,
}

/// The first syntax error of a source.
#[derive(Debug)]
pub struct SyntaxError {
    /// Where it is.
    pub mark: Mark,
    /// What is wrong, as a clause without a full stop.
    pub reason: String,
    /// What to write instead, if that is known.
    pub help: Option<&'static str>,
}

impl SyntaxError {
    fn new(mark: Mark, message: impl fmt::Display) -> SyntaxError {
        SyntaxError {
            mark,
            reason: format!("this is not YAML: {message}"),
            help: None,
        }
    }
}

/// The most that the aliases of a source, and of all files in it, may add to it, in bytes. The tree shares what they refer to, but JSON and the compiled
/// policy have a copy for each. Ten thousand keys with the same list of ten origins are below this limit.
const MAX_ALIASED: usize = 8 << 20;

/// The size of everything that aliases have added to a source so far, in bytes.
#[derive(Debug, Default)]
pub struct Aliased(usize);

impl Aliased {
    /// Whether it is over the limit.
    pub fn is_too_much(&self) -> bool {
        self.0 > MAX_ALIASED
    }
}

/// The size of a node without its text, in bytes.
const NODE_SIZE: usize = 40;

impl Mark {
    const START: Mark = Mark { line: 1, column: 1 };

    fn of(span: Span) -> Mark {
        Mark {
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }
}

/// Parses all documents of a YAML stream. `aliased` is what aliases have added to the source so far.
pub fn parse_yaml(text: &str, aliased: &mut Aliased) -> Result<Vec<Node>, SyntaxError> {
    // This parser reads YAML 1.2, and Kubernetes reads YAML 1.1: to it, the rest of such a comment or value could be another field.
    if let Some((before, _)) = text.split_once(['\u{85}', '\u{2028}', '\u{2029}']) {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let message = "readers of YAML 1.1 end a line here (U+0085, U+2028 or U+2029), and those of 1.2 do not";
        return Err(SyntaxError::new(Mark { line, column }, message));
    }
    parse(text, Options::default(), aliased)
}

/// Parses JSON. It differs from YAML in the length of names, which YAML limits to 1024 characters.
pub fn parse_json(text: &str) -> Result<Option<Node>, SyntaxError> {
    /// A document with a longer name has no tree: its diagnostics have no position, and public suffixes are not checked.
    const MAX_NAME_LENGTH: usize = 1 << 16;
    let mut options = Options::default();
    options.simple_key_max_lookahead = MAX_NAME_LENGTH;
    Ok(parse(text, options, &mut Aliased::default())?.pop())
}

fn parse(text: &str, options: Options, aliased: &mut Aliased) -> Result<Vec<Node>, SyntaxError> {
    let mut builder = Builder {
        documents: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        aliased,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let mark = Mark {
                line: error.marker().line(),
                column: error.marker().col() + 1,
            };
            SyntaxError::new(mark, error.kind())
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

struct Builder<'a> {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Measured>,
    aliased: &'a mut Aliased,
}

/// A node and its size in bytes, with all aliases expanded.
#[derive(Clone)]
struct Measured {
    node: Node,
    size: usize,
}

/// A list or object whose end the parser has not reached.
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
        /// The name whose value follows.
        name: Option<Name>,
    },
}

struct Name {
    mark: Mark,
    text: String,
    is_plain: bool,
    is_merge: bool,
}

/// Whether a tag says that a value is a string, and no more: `!` or `!!str`.
fn is_string_tag(tag: &Tag) -> bool {
    tag.is_yaml_core_schema_tag("str") || matches!((tag.handle(), tag.suffix()), ("!", "") | ("", "!"))
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let mark = Mark::of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // The tag is not shown: `!` may be the beginning of a key without quotes.
                if tag.as_ref().is_some_and(|tag| !is_string_tag(tag)) {
                    let message = "readers do not agree on a value with a tag (a word after !)";
                    let help = Some("write the value without the tag; put it in quotes if it begins with !");
                    return Err(SyntaxError {
                        help,
                        ..SyntaxError::new(mark, message)
                    });
                }
                // The mark is that of the first line that is not empty.
                let empty = text.bytes().take_while(|b| *b == b'\n').count();
                let block = (style == ScalarStyle::Literal).then(|| Block {
                    first_line: mark.line.saturating_sub(empty),
                    indentation: span.indent.unwrap_or(0),
                });
                let scalar = Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain && tag.is_none(),
                    block,
                };
                let size = NODE_SIZE + scalar.text.len();
                let value = Value::Scalar(scalar.into());
                let node = Node { mark, value };
                self.close(Measured { node, size }, anchor, false);
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
                    self.close(Measured { node, size }, anchor, false);
                }
            }
            Event::Alias(anchor) => {
                // An alias within its own anchor has no complete node yet.
                let Some(aliased) = self.anchors.get(&anchor).cloned() else {
                    return Err(SyntaxError::new(mark, "the alias is within what it stands for"));
                };
                self.aliased.0 += aliased.size;
                if self.aliased.is_too_much() {
                    let message = format!("up to this alias, aliases stand for more than {MAX_ALIASED} bytes");
                    return Err(SyntaxError::new(mark, message));
                }
                self.close(aliased, 0, true);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, content: Content, anchor: usize) {
        self.open.push(Open {
            mark,
            content,
            size: NODE_SIZE,
            anchor,
        });
    }

    /// Adds a complete node to its parent, or to the documents.
    fn close(&mut self, closed: Measured, anchor: usize, is_alias: bool) {
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
                Some(name) => members.push(Member {
                    mark: name.mark,
                    name: name.text,
                    is_plain: name.is_plain,
                    is_merge: name.is_merge,
                    node,
                }),
                None => {
                    let is_plain = node.scalar().is_some_and(|scalar| scalar.is_plain);
                    let is_merge = is_plain && node.text() == Some("<<");
                    *name = Some(Name {
                        mark: node.mark,
                        text: node.text().unwrap_or_default().to_owned(),
                        is_plain,
                        // kubectl does not take an alias of `<<` for a merge key.
                        is_merge: is_merge && !is_alias,
                    });
                }
            },
        }
    }
}

impl Member {
    /// The name as a reader of this dialect takes it: Kubernetes makes `010` 8, and `on` true, before it makes them text again.
    fn name_in(&self, dialect: Dialect) -> Cow<'_, str> {
        if dialect != Dialect::Kubernetes || !self.is_plain {
            return Cow::Borrowed(&self.name);
        }
        match scalar::plain(&self.name, dialect) {
            Some(value) if value != "null" => Cow::Owned(value),
            _ => Cow::Borrowed(&self.name),
        }
    }
}

impl Node {
    /// The value with this name. If the name is repeated, it is the last one's, as Envoy and Kubernetes take it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let member = self.members().iter().rfind(|member| member.name == name);
        member.map(|member| &member.node)
    }

    /// The node of an empty document, which is null.
    pub fn null() -> Node {
        Node {
            mark: Mark::START,
            value: Value::Scalar(Rc::new(Scalar {
                text: String::new(),
                is_plain: true,
                block: None,
            })),
        }
    }

    /// Whether this is an empty document.
    pub fn is_null(&self) -> bool {
        let scalar = self.scalar().filter(|scalar| scalar.is_plain);
        scalar.is_some_and(|scalar| matches!(scalar.text.as_str(), "" | "~" | "null"))
    }

    /// The value at this path of names.
    pub fn at(&self, names: &[&str]) -> Option<&Node> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The members of an object; none of anything else.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text of a scalar of any type.
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    /// Converts the tree to JSON as a reader of this dialect would.
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
                    json.push_str(&quoted(&member.name_in(dialect)));
                    json.push(':');
                    member.node.write_json(dialect, json);
                }
                json.push('}');
            }
        }
    }
}
