//! `keyfence explain`: what becomes of a request under a policy, step by step.

use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use keyfence::config::finding::nearest;
use keyfence::config::key::{Enforcement, Key};
use keyfence::config::key_source::KeySource;
use keyfence::config::timestamp::Timestamp;
use keyfence::config::token::is_token;
use keyfence::config::{self, Config, Findings};
use keyfence::decision::address::SourceAddress;
use keyfence::decision::credential::{Carried, Credential, without_parameter};
use keyfence::decision::rate::{self, RateStatus};
use keyfence::decision::reason::Reason;
use keyfence::decision::reply::Reply;
use keyfence::decision::request::Head;
use keyfence::decision::response::{Edit, Exchange};
use keyfence::decision::{Ruling, Step, Surroundings, Verdict, upstream, walk};
use keyfence::policy::{self, Policy};
use serde_json::{Value, json};

use super::report::Report;
use super::source::Source;
use super::step::{self, Decided};
use super::style::{Colour, Style};
use super::{DENIED, Failure, Format, now, print};

/// Try a request on a policy without a gateway: each step of the decision, and the exact headers that client and upstream would get
///
/// The decision is the filter's own. The rate limit is as fresh as if no request had come before, and the upstream answers with
/// nothing but what --response-header gives it. The API key is never shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The policy as JSON or YAML, or configuration of Envoy, Istio or Envoy Gateway with the policy in it; - for standard input
    file: PathBuf,

    /// The request's method
    #[arg(long, default_value = "GET")]
    method: String,

    /// The request's path, with its query
    #[arg(long, default_value = "/")]
    path: String,

    /// The web origin of the page that sends it
    #[arg(long)]
    origin: Option<String>,

    /// The client's address, as Envoy determines it
    #[arg(long)]
    ip: Option<IpAddr>,

    /// The API key, carried as the first of the policy's key_sources says
    #[arg(long, conflicts_with = "key_id")]
    key: Option<String>,

    /// In place of the API key, the id of its entry in keys
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,

    /// A further header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// Try the preflight that a browser sends before the request
    #[arg(long)]
    preflight: bool,

    /// A header of the upstream's response; may be repeated
    #[arg(long = "response-header", value_name = "NAME: VALUE", value_parser = header)]
    response_headers: Vec<(String, String)>,

    /// The time of the request, as 2027-01-01T00:00:00Z
    #[arg(long, value_parser = timestamp)]
    now: Option<Timestamp>,

    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  keyfence explain policy.json --key-id frontend --origin https://app.example.com --path /v1/indexes/products/search
  keyfence explain policy.json --origin http://localhost:3000 --method DELETE --preflight
  keyfence explain policy.json --key-id backend --ip 192.0.2.7 -H 'X-Request-Id: 1'
  keyfence explain policy.json --format json | jq .verdict";

/// In place of the API key.
const HIDDEN: &str = "(the API key)";

type Header = (Vec<u8>, Vec<u8>);

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    if !is_token(name) {
        return Err("this is no header's name".into());
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as 2027-01-01T00:00:00Z".into())
}

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
    let mut findings = Findings::default();
    let (false, Ok(loaded), Some(config)) = (
        report.has_errors(),
        Policy::load(&json, now()),
        config::read(&json, &mut findings),
    ) else {
        print(&match arguments.format {
            Format::Text => report.to_text(Style::of_stdout()),
            Format::Json => format!("{:#}\n", report.to_json()),
        })?;
        return Ok(ExitCode::from(DENIED));
    };
    let mut keys = Vec::new();
    config::read_keys(&json, now(), &mut findings, &mut |_, key, _, _| keys.push(key));
    let trial = Trial {
        arguments,
        policy: &loaded.policy,
        config: &config,
        keys: &keys,
        now: arguments.now.unwrap_or_else(now),
    };
    let explanation = trial.run()?;
    print(&match arguments.format {
        Format::Text => explanation.to_text(Style::of_stdout()),
        Format::Json => format!("{:#}\n", explanation.to_json()),
    })?;
    Ok(if explanation.is_denied {
        ExitCode::from(DENIED)
    } else {
        ExitCode::SUCCESS
    })
}

