//! `keyfence explain`: how a policy decides on a request, step by step.

mod arguments;
mod browser;
mod explanation;
mod near_miss;
mod simulation;
mod step;

use std::process::ExitCode;

use keyfence_core::config::key::KeyContext;
use keyfence_core::config::{self, Diagnostics};
use keyfence_core::policy::Policy;

pub use arguments::Arguments;

use super::report::Report;
use super::source::Source;
use super::style::Style;
use super::{DENIED, Failure, Format, now, print};
use simulation::Simulation;

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let source = Source::read(&arguments.file)?;
    let mut report = Report::new(&source);
    let json = match source.policy()? {
        Ok(found) => {
            report.check(&found);
            found.json
        }
        Err(error) => {
            report.add_syntax_error(&error);
            Vec::new()
        }
    };
    let mut diagnostics = Diagnostics::default();
    let (false, Ok(loaded), Some(config)) = (
        report.has_errors(),
        Policy::load(&json, now()),
        config::read(&json, &mut diagnostics),
    ) else {
        print(&match arguments.format {
            Format::Text => report.to_text(Style::of_stdout()),
            Format::Json => format!("{:#}\n", report.to_json()),
        })?;
        return Ok(ExitCode::from(DENIED));
    };
    let mut keys = Vec::new();
    let context = KeyContext {
        now: now(),
        sources: &config.key_sources,
    };
    config::read_keys(&json, context, &mut diagnostics, &mut |_, key, _, _| keys.push(key));
    let simulation = Simulation {
        arguments,
        policy: &loaded.policy,
        config: &config,
        keys: &keys,
        now: arguments.now.unwrap_or_else(now),
    };
    let explanation = simulation.run()?;
    print(&match arguments.format {
        Format::Text => explanation.to_text(Style::of_stdout()),
        Format::Json => format!("{:#}\n", explanation.to_json()),
    })?;
    Ok(if explanation.is_denied || explanation.is_refused_by_browser() {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    })
}
