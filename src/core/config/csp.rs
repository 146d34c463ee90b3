//! `content_security_policy`: a policy by its directives, and the checks of a whole header value (Content Security Policy Level 3).

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::nearest::nearest;
use super::node::Node;
use super::read::{Read, wrong_type};

/// The value of the header, made of the directives in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSecurityPolicy(pub String);

/// The directives that browsers know or have known.
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

/// Keyword sources without their quotes. Unquoted, they are host names.
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

/// How nonce sources and hash sources begin within their quotes.
const QUOTED_PREFIXES: [&str; 4] = ["nonce-", "sha256-", "sha384-", "sha512-"];

enum CspDiagnostic {
    /// The name has another character.
    DirectiveName,
    /// An earlier directive has the same name.
    DuplicateDirective,
    /// No browser knows the directive.
    UnknownDirective {
        /// The directive that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A source has a character that would end it, or is empty.
    Source,
    /// A keyword source lacks its quotes.
    UnquotedKeyword,
    /// `'none'` is not the only source.
    NoneBesideOthers,
}

impl DiagnosticKind for CspDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::DirectiveName => Message::error(
                "the name of a CSP directive must consist of letters and -",
                "write it as in \"script-src\"",
            ),
            Self::DuplicateDirective => Message::error(
                "the directive is listed twice, and browsers read only the first",
                "keep one of them",
            )
            .about_name(),
            Self::UnknownDirective { nearest } => {
                let help = nearest.map(|name| format!("did you mean {name}?").into());
                Message::warning(
                    "browsers ignore a CSP directive that they do not know",
                    help.unwrap_or(Cow::Borrowed("look up its name")),
                )
                .about_name()
            }
            Self::Source => Message::error(
                "a CSP source must be printable ASCII without white space, ; and ,",
                "give each source an entry of its own",
            ),
            Self::UnquotedKeyword => Message::error(
                "unquoted, a CSP keyword is read as a host name",
                "put it in single quotes, as in \"'self'\"",
            ),
            Self::NoneBesideOthers => Message::error(
                "browsers ignore 'none' if another source is listed with it",
                "take it out, or the others",
            ),
        }
    }
}

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

/// Whether the directive takes names that the site chooses, and not sources. Such a name may be the same as a keyword.
fn takes_names(directive: &str) -> bool {
    matches!(directive, "sandbox" | "report-to" | "report-uri" | "trusted-types")
}

/// What is wrong with one of the `count` sources of a directive.
fn check_source(directive: &str, source: &str, count: usize) -> Option<CspDiagnostic> {
    if !is_source(source) {
        Some(CspDiagnostic::Source)
    } else if is_unquoted_keyword(source) && !takes_names(directive) {
        Some(CspDiagnostic::UnquotedKeyword)
    } else if source.eq_ignore_ascii_case("'none'") && count > 1 {
        Some(CspDiagnostic::NoneBesideOthers)
    } else {
        None
    }
}

/// What is wrong with the name of a directive, in lower case. `seen` are the directives before it.
fn check_directive(directive: &str, seen: &[String]) -> Option<CspDiagnostic> {
    let is_name = !directive.is_empty() && directive.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    if !is_name {
        Some(CspDiagnostic::DirectiveName)
    } else if seen.iter().any(|seen| seen == directive) {
        Some(CspDiagnostic::DuplicateDirective)
    } else if !DIRECTIVES.contains(&directive) {
        let nearest = nearest(directive, DIRECTIVES);
        Some(CspDiagnostic::UnknownDirective { nearest })
    } else {
        None
    }
}

fn read_sources(directive: &str, node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Vec<String> {
    let sources: Vec<Cow<'_, str>> = Vec::read(node, path, diagnostics).unwrap_or_default();
    for (index, source) in sources.iter().enumerate() {
        if let Some(kind) = check_source(directive, source, sources.len()) {
            diagnostics.add(&path.item(index), &format_args!("{source:?}"), &kind);
        }
    }
    sources.into_iter().map(Cow::into_owned).collect()
}

/// Adds what is wrong with the whole value of the header at `path`: policies separated by commas, each of directives separated by `;`
/// (CSP, section 2.2.2).
pub fn check(value: &str, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    for policy in value.split(',') {
        let mut seen: Vec<String> = Vec::new();
        for directive in policy.split(';') {
            let mut words = directive.split_ascii_whitespace();
            let Some(name) = words.next() else {
                continue;
            };
            let directive = name.to_ascii_lowercase();
            if let Some(kind) = check_directive(&directive, &seen) {
                diagnostics.add(path, &format_args!("{name:?}"), &kind);
            }
            let sources: Vec<&str> = words.collect();
            for source in &sources {
                if let Some(kind) = check_source(&directive, source, sources.len()) {
                    diagnostics.add(path, &format_args!("{source:?}"), &kind);
                }
            }
            seen.push(directive);
        }
    }
}

impl<'a> Read<'a> for ContentSecurityPolicy {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Node::Object(members) = node else {
            return wrong_type(&node, "an object", path, diagnostics);
        };
        let mut seen: Vec<String> = Vec::new();
        let mut parts = Vec::new();
        for (name, sources) in members {
            let at = path.field(&name);
            let directive = name.to_ascii_lowercase();
            let sources = read_sources(&directive, sources, &at, diagnostics);
            if let Some(kind) = check_directive(&directive, &seen) {
                diagnostics.add(&at, &format_args!("{name:?}"), &kind);
            }
            parts.push([std::slice::from_ref(&directive), &sources].concat().join(" "));
            seen.push(directive);
        }
        Some(ContentSecurityPolicy(parts.join("; ")))
    }
}
