//! `keys[]` and `anonymous`.

use std::borrow::Cow;

use super::api_key::ApiKey;
use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::index::IndexPattern;
use super::key_source::KeySource;
use super::network::Network;
use super::node::Node;
use super::origin::{HostPattern, OriginPattern};
use super::raw_key;
use super::read::{Fields, Read, choice, whole_number, wrong_type_unshown};
use super::timestamp::Timestamp;

/// One entry of `keys`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_key)
)]
pub struct Key<'a> {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: Cow<'a, str>,
    /// Each is valid, so that a key can be rotated. Not empty.
    #[cfg_attr(feature = "schema", schemars(rename = "api_key", with = "super::schema::ApiKeys"))]
    pub api_keys: Vec<ApiKey>,
    /// Where the key may be seen.
    pub kind: Kind,
    /// The key is refused from then on back, if any.
    pub not_before: Option<Timestamp>,
    /// The key is refused from then on, if any.
    pub expires_at: Option<Timestamp>,
    /// From where, for what and how often it may be used.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub access: Restrictions<'a>,
}

/// What reading a key depends on beside the key itself.
#[derive(Debug, Clone, Copy)]
pub struct KeyContext<'c> {
    /// Tells which keys have expired, or soon will; for warnings only.
    pub now: Timestamp,
    /// Where requests carry the key.
    pub sources: &'c [KeySource],
}

/// What `anonymous` and every key have in common.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_access)
)]
pub struct Restrictions<'a> {
    /// `false` switches it off without taking it out.
    pub enabled: bool,
    /// Empty: the origin is not checked.
    pub allowed_origins: Vec<OriginPattern>,
    /// What happens to a request whose origin is not listed.
    pub origin_check: OriginCheck,
    /// Empty: the address is not checked.
    pub allowed_ips: Vec<Network>,
    /// Names of scopes; left out: any method and path.
    pub scopes: Option<Vec<Cow<'a, str>>>,
    /// Left out: any index.
    pub indexes: Option<Vec<IndexPattern<'a>>>,
    /// Requests in any 60 seconds, from 1; left out: no limit.
    pub rate_limit_per_minute: Option<u32>,
    /// Left out: what the whole policy says.
    pub enforcement: Option<Enforcement>,
}

/// Whether a key is made to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum Kind {
    /// It stands in browser code.
    Publishable,
    /// It stays on servers, and is refused from a browser.
    Secret,
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
    /// As `required`, but a request of which the browser says that it is same-origin, and whose `Origin` is missing or `null`, counts as
    /// from its own URL's origin.
    RequiredOrSameOrigin,
    /// A request with an origin that is not listed is refused.
    IfPresent,
    /// Nothing is refused; browsers keep the response from pages that are not listed.
    CorsOnly,
}

/// Whether the policy's verdicts take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum Enforcement {
    /// They take effect.
    Enforce,
    /// They are counted and logged only.
    Report,
}

impl<'a> Read<'a> for Kind {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const VALUES: [Kind; 2] = [Kind::Publishable, Kind::Secret];
        choice(node, &["publishable", "secret"], &VALUES, place, diagnostics)
    }
}

impl<'a> Read<'a> for OriginCheck {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const NAMES: [&str; 4] = ["required", "required_or_same_origin", "if_present", "cors_only"];
        const VALUES: [OriginCheck; 4] = [
            OriginCheck::Required,
            OriginCheck::RequiredOrSameOrigin,
            OriginCheck::IfPresent,
            OriginCheck::CorsOnly,
        ];
        choice(node, &NAMES, &VALUES, place, diagnostics)
    }
}

impl<'a> Read<'a> for Enforcement {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const VALUES: [Enforcement; 2] = [Enforcement::Enforce, Enforcement::Report];
        choice(node, &["enforce", "report"], &VALUES, place, diagnostics)
    }
}

