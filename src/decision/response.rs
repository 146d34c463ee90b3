//! The headers of a response: CORS, `Vary`, rate limit and security headers, as changes to what the upstream or Envoy sent.

use crate::config::key::Enforcement;
use crate::config::security_headers::SetMode;
use crate::policy::Policy;

use super::rate::RateStatus;
use super::{AllowOrigin, Verdict};

/// One change to the headers of a response. Names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'e> {
    /// The header is there; it gets this value, and no second line.
    Replace(&'e [u8], &'e [u8]),
    /// The header is not there yet.
    Add(&'e [u8], &'e [u8]),
    /// It is taken away.
    Remove(&'e [u8]),
}

/// What a response needs to know of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    allow_origin: AllowOrigin,
    /// The request's origin, where the response names it.
    origin: Option<Box<[u8]>>,
    rate: Option<RateStatus>,
    enforcement: Enforcement,
}

impl Exchange {
    /// Of a request whose headers the filter never saw: refused by Envoy or by a filter before this one.
    pub fn unseen(policy: &Policy) -> Exchange {
        Exchange {
            allow_origin: AllowOrigin::Omit,
            origin: None,
            rate: None,
            enforcement: policy.enforcement,
        }
    }

    /// Of a request with this `origin` and verdict.
    pub fn new(origin: Option<&[u8]>, verdict: &Verdict<'_, '_>) -> Exchange {
        Exchange {
            allow_origin: verdict.allow_origin,
            origin: origin
                .filter(|_| verdict.allow_origin == AllowOrigin::Echo)
                .map(Into::into),
            rate: verdict.rate,
            enforcement: verdict.enforcement,
        }
    }

    /// The changes that a response with the headers `present`, in lower case, needs.
    pub fn edit<'h>(
        &self,
        policy: &Policy,
        present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
        edit: &mut dyn FnMut(Edit<'_>),
    ) {
        if self.enforcement == Enforcement::Enforce {
            self.edit_cors(policy, present.clone(), edit);
            edit_vary(policy, present.clone(), edit);
            self.edit_rate(present.clone(), edit);
        }
        edit_standing(policy, present, edit);
    }

    /// The three CORS headers of a response to `origin`.
    fn cors<'e>(&'e self, policy: &'e Policy) -> [(&'static [u8], Option<&'e [u8]>); 3] {
        let (origin, credentials): (Option<&[u8]>, bool) = match self.allow_origin {
            AllowOrigin::Omit => (None, false),
            AllowOrigin::Any => (Some(b"*"), false),
            AllowOrigin::Null => (Some(b"null"), false),
            AllowOrigin::Echo => (self.origin.as_deref(), policy.cors.allow_credentials),
        };
        let expose = policy.cors.expose_headers.as_deref().map(str::as_bytes);
        [
            (ALLOW_ORIGIN, origin),
            (ALLOW_CREDENTIALS, credentials.then_some(b"true")),
            (EXPOSE_HEADERS, expose.filter(|_| origin.is_some())),
        ]
    }

    /// The filter owns CORS: what the upstream says of it goes.
    fn edit_cors<'h>(
        &self,
        policy: &Policy,
        present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
        edit: &mut dyn FnMut(Edit<'_>),
    ) {
        let cors = self.cors(policy);
        let is_set = |name: &[u8]| cors.iter().any(|(set, value)| *set == name && value.is_some());
        for (name, _) in present.clone() {
            if name.starts_with(b"access-control-") && !is_set(name) {
                edit(Edit::Remove(name));
            }
        }
        for (name, value) in cors {
            if let Some(value) = value {
                put(present.clone(), name, value, edit);
            }
        }
    }

    fn edit_rate<'h>(
        &self,
        present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
        edit: &mut dyn FnMut(Edit<'_>),
    ) {
        let Some(rate) = self.rate else { return };
        for (name, value) in [
            (&b"x-ratelimit-limit"[..], u64::from(rate.limit.get())),
            (b"x-ratelimit-remaining", u64::from(rate.remaining)),
            (b"x-ratelimit-reset", rate.reset),
        ] {
            put(present.clone(), name, value.to_string().as_bytes(), edit);
        }
    }
}

const ALLOW_ORIGIN: &[u8] = b"access-control-allow-origin";
const ALLOW_CREDENTIALS: &[u8] = b"access-control-allow-credentials";
const EXPOSE_HEADERS: &[u8] = b"access-control-expose-headers";

fn put<'h>(
    mut present: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    name: &[u8],
    value: &[u8],
    edit: &mut dyn FnMut(Edit<'_>),
) {
    edit(if present.any(|(header, _)| header == name) {
        Edit::Replace(name, value)
    } else {
        Edit::Add(name, value)
    });
}

/// Adds what responses differ by to what the upstream says they do, nothing twice. `*` says all of it already.
fn edit_vary<'h>(
    policy: &Policy,
    present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
    edit: &mut dyn FnMut(Edit<'_>),
) {
    let lines = present.filter(|(name, _)| *name == b"vary").map(|(_, value)| value);
    let count = lines.clone().count();
    if count == 0 {
        if !policy.vary.names.is_empty() {
            edit(Edit::Add(b"vary", policy.vary.value.as_bytes()));
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
        edit(Edit::Replace(b"vary", &names.join(&b", "[..])));
    }
}

fn edit_standing<'h>(
    policy: &Policy,
    present: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
    edit: &mut dyn FnMut(Edit<'_>),
) {
    for header in &policy.standing.set {
        let name = header.name.as_bytes();
        let value = header.value.as_bytes();
        let is_present = present.clone().any(|(present, _)| present == name);
        match (is_present, header.mode) {
            (false, _) => edit(Edit::Add(name, value)),
            (true, SetMode::Overwrite) => edit(Edit::Replace(name, value)),
            (true, SetMode::IfAbsent) => {}
        }
    }
    for name in &policy.standing.remove {
        if present.clone().any(|(present, _)| present == name.as_bytes()) {
            edit(Edit::Remove(name.as_bytes()));
        }
    }
}
