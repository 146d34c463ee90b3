//! keyfence in a Gateway of the Gateway API.

use serde_json::json;

use super::manifest::{adapted, plugin, read};
use super::promises::assert_kept;
use super::proxy::Pod;
use super::{ControlPlane, Proxy};
use crate::harness::Upstream;
use crate::harness::command_line::printed;
use crate::registry::{Format, Registry};

const NAMESPACE: &str = "istio-ingress";

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn target_refs_find_the_gateway() {
    let plane = ControlPlane::shared();
    // It gives a Gateway's listeners to pods that it knows only, and there are none here.
    if plane.version == "1.30" {
        return println!("not with Istio 1.30");
    }
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::at("10.66.0.3:0".parse().unwrap());
    let mut pod = Pod::gateway(NAMESPACE, "public");
    let port = 18_079;
    let selector = json!({"gateway.networking.k8s.io/gateway-name": "public"});
    let resources = [
        // As istiod's deployment controller makes it, which does not run without the injector's webhook.
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "public-istio", "namespace": NAMESPACE},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": port, "appProtocol": "http"}]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "public", "namespace": NAMESPACE},
            "spec": {"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [{"name": "behind-public", "port": 80}]}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "behind-public", "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": upstream.address().port()}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "behind-public", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "behind-public"}},
            "ports": [{"name": "http", "port": upstream.address().port(), "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.66.0.3"], "conditions": {"ready": true}}],
        }),
    ];
    for resource in resources {
        plane.apply(&resource.to_string());
    }
    // The labels of its pods.
    pod.labels = selector;
    let proxy = Proxy::start(&plane, pod).listening_at(port);

    // A selector with the pods' labels would do as well, but the Gateway's name is what people know.
    let mut manifest = read("wasmplugin-gateway.yaml");
    manifest["spec"]["selector"] = json!({"matchLabels": {}});
    let policy = plugin(&mut adapted(manifest, &proxy, &registry))["pluginConfig"].to_string();
    let image = registry.image("0.1.0");
    let arguments = [
        "render",
        "istio",
        "-",
        "--namespace",
        NAMESPACE,
        "--gateway",
        "public",
        "--image",
        &image,
    ];
    plane.apply(&printed(&arguments, &policy));
    assert_kept("targetRefs", &proxy, &upstream);
}
