//! One request tried on a policy: made from arguments, decided on by the filter's own code.

use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU32;

use keyfence_core::config::api_key::{ApiKey, ApiKeyError};
use keyfence_core::config::key::{Enforcement, Key};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::nearest::nearest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{ClientIp, Config, DiagnosticKind};
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::credential::{Credential, PresentedKey};
use keyfence_core::decision::local_reply::LocalReply;
use keyfence_core::decision::rate::{self, RateStatus};
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::redaction::redacted;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::{
    Check, Decision, Effect, HeaderMutation, LocalReplyKind, Refusal, RequestContext, Unavailable, decide,
    decide_with_trace, upstream,
};
use keyfence_core::policy::{self, Policy};

use super::arguments::Arguments;
use super::browser::{self, Page};
use super::explanation::{Explanation, Header, Response, StepResult};
use super::step::{self, Decided};
use crate::Failure;

/// In place of the API key.
const HIDDEN: &str = "(the API key)";

/// A request to try on a policy.
pub struct Simulation<'t> {
    pub arguments: &'t Arguments,
    pub policy: &'t Policy,
    pub config: &'t Config<'t>,
    pub keys: &'t [Key<'t>],
    pub now: Timestamp,
}

/// The world that the arguments describe.
struct SimulatedContext {
    address: Option<IpAddr>,
    client_ip: ClientIp,
    now: Timestamp,
}

impl RequestContext for SimulatedContext {
    fn source_address(&self) -> SourceAddress {
        let known = match self.client_ip {
            ClientIp::Forwarded => SourceAddress::Forwarded,
            ClientIp::Peer | ClientIp::ForwardedOrPeer => SourceAddress::Peer,
        };
        self.address.map_or(SourceAddress::Unknown, known)
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(self.now)
    }

    fn admit(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        Ok(rate::admit(None, limit, self.second()).status)
    }

    fn peek(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(rate::peek(None, limit, self.second()))
    }
}

impl SimulatedContext {
    fn second(&self) -> u64 {
        u64::try_from(self.now.0).unwrap_or(0)
    }
}

