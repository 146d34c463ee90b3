//! The command line: shows what a policy does before a gateway runs it. It uses the same code as the filter. Each command has its own file;
//! this one has what several commands use.

mod check;
mod explain;
mod find;
mod hash;
mod key_input;
mod keygen;
mod manifest;
mod render;
mod report;
mod schema;
mod style;
mod suffix;
#[cfg(unix)]
mod terminal;
mod token;
mod written;
mod yaml;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand, ValueEnum};
use keyfence_core::config::timestamp::Timestamp;
use keyfence_files::{Failure, escape};
use serde_json::Value;

use style::Style;

/// API keys that work only from where they may be used: tools for the policy of the keyfence filter.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0, success; 1, the policy or key has errors, the explained request is denied or refused by the browser, or find has found no key; 2, wrong usage, or a file cannot be read or written.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Keygen(keygen::Arguments),
    Hash(hash::Arguments),
    Find(find::Arguments),
    Schema(schema::Arguments),
    Render(render::Arguments),
    Token(token::Arguments),
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

impl Format {
    /// Prints a result in this format.
    fn print(self, text: impl FnOnce(Style) -> String, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        print(&match self {
            Format::Text => text(Style::of_stdout()),
            Format::Json => format!("{:#}\n", json()),
        })
    }
}

/// The exit code if a policy has errors, a request is denied, or no key is found.
const DENIED: u8 = 1;

/// The exit code for a [`Failure`]; clap uses it for wrong usage.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Hash(arguments) => hash::run(&arguments),
        Command::Find(arguments) => find::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
    };
    outcome.unwrap_or_else(|Failure(message)| {
        eprintln!("keyfence: {}", escape::line(&message));
        ExitCode::from(FAILED)
    })
}

/// Writes a command's whole output. A broken pipe is not an error: its reader has what it needs.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}

/// Parses a time in the arguments.
fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as 2027-01-01T00:00:00Z".into())
}

/// The time; the epoch if the clock is before it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
