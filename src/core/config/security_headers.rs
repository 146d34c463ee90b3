//! `security_headers`: the headers that every response carries, and those that none carries.

use super::browser_header;
use super::config_path::ConfigPath;
use super::csp::ContentSecurityPolicy;
#[cfg(feature = "schema")]
use super::csp::DIRECTIVES;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
#[cfg(feature = "schema")]
use super::json_schema::TOKEN;
use super::node::Node;
use super::read::{Fields, Read, choice, wrong_type};
use super::token::{HeaderName, InvalidHeaderValue, NameError, is_header_value, is_token};

/// The headers of the preset, with the changes of `set`, `content_security_policy` and `remove`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityHeaders {
    /// In the order in which they are sent. No two have the same name.
    pub set: Vec<SecurityHeader>,
    /// Headers that are removed from every response. None of them is in `set`.
    pub remove: Vec<HeaderName>,
}

/// One header that every response carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityHeader {
    /// The name as written in the configuration.
    pub name: HeaderName,
    /// Printable ASCII on one line.
    pub value: String,
    /// What happens to a header of this name that the upstream sent.
    pub mode: SetMode,
}

/// What happens to the upstream's own header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename_all = "snake_case")
)]
pub enum SetMode {
    /// It is replaced.
    Overwrite,
    /// It stays, and nothing is set.
    IfAbsent,
}

enum SecurityHeaderError {
    /// The header is in `set` and in `remove`.
    SetAndRemoved,
    /// An earlier field sets the same header.
    SetTwice,
}

impl DiagnosticKind for SecurityHeaderError {
    fn message(&self) -> Message {
        match self {
            Self::SetAndRemoved => Message::error("the header is both set and removed", "take it out of one of them"),
            Self::SetTwice => Message::error("the header is set here already", "keep one of them"),
        }
    }
}

const PRESETS: [&str; 4] = ["default", "owasp", "api", "none"];

const DEFAULT: &[(&str, &str)] = &[
    (
        "Strict-Transport-Security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-XSS-Protection", "1; mode=block"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Content-Security-Policy", "default-src 'self'"),
];

/// The list of headers to add of the OWASP Secure Headers Project, without `Clear-Site-Data`, which would log every user out.
const OWASP: &[(&str, &str)] = &[
    ("Cache-Control", "no-store, max-age=0"),
    (
        "Content-Security-Policy",
        "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests",
    ),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), encrypted-media=(), fullscreen=(), \
         geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
         publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), xr-spatial-tracking=(), \
         clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), idle-detection=(), interest-cohort=(), serial=(), unload=()",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-DNS-Prefetch-Control", "off"),
    ("X-Frame-Options", "deny"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
];

const API: &[(&str, &str)] = &[
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (
        "Strict-Transport-Security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("X-XSS-Protection", "0"),
];

fn preset(headers: &[(&str, &str)]) -> Vec<SecurityHeader> {
    headers
        .iter()
        .map(|(name, value)| SecurityHeader {
            name: HeaderName((*name).into()),
            value: (*value).into(),
            mode: SetMode::Overwrite,
        })
        .collect()
}

/// Whether the operator must not set the header: it frames the message, or another part of the filter writes it.
fn is_owned(name: &HeaderName) -> bool {
    const OWNED: [&str; 9] = [
        "vary",
        "connection",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "trailer",
        "te",
    ];
    let name = name.lower();
    OWNED.contains(&&*name) || name.starts_with("access-control-") || name.starts_with("x-ratelimit-")
}

impl<'a> Read<'a> for SetMode {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const VALUES: [SetMode; 2] = [SetMode::Overwrite, SetMode::IfAbsent];
        choice(node, &["overwrite", "if_absent"], &VALUES, path, diagnostics)
    }
}

/// The value of a member of `set`. `None` removes the preset's header.
type Setting = Option<(String, SetMode)>;

