//! `keys_from`: the feed that keys come from, beside those of the configuration.

use std::borrow::Cow;
use std::fmt;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema;
use super::node::Node;
use super::read::{Fields, Read, whole_number, wrong_type_unshown};

/// The feed that keys come from: an Envoy cluster that is asked with HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct KeysFrom {
    /// The name of the Envoy cluster.
    pub cluster: String,
    /// The host that the requests name.
    pub authority: String,
    /// The path of the requests.
    pub path: String,
    /// The bearer token of the requests. Without `token` and `token_env` they have none.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub token: Option<FeedToken>,
    /// How long the server may wait for a change before it answers, in seconds.
    pub wait_seconds: u32,
    /// Keys of the feed are refused if the last answer is older, in seconds. Without this field they stay in force for as long as the feed
    /// does not answer.
    pub max_stale_seconds: Option<u32>,
}

/// Where the bearer token of the feed's requests comes from.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum FeedToken {
    /// The token itself: for tests.
    Token(String),
    /// The environment variable of the VM with this name, which Envoy's `host_env_keys` or `key_values` sets.
    TokenEnv(String),
}

/// Does not show a token.
impl fmt::Debug for FeedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FeedToken::Token(_) => f.write_str("Token"),
            FeedToken::TokenEnv(name) => write!(f, "TokenEnv({name:?})"),
        }
    }
}

const DEFAULT_AUTHORITY: &str = "keyfence-control";
const DEFAULT_PATH: &str = "/v1/feed";
const DEFAULT_WAIT: u32 = 10;

/// Proxies between the two ends often cut a request that gets no answer for a minute.
const LONGEST_WAIT: u32 = 50;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 4096;

enum KeysFromDiagnostic {
    Cluster,
    Authority,
    Path,
    Wait,
    Stale { least: u32 },
    NotATokenValue,
    NotAVariable,
    TwoTokens,
    TokenInConfiguration,
    NoToken,
}

impl DiagnosticKind for KeysFromDiagnostic {
    fn message(&self) -> Message {
        match self {
            Self::Cluster => Message::error(
                "the name of a cluster must be 1 to 255 visible ASCII characters",
                r#"write the cluster's name in Envoy, as in "keyfence_control" or "outbound|8080||keyfence-control.ns.svc.cluster.local""#,
            ),
            Self::Authority => Message::error(
                "an authority must be a host, or a host and a port",
                r#"write it as in "keyfence-control" or "keyfence-control:8080""#,
            ),
            Self::Path => Message::error(
                "a path must begin with / and have only characters of a URL's path",
                r#"write it as in "/v1/feed""#,
            ),
            Self::Wait => Message::error(
                format!("wait_seconds must be a whole number from 1 to {LONGEST_WAIT}"),
                "write a number of seconds in that range, or leave the field out for 10",
            ),
            Self::Stale { least } => Message::error(
                format!(
                    "max_stale_seconds must be a whole number from {least} to {}: an answer may take wait_seconds + 5",
                    u32::MAX
                ),
                "write more seconds, or leave the field out so that keys stay in force while the feed does not answer",
            ),
            Self::NotATokenValue => Message::error(
                format!(
                    "a bearer token has only letters, digits and -._~+/=, at most {MAX_TOKEN} of them, and = only at its end"
                ),
                "write the token that the control plane gave",
            ),
            Self::NotAVariable => Message::error(
                "the name of an environment variable has only letters, digits and _, and begins with no digit",
                r#"write it as in "KEYFENCE_FEED_TOKEN""#,
            ),
            Self::TwoTokens => Message::error("there are token and token_env", "keep token_env"),
            Self::TokenInConfiguration => Message::warning(
                "whoever can read the configuration can get all keys of the feed with this token",
                r#"put it into an environment variable of Envoy, and name that in "token_env""#,
            ),
            Self::NoToken => Message::warning(
                "the feed is asked without a token, so the control plane would have to give its keys to anybody",
                r#"name the environment variable of a token in "token_env""#,
            ),
        }
    }
}

/// What is wrong with the environment variable that `token_env` names.
pub enum TokenVariableError {
    /// The VM does not have it.
    NotSet {
        /// Its name.
        name: String,
    },
    /// Its value is not a bearer token.
    NotAToken {
        /// Its name.
        name: String,
    },
}

impl DiagnosticKind for TokenVariableError {
    fn message(&self) -> Message {
        match self {
            Self::NotSet { name } => Message::error(
                format!("the filter does not have the environment variable {name}"),
                "set it where Envoy is started, and list it in vm_config.environment_variables.host_env_keys (Envoy), vmConfig.env \
                 (Istio) or env.hostKeys (Envoy Gateway)",
            ),
            Self::NotAToken { name } => Message::error(
                format!(
                    "the value of the environment variable {name} is not a bearer token: letters, digits and -._~+/="
                ),
                "give it the token that the control plane gave",
            ),
        }
    }
}

/// Whether the text is a bearer token (RFC 6750, section 2.1).
pub fn is_bearer_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    (1..=MAX_TOKEN).contains(&text.len()) && !body.is_empty() && body.bytes().all(is_allowed)
}

fn is_variable(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=255).contains(&name.len()) && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(is_allowed)
}

