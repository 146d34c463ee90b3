//! Preflights: a browser asks what a page may do before it sends the page's request (Fetch, "CORS-preflight fetch").
//!
//! Their origin alone decides. The method and the headers that they ask for are not compared here: the browser compares them with the
//! response, and its console names what is missing.

use std::sync::Arc;

use super::cors::AllowOrigin;
use super::headers::{Line, with_values};
use super::outcome::{Decision, Matched, Outcome};
use super::reason::Reason;
use super::request::Head;
use super::scoped_token::ScopedToken;
use crate::policy::in_force::InForce;
use crate::policy::{KeyMatch, Policy};

/// Decides on a preflight. One with a `key` in its URL, or a `token` of that key, is checked against the origins of the key, any other
/// against those of all enabled keys: a browser sends no header of the page with a preflight. While the keys of the feed are not known, one of
/// them may list an origin that no other key lists.
pub fn decide<'p, 'r>(
    in_force: InForce<'p>,
    head: &Head<'r>,
    key: Option<KeyMatch<'p>>,
    token: Option<Arc<ScopedToken>>,
) -> Decision<'p, 'r> {
    let restrictions = key.map(|found| &found.key().restrictions);
    let origin = head
        .origin
        .and_then(|origin| in_force.match_origin(restrictions, origin));
    Decision {
        outcome: match origin {
            Some(_) => Outcome::Preflight,
            None if key.is_none() && in_force.is_incomplete() => Outcome::Deny(Reason::PolicyUnavailable),
            None => Outcome::Deny(Reason::OriginNotAllowed),
        },
        enforcement: in_force.enforcement(key, restrictions),
        key,
        token,
        restrictions,
        presented: head.credential.one(),
        matched: Matched {
            origin,
            ..Matched::default()
        },
        allow_origin: AllowOrigin::of_preflight(origin),
        rate: None,
        own_rules_name_methods: false,
        is_preflight: true,
    }
}

/// Decides on a preflight where the host could not tell what is needed to find its key.
pub fn unavailable<'p, 'r>(in_force: InForce<'p>, head: &Head<'r>) -> Decision<'p, 'r> {
    Decision {
        outcome: Outcome::Deny(Reason::PolicyUnavailable),
        allow_origin: AllowOrigin::Omit,
        ..decide(in_force, head, None, None)
    }
}

/// The headers of a response to a preflight, beside those that other responses have too.
pub fn headers(policy: &Policy, allow_origin: AllowOrigin) -> impl Iterator<Item = Line<'_>> {
    let cors = Some(&policy.response.cors).filter(|_| allow_origin != AllowOrigin::Omit);
    with_values([
        (
            b"vary",
            Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ),
        (
            b"access-control-allow-methods",
            cors.and_then(|cors| cors.allow_methods.as_deref()),
        ),
        (
            b"access-control-allow-headers",
            cors.and_then(|cors| cors.allow_headers.as_deref()),
        ),
        (b"access-control-max-age", cors.map(|cors| &*cors.max_age)),
    ])
}
