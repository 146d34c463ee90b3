//! A key that the feed sets, read and checked by itself.

use crate::config::Diagnostics;
use crate::config::config_path::ConfigPath;
use crate::config::key::{Key, KeyContext, read_key};
use crate::config::node::Node;
use crate::config::read::UNKNOWN_FIELD;
use crate::config::timestamp::Timestamp;
use crate::config::token::is_identifier;
use crate::policy::Policy;
use crate::policy::fed_keys::SetKey;
use crate::policy::refused_code::RefusedCode;
use crate::policy::sorted::sorted;

/// Reads a key. `None` if it has no id that a key can have: any other could be as long as a page, and polls and log lines tell it.
pub fn read_set_key<'a>(node: Node<'a>, policy: &Policy, now: Timestamp) -> Option<SetKey<'a>> {
    let id: Option<Box<str>> = match members(&node, "id").next() {
        Some(Node::Text(id)) if is_identifier(id) => Some(id.as_ref().into()),
        _ => None,
    };
    // A field that is there twice is wrong, but one of the two may disable the key.
    let is_enabled = members(&node, "enabled").all(|value| *value != Node::Bool(false));
    let mut diagnostics = Diagnostics::default();
    let context = KeyContext {
        now,
        sources: policy.feed().map_or(&[], |feed| feed.key_sources()),
        has_identity_header: true,
    };
    let key = read_key(node, context, &ConfigPath::ROOT, &mut diagnostics);
    let why = match (key, diagnostics.errors().first()) {
        (Some(key), None) if !repeats_itself(&key) => return Some(SetKey::Right(key)),
        (_, Some(error)) => error.to_string(),
        _ => "an API key, a label or a header is there twice".into(),
    };
    let is_unknown_field = diagnostics
        .errors()
        .iter()
        .any(|error| error.message.reason == UNKNOWN_FIELD);
    Some(SetKey::Wrong {
        id: id?,
        code: match is_unknown_field {
            true => RefusedCode::UnknownField,
            false => RefusedCode::InvalidKey,
        },
        is_enabled,
        why: why.into(),
    })
}

/// The values of the members with this name.
fn members<'n, 'a>(node: &'n Node<'a>, name: &str) -> impl Iterator<Item = &'n Node<'a>> {
    let members: &[_] = match node {
        Node::Object(members) => members,
        _ => &[],
    };
    members
        .iter()
        .filter(move |(known, _)| known == name)
        .map(|(_, value)| value)
}

/// Whether two of its API keys, two of its labels or two of its headers are the same: what the configuration has errors for when it puts
/// keys together.
pub fn repeats_itself(key: &Key<'_>) -> bool {
    let digests = key.entries.iter().map(|entry| entry.key.digest.0);
    let labels = key.entries.iter().filter_map(|entry| entry.label.as_deref());
    let headers = key.restrictions.upstream_headers.iter();
    has_two_equal(digests.collect())
        || has_two_equal(labels.collect())
        || has_two_equal(headers.map(|header| header.name.to_ascii_lowercase()).collect())
}

fn has_two_equal<T: Ord>(items: Vec<T>) -> bool {
    let items = sorted(items);
    items
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one == other))
}