impl<'a> Read<'a> for OriginPattern {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, place, diagnostics)?;
        let pattern = match OriginPattern::parse(&text) {
            Ok(pattern) => pattern,
            Err(error) => {
                diagnostics.add(place, &Node::Text(text), DiagnosticKind::Origin(error));
                return None;
            }
        };
        let doubt = match &pattern {
            OriginPattern::Any => Some(DiagnosticKind::AnyOrigin),
            OriginPattern::Null => Some(DiagnosticKind::NullOrigin),
            OriginPattern::Tuple(tuple) if tuple.hosts == HostPattern::Any => Some(DiagnosticKind::AnyHostOrigin),
            OriginPattern::Tuple(tuple) if tuple.scheme.eq_ignore_ascii_case("file") => {
                Some(DiagnosticKind::FileOrigin)
            }
            OriginPattern::Tuple(tuple) if matches!(&*tuple.scheme, "ws" | "wss") => {
                Some(DiagnosticKind::WebSocketOrigin)
            }
            OriginPattern::Tuple(tuple) if tuple.has_tail() => Some(DiagnosticKind::OriginWithTail),
            OriginPattern::Tuple(tuple) => {
                (tuple.scheme == "http" && !tuple.is_loopback()).then_some(DiagnosticKind::PlainHttpOrigin)
            }
        };
        if let Some(problem) = doubt {
            diagnostics.add(place, &Node::Text(text), problem);
        }
        Some(pattern)
    }
}

impl<'a> Read<'a> for Network {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, place, diagnostics)?;
        match Network::parse(&text) {
            Ok(network) => {
                if network.is_everything() {
                    diagnostics.add(place, &network, DiagnosticKind::EveryAddress);
                }
                Some(network)
            }
            Err(error) => {
                diagnostics.add(place, &Node::Text(text), DiagnosticKind::Network(error));
                None
            }
        }
    }
}

impl<'a> Read<'a> for Timestamp {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = Cow::read(node, place, diagnostics)?;
        let parsed = Timestamp::parse(&text);
        if parsed.is_none() {
            diagnostics.add(place, &Node::Text(text), DiagnosticKind::BadTimestamp);
        }
        parsed
    }
}

/// A raw key's length is shown in place of the key. One of digits only, without quotes, is a number and is not shown either.
fn read_api_key(
    node: Node<'_>,
    sources: &[KeySource],
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ApiKey> {
    let Node::Text(text) = node else {
        return wrong_type_unshown(&node, "a string", place, diagnostics);
    };
    let shown = format_args!("({} bytes, not shown)", text.len()).to_string();
    let key = match ApiKey::parse(&text, sources) {
        Ok(key) => key,
        Err(fault) => {
            diagnostics.add(place, &shown, DiagnosticKind::ApiKey(fault));
            return None;
        }
    };
    if key.raw_length.is_some() {
        // To hash what is a digest already would help nobody.
        let problem = if raw_key::is_bare_digest(&text) {
            DiagnosticKind::BareDigest
        } else {
            DiagnosticKind::RawApiKey
        };
        diagnostics.add(place, &shown, problem);
        for problem in raw_key::doubts(&text, sources) {
            diagnostics.add(place, &shown, problem);
        }
    }
    Some(key)
}

/// One key or a list of them.
fn read_api_keys(
    node: Node<'_>,
    sources: &[KeySource],
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<ApiKey> {
    match node {
        Node::List(items) if items.is_empty() => {
            diagnostics.add(place, &"[]", DiagnosticKind::ApiKey(super::api_key::ApiKeyError::Empty));
            Vec::new()
        }
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            items
                .filter_map(|(index, item)| read_api_key(item, sources, &place.item(index), diagnostics))
                .collect()
        }
        Node::Text(_) => read_api_key(node, sources, place, diagnostics).into_iter().collect(),
        other => wrong_type_unshown(&other, "a string or a list of strings", place, diagnostics).unwrap_or_default(),
    }
}

fn read_id<'a>(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Cow<'a, str>> {
    let id: Cow<'a, str> = Cow::read(node, place, diagnostics)?;
    let well_formed = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !well_formed {
        diagnostics.add(place, &Node::Text(id), DiagnosticKind::IllFormedId);
        return None;
    }
    Some(id)
}

/// `name` is for people only. On one line and without control characters, it cannot forge a line wherever it is shown.
fn check_name(fields: &mut Fields<'_, '_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    let name: Option<Cow<'_, str>> = fields.take("name", diagnostics);
    if let Some(name) = name
        && name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        diagnostics.add(
            &place.field("name"),
            &Node::Text(name),
            DiagnosticKind::ControlCharacter,
        );
    }
}

fn read_limit(fields: &mut Fields<'_, '_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let name = "rate_limit_per_minute";
    let node = fields.node(name, diagnostics)?;
    let limit = whole_number(&node).filter(|&limit| limit > 0);
    if limit.is_none() {
        diagnostics.add(&place.field(name), &node, DiagnosticKind::BadLimit);
    }
    limit
}

/// An `http:` or `https:` pattern of this machine alone. Apps on Capacitor send `https://localhost`, which is their public origin.
fn is_for_development(pattern: &OriginPattern) -> bool {
    match pattern {
        OriginPattern::Tuple(tuple) if is_of_the_web(&tuple.scheme) => {
            tuple.is_loopback() && pattern.to_string() != "https://localhost"
        }
        _ => false,
    }
}

