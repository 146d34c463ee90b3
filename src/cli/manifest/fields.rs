//! The fields of the resources that load the filter, as their published CRDs have them: Istio 1.31 and Envoy Gateway 1.9.1.

use Type::{Any, Bool, Choice, Integer, Labels, List, Object, Text};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Type {
    /// Anything: the policy, or what the filter has nothing to do with.
    Any,
    Bool,
    Integer,
    Text,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// An object with any names, whose values are strings.
    Labels,
    List(&'static Type),
    Object(Fields),
}

/// The fields of an object.
pub type Fields = &'static [(&'static str, Type)];

/// The resources, by their kind.
pub const KINDS: [(&str, Fields); 3] = [
    ("WasmPlugin", WASM_PLUGIN),
    ("TrafficExtension", TRAFFIC_EXTENSION),
    ("EnvoyExtensionPolicy", ENVOY_EXTENSION_POLICY),
];

const WASM_PLUGIN: Fields = &[
    ("apiVersion", Choice(&["extensions.istio.io/v1alpha1"])),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Object(&[
            ("selector", SELECTOR),
            ("targetRef", Object(TARGET)),
            ("targetRefs", List(&Object(TARGET))),
            ("match", MATCH),
            ("phase", Choice(&["AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE"])),
            ("priority", Integer),
            ("failStrategy", FAIL_STRATEGY),
            ("imagePullPolicy", PULL_POLICY),
            ("imagePullSecret", Text),
            ("pluginConfig", Any),
            ("pluginName", Text),
            ("sha256", Text),
            ("type", PLUGIN_TYPE),
            ("url", Text),
            ("verificationKey", Text),
            ("vmConfig", VM),
        ]),
    ),
    ("status", Any),
];

const TRAFFIC_EXTENSION: Fields = &[
    ("apiVersion", Choice(&["extensions.istio.io/v1alpha1"])),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Object(&[
            ("selector", SELECTOR),
            ("targetRefs", List(&Object(TARGET))),
            ("match", MATCH),
            ("phase", Choice(&["AUTHN", "AUTHZ", "STATS", "UNSPECIFIED"])),
            ("priority", Integer),
            ("lua", Any),
            (
                "wasm",
                Object(&[
                    ("failStrategy", FAIL_STRATEGY),
                    ("imagePullPolicy", PULL_POLICY),
                    ("imagePullSecret", Text),
                    ("pluginConfig", Any),
                    ("pluginName", Text),
                    ("sha256", Text),
                    ("type", PLUGIN_TYPE),
                    ("url", Text),
                    ("verificationKey", Text),
                    ("vmConfig", VM),
                ]),
            ),
        ]),
    ),
    ("status", Any),
];

