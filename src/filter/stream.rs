//! One request and its response, over a [`Host`]. A call that the host refuses ends the stream with an error: nothing passes in doubt.

use std::num::NonZeroU32;
use std::sync::Arc;

use keyfence_core::config::ClientIp;
use keyfence_core::config::key::Enforcement;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::grpc::Grpc;
use keyfence_core::decision::header_list::HeaderList;
use keyfence_core::decision::local_reply::{LocalReply, complete, is_of_body};
use keyfence_core::decision::rate::RateStatus;
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::{Head, is_identity_claim, is_method_override};
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::{
    Decision, Effect, HeaderMutation, Outcome, Refusal, RequestContext, Unavailable, decide, upstream,
};
use keyfence_core::policy::response_headers::ResponsePolicy;
use keyfence_core::policy::{Key, Policy};

use crate::host::{self, Action, Host, LocalResponse, LogLevel, MapType, Result};
use crate::limits;
use crate::metrics::Metrics;
use crate::once::log_once;
use crate::pairs::{Pairs, encode};

/// The state of one stream. It keeps what its own response needs, and nothing else of the policy.
pub struct Stream {
    /// The root context that it began under.
    pub root: u32,
    stage: Stage,
}

enum Stage {
    /// The request's headers have not come here; its response may come all the same.
    Unseen,
    /// The request went on.
    Forwarded(Forwarded),
    /// The filter has answered.
    Answered {
        /// `None` where no policy could be applied.
        response: Option<Arc<ResponsePolicy>>,
        /// What the answer is to get when it comes by as every response does.
        headers: HeaderList,
    },
}

struct Forwarded {
    response: Arc<ResponsePolicy>,
    context: ResponseContext,
    removes_method_overrides: bool,
}

impl Stream {
    /// A stream under this root context.
    pub fn new(root: u32) -> Stream {
        Stream {
            root,
            stage: Stage::Unseen,
        }
    }

    /// Decides on the request whose headers the host has. `policy` is `None` where there is none to apply.
    pub fn on_request_headers(
        &mut self,
        host: &impl Host,
        policy: Option<&Policy>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let (Some(policy), Some(metrics)) = (policy, metrics) else {
            return self.refuse(host, metrics);
        };
        match on_request(host, policy, metrics) {
            Ok((stage, action)) => {
                self.stage = stage;
                action
            }
            Err(error) => {
                log_failure(host, &error);
                self.refuse(host, Some(metrics))
            }
        }
    }

    /// Removes from the request's trailers, which an upstream may add to its headers, what was removed from those. `response` is what the
    /// root context knows, for a request whose headers never came here.
    pub fn on_request_trailers(
        &mut self,
        host: &impl Host,
        response: Option<&ResponsePolicy>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let edited = match (&self.stage, response) {
            (Stage::Forwarded(forwarded), _) => edit_trailers(
                host,
                &forwarded.response,
                forwarded.context.is_enforced(),
                forwarded.removes_method_overrides,
            ),
            (Stage::Unseen, Some(response)) => edit_trailers(host, response, true, false),
            (Stage::Unseen, None) => return self.refuse(host, metrics),
            (Stage::Answered { .. }, _) => return Action::Continue,
        };
        self.continue_if(edited, host, metrics)
    }

    /// Sets the headers of a response: the upstream's, Envoy's, or the filter's own. `response` as in [`Stream::on_request_trailers`].
    pub fn on_response_headers(
        &mut self,
        host: &impl Host,
        response: Option<&ResponsePolicy>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let unseen;
        let edited = match (&self.stage, response) {
            (Stage::Answered { response, headers }, _) => {
                // Envoy sends no second answer. This one has the filter's own body, and nothing of an upstream's.
                if let Err(error) = set_answer(host, response.as_deref(), headers) {
                    log_failure(host, &error);
                }
                return Action::Continue;
            }
            (Stage::Forwarded(forwarded), _) => edit_response(host, &forwarded.response, &forwarded.context),
            (Stage::Unseen, Some(response)) => {
                unseen = ResponseContext::unseen(response);
                edit_response(host, response, &unseen)
            }
            // No policy, and no request that was let through: an answer of Envoy's own.
            (Stage::Unseen, None) => return Action::Continue,
        };
        self.continue_if(edited, host, metrics)
    }

    /// The stream goes on where all of its edits were made, and ends otherwise.
    fn continue_if(&mut self, edited: Result<()>, host: &impl Host, metrics: Option<&Metrics>) -> Action {
        match edited {
            Ok(()) => Action::Continue,
            Err(error) => {
                log_failure(host, &error);
                self.refuse(host, metrics)
            }
        }
    }

