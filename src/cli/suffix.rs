//! Wildcards over a public suffix: anybody can have a name below `github.io`. The list is too large for the filter.

use std::str;

use keyfence::config::Findings;
use keyfence::config::Problem;
use keyfence::config::origin::OriginPattern;
use keyfence::config::place::Place;

use super::scalar::quoted;
use super::tree::Node;

/// Adds a finding for each such wildcard of a policy.
pub fn find(policy: &Node, findings: &mut Findings) {
    let root = Place::ROOT;
    if let Some(anonymous) = policy.get("anonymous") {
        find_in(anonymous, &root.field("anonymous"), findings);
    }
    let keys = policy.get("keys").map_or(&[][..], Node::items);
    for (index, key) in keys.iter().enumerate() {
        find_in(key, &root.field("keys").item(index), findings);
    }
}

fn find_in(key: &Node, place: &Place<'_>, findings: &mut Findings) {
    let origins = key.get("allowed_origins").map_or(&[][..], Node::items);
    let list = place.field("allowed_origins");
    for (index, origin) in origins.iter().enumerate() {
        let text = origin.text().unwrap_or_default();
        if let Some(suffix) = public_suffix(text) {
            findings.add(
                &list.item(index),
                &quoted(text),
                Problem::PublicSuffixWildcard { suffix },
            );
        }
    }
}

/// The public suffix that the pattern is a wildcard over.
fn public_suffix(pattern: &str) -> Option<String> {
    let Ok(OriginPattern::Tuple(pattern)) = OriginPattern::parse(pattern) else {
        return None;
    };
    let suffix = psl::suffix(pattern.host.as_bytes())?;
    let is_public = pattern.subdomains && suffix.is_known() && suffix == pattern.host.as_str();
    is_public.then_some(pattern.host)
}
