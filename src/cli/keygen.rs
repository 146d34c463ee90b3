//! `keyfence keygen`: a new key.

use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use keyfence_core::config::api_key::ApiKey;
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::raw_key;

use super::{Failure, print};

/// Make a new API key, and its sha256: form for the policy
///
/// Prints two lines: the key, of 256 random bits, which is shown this once; and its sha256: form, which goes into the policy.
/// Whoever reads the policy, or Envoy's config_dump, then cannot use the key.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What the key begins with, so that people and secret scanners know it
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
                "the prefix is not printable ASCII without commas, is too long, or reads as a hash or a scheme",
            ));
        }
    };
    if raw_key::is_bare_digest(&key) {
        return Err(Failure::new("without a prefix the key looks like a digest"));
    }
    print(&format!("{key}\n{digest}\n"))?;
    Ok(ExitCode::SUCCESS)
}
