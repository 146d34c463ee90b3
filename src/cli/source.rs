//! Reads policies from a file or standard input: a policy itself, or a configuration that contains policies.

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

/// The text of a file or of standard input.
#[derive(Debug)]
pub struct Source {
    /// The argument; `-` for standard input.
    pub path: PathBuf,
    text: Vec<u8>,
}

/// A policy, and the positions of its values in its source.
#[derive(Debug)]
pub struct LocatedPolicy {
    /// The configuration that the filter gets.
    pub json: Vec<u8>,
    /// `None` if the policy is not valid JSON or YAML; then it has no positions.
    pub tree: Option<Node>,
    offset: Offset,
}

/// Maps positions in the policy to positions in its source.
#[derive(Debug, Clone, Copy)]
enum Offset {
    /// They are the same.
    None,
    /// The policy is a literal block.
    Block(Block),
    /// The policy is a string of another kind. All its positions map to the start of the string.
    At(Mark),
}

/// The policy of a plugin without a configuration.
const EMPTY_POLICY: &str = "{}";

impl Source {
    /// Reads a file, or standard input if `path` is `-`.
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

    /// The name for messages.
    pub fn name(&self) -> String {
        if self.path == Path::new("-") {
            "standard input".into()
        } else {
            self.path.display().to_string()
        }
    }

    /// All policies of the source, at least one. The inner error is a syntax error; the outer one means that the source cannot be used.
    pub fn policies(&self) -> Result<Result<Vec<LocatedPolicy>, SyntaxError>, Failure> {
        if self.is_json() {
            return self.json_policies().map(Ok);
        }
        let text = str::from_utf8(&self.text)
            .map_err(|error| Failure(format!("{}: it is not UTF-8: {error}", self.name())))?;
        let documents = match tree::parse_yaml(text) {
            Ok(documents) => documents,
            Err(error) => return Ok(Err(error)),
        };
        let mut policies = Vec::new();
        for document in &documents {
            let dialect = if embedded::is_kubernetes(document) {
                Dialect::Kubernetes
            } else {
                Dialect::Envoy
            };
            match embedded_policies(document, dialect) {
                Some(embedded) => policies.extend(embedded),
                None => policies.push(LocatedPolicy::fields(document, dialect)),
            }
        }
        if documents.is_empty() {
            policies.push(LocatedPolicy::fields(&Node::null(), Dialect::Envoy));
        }
        self.at_least_one(policies).map(Ok)
    }

    /// The only policy of the source. Errors are as for [`Source::policies`].
    pub fn policy(&self) -> Result<Result<LocatedPolicy, SyntaxError>, Failure> {
        let mut policies = match self.policies()? {
            Ok(policies) => policies,
            Err(error) => return Ok(Err(error)),
        };
        match (policies.pop(), policies.len()) {
            (Some(policy), 0) => Ok(Ok(policy)),
            (_, others) => Err(Failure(format!(
                "{} contains {} policies; give a file with one",
                self.name(),
                others + 1
            ))),
        }
    }

    /// Decides by the file extension, otherwise by the first character. YAML that begins with a brace or bracket is read as JSON.
    fn is_json(&self) -> bool {
        match self.path.extension().and_then(OsStr::to_str) {
            Some("json") => true,
            Some("yaml" | "yml") => false,
            _ => matches!(self.text.trim_ascii_start().first(), None | Some(b'{' | b'[')),
        }
    }

    fn json_policies(&self) -> Result<Vec<LocatedPolicy>, Failure> {
        let is_json = serde_json::from_slice::<IgnoredAny>(&self.text).is_ok();
        let tree = str::from_utf8(&self.text)
            .ok()
            .filter(|_| is_json)
            .and_then(one_document);
        if let Some(policies) = tree.as_ref().and_then(|tree| embedded_policies(tree, Dialect::Json)) {
            return self.at_least_one(policies);
        }
        Ok(vec![LocatedPolicy {
            json: self.text.clone(),
            tree,
            offset: Offset::None,
        }])
    }

