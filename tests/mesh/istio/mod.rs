//! Istio: istiod, its agents and Kubernetes' API server.

mod admission;
mod control_plane;
mod failures;
mod feed;
mod gateway_api;
mod guide;
mod manifest;
mod monitoring;
mod promises;
mod proxy;
mod sidecar;
mod updates;
mod variants;

pub use control_plane::{ControlPlane, shipped_mesh_config};
pub use proxy::Proxy;

use serde_json::{Value, json};

use crate::harness::Upstream;

/// Sends everything that comes to a gateway to an upstream on loopback.
pub fn route(proxy: &Proxy, upstream: &Upstream) -> String {
    let name = &proxy.pod.name;
    let metadata = json!({"name": name, "namespace": proxy.pod.namespace});
    let host = format!("{name}.example.internal");
    let address = upstream.address();
    let resources = [
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": metadata,
            "spec": {
                "selector": proxy.pod.labels,
                "servers": [{"port": {"number": proxy.listener_port(), "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata,
            "spec": {
                "hosts": ["*"], "gateways": [name],
                "http": [{"route": [{"destination": {"host": host, "port": {"number": 80}}}]}],
            },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata,
            "spec": {
                "hosts": [host], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": address.port()}],
                "endpoints": [{"address": address.ip()}],
            },
        }),
    ];
    let documents: Vec<String> = resources.iter().map(Value::to_string).collect();
    documents.join("\n---\n")
}
