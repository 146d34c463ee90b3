//! Wildcards over a public suffix: anybody can have a name below `github.io`, and a project on `vercel.app` that is named like a team's
//! previews. The list is too large for the filter.

use std::str;

use keyfence::config::Findings;
use keyfence::config::Problem;
use keyfence::config::origin::{HostPattern, OriginPattern};
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
        if let Some(problem) = doubt(text) {
            findings.add(&list.item(index), &quoted(text), problem);
        }
    }
}

/// That the pattern is a wildcard over a public suffix.
fn doubt(pattern: &str) -> Option<Problem> {
    let Ok(OriginPattern::Tuple(pattern)) = OriginPattern::parse(pattern) else {
        return None;
    };
    match pattern.hosts {
        HostPattern::Below(suffix) => is_public(&suffix).then_some(Problem::PublicSuffixWildcard { suffix }),
        HostPattern::Label(label) => {
            let [.., suffix] = label.parts();
            is_public(suffix).then(|| Problem::PublicSuffixLabel { suffix: suffix.into() })
        }
        HostPattern::One(_) | HostPattern::Any => None,
    }
}

/// Whether each name below `host` has another owner. Of `compute.amazonaws.com` only the names below are on the list.
fn is_public(host: &str) -> bool {
    let below = format!("x.{host}");
    let suffix = psl::suffix(below.as_bytes());
    suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() >= host.len())
}
