//! Response headers that browsers act on, and the values that they know. Browsers ignore any other value silently.

use super::config_path::ConfigPath;
use super::csp;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::nearest::nearest;
use super::node::Node;
use super::structured_field::{self, Bare};
use super::token::{HeaderName, is_token};

/// A warning: browsers ignore a header, or a part of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderWarning {
    /// The name is not a header's that browsers know, but nearly.
    Misspelt {
        /// The header that was probably meant.
        meant: &'static str,
    },
    /// `X-Frame-Options` (HTML, "the X-Frame-Options header").
    FrameOptions,
    /// `X-Content-Type-Options` (Fetch, "determine nosniff").
    ContentTypeOptions,
    /// An unknown policy in `Referrer-Policy` (Referrer Policy, section 4.1).
    ReferrerPolicy {
        /// The policy that was probably meant.
        nearest: Option<&'static str>,
    },
    /// `Strict-Transport-Security` without `max-age` (RFC 6797, section 6.1.1).
    NoMaxAge,
    /// Another directive of `Strict-Transport-Security` that is malformed, unknown or a duplicate (RFC 6797, section 6.1).
    TransportSecurity,
    /// `Permissions-Policy` is not a dictionary (Permissions Policy, section 5.2).
    PermissionsPolicy,
    /// An allowlist of `Permissions-Policy` has an item other than `*`, `self` and origins in quotes.
    Allowlist,
    /// `Cross-Origin-Resource-Policy` (Fetch, "cross-origin resource policy check").
    ResourcePolicy,
    /// `Cross-Origin-Opener-Policy` (HTML, "cross-origin opener policies").
    OpenerPolicy,
    /// `Cross-Origin-Embedder-Policy` (HTML, "embedder policies").
    EmbedderPolicy,
}

impl DiagnosticKind for HeaderWarning {
    fn message(&self) -> Message {
        const PERMISSIONS_POLICY: &str = r#"write it as in camera=(), geolocation=(self "https://maps.example.com")"#;
        match self {
            Self::Misspelt { meant } => {
                Message::warning("browsers know no header of this name", format!("did you mean {meant}?")).about_name()
            }
            Self::FrameOptions => Message::warning(
                "browsers ignore X-Frame-Options but for DENY or SAMEORIGIN alone",
                "write DENY or SAMEORIGIN; only the CSP directive frame-ancestors can allow other sites",
            ),
            Self::ContentTypeOptions => Message::warning(
                "browsers ignore X-Content-Type-Options but for nosniff",
                "write nosniff",
            ),
            Self::ReferrerPolicy { nearest } => Message::warning(
                "browsers ignore a Referrer-Policy that they do not know",
                match nearest {
                    Some(policy) => format!("did you mean {policy}?"),
                    None => format!("write one of {}", REFERRER_POLICIES.join(", ")),
                },
            ),
            Self::NoMaxAge => Message::warning(
                "browsers ignore Strict-Transport-Security without max-age and a number of seconds",
                "write it as in max-age=31536000; includeSubDomains",
            ),
            Self::TransportSecurity => Message::warning(
                "browsers ignore a directive of Strict-Transport-Security that they do not know, and the whole header if a directive is malformed or there twice",
                "write max-age=<seconds>, includeSubDomains and preload only, with ; between them",
            ),
            Self::PermissionsPolicy => Message::warning(
                "browsers ignore a Permissions-Policy that is not a dictionary of structured fields (RFC 9651)",
                PERMISSIONS_POLICY,
            ),
            Self::Allowlist => Message::warning(
                "browsers ignore everything in an allowlist except *, self and origins in double quotes",
                PERMISSIONS_POLICY,
            ),
            Self::ResourcePolicy => Message::warning(
                "browsers ignore Cross-Origin-Resource-Policy but for same-origin, same-site or cross-origin in lower case",
                "write one of same-origin, same-site, cross-origin",
            ),
            Self::OpenerPolicy => Message::warning(
                "browsers ignore a Cross-Origin-Opener-Policy that they do not know",
                format!("write one of {}", OPENER_POLICIES.join(", ")),
            ),
            Self::EmbedderPolicy => Message::warning(
                "browsers ignore a Cross-Origin-Embedder-Policy that they do not know",
                format!("write one of {}", EMBEDDER_POLICIES.join(", ")),
            ),
        }
    }
}

/// How to check the value of a header.
#[derive(Clone, Copy)]
enum Reading {
    /// With this function.
    Value(fn(&str) -> Result<(), HeaderWarning>),
    /// As a Content Security Policy.
    Csp,
    /// Not at all: any value is accepted.
    Any,
}

