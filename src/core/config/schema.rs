//! The JSON Schema of the configuration, from the types that hold it. Editors complete and check a policy by it while it is typed;
//! what it lets through is still read by the rest of this module.
//!
//! Types whose parts are the fields of an object derive their schema. Those that are parsed from something else have it here.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::api_key::ApiKey;
use super::csp::DIRECTIVES;
use super::document::{Config, IdentityHeader};
use super::index::IndexPattern;
use super::key::Key;
use super::key_source::KeySource;
use super::network::Network;
use super::origin::OriginPattern;
use super::scope::PathPattern;
use super::security_headers::{PRESETS, SecurityHeaders, SetMode};
use super::timestamp::Timestamp;
use super::token::{HeaderName, Method};

/// The schema of a whole configuration, in draft 7, which editors know best.
pub fn policy() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut generator = settings.into_generator();
    let keys = generator.subschema_for::<Vec<Key<'static>>>();
    let mut schema = generator.into_root_schema_for::<Config<'static>>();
    schema.insert("title".into(), "keyfence policy".into());
    schema.insert(
        "description".into(),
        "From where, for what and how often API keys may be used.".into(),
    );
    if let Some(properties) = properties(&mut schema) {
        properties.insert("keys".into(), keys.into());
        properties.insert("$schema".into(), json!({"type": "string"}));
    }
    schema.into()
}

fn properties(schema: &mut Schema) -> Option<&mut serde_json::Map<String, Value>> {
    schema.get_mut("properties")?.as_object_mut()
}

/// Every field may be left out, and none is null.
fn optional_fields(schema: &mut Schema) {
    schema.remove("required");
    for property in properties(schema).into_iter().flat_map(serde_json::Map::values_mut) {
        refuse_null(property);
    }
}

/// Takes out what `Option` adds to a type.
fn refuse_null(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            fields.remove("anyOf");
            for (name, value) in only {
                // What the field says of itself stands.
                fields.entry(name).or_insert(value);
            }
        }
    }
}

/// `anonymous`, and what keys have in common with it.
pub fn of_access(schema: &mut Schema) {
    optional_fields(schema);
    if let Some(properties) = properties(schema) {
        // Without control characters (C0, DEL, C1) and line breaks.
        let one_line = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029]*$";
        properties.insert(
            "name".into(),
            json!({"type": "string", "description": "For people.", "pattern": one_line}),
        );
        if let Some(limit) = properties.get_mut("rate_limit_per_minute") {
            limit["minimum"] = 1.into();
        }
    }
}

/// An entry of `keys`.
pub fn of_key(schema: &mut Schema) {
    optional_fields(schema);
    schema.insert("required".into(), json!(["id", "api_key"]));
    if let Some(id) = properties(schema).and_then(|properties| properties.get_mut("id")) {
        id["pattern"] = "^[A-Za-z0-9._-]{1,64}$".into();
    }
}

/// Everything but the keys.
pub fn of_config(schema: &mut Schema) {
    optional_fields(schema);
    if let Some(properties) = properties(schema) {
        if let Some(sources) = properties.get_mut("key_sources") {
            sources["minItems"] = 1.into();
        }
        if let Some(header) = properties.get_mut("identity_header") {
            header["type"] = json!(["string", "null"]);
        }
    }
}

/// `cors`.
pub fn of_cors(schema: &mut Schema) {
    optional_fields(schema);
    if let Some(seconds) = properties(schema).and_then(|properties| properties.get_mut("max_age")) {
        seconds["maximum"] = 86_400.into();
    }
}

/// One key, or a list of them.
pub struct ApiKeys;

/// The schema of a type that is parsed.
macro_rules! schema {
    ($type:ty, $name:literal, $generator:ident => $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(ApiKey, "ApiKey", _generator => json_schema!({
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "examples": ["sha256:<64 hex digits>"],
}));

schema!(ApiKeys, "ApiKeys", generator => json_schema!({
    "anyOf": [
        generator.subschema_for::<ApiKey>(),
        {"type": "array", "items": generator.subschema_for::<ApiKey>(), "minItems": 1},
    ],
}));

schema!(OriginPattern, "Origin", _generator => json_schema!({
    "type": "string",
    "pattern": r"^(\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^,\s]*)$",
    "not": {"pattern": "^https?://($|.*[/?#@A-Z])"},
    "examples": [
        "https://yourapp.com",
        "https://*.yourapp.com",
        "https://app-*-team.yourapp.com",
        "http://localhost:*",
        "capacitor://localhost",
        "moz-extension://*",
    ],
}));

schema!(Network, "Network", _generator => json_schema!({
    "type": "string",
    "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$",
    "examples": ["192.168.1.0/24", "2001:db8::/32"],
}));

schema!(Timestamp, "Timestamp", _generator => json_schema!({
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-01T00:00:00Z"],
}));

schema!(IndexPattern<'_>, "Index", _generator => json_schema!({
    "type": "string",
    "minLength": 1,
    "examples": ["products", "articles-*"],
}));

schema!(PathPattern, "Path", _generator => json_schema!({
    "type": "string",
    "pattern": "^/",
    "examples": ["/v1/indexes/{index}/search", "/v1/**"],
}));

/// A token of RFC 9110.
const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

schema!(HeaderName, "HeaderName", _generator => json_schema!({"type": "string", "pattern": TOKEN}));

schema!(Method, "Method", _generator => json_schema!({
    "type": "string",
    "pattern": TOKEN,
    "examples": ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"],
}));

schema!(IdentityHeader, "IdentityHeader", _generator => json_schema!({"type": "string", "pattern": TOKEN}));

schema!(KeySource, "KeySource", generator => json_schema!({
    "type": "object",
    "properties": {
        "header": generator.subschema_for::<HeaderName>(),
        "scheme": {"type": "string", "pattern": TOKEN},
        "query": {"type": "string", "minLength": 1},
        "websocket_protocol": {"type": "string", "pattern": TOKEN},
    },
    "additionalProperties": false,
    "dependencies": {"scheme": ["header"]},
    "oneOf": [{"required": ["header"]}, {"required": ["query"]}, {"required": ["websocket_protocol"]}],
}));

schema!(SecurityHeaders, "SecurityHeaders", generator => json_schema!({
    "type": "object",
    "properties": {
        "preset": {"type": "string", "enum": PRESETS, "description": "The headers to begin with."},
        "set": {
            "type": "object",
            "description": "Headers to set in place of the preset's or beside them; null takes one of the preset's away.",
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
            "properties": DIRECTIVES.map(|name| (name.to_owned(), sources())).into_iter().collect::<serde_json::Map<_, _>>(),
            "additionalProperties": sources(),
        },
        "remove": {
            "type": "array",
            "description": "Headers that no response has.",
            "items": generator.subschema_for::<HeaderName>(),
        },
    },
    "additionalProperties": false,
}));

/// What a directive of a CSP lists.
fn sources() -> Value {
    json!({"type": "array", "items": {"type": "string", "pattern": "^[^\\s;,]+$"}})
}
