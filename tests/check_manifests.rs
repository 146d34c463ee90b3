//! What `keyfence check` makes of manifests: the policies in them, and their own fields.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/program.rs"]
mod program;

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use program::keyfence;
use serde_json::{Value, json};
use tempfile::TempDir;

/// SHA-256 of `one`.
const ONE: &str = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

/// What stands for a text in the tables: a policy without errors or warnings, and beginnings of manifests.
#[rustfmt::skip]
const WORDS: &[(&str, &str)] = &[
    ("SHA", ONE),
    ("POLICY", "{keys: [{id: a, api_key: 'SHA', kind: secret}]}"),
    ("WASM_PLUGIN", "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: keyfence}\nspec:\n  url: oci://a\n"),
    ("TRAFFIC_EXTENSION", "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: keyfence}\nspec:\n  wasm:\n    url: oci://a\n"),
    ("EXTENSION_POLICY", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: keyfence, namespace: n}\nspec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}]\n  wasm:\n  - name: keyfence\n    code: {type: Image, image: {url: a}}\n"),
    ("CONFIG_MAP", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: gateway}\n"),
    ("SECRET", "apiVersion: v1\nkind: Secret\nmetadata: {name: gateway}\n"),
    ("ENVOY", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration: {\"@type\": type.googleapis.com/google.protobuf.Struct, value: POLICY}\n"),
    ("TRUSTING", "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {name: c, namespace: n}\nspec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}]\n  clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}\n"),
];

fn expand(text: &str) -> String {
    // A word may have others in it.
    let words = WORDS.iter().rev().chain(WORDS.iter().rev());
    words.fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
}

