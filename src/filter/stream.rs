//! One request and its response. If a host call fails, the stream ends with an error, so that nothing passes unchecked.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Arc;

use keyfence_core::config::ClientIp;
use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::key::Enforcement;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::grpc::Grpc;
use keyfence_core::decision::header_list::HeaderList;
use keyfence_core::decision::local_reply::{LocalReply, complete, is_of_body};
use keyfence_core::decision::rate::RateStatus;
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::{Head, is_method_override};
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::scoped_token::Verdict;
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::{
    Decision, Effect, HeaderMutation, Outcome, Refusal, RequestContext, Unavailable, decide, upstream,
};
use keyfence_core::policy::in_force::InForce;
use keyfence_core::policy::response_headers::ResponsePolicy;
use keyfence_core::policy::{Key, Policy};

use crate::host::{self, Action, Host, HostError, HostErrorKind, LocalResponse, LogLevel, MapType, Result};
use crate::limits;
use crate::metrics::Metrics;
use crate::once::log_once;
use crate::pairs::{Pairs, encode};

/// The state of one stream. Of the policy, it keeps only what its response needs.
pub struct Stream {
    /// The root context in which the stream was created.
    pub root: u32,
    stage: Stage,
}

enum Stage {
    /// The filter has not seen the request's headers. It may still see a response, such as an error of Envoy's own.
    Unseen,
    /// The filter has forwarded the request.
    Forwarded(Forwarded),
    /// The filter has sent a local reply.
    Replied {
        /// `None` if no policy could be applied.
        policy: Option<Arc<ResponsePolicy>>,
        /// The reply's headers, to set in the response phase.
        headers: HeaderList,
    },
}

struct Forwarded {
    policy: Arc<ResponsePolicy>,
    context: ResponseContext,
    removes_method_overrides: bool,
}

impl Stream {
    /// A new stream in the root context `root`.
    pub fn new(root: u32) -> Stream {
        Stream {
            root,
            stage: Stage::Unseen,
        }
    }

    /// Decides on the current request, and forwards it or sends a local reply. Without a policy, it sends an error. `tokens` has what earlier
    /// requests on this worker have found.
    pub fn on_request_headers(
        &mut self,
        host: &impl Host,
        in_force: Option<InForce<'_>>,
        tokens: &RefCell<TokenCache>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let (Some(in_force), Some(metrics)) = (in_force, metrics) else {
            return self.reply_unavailable(host, metrics);
        };
        let context = HostContext {
            host,
            tokens,
            policy: PolicyId(self.root),
        };
        match on_request(&context, in_force, metrics) {
            Ok((stage, action)) => {
                self.stage = stage;
                action
            }
            Err(error) => {
                log_failure(host, &error);
                self.reply_unavailable(host, Some(metrics))
            }
        }
    }

    /// Removes from the request's trailers what was removed from its headers, because an upstream may merge both (RFC 9110, section 6.5.1).
    /// `unseen_policy` is for a request whose headers the filter did not see; `None` if its root context has no policy.
    pub fn on_request_trailers(
        &mut self,
        host: &impl Host,
        unseen_policy: Option<&ResponsePolicy>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let applied = match (&self.stage, unseen_policy) {
            (Stage::Forwarded(forwarded), _) => mutate_trailers(
                host,
                &forwarded.policy,
                forwarded.context.is_enforced(),
                forwarded.removes_method_overrides,
            ),
            (Stage::Unseen, Some(policy)) => mutate_trailers(host, policy, true, false),
            (Stage::Unseen, None) => return self.reply_unavailable(host, metrics),
            (Stage::Replied { .. }, _) => return Action::Continue,
        };
        self.continue_if(applied, host, metrics)
    }

