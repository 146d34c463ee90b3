//! `content_security_policy`: a policy by its directives (Content Security Policy Level 3).

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, nearest};
use super::node::Node;
use super::read::{Read, wrong_type};

/// The header's value, put together from its directives in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSecurityPolicy(pub String);

pub(super) const DIRECTIVES: [&str; 30] = [
    "default-src",
    "script-src",
    "script-src-elem",
    "script-src-attr",
    "style-src",
    "style-src-elem",
    "style-src-attr",
    "img-src",
    "font-src",
    "connect-src",
    "media-src",
    "object-src",
    "frame-src",
    "child-src",
    "worker-src",
    "manifest-src",
    "prefetch-src",
    "fenced-frame-src",
    "base-uri",
    "form-action",
    "frame-ancestors",
    "sandbox",
    "navigate-to",
    "report-uri",
    "report-to",
    "require-trusted-types-for",
    "trusted-types",
    "upgrade-insecure-requests",
    "block-all-mixed-content",
    "webrtc",
];

/// Keywords, which are host names where their quotes are forgotten.
const KEYWORDS: [&str; 11] = [
    "self",
    "none",
    "unsafe-inline",
    "unsafe-eval",
    "unsafe-hashes",
    "unsafe-allow-redirects",
    "strict-dynamic",
    "report-sample",
    "wasm-unsafe-eval",
    "trusted-types-eval",
    "inline-speculation-rules",
];

const QUOTED_PREFIXES: [&str; 4] = ["nonce-", "sha256-", "sha384-", "sha512-"];

fn is_unquoted_keyword(source: &str) -> bool {
    let source = source.to_ascii_lowercase();
    KEYWORDS.contains(&source.as_str()) || QUOTED_PREFIXES.iter().any(|prefix| source.starts_with(prefix))
}

fn is_source(source: &str) -> bool {
    !source.is_empty()
        && source
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b','))
}

/// These take names of the page's own, which may be the same as a keyword.
fn takes_names(directive: &str) -> bool {
    matches!(directive, "sandbox" | "report-to" | "report-uri" | "trusted-types")
}

/// What is wrong with one of the `count` sources of a directive.
fn source_problem(directive: &str, source: &str, count: usize) -> Option<DiagnosticKind> {
    if !is_source(source) {
        Some(DiagnosticKind::BadDirectiveSource)
    } else if is_unquoted_keyword(source) && !takes_names(directive) {
        Some(DiagnosticKind::UnquotedKeyword)
    } else if source.eq_ignore_ascii_case("'none'") && count > 1 {
        Some(DiagnosticKind::NoneBesideOthers)
    } else {
        None
    }
}

/// What is wrong with a directive of this name, in lower case, behind the directives `seen`.
fn directive_problem(directive: &str, seen: &[String]) -> Option<DiagnosticKind> {
    let is_name = !directive.is_empty() && directive.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if !is_name {
        Some(DiagnosticKind::BadDirective)
    } else if seen.iter().any(|seen| seen == directive) {
        Some(DiagnosticKind::DuplicateDirective)
    } else if !DIRECTIVES.contains(&directive) {
        let nearest = nearest(directive, DIRECTIVES);
        Some(DiagnosticKind::UnknownDirective { nearest })
    } else {
        None
    }
}

fn read_sources(directive: &str, node: Node<'_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Vec<String> {
    let sources: Vec<Cow<'_, str>> = Vec::read(node, place, diagnostics).unwrap_or_default();
    for (index, source) in sources.iter().enumerate() {
        if let Some(problem) = source_problem(directive, source, sources.len()) {
            diagnostics.add(&place.item(index), &format_args!("{source:?}"), problem);
        }
    }
    sources.into_iter().map(Cow::into_owned).collect()
}

/// Notes what is wrong with the whole value of a header: policies with commas between them, each of directives with `;` between them.
pub fn check(value: &str, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    for policy in value.split(',') {
        let mut seen: Vec<String> = Vec::new();
        for directive in policy.split(';') {
            let mut words = directive.split_ascii_whitespace();
            let Some(name) = words.next() else {
                continue;
            };
            let directive = name.to_ascii_lowercase();
            if let Some(problem) = directive_problem(&directive, &seen) {
                diagnostics.add(place, &format_args!("{name:?}"), problem);
            }
            let sources: Vec<&str> = words.collect();
            for source in &sources {
                if let Some(problem) = source_problem(&directive, source, sources.len()) {
                    diagnostics.add(place, &format_args!("{source:?}"), problem);
                }
            }
            seen.push(directive);
        }
    }
}

impl<'a> Read<'a> for ContentSecurityPolicy {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Node::Object(members) = node else {
            return wrong_type(&node, "an object", place, diagnostics);
        };
        let mut seen: Vec<String> = Vec::new();
        let mut parts = Vec::new();
        for (name, sources) in members {
            let at = place.field(&name);
            let directive = name.to_ascii_lowercase();
            let sources = read_sources(&directive, sources, &at, diagnostics);
            if let Some(problem) = directive_problem(&directive, &seen) {
                diagnostics.add(&at, &format_args!("{name:?}"), problem);
            }
            parts.push([std::slice::from_ref(&directive), &sources].concat().join(" "));
            seen.push(directive);
        }
        Some(ContentSecurityPolicy(parts.join("; ")))
    }
}