/// A manifest, how many policies are accepted, and how the other lines begin after `m.yaml:`.
type Row = (&'static str, usize, &'static [&'static str]);

/// Fields of the manifests.
#[rustfmt::skip]
const FIELDS: &[Row] = &[
    ("WASM_PLUGIN  pluginConfig: POLICY\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  phase: AUTHN\n  priority: null\n  selector: {matchLabels: {a: b}}\n  match: [{mode: SERVER, ports: [{number: 80}]}]\n  vmConfig: {env: [{name: A, value: b}]}\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  pluginConfiguration: {}\n", 1, &["7:3: error: spec.pluginConfiguration: unknown field; take it out"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  imagePullSecrets: a\n", 1, &["7:3: error: spec.imagePullSecrets: unknown field; did you mean imagePullSecret?"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  failStrategy: FAIL_CLOSED\n", 1, &["7:17: error: spec.failStrategy: \"FAIL_CLOSED\": must be one of FAIL_CLOSE, FAIL_OPEN, FAIL_RELOAD; did you mean \"FAIL_CLOSE\"?"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  failStrategy: FAIL_OPEN\n", 1, &["7:17: warning: spec.failStrategy: \"FAIL_OPEN\": while the agent cannot fetch the module, and once the filter has failed, every request passes unchecked; write FAIL_CLOSE, or from Istio 1.27 FAIL_RELOAD"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  failStrategy: FAIL_RELOAD\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  phase: true\n", 1, &["7:10: error: spec.phase: true: expected a string, found a boolean"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  selector: {matchLabels: {a: 1}}\n", 1, &["7:31: error: spec.selector.matchLabels.a: 1: expected a string, found a number; put it in quotes"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  selector: {labels: {a: b}}\n", 1, &["7:14: error: spec.selector.labels: unknown field; take it out"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  match: {mode: SERVER}\n", 1, &["7:10: error: spec.match: expected a list, found an object; write a list"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  match: [{mode: INBOUND}]\n", 1, &["7:18: error: spec.match[0].mode: \"INBOUND\": must be one of CLIENT, SERVER"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  url: oci://b\n", 1, &["7:3: error: spec.url: duplicate field"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\nspecs: {}\n", 1, &["7:1: error: specs: unknown field; did you mean spec?"]),
    ("apiVersion: extensions.istio.io/v1\nkind: WasmPlugin\nspec: {pluginName: keyfence, pluginConfig: POLICY}\n", 1, &["1:13: error: apiVersion: \"extensions.istio.io/v1\": must be one of extensions.istio.io/v1alpha1"]),
    ("WASM_PLUGIN  pluginConfig: {keyz: []}\n  phase: AUTH\n", 0, &["6:18: error: keyz: unknown field", "7:10: error: spec.phase: \"AUTH\": must be one of"]),
    ("TRAFFIC_EXTENSION    pluginConfig: POLICY\n", 1, &[]),
    ("TRAFFIC_EXTENSION    pluginConfig: {keyz: []}\n", 0, &["7:20: error: keyz: unknown field"]),
    ("TRAFFIC_EXTENSION    pluginConfig: POLICY\n    failStrategy: FAIL_OPEN\n", 1, &["8:19: warning: spec.wasm.failStrategy: \"FAIL_OPEN\": while the agent cannot"]),
    ("TRAFFIC_EXTENSION    pluginConfig: POLICY\n  failStrategy: FAIL_CLOSE\n", 1, &["8:3: error: spec.failStrategy: unknown field"]),
    ("TRAFFIC_EXTENSION    pluginConfig: POLICY\n  phase: UNSPECIFIED_PHASE\n", 1, &["8:10: error: spec.phase: \"UNSPECIFIED_PHASE\": must be one of AUTHN, AUTHZ, STATS, UNSPECIFIED"]),
    ("apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {name: other}\nspec: {lua: {inlineCode: a}}\n---\nWASM_PLUGIN  pluginConfig: POLICY\n", 1, &[]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: false\n", 1, &[]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: no\n", 1, &[]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: true\n", 1, &["10:15: warning: spec.wasm[0].failOpen: true: if the image is missing, requests without a key pass at once; with a policy that the filter refuses, they pass after the next restart; write false"]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: yes\n", 1, &["10:15: warning: spec.wasm[0].failOpen: true: "]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: yesplease\n", 1, &["10:15: error: spec.wasm[0].failOpen: \"yesplease\": expected true or false, found a string; write true or false"]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: 'true'\n", 1, &["10:15: error: spec.wasm[0].failOpen: \"true\": expected true or false, found a string"]),
    ("EXTENSION_POLICY    config: POLICY\n    failClosed: true\n", 1, &["10:5: error: spec.wasm[0].failClosed: unknown field; "]),
    ("EXTENSION_POLICY    config: POLICY\n  - name: other\n    failOpen: true\n    code: {type: Oci}\n", 1, &["12:18: error: spec.wasm[1].code.type: \"Oci\": must be one of Image, HTTP"]),
    ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: extensions.istio.io/v1alpha1\n  kind: WasmPlugin\n  spec: {pluginName: keyfence, pluginConfig: POLICY, failStrategy: FAIL_OPEN}\n- apiVersion: extensions.istio.io/v1alpha1\n  kind: WasmPlugin\n  spec: {pluginName: other, failStrategy: FAIL_OPEN, surplus: 1}\n", 1, &["6:177: warning: items[0].spec.failStrategy: \"FAIL_OPEN\""]),
    ("ENVOY      failure_policy: FAIL_RELOAD\n", 1, &[]),
    ("ENVOY      failure_policy: FAIL_OPEN\n", 1, &["7:23: warning: static_resources.x[0].config.failure_policy: \"FAIL_OPEN\": once the filter has failed or refused the policy, every request passes unchecked; write FAIL_RELOAD"]),
    ("ENVOY      fail_open: true\n", 1, &["7:18: warning: static_resources.x[0].config.fail_open: true: "]),
    ("ENVOY      fail_open: false\n", 1, &[]),
    // Names and values as protobuf's JSON has them, too.
    ("ENVOY      failOpen: true\n", 1, &["7:17: warning: static_resources.x[0].config.failOpen: true: "]),
    ("ENVOY      failurePolicy: FAIL_OPEN\n", 1, &["7:22: warning: static_resources.x[0].config.failurePolicy: \"FAIL_OPEN\": "]),
    ("ENVOY      failure_policy: 3\n", 1, &["7:23: warning: static_resources.x[0].config.failure_policy: 3: "]),
    ("ENVOY      failure_policy: '3'\n", 1, &["7:23: warning: static_resources.x[0].config.failure_policy: \"3\": "]),
    ("ENVOY      failure_policy: fail_open\n", 1, &["7:23: warning: static_resources.x[0].config.failure_policy: \"fail_open\": "]),
    ("ENVOY      failure_policy: 1\n", 1, &[]),
    ("ENVOY      fail_open: 'true'\n", 1, &["7:18: warning: static_resources.x[0].config.fail_open: \"true\": "]),
    ("ENVOY      fail_open: 'True'\n", 1, &["7:18: warning: static_resources.x[0].config.fail_open: \"True\": "]),
    ("ENVOY      fail_open: 'false'\n", 1, &[]),
    ("staticResources:\n  x:\n  - config: {rootId: keyfence, vmConfig: {}, configuration: {\"@type\": type.googleapis.com/google.protobuf.Struct, value: {keyz: []}}}\n", 0, &["3:123: error: keyz: unknown field"]),
    // Envoy takes the last.
    ("ENVOY      fail_open: false\n      fail_open: true\n", 1, &["8:18: warning: static_resources.x[0].config.fail_open: true: "]),
    ("ENVOY      fail_open: true\n      fail_open: false\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: {keyz: []}\n  pluginConfig: POLICY\n", 1, &["7:3: error: spec.pluginConfig: duplicate field"]),
    // Documents of nothing, as Helm and people write them.
    ("WASM_PLUGIN  pluginConfig: POLICY\n---\n", 1, &[]),
    ("---\n# Source: gateway/templates/plugin.yaml\n---\nWASM_PLUGIN  pluginConfig: POLICY\n---\n# Source: gateway/templates/none.yaml\n---\nnull\n...\n", 1, &[]),
    ("---\nPOLICY\n---\n", 1, &[]),
    ("---\n# Nothing.\n---\n", 0, &["1:4: error: configuration: expected an object, found null"]),
    // Other programs' plugins, in the same file.
    ("WASM_PLUGIN  pluginConfig: POLICY\n---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: coraza}\nspec: {pluginConfig: {rules: []}, failStrategy: FAIL_OPEN}\n", 1, &[]),
    ("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: coraza}\nspec: {pluginConfig: {rules: []}}\n---\nEXTENSION_POLICY    config: POLICY\n", 1, &[]),
    ("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: coraza}\nspec: {pluginConfig: {rules: []}}\n", 0, &["4:23: error: rules: unknown field"]),
];

/// A `ClientTrafficPolicy` in the same source.
#[rustfmt::skip]
const ADDRESSES: &[Row] = &[
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}}\nTRUSTING", 1, &["9:13: warning: spec.wasm[0].config: the ClientTrafficPolicy takes the address from X-Forwarded-For, and with client_ip \"peer\" every key with allowed_ips is refused for requests that have the header; write client_ip: forwarded"]),
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}, client_ip: peer}\nTRUSTING", 1, &["9:67: warning: spec.wasm[0].config.client_ip: the ClientTrafficPolicy"]),
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}, client_ip: forwarded}\nTRUSTING", 1, &[]),
    ("EXTENSION_POLICY    config: POLICY\nTRUSTING", 1, &[]),
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}}\n", 1, &[]),
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}}\n---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {name: c, namespace: n}\nspec:\n  targetRefs: [{kind: Gateway, name: other}]\n  clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}\n", 1, &[]),
    ("EXTENSION_POLICY    config: {anonymous: {allowed_ips: [192.0.2.0/24]}}\n---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {name: c, namespace: n}\nspec:\n  targetRefs: [{kind: Gateway, name: eg}]\n  clientIPDetection: {xForwardedFor: {numTrustedHops: 0}}\n", 1, &[]),
];

