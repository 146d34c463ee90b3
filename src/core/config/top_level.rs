//! The top-level fields of a configuration, except `keys`.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::cors::Cors;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema;
use super::key_source::{KeySource, read_key_sources};
use super::keys_from::KeysFrom;
use super::node::Node;
use super::read::{Fields, Read, choice};
use super::restrictions::{Enforcement, Restrictions, read_restrictions};
use super::scope::{Scope, read_scopes};
use super::security_headers::SecurityHeaders;
use super::token::{FILTER_HEADER, HeaderName, NameError, SUBJECT_HEADER};
#[cfg(feature = "schema")]
use super::upstream_headers::MAX_NAMES;
use super::upstream_headers::read_names;

/// The top-level fields except `keys`, with defaults for those that the operator left out.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct Config<'a> {
    /// Where a request may carry its key. At least one; no two find the same key.
    pub key_sources: Vec<KeySource>,
    /// The feed of keys, beside or instead of `keys`. Without this field, `keys` has all of them.
    pub keys_from: Option<KeysFrom>,
    /// The policy for requests without a key. Without this field they are refused.
    pub anonymous: Option<Restrictions<'a>>,
    /// Sets of rules, by the name that keys refer to.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "std::collections::BTreeMap<String, Vec<super::scope::Rule>>")
    )]
    pub scopes: Vec<Scope>,
    /// The values of the CORS response headers.
    pub cors: Cors,
    /// The headers that every response carries.
    pub security_headers: SecurityHeaders,
    /// Which client addresses of Envoy are trusted.
    pub client_ip: ClientIp,
    /// The header that tells the upstream the id of the key; `null` for none.
    pub identity_header: Option<HeaderName>,
    /// The headers that keys may set for the upstream. No two read as the same, and none as `identity_header` or a key's header.
    pub upstream_header_names: Vec<HeaderName>,
    /// Whether the upstream gets the API key itself.
    pub forward_api_key: bool,
    /// Whether requests are refused, unless a key says otherwise.
    pub enforcement: Enforcement,
    /// The page that explains errors: an absolute URL without a fragment.
    pub docs_url: Option<String>,
}

/// Which client addresses are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum ClientIp {
    /// The address of the connection, or of the PROXY protocol.
    Peer,
    /// The address that Envoy took from a header. Without one, Envoy gives the address of the connection, which is the proxy's: it is not
    /// trusted.
    Forwarded,
    /// Both: for listeners that clients also call directly.
    ForwardedOrPeer,
}

impl<'a> Read<'a> for ClientIp {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const NAMES: [&str; 3] = ["peer", "forwarded", "forwarded_or_peer"];
        const VALUES: [ClientIp; 3] = [ClientIp::Peer, ClientIp::Forwarded, ClientIp::ForwardedOrPeer];
        choice(node, &NAMES, &VALUES, path, diagnostics)
    }
}