impl Simulation<'_> {
    /// Decides, and says how.
    pub fn run(&self) -> Result<Explanation, Failure> {
        let request = self.request()?;
        let head = self.head(&request)?;
        let mut taken: Vec<(Check, Result<(), Reason>)> = Vec::new();
        let decision = decide_with_trace(self.policy, &head, &self.context(), &mut |step, outcome| {
            taken.push((step, outcome));
        });
        let decided = Decided {
            config: self.config,
            keys: self.keys,
            policy: self.policy,
            head: &head,
            decision: &decision,
        };
        let steps = taken.into_iter().map(|(step, outcome)| StepResult {
            step: step::name(step),
            passed: outcome.is_ok(),
            compared: decided.evidence(step),
        });
        let steps = steps.collect();
        let (response, upstream) = self.outcome(&request, &head, &decision);
        let browser = match decision.enforcement {
            Enforcement::Enforce => self.browser(&response)?,
            // The upstream answers as it does without the filter.
            Enforcement::Report => Vec::new(),
        };
        Ok(Explanation {
            request: self.shown(request.clone()),
            steps,
            browser,
            outcome: decision.outcome,
            enforcement: decision.enforcement,
            is_denied: matches!(decision.effect(), Effect::Respond(LocalReplyKind::Error(_))),
            key_id: decision.key.map(|(_, key)| key.id().to_string()),
            response,
            upstream: upstream.map(|headers| self.shown(headers)),
        })
    }

    /// What a browser compares where a page on another origin sends the request. A WebSocket's handshake knows no CORS.
    fn browser(&self, response: &Response) -> Result<Vec<StepResult>, Failure> {
        let arguments = self.arguments;
        let Some(origin) = &arguments.origin else {
            return Ok(Vec::new());
        };
        let headers = self.page_headers();
        let own = arguments
            .host
            .as_ref()
            .map(|(scheme, authority)| format!("{scheme}://{authority}"));
        let is_websocket = headers
            .iter()
            .any(|(name, _)| name == "upgrade" || name.starts_with("sec-websocket-"));
        if is_websocket || own.as_ref() == Some(origin) {
            return Ok(Vec::new());
        }
        let Some(method) = browser::normalized(&arguments.method) else {
            return Ok(vec![browser::forbidden_method(&arguments.method)]);
        };
        let page = Page {
            origin,
            method: &method,
            headers: &headers,
            credentials: arguments.credentials,
        };
        if arguments.preflight {
            return Ok(page.after_preflight(response.status.unwrap_or(200), &response.headers));
        }
        let mut steps = Vec::new();
        if page.needs_preflight() {
            let answer = self.answer_to_preflight(&page)?;
            steps = page.after_preflight(answer.status.unwrap_or(200), &answer.headers);
        }
        if steps.iter().all(|step| step.passed) {
            steps.push(page.may_read(&response.headers));
        }
        Ok(steps)
    }

    /// What the filter answers to the preflight that a browser sends before the request.
    fn answer_to_preflight(&self, page: &Page<'_>) -> Result<Response, Failure> {
        let request = self.preflight_of(page);
        let head = self.head(&request)?;
        let decision = decide(self.policy, &head, &self.context());
        Ok(self.outcome(&request, &head, &decision).0)
    }

    /// What the request says, with the key that the arguments name in the place of the one that stands for it.
    fn head<'r>(&self, request: &'r [Header]) -> Result<Head<'r>, Failure> {
        let mut head = Head::read(self.policy, pairs(request));
        if let (Some(id), Credential::One(presented)) = (&self.arguments.key_id, head.credential) {
            head.credential = Credential::One(self.with_key(presented, id)?);
        }
        Ok(head)
    }

    fn context(&self) -> SimulatedContext {
        SimulatedContext {
            address: self.arguments.ip,
            client_ip: self.policy.client_ip(),
            now: self.now,
        }
    }

    /// The headers of the request, names in lower case.
    fn request(&self) -> Result<Vec<Header>, Failure> {
        let arguments = self.arguments;
        if !arguments.path.starts_with('/') && arguments.path != "*" {
            return Err(Failure::new("a path begins with /"));
        }
        if let Some(key) = &arguments.key
            && let Err(error @ (ApiKeyError::Mistake(_) | ApiKeyError::Scheme)) =
                ApiKey::parse(key, &self.config.key_sources)
        {
            let message = error.message();
            return Err(Failure(format!("--key: {}; {}", message.reason, message.help)));
        }
        let headers = self.page_headers();
        if arguments.preflight {
            return Ok(self.preflight_of(&Page {
                origin: arguments.origin.as_deref().unwrap_or_default(),
                method: &arguments.method,
                headers: &headers,
                credentials: arguments.credentials,
            }));
        }
        let mut lines = self.head_lines(&arguments.method);
        lines.extend(headers);
        Ok(bytes(lines))
    }

    /// Fetch, "CORS-preflight fetch": the page's own headers are named and not sent.
    fn preflight_of(&self, page: &Page<'_>) -> Vec<Header> {
        let mut lines = self.head_lines("OPTIONS");
        lines.push(("access-control-request-method".into(), page.method.into()));
        let names = page.unsafe_headers();
        if !names.is_empty() {
            lines.push(("access-control-request-headers".into(), names.join(",")));
        }
        bytes(lines)
    }

    /// The pseudo-headers and `Origin`.
    fn head_lines(&self, method: &str) -> Vec<(String, String)> {
        let arguments = self.arguments;
        let mut path = arguments.path.clone();
        if let (Some(key), Some(KeySource::Query(name))) = (self.key(), self.config.key_sources.first()) {
            let separator = if path.contains('?') { '&' } else { '?' };
            let _ = write!(path, "{separator}{}={}", form_encoded(name), form_encoded(key));
        }
        let mut lines = vec![(":method".into(), method.into()), (":path".into(), path)];
        if let Some((scheme, authority)) = &arguments.host {
            lines.push((":scheme".into(), scheme.clone()));
            lines.push((":authority".into(), authority.clone()));
        }
        if let Some(origin) = &arguments.origin {
            lines.push(("origin".into(), origin.clone()));
        }
        lines
    }

    /// What stands for the key that the arguments name.
    fn key(&self) -> Option<&str> {
        let arguments = self.arguments;
        let id = arguments.key_id.as_ref().map(|_| HIDDEN);
        arguments.key.as_deref().or(id)
    }

    /// The headers that whoever sends the request sets: the key's, and those of the arguments.
    fn page_headers(&self) -> Vec<(String, String)> {
        let key = match (self.key(), self.config.key_sources.first()) {
            (Some(key), Some(KeySource::Header(name))) => Some((name.lower(), key.into())),
            (Some(key), Some(KeySource::Scheme { header, scheme })) => {
                Some((header.lower(), format!("{scheme} {key}")))
            }
            (Some(key), Some(KeySource::WebSocketProtocol(prefix))) => {
                Some(("sec-websocket-protocol".into(), format!("{prefix}{key}")))
            }
            _ => None,
        };
        key.into_iter().chain(self.arguments.headers.iter().cloned()).collect()
    }

    /// The key of this id in the place of the one presented.
    fn with_key<'r>(&self, presented: PresentedKey<'r>, id: &str) -> Result<PresentedKey<'r>, Failure> {
        let key = self.keys.iter().find(|key| key.id == id);
        match key.and_then(|key| key.api_keys.first()) {
            Some(api_key) => Ok(presented.with_digest(api_key.digest)),
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
        decision: &Decision<'_, '_>,
    ) -> (Response, Option<Vec<Header>>) {
        if let Effect::Respond(kind) = decision.effect() {
            let reply = LocalReply::new(self.policy, head, decision, kind);
            let response = Response {
                status: Some(reply.status),
                headers: reply
                    .headers
                    .iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
                body: reply.body,
            };
            return (response, None);
        }
        let mut forwarded = request.to_vec();
        upstream::apply(self.policy, head, decision, &mut |mutation| {
            apply(&mut forwarded, mutation)
        });
        let sent = self.arguments.response_headers.iter();
        let sent: Vec<Header> = sent
            .map(|(name, value)| (name.clone().into(), value.clone().into()))
            .collect();
        let mut headers = sent.clone();
        let context = ResponseContext::new(head, decision);
        context.apply(self.policy.response(), pairs(&sent), &mut |mutation| {
            apply(&mut headers, mutation)
        });
        let response = Response {
            status: None,
            headers,
            body: Vec::new(),
        };
        (response, Some(forwarded))
    }

    /// Headers without the API key in them.
    fn shown(&self, headers: Vec<Header>) -> Vec<Header> {
        let headers = headers.into_iter();
        headers
            .map(|(name, value)| {
                let value = redacted(self.policy.key_sources(), &name, &value, HIDDEN);
                (name, value)
            })
            .collect()
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

fn bytes(lines: Vec<(String, String)>) -> Vec<Header> {
    let lines = lines.into_iter();
    lines.map(|(name, value)| (name.into(), value.into())).collect()
}

fn pairs(headers: &[Header]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// What Envoy does with a mutation.
fn apply(headers: &mut Vec<Header>, mutation: HeaderMutation<'_>) {
    match mutation {
        HeaderMutation::Add(name, value) => headers.push((name.into(), value.into())),
        HeaderMutation::Remove(name) => headers.retain(|(known, _)| known != name),
        HeaderMutation::Replace(name, value) => {
            let mut is_first = true;
            headers.retain(|(known, _)| known != name || std::mem::take(&mut is_first));
            if let Some((_, known)) = headers.iter_mut().find(|(known, _)| known == name) {
                *known = value.into();
            }
        }
    }
}
