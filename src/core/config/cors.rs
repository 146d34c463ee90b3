//! `cors`: what preflights and responses say of methods, headers, credentials and caching.

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics};
use super::node::Node;
use super::read::{Fields, Read, whole_number};
use super::token::{HeaderName, Method};

/// The lists are sent whole and in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = super::schema::of_cors)
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

/// Firefox keeps a preflight for a day at most, and no browser longer.
const LONGEST_MAX_AGE: u32 = 86_400;

fn read_max_age(fields: &mut Fields<'_, '_>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<u32> {
    let node = fields.node("max_age", diagnostics)?;
    let seconds = whole_number(&node).filter(|&seconds| seconds <= LONGEST_MAX_AGE);
    if seconds.is_none() {
        diagnostics.add(&place.field("max_age"), &node, DiagnosticKind::BadMaxAge);
    }
    seconds
}

/// With credentials `*` is a method or header of that name (Fetch, "CORS protocol and credentials").
fn refuse_wildcards<'n>(names: impl Iterator<Item = &'n str>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) {
    for (index, _) in names.enumerate().filter(|(_, name)| *name == "*") {
        diagnostics.add(&place.item(index), &"\"*\"", DiagnosticKind::WildcardWithCredentials);
    }
}

impl<'a> Read<'a> for Cors {
    fn read(node: Node<'a>, place: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let default = Cors::default();
        let mut fields = Fields::of(node, place, diagnostics)?;
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
            max_age: read_max_age(&mut fields, place, diagnostics).unwrap_or(default.max_age),
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
                refuse_wildcards(values.iter().map(String::as_str), &place.field(name), diagnostics);
            }
        }
        Some(cors)
    }
}
