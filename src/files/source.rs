//! Reads policies from a file or standard input: a policy itself, or a configuration that contains policies.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{fs, str};

use base64ct::{Base64, Encoding};
use keyfence_core::config::without_byte_order_mark;
use serde::de::IgnoredAny;

use crate::Failure;
use crate::embedded::{self, File, Policy};
use crate::located::{LocatedTree, Origin};
use crate::merge;
use crate::scalar::Dialect;
use crate::tree::{self, Aliased, Node, SyntaxError};

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
    /// The positions of its values.
    pub tree: LocatedTree,
    /// Whether it is the configuration of a plugin that is not named keyfence.
    is_of_unnamed: bool,
}

/// A configuration of Envoy or Kubernetes.
#[derive(Debug)]
pub struct Manifest {
    /// The whole document.
    pub tree: LocatedTree,
    /// Who reads it.
    pub dialect: Dialect,
    /// Whether it has plugins, and none is named keyfence.
    is_of_unnamed: bool,
}

/// Everything that a source contains.
#[derive(Debug, Default)]
pub struct Contents {
    /// The policies, in the order of the source.
    pub policies: Vec<LocatedPolicy>,
    /// The configurations that contain plugins.
    pub manifests: Vec<Manifest>,
    /// What cannot be read.
    pub errors: Vec<SyntaxError>,
    aliased: Aliased,
    /// Whether a plugin is named keyfence.
    has_named: bool,
}

/// What a text may be if it is not a configuration of Envoy or Kubernetes.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// A policy.
    Policy,
    /// A policy, or a file of another program.
    AnyFile {
        /// Whether its names say that it is a policy.
        is_named: bool,
    },
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

    /// The text, without a byte order mark.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it is read as JSON: by its file extension, otherwise by its first character.
    pub fn is_json(&self) -> bool {
        is_json(&self.path, &self.text)
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        if self.path == Path::new("-") {
            "standard input".into()
        } else {
            self.path.display().to_string()
        }
    }

    /// Everything that the source contains: at least one policy or syntax error. A failure means that the source cannot be used.
    pub fn contents(&self) -> Result<Contents, Failure> {
        let mut contents = Contents::default();
        if is_json(&self.path, &self.text) {
            contents.add_json(&self.text, &Origin::default(), Expected::Policy);
        } else {
            let text = str::from_utf8(&self.text)
                .map_err(|error| Failure(format!("{}: it is not UTF-8: {error}", self.name())))?;
            contents.add_yaml(text, &Origin::default(), Expected::Policy);
        }
        // Beside a plugin that is named keyfence, the others are other programs', in other documents too.
        if contents.has_named {
            contents.policies.retain(|policy| !policy.is_of_unnamed);
            contents.manifests.retain(|manifest| !manifest.is_of_unnamed);
        }
        if contents.policies.is_empty() && contents.errors.is_empty() {
            let name = self.name();
            return Err(Failure(format!(
                "{name} is a configuration of Envoy or Kubernetes without a Wasm plugin or a policy; give one that loads keyfence, or a policy"
            )));
        }
        Ok(contents)
    }

    /// All policies of the source, at least one. The inner error is a syntax error; the outer one means that the source cannot be used.
    pub fn policies(&self) -> Result<Result<Vec<LocatedPolicy>, SyntaxError>, Failure> {
        let contents = self.contents()?;
        Ok(match contents.errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(contents.policies),
        })
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
}

/// Decides by the file extension, otherwise by the first character. YAML that begins with a brace or bracket is read as JSON.
fn is_json(path: &Path, text: &[u8]) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => matches!(text.trim_ascii_start().first(), None | Some(b'{' | b'[')),
    }
}

/// The tree of a JSON text; `None` if it is not valid JSON.
fn json_tree(text: &[u8]) -> Option<Node> {
    serde_json::from_slice::<IgnoredAny>(text).ok()?;
    tree::parse_json(str::from_utf8(text).ok()?).ok()?
}

impl Contents {
    fn add_json(&mut self, text: &[u8], origin: &Origin, expected: Expected) {
        let tree = LocatedTree {
            root: json_tree(text),
            origin: origin.clone(),
        };
        match &tree.root {
            Some(root) if self.add_manifest(root, Dialect::Json, origin, expected) => {}
            root if expected.is_policy(root.as_ref(), text) => {
                self.policies
                    .push(LocatedPolicy::new(text.to_owned(), tree.root, tree.origin));
            }
            _ => {}
        }
    }

    fn add_yaml(&mut self, text: &str, origin: &Origin, expected: Expected) {
        let mut documents = match tree::parse_yaml(text, &mut self.aliased) {
            Ok(documents) => documents,
            Err(error) => {
                // What is not read for its aliases may be a policy.
                if self.aliased.is_too_much() || expected.is_policy(None, text.as_bytes()) {
                    self.add_error(error, origin);
                }
                return;
            }
        };
        // As kubectl does: Helm's output has documents of nothing but comments.
        if documents.iter().any(|document| !document.is_null()) {
            documents.retain(|document| !document.is_null());
        } else {
            documents.truncate(1);
        }
        let has_merge_keys = text.contains("<<");
        for document in &documents {
            let (dialect, document) = if !embedded::is_kubernetes(document) {
                (Dialect::Envoy, Ok(document.clone()))
            } else if has_merge_keys {
                (Dialect::Kubernetes, merge::resolve(document))
            } else {
                (Dialect::Kubernetes, Ok(document.clone()))
            };
            match document {
                Ok(document) => self.add_document(&document, dialect, origin, expected),
                Err(error) => self.add_error(error, origin),
            }
        }
        if documents.is_empty() {
            self.add_document(&Node::null(), Dialect::Envoy, origin, expected);
        }
    }