    /// Sets the headers of a response: the upstream's, Envoy's, or the filter's local reply. `unseen_policy` is as in
    /// [`Stream::on_request_trailers`].
    pub fn on_response_headers(
        &mut self,
        host: &impl Host,
        unseen_policy: Option<&ResponsePolicy>,
        metrics: Option<&Metrics>,
    ) -> Action {
        let applied = match (&self.stage, unseen_policy) {
            (Stage::Replied { policy, headers }, _) => {
                // Envoy would not send a second reply. This one has no content of an upstream, so it may pass without its headers.
                if let Err(error) = set_reply_headers(host, policy.as_deref(), headers) {
                    log_failure(host, &error);
                }
                return Action::Continue;
            }
            (Stage::Forwarded(forwarded), _) => mutate_response(host, &forwarded.policy, &forwarded.context),
            (Stage::Unseen, Some(policy)) => mutate_response(host, policy, &ResponseContext::unseen(policy)),
            // The filter has forwarded no request, so this is a response of Envoy's own.
            (Stage::Unseen, None) => return Action::Continue,
        };
        self.continue_if(applied, host, metrics)
    }

    /// Continues the stream if all mutations were applied, and sends an error otherwise.
    fn continue_if(&mut self, applied: Result<()>, host: &impl Host, metrics: Option<&Metrics>) -> Action {
        match applied {
            Ok(()) => Action::Continue,
            Err(error) => {
                log_failure(host, &error);
                self.reply_unavailable(host, metrics)
            }
        }
    }

    /// Sends the error for a request to which no policy could be applied.
    fn reply_unavailable(&mut self, host: &impl Host, metrics: Option<&Metrics>) -> Action {
        let grpc = match &self.stage {
            Stage::Forwarded(forwarded) => forwarded.context.grpc(),
            _ => grpc_of(host),
        };
        let reply = LocalReply::without_policy(grpc);
        let counted = metrics.map_or(Ok(()), |metrics| metrics.count_unavailable(host));
        let recorded = record_outcome(host, "deny:", Reason::PolicyUnavailable.code());
        // The stream stops here, even if the reply cannot be sent.
        let sent = send(host, &reply, Reason::PolicyUnavailable.code());
        if let Err(error) = sent.and(recorded).and(counted) {
            log_failure(host, &error);
        }
        self.stage = Stage::Replied {
            policy: None,
            headers: reply.headers,
        };
        Action::Pause
    }
}

/// The kind of gRPC that the current request uses, for an error without a decision.
fn grpc_of(host: &impl Host) -> Option<Grpc> {
    let map = host.headers(MapType::RequestHeaders).ok()?;
    let mut headers = pairs(&map).ok()?;
    headers.find_map(|(name, value)| Grpc::of(value).filter(|_| name == b"content-type"))
}

/// The headers in a map that the host returned.
fn pairs(map: &[u8]) -> Result<Pairs<'_>> {
    Pairs::of(map).ok_or(HostError {
        call: "proxy_get_header_map_pairs",
        kind: HostErrorKind::InvalidResult,
    })
}

fn on_request<H: Host>(
    context: &HostContext<'_, H>,
    in_force: InForce<'_>,
    metrics: &Metrics,
) -> Result<(Stage, Action)> {
    let host = context.host;
    let policy = in_force.policy;
    let map = host.headers(MapType::RequestHeaders)?;
    let headers = pairs(&map)?;
    let head = Head::read(policy, headers);
    let decision = decide(in_force, &head, context);
    record_decision(host, &decision)?;
    if decision.outcome == Outcome::Deny(Reason::IpNotAllowed) {
        warn_of_ignored_address(context, policy);
    }
    let response_policy = policy.response().clone();
    match decision.effect() {
        Effect::Respond(kind) => {
            let reply = LocalReply::new(policy, &head, &decision, kind);
            metrics.count(host, &decision)?;
            send(host, &reply, details(&decision))?;
            let stage = Stage::Replied {
                policy: Some(response_policy),
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
                policy: response_policy,
                context: ResponseContext::new(&head, &decision),
                removes_method_overrides: decision.removes_method_overrides(policy),
            };
            Ok((Stage::Forwarded(forwarded), Action::Continue))
        }
    }
}

