//! `keyfence check`: reports the errors and warnings of a policy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::manifest;
use super::report::Report;
use super::{DENIED, Failure, Format};
use keyfence_files::source::Source;

/// Check a policy for errors and warnings before a gateway loads it
///
/// Prints every error and warning with its position, the value, the reason and what to write instead, as the filter would log them.
/// For a policy without errors it prints the same summary as the filter's log. The metric keyfence_policy_hash of a gateway that uses
/// the policy shows the same hash. Only this command, and not the filter, warns of wildcards over a public suffix, such as
/// https://*.github.io.
///
/// In a manifest of Istio or Envoy Gateway it also checks the resource's own fields, and warns of settings that let requests pass
/// unchecked, such as failOpen: true. Policies may be in a WasmPlugin, TrafficExtension, EnvoyExtensionPolicy or EnvoyFilter, in files of a
/// ConfigMap or Secret, and in a List of these. Merge keys (<<) in manifests are read as kubectl does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A policy as JSON or YAML, or a configuration of Envoy, Istio or Envoy Gateway that contains policies; - for standard input
    file: PathBuf,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence check envoy/policy.json
  keyfence check wasmplugin.yaml
  kubectl get wasmplugin keyfence -o yaml | keyfence check -
  kubectl get configmaps -A -o yaml | keyfence check -
  keyfence check --format json policy.yaml | jq '.diagnostics[].path'";

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let source = Source::read(&arguments.file)?;
    let mut report = Report::new(&source);
    let contents = source.contents()?;
    contents.errors.iter().for_each(|error| report.add_syntax_error(error));
    contents.policies.iter().for_each(|policy| report.check(policy));
    for (manifest, diagnostics) in manifest::check(&contents.manifests) {
        report.add(&diagnostics, &manifest.tree);
    }
    arguments
        .format
        .print(|style| report.to_text(style), || report.to_json())?;
    Ok(if report.has_errors() {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    })
}
