//! Checks the resources that load the filter: fields that the API server refuses, and settings that let requests pass unchecked.

mod address;
mod fields;

use std::collections::HashSet;
use std::ptr;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::nearest::nearest;
use keyfence_core::config::{DiagnosticKind, Diagnostics, Message, StructureError};

use fields::{Fields, KINDS, Type};
use keyfence_files::embedded::{self, Plugin, PluginKind, Step};
use keyfence_files::scalar::{Dialect, quoted};
use keyfence_files::source::Manifest;
use keyfence_files::tree::{Node, Value};

/// The diagnostics of each manifest of a source.
pub fn check(manifests: &[Manifest]) -> Vec<(&Manifest, Diagnostics)> {
    let trusting = address::trusting_gateways(manifests);
    let checked = manifests.iter().map(|manifest| {
        let mut diagnostics = Diagnostics::default();
        let plugins = manifest.tree.root.as_ref().map_or_else(Vec::new, embedded::plugins);
        let (mut last, mut is_trusting) = (ptr::null(), false);
        for plugin in &plugins {
            let resource = &plugin.resource;
            if !ptr::eq(resource.node, last) {
                last = resource.node;
                is_trusting = address::is_for(resource.node, &trusting);
                check_fields(plugin, manifest.dialect, &mut diagnostics);
            }
            check_failure(plugin, manifest.dialect, &mut diagnostics);
            address::check(plugin, is_trusting, &mut diagnostics);
        }
        (manifest, diagnostics)
    });
    checked.collect()
}

/// Calls `then` with the path of these steps.
fn with_path(steps: &[Step<'_>], path: &ConfigPath<'_>, then: &mut dyn FnMut(&ConfigPath<'_>)) {
    match steps.split_first() {
        None => then(path),
        Some((Step::Field(name), rest)) => with_path(rest, &path.field(name), then),
        Some((Step::Item(index), rest)) => with_path(rest, &path.item(*index), then),
    }
}

fn check_fields(plugin: &Plugin<'_>, dialect: Dialect, diagnostics: &mut Diagnostics) {
    let resource = &plugin.resource;
    let kind = resource.node.get("kind").and_then(Node::text);
    let Some((_, fields)) = KINDS.iter().find(|(name, _)| Some(*name) == kind) else {
        return;
    };
    let mut walk = Walk { dialect, diagnostics };
    with_path(&resource.path, &ConfigPath::ROOT, &mut |path| {
        walk.object(resource.node, fields, path);
    });
}

struct Walk<'d> {
    dialect: Dialect,
    diagnostics: &'d mut Diagnostics,
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, expected: Type, path: &ConfigPath<'_>) {
        let found = type_name(node, self.dialect);
        match expected {
            Type::Any => {}
            // The API server takes null for a missing field.
            _ if found == "null" => {}
            Type::Bool if found == "a boolean" => {}
            Type::Integer if found == "a number" => {}
            Type::Text if found == "a string" => {}
            Type::Choice(choices) if found == "a string" => self.choice(node, choices, path),
            Type::Labels if found == "an object" => {
                for member in node.members() {
                    self.value(&member.node, Type::Text, &path.field(&member.name));
                }
            }
            Type::List(items) if found == "a list" => {
                for (index, item) in node.items().iter().enumerate() {
                    self.value(item, *items, &path.item(index));
                }
            }
            Type::Object(fields) if found == "an object" => self.object(node, fields, path),
            _ => {
                let kind = StructureError::WrongType {
                    expected: expected.name(),
                    found,
                };
                let value = node.scalar().map(|scalar| scalar.to_json(self.dialect));
                self.diagnostics.add(path, &value.unwrap_or_default(), &kind);
            }
        }
    }

    fn object(&mut self, node: &Node, fields: Fields, path: &ConfigPath<'_>) {
        let mut names = HashSet::new();
        for member in node.members() {
            let path = path.field(&member.name);
            if !names.insert(&member.name) {
                self.diagnostics.add_bare(&path, &StructureError::DuplicateField);
            }
            match fields.iter().find(|(name, _)| *name == member.name) {
                Some((_, expected)) => self.value(&member.node, *expected, &path),
                None => {
                    // The distance takes time, and no more of them are shown.
                    let is_shown = self.diagnostics.error_count() < Diagnostics::KEPT;
                    let known = fields.iter().map(|(name, _)| *name).filter(|_| is_shown);
                    let nearest = nearest(&member.name, known);
                    self.diagnostics
                        .add_bare(&path, &StructureError::UnknownField { nearest });
                }
            }
        }
    }

    fn choice(&mut self, node: &Node, choices: &'static [&'static str], path: &ConfigPath<'_>) {
        let text = node.text().unwrap_or_default();
        if !choices.contains(&text) {
            let nearest = nearest(text, choices.iter().copied());
            let kind = StructureError::UnknownChoice { choices, nearest };
            self.diagnostics.add(path, &quoted(text), &kind);
        }
    }
}