/// Sends a local reply with only the headers that describe its body, because Envoy would set its own otherwise. The others are set in the
/// response phase, by [`set_reply_headers`], when Envoy's configuration has added its headers.
fn send(host: &impl Host, reply: &LocalReply, details: &str) -> Result<()> {
    let body_headers: Vec<_> = reply.headers.iter().filter(|(name, _)| is_of_body(name)).collect();
    host.send_local_response(LocalResponse {
        status: reply.status,
        grpc_status: reply.grpc_status,
        details,
        headers: &encode(&body_headers),
        body: &reply.body,
    })
}

fn set_reply_headers(host: &impl Host, policy: Option<&ResponsePolicy>, headers: &HeaderList) -> Result<()> {
    let map = host.headers(MapType::ResponseHeaders)?;
    let all = complete(policy, headers, pairs(&map)?);
    host.set_headers(MapType::ResponseHeaders, &encode(&all))
}

fn mutate_response(host: &impl Host, policy: &ResponsePolicy, context: &ResponseContext) -> Result<()> {
    let map = host.headers(MapType::ResponseHeaders)?;
    let present = pairs(&map)?;
    let mut applied = Ok(());
    context.apply(policy, present, &mut |mutation| {
        apply(host, MapType::ResponseHeaders, mutation, &mut applied);
    });
    applied
}

fn mutate_trailers(
    host: &impl Host,
    policy: &ResponsePolicy,
    removes_keys: bool,
    removes_method_overrides: bool,
) -> Result<()> {
    let map = host.headers(MapType::RequestTrailers)?;
    for (name, _) in pairs(&map)? {
        if policy.protected_headers.may_be_read_from(name)
            || removes_keys && policy.is_key_header(name)
            || removes_method_overrides && is_method_override(name)
        {
            host.remove_header(MapType::RequestTrailers, name)?;
        }
    }
    Ok(())
}

/// Applies a mutation, unless an earlier one has failed.
fn apply(host: &impl Host, map: MapType, mutation: HeaderMutation<'_>, applied: &mut Result<()>) {
    if applied.is_ok() {
        *applied = match mutation {
            HeaderMutation::Add(name, value) => host.add_header(map, name, value),
            HeaderMutation::Replace(name, value) => host.replace_header(map, name, value),
            HeaderMutation::Remove(name) => host.remove_header(map, name),
        };
    }
}

/// `RESPONSE_CODE_DETAILS` of the local reply.
fn details(decision: &Decision<'_, '_>) -> &'static str {
    match decision.outcome {
        Outcome::Deny(reason) => reason.code(),
        Outcome::Preflight => "preflight",
        Outcome::Allow => "",
    }
}

/// Stores the key's id, the label of its entry or the token's subject, and the outcome as filter state, for the access log.
fn record_decision(host: &impl Host, decision: &Decision<'_, '_>) -> Result<()> {
    if let Some(found) = decision.key {
        host.set_filter_state(b"keyfence.key_id", found.key().id().as_bytes())?;
        if let Some(label) = found.label() {
            host.set_filter_state(b"keyfence.key_label", label.as_bytes())?;
        }
    }
    if let Some(subject) = decision.token.as_ref().and_then(|token| token.subject()) {
        host.set_filter_state(b"keyfence.subject", subject.as_bytes())?;
    }
    match (decision.outcome, decision.enforcement) {
        (Outcome::Allow, _) => Ok(()),
        (Outcome::Preflight, _) => record_outcome(host, "preflight", ""),
        (Outcome::Deny(reason), Enforcement::Enforce) => record_outcome(host, "deny:", reason.code()),
        (Outcome::Deny(reason), Enforcement::Report) => record_outcome(host, "report:", reason.code()),
    }
}

fn record_outcome(host: &impl Host, effect: &str, code: &str) -> Result<()> {
    host.set_filter_state(b"keyfence.decision", [effect, code].concat().as_bytes())
}

/// Logs the failure of each host call once, until it fails in another way.
fn log_failure(host: &impl Host, error: &HostError) {
    let line = format!("{error}: requests that need this call are denied");
    if log_once(
        host,
        format!("keyfence/logged/{}", error.call).as_bytes(),
        line.as_bytes(),
    ) {
        host.log(LogLevel::Error, &line);
    }
}

