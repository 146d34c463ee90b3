//! `keys[]` and `anonymous`.

use std::borrow::Cow;

use super::api_key::ApiKey;
use super::finding::{Findings, Problem};
use super::index::IndexPattern;
use super::network::Network;
use super::node::Node;
use super::origin::{HostPattern, OriginPattern};
use super::place::Place;
use super::read::{Fields, Read, choice, whole_number, wrong_type_unshown};
use super::timestamp::Timestamp;

/// One entry of `keys`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    not(target_family = "wasm"),
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_key)
)]
pub struct Key<'a> {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: Cow<'a, str>,
    /// Each is valid, so that a key can be rotated. Not empty.
    #[cfg_attr(
        not(target_family = "wasm"),
        schemars(rename = "api_key", with = "super::schema::ApiKeys")
    )]
    pub api_keys: Vec<ApiKey>,
    /// Where the key may be seen.
    pub kind: Kind,
    /// The key is refused from then on back, if any.
    pub not_before: Option<Timestamp>,
    /// The key is refused from then on, if any.
    pub expires_at: Option<Timestamp>,
    /// From where, for what and how often it may be used.
    #[cfg_attr(not(target_family = "wasm"), schemars(flatten))]
    pub access: Access<'a>,
}

/// What `anonymous` and every key have in common.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    not(target_family = "wasm"),
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_access)
)]
pub struct Access<'a> {
    /// `false` switches it off without taking it out.
    pub enabled: bool,
    /// Empty: the origin is not checked.
    pub allowed_origins: Vec<OriginPattern>,
    /// What becomes of a request whose origin is not listed.
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
    not(target_family = "wasm"),
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
    not(target_family = "wasm"),
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum OriginCheck {
    /// A request without a listed origin is refused.
    Required,
    /// As `required`, but a request without `Origin` of which the browser says that it is same-origin counts as from its own URL's
    /// origin.
    RequiredOrSameOrigin,
    /// A request with an origin that is not listed is refused.
    IfPresent,
    /// Nothing is refused; browsers keep the response from pages that are not listed.
    CorsOnly,
}

/// Whether the policy's verdicts take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(target_family = "wasm"),
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
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        const VALUES: [Kind; 2] = [Kind::Publishable, Kind::Secret];
        choice(node, &["publishable", "secret"], &VALUES, place, findings)
    }
}

impl<'a> Read<'a> for OriginCheck {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        const NAMES: [&str; 4] = ["required", "required_or_same_origin", "if_present", "cors_only"];
        const VALUES: [OriginCheck; 4] = [
            OriginCheck::Required,
            OriginCheck::RequiredOrSameOrigin,
            OriginCheck::IfPresent,
            OriginCheck::CorsOnly,
        ];
        choice(node, &NAMES, &VALUES, place, findings)
    }
}

impl<'a> Read<'a> for Enforcement {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        const VALUES: [Enforcement; 2] = [Enforcement::Enforce, Enforcement::Report];
        choice(node, &["enforce", "report"], &VALUES, place, findings)
    }
}

impl<'a> Read<'a> for OriginPattern {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        let text = Cow::read(node, place, findings)?;
        let pattern = match OriginPattern::parse(&text) {
            Ok(pattern) => pattern,
            Err(error) => {
                findings.add(place, &Node::Text(text), Problem::Origin(error));
                return None;
            }
        };
        let doubt = match &pattern {
            OriginPattern::Any => Some(Problem::AnyOrigin),
            OriginPattern::Null => Some(Problem::NullOrigin),
            OriginPattern::Tuple(tuple) if tuple.hosts == HostPattern::Any => Some(Problem::AnyHostOrigin),
            OriginPattern::Tuple(tuple) if tuple.scheme.eq_ignore_ascii_case("file") => Some(Problem::FileOrigin),
            OriginPattern::Tuple(tuple) if tuple.has_tail() => Some(Problem::OriginWithTail),
            OriginPattern::Tuple(tuple) => {
                (tuple.scheme == "http" && !tuple.is_loopback()).then_some(Problem::PlainHttpOrigin)
            }
        };
        if let Some(problem) = doubt {
            findings.add(place, &Node::Text(text), problem);
        }
        Some(pattern)
    }
}

impl<'a> Read<'a> for Network {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        let text = Cow::read(node, place, findings)?;
        match Network::parse(&text) {
            Ok(network) => {
                if network.is_everything() {
                    findings.add(place, &network, Problem::EveryAddress);
                }
                Some(network)
            }
            Err(error) => {
                findings.add(place, &Node::Text(text), Problem::Network(error));
                None
            }
        }
    }
}

impl<'a> Read<'a> for Timestamp {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        let text = Cow::read(node, place, findings)?;
        let parsed = Timestamp::parse(&text);
        if parsed.is_none() {
            findings.add(place, &Node::Text(text), Problem::BadTimestamp);
        }
        parsed
    }
}