    /// Ends the stream with an error that no policy has a say in.
    fn refuse(&mut self, host: &impl Host, metrics: Option<&Metrics>) -> Action {
        let grpc = match &self.stage {
            Stage::Forwarded(forwarded) => forwarded.context.grpc(),
            _ => grpc_of(host),
        };
        let reply = LocalReply::without_policy(grpc);
        let counted = metrics.map_or(Ok(()), |metrics| metrics.count_unavailable(host));
        let noted = note_decision(host, "deny:", Reason::PolicyUnavailable.code());
        // The stream stops here, even if the answer cannot be sent.
        let sent = send(host, &reply, Reason::PolicyUnavailable.code());
        if let Err(error) = sent.and(noted).and(counted) {
            log_failure(host, &error);
        }
        self.stage = Stage::Answered {
            response: None,
            headers: reply.headers,
        };
        Action::Pause
    }
}

/// Which kind of gRPC a request speaks on which no decision could be made.
fn grpc_of(host: &impl Host) -> Option<Grpc> {
    let map = host.headers(MapType::RequestHeaders).ok()?;
    let mut headers = Pairs::of(&map);
    headers.find_map(|(name, value)| Grpc::of(value).filter(|_| name == b"content-type"))
}

fn on_request(host: &impl Host, policy: &Policy, metrics: &Metrics) -> Result<(Stage, Action)> {
    let map = host.headers(MapType::RequestHeaders)?;
    let headers = Pairs::of(&map);
    let head = Head::read(policy, headers);
    let decision = decide(policy, &head, &HostContext(host));
    note(host, &decision)?;
    if decision.outcome == Outcome::Deny(Reason::IpNotAllowed) {
        explain_unknown_address(host, policy);
    }
    let response = policy.response().clone();
    match decision.effect() {
        Effect::Respond(kind) => {
            let reply = LocalReply::new(policy, &head, &decision, kind);
            metrics.count(host, &decision)?;
            send(host, &reply, details(&decision))?;
            let stage = Stage::Answered {
                response: Some(response),
                headers: reply.headers,
            };
            Ok((stage, Action::Pause))
        }
        Effect::Forward => {
            let mut applied = Ok(());
            upstream::apply(policy, &head, &decision, &mut |mutation| {
                apply(host, MapType::RequestHeaders, mutation, &mut applied);
            });
            applied?;
            metrics.count(host, &decision)?;
            let forwarded = Forwarded {
                response,
                context: ResponseContext::new(&head, &decision),
                removes_method_overrides: decision.removes_method_overrides(),
            };
            Ok((Stage::Forwarded(forwarded), Action::Continue))
        }
    }
}

/// The answer gets its headers when it comes by as every response does, with what Envoy's configuration adds on it already. Only what the
/// body is has to be said now, or Envoy says something else.
fn send(host: &impl Host, reply: &LocalReply, details: &str) -> Result<()> {
    let of_body: Vec<_> = reply.headers.iter().filter(|(name, _)| is_of_body(name)).collect();
    host.send_local_response(LocalResponse {
        status: reply.status,
        grpc_status: reply.grpc_status,
        details,
        headers: &encode(&of_body),
        body: &reply.body,
    })
}

fn set_answer(host: &impl Host, response: Option<&ResponsePolicy>, headers: &HeaderList) -> Result<()> {
    let map = host.headers(MapType::ResponseHeaders)?;
    let all = complete(response, headers, Pairs::of(&map));
    host.set_headers(MapType::ResponseHeaders, &encode(&all))
}

fn edit_response(host: &impl Host, response: &ResponsePolicy, context: &ResponseContext) -> Result<()> {
    let map = host.headers(MapType::ResponseHeaders)?;
    let present = Pairs::of(&map);
    let mut applied = Ok(());
    context.apply(response, present, &mut |mutation| {
        apply(host, MapType::ResponseHeaders, mutation, &mut applied);
    });
    applied
}

fn edit_trailers(
    host: &impl Host,
    response: &ResponsePolicy,
    removes_keys: bool,
    removes_method_overrides: bool,
) -> Result<()> {
    let map = host.headers(MapType::RequestTrailers)?;
    for (name, _) in Pairs::of(&map) {
        if is_identity_claim(response.identity_header.as_deref(), name)
            || removes_keys && response.is_key_header(name)
            || removes_method_overrides && is_method_override(name)
        {
            host.remove_header(MapType::RequestTrailers, name)?;
        }
    }
    Ok(())
}

