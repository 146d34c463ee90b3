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
