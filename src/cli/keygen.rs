//! `keyfence keygen`: generates a key.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use keyfence_core::config::api_key::ApiKey;
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::raw_key;

use super::{Failure, print};

/// Generate an API key, and its sha256: form for the policy
///
/// Prints two lines: the key, with 256 random bits, and its sha256: form. Give the first to the client; it is not stored. Put the
/// second into the policy: the key cannot be derived from it, so it is safe in Envoy's config_dump.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Prefix of the key, by which people and secret scanners recognize it
    #[arg(long, default_value = "keyfence_")]
    prefix: String,
}

const EXAMPLES: &str = "Examples:
  keyfence keygen
  keyfence keygen --prefix ak_live_
  keyfence keygen | { read key; read api_key; }";

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(Failure::new)?;
    let key = random.iter().fold(arguments.prefix.clone(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    });
    let sources = KeySource::by_default();
    let digest = match ApiKey::parse(&key, &sources) {
        Ok(parsed) if parsed.raw_length.is_some() && key.is_ascii() => parsed.digest,
        _ => {
            return Err(Failure::new(
                "--prefix must be short printable ASCII without commas, and must not look like a hash or an authentication scheme",
            ));
        }
    };
    if raw_key::is_bare_digest(&key) {
        return Err(Failure::new(
            "without a prefix the key looks like a digest; set --prefix",
        ));
    }
    print(&format!("{key}\n{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}
