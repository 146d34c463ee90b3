//! `keyfence token inspect`: shows what a scoped token may do, or why it is refused.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str;

use clap::Args;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use serde_json::{Value, json};

use super::Examination;
use crate::report::Report;
use crate::style::{Colour, Style};
use crate::{DENIED, Failure, Format, escape, key_input, now, timestamp};
use keyfence_files::source::Source;

/// Show what a scoped token may do, or why it is refused
///
/// Reads the token from standard input, and prints its header, its claims and what the policy says of it. The token itself is not printed,
/// but its claims may be a user's data.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A policy as JSON or YAML, or a configuration of Envoy, Istio or Envoy Gateway that contains one
    file: PathBuf,

    /// The time of the request, such as 2027-01-01T00:00:00Z [default: now]
    #[arg(long, value_parser = timestamp)]
    now: Option<Timestamp>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence token inspect policy.json    (then paste the token: it is not shown)
  keyfence token create policy.json --key-id frontend | keyfence token inspect policy.json

Exit codes: 0, the token is valid; 1, it is refused; 2, wrong usage, or a file cannot be read.";

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.file == Path::new("-") {
        return Err(Failure::new("standard input is the token; give the policy as a file"));
    }
    let source = Source::read(&arguments.file)?;
    let (report, policy) = Report::of_policy(&source)?;
    let (false, Some(policy)) = (report.has_errors(), policy) else {
        let format = arguments.format;
        format.print(|style| report.to_text(style), || report.to_json())?;
        return Ok(ExitCode::from(DENIED));
    };
    let loaded = Policy::load(&policy.json, now());
    let policy = loaded.map_err(|_| Failure::new("the policy has errors"))?.policy;
    let text = key_input::read_stdin("Token")?;
    let text = str::from_utf8(text.trim_ascii()).map_err(|_| Failure::new("the token is not UTF-8"))?;
    let now = arguments.now.unwrap_or_else(now);
    let examination = Examination::of(&policy, text, now);
    arguments
        .format
        .print(|style| to_text(&examination, now, style), || to_json(&examination))?;
    Ok(match examination.result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(DENIED),
    })
}

fn to_text(examination: &Examination, now: Timestamp, style: Style) -> String {
    let mut text = String::new();
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let rows: Vec<(String, String)> = members(&examination.header)
        .into_iter()
        .chain(members(&examination.claims))
        .map(|(name, value)| (escape::line(&name), escape::line(&shown(&name, &value))))
        .collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        let _ = writeln!(text, "  {name:<width$}  {value}");
    }
    let _ = match &examination.result {
        Ok(token) => {
            let left = token.expires_at().0.saturating_sub(now.0);
            let line = format!("valid for {left} seconds more");
            writeln!(text, "{}", style.paint(Colour::Green, line))
        }
        Err(error) => {
            let line = format!(
                "refused with {} {}: {error}",
                error.reason().status(),
                error.reason().code()
            );
            writeln!(text, "{}", style.paint(Colour::Red, line))
        }
    };
    text
}

/// The value of a member. Times are shown as people read them, too.
fn shown(name: &str, value: &Value) -> String {
    let is_time = matches!(name, "iat" | "exp" | "nbf");
    // Beyond these the calendar has no four digits for the year.
    let seconds = value
        .as_f64()
        .filter(|seconds| (0.0..253_402_300_800.0).contains(seconds));
    match (value, seconds.filter(|_| is_time)) {
        (_, Some(seconds)) => format!("{value} ({})", Timestamp(seconds as i64)),
        (Value::String(text), None) => text.clone(),
        (value, None) => value.to_string(),
    }
}

fn to_json(examination: &Examination) -> Value {
    let error = examination.result.as_ref().err();
    json!({
        "key_id": examination.key_id(),
        "header": examination.header,
        "claims": examination.claims,
        "valid": error.is_none(),
        "code": error.map(|error| error.reason().code()),
        "why": error.map(|error| error.to_string()),
        "expires_at": examination.result.as_ref().ok().map(|token| token.expires_at().to_string()),
    })
}