/// Policies in ConfigMaps and Secrets. `base64(…)` is what Kubernetes has in `data`.
#[rustfmt::skip]
const FILES: &[Row] = &[
    ("CONFIG_MAPdata:\n  policy.json: |\n    {\"keys\": [{\"id\": \"a\", \"api_key\": \"SHA\", \"kind\": \"secret\"}]}\n", 1, &[]),
    ("CONFIG_MAPdata:\n  policy.json: |\n    {\n      \"keys\": [{\"id\": \"a\", \"api_key\": \"SHA\", \"kind\": \"secrets\"}]\n    }\n", 0, &["7:122: error: keys[0].kind: \"secrets\": must be one of"]),
    ("CONFIG_MAPdata:\n  policy.json: |\n    {\n      \"keys\": [{\"api_key\" 1}]\n    }\n", 0, &["7:27: error: configuration: this is not JSON: expected `:`"]),
    ("CONFIG_MAPdata:\n  policy.json: '{\"keys\": [{\"api_key\" 1}]}'\n", 0, &["5:16: error: configuration: this is not JSON: expected `:`"]),
    ("CONFIG_MAPdata:\n  policy.yaml: |\n    # One key.\n    keys:\n    - id: on\n      api_key: SHA\n      kind: secret\n", 0, &["8:11: error: keys[0].id: true: expected a string"]),
    ("CONFIG_MAPdata:\n  policy.yaml: |\n    keys:\n    - api_key: [\n", 0, &["7:16: error: this is not YAML"]),
    ("CONFIG_MAPdata:\n  policy: |\n    keys:\n    - {id: a, api_key: SHA, kind: secret}\n", 1, &[]),
    ("CONFIG_MAPdata:\n  policy: |\n    anonymous: {allowed_origin: []}\n", 0, &["6:17: error: anonymous.allowed_origin: unknown field"]),
    ("CONFIG_MAPdata:\n  README: 'keys: [{id: a, api_key: b'\n  nginx.conf: |\n    events {\n  jwks.json: '{\"keys\": [{\"kty\": \"OKP\", \"kid\": \"a\"}]}'\n  app.yaml: |\n    keys: []\n    anonymous: true\n  broken.yaml: 'a: ['\n  policy.json: '{\"anonymous\": {\"name\": \"a\"}}'\n", 1, &["5:11: error: this is not YAML"]),
    ("CONFIG_MAPdata:\n  nginx.conf: |\n    events {\n  jwks.json: '{\"keys\": [{\"kty\": \"OKP\", \"kid\": \"a\"}]}'\n  app.yaml: |\n    keys: []\n    anonymous: true\n  broken.yaml: 'a: ['\n  empty: ''\n  policy.json: '{\"anonymous\": {\"name\": \"a\"}}'\n", 1, &[]),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keyfence}\ndata:\n  policy.json: |\n    {\"keyz\": []}\n  README: anything\n  dashboard.json: '{\"title\": \"keyfence\"}'\n  alerts.yaml: '{groups: []}'\n  policy.rego: 'package a'\n", 0, &["6:6: error: keyz: unknown field; did you mean keys?"]),
    ("CONFIG_MAPdata:\n  keyfence.yaml: |\n    keyz: []\n", 0, &["6:5: error: keyz: unknown field; did you mean keys?"]),
    ("CONFIG_MAPdata:\n  keyfence.yaml: |\n    a: [\n", 0, &["6:8: error: this is not YAML"]),
    ("CONFIG_MAPdata:\n  keyfence-policy.yml: |\n    keyz: []\n", 0, &["6:5: error: keyz: unknown field; did you mean keys?"]),
    ("CONFIG_MAPdata:\n  policy.yml: |\n    keyz: []\n  other-policy.json: '{\"Statement\": []}'\n  keyfence.yml: |\n    anonymous: {name: a}\n", 1, &[]),
    ("CONFIG_MAPdata:\n  filter.yaml: |\n    resources:\n    - typed_config:\n        config:\n          name: keyfence\n          fail_open: true\n          vm_config: {}\n          configuration:\n            \"@type\": type.googleapis.com/google.protobuf.StringValue\n            value: |\n              {\n                \"keyz\": []\n              }\n", 0, &["16:17: error: keyz: unknown field", "10:22: warning: resources[0].typed_config.config.fail_open: true: once"]),
    ("CONFIG_MAPdata:\n  filter.json: |\n    {\"resources\": [{\"typed_config\": {\"config\": {\"vm_config\": {\"vm_id\": \"keyfence\"},\n    \"configuration\": {\"@type\": \"type.googleapis.com/google.protobuf.StringValue\", \"value\": \"{\\\"keyz\\\": []}\"}}}}]}\n", 0, &["7:92: error: keyz: unknown field"]),
    ("CONFIG_MAPdata:\n  plugin.yaml: |\n    apiVersion: extensions.istio.io/v1alpha1\n    kind: WasmPlugin\n    spec: {pluginName: keyfence, failStrategy: FAIL_SHUT, pluginConfig: POLICY}\n", 1, &["8:48: error: spec.failStrategy: \"FAIL_SHUT\""]),
    ("CONFIG_MAPbinaryData:\n  policy.json: base64({\"keys\": [{\"id\": \"a\", \"api_key\": \"SHA\", \"kind\": \"secret\"}]})\n", 1, &[]),
    ("CONFIG_MAPdata:\n  keyfence.json: |\n\n\n    {\n      \"keyz\": []\n    }\n", 0, &["9:7: error: keyz: unknown field"]),
    ("CONFIG_MAPdata:\n  envoy.yaml: |\n    x: {vm_config: {vm_id: coraza}, fail_open: true, configuration: {\"@type\": type.googleapis.com/google.protobuf.StringValue, value: '{\"rules\": []}'}}\n  policy.yaml: |\n    anonymous: {name: a}\n", 1, &[]),
    ("SECRETdata:\n  keyfence.yaml: 'keys: []'\n", 0, &["5:18: error: this is not base64; write the text itself in stringData, or its base64"]),
    ("SECRETdata:\n  keyfence.yaml: //5hAA==\n", 0, &["5:18: error: this is not UTF-8; save the file as UTF-8"]),
    ("SECRETstringData:\n  policy.yaml: |\n    keys:\n    - {id: a, api_key: SHA, kind: secret}\n", 1, &[]),
    ("SECRETdata:\n  policy.yaml: base64(POLICY)\n", 1, &[]),
    ("SECRETdata:\n  policy.yaml: base64(keys: [{id: a, api_key: 'SHA', kind: secret, colour: red}])\n", 0, &["5:16: error: keys[0].colour: unknown field"]),
    ("SECRETdata:\n  other: '%%%'\n  plugin.wasm: AGFzbQ==\n  keyfence-api-key: b25l\n  policy.yaml: base64(POLICY)\n", 1, &[]),
    ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  data:\n    policy.yaml: base64(POLICY)\n- apiVersion: v1\n  kind: ConfigMap\n  data:\n    policy.yaml: |\n      keys: [{id: a}]\n", 1, &["12:14: error: keys[0]: api_key is missing"]),
];

