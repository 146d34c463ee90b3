//! `cors`: the values of the CORS response headers for methods, headers, credentials and caching (Fetch, "HTTP extensions").

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema;
use super::node::Node;
use super::read::{Fields, Read, whole_number};
use super::token::{HeaderName, Method};

/// The lists are sent whole and in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct Cors {
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Vec<Method>,
    /// `Access-Control-Allow-Headers`, before the headers of the key sources are added.
    pub allow_headers: Vec<HeaderName>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Vec<HeaderName>,
    /// `Access-Control-Allow-Credentials`.
    pub allow_credentials: bool,
    /// `Access-Control-Max-Age` in seconds, 0 to 86400.
    pub max_age: u32,
}

impl Default for Cors {
    fn default() -> Self {
        let headers = |names: &[&str]| names.iter().map(|name| HeaderName((*name).into())).collect();
        let methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS"];
        Cors {
            allow_methods: methods.map(|name| Method(name.into())).into(),
            allow_headers: headers(&["Authorization", "Content-Type", "X-Request-Id", "X-Idempotency-Key"]),
            expose_headers: headers(&["X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset"]),
            allow_credentials: true,
            max_age: 86_400,
        }
    }
}

enum CorsError {
    /// Not a whole number of seconds in the range.
    MaxAge,
    /// `*` in a list, while `allow_credentials` is true.
    WildcardWithCredentials,
}

impl DiagnosticKind for CorsError {
    fn message(&self) -> Message {
        match self {
            Self::MaxAge => Message::error(
                "max_age must be a whole number of seconds from 0 to 86400",
                "write a number of seconds in that range; browsers keep a preflight no longer than a day",
            ),
            Self::WildcardWithCredentials => Message::error(
                "with credentials browsers take * literally, not as every name",
                "list the names, or set allow_credentials to false",
            ),
        }
    }
}

/// In seconds. Firefox keeps a preflight's result for at most a day, other browsers for less.
const LONGEST_MAX_AGE: u32 = 86_400;

fn read_max_age(fields: &mut Fields<'_, '_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let node = fields.node("max_age", diagnostics)?;
    let seconds = whole_number(&node).filter(|&seconds| seconds <= LONGEST_MAX_AGE);
    if seconds.is_none() {
        diagnostics.add(&path.field("max_age"), &node, &CorsError::MaxAge);
    }
    seconds
}

/// Refuses `*`: for a request with credentials it is the method or header of that name (Fetch, "CORS protocol and credentials").
fn refuse_wildcards<'n>(names: impl Iterator<Item = &'n str>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    for (index, _) in names.enumerate().filter(|(_, name)| *name == "*") {
        diagnostics.add(&path.item(index), &"\"*\"", &CorsError::WildcardWithCredentials);
    }
}

impl<'a> Read<'a> for Cors {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let default = Cors::default();
        let mut fields = Fields::of(node, path, diagnostics)?;
        let cors = Cors {
            allow_methods: fields
                .take("allow_methods", diagnostics)
                .unwrap_or(default.allow_methods),
            allow_headers: fields
                .take("allow_headers", diagnostics)
                .unwrap_or(default.allow_headers),
            expose_headers: fields
                .take("expose_headers", diagnostics)
                .unwrap_or(default.expose_headers),
            allow_credentials: fields
                .take("allow_credentials", diagnostics)
                .unwrap_or(default.allow_credentials),
            max_age: read_max_age(&mut fields, path, diagnostics).unwrap_or(default.max_age),
        };
        fields.finish(diagnostics);
        if cors.allow_credentials {
            let headers = |names: &'_ [HeaderName]| names.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
            for (name, values) in [
                (
                    "allow_methods",
                    cors.allow_methods.iter().map(|m| m.0.clone()).collect(),
                ),
                ("allow_headers", headers(&cors.allow_headers)),
                ("expose_headers", headers(&cors.expose_headers)),
            ] {
                refuse_wildcards(values.iter().map(String::as_str), &path.field(name), diagnostics);
            }
        }
        Some(cors)
    }
}

/// Adds to the derived schema that fields may be left out, and the range of `max_age`.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    json_schema::optional_fields(schema);
    if let Some(seconds) = json_schema::properties(schema).and_then(|properties| properties.get_mut("max_age")) {
        seconds["maximum"] = LONGEST_MAX_AGE.into();
    }
}