    fn add_document(&mut self, document: &Node, dialect: Dialect, origin: &Origin, expected: Expected) {
        if !self.add_manifest(document, dialect, origin, expected) && expected.is_policy(Some(document), b"") {
            self.policies.push(LocatedPolicy::fields(document, dialect, origin));
        }
    }

    /// Adds a configuration of Envoy or Kubernetes and the policies in it. Returns false if the document is something else.
    fn add_manifest(&mut self, document: &Node, dialect: Dialect, origin: &Origin, expected: Expected) -> bool {
        let plugins = embedded::plugins(document);
        if plugins.is_empty() && !embedded::is_foreign(document) {
            return false;
        }
        let is_of_unnamed = plugins.first().is_some_and(|plugin| !plugin.is_named);
        self.has_named |= plugins.iter().any(|plugin| plugin.is_named);
        let before = self.policies.len();
        for plugin in plugins {
            let mut policy = match plugin.policy {
                Policy::Fields(node) => LocatedPolicy::fields(node, dialect, origin),
                Policy::Text(node) => LocatedPolicy::text(node, origin),
                Policy::Missing(node) => LocatedPolicy::new(
                    EMPTY_POLICY.into(),
                    json_tree(EMPTY_POLICY.as_bytes()),
                    origin.at(node.mark),
                ),
            };
            policy.is_of_unnamed = is_of_unnamed;
            // In another program's file it may be another program's plugin.
            let is_other = is_of_unnamed
                && matches!(expected, Expected::AnyFile { .. })
                && !policy.tree.root.as_ref().is_some_and(has_the_fields_of_a_policy);
            if !is_other {
                self.policies.push(policy);
            }
        }
        if is_of_unnamed && self.policies.len() == before {
            return true;
        }
        // The files of a resource that is in a file are not read: nothing mounts them.
        if let Expected::Policy = expected {
            for file in embedded::files(document) {
                self.add_file(&file, origin);
            }
        }
        self.manifests.push(Manifest {
            tree: LocatedTree {
                root: Some(document.clone()),
                origin: origin.clone(),
            },
            dialect,
            is_of_unnamed,
        });
        true
    }

    fn add_file(&mut self, file: &File<'_>, origin: &Origin) {
        let path = Path::new(file.name);
        let text = file.content.text().unwrap_or_default();
        let (text, origin) = if file.is_base64 {
            let text: String = text.split_ascii_whitespace().collect();
            // Kubernetes refuses what is not base64.
            let Ok(decoded) = Base64::decode_vec(&text) else {
                self.add_unreadable(
                    file,
                    "this is not base64",
                    "write the text itself in stringData, or its base64",
                    origin,
                );
                return;
            };
            (decoded, origin.at(file.content.mark))
        } else {
            (text.as_bytes().to_vec(), origin.of_string(file.content))
        };
        let text = without_byte_order_mark(&text);
        let expected = Expected::AnyFile {
            is_named: file.is_named,
        };
        if text.is_empty() {
            return;
        }
        if is_json(path, text) {
            self.add_json(text, &origin, expected);
        } else if let Ok(text) = str::from_utf8(text) {
            self.add_yaml(text, &origin, expected);
        } else {
            self.add_unreadable(file, "this is not UTF-8", "save the file as UTF-8", &origin);
        }
    }

    /// An error for a file that is named as a policy.
    fn add_unreadable(&mut self, file: &File<'_>, reason: &str, help: &'static str, origin: &Origin) {
        if file.is_named {
            let error = SyntaxError {
                mark: file.content.mark,
                reason: reason.into(),
                help: Some(help),
            };
            self.add_error(error, origin);
        }
    }

    fn add_error(&mut self, error: SyntaxError, origin: &Origin) {
        self.errors.push(SyntaxError {
            mark: origin.in_source(error.mark),
            ..error
        });
    }
}

impl Expected {
    /// Whether a text is a policy, or is meant to be one. `root` is `None` if it cannot be parsed.
    fn is_policy(self, root: Option<&Node>, text: &[u8]) -> bool {
        let Expected::AnyFile { is_named } = self else {
            return true;
        };
        is_named || root.map_or_else(|| mentions_a_key(text), has_the_fields_of_a_policy)
    }
}

fn mentions_a_key(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.contains("api_key") && text.contains("keys"))
}

/// A JSON Web Key Set also has `keys`, and other fields in them.
fn has_the_fields_of_a_policy(root: &Node) -> bool {
    let is_key = |item: &Node| item.get("id").is_some() || item.get("api_key").is_some();
    let keys = root.get("keys").map_or(&[][..], Node::items);
    keys.iter().any(is_key)
        || root
            .get("anonymous")
            .is_some_and(|anonymous| !anonymous.members().is_empty())
}

impl LocatedPolicy {
    fn new(json: Vec<u8>, root: Option<Node>, origin: Origin) -> LocatedPolicy {
        LocatedPolicy {
            json,
            tree: LocatedTree { root, origin },
            is_of_unnamed: false,
        }
    }

    /// A policy whose fields are in the document, at `node`.
    fn fields(node: &Node, dialect: Dialect, origin: &Origin) -> LocatedPolicy {
        LocatedPolicy::new(node.to_json(dialect).into(), Some(node.clone()), origin.clone())
    }

    /// A policy in a string.
    fn text(node: &Node, origin: &Origin) -> LocatedPolicy {
        let text = node.text().filter(|text| !text.is_empty()).unwrap_or(EMPTY_POLICY);
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        LocatedPolicy::new(text.into(), json_tree(text.as_bytes()), origin.of_string(node))
    }
}