const HEADERS: [(&str, Reading); 17] = [
    ("Content-Security-Policy", Reading::Csp),
    ("Content-Security-Policy-Report-Only", Reading::Csp),
    ("Cross-Origin-Embedder-Policy", Reading::Value(embedder_policy)),
    (
        "Cross-Origin-Embedder-Policy-Report-Only",
        Reading::Value(embedder_policy),
    ),
    ("Cross-Origin-Opener-Policy", Reading::Value(opener_policy)),
    ("Cross-Origin-Opener-Policy-Report-Only", Reading::Value(opener_policy)),
    ("Cross-Origin-Resource-Policy", Reading::Value(resource_policy)),
    ("Permissions-Policy", Reading::Value(permissions_policy)),
    ("Permissions-Policy-Report-Only", Reading::Value(permissions_policy)),
    ("Referrer-Policy", Reading::Value(referrer_policy)),
    ("Strict-Transport-Security", Reading::Value(transport_security)),
    ("X-Content-Type-Options", Reading::Value(content_type_options)),
    ("X-Frame-Options", Reading::Value(frame_options)),
    ("Clear-Site-Data", Reading::Any),
    ("X-DNS-Prefetch-Control", Reading::Any),
    ("X-Permitted-Cross-Domain-Policies", Reading::Any),
    ("X-XSS-Protection", Reading::Any),
];

/// Adds warnings about what browsers would ignore of a response header. `path` is the header's in the configuration.
pub fn check(header: &HeaderName, value: &str, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let known = HEADERS.iter().find(|(known, _)| header.is(known));
    match known.map(|(_, reading)| *reading) {
        Some(Reading::Csp) => csp::check(value, path, diagnostics),
        Some(Reading::Value(read)) => {
            if let Err(warning) = read(value) {
                diagnostics.add(path, &Node::Text(value.into()), &warning);
            }
        }
        Some(Reading::Any) => {}
        None => {
            if let Some(meant) = meant(&header.0) {
                diagnostics.add(
                    path,
                    &format_args!("{:?}", header.0),
                    &HeaderWarning::Misspelt { meant },
                );
            }
        }
    }
}

/// The header that was probably meant by an unknown name: the nearest one with an edit distance of at most two, where `-`, `_`, case
/// and a leading `X-` do not count.
fn meant(name: &str) -> Option<&'static str> {
    let letters = |name: &str| {
        name.to_ascii_lowercase()
            .trim_start_matches("x-")
            .replace(['-', '_'], "")
    };
    let written = letters(name);
    let distances = HEADERS
        .iter()
        .map(|(known, _)| (strsim::osa_distance(&written, &letters(known)), *known));
    distances
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn known(is_known: bool, warning: HeaderWarning) -> Result<(), HeaderWarning> {
    if is_known { Ok(()) } else { Err(warning) }
}

fn is_one_of(value: &str, known: &[&str]) -> bool {
    known.iter().any(|known| value.eq_ignore_ascii_case(known))
}

fn frame_options(value: &str) -> Result<(), HeaderWarning> {
    known(is_one_of(value, &["DENY", "SAMEORIGIN"]), HeaderWarning::FrameOptions)
}

fn content_type_options(value: &str) -> Result<(), HeaderWarning> {
    known(is_one_of(value, &["nosniff"]), HeaderWarning::ContentTypeOptions)
}

const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

/// A list of policies, of which browsers take the last that they know, so that a newer one can follow one for older browsers. Current
/// browsers know all of [`REFERRER_POLICIES`], so any other is a mistake.
fn referrer_policy(value: &str) -> Result<(), HeaderWarning> {
    let unknown = value
        .split(',')
        .map(str::trim)
        .find(|policy| !is_one_of(policy, &REFERRER_POLICIES));
    match unknown {
        None => Ok(()),
        Some(policy) => Err(HeaderWarning::ReferrerPolicy {
            nearest: nearest(policy, REFERRER_POLICIES),
        }),
    }
}