const FAIL_STRATEGY: Type = Choice(&["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]);
const PULL_POLICY: Type = Choice(&["IfNotPresent", "Always", "UNSPECIFIED_POLICY"]);
const PLUGIN_TYPE: Type = Choice(&["HTTP", "NETWORK", "UNSPECIFIED_PLUGIN_TYPE"]);
const SELECTOR: Type = Object(&[("matchLabels", Labels)]);
const TARGET: Fields = &[("group", Text), ("kind", Text), ("name", Text), ("namespace", Text)];
const MATCH: Type = List(&Object(&[
    ("mode", Choice(&["CLIENT", "SERVER", "CLIENT_AND_SERVER", "UNDEFINED"])),
    ("ports", List(&Object(&[("number", Integer)]))),
]));
const VM: Type = Object(&[(
    "env",
    List(&Object(&[
        ("name", Text),
        ("value", Text),
        ("valueFrom", Choice(&["INLINE", "HOST"])),
    ])),
)]);

const ENVOY_EXTENSION_POLICY: Fields = &[
    ("apiVersion", Choice(&["gateway.envoyproxy.io/v1alpha1"])),
    ("kind", Text),
    ("metadata", Any),
    (
        "spec",
        Object(&[
            ("targetRef", SECTION),
            ("targetRefs", List(&SECTION)),
            ("targetSelectors", List(&Any)),
            ("mergeType", Text),
            ("dynamicModule", List(&Any)),
            ("extProc", List(&Any)),
            ("lua", List(&Any)),
            (
                "wasm",
                List(&Object(&[
                    ("code", CODE),
                    ("config", Any),
                    ("env", Object(&[("hostKeys", List(&Text))])),
                    ("failOpen", Bool),
                    ("name", Text),
                    ("rootID", Text),
                ])),
            ),
        ]),
    ),
    ("status", Any),
];

const SECTION: Type = Object(&[("group", Text), ("kind", Text), ("name", Text), ("sectionName", Text)]);
const CODE: Type = Object(&[
    ("type", Choice(&["Image", "HTTP"])),
    (
        "image",
        Object(&[
            ("url", Text),
            ("sha256", Text),
            ("pullSecretRef", Object(TARGET)),
            ("tls", TLS),
        ]),
    ),
    ("http", Object(&[("url", Text), ("sha256", Text), ("tls", TLS)])),
    ("pullPolicy", Choice(&["IfNotPresent", "Always"])),
]);
const TLS: Type = Object(&[("caCertificateRef", Object(TARGET))]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    const PUBLISHED: [(&str, &str); 3] = [
        (
            "WasmPlugin",
            include_str!("../../../tests/fixtures/crds/istio-wasmplugin.yaml"),
        ),
        (
            "TrafficExtension",
            include_str!("../../../tests/fixtures/crds/istio-trafficextension.yaml"),
        ),
        (
            "EnvoyExtensionPolicy",
            include_str!("../../../tests/fixtures/crds/envoy-gateway-envoyextensionpolicy.yaml"),
        ),
    ];

    /// The type that the published schema of a value corresponds to, in words.
    fn published(schema: &Value) -> String {
        let kind = match &schema["type"] {
            Value::Array(types) => types[0].as_str(),
            kind => kind.as_str(),
        };
        let choices = schema["enum"]
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str));
        match (kind, choices) {
            (_, Some(choices)) => format!("one of {:?}", choices.collect::<BTreeSet<_>>()),
            (Some("array"), _) => format!("list of {}", published(&schema["items"])),
            (Some("object"), _) if schema["properties"].is_object() => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                let fields: BTreeSet<String> = fields
                    .map(|(name, schema)| format!("{name}: {}", published(schema)))
                    .collect();
                format!("{fields:#?}")
            }
            (Some("object"), _) if schema["additionalProperties"].is_object() => "labels".into(),
            (Some("object") | None, _) => "anything".into(),
            (Some(kind), _) => kind.into(),
        }
    }

    fn known(kind: Type) -> String {
        match kind {
            Any => "anything".into(),
            Bool => "boolean".into(),
            Integer => "integer".into(),
            Text => "string".into(),
            Labels => "labels".into(),
            Choice(choices) => format!("one of {:?}", choices.iter().collect::<BTreeSet<_>>()),
            List(items) => format!("list of {}", known(*items)),
            Object(fields) => {
                let fields: BTreeSet<String> = fields
                    .iter()
                    .map(|(name, kind)| format!("{name}: {}", known(*kind)))
                    .collect();
                format!("{fields:#?}")
            }
        }
    }

    #[test]
    fn the_fields_are_those_of_the_published_schemas() {
        for ((kind, fields), (published_kind, text)) in KINDS.into_iter().zip(PUBLISHED) {
            assert_eq!(kind, published_kind);
            let schema: Value = serde_saphyr::from_str(text).unwrap_or_default();
            let spec = fields
                .iter()
                .find(|(name, _)| *name == "spec")
                .map(|(_, spec)| known(*spec));
            assert_eq!(spec, Some(published(&schema["properties"]["spec"])), "{kind}");
            let version = fields.iter().find(|(name, _)| *name == "apiVersion");
            let published = schema["properties"]["apiVersion"]["const"].as_str();
            assert_eq!(
                version.map(|(_, version)| known(*version)),
                published.map(|version| format!("one of {{{version:?}}}"))
            );
        }
    }
}
