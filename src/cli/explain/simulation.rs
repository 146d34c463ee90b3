//! Builds a request from the arguments, and lets the filter's own code decide on it.

use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU32;

use keyfence_core::config::api_key::{ApiKey, ApiKeyEntry, ApiKeyError};
use keyfence_core::config::key::{Enforcement, Key};
use keyfence_core::config::key_source::KeySource;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{ClientIp, Config, DiagnosticKind};
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::client_table::{self, Place};
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
use keyfence_core::policy::fed_keys::FedKeys;
use keyfence_core::policy::in_force::InForce;
use keyfence_core::policy::{self, Policy};

use super::arguments::Arguments;
use super::browser::{self, Page};
use super::explanation::{Explanation, Header, Response, StepResult};
use super::step::{self, Evidence};
use crate::Failure;
use crate::written::key_of_id;

/// Shown instead of the API key.
const HIDDEN: &str = "(the API key)";

/// The arguments of `explain`, and the policy: as compiled, and as the operator wrote it.
pub struct Simulation<'t> {
    pub arguments: &'t Arguments,
    /// The raw API key that the arguments give, if they do.
    pub key: Option<&'t str>,
    pub policy: &'t Policy,
    /// The keys of the policy's feed: none, for only gateways know them.
    pub fed: &'t FedKeys,
    pub config: &'t Config<'t>,
    pub keys: &'t [Key<'t>],
    pub now: Timestamp,
}

/// The context of a request as the arguments describe it. No request has counted against a rate limit yet.
struct SimulatedContext {
    address: Option<IpAddr>,
    client_ip: ClientIp,
    now: Timestamp,
}

impl RequestContext for SimulatedContext {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        let kind = match self.client_ip {
            ClientIp::Forwarded => SourceAddress::Forwarded,
            ClientIp::Peer | ClientIp::ForwardedOrPeer => SourceAddress::Peer,
        };
        Ok(self.address.map_or(SourceAddress::Unknown, kind))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(self.now)
    }

    fn admit(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        Ok(rate::admit(None, limit, self.unix_seconds()).status)
    }

    fn peek(&self, _: Option<&policy::Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(rate::peek(None, limit, self.unix_seconds()))
    }

    fn admit_client(
        &self,
        key: Option<&policy::Key>,
        client: &Client,
        limit: NonZeroU32,
    ) -> Result<RateStatus, Refusal> {
        let place = SimulatedContext::place(key, client);
        Ok(client_table::admit(None, &place, limit, self.unix_seconds()).status)
    }

    fn peek_client(
        &self,
        key: Option<&policy::Key>,
        client: &Client,
        limit: NonZeroU32,
    ) -> Result<RateStatus, Unavailable> {
        let place = SimulatedContext::place(key, client);
        Ok(client_table::peek(None, &place, limit, self.unix_seconds()))
    }
}

impl SimulatedContext {
    fn unix_seconds(&self) -> u64 {
        u64::try_from(self.now.0).unwrap_or(0)
    }

    /// A place in a table of one bucket. The gateway's is a secret, so the seconds until a reset there may be up to nine less.
    fn place(key: Option<&policy::Key>, client: &Client) -> Place {
        Place::new(b"", key.map(policy::Key::id), client, 1)
    }
}

