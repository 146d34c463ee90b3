//! keyfence in an ingress gateway.

use serde_json::{Value, json};

use super::proxy::Pod;
use super::{ControlPlane, Proxy};
use crate::harness::{Request, Upstream};
use crate::registry::{Format, Registry};

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn smoke() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    let _ = (&plane, &registry);
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "smoke"));
    plane.apply(&route(&proxy, &upstream));
    std::thread::sleep(std::time::Duration::from_secs(2));
    println!("{:?}", proxy.send(&Request::get("/")));
    println!(
        "{}",
        proxy
            .metrics()
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    );
    if std::env::var_os("HOLD").is_some() {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

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