/// Scalars and names, as the API server got them from kubectl.
#[rustfmt::skip]
const SCALARS: &[Row] = &[
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 2026_01}}\n", 0, &["6:36: error: anonymous.name: 202601: expected a string, found a number"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 0b11}}\n", 0, &["6:36: error: anonymous.name: 3: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: -0B11}}\n", 0, &["6:36: error: anonymous.name: -3: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 0o17}}\n", 0, &["6:36: error: anonymous.name: 15: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 0x_F}}\n", 0, &["6:36: error: anonymous.name: 15: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 1_0.5}}\n", 0, &["6:36: error: anonymous.name: 10.5: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 017}}\n", 0, &["6:36: error: anonymous.name: 15: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 08}}\n", 0, &["6:36: error: anonymous.name: 8: expected a string"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: _1}}\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 0b2}}\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: .5_0}}\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: 2026-01-01}}\n", 1, &[]),
    ("WASM_PLUGIN  priority: 1_000\n  pluginConfig: POLICY\n", 1, &[]),
    // kubectl makes this scope `true`.
    ("WASM_PLUGIN  pluginConfig: {scopes: {on: [{path: /a, methods: [GET]}]}, anonymous: {scopes: ['on']}}\n", 0, &["6:83: error: anonymous.scopes[0]: \"on\": "]),
    ("WASM_PLUGIN  pluginConfig: {scopes: {'on': [{path: /a, methods: [GET]}]}, anonymous: {scopes: ['on']}}\n", 1, &[]),
    ("scopes: {on: [{path: /a, methods: [GET]}]}\nanonymous: {scopes: ['on']}\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig: {scopes: {a: [{path: /a, methods: [GET]}]}, anonymous: {scopes: [a]}}\n", 1, &[]),
    // kubectl decodes `!!binary`.
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: !!binary YQ==}}\n", 0, &["6:45: error: this is not YAML: readers do not agree on a value with a tag (a word after !); write the value without the tag"]),
    ("EXTENSION_POLICY    config: POLICY\n    failOpen: !!bool 'true'\n", 0, &["10:22: error: this is not YAML: readers do not agree"]),
    ("WASM_PLUGIN  pluginConfig: {anonymous: {name: !!str 5, allowed_origins: [! 'https://a.example']}}\n", 1, &[]),
];

