//! keyfence in the sidecar of a workload.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::feed::{SERVER, cluster_of_service, service};
use super::manifest::{FRONTEND, adapted, read};
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route};
use crate::fed_keys::{self, Gateway};
use crate::harness::command_line::printed;
use crate::harness::{Request, Response, Upstream, Version};
use crate::key_server::{KeyServer, TOKEN, TOKEN_ENV};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry, digest};

/// The workload's own address and port; the kernel sends what comes there to the sidecar, as `istio-init` has it in a pod.
const WORKLOAD: &str = "10.66.0.2:8080";

const SITE: &str = "https://yourapp.com";
/// A key for the client's own address, and one for an address that it does not have.
const BY_ADDRESS: &str = "by-address-key-0123456789";
const BY_ANOTHER_ADDRESS: &str = "by-another-address-0123456789";

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
    let pod = Pod {
        environment: vec![(TOKEN_ENV, TOKEN)],
        ..Pod::sidecar("search", "search")
    };
    let proxy = Proxy::start(&plane, pod);
    let mut manifest = adapted(read("wasmplugin-sidecar.yaml"), &proxy, &registry);
    let keys = manifest["spec"]["pluginConfig"]["keys"].as_array_mut().unwrap();
    for (id, raw, network) in [
        ("by-address", BY_ADDRESS, "10.66.0.9/32"),
        ("by-another-address", BY_ANOTHER_ADDRESS, "192.0.2.0/24"),
    ] {
        let key = json!({"id": id, "api_key": digest(raw.as_bytes()), "kind": "secret", "allowed_ips": [network]});
        keys.push(key);
    }
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
    assert_through_gateway(&plane, &mut manifest, &upstream);
    assert!(
        proxy
            .metrics()
            .contains(r#"keyfence_requests_total{decision="deny",code="index_not_allowed"} 1"#)
    );
    within(PATIENCE, "the access log", || {
        proxy.log().contains(r#""decision":"deny:index_not_allowed""#)
    });
    assert_fed(&plane, &proxy, &registry, &upstream);
}

/// The sidecar takes the address of the gateway's caller, whatever that caller wrote into the header. That is the client if the gateway is
/// the edge, and else the proxy before the gateway, although `numTrustedProxies` gives the gateway itself the client's address.
fn assert_through_gateway(plane: &ControlPlane, manifest: &mut Value, upstream: &Upstream) {
    let gateway = Proxy::start(plane, Pod::gateway("istio-ingress", "before-search"));
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "search", "namespace": "search", "labels": {"kubernetes.io/service-name": "search"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.66.0.2"], "conditions": {"ready": true}}],
    });
    plane.apply(&endpoints.to_string());
    let resources = route(&gateway, upstream);
    let mut resources: Vec<Value> = resources
        .split("\n---\n")
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    resources[1]["spec"]["http"][0]["route"][0]["destination"] =
        json!({"host": "search.search.svc.cluster.local", "port": {"number": 8080}});
    for resource in resources {
        plane.apply(&resource.to_string());
    }
    manifest["spec"]["pluginConfig"]["client_ip"] = json!("forwarded");
    plane.apply(&manifest.to_string());
    let with = |key: &str, addresses: &str| Request::get("/any").bearer(key).header("X-Forwarded-For", addresses);
    within(PATIENCE, "the way through gateway and sidecar", || {
        let answer = gateway.try_send(&with(BY_ADDRESS, "192.0.2.7"));
        answer.is_ok_and(|answer| answer.status == 200)
    });
    let page = Request::get("/v1/indexes/products/search")
        .bearer(FRONTEND)
        .header("Origin", SITE);
    for (name, request, status, code) in [
        (
            "the address of who called",
            with(BY_ADDRESS, "192.0.2.7, 198.51.100.7"),
            200,
            "",
        ),
        (
            "an address that it wrote",
            with(BY_ANOTHER_ADDRESS, "192.0.2.7"),
            403,
            "ip_not_allowed",
        ),
        ("a page", page, 200, ""),
        ("no key", Request::get("/"), 401, "missing_api_key"),
    ] {
        let response = gateway.send(&request);
        assert_eq!(
            (response.status, response.code().as_str()),
            (status, code),
            "{name}: {response:?}"
        );
    }
}

/// The workload, with a policy that has its keys from the feed.
struct Fed<'p> {
    plane: &'p ControlPlane,
    proxy: &'p Proxy,
    image: String,
}

const FEED: &str = "fed-sidecar";

impl Gateway for Fed<'_> {
    fn try_send(&self, request: &Request) -> io::Result<Response> {
        try_send(request)
    }

    fn metrics(&self) -> String {
        self.proxy.metrics()
    }

    fn config_dump(&self) -> String {
        self.proxy.admin("/config_dump")
    }

    fn apply(&self, docs_url: &str) {
        let image = format!("--image={}", self.image);
        let selected = ["--name=search", "--namespace=search", "--selector=app=search"];
        let arguments = [&["render", "istio", "-", &image], &selected[..]].concat();
        let policy = fed_keys::policy(&cluster_of_service(FEED), docs_url);
        let rendered = printed(&arguments, &policy.to_string());
        // `render` has gateways in mind, which have no requests of their own.
        let rendered = rendered.replacen("\nspec:\n", "\nspec:\n  match:\n  - mode: SERVER\n", 1);
        self.plane.apply(&rendered);
    }
}

fn assert_fed(plane: &ControlPlane, proxy: &Proxy, registry: &Registry, upstream: &Upstream) {
    let mut server = KeyServer::start(SocketAddr::from((SERVER, 7080)), &[]);
    plane.apply(&service(FEED, SocketAddr::from((SERVER, 7080))));
    let image = registry.image("0.1.0");
    let fed = Fed { plane, proxy, image };
    let cluster = cluster_of_service(FEED);
    fed_keys::assert_kept("sidecar", &fed, &mut server, &cluster, "search.search", upstream);
}

fn try_send(request: &Request) -> io::Result<Response> {
    let request = request.clone().from("10.66.0.9");
    request.send(Version::Http1, WORKLOAD.parse().unwrap())
}

fn send(request: &Request) -> Response {
    try_send(request).unwrap()
}

/// What comes from the sidecar itself, whose address is 127.0.0.6, goes to the workload.
fn redirect_to_sidecar() {
    let rule = "-t nat -A OUTPUT -p tcp -d 10.66.0.2 --dport 8080 ! -s 127.0.0.6 -j REDIRECT --to-ports 15006";
    let output = Command::new("iptables").args(rule.split(' ')).output();
    let output = output.expect("iptables (Debian: apt-get install iptables)");
    assert!(output.status.success(), "{output:?}");
}
