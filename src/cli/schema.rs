//! `keyfence schema`: prints the JSON Schema of a policy.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, print};

/// Print the JSON Schema of a policy
///
/// With it, editors complete fields and show errors as you type. Name the schema's file in the policy's "$schema".
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = "Examples:
  keyfence schema >envoy/policy.schema.json

In a policy in the same folder:
  {\"$schema\": \"policy.schema.json\", \"keys\": []}
In YAML:
  # yaml-language-server: $schema=policy.schema.json";

pub fn run(Arguments {}: &Arguments) -> Result<ExitCode, Failure> {
    print(&format!("{:#}\n", keyfence_core::config::schema::policy()))?;
    Ok(ExitCode::SUCCESS)
}
