//! Diagnostics: each has a path, a value, a reason and a help, and all of a configuration are reported together.
//!
//! This file knows no field. Each file that finds something has a type of its own for it, which implements [`DiagnosticKind`].

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;

/// Whether the filter refuses the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The filter refuses the configuration.
    Error,
    /// The filter uses the configuration.
    Warning,
}

/// What a diagnostic is about, so that the command line can show its line and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The value at the diagnostic's path.
    Value,
    /// The name of the field at the diagnostic's path.
    Name,
    /// A position in the JSON text, which could not be parsed.
    Position {
        /// From 1.
        line: usize,
        /// From 1, in bytes; 0 before the first byte of a line.
        column: usize,
    },
}

/// The words of a diagnostic.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Whether the filter refuses the configuration.
    pub severity: Severity,
    /// Why the value is wrong, as a clause without a full stop.
    pub reason: Cow<'static, str>,
    /// What to write instead, as a clause without a full stop.
    pub help: Cow<'static, str>,
    /// What the diagnostic is about.
    pub subject: Subject,
}

impl Message {
    /// An error about the value at the path.
    pub fn error(reason: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Message {
        Message {
            severity: Severity::Error,
            reason: reason.into(),
            help: help.into(),
            subject: Subject::Value,
        }
    }

    /// A warning about the value at the path.
    pub fn warning(reason: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>) -> Message {
        Message {
            severity: Severity::Warning,
            ..Message::error(reason, help)
        }
    }

    /// The same message about the name of the field.
    pub fn about_name(self) -> Message {
        Message {
            subject: Subject::Name,
            ..self
        }
    }

    /// The same message about a position in the JSON text.
    pub fn about_position(self, line: usize, column: usize) -> Message {
        Message {
            subject: Subject::Position { line, column },
            ..self
        }
    }
}

/// One of the things that can be wrong with a configuration.
pub trait DiagnosticKind {
    /// Severity, reason, help and subject. An implementation gives all of a variant in one match arm.
    fn message(&self) -> Message;
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// As in `keys[3].allowed_origins[1]`; empty for the whole configuration.
    pub path: String,
    /// The value as JSON, shortened; never an API key. Empty if no value is shown.
    pub value: String,
    /// Severity, reason, help and subject.
    pub message: Message,
}

/// `keys[3].allowed_origins[1]: "https://yourapp.com/": an origin must not end in a slash; write "https://yourapp.com"`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        write!(f, "{path}: ")?;
        if !self.value.is_empty() {
            write!(f, "{}: ", self.value)?;
        }
        write!(f, "{}; {}", self.message.reason, self.message.help)
    }
}

/// The diagnostics of one configuration. All are counted; of each severity only the first [`Diagnostics::KEPT`] are kept, so that a
/// configuration of 100,000 wrong keys does not fill the memory.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Diagnostics {
    errors: Kept,
    warnings: Kept,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Kept {
    first: Vec<Diagnostic>,
    count: usize,
}

impl Diagnostics {
    /// How many errors, and how many warnings, are kept.
    pub const KEPT: usize = 100;

    /// The longest value shown, in bytes.
    const VALUE_SHOWN: usize = 80;

    /// Adds a diagnostic about `value`, which is at `path`.
    pub fn add(&mut self, path: &ConfigPath<'_>, value: &dyn fmt::Display, kind: &dyn DiagnosticKind) {
        let message = kind.message();
        let kept = match message.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        kept.count += 1;
        if kept.first.len() < Self::KEPT {
            kept.first.push(Diagnostic {
                path: path.to_string(),
                value: shortened(value.to_string()),
                message,
            });
        }
    }

    /// Adds a diagnostic that shows no value: there is none, or it may be an API key.
    pub fn add_bare(&mut self, path: &ConfigPath<'_>, kind: &dyn DiagnosticKind) {
        self.add(path, &"", kind);
    }

    /// A single diagnostic about the whole configuration.
    pub fn only(kind: &dyn DiagnosticKind) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        diagnostics.add_bare(&ConfigPath::ROOT, kind);
        diagnostics
    }

    /// The errors that are kept, in the order of the configuration.
    pub fn errors(&self) -> &[Diagnostic] {
        &self.errors.first
    }

    /// The warnings that are kept, in the order of the configuration.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings.first
    }

    /// The number of all errors.
    pub fn error_count(&self) -> usize {
        self.errors.count
    }

    /// The number of all warnings.
    pub fn warning_count(&self) -> usize {
        self.warnings.count
    }

    /// One line for each diagnostic that is kept, errors first, and after each severity a line with the number of the others. The
    /// filter's log and the command line print the same lines.
    pub fn lines(&self) -> impl Iterator<Item = (Severity, String)> + '_ {
        [(Severity::Error, &self.errors), (Severity::Warning, &self.warnings)]
            .into_iter()
            .flat_map(|(severity, kept)| {
                let name = match severity {
                    Severity::Error => "errors",
                    Severity::Warning => "warnings",
                };
                let left = kept.count - kept.first.len();
                let rest = (left > 0).then(|| format!("and {left} more {name}"));
                kept.first
                    .iter()
                    .map(Diagnostic::to_string)
                    .chain(rest)
                    .map(move |line| (severity, line))
            })
    }
}

fn shortened(mut value: String) -> String {
    if value.len() > Diagnostics::VALUE_SHOWN {
        value.truncate(value.floor_char_boundary(Diagnostics::VALUE_SHOWN));
        value.push('…');
    }
    value
}