/// Reads the top-level fields, except `keys`, of the whole configuration.
pub fn read_config<'a>(mut fields: Fields<'a, '_>, diagnostics: &mut Diagnostics) -> Config<'a> {
    let path = ConfigPath::ROOT;
    // Editors find the JSON Schema there.
    let _: Option<Cow<'a, str>> = fields.take("$schema", diagnostics);
    // The keys are read on their own. The field is taken here so that it is known, also as what a misspelt name may mean.
    let _ = fields.node("keys", diagnostics);
    let forward_api_key = fields.take("forward_api_key", diagnostics).unwrap_or(true);
    let key_sources = fields
        .node("key_sources", diagnostics)
        .map(|node| read_key_sources(node, forward_api_key, &path.field("key_sources"), diagnostics));
    let keys_from = fields.node("keys_from", diagnostics);
    let has_feed = keys_from.is_some();
    let keys_from = keys_from.and_then(|node| KeysFrom::read(node, &path.field("keys_from"), diagnostics));
    let anonymous = fields
        .node("anonymous", diagnostics)
        .and_then(|node| read_anonymous(node, &path.field("anonymous"), diagnostics));
    let scopes = fields
        .node("scopes", diagnostics)
        .map(|node| read_scopes(node, &path.field("scopes"), diagnostics));
    let identity_header = fields.node("identity_header", diagnostics);
    let is_identity_off = identity_header == Some(Node::Null);
    let identity_header = match identity_header {
        None => Some(HeaderName("X-Key-Id".into())),
        Some(Node::Null) => None,
        Some(node) => read_identity_header(node, &path.field("identity_header"), diagnostics),
    };
    if has_feed && is_identity_off {
        diagnostics.add_bare(&path.field("keys_from"), &FeedWithoutIdentity);
    }
    let key_sources = key_sources.unwrap_or_else(KeySource::by_default);
    let upstream_header_names = fields.node("upstream_header_names", diagnostics).map(|node| {
        let identity_header = identity_header.as_ref().map(|header| header.0.as_str());
        let path = path.field("upstream_header_names");
        read_names(node, identity_header, &key_sources, &path, diagnostics)
    });
    let config = Config {
        key_sources,
        keys_from,
        anonymous,
        scopes: scopes.unwrap_or_default(),
        cors: fields.take("cors", diagnostics).unwrap_or_default(),
        security_headers: fields
            .take("security_headers", diagnostics)
            .unwrap_or_else(SecurityHeaders::by_default),
        client_ip: fields.take("client_ip", diagnostics).unwrap_or(ClientIp::Peer),
        identity_header,
        upstream_header_names: upstream_header_names.unwrap_or_default(),
        forward_api_key,
        enforcement: fields.take("enforcement", diagnostics).unwrap_or(Enforcement::Enforce),
        docs_url: fields
            .node("docs_url", diagnostics)
            .and_then(|node| read_docs_url(node, &path.field("docs_url"), diagnostics)),
    };
    fields.finish(diagnostics);
    if let Some(HeaderName(name)) = &config.identity_header
        && config
            .key_sources
            .iter()
            .filter_map(KeySource::header)
            .any(|header| header.equals_ignoring_separators(name))
    {
        let at = path.field("identity_header");
        diagnostics.add(&at, &format_args!("{name:?}"), &NameError::ReservedHeader);
    }
    let is_of_token = |source: &&KeySource| {
        let header = source.header();
        header.is_some_and(|header| {
            [FILTER_HEADER, SUBJECT_HEADER]
                .iter()
                .any(|name| header.equals_ignoring_separators(name))
        })
    };
    if let Some(source) = config.key_sources.iter().find(is_of_token) {
        let at = path.field("key_sources");
        diagnostics.add(&at, &format_args!("\"{source}\""), &NameError::ReservedHeader);
    }
    config
}

fn read_anonymous<'a>(
    node: Node<'a>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Restrictions<'a>> {
    let mut fields = Fields::of(node, path, diagnostics)?;
    let restrictions = read_restrictions(&mut fields, path, diagnostics);
    fields.finish(diagnostics);
    Some(restrictions)
}

fn read_identity_header(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<HeaderName> {
    let name = HeaderName::read(node, path, diagnostics)?;
    if name.is_reserved() {
        diagnostics.add(path, &Node::Text(name.0.into()), &NameError::ReservedHeader);
        return None;
    }
    Some(name)
}

fn read_docs_url(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let url = String::read(node, path, diagnostics)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = url
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'\\' | b'<' | b'>'));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || !plain {
        diagnostics.add(path, &Node::Text(url.into()), &InvalidDocsUrl);
        return None;
    }
    Some(url)
}

/// `keys_from`, whose keys may have scoped tokens, while the upstream is not told the id of the key.
struct FeedWithoutIdentity;

impl DiagnosticKind for FeedWithoutIdentity {
    fn message(&self) -> Message {
        Message::error(
            "keys of the feed may have scoped tokens, and an upstream that filters by these must know the key, but identity_header is null",
            "give identity_header a name, or leave it out",
        )
    }
}

struct InvalidDocsUrl;

impl DiagnosticKind for InvalidDocsUrl {
    fn message(&self) -> Message {
        Message::error(
            "must be an absolute http or https URL without a fragment",
            r#"write it as in "https://docs.example.com/errors""#,
        )
    }
}

/// Completes the derived schema of the top-level fields.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    json_schema::optional_fields(schema);
    if let Some(properties) = json_schema::properties(schema) {
        if let Some(sources) = properties.get_mut("key_sources") {
            sources["minItems"] = 1.into();
        }
        if let Some(header) = properties.get_mut("identity_header") {
            header["type"] = serde_json::json!(["string", "null"]);
        }
        if let Some(names) = properties.get_mut("upstream_header_names") {
            names["maxItems"] = MAX_NAMES.into();
        }
    }
}
