//! `keyfence check`: what is wrong with a policy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::report::Report;
use super::source::Source;
use super::style::Style;
use super::{DENIED, Failure, Format, print};

/// Say what is wrong with a policy, before a gateway refuses it
///
/// Prints every error and every warning, each with its place, the value, the reason and what to write instead, as the filter would
/// log them. A policy without errors is summed up as in the filter's log; its hash is what the metric keyfence_policy_hash shows where
/// this policy is in force. Wildcards over a public suffix, such as https://*.github.io, are found here only.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The policy as JSON or YAML, or configuration of Envoy, Istio or Envoy Gateway with the policy in it; - for standard input
    file: PathBuf,

    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence check envoy/policy.json
  keyfence check wasmplugin.yaml
  kubectl get wasmplugin keyfence -o yaml | keyfence check -
  keyfence check --format json policy.yaml | jq '.diagnostics[].path'";

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let source = Source::read(&arguments.file)?;
    let mut report = Report::new(&source);
    match source.policies()? {
        Ok(policies) => policies.iter().for_each(|found| report.check(found)),
        Err(error) => report.add_syntax_error(&error),
    }
    print(&match arguments.format {
        Format::Text => report.to_text(Style::of_stdout()),
        Format::Json => format!("{:#}\n", report.to_json()),
    })?;
    Ok(if report.has_errors() {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    })
}