/// Logs once why `allowed_ips` refuses an address of the wrong kind for `client_ip`, because the cause is in Envoy's configuration.
fn warn_of_ignored_address<H: Host>(context: &HostContext<'_, H>, policy: &Policy) {
    let host = context.host;
    let (address_kind, line) = match (context.source_address(), policy.client_ip()) {
        (Ok(SourceAddress::Forwarded(_)), ClientIp::Peer) => (
            "forwarded",
            "allowed_ips refuses the client's address: client_ip is \"peer\", but the address has no port, so Envoy took it from a header \
             (X-Forwarded-For, or that of an original_ip_detection_extensions) or from a PROXY protocol line with port 0. If clients \
             connect directly, set use_remote_address on the listener. If a proxy in front writes the header, set client_ip to \
             \"forwarded\"; for X-Forwarded-For, also set use_remote_address and xff_num_trusted_hops",
        ),
        (Ok(SourceAddress::Peer(_)), ClientIp::Forwarded) => (
            "peer",
            "allowed_ips refuses the client's address: client_ip is \"forwarded\", but Envoy took the address from the connection. The \
             header had no address that Envoy accepts (it accepts none with a port), or fewer entries than xff_num_trusted_hops, or \
             xff_num_trusted_hops is 0. Let the proxy in front write addresses without ports. If clients also connect directly, set \
             client_ip to \"forwarded_or_peer\"",
        ),
        _ => return,
    };
    if log_once(
        host,
        format!("keyfence/logged/client_ip/{address_kind}").as_bytes(),
        line.as_bytes(),
    ) {
        host.log(LogLevel::Warn, line);
    }
}

/// The host, and what the worker remembers, as the context of a decision.
struct HostContext<'h, H> {
    host: &'h H,
    tokens: &'h RefCell<TokenCache>,
    policy: PolicyId,
}

impl<H: Host> HostContext<'_, H> {
    fn logged<T>(&self, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                log_failure(self.host, &error);
                None
            }
        }
    }
}

impl<H: Host> RequestContext for HostContext<'_, H> {
    fn source_address(&self) -> std::result::Result<SourceAddress, Unavailable> {
        let property = self.logged(self.host.property(b"source\0address")).ok_or(Unavailable)?;
        Ok(property.map_or(SourceAddress::Unknown, |address| SourceAddress::parse(&address)))
    }

    fn now(&self) -> std::result::Result<Timestamp, Unavailable> {
        let seconds = self.logged(host::unix_seconds(self.host)).ok_or(Unavailable)?;
        i64::try_from(seconds).map(Timestamp).map_err(|_| Unavailable)
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.tokens.try_borrow_mut().ok()?.good(self.policy, text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens.try_borrow_mut().ok()?.bad(self.policy, digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        if let Ok(mut tokens) = self.tokens.try_borrow_mut() {
            tokens.insert(self.policy, text, digest, verdict);
        }
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> std::result::Result<RateStatus, Refusal> {
        self.logged(limits::admit(self.host, key, limit))
            .unwrap_or(Err(Refusal::Unavailable))
    }

    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> std::result::Result<RateStatus, Unavailable> {
        self.logged(limits::peek(self.host, key, limit)).ok_or(Unavailable)
    }

    fn admit_client(
        &self,
        key: Option<&Key>,
        client: &Client,
        limit: NonZeroU32,
    ) -> std::result::Result<RateStatus, Refusal> {
        self.logged(limits::admit_client(self.host, key, client, limit))
            .unwrap_or(Err(Refusal::Unavailable))
    }

    fn peek_client(
        &self,
        key: Option<&Key>,
        client: &Client,
        limit: NonZeroU32,
    ) -> std::result::Result<RateStatus, Unavailable> {
        self.logged(limits::peek_client(self.host, key, client, limit))
            .ok_or(Unavailable)
    }
}
