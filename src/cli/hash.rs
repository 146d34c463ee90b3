//! `keyfence hash`: prints the digest of a key for a policy.

use std::process::ExitCode;
use std::str;

use clap::Args;
use keyfence_core::config::DiagnosticKind;
use keyfence_core::config::api_key::{ApiKey, ApiKeyError};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::raw_key::{self, RawKeyWarning};

use super::key_input::{self, without_line_break};
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
    let text = key_input::read_stdin("API key")?;
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
