//! The resources that a gateway has: those of `envoy/envoy-gateway`, with what a test changes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::gateway::repository;

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