/// A request to try on a policy.
struct Trial<'t> {
    arguments: &'t Arguments,
    policy: &'t Policy,
    config: &'t Config<'t>,
    keys: &'t [Key<'t>],
    now: Timestamp,
}

/// The world that the arguments describe.
struct Described {
    address: Option<IpAddr>,
    now: Timestamp,
}

impl Surroundings for Described {
    fn source_address(&self) -> SourceAddress {
        self.address.map_or(SourceAddress::Unknown, SourceAddress::Peer)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn admit(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> Result<RateStatus, RateStatus> {
        Ok(rate::admit(None, limit, self.second()).status)
    }

    fn peek(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> RateStatus {
        rate::peek(None, limit, self.second())
    }
}

impl Described {
    fn second(&self) -> u64 {
        u64::try_from(self.now.0).unwrap_or(0)
    }
}

impl Trial<'_> {
    fn run(&self) -> Result<Explanation, Failure> {
        let request = self.request()?;
        let mut head = Head::read(self.policy, pairs(&request));
        if let (Some(id), Credential::One(carried)) = (&self.arguments.key_id, head.credential) {
            head.credential = Credential::One(self.with_key(carried, id)?);
        }
        let surroundings = Described {
            address: self.arguments.ip,
            now: self.now,
        };
        let mut taken: Vec<(Step, Result<(), Reason>)> = Vec::new();
        let verdict = walk(self.policy, &head, &surroundings, &mut |step, outcome| {
            taken.push((step, outcome));
        });
        let decided = Decided {
            config: self.config,
            keys: self.keys,
            head: &head,
            verdict: &verdict,
            address: self.arguments.ip,
            now: self.now,
        };
        let steps = taken.into_iter().map(|(step, outcome)| Taken {
            step: step::name(step),
            passed: outcome.is_ok(),
            compared: decided.compared(step, outcome),
        });
        let steps = steps.collect();
        let (response, upstream) = self.outcome(&request, &head, &verdict);
        Ok(Explanation {
            request: self.shown(request.clone()),
            steps,
            ruling: verdict.ruling,
            enforcement: verdict.enforcement,
            is_denied: verdict.is_answered() && verdict.ruling != Ruling::Preflight,
            key_id: verdict.key.map(|(_, key)| key.id.to_string()),
            response,
            upstream: upstream.map(|headers| self.shown(headers)),
        })
    }

    /// The headers of the request, names in lower case.
    fn request(&self) -> Result<Vec<Header>, Failure> {
        let arguments = self.arguments;
        if !arguments.path.starts_with('/') && arguments.path != "*" {
            return Err(Failure::new("a path begins with /"));
        }
        let mut path = arguments.path.clone();
        let mut headers: Vec<(String, String)> = Vec::new();
        if let Some(origin) = &arguments.origin {
            headers.push(("origin".into(), origin.clone()));
        }
        if arguments.preflight {
            headers.push(("access-control-request-method".into(), arguments.method.clone()));
        }
        let key = match (&arguments.key, &arguments.key_id) {
            (Some(key), _) => Some(key.as_str()),
            (None, id) => id.as_ref().map(|_| HIDDEN),
        };
        match (key, self.config.key_sources.first()) {
            (Some(key), Some(KeySource::Query(name))) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                let _ = write!(path, "{separator}{}={}", form_encoded(name), form_encoded(key));
            }
            // A browser's preflight has no headers of the page.
            _ if arguments.preflight => {}
            (Some(key), Some(KeySource::Header(name))) => headers.push((name.lower(), key.into())),
            (Some(key), Some(KeySource::Scheme { header, scheme })) => {
                headers.push((header.lower(), format!("{scheme} {key}")));
            }
            (_, _) => {}
        }
        headers.extend(arguments.headers.iter().cloned());
        let method = if arguments.preflight {
            "OPTIONS"
        } else {
            &arguments.method
        };
        let pseudo = [(":method".into(), method.into()), (":path".into(), path)];
        let all = pseudo.into_iter().chain(headers);
        Ok(all.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The key of this id in the place of the one carried.
    fn with_key<'r>(&self, carried: Carried<'r>, id: &str) -> Result<Carried<'r>, Failure> {
        let key = self.keys.iter().find(|key| key.id == id);
        match key.and_then(|key| key.api_keys.first()) {
            Some(api_key) => Ok(carried.with_digest(api_key.digest)),
            None => {
                let near = nearest(id, self.keys.iter().map(|key| &*key.id));
                let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                Err(Failure(format!("no key has the id {id:?}{near}")))
            }
        }
    }

    /// What the client gets, and what the upstream gets if anything.
    fn outcome(
        &self,
        request: &[Header],
        head: &Head<'_>,
        verdict: &Verdict<'_, '_>,
    ) -> (Response, Option<Vec<Header>>) {
        let reply = Reply::new(self.policy, head, verdict).filter(|_| verdict.is_answered());
        if let Some(reply) = reply {
            let response = Response {
                status: Some(reply.status),
                headers: reply.headers,
                body: reply.body,
            };
            return (response, None);
        }
        let mut forwarded = request.to_vec();
        upstream::edit(self.policy, head, verdict, &mut |edit| apply(&mut forwarded, edit));
        let sent = self.arguments.response_headers.iter();
        let sent: Vec<Header> = sent
            .map(|(name, value)| (name.clone().into(), value.clone().into()))
            .collect();
        let mut headers = sent.clone();
        Exchange::new(head.origin, verdict).edit(self.policy, pairs(&sent), &mut |edit| apply(&mut headers, edit));
        let response = Response {
            status: None,
            headers,
            body: Vec::new(),
        };
        (response, Some(forwarded))
    }

    /// Headers without the API key in them.
    fn shown(&self, headers: Vec<Header>) -> Vec<Header> {
        let shown = headers.into_iter().map(|(name, value)| {
            let value = self
                .config
                .key_sources
                .iter()
                .fold(value, |value, source| match source {
                    KeySource::Header(header) if header.lower().as_bytes() == name => HIDDEN.into(),
                    KeySource::Scheme { header, scheme } if header.lower().as_bytes() == name => {
                        let has_scheme = value.len() >= scheme.len()
                            && value
                                .iter()
                                .zip(scheme.bytes())
                                .all(|(a, b)| a.eq_ignore_ascii_case(&b));
                        if has_scheme {
                            format!("{scheme} {HIDDEN}").into()
                        } else {
                            value
                        }
                    }
                    KeySource::Query(parameter) if name == b":path" => hide_parameter(&value, parameter),
                    _ => value,
                });
            (name, value)
        });
        shown.collect()
    }
}

/// Everything but letters, digits, `-`, `.` and `_` as `%XX`.
fn form_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The path with the value of this parameter hidden.
fn hide_parameter(path: &[u8], name: &str) -> Vec<u8> {
    let Some(at) = path.iter().position(|byte| *byte == b'?') else {
        return path.to_vec();
    };
    let (target, query) = path.split_at(at);
    let pairs = query.strip_prefix(b"?").unwrap_or(query).split(|byte| *byte == b'&');
    let pairs: Vec<Vec<u8>> = pairs
        .map(|pair| {
            // The parameter by whatever spelling it is taken for it.
            let is_hidden = without_parameter(&[b"/?", pair].concat(), name) == b"/";
            if is_hidden {
                format!("{name}={HIDDEN}").into()
            } else {
                pair.to_vec()
            }
        })
        .collect();
    [target, b"?", &pairs.join(&b'&')].concat()
}

fn pairs(headers: &[Header]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// What Envoy does with an edit.
fn apply(headers: &mut Vec<Header>, edit: Edit<'_>) {
    match edit {
        Edit::Add(name, value) => headers.push((name.into(), value.into())),
        Edit::Remove(name) => headers.retain(|(known, _)| known != name),
        Edit::Replace(name, value) => {
            let mut is_first = true;
            headers.retain(|(known, _)| known != name || std::mem::take(&mut is_first));
            if let Some((_, known)) = headers.iter_mut().find(|(known, _)| known == name) {
                *known = value.into();
            }
        }
    }
}

/// What became of a request.
struct Explanation {
    request: Vec<Header>,
    steps: Vec<Taken>,
    ruling: Ruling,
    enforcement: Enforcement,
    is_denied: bool,
    key_id: Option<String>,
    response: Response,
    /// `None`: it gets nothing.
    upstream: Option<Vec<Header>>,
}

/// One step that was taken.
struct Taken {
    step: &'static str,
    passed: bool,
    compared: String,
}

/// What the client gets.
struct Response {
    /// `None`: whatever the upstream says.
    status: Option<u16>,
    headers: Vec<Header>,
    body: Vec<u8>,
}

impl Explanation {
    fn verdict(&self) -> String {
        let code = |reason: Reason| format!("{} {}", reason.status(), reason.code());
        match (self.ruling, self.enforcement) {
            (Ruling::Allow, _) => "allowed".into(),
            (Ruling::Preflight, Enforcement::Enforce) => "answered: an allowed preflight".into(),
            (Ruling::Preflight, Enforcement::Report) => "forwarded: the policy reports only".into(),
            (Ruling::Deny(reason), Enforcement::Enforce) => format!("denied: {}", code(reason)),
            (Ruling::Deny(reason), Enforcement::Report) => {
                format!(
                    "forwarded: the policy reports only, and would deny with {}",
                    code(reason)
                )
            }
        }
    }

    fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        let value = |wanted: &str| {
            let found = self.request.iter().find(|(name, _)| name == wanted.as_bytes());
            found.map_or_else(String::new, |(_, value)| lossy(value))
        };
        let title = format!("{} {}", value(":method"), value(":path"));
        let _ = writeln!(text, "{}", style.paint(Colour::Bold, title));
        write_headers(&mut text, "", &self.request);
        text.push('\n');
        for Taken { step, passed, compared } in &self.steps {
            let mark = if *passed {
                style.paint(Colour::Green, "pass")
            } else {
                style.paint(Colour::Red, "FAIL")
            };
            let _ = writeln!(text, "  {mark}  {step:<8} {compared}");
        }
        let colour = if self.is_denied { Colour::Red } else { Colour::Green };
        let _ = writeln!(text, "\n{}", style.paint(colour, self.verdict()));
        match &self.upstream {
            Some(headers) => {
                text.push_str("\nThe upstream gets\n");
                let pseudo = headers.iter().filter(|(name, _)| name.starts_with(b":"));
                let line: Vec<String> = pseudo.map(|(_, value)| lossy(value)).collect();
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

    fn to_json(&self) -> Value {
        let reason = match self.ruling {
            Ruling::Deny(reason) => Some(reason),
            _ => None,
        };
        let steps = self
            .steps
            .iter()
            .map(|Taken { step, passed, compared }| json!({"step": step, "passed": passed, "compared": compared}));
        json!({
            "request": headers_json(&self.request),
            "steps": steps.collect::<Vec<_>>(),
            "verdict": {
                "decision": match self.ruling {
                    Ruling::Allow => "allow",
                    Ruling::Deny(_) => "deny",
                    Ruling::Preflight => "preflight",
                },
                "enforcement": match self.enforcement {
                    Enforcement::Enforce => "enforce",
                    Enforcement::Report => "report",
                },
                "key_id": self.key_id,
                "status": reason.map(Reason::status),
                "code": reason.map(Reason::code),
                "detail": reason.map(Reason::detail),
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

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All but the pseudo-headers.
fn write_headers(text: &mut String, indentation: &str, headers: &[Header]) {
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let _ = writeln!(text, "{indentation}{}: {}", lossy(name), lossy(value));
    }
}

/// As pairs, for a name may come twice and the order may matter.
fn headers_json(headers: &[Header]) -> Value {
    headers
        .iter()
        .map(|(name, value)| json!([lossy(name), lossy(value)]))
        .collect()
}