fn is_cluster(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

fn is_authority(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
    (1..=255).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn is_path(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b);
    text.len() <= 1024 && text.starts_with('/') && text.bytes().all(is_allowed)
}

/// Reads a string for which `is_valid` holds.
fn read_text(
    node: Node<'_>,
    is_valid: impl Fn(&str) -> bool,
    kind: KeysFromDiagnostic,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let text: Cow<'_, str> = Cow::read(node, path, diagnostics)?;
    if is_valid(&text) {
        return Some(text.into_owned());
    }
    diagnostics.add(path, &Node::Text(text), &kind);
    None
}

/// Reads `token` or `token_env`. No diagnostic shows a value: it may be a token.
fn read_token(fields: &mut Fields<'_, '_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<FeedToken> {
    let at = path.field("token");
    let node = fields.node("token", diagnostics);
    let variable = fields.node("token_env", diagnostics);
    match (node, variable) {
        (Some(_), Some(_)) => {
            diagnostics.add_bare(&at, &KeysFromDiagnostic::TwoTokens);
            None
        }
        (None, None) => {
            diagnostics.add_bare(path, &KeysFromDiagnostic::NoToken);
            None
        }
        (Some(Node::Text(token)), None) if is_bearer_token(&token) => {
            diagnostics.add_bare(&at, &KeysFromDiagnostic::TokenInConfiguration);
            Some(FeedToken::Token(token.into_owned()))
        }
        (Some(Node::Text(_)), None) => {
            diagnostics.add_bare(&at, &KeysFromDiagnostic::NotATokenValue);
            None
        }
        (Some(other), None) => wrong_type_unshown(&other, "a string", &at, diagnostics),
        (None, Some(variable)) => {
            let at = path.field("token_env");
            match variable {
                Node::Text(name) if is_variable(&name) => Some(FeedToken::TokenEnv(name.into_owned())),
                Node::Text(_) => {
                    diagnostics.add_bare(&at, &KeysFromDiagnostic::NotAVariable);
                    None
                }
                other => wrong_type_unshown(&other, "a string", &at, diagnostics),
            }
        }
    }
}

fn read_seconds(
    name: &'static str,
    is_valid: impl Fn(u32) -> bool,
    kind: KeysFromDiagnostic,
    fields: &mut Fields<'_, '_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<u32> {
    let node = fields.node(name, diagnostics)?;
    let seconds = whole_number(&node).filter(|&seconds| is_valid(seconds));
    if seconds.is_none() {
        diagnostics.add(&path.field(name), &node, &kind);
    }
    seconds
}

impl<'a> Read<'a> for KeysFrom {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        use KeysFromDiagnostic::{Authority, Cluster, Path, Stale, Wait};
        let mut fields = Fields::of(node, path, diagnostics)?;
        let cluster = fields.require("cluster", diagnostics);
        let cluster =
            cluster.and_then(|node| read_text(node, is_cluster, Cluster, &path.field("cluster"), diagnostics));
        let authority = fields.node("authority", diagnostics);
        let authority =
            authority.and_then(|node| read_text(node, is_authority, Authority, &path.field("authority"), diagnostics));
        let feed_path = fields.node("path", diagnostics);
        let feed_path = feed_path.and_then(|node| read_text(node, is_path, Path, &path.field("path"), diagnostics));
        let token = read_token(&mut fields, path, diagnostics);
        let is_wait = |seconds| (1..=LONGEST_WAIT).contains(&seconds);
        let wait = read_seconds("wait_seconds", is_wait, Wait, &mut fields, path, diagnostics);
        let wait_seconds = wait.unwrap_or(DEFAULT_WAIT);
        let least = wait_seconds + TIMEOUT_MARGIN;
        let is_stale = |seconds| seconds >= least;
        let stale = Stale { least };
        let max_stale_seconds = read_seconds("max_stale_seconds", is_stale, stale, &mut fields, path, diagnostics);
        fields.finish(diagnostics);
        Some(KeysFrom {
            cluster: cluster?,
            authority: authority.unwrap_or_else(|| DEFAULT_AUTHORITY.into()),
            path: feed_path.unwrap_or_else(|| DEFAULT_PATH.into()),
            token,
            wait_seconds,
            max_stale_seconds,
        })
    }
}

/// How many seconds after `wait_seconds` a request for keys times out.
pub const TIMEOUT_MARGIN: u32 = 5;

/// Adds to the derived schema which fields may be left out, and what their values may be.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    json_schema::optional_fields(schema);
    schema.insert("required".into(), serde_json::json!(["cluster"]));
    // A token is one of two fields, and neither is required.
    schema.remove("anyOf");
    schema.remove("oneOf");
    schema.insert("not".into(), serde_json::json!({"required": ["token", "token_env"]}));
    if let Some(properties) = json_schema::properties(schema) {
        let text = |description: &str, pattern: &str| serde_json::json!({"type": "string", "description": description, "pattern": pattern});
        properties.insert(
            "token".into(),
            text("The bearer token of the requests: for tests.", "^[A-Za-z0-9._~+/-]+=*$"),
        );
        if let Some(token) = properties.get_mut("token") {
            token["maxLength"] = MAX_TOKEN.into();
        }
        properties.insert(
            "token_env".into(),
            text(
                "The environment variable of the VM that has the bearer token.",
                "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
            ),
        );
        for (name, pattern) in [
            ("cluster", "^[!-~]{1,255}$"),
            ("authority", r"^[A-Za-z0-9._~\[\]:-]{1,255}$"),
            ("path", r"^/[A-Za-z0-9/._~!$&'()*+,;=:@%-]{0,1023}$"),
        ] {
            if let Some(property) = properties.get_mut(name) {
                property["pattern"] = pattern.into();
            }
        }
        if let Some(seconds) = properties.get_mut("wait_seconds") {
            seconds["minimum"] = 1.into();
            seconds["maximum"] = LONGEST_WAIT.into();
        }
        if let Some(seconds) = properties.get_mut("max_stale_seconds") {
            seconds["minimum"] = (1 + TIMEOUT_MARGIN).into();
            seconds["maximum"] = u32::MAX.into();
        }
    }
}
