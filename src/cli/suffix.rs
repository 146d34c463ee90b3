//! Warns of wildcards over a public suffix, such as `https://*.github.io`: anybody can register a name below it that matches.
//!
//! The Public Suffix List is too large for the filter, so only the command line checks this.

use std::str;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::origin::{HostPattern, OriginPattern};
use keyfence_core::config::{DiagnosticKind, Diagnostics, Message};

use keyfence_files::scalar::quoted;
use keyfence_files::tree::Node;

/// Adds a warning for each such wildcard of a policy.
pub fn check(policy: &Node, diagnostics: &mut Diagnostics) {
    let root = ConfigPath::ROOT;
    if let Some(anonymous) = policy.get("anonymous") {
        check_key(anonymous, &root.field("anonymous"), diagnostics);
    }
    let keys = policy.get("keys").map_or(&[][..], Node::items);
    for (index, key) in keys.iter().enumerate() {
        check_key(key, &root.field("keys").item(index), diagnostics);
    }
}

fn check_key(key: &Node, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let origins = key.get("allowed_origins").map_or(&[][..], Node::items);
    let list = path.field("allowed_origins");
    for (index, origin) in origins.iter().enumerate() {
        let text = origin.text().unwrap_or_default();
        if let Some(warning) = public_suffix(text) {
            diagnostics.add(&list.item(index), &quoted(text), &warning);
        }
    }
}

enum SuffixWarning {
    /// `*.` before a public suffix.
    Subdomains { suffix: String },
    /// `*` in the label before a public suffix.
    Label { suffix: String },
}

impl DiagnosticKind for SuffixWarning {
    fn message(&self) -> Message {
        match self {
            Self::Subdomains { suffix } => Message::warning(
                format!("anybody can register a name under {suffix}"),
                "list the hosts that are yours",
            ),
            Self::Label { suffix } => Message::warning(
                format!("anybody can register a name under {suffix} that fits the pattern"),
                "list the hosts that are yours, or give previews a domain of yours and a key that may do little",
            ),
        }
    }
}

/// The warning, if the pattern is a wildcard over a public suffix.
fn public_suffix(pattern: &str) -> Option<SuffixWarning> {
    let Ok(OriginPattern::Tuple(pattern)) = OriginPattern::parse(pattern) else {
        return None;
    };
    match pattern.hosts {
        HostPattern::Below(suffix) => is_public(&suffix).then_some(SuffixWarning::Subdomains { suffix }),
        HostPattern::Label(label) => {
            let [.., suffix] = label.parts();
            is_public(suffix).then(|| SuffixWarning::Label { suffix: suffix.into() })
        }
        HostPattern::One(_) | HostPattern::Any => None,
    }
}

/// Whether the names below `host` have different owners. The list may contain `host` itself or only a rule for names below it, as for
/// `compute.amazonaws.com`.
fn is_public(host: &str) -> bool {
    let below = format!("x.{host}");
    let suffix = psl::suffix(below.as_bytes());
    suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() >= host.len())
}
