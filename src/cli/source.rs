//! Policies as they come to the command line: from a file or standard input, alone or within something else.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{fs, str};

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::without_byte_order_mark;
use serde::de::IgnoredAny;

use super::Failure;
use super::embedded::{self, Policy};
use super::scalar::{Block, Dialect};
use super::tree::{self, Mark, Node, SyntaxError};

/// A file, or standard input.
#[derive(Debug)]
pub struct Source {
    /// As in the argument; `-` for standard input.
    pub path: PathBuf,
    text: Vec<u8>,
}

/// One policy, and where each part of it stands in its source.
#[derive(Debug)]
pub struct Found {
    /// What the filter gets.
    pub json: Vec<u8>,
    /// `None` where a position is not to be had.
    pub tree: Option<Node>,
    offset: Offset,
}

/// From positions in the policy to positions in its source.
#[derive(Debug, Clone, Copy)]
enum Offset {
    None,
    Block(Block),
    /// The text has no lines of its own in the source.
    At(Mark),
}

/// What the filter takes no configuration for.
const NOTHING: &str = "{}";

impl Source {
    /// Reads all of it.
    pub fn read(path: &Path) -> Result<Source, Failure> {
        let failed = |error| Failure(format!("{}: {error}", path.display()));
        let text = if path == Path::new("-") {
            let mut text = Vec::new();
            io::stdin().lock().read_to_end(&mut text).map_err(failed)?;
            text
        } else {
            fs::read(path).map_err(failed)?
        };
        Ok(Source {
            path: path.to_owned(),
            text: without_byte_order_mark(&text).to_vec(),
        })
    }

    /// What people call it.
    pub fn name(&self) -> String {
        if self.path == Path::new("-") {
            "standard input".into()
        } else {
            self.path.display().to_string()
        }
    }

    /// Every policy in it, at least one. The inner error is about the text, the outer one about the use of it.
    pub fn policies(&self) -> Result<Result<Vec<Found>, SyntaxError>, Failure> {
        if self.is_json() {
            return self.json_policies().map(Ok);
        }
        let text = str::from_utf8(&self.text)
            .map_err(|error| Failure(format!("{}: it is not UTF-8: {error}", self.name())))?;
        let documents = match tree::parse_yaml(text) {
            Ok(documents) => documents,
            Err(error) => return Ok(Err(error)),
        };
        let mut found = Vec::new();
        for document in &documents {
            let dialect = if embedded::is_kubernetes(document) {
                Dialect::Kubernetes
            } else {
                Dialect::Envoy
            };
            match within(document, dialect) {
                Some(policies) => found.extend(policies),
                None => found.push(Found::fields(document, dialect)),
            }
        }
        if documents.is_empty() {
            found.push(Found::fields(&Node::nothing(), Dialect::Envoy));
        }
        self.at_least_one(found).map(Ok)
    }

    /// The one policy in it.
    pub fn policy(&self) -> Result<Result<Found, SyntaxError>, Failure> {
        let mut found = match self.policies()? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        match (found.pop(), found.len()) {
            (Some(policy), 0) => Ok(Ok(policy)),
            (_, others) => Err(Failure(format!(
                "{} holds {} policies; give one",
                self.name(),
                others + 1
            ))),
        }
    }

    /// By its name, else by how it begins: whoever begins with a brace means JSON.
    fn is_json(&self) -> bool {
        match self.path.extension().and_then(OsStr::to_str) {
            Some("json") => true,
            Some("yaml" | "yml") => false,
            _ => matches!(self.text.trim_ascii_start().first(), None | Some(b'{' | b'[')),
        }
    }

    fn json_policies(&self) -> Result<Vec<Found>, Failure> {
        let is_json = serde_json::from_slice::<IgnoredAny>(&self.text).is_ok();
        let tree = str::from_utf8(&self.text)
            .ok()
            .filter(|_| is_json)
            .and_then(one_document);
        if let Some(policies) = tree.as_ref().and_then(|tree| within(tree, Dialect::Json)) {
            return self.at_least_one(policies);
        }
        Ok(vec![Found {
            json: self.text.clone(),
            tree,
            offset: Offset::None,
        }])
    }

