//! One request and its response.

use std::num::NonZeroU32;
use std::rc::Rc;

use crate::config::ClientIp;
use crate::config::key::Enforcement;
use crate::config::timestamp::Timestamp;
use crate::decision::address::SourceAddress;
use crate::decision::rate::RateStatus;
use crate::decision::reason::Reason;
use crate::decision::reply::Reply;
use crate::decision::request::Head;
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
    /// The filter has answered, with every header that the response needs.
    Answered,
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

    /// Sets the headers of the response at hand: the upstream's, Envoy's, or the filter's own.
    pub fn on_response_headers(&self) {
        let policy = self.in_force.as_deref().and_then(|in_force| in_force.policy.as_ref());
        let (Some(policy), Stage::Unseen | Stage::Passed(_)) = (policy, &self.stage) else {
            return;
        };
        let Some(map) = host::headers(Map::Response) else {
            return;
        };
        let unseen;
        let exchange = match &self.stage {
            Stage::Passed(exchange) => exchange,
            _ => {
                unseen = Exchange::unseen(policy);
                &unseen
            }
        };
        #[cfg(feature = "trap")]
        super::trap::on_demand(Pairs::of(&map));
        exchange.edit(policy, Pairs::of(&map), &mut |edit| apply(Map::Response, edit));
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
        send(&reply, details(&verdict));
        return (Stage::Answered, Action::Pause);
    }
    upstream::edit(policy, &head, &verdict, &mut |edit| apply(Map::Request, edit));
    (Stage::Passed(Exchange::new(head.origin, &verdict)), Action::Continue)
}

fn refuse() -> (Stage, Action) {
    send(&Reply::without_policy(), Reason::PolicyUnavailable.code());
    (Stage::Answered, Action::Pause)
}

fn send(reply: &Reply, details: &str) {
    let headers: Vec<_> = reply.headers.iter().collect();
    host::send_local_response(reply.status, details, &encode(&headers), &reply.body);
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