/// Merge keys of YAML, as `kubectl` resolves them.
#[rustfmt::skip]
const MERGES: &[Row] = &[
    ("WASM_PLUGIN  pluginConfig:\n    keys:\n    - &a {id: a, api_key: 'SHA', kind: secret}\n    - {<<: *a, id: b, api_key: other-key-with-32-bytes-of-text-0}\n", 1, &["9:32: warning: keys[1].api_key"]),
    ("WASM_PLUGIN  pluginConfig:\n    keys:\n    - &a {id: a, api_key: 'SHA', kind: secrets}\n    - {<<: *a, id: b, api_key: 'sha256:0000000000000000000000000000000000000000000000000000000000000001'}\n", 0, &["8:108: error: keys[0].kind", "8:108: error: keys[1].kind"]),
    ("WASM_PLUGIN  pluginConfig:\n    <<: [{client_ip: forwarded}, {client_ip: wrong, anonymous: {name: a}}]\n", 1, &[]),
    ("WASM_PLUGIN  pluginConfig:\n    <<: [{client_ip: wrong}, {client_ip: forwarded}]\n", 0, &["7:22: error: client_ip: \"wrong\""]),
    ("WASM_PLUGIN  pluginConfig:\n    <<: {<<: {client_ip: wrong}, anonymous: {name: a}}\n    client_ip: forwarded\n", 1, &[]),
    ("WASM_PLUGIN  <<: {pluginConfig: POLICY, failStrategy: FAIL_OPEN}\n", 1, &["6:153: warning: spec.failStrategy"]),
    ("WASM_PLUGIN  pluginConfig: {client_ip: forwarded, <<: {client_ip: peer}, anonymous: {name: a}}\n", 0, &["6:40: error: kubectl lets << overwrite \"client_ip\", which is before it, and other readers do not; write << first"]),
    ("WASM_PLUGIN  pluginConfig: {<<: {client_ip: peer}, <<: {anonymous: {name: a}}}\n", 0, &["6:41: error: << is there twice; write one with a list: <<: [*a, *b]"]),
    ("WASM_PLUGIN  pluginConfig: {<<: 5}\n", 0, &["6:18: error: << merges an object, or a list of objects, and this is neither; write <<: *name, or <<: [*name, *other]"]),
    ("WASM_PLUGIN  pluginConfig: {<<: [{}, 5]}\n", 0, &["6:18: error: << merges an object"]),
    ("WASM_PLUGIN  pluginConfig: POLICY\n  <<: {phase: AUTHN, failStrategy: FAIL_CLOSE, failStrategy: FAIL_OPEN}\n", 1, &["7:48: error: spec.failStrategy: duplicate field", "7:62: warning: spec.failStrategy: \"FAIL_OPEN\""]),
    ("WASM_PLUGIN  pluginConfig: {\"<<\": {client_ip: peer}}\n", 0, &["6:18: error: [\"<<\"]: unknown field"]),
    ("WASM_PLUGIN  pluginConfig: {client_ip: peer, client_ip: peer, <<: {anonymous: {name: a}}}\n", 0, &["6:35: error: client_ip: duplicate field"]),
    // Envoy's own reader takes it for a name, and so does the command line where a policy is a file.
    ("static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.Struct\n        value: {<<: {anonymous: {name: a}}}\n", 0, &["8:17: error: [\"<<\"]: unknown field"]),
    ("{<<: {anonymous: {name: a}}}\n", 0, &["1:2: error: [\"<<\"]: unknown field"]),
];

