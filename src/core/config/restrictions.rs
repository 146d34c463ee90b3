//! The fields that keys and `anonymous` share: from where, for what and how often a request may come.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::index::IndexPattern;
#[cfg(feature = "schema")]
use super::json_schema;
use super::network::Network;
use super::node::Node;
use super::origin::OriginPattern;
use super::read::{Fields, Read, choice, whole_number};
use super::upstream_headers::{UpstreamHeader, read_headers};

/// The fields that keys and `anonymous` share.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct Restrictions<'a> {
    /// `false` disables it without removing it.
    pub enabled: bool,
    /// Empty: the origin is not checked.
    pub allowed_origins: Vec<OriginPattern>,
    /// What happens to a request whose origin is not listed.
    pub origin_check: OriginCheck,
    /// Empty: the address is not checked.
    pub allowed_ips: Vec<Network>,
    /// The names of scopes. Without this field: any method and path.
    pub scopes: Option<Vec<Cow<'a, str>>>,
    /// The indexes that may be used. Without this field: any index.
    pub indexes: Option<Vec<IndexPattern<'a>>>,
    /// The number of requests in any 60 seconds, from 1. Without this field: no limit.
    pub rate_limit_per_minute: Option<u32>,
    /// The number of requests of each client in any 60 seconds, from 1. Without this field: no limit.
    pub rate_limit_per_minute_per_client: Option<u32>,
    /// Headers to set for the upstream, of the names in `upstream_header_names`.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "std::collections::BTreeMap<String, UpstreamHeader>")
    )]
    pub upstream_headers: Vec<UpstreamHeader<'a>>,
    /// Without this field: as for the whole policy.
    pub enforcement: Option<Enforcement>,
}

/// How `allowed_origins` is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum OriginCheck {
    /// A request without a listed origin is refused.
    Required,
    /// As `required`. A request without `Origin`, or with `null`, passes too if the browser marks it as same-origin and the origin of
    /// its own URL is listed.
    RequiredOrSameOrigin,
    /// A request with an origin that is not listed is refused.
    IfPresent,
    /// Nothing is refused; browsers keep the response from pages that are not listed.
    CorsOnly,
}

/// Whether requests are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum Enforcement {
    /// Requests that the policy does not allow are refused.
    Enforce,
    /// Requests that the policy does not allow pass. They are counted and logged.
    Report,
}

impl<'a> Read<'a> for OriginCheck {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const NAMES: [&str; 4] = ["required", "required_or_same_origin", "if_present", "cors_only"];
        const VALUES: [OriginCheck; 4] = [
            OriginCheck::Required,
            OriginCheck::RequiredOrSameOrigin,
            OriginCheck::IfPresent,
            OriginCheck::CorsOnly,
        ];
        choice(node, &NAMES, &VALUES, path, diagnostics)
    }
}

impl<'a> Read<'a> for Enforcement {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const VALUES: [Enforcement; 2] = [Enforcement::Enforce, Enforcement::Report];
        choice(node, &["enforce", "report"], &VALUES, path, diagnostics)
    }
}

enum RestrictionsDiagnostic {
    /// `name` has a control character or a line break.
    ControlCharacter,
    /// A limit is not a whole number in the range.
    Limit,
    /// `rate_limit_per_minute_per_client` is not below `rate_limit_per_minute`.
    ClientLimitNotBelowLimit,
    /// A pattern of the developer's own machine in the same list as a public site's.
    LoopbackBesidePublic,
    /// `indexes` without `scopes`.
    IndexesWithoutScopes,
}

impl DiagnosticKind for RestrictionsDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::ControlCharacter => Message::error(
                "a name must not contain control characters or line breaks",
                "write it on one line, without them",
            ),
            Self::Limit => Message::error(
                "a limit must be a whole number from 1 to 4294967295",
                "write a whole number, or leave the field out for no limit",
            ),
            Self::ClientLimitNotBelowLimit => Message::warning(
                "no client reaches it before rate_limit_per_minute is used up, so it protects the others from none",
                "write less than rate_limit_per_minute, or leave one of the two out",
            ),
            Self::LoopbackBesidePublic => Message::warning(
                "pages on anybody's own machine can use the key of the public site, and its limits",
                "keep development in a key of its own",
            ),
            Self::IndexesWithoutScopes => Message::warning(
                "only a scope's rule says where in the path the index is, so every request is refused",
                "give the key scopes whose rules have {index}",
            ),
        }
    }
}

