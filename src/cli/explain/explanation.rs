//! The result of `keyfence explain`, as text and as JSON.

use std::fmt::Write;

use keyfence_core::config::key::Enforcement;
use keyfence_core::decision::Outcome;
use keyfence_core::decision::reason::Reason;
use serde_json::{Value, json};

use crate::style::{Colour, Style};
use keyfence_files::escape;

/// The name and value of a header.
pub type Header = (Vec<u8>, Vec<u8>);

/// A request, the steps of its decision, and what the client and the upstream get.
pub struct Explanation {
    pub request: Vec<Header>,
    pub steps: Vec<StepResult>,
    /// The browser's CORS checks; empty if no page sends the request.
    pub browser: Vec<StepResult>,
    pub outcome: Outcome,
    pub enforcement: Enforcement,
    pub is_denied: bool,
    pub key_id: Option<String>,
    /// The label of the key's entry.
    pub key_label: Option<String>,
    /// The `sub` of the scoped token.
    pub subject: Option<String>,
    pub response: Response,
    /// The request that the upstream gets; `None` if it gets none.
    pub upstream: Option<Vec<Header>>,
}

/// The result of one step of the decision.
pub struct StepResult {
    pub step: &'static str,
    pub passed: bool,
    /// The compared values, as a sentence.
    pub compared: String,
}

/// The response that the client gets.
pub struct Response {
    /// `None` for the upstream's status.
    pub status: Option<u16>,
    pub headers: Vec<Header>,
    pub body: Vec<u8>,
}

impl Explanation {
    /// Whether the browser does not send the request or does not let the page read the response.
    pub fn is_refused_by_browser(&self) -> bool {
        self.browser.iter().any(|step| !step.passed)
    }

    fn decision(&self) -> String {
        let code = |reason: Reason| format!("{} {}", reason.status(), reason.code());
        match (self.outcome, self.enforcement) {
            (Outcome::Allow, _) if self.is_refused_by_browser() => "allowed, but the browser refuses".into(),
            (Outcome::Allow, _) => "allowed".into(),
            (Outcome::Preflight, Enforcement::Enforce) if self.is_refused_by_browser() => {
                "answered: a preflight from an allowed origin, but the browser refuses".into()
            }
            (Outcome::Preflight, Enforcement::Enforce) => "answered: an allowed preflight".into(),
            (Outcome::Preflight, Enforcement::Report) => "forwarded: the policy reports only".into(),
            (Outcome::Deny(reason), Enforcement::Enforce) => format!("denied: {}", code(reason)),
            (Outcome::Deny(reason), Enforcement::Report) => {
                format!(
                    "forwarded: the policy reports only, and would deny with {}",
                    code(reason)
                )
            }
        }
    }

    pub fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        let value = |wanted: &str| {
            let found = self.request.iter().find(|(name, _)| name == wanted.as_bytes());
            found.map_or_else(String::new, |(_, value)| shown(value))
        };
        let title = format!("{} {}", value(":method"), value(":path"));
        let _ = writeln!(text, "{}", style.paint(Colour::Bold, title));
        write_headers(&mut text, "", &self.request);
        text.push('\n');
        write_steps(&mut text, style, &self.steps);
        let colour = if self.is_denied || self.is_refused_by_browser() {
            Colour::Red
        } else {
            Colour::Green
        };
        let _ = writeln!(text, "\n{}", style.paint(colour, self.decision()));
        if !self.browser.is_empty() {
            text.push_str("\nThe browser\n");
            write_steps(&mut text, style, &self.browser);
        }
        match &self.upstream {
            Some(headers) => {
                text.push_str("\nThe upstream gets\n");
                let pseudo = headers
                    .iter()
                    .filter(|(name, _)| name == b":method" || name == b":path");
                let line: Vec<String> = pseudo.map(|(_, value)| shown(value)).collect();
                let _ = writeln!(text, "  {}", line.join(" "));
                write_headers(&mut text, "  ", headers);
            }
            None => text.push_str("\nThe upstream gets nothing\n"),
        }
        match self.response.status {
            Some(status) => {
                let _ = writeln!(text, "\nThe client gets\n  {status}");
            }
            None => text.push_str("\nThe client gets the upstream's response with\n"),
        }
        write_headers(&mut text, "  ", &self.response.headers);
        if !self.response.body.is_empty() {
            let _ = write!(text, "\n  {}", lossy(&self.response.body));
        }
        text
    }

    pub fn to_json(&self) -> Value {
        let reason = match self.outcome {
            Outcome::Deny(reason) => Some(reason),
            _ => None,
        };
        let origin = self.request.iter().find(|(name, _)| name == b"origin");
        let origin = origin.map(|(_, value)| &value[..]);
        json!({
            "request": headers_json(&self.request),
            "steps": steps_json(&self.steps),
            "browser": steps_json(&self.browser),
            "decision": {
                "outcome": match self.outcome {
                    Outcome::Allow => "allow",
                    Outcome::Deny(_) => "deny",
                    Outcome::Preflight => "preflight",
                },
                "enforcement": match self.enforcement {
                    Enforcement::Enforce => "enforce",
                    Enforcement::Report => "report",
                },
                "key_id": self.key_id,
                "key_label": self.key_label,
                "subject": self.subject,
                "status": reason.map(Reason::status),
                "code": reason.map(Reason::code),
                "detail": reason.map(|reason| reason.detail(origin)),
            },
            "upstream": self.upstream.as_deref().map(headers_json),
            "response": {
                "status": self.response.status,
                "headers": headers_json(&self.response.headers),
                "body": lossy(&self.response.body),
            },
        })
    }
}

fn write_steps(text: &mut String, style: Style, steps: &[StepResult]) {
    let width = steps.iter().map(|result| result.step.len()).max().unwrap_or(0).max(8);
    for StepResult { step, passed, compared } in steps {
        let mark = if *passed {
            style.paint(Colour::Green, "pass")
        } else {
            style.paint(Colour::Red, "FAIL")
        };
        let _ = writeln!(text, "  {mark}  {step:<width$} {}", escape::line(compared));
    }
}

fn steps_json(steps: &[StepResult]) -> Value {
    let step = |StepResult { step, passed, compared }: &StepResult| json!({"step": step, "passed": passed, "compared": compared});
    steps.iter().map(step).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a value, on one line.
fn shown(bytes: &[u8]) -> String {
    escape::line(&lossy(bytes))
}

/// Writes one line for each header except pseudo-headers.
fn write_headers(text: &mut String, indentation: &str, headers: &[Header]) {
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let _ = writeln!(text, "{indentation}{}: {}", shown(name), shown(value));
    }
}

/// Headers as JSON pairs, because names may repeat and the order may matter.
fn headers_json(headers: &[Header]) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([lossy(name), lossy(value)]))
        .collect()
}
