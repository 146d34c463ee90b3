//! The headers that reach the upstream: with the id of the key, and without what a client claims about its identity and method.

use crate::config::key::Enforcement;
use crate::policy::{Policy, Source};

use super::credential::{WEBSOCKET_PROTOCOL, other_protocols, without_parameter};
use super::mutation::HeaderMutation;
use super::outcome::Decision;
use super::request::Head;

/// Calls `mutate` with each change to the headers of a request that goes to the upstream.
pub fn apply(
    policy: &Policy,
    head: &Head<'_>,
    decision: &Decision<'_, '_>,
    mutate: &mut impl FnMut(HeaderMutation<'_>),
) {
    for name in &head.identity_claims {
        mutate(HeaderMutation::Remove(name));
    }
    if decision.enforcement == Enforcement::Report {
        // In report mode the upstream gets what it would get without the filter.
        return;
    }
    if let (Some(name), Some((_, key))) = (&policy.response.identity_header, decision.key) {
        mutate(HeaderMutation::Add(name.as_bytes(), key.id.as_bytes()));
        keep_through_next_hop(name.as_bytes(), head.connection, mutate);
    }
    if decision.removes_method_overrides() {
        for name in &head.method_overrides {
            mutate(HeaderMutation::Remove(name));
        }
    }
    if !policy.forward_api_key {
        remove_credential(policy, head, decision, mutate);
    }
}

/// Removes `name` from `Connection`, with which a client can make the next hop remove the header (RFC 9110, section 7.6.1).
fn keep_through_next_hop(name: &[u8], connection: Option<&[u8]>, mutate: &mut impl FnMut(HeaderMutation<'_>)) {
    let Some(connection) = connection else { return };
    let options = connection.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = options
        .clone()
        .filter(|option| !option.eq_ignore_ascii_case(name))
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
