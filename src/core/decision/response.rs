//! The headers of a response: CORS, `Vary`, rate limit and security headers, as changes to those of the upstream or of Envoy.

use super::cors::{AllowOrigin, CorsHeaders, is_cors};
use super::grpc::Grpc;
use super::headers::{Headers, Line};
use super::mutation::{HeaderMutation, set};
use super::outcome::Decision;
use super::rate::RateStatus;
use super::request::Head;
use super::vary;
use crate::config::key::Enforcement;
use crate::config::security_headers::SetMode;
use crate::config::token::length_bit;
use crate::policy::response_headers::{ResponsePolicy, StaticHeaders};

/// What a response needs to know of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseContext {
    allow_origin: AllowOrigin,
    /// The request's origin, if the response repeats it.
    origin: Option<Box<[u8]>>,
    rate: Option<RateStatus>,
    enforcement: Enforcement,
    grpc: Option<Grpc>,
}

impl ResponseContext {
    /// Of a request whose headers the filter never saw: Envoy, or a filter before this one, has refused it. Its key is not known, so the
    /// union of all lists applies.
    pub fn unseen(policy: &ResponsePolicy) -> ResponseContext {
        ResponseContext {
            allow_origin: AllowOrigin::of_response(policy.union_is_any_alone, None),
            origin: None,
            rate: None,
            enforcement: policy.enforcement,
            grpc: None,
        }
    }

    /// Of a request and the decision on it.
    pub fn new(head: &Head<'_>, decision: &Decision<'_, '_>) -> ResponseContext {
        ResponseContext {
            allow_origin: decision.allow_origin,
            origin: head
                .origin
                .filter(|_| decision.allow_origin == AllowOrigin::Echo)
                .map(Into::into),
            rate: decision.rate,
            enforcement: decision.enforcement,
            grpc: head.grpc,
        }
    }

    /// Whether the decision took effect.
    pub fn is_enforced(&self) -> bool {
        self.enforcement == Enforcement::Enforce
    }

    /// Which kind of gRPC the request speaks, if any.
    pub fn grpc(&self) -> Option<Grpc> {
        self.grpc
    }

    /// Calls `mutate` with each change that a response with the headers `present`, names in lower case, needs.
    pub fn apply<'h>(
        &self,
        policy: &ResponsePolicy,
        present: impl Iterator<Item = Line<'h>> + Clone,
        mutate: &mut impl FnMut(HeaderMutation<'_>),
    ) {
        let (mut lengths, mut has_cors) = (0, false);
        for (name, _) in present.clone() {
            lengths |= length_bit(name);
            has_cors |= is_cors(name);
        }
        let present = Headers::new(present, lengths);
        if self.is_enforced() {
            let origin = self.origin.as_deref();
            let cors = CorsHeaders::new(&policy.cors, self.allow_origin, origin, self.grpc);
            cors.apply(&present, has_cors, mutate);
            vary::apply(&policy.vary, &present, mutate);
            if let Some(rate) = self.rate {
                apply_rate(rate, &present, mutate);
            }
        }
        apply_static(&policy.static_headers, &present, mutate);
    }
}

fn apply_rate<'h>(
    rate: RateStatus,
    present: &Headers<impl Iterator<Item = Line<'h>> + Clone>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    for (name, value) in [
        (&b"x-ratelimit-limit"[..], u64::from(rate.limit.get())),
        (b"x-ratelimit-remaining", u64::from(rate.remaining)),
        (b"x-ratelimit-reset", rate.reset),
    ] {
        set(present, name, value.to_string().as_bytes(), mutate);
    }
}

fn apply_static<'h>(
    headers: &StaticHeaders,
    present: &Headers<impl Iterator<Item = Line<'h>> + Clone>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    for header in &headers.set {
        let (name, value) = (header.name.as_bytes(), header.value.as_bytes());
        match header.mode {
            SetMode::Overwrite => set(present, name, value, mutate),
            SetMode::IfAbsent if present.has(name) => {}
            SetMode::IfAbsent => mutate(HeaderMutation::Add(name, value)),
        }
    }
    for name in &headers.remove {
        if present.has(name.as_bytes()) {
            mutate(HeaderMutation::Remove(name.as_bytes()));
        }
    }
}
