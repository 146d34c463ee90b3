//! The keys of one file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::key::KeyContext;
use keyfence_core::config::node::Node;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{self, Diagnostic, Diagnostics, StructureError, Subject, without_byte_order_mark};
use keyfence_files::located::LocatedTree;
use keyfence_files::source::{LocatedPolicy, Source};
use keyfence_files::tree::Mark;
use serde_json::value::RawValue;

use crate::fed_key::FedKey;

/// A key, and where it is in its file.
#[derive(Debug, Clone)]
pub struct FileKey {
    pub key: FedKey,
    pub mark: Mark,
    /// Its index in `keys`.
    pub index: usize,
}

/// Reads the keys of a file, and its warnings. The error is all that is wrong with the file.
pub fn read(path: &Path) -> Result<(Vec<FileKey>, Vec<String>), Vec<String>> {
    let contents = Source::read(path).and_then(|source| source.contents());
    let contents = contents.map_err(|failure| vec![failure.0])?;
    let mut lines = Lines {
        file: path,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    for error in &contents.errors {
        let Mark { line, column } = error.mark;
        let help = error
            .help
            .map_or_else(|| format!("look at line {line}, column {column}"), str::to_owned);
        lines.errors.push(format!(
            "{}:{line}:{column}: error: {}; {help}",
            path.display(),
            error.reason
        ));
    }
    let mut keys = Vec::new();
    for policy in &contents.policies {
        let (diagnostics, found) = keys_of(policy);
        lines.add(&diagnostics, &policy.tree);
        keys.extend(found);
    }
    match lines.errors.is_empty() {
        true => Ok((keys, lines.warnings)),
        false => Err(lines.errors),
    }
}

/// The keys of a policy. Its other fields must be right too, so that a misspelt `keys` is not taken for none; what they would be warned of is the
/// gateway's.
fn keys_of(policy: &LocatedPolicy) -> (Diagnostics, Vec<FileKey>) {
    let json = without_byte_order_mark(&policy.json);
    let mut others = Diagnostics::default();
    let Some(config) = config::read(json, &mut others).filter(|_| others.error_count() == 0) else {
        return (others, Vec::new());
    };
    let mut diagnostics = Diagnostics::default();
    let context = KeyContext {
        now: now(),
        sources: &config.key_sources,
        has_identity_header: config.identity_header.is_some(),
    };
    let list = ConfigPath::ROOT.field("keys");
    let items = policy
        .tree
        .root
        .as_ref()
        .and_then(|root| root.get("keys"))
        .map_or(&[][..], |keys| keys.items());
    let mut keys = Vec::new();
    // What `config::read` has read is JSON, and an object.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(json).unwrap_or_default();
    let Some(texts) = fields.get("keys") else {
        diagnostics.add_bare(&ConfigPath::ROOT, &StructureError::MissingField { name: "keys" });
        return (diagnostics, keys);
    };
    let Ok(texts) = serde_json::from_str::<Vec<&RawValue>>(texts.get()) else {
        let found = serde_json::from_str::<Node<'_>>(texts.get()).map_or("", |node| node.type_name());
        let expected = "a list";
        diagnostics.add_bare(&list, &StructureError::WrongType { expected, found });
        return (diagnostics, keys);
    };
    for (index, text) in texts.into_iter().enumerate() {
        let Ok(node) = serde_json::from_str(text.get()) else {
            continue;
        };
        if let Some(key) = FedKey::read(node, context, &list.item(index), &mut diagnostics) {
            let mark = items
                .get(index)
                .map_or(policy.tree.start(), |item| policy.tree.origin.in_source(item.mark));
            keys.push(FileKey { key, mark, index });
        }
    }
    (diagnostics, keys)
}

/// Diagnostics as lines for the log.
struct Lines<'f> {
    file: &'f Path,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Lines<'_> {
    fn add(&mut self, diagnostics: &Diagnostics, tree: &LocatedTree) {
        let lines = |all: &[Diagnostic], count: usize, name: &str| {
            let paths: Vec<&str> = all.iter().map(|diagnostic| diagnostic.path.as_str()).collect();
            let locations = tree.locate(&paths);
            let file = self.file.display();
            let mut lines: Vec<String> = Vec::new();
            for diagnostic in all {
                let mark = match (diagnostic.message.subject, locations.get(&diagnostic.path)) {
                    (Subject::Position { line, column }, _) => tree.origin.in_source(Mark {
                        line,
                        column: column.max(1),
                    }),
                    (Subject::Name, Some(location)) => location.name,
                    (Subject::Value, Some(location)) => location.value,
                    (_, None) => tree.start(),
                };
                lines.push(format!("{file}:{}:{}: {name}: {diagnostic}", mark.line, mark.column));
            }
            if count > all.len() {
                lines.push(format!("{file}: and {} more {name}s", count - all.len()));
            }
            lines
        };
        let errors = lines(diagnostics.errors(), diagnostics.error_count(), "error");
        let warnings = lines(diagnostics.warnings(), diagnostics.warning_count(), "warning");
        self.errors.extend(errors);
        self.warnings.extend(warnings);
    }
}

/// The time; the epoch if the clock is before it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
