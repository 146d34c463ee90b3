//! What reaches the upstream: who the client is, and not what a client says of that itself.

use crate::config::key::Enforcement;
use crate::policy::{Policy, Source};

use super::Verdict;
use super::credential::{WEBSOCKET_PROTOCOL, other_protocols, without_parameter};
use super::request::Head;
use super::response::Edit;

/// The changes to the headers of a request that goes to the upstream.
pub fn edit(policy: &Policy, head: &Head<'_>, verdict: &Verdict<'_, '_>, edit: &mut impl FnMut(Edit<'_>)) {
    for name in &head.identity_claims {
        edit(Edit::Remove(name));
    }
    if verdict.enforcement == Enforcement::Report {
        // Nothing else changes: the upstream gets what it would get without the filter.
        return;
    }
    if let (Some(name), Some((_, key))) = (&policy.response.identity_header, verdict.key) {
        edit(Edit::Add(name.as_bytes(), key.id.as_bytes()));
        keep_through_next_hop(name.as_bytes(), head.connection, edit);
    }
    if verdict.removes_method_overrides() {
        for name in &head.method_overrides {
            edit(Edit::Remove(name));
        }
    }
    if !policy.forward_api_key {
        remove_credential(policy, head, verdict, edit);
    }
}

/// Takes `name` out of `Connection`, with which a client would have the next hop take the header away (RFC 9110, 7.6.1).
fn keep_through_next_hop(name: &[u8], connection: Option<&[u8]>, edit: &mut impl FnMut(Edit<'_>)) {
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
        edit(Edit::Remove(b"connection"));
    } else {
        edit(Edit::Replace(b"connection", &kept.join(&b", "[..])));
    }
}

fn remove_credential(policy: &Policy, head: &Head<'_>, verdict: &Verdict<'_, '_>, edit: &mut impl FnMut(Edit<'_>)) {
    let Some(carried) = verdict.carried else { return };
    match policy.key_sources.get(carried.source) {
        None => {}
        Some(Source::Header { .. }) => edit(Edit::Remove(carried.header)),
        Some(Source::Query(name)) => edit(Edit::Replace(b":path", &without_parameter(head.path, name))),
        Some(Source::WebSocketProtocol(prefix)) => match other_protocols(&head.websocket_protocols, prefix) {
            Some(others) => edit(Edit::Replace(WEBSOCKET_PROTOCOL, &others)),
            None => edit(Edit::Remove(WEBSOCKET_PROTOCOL)),
        },
    }
}