    fn at_least_one(&self, policies: Vec<LocatedPolicy>) -> Result<Vec<LocatedPolicy>, Failure> {
        if policies.is_empty() {
            let name = self.name();
            return Err(Failure(format!(
                "{name} is a configuration of Envoy or Kubernetes without a Wasm plugin; give one that loads keyfence, or a policy"
            )));
        }
        Ok(policies)
    }
}

fn one_document(text: &str) -> Option<Node> {
    tree::parse_json(text).ok()?
}

/// The policies in a configuration of Envoy or Kubernetes; `None` if the document is a policy itself.
fn embedded_policies(document: &Node, dialect: Dialect) -> Option<Vec<LocatedPolicy>> {
    let plugins = embedded::plugins(document);
    if plugins.is_empty() && !embedded::is_foreign(document) {
        return None;
    }
    let policies = plugins.iter().map(|plugin| match plugin.policy {
        Policy::Fields(node) => LocatedPolicy::fields(node, dialect),
        Policy::Text(node) => LocatedPolicy::text(node),
        Policy::Missing(plugin) => LocatedPolicy {
            json: EMPTY_POLICY.into(),
            tree: one_document(EMPTY_POLICY),
            offset: Offset::At(plugin.mark),
        },
    });
    Some(policies.collect())
}

impl LocatedPolicy {
    /// A policy whose fields are in the document, at `node`.
    fn fields(node: &Node, dialect: Dialect) -> LocatedPolicy {
        LocatedPolicy {
            json: node.to_json(dialect).into(),
            tree: Some(node.clone()),
            offset: Offset::None,
        }
    }

    /// A policy in a string.
    fn text(node: &Node) -> LocatedPolicy {
        let scalar = node.scalar();
        let text = scalar
            .map(|scalar| scalar.text.as_str())
            .filter(|text| !text.is_empty());
        let text = text.unwrap_or(EMPTY_POLICY);
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        LocatedPolicy {
            json: text.into(),
            tree: Some(text).filter(|_| is_json).and_then(one_document),
            offset: match scalar.and_then(|scalar| scalar.block) {
                Some(block) => Offset::Block(block),
                None => Offset::At(node.mark),
            },
        }
    }

    /// Maps a position in the policy to a position in the source.
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

    /// The position in the source at which the policy begins.
    pub fn start(&self) -> Mark {
        let start = self.tree.as_ref().map_or(Mark { line: 1, column: 1 }, |tree| tree.mark);
        self.in_source(start)
    }

    /// Finds the positions in the source of the values at these paths, in the notation of [`ConfigPath`].
    pub fn locate(&self, paths: &[&str]) -> HashMap<String, Location> {
        let mut search = Search {
            wanted: paths.iter().copied().filter(|path| !path.is_empty()).collect(),
            found: HashMap::new(),
        };
        if let Some(tree) = &self.tree {
            search.visit(tree, &ConfigPath::ROOT);
        }
        for location in search.found.values_mut() {
            location.value = self.in_source(location.value);
            location.name = self.in_source(location.name);
        }
        search.found
    }
}

/// The position of a value. If its name is repeated, it is the last one's.
#[derive(Debug, Clone, Copy)]
pub struct Location {
    pub value: Mark,
    /// The position of its name, or of the value for an item of a list.
    pub name: Mark,
}

struct Search<'w> {
    wanted: BTreeSet<&'w str>,
    found: HashMap<String, Location>,
}

impl Search<'_> {
    fn visit(&mut self, node: &Node, path: &ConfigPath<'_>) {
        for (index, item) in node.items().iter().enumerate() {
            self.match_path(item, item.mark, &path.item(index));
        }
        for member in node.members() {
            self.match_path(&member.node, member.mark, &path.field(&member.name));
        }
    }

    /// Records the node if its path is wanted, and visits its children if one of theirs may be.
    fn match_path(&mut self, node: &Node, name: Mark, path: &ConfigPath<'_>) {
        let text = path.to_string();
        if self.wanted.contains(text.as_str()) {
            let value = node.mark;
            self.found.insert(text.clone(), Location { value, name });
        }
        // The path of a child begins with the path of its parent.
        let mut below = self.wanted.range(text.as_str()..).skip_while(|wanted| **wanted == text);
        if below.next().is_some_and(|wanted| wanted.starts_with(&text)) {
            self.visit(node, path);
        }
    }
}
