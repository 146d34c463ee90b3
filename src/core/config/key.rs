//! The entries of `keys`.

use std::borrow::Cow;

use super::api_key::{ApiKeyEntry, read_entries};
use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema;
use super::node::Node;
use super::read::{Fields, Read, choice};
use super::restrictions::read_restrictions;
use super::scoped_tokens::{ScopedTokens, read_scoped_tokens};
use super::timestamp::Timestamp;
use super::token::is_identifier;
use super::validity::{self, check_expiry};

pub use super::key_context::KeyContext;
pub use super::restrictions::{Enforcement, OriginCheck, Restrictions};

/// One entry of `keys`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct Key<'a> {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub id: Cow<'a, str>,
    /// One entry or several, the newest first. Each is valid, so that a key can be rotated. Without this field, only scoped
    /// tokens work.
    #[cfg_attr(
        feature = "schema",
        schemars(rename = "api_key", with = "super::api_key::ApiKeyEntries")
    )]
    pub entries: Vec<ApiKeyEntry<'a>>,
    /// Whether the key may be public.
    pub kind: Kind,
    /// The key is refused before this time.
    pub not_before: Option<Timestamp>,
    /// The key is refused from this time on.
    pub expires_at: Option<Timestamp>,
    /// What verifies tokens that are narrowed from the key. Without this field there are none.
    pub scoped_tokens: Option<ScopedTokens>,
    /// From where, for what and how often it may be used.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub restrictions: Restrictions<'a>,
}

/// Whether a key may be public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum Kind {
    /// The key is public: it may be in the code of a web page or an app.
    Publishable,
    /// The key stays on servers. Requests of browsers with it are refused.
    Secret,
}

impl<'a> Read<'a> for Kind {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const VALUES: [Kind; 2] = [Kind::Publishable, Kind::Secret];
        choice(node, &["publishable", "secret"], &VALUES, path, diagnostics)
    }
}

enum KeyDiagnostic {
    /// `id` has another length, or another character.
    Id,
    /// A secret key has `allowed_origins`.
    SecretWithOrigins,
    /// A publishable key has no `allowed_origins`.
    NoOrigins,
}

impl DiagnosticKind for KeyDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::Id => Message::error(
                "an id must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
                "use only these characters",
            ),
            Self::SecretWithOrigins => Message::error(
                "a secret key is never used from a browser, so it must not have origins",
                r#"make it "publishable", or take allowed_origins out"#,
            ),
            Self::NoOrigins => Message::warning(
                "requests of every page are let through with a publishable key without origins, even if the page cannot read the response",
                r#"list allowed_origins, or make the key "secret""#,
            ),
        }
    }
}

fn read_id<'a>(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Cow<'a, str>> {
    let id: Cow<'a, str> = Cow::read(node, path, diagnostics)?;
    if !is_identifier(&id) {
        diagnostics.add(path, &Node::Text(id), &KeyDiagnostic::Id);
        return None;
    }
    Some(id)
}

/// Reads one entry of `keys`, which is at `path`. Returns `None` if it has no usable `id`, or nothing that a request could present.
pub fn read_key<'a>(
    node: Node<'a>,
    context: KeyContext<'_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Key<'a>> {
    let errors_before = diagnostics.error_count();
    let mut fields = Fields::of(node, path, diagnostics)?;
    let id = fields
        .require("id", diagnostics)
        .and_then(|node| read_id(node, &path.field("id"), diagnostics));
    let not_before: Option<Timestamp> = fields.take("not_before", diagnostics);
    let scoped_tokens = fields.node("scoped_tokens", diagnostics);
    let api_key = match &scoped_tokens {
        Some(_) => fields.node("api_key", diagnostics),
        None => fields.require("api_key", diagnostics),
    };
    let entries = api_key.map(|node| read_entries(node, context, not_before, &path.field("api_key"), diagnostics));
    let is_complete = entries.is_some() || scoped_tokens.is_some();
    let scoped_tokens = scoped_tokens.and_then(|node| {
        let path = path.field("scoped_tokens");
        read_scoped_tokens(node, context.has_identity_header, &path, diagnostics)
    });
    let kind = fields.take("kind", diagnostics).unwrap_or(Kind::Publishable);
    let expires_at: Option<Timestamp> = fields.take("expires_at", diagnostics);
    let restrictions = read_restrictions(&mut fields, path, diagnostics);
    fields.finish(diagnostics);

    if let Some(end) = expires_at {
        let at = path.field("expires_at");
        check_expiry(validity::Subject::Key, not_before, end, context.now, &at, diagnostics);
    }
    match (kind, restrictions.allowed_origins.is_empty()) {
        (Kind::Secret, false) => {
            diagnostics.add_bare(&path.field("allowed_origins"), &KeyDiagnostic::SecretWithOrigins)
        }
        // After an error the list may be empty because it could not be read.
        (Kind::Publishable, true) if diagnostics.error_count() == errors_before => {
            diagnostics.add_bare(path, &KeyDiagnostic::NoOrigins)
        }
        _ => {}
    }
    Some(Key {
        id: id.filter(|_| is_complete)?,
        entries: entries.unwrap_or_default(),
        kind,
        not_before,
        expires_at,
        scoped_tokens,
        restrictions,
    })
}

/// Completes the derived schema of an entry of `keys`.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    json_schema::optional_fields(schema);
    schema.insert("required".into(), serde_json::json!(["id"]));
    let either = serde_json::json!([{"required": ["api_key"]}, {"required": ["scoped_tokens"]}]);
    schema.insert("anyOf".into(), either);
    if let Some(id) = json_schema::properties(schema).and_then(|properties| properties.get_mut("id")) {
        id["pattern"] = json_schema::IDENTIFIER.into();
    }
}
