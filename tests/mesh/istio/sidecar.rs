//! keyfence in the sidecar of a workload.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::manifest::{FRONTEND, adapted, read};
use super::proxy::Pod;
use super::{ControlPlane, Proxy};
use crate::harness::{Request, Response, Upstream, Version};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry, digest};

/// The workload's own address and port; the kernel sends what comes there to the sidecar, as `istio-init` has it in a pod.
const WORKLOAD: &str = "10.66.0.2:8080";

const SITE: &str = "https://yourapp.com";
const BY_ADDRESS: &str = "by-address-key-0123456789";

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_workload_is_asked_through_its_sidecar() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::at(WORKLOAD.parse().unwrap());
    redirect_to_sidecar();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "search", "namespace": "search"},
        "spec": {"selector": {"app": "search"}, "ports": [{"name": "http", "port": 8080, "targetPort": 8080}]},
    });
    plane.apply(&service.to_string());
    let proxy = Proxy::start(&plane, Pod::sidecar("search", "search"));
    let mut manifest = adapted(read("wasmplugin-sidecar.yaml"), &proxy, &registry);
    let keys = manifest["spec"]["pluginConfig"]["keys"].as_array_mut().unwrap();
    keys.push(json!({"id": "by-address", "api_key": digest(BY_ADDRESS.as_bytes()), "kind": "secret", "allowed_ips": ["10.66.0.9/32", "192.0.2.0/24"]}));
    plane.apply(&manifest.to_string());
    within(PATIENCE, "the policy", || {
        send(&Request::get("/")).code() == "missing_api_key"
    });
    upstream.take();

    let page = |path: &str| Request::get(path).bearer(FRONTEND).header("Origin", SITE);
    let by_address = Request::get("/any").bearer(BY_ADDRESS);
    let search = "/v1/indexes/products/search";
    for (name, request, status, code) in [
        (
            "a preflight",
            Request::preflight(search, SITE, "GET", "authorization"),
            204,
            "",
        ),
        ("a key, its origin and its index", page(search), 200, ""),
        (
            "another index",
            page("/v1/indexes/orders/search"),
            403,
            "index_not_allowed",
        ),
        (
            "another site",
            Request::get(search)
                .bearer(FRONTEND)
                .header("Origin", "https://evil.example"),
            403,
            "origin_not_allowed",
        ),
        ("the caller's own address", by_address.clone(), 200, ""),
        // Whoever reaches the sidecar can write the header, so it counts as not known.
        (
            "an address that the caller wrote",
            by_address.header("X-Forwarded-For", "192.0.2.7"),
            403,
            "ip_not_allowed",
        ),
    ] {
        let response = send(&request);
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{name}: {response:?}"
        );
    }
    let received = upstream.take();
    let identities: Vec<String> = received.iter().flat_map(|request| request.all("x-key-id")).collect();
    assert_eq!(identities, ["frontend-search-prod", "by-address"]);
    assert!(
        proxy
            .metrics()
            .contains(r#"keyfence_requests_total{decision="deny",code="index_not_allowed"} 1"#)
    );
    within(Duration::from_secs(20), "the access log", || {
        proxy.log().contains(r#""decision":"deny:index_not_allowed""#)
    });
}

fn send(request: &Request) -> Response {
    request
        .clone()
        .from("10.66.0.9")
        .send(Version::Http1, WORKLOAD.parse().unwrap())
        .unwrap()
}

/// What comes from the sidecar itself, whose address is 127.0.0.6, goes to the workload.
fn redirect_to_sidecar() {
    let rule = "-t nat -A OUTPUT -p tcp -d 10.66.0.2 --dport 8080 ! -s 127.0.0.6 -j REDIRECT --to-ports 15006";
    let output = Command::new("iptables").args(rule.split(' ')).output();
    let output = output.expect("iptables (Debian: apt-get install iptables)");
    assert!(output.status.success(), "{output:?}");
}
