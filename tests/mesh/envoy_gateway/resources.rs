//! The resources that a gateway has: those of `envoy/envoy-gateway`, with what a test changes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::gateway::repository;
use crate::registry::digest;

/// A manifest of `envoy/envoy-gateway`.
pub fn manifest(name: &str) -> Value {
    let path = repository().join(format!("envoy/envoy-gateway/{name}.yaml"));
    let text = fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a gateway has unless a test says otherwise. There is a proxy in front of it only where a test has one.
pub fn shipped() -> [Value; 5] {
    let mut route = manifest("http-route");
    // There are no Services without Kubernetes.
    route["spec"]["rules"][0]["backendRefs"] = json!([
        {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "upstream"},
    ]);
    [
        manifest("gateway-class"),
        manifest("gateway"),
        manifest("envoy-proxy"),
        manifest("extension-policy"),
        route,
    ]
}

/// The shipped EnvoyProxy, with this many seconds for connections and streams under an old policy.
pub fn drain_time(seconds: u64) -> Value {
    let mut resource = manifest("envoy-proxy");
    resource["spec"]["shutdown"]["drainTimeout"] = json!(format!("{seconds}s"));
    resource
}

/// The keys of the shipped policy, once [`with_known_keys`] has replaced the digests, whose keys nobody has.
pub const WEB_KEY: &str = "web_key_0123456789";
pub const SERVER_KEY: &str = "server_key_0123456789";

pub fn with_known_keys(mut extension_policy: Value) -> Value {
    let keys = extension_policy["spec"]["wasm"][0]["config"]["keys"]
        .as_array_mut()
        .unwrap();
    for (key, raw) in keys.iter_mut().zip([WEB_KEY, SERVER_KEY]) {
        key["api_key"] = json!(digest(raw.as_bytes()));
    }
    extension_policy
}

/// The shipped EnvoyExtensionPolicy with another policy.
pub fn extension_policy(policy: Value) -> Value {
    let mut resource = manifest("extension-policy");
    resource["spec"]["wasm"][0]["config"] = policy;
    resource
}