/// Replaces each `base64(…)`. No text in the tables has a parenthesis of its own.
fn encoded(text: &str) -> String {
    let mut parts = text.split("base64(");
    let mut encoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once(')').unwrap();
        encoded += &STANDARD.encode(inner);
        encoded += rest;
    }
    encoded
}

#[test]
fn check_names_what_is_wrong_in_a_manifest() {
    let mut wrong = Vec::new();
    for (text, accepted, expected) in [FIELDS, ADDRESSES, FILES, SCALARS, MERGES].concat() {
        let text = encoded(&expand(text));
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("m.yaml"), &text).unwrap();
        let output = keyfence(folder.path(), &["check", "m.yaml"], "");
        let (summaries, lines): (Vec<&str>, Vec<&str>) = output
            .stdout
            .lines()
            .partition(|line| line.contains(": policy accepted: "));
        let printed: Vec<&str> = lines.iter().map(|line| line.strip_prefix("m.yaml:").unwrap()).collect();
        let is_as_expected = printed.len() == expected.len()
            && printed
                .iter()
                .zip(expected)
                .all(|(line, expected)| line.starts_with(expected))
            && summaries.len() == accepted
            && output.code == i32::from(expected.iter().any(|line| line.contains(": error: ")))
            && output.stderr.is_empty();
        if !is_as_expected {
            let accepted = summaries.len();
            wrong.push(format!(
                "{text}\n  accepted: {accepted}\n  found: {printed:#?}\n  expected: {expected:#?}\n{}",
                output.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_source_without_a_policy_says_so() {
    let folder = TempDir::new().unwrap();
    for text in [
        "CONFIG_MAPdata: {a: b}\n",
        "CONFIG_MAP",
        "SECRETdata: {a: Yg==}\n",
        "apiVersion: v1\nkind: List\nitems: []\n",
    ] {
        let output = keyfence(folder.path(), &["check", "-"], &expand(text));
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{text}");
        assert!(
            output.stderr.contains("without a Wasm plugin or a policy"),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn a_manifest_counts_in_json_too() {
    let text = expand("EXTENSION_POLICY    config: POLICY\n    failOpen: yesplease\n");
    let output = keyfence(&std::env::temp_dir(), &["check", "--format", "json", "-"], &text);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(1), &json!(0)));
    let expected = json!({
        "severity": "error", "line": 10, "column": 15, "path": "spec.wasm[0].failOpen", "value": "\"yesplease\"",
        "reason": "expected true or false, found a string", "help": "write true or false",
    });
    assert_eq!(report["diagnostics"], json!([expected]));
}

/// A raw key in a Secret is in nothing that is printed.
#[test]
fn no_key_of_a_secret_is_shown() {
    const RAW: &str = "tiger-in-the-night-0123456789";
    for content in [
        format!("{{\"keys\": [{{\"id\": \"a\", \"api_key\": \"{RAW}\", \"kind\": \"secrets\"}}]}}"),
        format!("{{\"keys\": [{{\"id\": \"a\", \"api_key\": \"{RAW}\" \"kind\": \"secrets\"}}]}}"),
        format!("{{\"keys\": [{{\"id\": \"a\", \"apikey\": \"{RAW}\"}}]}}"),
        format!("keys: [{{id: a, api_key: {RAW}: b, kind: secret}}]"),
        format!("keys: [{{id: a, api_key: &x {RAW}, kind: *y}}]"),
        format!("keys: [{{id: a, api_key: [{RAW}], expires_at: {RAW}]"),
        format!("\"{RAW}\""),
    ] {
        for field in ["data", "stringData"] {
            let written = match field {
                "data" => STANDARD.encode(&content),
                _ => serde_json::to_string(&content).unwrap(),
            };
            let secret = format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: keyfence}}\n{field}:\n  policy.yaml: {written}\n"
            );
            let output = keyfence(&std::env::temp_dir(), &["check", "-"], &secret);
            let printed = output.stdout + &output.stderr;
            assert!(printed.contains("standard input:5:16: "), "{secret}\n{printed}");
            assert!(!printed.contains("tiger"), "{secret}\n{printed}");
            assert!(!printed.contains(written.get(..20).unwrap()), "{secret}\n{printed}");
        }
    }
}

/// Merges count as aliases do, and nothing takes time that grows with the square of the source.
#[test]
fn large_manifests_take_little_time() {
    let names = |count: usize| (0..count).map(|index| format!("  a{index}: b\n")).collect::<String>();
    let large = "x".repeat(100_000);
    for (name, text) in [
        (
            "merges of a large object",
            expand("WASM_PLUGIN  pluginConfig:\n")
                + &format!(
                    "    a: &a {{b: {large}}}\n    c:\n{}",
                    "    - {<<: *a}\n".repeat(90_000)
                ),
        ),
        (
            "merges of merges",
            expand("WASM_PLUGIN  pluginConfig:\n    a0: &a0 {b: c}\n")
                + &(1..30_000)
                    .map(|index| format!("    a{index}: &a{index} {{<<: [*a{0}, *a{0}], a: *a{0}}}\n", index - 1))
                    .collect::<String>(),
        ),
        ("unknown fields", expand("WASM_PLUGIN") + &names(200_000)),
        (
            "labels",
            expand("WASM_PLUGIN  selector:\n    matchLabels:\n") + &names(200_000).replace("  a", "      a"),
        ),
        (
            "plugins",
            expand("WASM_PLUGIN  pluginConfig: POLICY\n---\n").repeat(10_000),
        ),
        (
            "files",
            expand("CONFIG_MAPdata:\n  p.yaml: '{anonymous: {name: a}}'\n") + &names(200_000),
        ),
        (
            "aliases in files",
            expand("CONFIG_MAPdata:\n")
                + &(0..2_000)
                    .map(|index| format!("  p{index}.yaml: '{{keys: [{{id: a}}], a: &a [{}], b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a], c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b], d: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]}}'\n", "x".repeat(1_000)))
                    .collect::<String>(),
        ),
        (
            "errors in many documents",
            (expand("WASM_PLUGIN") + "  surplus: 1\n---\n").repeat(80_000),
        ),
        (
            "plugins of many gateways",
            expand("EXTENSION_POLICY").replace("targetRefs: [", &format!("targetRefs: [{}", "{name: a}, ".repeat(20_000)))
                + "    config: {}\n"
                + &"  - {name: keyfence, config: {}}\n".repeat(20_000)
                + &expand("TRUSTING"),
        ),
        (
            "gateways",
            (expand("EXTENSION_POLICY    config: POLICY\nTRUSTING") + "---\n").repeat(5_000),
        ),
    ] {
        let before = Instant::now();
        let output = keyfence(&std::env::temp_dir(), &["check", "-"], &text);
        assert!(output.code < 2, "{name}: {}", output.stderr);
        assert!(
            before.elapsed() < Duration::from_secs(30),
            "{name}: {:?}",
            before.elapsed()
        );
        println!("{name}: {:?}", before.elapsed());
    }
}
