//! `keyfence token`: makes scoped tokens, and shows what one is worth.

mod create;
mod examination;
mod inspect;
mod signing_key;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

pub use examination::{Examination, Refusal};

/// Make a scoped token, or show what one may do
///
/// A scoped token is narrowed from a key: to one user, to fewer origins, networks, scopes or indexes, and to a short time. A backend makes
/// tokens with a library of its language; these commands are for trying a policy, and for looking at a token that does not work.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Arguments),
    Inspect(inspect::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
    }
}
