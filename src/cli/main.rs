//! The command line: what a policy does, before a gateway runs it. It uses the same code as the filter. Each command has a file; what
//! several of them need is here.

mod check;
mod embedded;
mod escape;
mod explain;
mod hash;
mod keygen;
mod render;
mod report;
mod scalar;
mod schema;
mod source;
mod style;
mod suffix;
mod tree;
mod yaml;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Parser, Subcommand, ValueEnum};
use keyfence_core::config::timestamp::Timestamp;

/// API keys that work only from where they may be used: tools for the policy of the keyfence filter.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0, in order; 1, the policy has errors, or the explained request is denied or refused by the browser; 2, wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Keygen(keygen::Arguments),
    Hash(hash::Arguments),
    Schema(schema::Arguments),
    Render(render::Arguments),
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Why a command could not do its work; none of it is about the policy.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    fn new(message: impl fmt::Display) -> Failure {
        Failure(message.to_string())
    }
}

const DENIED: u8 = 1;
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Hash(arguments) => hash::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
    };
    outcome.unwrap_or_else(|Failure(message)| {
        eprintln!("keyfence: {}", escape::line(&message));
        ExitCode::from(MISUSED)
    })
}

/// Writes a command's whole output. Whoever stops reading it early does so on purpose.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}
