//! What the JSON Schemas of several types share.
//!
//! Types that are read field by field derive their schema, and complete it with a transform. Types that are parsed from a text have
//! theirs beside the parser.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// The pattern of a token (RFC 9110, section 5.6.2).
pub const TOKEN: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

/// The pattern of an id or a label.
pub const IDENTIFIER: &str = "^[A-Za-z0-9._-]{1,64}$";

/// The properties of an object's schema.
pub fn properties(schema: &mut Schema) -> Option<&mut Map<String, Value>> {
    schema.get_mut("properties")?.as_object_mut()
}

/// Makes every property optional, and none nullable: an `Option` is a field that may be left out.
pub fn optional_fields(schema: &mut Schema) {
    schema.remove("required");
    for property in properties(schema).into_iter().flat_map(Map::values_mut) {
        refuse_null(property);
    }
}

/// Removes the `null` that schemars adds to the type of an `Option`.
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
                // The field's own description goes before its type's.
                fields.entry(name).or_insert(value);
            }
        }
    }
}

/// Implements `JsonSchema` for a type, with the schema that the expression gives.
macro_rules! impl_schema {
    ($type:ty, $name:literal, $generator:ident => $schema:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}

pub(super) use impl_schema;