    fn at_least_one(&self, found: Vec<Found>) -> Result<Vec<Found>, Failure> {
        if found.is_empty() {
            let name = self.name();
            return Err(Failure(format!("{name} holds no configuration of a Wasm plugin")));
        }
        Ok(found)
    }
}

fn one_document(text: &str) -> Option<Node> {
    tree::parse_json(text).ok()?
}

/// The policies within configuration of something else; `None` where the document is a policy itself.
fn within(document: &Node, dialect: Dialect) -> Option<Vec<Found>> {
    let plugins = embedded::plugins(document);
    if plugins.is_empty() && !embedded::is_foreign(document) {
        return None;
    }
    let found = plugins.iter().map(|plugin| match plugin.policy {
        Policy::Fields(node) => Found::fields(node, dialect),
        Policy::Text(node) => Found::text(node),
        Policy::Missing(plugin) => Found {
            json: NOTHING.into(),
            tree: one_document(NOTHING),
            offset: Offset::At(plugin.mark),
        },
    });
    Some(found.collect())
}

impl Found {
    fn fields(node: &Node, dialect: Dialect) -> Found {
        Found {
            json: node.to_json(dialect).into(),
            tree: Some(node.clone()),
            offset: Offset::None,
        }
    }

    fn text(node: &Node) -> Found {
        let scalar = node.scalar();
        let text = scalar
            .map(|scalar| scalar.text.as_str())
            .filter(|text| !text.is_empty());
        let text = text.unwrap_or(NOTHING);
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        Found {
            json: text.into(),
            tree: Some(text).filter(|_| is_json).and_then(one_document),
            offset: match scalar.and_then(|scalar| scalar.block) {
                Some(block) => Offset::Block(block),
                None => Offset::At(node.mark),
            },
        }
    }

    /// Where in the source this position of the policy is.
    pub fn in_source(&self, mark: Mark) -> Mark {
        match self.offset {
            Offset::None => mark,
            Offset::At(mark) => mark,
            Offset::Block(block) => Mark {
                line: block.first_line + mark.line - 1,
                column: block.indentation + mark.column,
            },
        }
    }

    /// Where the policy begins.
    pub fn start(&self) -> Mark {
        let start = self.tree.as_ref().map_or(Mark { line: 1, column: 1 }, |tree| tree.mark);
        self.in_source(start)
    }

    /// Where in the source the parts of the policy stand that have these places: the value, and the name before it.
    pub fn locate(&self, places: &[&str]) -> HashMap<String, Located> {
        let mut search = Search {
            wanted: places.iter().copied().filter(|place| !place.is_empty()).collect(),
            found: HashMap::new(),
        };
        if let Some(tree) = &self.tree {
            search.visit(tree, &ConfigPath::ROOT);
        }
        for located in search.found.values_mut() {
            located.value = self.in_source(located.value);
            located.name = self.in_source(located.name);
        }
        search.found
    }
}

/// Where a part of the policy stands. Of repeated names it is the last.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    pub value: Mark,
    /// As the value where it has no name.
    pub name: Mark,
}

struct Search<'w> {
    wanted: BTreeSet<&'w str>,
    found: HashMap<String, Located>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node, place: &ConfigPath<'_>) {
        for (index, item) in node.items().iter().enumerate() {
            self.consider(item, item.mark, &place.item(index));
        }
        for member in node.members() {
            self.consider(&member.node, member.mark, &place.field(&member.name));
        }
    }

    fn consider(&mut self, node: &Node, name: Mark, place: &ConfigPath<'_>) {
        let text = place.to_string();
        if self.wanted.contains(text.as_str()) {
            let value = node.mark;
            self.found.insert(text.clone(), Located { value, name });
        }
        // Whatever is below a place begins with it.
        let mut below = self.wanted.range(text.as_str()..).skip_while(|wanted| **wanted == text);
        if below.next().is_some_and(|wanted| wanted.starts_with(&text)) {
            self.visit(node, place);
        }
    }
}
