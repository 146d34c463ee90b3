//! What an EnvoyProxy adds to Envoy's bootstrap.

use serde_json::json;

use super::EnvoyGateway;
use super::resources::manifest;

/// How to add a cluster that no route uses, such as one that a filter calls.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn a_json_patch_adds_a_cluster() {
    let mut proxy = manifest("envoy-proxy");
    let patches = proxy["spec"]["bootstrap"]["jsonPatches"].as_array_mut().unwrap();
    patches.push(json!({
        "op": "add",
        "path": "/static_resources/clusters/-",
        "value": {
            "name": "keys",
            "type": "STRICT_DNS",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "keys",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 8089}}}}]}],
            },
        },
    }));
    let gateway = EnvoyGateway::start(&[proxy]);
    let clusters = gateway.admin("/clusters");
    assert!(
        clusters.contains("keys::127.0.0.1:8089::health_flags::healthy"),
        "{clusters}"
    );
}

/// Envoy Gateway's default is the same; `updates.rs` has another value.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn the_drain_time_is_the_one_of_the_manifest() {
    let gateway = EnvoyGateway::start(&[]);
    let arguments = gateway.proxy_arguments().join(" ");
    assert!(arguments.contains("--drain-time-s 60"), "{arguments}");
}