/// Makes a change, unless one before it has failed.
fn apply(host: &impl Host, map: MapType, mutation: HeaderMutation<'_>, applied: &mut Result<()>) {
    if applied.is_ok() {
        *applied = match mutation {
            HeaderMutation::Add(name, value) => host.add_header(map, name, value),
            HeaderMutation::Replace(name, value) => host.replace_header(map, name, value),
            HeaderMutation::Remove(name) => host.remove_header(map, name),
        };
    }
}

fn details(decision: &Decision<'_, '_>) -> &'static str {
    match decision.outcome {
        Outcome::Deny(reason) => reason.code(),
        Outcome::Preflight => "preflight",
        Outcome::Allow => "",
    }
}

/// Leaves for the access log whose request it was and what was decided.
fn note(host: &impl Host, decision: &Decision<'_, '_>) -> Result<()> {
    if let Some((_, key)) = decision.key {
        host.set_filter_state(b"keyfence.key_id", key.id().as_bytes())?;
    }
    match (decision.outcome, decision.enforcement) {
        (Outcome::Allow, _) => Ok(()),
        (Outcome::Preflight, _) => note_decision(host, "preflight", ""),
        (Outcome::Deny(reason), Enforcement::Enforce) => note_decision(host, "deny:", reason.code()),
        (Outcome::Deny(reason), Enforcement::Report) => note_decision(host, "report:", reason.code()),
    }
}

fn note_decision(host: &impl Host, effect: &str, code: &str) -> Result<()> {
    host.set_filter_state(b"keyfence.decision", [effect, code].concat().as_bytes())
}

/// An error of the host's is not the client's to provoke; one line tells of each kind.
fn log_failure(host: &impl Host, error: &host::HostError) {
    let line = format!("{error}: the request is answered with 503 policy_unavailable");
    if log_once(host, b"keyfence/logged/host_error", line.as_bytes()) {
        host.log(LogLevel::Error, &line);
    }
}

/// An address that `client_ip` does not take is refused for a reason that the operator does not see in the policy.
fn explain_unknown_address(host: &impl Host, policy: &Policy) {
    let (seen, line) = match (HostContext(host).source_address(), policy.client_ip()) {
        (SourceAddress::Forwarded(_), ClientIp::Peer) => (
            "forwarded",
            "a client address has no port, so Envoy took it from a header (X-Forwarded-For, or the one of an \
             original_ip_detection_extensions), or from a PROXY protocol line with port 0, and client_ip is \"peer\": allowed_ips refuses \
             it. Where clients connect directly, set use_remote_address on the listener. Where a proxy in front writes the header, set \
             client_ip \"forwarded\", and for X-Forwarded-For use_remote_address and xff_num_trusted_hops",
        ),
        (SourceAddress::Peer(_), ClientIp::Forwarded) => (
            "peer",
            "Envoy gave the address of the connection, and client_ip is \"forwarded\": allowed_ips refuses it. The header had no address \
             that Envoy takes (an entry with a port is none), or fewer entries than xff_num_trusted_hops asks for, \
             or xff_num_trusted_hops is 0. Have the proxy in front \
             write addresses without ports; where clients also connect directly, set client_ip \"forwarded_or_peer\"",
        ),
        _ => return,
    };
    if log_once(host, b"keyfence/logged/client_ip", seen.as_bytes()) {
        host.log(LogLevel::Warn, line);
    }
}

/// The host, as decisions ask it.
struct HostContext<'h, H>(&'h H);

impl<H: Host> HostContext<'_, H> {
    fn logged<T>(&self, answer: Result<T>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                log_failure(self.0, &error);
                None
            }
        }
    }
}

impl<H: Host> RequestContext for HostContext<'_, H> {
    fn source_address(&self) -> SourceAddress {
        let property = self.logged(self.0.property(b"source\0address")).flatten();
        property.map_or(SourceAddress::Unknown, |address| SourceAddress::parse(&address))
    }

    fn now(&self) -> std::result::Result<Timestamp, Unavailable> {
        let seconds = self.logged(host::unix_seconds(self.0)).ok_or(Unavailable)?;
        i64::try_from(seconds).map(Timestamp).map_err(|_| Unavailable)
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> std::result::Result<RateStatus, Refusal> {
        self.logged(limits::take(self.0, key, limit))
            .unwrap_or(Err(Refusal::Unavailable))
    }

    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> std::result::Result<RateStatus, Unavailable> {
        self.logged(limits::look(self.0, key, limit)).ok_or(Unavailable)
    }
}
