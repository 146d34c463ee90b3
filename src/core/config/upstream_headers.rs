//! `upstream_header_names` and `upstream_headers`: headers with which a key tells the upstream something about itself, such as its plan.

use std::borrow::Cow;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::key_source::KeySource;
use super::node::Node;
use super::read::{Read, wrong_type};
use super::token::{HeaderName, InvalidHeaderValue, is_header_value};

/// The most names that a policy may list: each request's headers are compared with all of them.
pub const MAX_NAMES: usize = 32;

/// One member of `upstream_headers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHeader<'a> {
    /// The name as written; whether `upstream_header_names` lists it is checked when the policy is compiled.
    pub name: Cow<'a, str>,
    /// Printable ASCII on one line.
    pub value: Cow<'a, str>,
}

enum UpstreamHeaderError {
    /// The header means something to HTTP, to Envoy or to the filter.
    Reserved,
    /// A key source reads the header.
    KeySource,
    /// It is the identity header.
    IdentityHeader,
    /// An earlier name is the same, or reads as the same.
    Duplicate {
        /// Its index.
        first: usize,
    },
    /// There are more than [`MAX_NAMES`].
    TooMany,
}

impl DiagnosticKind for UpstreamHeaderError {
    fn message(&self) -> Message {
        const OTHER_NAME: &str = "choose a name of your own, such as X-Plan";
        match self {
            Self::Reserved => Message::error(
                "HTTP, Envoy, browsers or keyfence give this header a meaning of its own",
                OTHER_NAME,
            ),
            Self::KeySource => Message::error("requests carry their key in this header", OTHER_NAME),
            Self::IdentityHeader => Message::error("this is the identity header, or reads as it", OTHER_NAME),
            Self::Duplicate { first } => Message::error(
                format!("upstream_header_names[{first}] is this name already, or reads as it"),
                "keep one of them",
            ),
            Self::TooMany => Message::error(
                format!("there may be at most {MAX_NAMES} names"),
                "put several values into one header",
            ),
        }
    }
}

/// Whether a header of this name, or one that reads as it, means something to HTTP, to Envoy, to browsers or to the filter.
fn is_reserved(name: &HeaderName) -> bool {
    const FURTHER: [&str; 12] = [
        ":protocol",
        ":status",
        // Hop-by-hop (RFC 9110, section 7.6.1; RFC 9113, section 8.2.2).
        "http2-settings",
        "keep-alive",
        "trailer",
        // Credentials, and where the client is.
        "authorization",
        "cookie",
        "forwarded",
        // What the filter or Envoy decides by.
        "expect",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    const PREFIXES: [&str; 6] = [
        "access-control-",
        "content-",
        "proxy-",
        "sec-",
        "x-envoy-",
        "x-forwarded-",
    ];
    let begins_with = |prefix: &str| {
        let start = name.0.get(..prefix.len());
        start.is_some_and(|start| HeaderName(start.into()).equals_ignoring_separators(prefix))
    };
    let is_listed = FURTHER.iter().any(|reserved| name.equals_ignoring_separators(reserved));
    name.is_reserved() || is_listed || PREFIXES.into_iter().any(begins_with)
}

/// Reads `upstream_header_names`. `identity_header` and `sources` are the policy's: no name may read as one of theirs.
pub fn read_names(
    node: Node<'_>,
    identity_header: Option<&str>,
    sources: &[KeySource],
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<HeaderName> {
    let Node::List(items) = node else {
        return wrong_type(&node, "a list", path, diagnostics).unwrap_or_default();
    };
    if items.len() > MAX_NAMES {
        diagnostics.add_bare(path, &UpstreamHeaderError::TooMany);
        return Vec::new();
    }
    let mut names: Vec<(usize, HeaderName)> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let at = path.item(index);
        let Some(name) = HeaderName::read(item, &at, diagnostics) else {
            continue;
        };
        let is_key_header = |header: &HeaderName| header.equals_ignoring_separators(&name.0);
        let earlier = names
            .iter()
            .find(|(_, earlier)| earlier.equals_ignoring_separators(&name.0));
        let error = if is_reserved(&name) {
            Some(UpstreamHeaderError::Reserved)
        } else if sources.iter().filter_map(KeySource::header).any(is_key_header) {
            Some(UpstreamHeaderError::KeySource)
        } else if identity_header.is_some_and(|identity| name.equals_ignoring_separators(identity)) {
            Some(UpstreamHeaderError::IdentityHeader)
        } else {
            earlier.map(|(first, _)| UpstreamHeaderError::Duplicate { first: *first })
        };
        match error {
            Some(error) => diagnostics.add(&at, &format_args!("{:?}", name.0), &error),
            None => names.push((index, name)),
        }
    }
    names.into_iter().map(|(_, name)| name).collect()
}

/// Reads `upstream_headers` of a key or of `anonymous`. Diagnostics do not show the values, which may be the upstream's secrets.
pub fn read_headers<'a>(
    node: Node<'a>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<UpstreamHeader<'a>> {
    let Node::Object(members) = node else {
        return wrong_type(&node, "an object", path, diagnostics).unwrap_or_default();
    };
    let mut headers = Vec::with_capacity(members.len());
    for (name, node) in members {
        let at = path.field(&name);
        let Some(value) = Cow::read(node, &at, diagnostics) else {
            continue;
        };
        if is_header_value(&value) {
            headers.push(UpstreamHeader { name, value });
        } else {
            diagnostics.add_bare(&at, &InvalidHeaderValue);
        }
    }
    headers
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for UpstreamHeader<'_> {
    fn schema_name() -> Cow<'static, str> {
        "UpstreamHeader".into()
    }

    /// The value of one member.
    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^([!-~]([\\t -~]*[!-~])?)?$"})
    }
}
