//! The keys of one file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str;
use std::time::SystemTime;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::key::KeyContext;
use keyfence_core::config::node::Node;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{self, Diagnostic, Diagnostics, StructureError, SyntaxError, without_byte_order_mark};
use keyfence_files::source::Source;
use keyfence_files::tree::Mark;
use serde_json::value::RawValue;

use super::positions::Positions;
use super::references;
use crate::fed_key::FedKey;

/// A key, and where it is in its file.
#[derive(Debug, Clone)]
pub struct FileKey {
    pub key: FedKey,
    pub mark: Mark,
    /// Its index in `keys`.
    pub index: usize,
}

/// The keys of a file, and lines for the log.
#[derive(Debug, Default)]
pub struct FileKeys {
    pub keys: Vec<FileKey>,
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

/// Reads a file.
pub fn read(path: &Path) -> FileKeys {
    let mut found = FileKeys::default();
    match Source::read(path) {
        Ok(source) if source.is_json() && found.add_json(path, source.text()) => {}
        Ok(source) => found.add_contents(path, &source),
        Err(failure) => found.errors.push(failure.0),
    }
    found
}

impl FileKeys {
    /// Adds the keys of a JSON policy. Returns false if the text is something else, or if it has errors outside of its keys.
    ///
    /// A tree of the whole text takes several times as long as the rest, so there is none, unless there is something to report.
    fn add_json(&mut self, file: &Path, text: &[u8]) -> bool {
        let Ok((config, texts)) = parse(text) else {
            return false;
        };
        let positions = Positions::of_json(text, &texts);
        self.add_keys(file, &config, texts, &positions);
        true
    }

    /// Adds the keys of all policies in a source.
    fn add_contents(&mut self, file: &Path, source: &Source) {
        let contents = match source.contents() {
            Ok(contents) => contents,
            Err(failure) => return self.errors.push(failure.0),
        };
        for error in &contents.errors {
            let Mark { line, column } = error.mark;
            let position = || format!("look at line {line}, column {column}");
            let help = error.help.map_or_else(position, str::to_owned);
            let file = file.display();
            self.errors
                .push(format!("{file}:{line}:{column}: error: {}; {help}", error.reason));
        }
        for policy in &contents.policies {
            let positions = Positions::Tree(&policy.tree);
            let json = without_byte_order_mark(&policy.json);
            match parse(json) {
                Ok((config, texts)) => self.add_keys(file, &config, texts, &positions),
                Err(diagnostics) => self.add_lines(file, &diagnostics, &positions),
            }
        }
    }

    fn add_keys(&mut self, file: &Path, config: &config::Config<'_>, texts: Vec<&RawValue>, positions: &Positions<'_>) {
        let mut diagnostics = Diagnostics::default();
        let context = KeyContext {
            now: now(),
            sources: &config.key_sources,
            has_identity_header: config.identity_header.is_some(),
        };
        let list = ConfigPath::ROOT.field("keys");
        for (index, text) in texts.into_iter().enumerate() {
            let path = list.item(index);
            // The text was only skipped before, so not all that is wrong was noticed, such as a number out of range.
            let node = match serde_json::from_str(text.get()) {
                Ok(node) => node,
                Err(error) => {
                    let Mark { line, column } = positions.of_key(index);
                    diagnostics.add_bare(&path, &SyntaxError::from(error).of_part(line, column));
                    continue;
                }
            };
            references::check(&node, config, &path, &mut diagnostics);
            if let Some(key) = FedKey::read(node, context, &path, &mut diagnostics) {
                let mark = positions.of_key(index);
                self.keys.push(FileKey { key, mark, index });
            }
        }
        self.add_lines(file, &diagnostics, positions);
    }

    fn add_lines(&mut self, file: &Path, diagnostics: &Diagnostics, positions: &Positions<'_>) {
        let file = file.display();
        let lines = |all: &[Diagnostic], count: usize, name: &str| {
            let marks = positions.of(all).into_iter().zip(all);
            let lines = marks
                .map(|(Mark { line, column }, diagnostic)| format!("{file}:{line}:{column}: {name}: {diagnostic}"));
            let more = (count > all.len()).then(|| format!("{file}: and {} more {name}s", count - all.len()));
            lines.chain(more).collect::<Vec<_>>()
        };
        self.errors
            .extend(lines(diagnostics.errors(), diagnostics.error_count(), "error"));
        self.warnings
            .extend(lines(diagnostics.warnings(), diagnostics.warning_count(), "warning"));
    }
}

/// Reads a policy except its keys, and gives the text of each key. On failure there is at least one error in the diagnostics.
///
/// The other fields must be right too, so that a misspelt `keys` is not taken for none. Their warnings are the gateway's matter.
fn parse(json: &[u8]) -> Result<(config::Config<'_>, Vec<&RawValue>), Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let config = match config::read(json, &mut diagnostics) {
        Some(config) if diagnostics.error_count() == 0 => config,
        _ => return Err(diagnostics),
    };
    let not_json = |error| Diagnostics::only(&SyntaxError::from(error));
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(json).map_err(not_json)?;
    let missing = StructureError::MissingField { name: "keys" };
    let keys = fields.get("keys").ok_or_else(|| Diagnostics::only(&missing))?;
    let texts = serde_json::from_str(keys.get()).map_err(|_| {
        let found = serde_json::from_str(keys.get()).map_or("another type", |node: Node<'_>| node.type_name());
        let expected = "a list";
        let mut diagnostics = Diagnostics::default();
        diagnostics.add_bare(
            &ConfigPath::ROOT.field("keys"),
            &StructureError::WrongType { expected, found },
        );
        diagnostics
    })?;
    Ok((config, texts))
}

/// The time; the epoch if the clock is before it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
