//! The JSON Schema of a whole configuration. Editors use it to complete and check a policy while it is typed.
//!
//! The schema accepts some policies that the filter refuses: it cannot express every rule.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::json_schema::properties;
use super::key::Key;
use super::top_level::Config;

/// The schema, in JSON Schema draft 7, which most editors support.
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