/// Checks `name`, which is for people only. Without line breaks and control characters it cannot forge a line of a log.
fn check_name(fields: &mut Fields<'_, '_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let name: Option<Cow<'_, str>> = fields.take("name", diagnostics);
    if let Some(name) = name
        && name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        diagnostics.add(
            &path.field("name"),
            &Node::Text(name),
            &RestrictionsDiagnostic::ControlCharacter,
        );
    }
}

fn read_limit(
    name: &'static str,
    fields: &mut Fields<'_, '_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<u32> {
    let node = fields.node(name, diagnostics)?;
    let limit = whole_number(&node).filter(|&limit| limit > 0);
    if limit.is_none() {
        diagnostics.add(&path.field(name), &node, &RestrictionsDiagnostic::Limit);
    }
    limit
}

/// Whether the pattern is an `http:` or `https:` one for the developer's own machine. `https://localhost` is not: apps on Capacitor
/// send it as their public origin.
fn is_for_development(pattern: &OriginPattern) -> bool {
    match pattern {
        OriginPattern::Tuple(tuple) if is_web_scheme(&tuple.scheme) => {
            tuple.is_loopback() && pattern.to_string() != "https://localhost"
        }
        _ => false,
    }
}

/// Whether the pattern is a public web site's.
fn is_public(pattern: &OriginPattern) -> bool {
    matches!(pattern, OriginPattern::Tuple(tuple) if is_web_scheme(&tuple.scheme) && !tuple.is_loopback())
}

fn is_web_scheme(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

fn read_origins(
    fields: &mut Fields<'_, '_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<OriginPattern> {
    let errors_before = diagnostics.error_count();
    let patterns: Vec<OriginPattern> = fields.take("allowed_origins", diagnostics).unwrap_or_default();
    let list = path.field("allowed_origins");
    // If one could not be read, the indexes of the others are not those of the configuration.
    if diagnostics.error_count() == errors_before && patterns.iter().any(is_public) {
        let loopback = patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| is_for_development(pattern));
        for (index, pattern) in loopback {
            diagnostics.add(
                &list.item(index),
                &format_args!("\"{pattern}\""),
                &RestrictionsDiagnostic::LoopbackBesidePublic,
            );
        }
    }
    patterns
}

const CLIENT_LIMIT: &str = "rate_limit_per_minute_per_client";

/// Takes and reads the fields that keys and `anonymous` share. `path` is that of the key or of `anonymous`.
pub fn read_restrictions<'a>(
    fields: &mut Fields<'a, '_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Restrictions<'a> {
    check_name(fields, path, diagnostics);
    let restrictions = Restrictions {
        enabled: fields.take("enabled", diagnostics).unwrap_or(true),
        allowed_origins: read_origins(fields, path, diagnostics),
        origin_check: fields
            .take("origin_check", diagnostics)
            .unwrap_or(OriginCheck::Required),
        allowed_ips: fields.take("allowed_ips", diagnostics).unwrap_or_default(),
        scopes: fields.take("scopes", diagnostics),
        indexes: fields.take("indexes", diagnostics),
        rate_limit_per_minute: read_limit("rate_limit_per_minute", fields, path, diagnostics),
        rate_limit_per_minute_per_client: read_limit(CLIENT_LIMIT, fields, path, diagnostics),
        upstream_headers: fields
            .node("upstream_headers", diagnostics)
            .map(|node| read_headers(node, &path.field("upstream_headers"), diagnostics))
            .unwrap_or_default(),
        enforcement: fields.take("enforcement", diagnostics),
    };
    if restrictions.indexes.is_some() && restrictions.scopes.is_none() {
        diagnostics.add_bare(&path.field("indexes"), &RestrictionsDiagnostic::IndexesWithoutScopes);
    }
    if let Some(client_limit) = restrictions.rate_limit_per_minute_per_client
        && restrictions
            .rate_limit_per_minute
            .is_some_and(|limit| client_limit >= limit)
    {
        diagnostics.add(
            &path.field(CLIENT_LIMIT),
            &client_limit,
            &RestrictionsDiagnostic::ClientLimitNotBelowLimit,
        );
    }
    restrictions
}

/// Completes the derived schema of `anonymous`, and of what keys share with it.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    json_schema::optional_fields(schema);
    if let Some(properties) = json_schema::properties(schema) {
        // Without control characters (C0, DEL, C1) and line breaks.
        let one_line = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029]*$";
        properties.insert(
            "name".into(),
            serde_json::json!({"type": "string", "description": "For people.", "pattern": one_line}),
        );
        for name in ["rate_limit_per_minute", CLIENT_LIMIT] {
            if let Some(limit) = properties.get_mut(name) {
                limit["minimum"] = 1.into();
            }
        }
    }
}
