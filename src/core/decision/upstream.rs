//! The headers that reach the upstream: with the id and the headers of the key, and without what a client claims about them and about its
//! method.

use crate::config::key::Enforcement;
use crate::config::token::{FILTER_HEADER, SUBJECT_HEADER};
use crate::policy::protected_headers::ProtectedHeaders;
use crate::policy::{Policy, Source};

use super::credential::{WEBSOCKET_PROTOCOL, other_protocols, without_parameter};
use super::mutation::HeaderMutation;
use super::outcome::Decision;
use super::request::Head;
use super::scoped_token::ScopedToken;

/// Calls `mutate` with each change to the headers of a request that goes to the upstream.
pub fn apply(
    policy: &Policy,
    head: &Head<'_>,
    decision: &Decision<'_, '_>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    for name in &head.protected_claims {
        mutate(HeaderMutation::Remove(name));
    }
    let is_enforced = decision.enforcement == Enforcement::Enforce;
    let protected = &policy.response.protected_headers;
    let identity = match (&policy.identity_header, decision.key) {
        (Some(name), Some(found)) => Some((&**name, found.key().id())),
        _ => None,
    };
    let headers = decision
        .restrictions
        .map_or(&[][..], |restrictions| restrictions.upstream_headers.as_slice());
    let headers = headers.iter().map(|header| (&*header.name, &*header.value));
    let of_key = identity.into_iter().chain(headers).filter(|_| is_enforced);
    // What a token says is set in report mode too: an upstream that filters by it must not get everything.
    let token = decision.token.as_deref();
    let of_token = [
        (FILTER_HEADER, token.and_then(ScopedToken::filter)),
        (SUBJECT_HEADER, token.and_then(ScopedToken::subject)),
    ];
    let of_token = of_token.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut is_any_set = false;
    for (name, value) in of_key.chain(of_token) {
        mutate(HeaderMutation::Add(name.as_bytes(), value.as_bytes()));
        is_any_set = true;
    }
    if is_any_set {
        keep_through_next_hop(protected, head.connection, mutate);
    }
    if !is_enforced {
        // Apart from that, the upstream gets in report mode what it would get without the filter.
        return;
    }
    if decision.removes_method_overrides(policy) {
        for name in &head.method_overrides {
            mutate(HeaderMutation::Remove(name));
        }
    }
    if !policy.forward_api_key {
        remove_credential(policy, head, decision, mutate);
    }
}

/// Removes protected headers from `Connection`, with which a client can make the next hop remove them (RFC 9110, section 7.6.1).
fn keep_through_next_hop(
    protected: &ProtectedHeaders,
    connection: Option<&[u8]>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    let Some(connection) = connection else { return };
    let options = connection.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = options
        .clone()
        .filter(|option| !protected.may_be_read_from(option))
        .collect();
    if kept.len() == options.count() {
        return;
    }
    if kept.is_empty() {
        mutate(HeaderMutation::Remove(b"connection"));
    } else {
        mutate(HeaderMutation::Replace(b"connection", &kept.join(&b", "[..])));
    }
}

fn remove_credential(
    policy: &Policy,
    head: &Head<'_>,
    decision: &Decision<'_, '_>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    let Some(presented) = decision.presented else { return };
    match policy.key_sources.get(presented.source) {
        None => {}
        Some(Source::Header { .. }) => mutate(HeaderMutation::Remove(presented.header)),
        Some(Source::Query(name)) => mutate(HeaderMutation::Replace(b":path", &without_parameter(head.path, name))),
        Some(Source::WebSocketProtocol(prefix)) => match other_protocols(&head.websocket_protocols, prefix) {
            Some(others) => mutate(HeaderMutation::Replace(WEBSOCKET_PROTOCOL, &others)),
            None => mutate(HeaderMutation::Remove(WEBSOCKET_PROTOCOL)),
        },
    }
}
