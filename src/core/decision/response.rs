//! The headers of a response: CORS, `Vary`, rate limit and security headers, as changes to what the upstream or Envoy sent.

use crate::config::key::Enforcement;
use crate::config::security_headers::SetMode;
use crate::policy::response_headers::ResponsePolicy;

use super::grpc::Grpc;
use super::headers::{Headers, length_bit};
use super::rate::RateStatus;
use super::request::Head;
use super::{AllowOrigin, Decision};

/// One change to the headers of a response. Names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMutation<'e> {
    /// The header is there; it gets this value, and no second line.
    Replace(&'e [u8], &'e [u8]),
    /// The header is not there yet.
    Add(&'e [u8], &'e [u8]),
    /// It is taken away.
    Remove(&'e [u8]),
}

/// What a response needs to know of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseContext {
    allow_origin: AllowOrigin,
    /// The request's origin, where the response names it.
    origin: Option<Box<[u8]>>,
    rate: Option<RateStatus>,
    enforcement: Enforcement,
    grpc: Option<Grpc>,
}

impl ResponseContext {
    /// Of a request whose headers the filter never saw: refused by Envoy or by a filter before this one. Its key is not known, so
    /// the union of all lists applies.
    pub fn unseen(policy: &ResponsePolicy) -> ResponseContext {
        ResponseContext {
            allow_origin: AllowOrigin::of_response(policy.union_is_any_alone, None),
            origin: None,
            rate: None,
            enforcement: policy.enforcement,
            grpc: None,
        }
    }

    /// Of this request and its decision.
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

    /// Which kind of gRPC the request speaks, if it does.
    pub fn grpc(&self) -> Option<Grpc> {
        self.grpc
    }

    /// The changes that a response with the headers `present`, in lower case, needs.
    pub fn edit<'h>(
        &self,
        policy: &ResponsePolicy,
        present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
        edit: &mut impl FnMut(HeaderMutation<'_>),
    ) {
        let (mut lengths, mut has_cors) = (0, false);
        for (name, _) in present.clone() {
            lengths |= length_bit(name);
            has_cors |= is_cors(name);
        }
        let present = Headers::new(present, lengths);
        if self.enforcement == Enforcement::Enforce {
            let cors = self.cors(policy);
            if has_cors {
                remove_cors(&cors, &present, edit);
            }
            for (name, value) in cors {
                if let Some(value) = value {
                    put(&present, name, value, edit);
                }
            }
            edit_vary(policy, &present, edit);
            self.edit_rate(&present, edit);
        }
        edit_standing(policy, &present, edit);
    }

    /// The three CORS headers of a response to `origin`.
    fn cors<'e>(&'e self, policy: &'e ResponsePolicy) -> [(&'static [u8], Option<&'e [u8]>); 3] {
        let (origin, credentials): (Option<&[u8]>, bool) = match self.allow_origin {
            AllowOrigin::Omit => (None, false),
            AllowOrigin::Any => (Some(b"*"), false),
            AllowOrigin::Null => (Some(b"null"), false),
            AllowOrigin::Echo => (self.origin.as_deref(), policy.cors.allow_credentials),
        };
        let expose = match self.grpc {
            Some(_) => Some(policy.cors.expose_headers_of_grpc.as_bytes()),
            None => policy.cors.expose_headers.as_deref().map(str::as_bytes),
        };
        [
            (ALLOW_ORIGIN, origin),
            (ALLOW_CREDENTIALS, credentials.then_some(b"true")),
            (EXPOSE_HEADERS, expose.filter(|_| origin.is_some())),
        ]
    }

    fn edit_rate<'h>(
        &self,
        present: &Headers<impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone>,
        edit: &mut impl FnMut(HeaderMutation<'_>),
    ) {
        let Some(rate) = self.rate else { return };
        for (name, value) in [
            (&b"x-ratelimit-limit"[..], u64::from(rate.limit.get())),
            (b"x-ratelimit-remaining", u64::from(rate.remaining)),
            (b"x-ratelimit-reset", rate.reset),
        ] {
            put(present, name, value.to_string().as_bytes(), edit);
        }
    }
}

const ALLOW_ORIGIN: &[u8] = b"access-control-allow-origin";
const ALLOW_CREDENTIALS: &[u8] = b"access-control-allow-credentials";
const EXPOSE_HEADERS: &[u8] = b"access-control-expose-headers";

/// Whether a header is of CORS.
pub fn is_cors(name: &[u8]) -> bool {
    name.starts_with(b"access-control-")
}

/// The filter owns CORS: what the upstream says of it goes.
fn remove_cors<'h>(
    cors: &[(&[u8], Option<&[u8]>)],
    present: &Headers<impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone>,
    edit: &mut impl FnMut(HeaderMutation<'_>),
) {
    let is_set = |name: &[u8]| cors.iter().any(|(set, value)| *set == name && value.is_some());
    for (name, _) in present.lines() {
        if is_cors(name) && !is_set(name) {
            edit(HeaderMutation::Remove(name));
        }
    }
}

fn put<'h>(
    present: &Headers<impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone>,
    name: &[u8],
    value: &[u8],
    edit: &mut impl FnMut(HeaderMutation<'_>),
) {
    edit(if present.has(name) {
        HeaderMutation::Replace(name, value)
    } else {
        HeaderMutation::Add(name, value)
    });
}

/// Adds what responses differ by to what the upstream says they do, nothing twice. `*` says all of it already.
fn edit_vary<'h>(
    policy: &ResponsePolicy,
    present: &Headers<impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone>,
    edit: &mut impl FnMut(HeaderMutation<'_>),
) {
    let lines = present.values(b"vary");
    let count = lines.clone().count();
    if count == 0 {
        if !policy.vary.names.is_empty() {
            edit(HeaderMutation::Add(b"vary", policy.vary.value.as_bytes()));
        }
        return;
    }
    let mut names: Vec<&[u8]> = Vec::new();
    let listed = lines
        .clone()
        .flat_map(|line| line.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii);
    let own = policy.vary.names.iter().map(|name| name.as_bytes());
    let mut is_changed = count > 1;
    for (name, is_own) in listed.map(|name| (name, false)).chain(own.map(|name| (name, true))) {
        let is_known = name.is_empty() || names.iter().any(|known| known.eq_ignore_ascii_case(name));
        // A name that is left out changes the upstream's value, and so does one that is added.
        is_changed |= is_known != is_own;
        if !is_known {
            names.push(name);
        }
    }
    if is_changed && !names.contains(&&b"*"[..]) {
        edit(HeaderMutation::Replace(b"vary", &names.join(&b", "[..])));
    }
}

fn edit_standing<'h>(
    policy: &ResponsePolicy,
    present: &Headers<impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone>,
    edit: &mut impl FnMut(HeaderMutation<'_>),
) {
    for header in &policy.static_headers.set {
        let (name, value) = (header.name.as_bytes(), header.value.as_bytes());
        match header.mode {
            SetMode::Overwrite => put(present, name, value, edit),
            SetMode::IfAbsent if present.has(name) => {}
            SetMode::IfAbsent => edit(HeaderMutation::Add(name, value)),
        }
    }
    for name in &policy.static_headers.remove {
        if present.has(name.as_bytes()) {
            edit(HeaderMutation::Remove(name.as_bytes()));
        }
    }
}
