//! `keyfence hash`: prints the digest of a key for a policy.

use std::io::{self, BufRead, IsTerminal, Read};
use std::process::{Command, ExitCode, Stdio};
use std::str;

use clap::Args;
use keyfence_core::config::DiagnosticKind;
use keyfence_core::config::api_key::{ApiKey, ApiKeyError};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::raw_key::{self, RawKeyWarning};

use super::{DENIED, Failure, print};

/// Print the sha256: form of an API key from standard input
///
/// One line break at the end is not part of the key. Errors and warnings are those that check reports for a raw key, if requests may
/// present it as Authorization: Bearer or in the query.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = "Examples:
  keyfence hash <key.txt
  keyfence hash    (then type the key: it is not shown, and not in the shell's history)";

pub fn run(Arguments {}: &Arguments) -> Result<ExitCode, Failure> {
    let mut stdin = io::stdin().lock();
    let mut text = Vec::new();
    if stdin.is_terminal() {
        let is_hidden = set_echo(false);
        eprintln!("API key:");
        let read = stdin.read_until(b'\n', &mut text);
        if is_hidden {
            set_echo(true);
        }
        read.map_err(Failure::new)?;
    } else {
        stdin.read_to_end(&mut text).map_err(Failure::new)?;
    }
    let text = without_line_break(&text);
    let refuse = |reason: &str| {
        eprintln!("keyfence: {reason}");
        Ok(ExitCode::from(DENIED))
    };
    let Ok(text) = str::from_utf8(text) else {
        return refuse("the API key is not UTF-8; give it as text");
    };
    let mut sources = KeySource::by_default();
    sources.push(KeySource::Query(String::new()));
    match ApiKey::parse(text, &sources) {
        Ok(key) if key.raw_length.is_some() => {
            let bare_digest = raw_key::is_bare_digest(text).then_some(RawKeyWarning::BareDigest);
            for warning in bare_digest.into_iter().chain(raw_key::warnings(text, &sources)) {
                let message = warning.message();
                eprintln!("keyfence: warning: {}; {}", message.reason, message.help);
            }
            print(&format!("{}\n", key.digest))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(_) => refuse("the input is already in the sha256: form; put it into the policy as it is"),
        Err(error) => {
            let message = error.message();
            match error {
                ApiKeyError::Mistake(_) | ApiKeyError::Scheme => {
                    refuse(&format!("{}; {}", message.reason, message.help))
                }
                _ => refuse(&message.reason),
            }
        }
    }
}

/// Makes the terminal at standard input show or hide typed characters. Returns whether it did. It runs `stty` (POSIX), because this needs
/// no C library.
fn set_echo(on: bool) -> bool {
    let mut stty = Command::new("stty");
    stty.arg(if on { "echo" } else { "-echo" }).stderr(Stdio::null());
    stty.status().is_ok_and(|status| status.success())
}

fn without_line_break(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}
