//! `keyfence find`: names the key that has leaked.

mod candidates;
mod known_keys;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use keyfence_core::config::timestamp::Timestamp;
use serde_json::{Value, json};

use super::style::{Colour, Style};
use super::{DENIED, FAILED, Failure, Format, escape, key_input, now};
use keyfence_files::source::Source;
use known_keys::{Entry, Form, KnownKeys, Matches};

/// Find out which key has leaked
///
/// Reads a text from standard input, and prints the id of each API key of the policies that is in it, and whether that key still works.
/// The text may be the key, its sha256: form, a scoped token of it, the secret that signs such tokens, or what somebody pasted: a header, a URL, a command, lines of a log. It is never printed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Policies as JSON or YAML, or configurations of Envoy, Istio or Envoy Gateway that contain some
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence find policy.json    (then paste one line: it is not shown, and not in the shell's history)
  keyfence find team-a.yaml team-b.yaml <mail.txt
  pbpaste | keyfence find policy.json --format json | jq -r '.found[].key_id'

Exit codes: 0, a key is in the text; 1, none is; 2, wrong usage, or none is and a policy cannot be read or has errors.";

/// A key that is in the text.
struct Found<'k> {
    entry: &'k Entry,
    form: Form,
    /// The line of the text.
    line: usize,
    file: &'k str,
    path: String,
    mark: keyfence_files::tree::Mark,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.files.iter().any(|file| file == Path::new("-")) {
        return Err(Failure::new(
            "standard input is the leaked text; give the policies as files",
        ));
    }
    let mut known = KnownKeys::default();
    let mut is_incomplete = false;
    for file in &arguments.files {
        // Another file may have the key.
        if let Err(Failure(message)) = Source::read(file).and_then(|source| known.add(&source)) {
            eprintln!("keyfence: {}", escape::line(&message));
            is_incomplete = true;
        }
    }
    if known.count == 0 && is_incomplete {
        return Ok(ExitCode::from(FAILED));
    }
    let text = key_input::read_stdin("Leaked text")?;
    let text = String::from_utf8_lossy(&text);
    if text.trim().is_empty() {
        return Err(Failure::new("standard input is empty; give it the leaked text"));
    }
    let mut matches = Matches::new();
    candidates::visit(&text, &known.prefixes, &mut |candidate| {
        known.compare(candidate, &mut matches);
    });
    let found: Vec<Found> = matches
        .into_iter()
        .filter_map(|(row, (form, line))| {
            let entry = known.entry(row)?;
            let (file, path, mark) = known.place(entry)?;
            Some(Found {
                entry,
                form,
                line,
                file,
                path,
                mark,
            })
        })
        .collect();
    let is_one_line = text.trim().lines().count() == 1;
    arguments.format.print(
        |style| found.iter().map(|found| found.to_text(is_one_line, style)).collect(),
        || json!({"found": found.iter().map(Found::to_json).collect::<Vec<_>>(), "compared": known.count}),
    )?;
    Ok(match (found.is_empty(), is_incomplete) {
        (false, _) => ExitCode::SUCCESS,
        (true, true) => ExitCode::from(FAILED),
        (true, false) => {
            let feed = match known.has_feed {
                true => "; keys of a feed are not known here: name the files of keyfence-control, too",
                false => "",
            };
            eprintln!("keyfence: none of the {} keys is in the text{feed}", known.count);
            ExitCode::from(DENIED)
        }
    })
}

impl Found<'_> {
    fn is_expired(&self) -> bool {
        self.entry.expires_at.is_some_and(|end| end <= now())
    }

    /// One line.
    fn to_text(&self, is_one_line: bool, style: Style) -> String {
        let Found { entry, mark, .. } = self;
        let at = format!("{}:{}:{}:", escape::line(self.file), mark.line, mark.column);
        let mut text = style.paint(Colour::Bold, at);
        let _ = write!(text, " {}", entry.key_id);
        match &entry.label {
            Some(label) => text.push_str(&format!(", entry {label}")),
            None if entry.of == 0 => text.push_str(", scoped tokens"),
            None if entry.of > 1 => text.push_str(&format!(", entry {} of {}", entry.index + 1, entry.of)),
            None => {}
        }
        text.push_str(if entry.is_enabled { ": enabled" } else { ": disabled" });
        let mut date = |words: &str, date: Timestamp| text.push_str(&format!(", {words} {date}"));
        if let Some(begin) = entry.not_before.filter(|begin| now() < *begin) {
            date("not valid before", begin);
        }
        if let Some(end) = entry.expires_at {
            date(if self.is_expired() { "expired at" } else { "expires at" }, end);
        }
        text.push_str(match self.form {
            Form::Key => "",
            Form::TokenSecret => "; the text has a secret with which anybody makes tokens: take it out of secrets",
            Form::Token => "; the text has a token of it, which has not expired",
            Form::InvalidToken => "; the token is refused: keyfence token inspect says why",
            Form::Digest => "; the text has its sha256: form, from which nobody gets the key",
        });
        if !is_one_line {
            text.push_str(&format!("; line {} of the text", self.line));
        }
        text.push('\n');
        text
    }

    fn to_json(&self) -> Value {
        let Found { entry, mark, .. } = self;
        let date = |date: Option<Timestamp>| date.map(|date| date.to_string());
        json!({
            "key_id": entry.key_id,
            "key_label": entry.label,
            "file": self.file,
            "line": mark.line,
            "column": mark.column,
            "path": self.path,
            "form": match self.form {
                Form::Key => "key",
                Form::TokenSecret => "token_secret",
                Form::Token => "token",
                Form::InvalidToken => "invalid_token",
                Form::Digest => "sha256",
            },
            "text_line": self.line,
            "enabled": entry.is_enabled,
            "expired": self.is_expired(),
            "not_before": date(entry.not_before),
            "expires_at": date(entry.expires_at),
        })
    }
}
