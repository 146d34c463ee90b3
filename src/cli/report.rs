//! The diagnostics of a source, each where it stands.

use std::fmt::Write;

use keyfence_core::config::{Diagnostic, Diagnostics, Severity, Subject};
use keyfence_core::policy::{self, Summary};
use serde_json::{Value, json};

use super::escape;
use super::source::{Found, Source};
use super::style::{Colour, Style};
use super::tree::{Mark, SyntaxError};
use super::{now, suffix};

/// All that is to be said of one source.
#[derive(Debug)]
pub struct Report {
    name: String,
    entries: Vec<Entry>,
    accepted: Vec<Accepted>,
    errors: usize,
    warnings: usize,
}

/// A policy that the filter would take.
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
    /// As the filter's log has it.
    line: String,
}

impl Report {
    pub fn new(source: &Source) -> Report {
        Report {
            name: source.name(),
            entries: Vec::new(),
            accepted: Vec::new(),
            errors: 0,
            warnings: 0,
        }
    }

    /// Adds that the source could not be read.
    pub fn add_syntax_error(&mut self, error: &SyntaxError) {
        let reason = format!("this is not YAML: {}", error.message);
        let help = format!("look at line {}, column {}", error.mark.line, error.mark.column);
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

    /// Checks a policy, and adds what is found.
    pub fn check(&mut self, found: &Found) {
        let mut diagnostics = match policy::Policy::load(&found.json, now()) {
            Ok(loaded) => {
                self.accepted.push(Accepted {
                    mark: found.start(),
                    summary: loaded.summary(),
                });
                loaded.diagnostics
            }
            Err(diagnostics) => diagnostics,
        };
        if let Some(tree) = &found.tree {
            suffix::find(tree, &mut diagnostics);
        }
        self.add(&diagnostics, found);
    }

    fn add(&mut self, diagnostics: &Diagnostics, found: &Found) {
        let kept = || diagnostics.errors().iter().chain(diagnostics.warnings());
        let places: Vec<&str> = kept().map(|diagnostic| diagnostic.path.as_str()).collect();
        let located = found.locate(&places);
        let entries = kept().map(|diagnostic| {
            let mark = match (diagnostic.message.subject, located.get(&diagnostic.path)) {
                (Subject::Position { line, column }, _) => Some(found.in_source(Mark {
                    line,
                    column: column.max(1),
                })),
                (Subject::Name, Some(located)) => Some(located.name),
                (Subject::Value, Some(located)) => Some(located.value),
                (_, None) => found.tree.is_some().then(|| found.start()),
            };
            Entry::new(diagnostic, mark)
        });
        self.entries.extend(entries);
        self.entries.sort_by_key(|entry| (entry.severity, entry.mark));
        self.errors += diagnostics.error_count();
        self.warnings += diagnostics.warning_count();
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// A line for each diagnostic, errors first, one that counts those left out, and one for each policy that the filter would take.
    pub fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        let file = escape::line(&self.name);
        for (severity, name, colour, count) in [
            (Severity::Error, "error", Colour::Red, self.errors),
            (Severity::Warning, "warning", Colour::Yellow, self.warnings),
        ] {
            let entries = self.entries.iter().filter(|entry| entry.severity == severity);
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
        let diagnostics = self.entries.iter().map(|entry| {
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