impl Type {
    /// In words, for messages.
    fn name(self) -> &'static str {
        match self {
            Type::Any => "a value",
            Type::Bool => "true or false",
            Type::Integer => "a number",
            Type::Text | Type::Choice(_) => "a string",
            Type::List(_) => "a list",
            Type::Labels | Type::Object(_) => "an object",
        }
    }
}

/// The type of a value, as a reader of this dialect takes it.
fn type_name(node: &Node, dialect: Dialect) -> &'static str {
    match &node.value {
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
        Value::Scalar(scalar) => match scalar.to_json(dialect).as_bytes().first() {
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        },
    }
}

/// A setting that lets requests pass unchecked.
struct OpenSetting {
    kind: PluginKind,
    /// Where it is in the plugin.
    path: &'static [&'static str],
    /// The value as JSON, one of these.
    values: &'static [&'static str],
    reason: &'static str,
    help: &'static str,
}

const ISTIO_REASON: &str =
    "while the agent cannot fetch the module, and once the filter has failed, every request passes unchecked";
const ISTIO_HELP: &str = "write FAIL_CLOSE, or from Istio 1.27 FAIL_RELOAD";
const ENVOY_REASON: &str = "once the filter has failed or refused the policy, every request passes unchecked";

const OPEN_SETTINGS: &[OpenSetting] = &[
    OpenSetting {
        kind: PluginKind::EnvoyExtensionPolicy,
        path: &["failOpen"],
        values: &["true"],
        reason: "if the image is missing, requests without a key pass at once; with a policy that the filter refuses, they pass after the next restart",
        help: "write false",
    },
    OpenSetting {
        kind: PluginKind::WasmPlugin,
        path: &["spec", "failStrategy"],
        values: &["\"FAIL_OPEN\""],
        reason: ISTIO_REASON,
        help: ISTIO_HELP,
    },
    OpenSetting {
        kind: PluginKind::TrafficExtension,
        path: &["spec", "wasm", "failStrategy"],
        values: &["\"FAIL_OPEN\""],
        reason: ISTIO_REASON,
        help: ISTIO_HELP,
    },
    // Protobuf's JSON also has names in camel case, as Go writes them, numbers for an enumeration's values, and "true".
    OpenSetting {
        kind: PluginKind::Envoy,
        path: &["failure_policy"],
        values: &["\"FAIL_OPEN\"", "3", "\"3\""],
        reason: ENVOY_REASON,
        help: "write FAIL_RELOAD",
    },
    OpenSetting {
        kind: PluginKind::Envoy,
        path: &["failurePolicy"],
        values: &["\"FAIL_OPEN\"", "3", "\"3\""],
        reason: ENVOY_REASON,
        help: "write FAIL_RELOAD",
    },
    OpenSetting {
        kind: PluginKind::Envoy,
        path: &["fail_open"],
        values: &["true", "\"true\""],
        reason: ENVOY_REASON,
        help: "take it out, and write failure_policy: FAIL_RELOAD",
    },
    OpenSetting {
        kind: PluginKind::Envoy,
        path: &["failOpen"],
        values: &["true", "\"true\""],
        reason: ENVOY_REASON,
        help: "take it out, and write failure_policy: FAIL_RELOAD",
    },
];

impl OpenSetting {
    fn is(&self, value: &str) -> bool {
        // Envoy takes `fail_open` for `FAIL_OPEN`, and the API server does not.
        let is_same = |known: &str| match self.kind {
            PluginKind::Envoy => known.eq_ignore_ascii_case(value),
            _ => known == value,
        };
        self.values.iter().any(|known| is_same(known))
    }
}

impl DiagnosticKind for OpenSetting {
    fn message(&self) -> Message {
        Message::warning(self.reason, self.help)
    }
}

fn check_failure(plugin: &Plugin<'_>, dialect: Dialect, diagnostics: &mut Diagnostics) {
    for setting in OPEN_SETTINGS.iter().filter(|setting| setting.kind == plugin.kind) {
        let value = plugin.place.node.at(setting.path).and_then(Node::scalar);
        let value = value.map(|value| value.to_json(dialect));
        if let Some(value) = value.filter(|value| setting.is(value)) {
            let mut steps = plugin.place.path.clone();
            steps.extend(setting.path.iter().map(|name| Step::Field(name)));
            with_path(&steps, &ConfigPath::ROOT, &mut |path| {
                diagnostics.add(path, &value, setting);
            });
        }
    }
}