/// A web site's pattern.
fn is_public(pattern: &OriginPattern) -> bool {
    matches!(pattern, OriginPattern::Tuple(tuple) if is_of_the_web(&tuple.scheme) && !tuple.is_loopback())
}

fn is_of_the_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

fn read_origins(
    fields: &mut Fields<'_, '_>,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<OriginPattern> {
    let errors_before = diagnostics.error_count();
    let patterns: Vec<OriginPattern> = fields.take("allowed_origins", diagnostics).unwrap_or_default();
    let list = place.field("allowed_origins");
    // Where one could not be read, the others are not the items that they seem.
    if diagnostics.error_count() == errors_before && patterns.iter().any(is_public) {
        let loopback = patterns
            .iter()
            .enumerate()
            .filter(|(_, pattern)| is_for_development(pattern));
        for (index, pattern) in loopback {
            diagnostics.add(
                &list.item(index),
                &format_args!("\"{pattern}\""),
                DiagnosticKind::LoopbackBesidePublic,
            );
        }
    }
    patterns
}

/// The fields that a key shares with `anonymous`, where each may be left out.
pub fn read_access<'a>(
    fields: &mut Fields<'a, '_>,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Restrictions<'a> {
    check_name(fields, place, diagnostics);
    let access = Restrictions {
        enabled: fields.take("enabled", diagnostics).unwrap_or(true),
        allowed_origins: read_origins(fields, place, diagnostics),
        origin_check: fields
            .take("origin_check", diagnostics)
            .unwrap_or(OriginCheck::Required),
        allowed_ips: fields.take("allowed_ips", diagnostics).unwrap_or_default(),
        scopes: fields.take("scopes", diagnostics),
        indexes: fields.take("indexes", diagnostics),
        rate_limit_per_minute: read_limit(fields, place, diagnostics),
        enforcement: fields.take("enforcement", diagnostics),
    };
    if access.indexes.is_some() && access.scopes.is_none() {
        diagnostics.add_bare(&place.field("indexes"), DiagnosticKind::IndexesWithoutScopes);
    }
    access
}

/// Reads one entry of `keys`.
pub fn read_key<'a>(
    node: Node<'a>,
    context: KeyContext<'_>,
    place: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Key<'a>> {
    /// Two weeks: enough to make the next key and to bring it to its clients.
    const SOON_SECONDS: i64 = 14 * 86_400;
    let errors_before = diagnostics.error_count();
    let mut fields = Fields::of(node, place, diagnostics)?;
    let id = fields
        .require("id", diagnostics)
        .and_then(|node| read_id(node, &place.field("id"), diagnostics));
    let api_keys = fields
        .require("api_key", diagnostics)
        .map(|node| read_api_keys(node, context.sources, &place.field("api_key"), diagnostics));
    let kind = fields.take("kind", diagnostics).unwrap_or(Kind::Publishable);
    let not_before: Option<Timestamp> = fields.take("not_before", diagnostics);
    let expires_at: Option<Timestamp> = fields.take("expires_at", diagnostics);
    let access = read_access(&mut fields, place, diagnostics);
    fields.finish(diagnostics);

    if let (Some(begin), Some(end)) = (not_before, expires_at)
        && end <= begin
    {
        diagnostics.add_bare(&place.field("expires_at"), DiagnosticKind::ExpiresBeforeItBegins);
    }
    if let Some(end) = expires_at {
        let problem = if end <= context.now {
            Some(DiagnosticKind::ExpiredKey)
        } else {
            let is_soon = end.0.saturating_sub(context.now.0) <= SOON_SECONDS;
            is_soon.then_some(DiagnosticKind::ExpiresSoon)
        };
        if let Some(problem) = problem {
            diagnostics.add(&place.field("expires_at"), &format_args!("\"{end}\""), problem);
        }
    }
    match (kind, access.allowed_origins.is_empty()) {
        (Kind::Secret, false) => {
            diagnostics.add_bare(&place.field("allowed_origins"), DiagnosticKind::SecretWithOrigins)
        }
        // A list that could not be read looks empty here.
        (Kind::Publishable, true) if diagnostics.error_count() == errors_before => {
            diagnostics.add_bare(place, DiagnosticKind::NoOrigins)
        }
        _ => {}
    }
    Some(Key {
        id: id?,
        api_keys: api_keys?,
        kind,
        not_before,
        expires_at,
        access,
    })
}