fn read_setting(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Setting> {
    let (value, mode) = match node {
        Node::Null => return Some(None),
        Node::Text(value) => (value.into_owned(), SetMode::Overwrite),
        Node::Object(_) => {
            let mut fields = Fields::of(node, path, diagnostics)?;
            let value = fields
                .require("value", diagnostics)
                .and_then(|node| String::read(node, &path.field("value"), diagnostics));
            let mode = fields.take("mode", diagnostics).unwrap_or(SetMode::Overwrite);
            fields.finish(diagnostics);
            (value?, mode)
        }
        other => {
            return wrong_type(
                &other,
                "a string, an object with value and mode, or null",
                path,
                diagnostics,
            );
        }
    };
    if !is_header_value(&value) {
        diagnostics.add(path, &Node::Text(value.into()), &InvalidHeaderValue);
        return None;
    }
    Some(Some((value, mode)))
}

fn read_set(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Vec<(HeaderName, Setting)> {
    let Node::Object(members) = node else {
        return wrong_type(&node, "an object", path, diagnostics).unwrap_or_default();
    };
    let mut set: Vec<(HeaderName, Setting)> = Vec::new();
    for (name, node) in members {
        let at = path.field(&name);
        let setting = read_setting(node, &at, diagnostics);
        let header = HeaderName(name.clone().into_owned());
        let kind: &dyn DiagnosticKind = if !is_token(&name) {
            &NameError::NotAToken
        } else if is_owned(&header) {
            &NameError::OwnedHeader
        } else if set.iter().any(|(earlier, _)| earlier.is(&name)) {
            &SecurityHeaderError::SetTwice
        } else {
            if let Some(Some((value, _))) = &setting {
                browser_header::check(&header, value, &at, diagnostics);
            }
            set.extend(setting.map(|setting| (header, setting)));
            continue;
        };
        diagnostics.add(&at, &format_args!("{name:?}"), kind);
    }
    set
}

/// Adds or replaces the header of this name; with `None` removes it.
fn apply(headers: &mut Vec<SecurityHeader>, name: HeaderName, setting: Setting) {
    let existing = headers.iter().position(|header| header.name.is(&name.0));
    match (setting, existing) {
        (Some((value, mode)), Some(index)) => {
            if let Some(header) = headers.get_mut(index) {
                *header = SecurityHeader { name, value, mode };
            }
        }
        (Some((value, mode)), None) => headers.push(SecurityHeader { name, value, mode }),
        (None, Some(index)) => {
            headers.remove(index);
        }
        (None, None) => {}
    }
}

impl SecurityHeaders {
    /// The value of the header of this name, in any case; `None` if it is not set.
    pub fn value(&self, name: &str) -> Option<&str> {
        let header = self.set.iter().find(|header| header.name.is(name));
        header.map(|header| header.value.as_str())
    }

    /// The headers of a policy without `security_headers`.
    pub fn by_default() -> Self {
        SecurityHeaders {
            set: preset(DEFAULT),
            remove: Vec::new(),
        }
    }
}

impl<'a> Read<'a> for SecurityHeaders {
    fn read(node: Node<'a>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        const CSP: &str = "content_security_policy";
        let mut fields = Fields::of(node, path, diagnostics)?;
        let values = [DEFAULT, OWASP, API, &[]];
        let chosen = fields
            .node("preset", diagnostics)
            .and_then(|node| choice(node, &PRESETS, &values, &path.field("preset"), diagnostics));
        let mut headers = preset(chosen.unwrap_or(DEFAULT));
        let set = fields
            .node("set", diagnostics)
            .map(|node| read_set(node, &path.field("set"), diagnostics))
            .unwrap_or_default();
        let csp: Option<ContentSecurityPolicy> = fields.take(CSP, diagnostics);
        let remove: Vec<HeaderName> = fields.take("remove", diagnostics).unwrap_or_default();
        fields.finish(diagnostics);

        if csp.is_some() && set.iter().any(|(name, _)| name.is("content-security-policy")) {
            diagnostics.add_bare(&path.field(CSP), &SecurityHeaderError::SetTwice);
        }
        let remove_at = path.field("remove");
        for (index, name) in remove.iter().enumerate() {
            if set.iter().any(|(set, setting)| setting.is_some() && set.is(&name.0)) {
                diagnostics.add(
                    &remove_at.item(index),
                    &format_args!("{:?}", name.0),
                    &SecurityHeaderError::SetAndRemoved,
                );
            } else if is_owned(name) {
                diagnostics.add(
                    &remove_at.item(index),
                    &format_args!("{:?}", name.0),
                    &NameError::OwnedHeader,
                );
            }
        }
        for (name, setting) in set {
            apply(&mut headers, name, setting);
        }
        if let Some(ContentSecurityPolicy(value)) = csp {
            let name = HeaderName("Content-Security-Policy".into());
            apply(&mut headers, name, Some((value, SetMode::Overwrite)));
        }
        // `remove` and `set` share no name, so this removes headers of the preset only.
        headers.retain(|header| !remove.iter().any(|name| name.is(&header.name.0)));
        Some(SecurityHeaders { set: headers, remove })
    }
}

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(SecurityHeaders, "SecurityHeaders", generator => {
    let sources = serde_json::json!({"type": "array", "items": {"type": "string", "pattern": "^[^\\s;,]+$"}});
    let directives = DIRECTIVES.map(|name| (name.to_owned(), sources.clone()));
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "preset": {"type": "string", "enum": PRESETS, "description": "The headers to begin with."},
            "set": {
                "type": "object",
                "description": "Headers to set in place of the preset's or beside them; null removes one of the preset's.",
                "propertyNames": {"pattern": TOKEN},
                "additionalProperties": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "null"},
                        {
                            "type": "object",
                            "properties": {"value": {"type": "string"}, "mode": generator.subschema_for::<SetMode>()},
                            "required": ["value"],
                            "additionalProperties": false,
                        },
                    ],
                },
            },
            "content_security_policy": {
                "type": "object",
                "description": "Content-Security-Policy by its directives.",
                "properties": directives.into_iter().collect::<serde_json::Map<_, _>>(),
                "additionalProperties": sources,
            },
            "remove": {
                "type": "array",
                "description": "Headers that no response has.",
                "items": generator.subschema_for::<HeaderName>(),
            },
        },
        "additionalProperties": false,
    })
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_know_what_is_in_a_preset() {
        let mut diagnostics = Diagnostics::default();
        for (name, value) in [DEFAULT, OWASP, API].concat() {
            browser_header::check(&HeaderName(name.into()), value, &ConfigPath::ROOT, &mut diagnostics);
        }
        assert_eq!(diagnostics, Diagnostics::default());
    }

    #[test]
    fn headers_that_another_part_writes() {
        for (name, owned) in [
            ("Vary", true),
            ("Content-Length", true),
            ("Access-Control-Allow-Origin", true),
            ("X-RateLimit-Limit", true),
            ("x-ratelimit-reset", true),
            ("X-Rate", false),
            ("Cache-Control", false),
            ("Server", false),
        ] {
            assert_eq!(is_owned(&HeaderName(name.into())), owned, "{name}");
        }
    }
}
