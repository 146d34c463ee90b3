//! `keyfence explain`: shows how a policy decides on a request, step by step.

mod arguments;
mod browser;
mod explanation;
mod near_miss;
mod simulation;
mod step;

use std::path::Path;
use std::process::ExitCode;

pub use arguments::Arguments;

use super::report::Report;
use super::written::WrittenPolicy;
use super::{DENIED, Failure, key_input, now};
use keyfence_core::policy::fed_keys::FedKeys;
use keyfence_files::source::Source;
use simulation::Simulation;

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let is_stdin = |path: &Path| path == Path::new("-");
    if is_stdin(&arguments.file) && arguments.key_file.as_deref().is_some_and(is_stdin) {
        return Err(Failure::new("standard input cannot be both the policy and the API key"));
    }
    let source = Source::read(&arguments.file)?;
    let (report, policy) = Report::of_policy(&source)?;
    let json = policy.map(|policy| policy.json).unwrap_or_default();
    let (false, Some(written)) = (report.has_errors(), WrittenPolicy::read(&json)) else {
        arguments
            .format
            .print(|style| report.to_text(style), || report.to_json())?;
        return Ok(ExitCode::from(DENIED));
    };
    let typed = arguments.key_file.as_deref().map(key_input::read_key).transpose()?;
    let simulation = Simulation {
        arguments,
        key: typed.as_deref().or(arguments.key.as_deref()),
        policy: &written.policy,
        fed: &FedKeys::new(None),
        config: &written.config,
        keys: &written.keys,
        now: arguments.now.unwrap_or_else(now),
    };
    let explanation = simulation.run()?;
    arguments
        .format
        .print(|style| explanation.to_text(style), || explanation.to_json())?;
    Ok(if explanation.is_denied || explanation.is_refused_by_browser() {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    })
}
