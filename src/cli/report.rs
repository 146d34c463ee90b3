//! The diagnostics of a source, each with its position there.

use std::fmt::Write;

use keyfence_core::config::{Diagnostic, Diagnostics, Severity, Subject};
use keyfence_core::policy::{Policy, Summary};
use serde_json::{Value, json};

use super::style::{Colour, Style};
use super::{Failure, now, suffix};
use keyfence_files::escape;
use keyfence_files::located::LocatedTree;
use keyfence_files::source::{LocatedPolicy, Source};
use keyfence_files::tree::{Mark, SyntaxError};

/// The diagnostics of one source, and summaries of its valid policies.
#[derive(Debug)]
pub struct Report {
    name: String,
    entries: Vec<Entry>,
    accepted: Vec<Accepted>,
    errors: usize,
    warnings: usize,
}

/// A policy that the filter would accept.
#[derive(Debug)]
struct Accepted {
    mark: Mark,
    summary: Summary,
}

#[derive(Debug)]
struct Entry {
    severity: Severity,
    mark: Option<Mark>,
    path: String,
    value: String,
    reason: String,
    help: String,
    /// The line in the filter's log.
    line: String,
}

impl Report {
    /// Checks the only policy of a source. Returns it too if it has no errors.
    pub fn of_policy(source: &Source) -> Result<(Report, Option<LocatedPolicy>), Failure> {
        let mut report = Report::new(source);
        let policy = match source.policy()? {
            Ok(policy) => {
                report.check(&policy);
                Some(policy).filter(|_| !report.has_errors())
            }
            Err(error) => {
                report.add_syntax_error(&error);
                None
            }
        };
        Ok((report, policy))
    }

    /// An empty report.
    pub fn new(source: &Source) -> Report {
        Report {
            name: source.name(),
            entries: Vec::new(),
            accepted: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// Adds an error for a source that cannot be read as YAML.
    pub fn add_syntax_error(&mut self, error: &SyntaxError) {
        let reason = error.reason.clone();
        let position = || format!("look at line {}, column {}", error.mark.line, error.mark.column);
        let help = error.help.map_or_else(position, str::to_owned);
        self.errors += 1;
        self.entries.push(Entry {
            severity: Severity::Error,
            mark: Some(error.mark),
            path: String::new(),
            value: String::new(),
            line: format!("{reason}; {help}"),
            reason,
            help,
        });
    }

    /// Checks a policy, and adds its diagnostics.
    pub fn check(&mut self, policy: &LocatedPolicy) {
        let mut diagnostics = match Policy::load(&policy.json, now()) {
            Ok(loaded) => {
                self.accepted.push(Accepted {
                    mark: policy.tree.start(),
                    summary: loaded.summary(),
                });
                loaded.diagnostics
            }
            Err(diagnostics) => diagnostics,
        };
        if let Some(root) = &policy.tree.root {
            suffix::check(root, &mut diagnostics);
        }
        self.add(&diagnostics, &policy.tree);
    }

    /// Adds the diagnostics of a document.
    pub fn add(&mut self, diagnostics: &Diagnostics, tree: &LocatedTree) {
        let all = || diagnostics.errors().iter().chain(diagnostics.warnings());
        let paths: Vec<&str> = all().map(|diagnostic| diagnostic.path.as_str()).collect();
        let locations = tree.locate(&paths);
        let entries = all().map(|diagnostic| {
            let mark = match (diagnostic.message.subject, locations.get(&diagnostic.path)) {
                (Subject::Position { line, column }, _) => Some(tree.origin.in_source(Mark {
                    line,
                    column: column.max(1),
                })),
                (Subject::Name, Some(location)) => Some(location.name),
                (Subject::Value, Some(location)) => Some(location.value),
                (_, None) => tree.root.is_some().then(|| tree.start()),
            };
            Entry::new(diagnostic, mark)
        });
        self.entries.extend(entries);
        self.errors += diagnostics.error_count();
        self.warnings += diagnostics.warning_count();
    }

    /// Errors first, each in the order of the source.
    fn sorted(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.severity, entry.mark));
        entries
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// One line for each diagnostic, errors first; for errors and for warnings a line that counts those beyond the limit; and a summary of
    /// each policy that the filter would accept.
    pub fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        let file = escape::line(&self.name);
        let all = self.sorted();
        for (severity, name, colour, count) in [
            (Severity::Error, "error", Colour::Red, self.errors),
            (Severity::Warning, "warning", Colour::Yellow, self.warnings),
        ] {
            let entries = all.iter().filter(|entry| entry.severity == severity);
            let shown = entries.clone().count();
            for entry in entries {
                let at = entry.mark.map_or_else(String::new, position);
                let at = style.paint(Colour::Bold, format_args!("{file}{at}:"));
                let _ = writeln!(text, "{at} {}: {}", style.paint(colour, name), entry.line);
            }
            if count > shown {
                let _ = writeln!(text, "{file}: and {} more {name}s", count - shown);
            }
        }
        for Accepted { mark, summary } in &self.accepted {
            let at = style.paint(Colour::Bold, format_args!("{file}{}:", position(*mark)));
            let _ = writeln!(text, "{at} {summary}");
        }
        text
    }

    pub fn to_json(&self) -> Value {
        let diagnostics = self.sorted().into_iter().map(|entry| {
            json!({
                "severity": match entry.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                "line": entry.mark.map(|mark| mark.line),
                "column": entry.mark.map(|mark| mark.column),
                "path": entry.path,
                "value": entry.value,
                "reason": entry.reason,
                "help": entry.help,
            })
        });
        let policies = self.accepted.iter().map(|accepted| {
            json!({
                "line": accepted.mark.line,
                "column": accepted.mark.column,
                "keys": accepted.summary.keys,
                "hash": accepted.summary.hash,
            })
        });
        json!({
            "file": self.name,
            "errors": self.errors,
            "warnings": self.warnings,
            "diagnostics": diagnostics.collect::<Vec<_>>(),
            "policies": policies.collect::<Vec<_>>(),
        })
    }
}

fn position(Mark { line, column }: Mark) -> String {
    format!(":{line}:{column}")
}

impl Entry {
    fn new(diagnostic: &Diagnostic, mark: Option<Mark>) -> Entry {
        Entry {
            severity: diagnostic.message.severity,
            mark,
            path: diagnostic.path.clone(),
            value: diagnostic.value.clone(),
            reason: diagnostic.message.reason.clone().into_owned(),
            help: diagnostic.message.help.clone().into_owned(),
            line: diagnostic.to_string(),
        }
    }
}
