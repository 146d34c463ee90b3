//! keyfence's manifests for Istio, as a test's own gateway takes them.

use std::fs;

use serde_json::{Value, json};

use super::Proxy;
use crate::harness::gateway::repository;
use crate::registry::{Registry, digest};

/// The raw keys of the manifests' `frontend-search-prod` and `backend-indexer`; nobody has those that the files have.
pub const FRONTEND: &str = "frontend-key-0123456789";
pub const BACKEND: &str = "backend-key-0123456789";

pub fn read(path: &str) -> Value {
    let text = fs::read_to_string(repository().join("envoy/istio").join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A plugin's manifest for this proxy, with an image that is there and keys that are known. The rest is as it was.
pub fn adapted(mut manifest: Value, proxy: &Proxy, registry: &Registry) -> Value {
    manifest["metadata"]["name"] = json!(proxy.pod.name);
    *labels(&mut manifest) = proxy.pod.labels.clone();
    let plugin = plugin(&mut manifest);
    plugin["url"] = json!(format!("oci://{}", registry.image("0.1.0")));
    for key in plugin["pluginConfig"]["keys"].as_array_mut().unwrap() {
        let raw = if key["id"] == "backend-indexer" {
            BACKEND
        } else {
            FRONTEND
        };
        key["api_key"] = json!(digest(raw.as_bytes()));
    }
    // The tests' gateways are behind one proxy that appends to `X-Forwarded-For`.
    if proxy.pod.kind == "router" {
        plugin["pluginConfig"]["client_ip"] = json!("forwarded");
    }
    manifest
}

fn labels(manifest: &mut Value) -> &mut Value {
    let selector = if manifest["kind"] == "EnvoyFilter" {
        "/spec/workloadSelector/labels"
    } else {
        "/spec/selector/matchLabels"
    };
    manifest.pointer_mut(selector).unwrap()
}

/// Of a WasmPlugin or a TrafficExtension, the part that names the module and has the policy.
pub fn plugin(manifest: &mut Value) -> &mut Value {
    if manifest["kind"] == "TrafficExtension" {
        &mut manifest["spec"]["wasm"]
    } else {
        &mut manifest["spec"]
    }
}

/// The gateway's WasmPlugin with a key of this raw form as its first, without a limit.
pub fn with_key(proxy: &Proxy, registry: &Registry, raw: &str) -> Value {
    let mut manifest = adapted(read("wasmplugin-gateway.yaml"), proxy, registry);
    let key = &mut manifest["spec"]["pluginConfig"]["keys"][0];
    key["api_key"] = json!(digest(raw.as_bytes()));
    key.as_object_mut().unwrap().remove("rate_limit_per_minute");
    manifest
}
