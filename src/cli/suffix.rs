//! Wildcards over a public suffix: anybody can have a name below `github.io`, and a project on `vercel.app` that is named like a team's
//! previews. The list is too large for the filter.

use std::str;

use keyfence_core::config::DiagnosticKind;
use keyfence_core::config::Diagnostics;
use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::origin::{HostPattern, OriginPattern};

use super::scalar::quoted;
use super::tree::Node;

/// Adds a diagnostic for each such wildcard of a policy.
pub fn find(policy: &Node, diagnostics: &mut Diagnostics) {
    let root = ConfigPath::ROOT;
    if let Some(anonymous) = policy.get("anonymous") {
        find_in(anonymous, &root.field("anonymous"), diagnostics);
    }
    let keys = policy.get("keys").map_or(&[][..], Node::items);
    for (index, key) in keys.iter().enumerate() {
        find_in(key, &root.field("keys").item(index), diagnostics);
    }
}

fn find_in(key: &Node, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let origins = key.get("allowed_origins").map_or(&[][..], Node::items);
    let list = place.field("allowed_origins");
    for (index, origin) in origins.iter().enumerate() {
        let text = origin.text().unwrap_or_default();
        if let Some(problem) = doubt(text) {
            diagnostics.add(&list.item(index), &quoted(text), problem);
        }
    }
}

/// That the pattern is a wildcard over a public suffix.
fn doubt(pattern: &str) -> Option<DiagnosticKind> {
    let Ok(OriginPattern::Tuple(pattern)) = OriginPattern::parse(pattern) else {
        return None;
    };
    match pattern.hosts {
        HostPattern::Below(suffix) => is_public(&suffix).then_some(DiagnosticKind::PublicSuffixWildcard { suffix }),
        HostPattern::Label(label) => {
            let [.., suffix] = label.parts();
            is_public(suffix).then(|| DiagnosticKind::PublicSuffixLabel { suffix: suffix.into() })
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