impl Simulation<'_> {
    /// Decides on the request, and explains the decision. Fails if the arguments do not fit the policy.
    pub fn run(&self) -> Result<Explanation, Failure> {
        let request = self.request()?;
        let head = self.head(&request)?;
        let mut trace: Vec<(Check, Result<(), Reason>)> = Vec::new();
        let decision = decide_with_trace(self.in_force(), &head, &self.context(), &mut |check, result| {
            trace.push((check, result));
        });
        let evidence = Evidence {
            config: self.config,
            keys: self.keys,
            policy: self.policy,
            head: &head,
            decision: &decision,
        };
        let steps = trace.into_iter().map(|(check, result)| StepResult {
            step: step::name(check),
            passed: result.is_ok(),
            compared: evidence.of(check),
        });
        let steps = steps.collect();
        let (response, upstream) = self.outcome(&request, &head, &decision);
        let browser = match decision.enforcement {
            Enforcement::Enforce => self.browser(&response)?,
            // The filter adds no CORS headers, so the browser's checks depend on the upstream alone.
            Enforcement::Report => Vec::new(),
        };
        Ok(Explanation {
            request: self.shown(request.clone()),
            steps,
            browser,
            outcome: decision.outcome,
            enforcement: decision.enforcement,
            is_denied: matches!(decision.effect(), Effect::Respond(LocalReplyKind::Error(_))),
            key_id: decision.key.map(|found| found.key().id().to_string()),
            key_label: decision.key.and_then(|found| found.label()).map(str::to_string),
            subject: decision
                .token
                .as_ref()
                .and_then(|token| token.subject())
                .map(str::to_string),
            response,
            upstream: upstream.map(|headers| self.shown(headers)),
        })
    }

    /// The browser's checks, if a page of another origin sends the request. CORS does not apply to WebSocket handshakes.
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
            let preflight = self.preflight_response(&page)?;
            steps = page.after_preflight(preflight.status.unwrap_or(200), &preflight.headers);
        }
        if steps.iter().all(|step| step.passed) {
            steps.push(page.may_read(&response.headers));
        }
        Ok(steps)
    }

    /// The response to the preflight that a browser sends before the request.
    fn preflight_response(&self, page: &Page<'_>) -> Result<Response, Failure> {
        let request = self.preflight_of(page);
        let head = self.head(&request)?;
        let decision = decide(self.in_force(), &head, &self.context());
        Ok(self.outcome(&request, &head, &decision).0)
    }

    /// Reads the request's headers. With `--key-id`, the placeholder key in them is replaced by the named key.
    fn head<'r>(&self, request: &'r [Header]) -> Result<Head<'r>, Failure> {
        let mut head = Head::read(self.policy, pairs(request));
        if let (Some(id), Credential::One(presented)) = (&self.arguments.key_id, head.credential) {
            head.credential = Credential::One(self.with_key(presented, id)?);
        }
        Ok(head)
    }

    /// The policy as in a gateway whose feed has answered. So what the feed does not have is refused, too.
    fn in_force(&self) -> InForce<'_> {
        InForce::new(self.policy, Some(self.fed))
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
            return Err(Failure::new("--path must begin with /"));
        }
        if let Some(key) = self.key
            && let Err(error @ (ApiKeyError::Mistake(_) | ApiKeyError::Scheme)) =
                ApiKey::parse(key, &self.config.key_sources)
        {
            let message = error.message();
            return Err(Failure(format!("the API key: {}; {}", message.reason, message.help)));
        }
        let headers = self.page_headers();
        // A browser sends `GET` if the page asks for `get`.
        let normalized = arguments
            .origin
            .as_ref()
            .and_then(|_| browser::normalized(&arguments.method));
        let method = normalized.unwrap_or_else(|| arguments.method.clone());
        if arguments.preflight {
            return Ok(self.preflight_of(&Page {
                origin: arguments.origin.as_deref().unwrap_or_default(),
                method: &method,
                headers: &headers,
                credentials: arguments.credentials,
            }));
        }
        let mut lines = self.head_lines(&method);
        lines.extend(headers);
        Ok(bytes(lines))
    }

    /// The preflight for a page's request (Fetch, "CORS-preflight fetch"). It names the page's headers, and does not contain them.
    fn preflight_of(&self, page: &Page<'_>) -> Vec<Header> {
        let mut lines = self.head_lines("OPTIONS");
        lines.push(("access-control-request-method".into(), page.method.into()));
        let names = page.unsafe_headers();
        if !names.is_empty() {
            lines.push(("access-control-request-headers".into(), names.join(",")));
        }
        bytes(lines)
    }

    /// The pseudo-headers and `Origin`. A key in the query is added to the path.
    fn head_lines(&self, method: &str) -> Vec<(String, String)> {
        let arguments = self.arguments;
        let mut path = arguments.path.clone();
        if let (Some(key), Some(KeySource::Query(name))) = (self.presented_key(), self.config.key_sources.first()) {
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

    /// The raw key, or a placeholder for that of `--key-id`.
    fn presented_key(&self) -> Option<&str> {
        let id = self.arguments.key_id.as_ref().map(|_| HIDDEN);
        self.key.or(id)
    }

    /// The headers that the client or page sets: the one with the key, and those of `--header`.
    fn page_headers(&self) -> Vec<(String, String)> {
        let key = match (self.presented_key(), self.config.key_sources.first()) {
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

    /// The presented key, replaced by the policy's key of this id: by its first entry that has not expired, or else by its first.
    fn with_key<'r>(&self, presented: PresentedKey<'r>, id: &str) -> Result<PresentedKey<'r>, Failure> {
        let key = key_of_id(self.config, self.keys, id)?;
        let is_valid = |entry: &&ApiKeyEntry<'_>| entry.expires_at.is_none_or(|end| self.now < end);
        match key.entries.iter().find(is_valid).or(key.entries.first()) {
            Some(entry) => Ok(presented.with_digest(entry.key.digest)),
            None => Err(Failure(format!(
                "--key-id: the key {id:?} has no api_key; give a token, which keyfence token create makes, in place of the key"
            ))),
        }
    }

    /// The response that the client gets, and the request that the upstream gets, if any.
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

    /// The headers with the API key redacted.
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

/// Percent-encodes all bytes except letters, digits, `-`, `.` and `_`.
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

/// Applies a mutation as Envoy does.
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
