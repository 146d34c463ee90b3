//! One request and its response.

use std::num::NonZeroU32;
use std::rc::Rc;

use crate::config::ClientIp;
use crate::config::key::Enforcement;
use crate::config::timestamp::Timestamp;
use crate::decision::address::SourceAddress;
use crate::decision::headers::Lines;
use crate::decision::rate::RateStatus;
use crate::decision::reason::Reason;
use crate::decision::reply::{Reply, complete, is_of_body};
use crate::decision::request::{Head, claims_identity};
use crate::decision::response::{Edit, Exchange};
use crate::decision::{Ruling, Surroundings, Verdict, decide, upstream};
use crate::policy::{Key, Policy};

use super::host::{self, Action, Level, Map};
use super::in_force::InForce;
use super::limits;
use super::once::say_once;
use super::pairs::{Pairs, encode};

/// The state of one stream. A response may come without its request having been seen.
pub struct Stream {
    in_force: Option<Rc<InForce>>,
    stage: Stage,
}

enum Stage {
    /// The request's headers have not come here.
    Unseen,
    /// The request went on; this is what its response needs.
    Passed(Exchange),
    /// The filter has answered; these are the headers that its response is to get.
    Answered(Lines),
}

impl Stream {
    /// A stream under the policy in force.
    pub fn new(in_force: Option<Rc<InForce>>) -> Stream {
        Stream {
            in_force,
            stage: Stage::Unseen,
        }
    }

    /// Decides on the request with the headers at hand.
    pub fn on_request_headers(&mut self) -> Action {
        let (stage, action) = match self.in_force.as_deref() {
            Some(InForce {
                policy: Some(policy),
                metrics,
            }) => match host::headers(Map::Request) {
                Some(map) => on_request(policy, metrics, Pairs::of(&map)),
                None => refuse(),
            },
            Some(InForce { policy: None, metrics }) => {
                metrics.count_unavailable();
                refuse()
            }
            None => refuse(),
        };
        self.stage = stage;
        action
    }

    /// Takes the identity header, which an upstream may add to the request's headers, out of the trailers at hand.
    pub fn on_request_trailers(&self) {
        let (Some(policy), Some(map)) = (self.policy(), host::headers(Map::RequestTrailers)) else {
            return;
        };
        for (name, _) in Pairs::of(&map) {
            if claims_identity(policy, name) {
                host::remove_header(Map::RequestTrailers, name);
            }
        }
    }

    /// Sets the headers of the response at hand: the upstream's, Envoy's, or the filter's own.
    pub fn on_response_headers(&self) {
        let Some(map) = host::headers(Map::Response) else {
            return;
        };
        let present = Pairs::of(&map);
        #[cfg(feature = "trap")]
        super::trap::on_demand(present);
        let unseen;
        let (exchange, policy) = match (&self.stage, self.policy()) {
            (Stage::Answered(answer), policy) => {
                host::set_headers(Map::Response, &encode(&complete(policy, answer, present)));
                return;
            }
            (_, None) => return,
            (Stage::Passed(exchange), Some(policy)) => (exchange, policy),
            (Stage::Unseen, Some(policy)) => {
                unseen = Exchange::unseen(policy);
                (&unseen, policy)
            }
        };
        exchange.edit(policy, present, &mut |edit| apply(Map::Response, edit));
    }

    fn policy(&self) -> Option<&Policy> {
        self.in_force.as_deref()?.policy.as_ref()
    }
}

fn on_request(policy: &Policy, metrics: &super::metrics::Metrics, headers: Pairs<'_>) -> (Stage, Action) {
    #[cfg(feature = "trap")]
    super::trap::on_demand(headers);
    let head = Head::read(policy, headers);
    let verdict = decide(policy, &head, &Envoy);
    metrics.count(&verdict);
    note(&verdict);
    if verdict.ruling == Ruling::Deny(Reason::IpNotAllowed) {
        explain_unknown_address(policy);
    }
    if verdict.is_answered()
        && let Some(reply) = Reply::new(policy, &head, &verdict)
    {
        return answer(reply, details(&verdict));
    }
    upstream::edit(policy, &head, &verdict, &mut |edit| apply(Map::Request, edit));
    (Stage::Passed(Exchange::new(head.origin, &verdict)), Action::Continue)
}

fn refuse() -> (Stage, Action) {
    answer(Reply::without_policy(), Reason::PolicyUnavailable.code())
}

/// The answer gets its headers when it comes by as every response does, with what Envoy's configuration adds on it already. Only what the
/// body is has to be said now, or Envoy says something else.
fn answer(reply: Reply, details: &str) -> (Stage, Action) {
    let of_body: Vec<_> = reply.headers.iter().filter(|(name, _)| is_of_body(name)).collect();
    host::send_local_response(reply.status, details, &encode(&of_body), &reply.body);
    (Stage::Answered(reply.headers), Action::Pause)
}

fn apply(map: Map, edit: Edit<'_>) {
    match edit {
        Edit::Add(name, value) => host::add_header(map, name, value),
        Edit::Replace(name, value) => host::replace_header(map, name, value),
        Edit::Remove(name) => host::remove_header(map, name),
    }
}

fn details(verdict: &Verdict<'_, '_>) -> &'static str {
    match verdict.ruling {
        Ruling::Deny(reason) => reason.code(),
        Ruling::Preflight => "preflight",
        Ruling::Allow => "",
    }
}

/// Leaves for the access log whose request it was and what became of it.
fn note(verdict: &Verdict<'_, '_>) {
    if let Some((_, key)) = verdict.key {
        host::set_filter_state(b"keyfence.key_id", key.id.as_bytes());
    }
    let (effect, code) = match (verdict.ruling, verdict.enforcement) {
        (Ruling::Allow, _) => return,
        (Ruling::Preflight, _) => ("preflight", ""),
        (Ruling::Deny(reason), Enforcement::Enforce) => ("deny:", reason.code()),
        (Ruling::Deny(reason), Enforcement::Report) => ("report:", reason.code()),
    };
    host::set_filter_state(b"keyfence.decision", [effect, code].concat().as_bytes());
}

/// An address from a header is refused for a reason that the operator does not see in the policy.
fn explain_unknown_address(policy: &Policy) {
    let is_forwarded = matches!(Envoy.source_address(), SourceAddress::Forwarded(_));
    if is_forwarded && policy.client_ip == ClientIp::Peer && say_once(b"keyfence/said/client_ip", b"forwarded") {
        host::log(
            Level::Warn,
            "Envoy takes client addresses from X-Forwarded-For, and client_ip is \"peer\", so allowed_ips refuses them: set \
             use_remote_address on the listener, and where a proxy is in front of it xff_num_trusted_hops and client_ip \"forwarded\"",
        );
    }
}

/// What Envoy tells of a request beside its headers.
struct Envoy;

impl Surroundings for Envoy {
    fn source_address(&self) -> SourceAddress {
        let property = host::property(b"source\0address");
        property.map_or(SourceAddress::Unknown, |address| SourceAddress::parse(&address))
    }

    fn now(&self) -> Timestamp {
        host::now()
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, RateStatus> {
        limits::take(key, limit)
    }

    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> RateStatus {
        limits::look(key, limit)
    }
}