/// A raw key's length is shown in place of the key. One of digits only, without quotes, is a number and is not shown either.
impl<'a> Read<'a> for ApiKey {
    fn read(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Self> {
        /// Under this many bytes a raw key is worth a warning.
        const SHORT: usize = 16;
        let Node::Text(text) = node else {
            return wrong_type_unshown(&node, "a string", place, findings);
        };
        let shown = format_args!("({} bytes, not shown)", text.len()).to_string();
        let key = match ApiKey::parse(&text) {
            Ok(key) => key,
            Err(fault) => {
                findings.add(place, &shown, Problem::ApiKey(fault));
                return None;
            }
        };
        if let Some(bytes) = key.raw_length {
            findings.add(place, &shown, Problem::RawApiKey);
            if bytes < SHORT {
                findings.add(place, &shown, Problem::ShortApiKey { bytes });
            }
        }
        Some(key)
    }
}

/// One key or a list of them.
fn read_api_keys(node: Node<'_>, place: &Place<'_>, findings: &mut Findings) -> Vec<ApiKey> {
    match node {
        Node::List(items) if items.is_empty() => {
            findings.add(place, &"[]", Problem::ApiKey(super::api_key::ApiKeyFault::Empty));
            Vec::new()
        }
        Node::List(_) => Vec::read(node, place, findings).unwrap_or_default(),
        Node::Text(_) => ApiKey::read(node, place, findings).into_iter().collect(),
        other => wrong_type_unshown(&other, "a string or a list of strings", place, findings).unwrap_or_default(),
    }
}

fn read_id<'a>(node: Node<'a>, place: &Place<'_>, findings: &mut Findings) -> Option<Cow<'a, str>> {
    let id: Cow<'a, str> = Cow::read(node, place, findings)?;
    let well_formed = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !well_formed {
        findings.add(place, &Node::Text(id), Problem::IllFormedId);
        return None;
    }
    Some(id)
}

/// `name` is for people only. On one line and without control characters, it cannot forge a line wherever it is shown.
fn check_name(fields: &mut Fields<'_, '_>, place: &Place<'_>, findings: &mut Findings) {
    let name: Option<Cow<'_, str>> = fields.take("name", findings);
    if let Some(name) = name
        && name.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        findings.add(&place.field("name"), &Node::Text(name), Problem::ControlCharacter);
    }
}

fn read_limit(fields: &mut Fields<'_, '_>, place: &Place<'_>, findings: &mut Findings) -> Option<u32> {
    let name = "rate_limit_per_minute";
    let node = fields.node(name, findings)?;
    let limit = whole_number(&node).filter(|&limit| limit > 0);
    if limit.is_none() {
        findings.add(&place.field(name), &node, Problem::BadLimit);
    }
    limit
}

/// The fields that a key shares with `anonymous`, where each may be left out.
pub fn read_access<'a>(fields: &mut Fields<'a, '_>, place: &Place<'_>, findings: &mut Findings) -> Access<'a> {
    check_name(fields, place, findings);
    let access = Access {
        enabled: fields.take("enabled", findings).unwrap_or(true),
        allowed_origins: fields.take("allowed_origins", findings).unwrap_or_default(),
        origin_check: fields.take("origin_check", findings).unwrap_or(OriginCheck::Required),
        allowed_ips: fields.take("allowed_ips", findings).unwrap_or_default(),
        scopes: fields.take("scopes", findings),
        indexes: fields.take("indexes", findings),
        rate_limit_per_minute: read_limit(fields, place, findings),
        enforcement: fields.take("enforcement", findings),
    };
    if access.indexes.is_some() && access.scopes.is_none() {
        findings.add_bare(&place.field("indexes"), Problem::IndexesWithoutScopes);
    }
    access
}

/// Reads one entry of `keys`. `now` tells which keys have expired.
pub fn read_key<'a>(node: Node<'a>, now: Timestamp, place: &Place<'_>, findings: &mut Findings) -> Option<Key<'a>> {
    let errors_before = findings.error_count();
    let mut fields = Fields::of(node, place, findings)?;
    let id = fields
        .require("id", findings)
        .and_then(|node| read_id(node, &place.field("id"), findings));
    let api_keys = fields
        .require("api_key", findings)
        .map(|node| read_api_keys(node, &place.field("api_key"), findings));
    let kind = fields.take("kind", findings).unwrap_or(Kind::Publishable);
    let not_before: Option<Timestamp> = fields.take("not_before", findings);
    let expires_at: Option<Timestamp> = fields.take("expires_at", findings);
    let access = read_access(&mut fields, place, findings);
    fields.finish(findings);

    if let (Some(begin), Some(end)) = (not_before, expires_at)
        && end <= begin
    {
        findings.add_bare(&place.field("expires_at"), Problem::ExpiresBeforeItBegins);
    }
    if expires_at.is_some_and(|end| end <= now) {
        findings.add_bare(&place.field("expires_at"), Problem::ExpiredKey);
    }
    match (kind, access.allowed_origins.is_empty()) {
        (Kind::Secret, false) => findings.add_bare(&place.field("allowed_origins"), Problem::SecretWithOrigins),
        // A list that could not be read looks empty here.
        (Kind::Publishable, true) if findings.error_count() == errors_before => {
            findings.add_bare(place, Problem::NoOrigins)
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
