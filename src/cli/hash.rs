//! `keyfence hash`: the form in which a policy holds a key.

use std::io::{self, BufRead, IsTerminal, Read};
use std::process::ExitCode;
use std::str;

use clap::Args;
use keyfence::config::Problem;
use keyfence::config::api_key::ApiKey;

use super::{DENIED, Failure, print};

/// Print the sha256: form of an API key from standard input
///
/// One line break at the end is not part of the key.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = "Examples:
  keyfence hash <key.txt
  keyfence hash    (and type the key, so that no shell history has it)";

pub fn run(Arguments {}: &Arguments) -> Result<ExitCode, Failure> {
    let mut stdin = io::stdin().lock();
    let mut text = Vec::new();
    if stdin.is_terminal() {
        eprintln!("API key:");
        stdin.read_until(b'\n', &mut text).map_err(Failure::new)?;
    } else {
        stdin.read_to_end(&mut text).map_err(Failure::new)?;
    }
    let text = without_line_break(&text);
    let refuse = |reason: &str| {
        eprintln!("keyfence: {reason}");
        Ok(ExitCode::from(DENIED))
    };
    let Ok(text) = str::from_utf8(text) else {
        return refuse("an API key is text in UTF-8");
    };
    match ApiKey::parse(text) {
        Ok(key) if key.raw_length.is_some() => {
            print(&format!("{}\n", key.digest))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => refuse("this is the sha256: form already"),
        Err(fault) => refuse(&Problem::ApiKey(fault).reason()),
    }
}

fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}