/// RFC 6797, section 6.1. The value of a directive is a token or a quoted string.
fn transport_security(value: &str) -> Result<(), HeaderWarning> {
    let mut seen: Vec<String> = Vec::new();
    let directives = value
        .split(';')
        .map(str::trim)
        .filter(|directive| !directive.is_empty());
    let mut max_age = None;
    let mut is_known = true;
    for directive in directives {
        let (name, argument) = match directive.split_once('=') {
            Some((name, argument)) => (name.trim_end(), Some(argument.trim_start())),
            None => (directive, None),
        };
        let name = name.to_ascii_lowercase();
        is_known &= match name.as_str() {
            "max-age" => {
                max_age = argument.map(unquoted);
                true
            }
            "includesubdomains" | "preload" => argument.is_none(),
            _ => false,
        };
        is_known &= is_token(&name) && !seen.contains(&name);
        seen.push(name);
    }
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    known(max_age.is_some_and(is_number), HeaderWarning::NoMaxAge)?;
    known(is_known, HeaderWarning::TransportSecurity)
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

fn permissions_policy(value: &str) -> Result<(), HeaderWarning> {
    let features = structured_field::dictionary(value).ok_or(HeaderWarning::PermissionsPolicy)?;
    let is_known = |item: &Bare<'_>| matches!(item, Bare::Text | Bare::Token("*" | "self"));
    let mut items = features.iter().flat_map(|(_, allowlist)| allowlist);
    known(items.all(is_known), HeaderWarning::Allowlist)
}

/// Fetch compares the value case-sensitively and takes no parameters.
fn resource_policy(value: &str) -> Result<(), HeaderWarning> {
    known(
        matches!(value, "same-origin" | "same-site" | "cross-origin"),
        HeaderWarning::ResourcePolicy,
    )
}

const OPENER_POLICIES: [&str; 4] = [
    "unsafe-none",
    "same-origin-allow-popups",
    "same-origin",
    "noopener-allow-popups",
];

fn opener_policy(value: &str) -> Result<(), HeaderWarning> {
    let is_known =
        matches!(structured_field::item(value), Some(Bare::Token(policy)) if OPENER_POLICIES.contains(&policy));
    known(is_known, HeaderWarning::OpenerPolicy)
}

const EMBEDDER_POLICIES: [&str; 3] = ["unsafe-none", "require-corp", "credentialless"];

fn embedder_policy(value: &str) -> Result<(), HeaderWarning> {
    let is_known =
        matches!(structured_field::item(value), Some(Bare::Token(policy)) if EMBEDDER_POLICIES.contains(&policy));
    known(is_known, HeaderWarning::EmbedderPolicy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, value: &str) -> Vec<Message> {
        let mut diagnostics = Diagnostics::default();
        check(&HeaderName(name.into()), value, &ConfigPath::ROOT, &mut diagnostics);
        let all = diagnostics.errors().iter().chain(diagnostics.warnings());
        all.map(|diagnostic| diagnostic.message.clone()).collect()
    }

    #[test]
    fn values_that_browsers_ignore() {
        use HeaderWarning::*;
        let referrer = |nearest| Some(ReferrerPolicy { nearest });
        for (name, value, warning) in [
            ("X-Frame-Options", "DENY", None),
            ("x-frame-options", "SameOrigin", None),
            ("X-Frame-Options", "ALLOWALL", Some(FrameOptions)),
            ("X-Frame-Options", "ALLOW-FROM https://a.example", Some(FrameOptions)),
            ("X-Frame-Options", "SAMEORIGIN, DENY", Some(FrameOptions)),
            ("X-Frame-Options", "\"DENY\"", Some(FrameOptions)),
            ("X-Frame-Options", "", Some(FrameOptions)),
            ("X-Content-Type-Options", "NoSniff", None),
            ("X-Content-Type-Options", "no-sniff", Some(ContentTypeOptions)),
            ("Referrer-Policy", "no-referrer", None),
            ("Referrer-Policy", "no-referrer, strict-origin-when-cross-origin", None),
            ("Referrer-Policy", "none", referrer(None)),
            ("Referrer-Policy", "no-referer", referrer(Some("no-referrer"))),
            (
                "Referrer-Policy",
                "no-referrer,strict-orgin",
                referrer(Some("strict-origin")),
            ),
            ("Referrer-Policy", "no-referrer,", referrer(None)),
            ("Referrer-Policy", "no-referrer; origin", referrer(None)),
            ("Strict-Transport-Security", "max-age=31536000", None),
            (
                "Strict-Transport-Security",
                "Max-Age=\"0\"; includesubdomains;preload;",
                None,
            ),
            ("Strict-Transport-Security", "includeSubDomains", Some(NoMaxAge)),
            ("Strict-Transport-Security", "max-age", Some(NoMaxAge)),
            ("Strict-Transport-Security", "max-age=", Some(NoMaxAge)),
            ("Strict-Transport-Security", "max-age=1y", Some(NoMaxAge)),
            ("Strict-Transport-Security", "max-age=-1", Some(NoMaxAge)),
            ("Strict-Transport-Security", "max-age: 31536000", Some(NoMaxAge)),
            (
                "Strict-Transport-Security",
                "max-age=31536000, includeSubDomains",
                Some(NoMaxAge),
            ),
            ("Strict-Transport-Security", "31536000", Some(NoMaxAge)),
            ("Strict-Transport-Security", "", Some(NoMaxAge)),
            (
                "Strict-Transport-Security",
                "max-age=1; max-age=2",
                Some(TransportSecurity),
            ),
            (
                "Strict-Transport-Security",
                "max-age=1; includeSubDomain",
                Some(TransportSecurity),
            ),
            (
                "Strict-Transport-Security",
                "max-age=1; includeSubDomains=true",
                Some(TransportSecurity),
            ),
            (
                "Strict-Transport-Security",
                "max-age=1 includeSubDomains",
                Some(NoMaxAge),
            ),
            (
                "Permissions-Policy",
                "camera=(), geolocation=(self \"https://a.example\"), fullscreen=*",
                None,
            ),
            ("Permissions-Policy", "camera=self", None),
            (
                "Permissions-Policy",
                "camera 'none'; microphone 'none'",
                Some(PermissionsPolicy),
            ),
            ("Permissions-Policy", "camera=('self')", Some(PermissionsPolicy)),
            (
                "Permissions-Policy",
                "camera=(); microphone=()",
                Some(PermissionsPolicy),
            ),
            ("Permissions-Policy", "camera=(https://a.example)", Some(Allowlist)),
            ("Permissions-Policy", "camera=none", Some(Allowlist)),
            ("Permissions-Policy", "camera", Some(Allowlist)),
            (
                "Permissions-Policy-Report-Only",
                "camera 'none'",
                Some(PermissionsPolicy),
            ),
            ("Cross-Origin-Resource-Policy", "same-site", None),
            ("Cross-Origin-Resource-Policy", "Same-Site", Some(ResourcePolicy)),
            ("Cross-Origin-Resource-Policy", "*", Some(ResourcePolicy)),
            ("Cross-Origin-Opener-Policy", "same-origin; report-to=\"coop\"", None),
            ("Cross-Origin-Opener-Policy", "noopener-allow-popups", None),
            ("Cross-Origin-Opener-Policy", "same-site", Some(OpenerPolicy)),
            ("Cross-Origin-Opener-Policy", "\"same-origin\"", Some(OpenerPolicy)),
            (
                "Cross-Origin-Opener-Policy-Report-Only",
                "Same-Origin",
                Some(OpenerPolicy),
            ),
            ("Cross-Origin-Embedder-Policy", "credentialless", None),
            (
                "Cross-Origin-Embedder-Policy",
                "require-corp, credentialless",
                Some(EmbedderPolicy),
            ),
            (
                "Cross-Origin-Embedder-Policy-Report-Only",
                "require_corp",
                Some(EmbedderPolicy),
            ),
        ] {
            let expected: Vec<Message> = warning.iter().map(DiagnosticKind::message).collect();
            assert_eq!(found(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn names_that_no_browser_knows() {
        for (name, expected) in [
            ("Referer-Policy", Some("Referrer-Policy")),
            ("Referrers-Policy", Some("Referrer-Policy")),
            ("X-Frame-Option", Some("X-Frame-Options")),
            ("Frame-Options", Some("X-Frame-Options")),
            ("X_Frame_Options", Some("X-Frame-Options")),
            ("X-ContentType-Options", Some("X-Content-Type-Options")),
            ("Content-Security-Police", Some("Content-Security-Policy")),
            ("X-Content-Security-Policy", Some("Content-Security-Policy")),
            ("Permission-Policy", Some("Permissions-Policy")),
            ("Strict-Transport-Securty", Some("Strict-Transport-Security")),
            ("Cross-Origin-Resources-Policy", Some("Cross-Origin-Resource-Policy")),
            ("X-Request-Id", None),
            ("Cache-Control", None),
            ("Content-Type", None),
            ("Feature-Policy", None),
            ("Document-Policy", None),
            ("Integrity-Policy", None),
            ("X-Download-Options", None),
            ("X-A", None),
            ("Origin-Agent-Cluster", None),
            ("Reporting-Endpoints", None),
            ("X-XSS-Protection", None),
        ] {
            let expected: Vec<Message> = expected
                .map(|meant| HeaderWarning::Misspelt { meant }.message())
                .into_iter()
                .collect();
            assert_eq!(found(name, "a"), expected, "{name}");
        }
    }
}
