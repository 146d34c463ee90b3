//! Keys from the server of keys, with what `keyfence render` writes for a policy with `keys_from`.

use std::io;
use std::net::SocketAddr;

use serde_json::json;

use super::proxy::Pod;
use super::{ControlPlane, Proxy, route};
use crate::fed_keys::{self, Gateway};
use crate::harness::command_line::printed;
use crate::harness::gateway::built_filter;
use crate::harness::{Request, Response, Upstream};
use crate::key_server::{KeyServer, TOKEN, TOKEN_ENV};
use crate::process::{PATIENCE, last_lines, within};
use crate::registry::{Format, Registry};

/// Where the server's pod is, with a port for each server.
pub const SERVER: [u8; 4] = [10, 66, 0, 4];

/// What leads to the server.
enum Cluster {
    /// The cluster that Istio makes of the server's Service.
    OfService,
    /// One that `render` adds.
    Added,
}

/// Each target of `render`, with its arguments.
const VARIANTS: &[(&str, &[&str], Cluster)] = &[
    ("fed", &["istio"], Cluster::OfService),
    (
        "fed-extension",
        &["istio", "--kind", "traffic-extension"],
        Cluster::OfService,
    ),
    ("fed-envoy-filter", &["envoy-filter"], Cluster::OfService),
    ("fed-own-cluster", &["istio"], Cluster::Added),
];

/// A gateway with what `render` writes for it.
struct Fed<'p> {
    plane: &'p ControlPlane,
    proxy: &'p Proxy,
    cluster: String,
    /// Of `keyfence`.
    arguments: Vec<String>,
}

impl Gateway for Fed<'_> {
    fn try_send(&self, request: &Request) -> io::Result<Response> {
        self.proxy.try_send(request)
    }

    fn metrics(&self) -> String {
        self.proxy.metrics()
    }

    fn config_dump(&self) -> String {
        self.proxy.admin("/config_dump")
    }

    fn apply(&self, docs_url: &str) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let policy = fed_keys::policy(&self.cluster, docs_url);
        self.plane.apply(&printed(&arguments, &policy.to_string()));
    }
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn every_target_of_render_brings_keys_from_the_feed() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    for ((name, target, cluster), port) in VARIANTS.iter().zip(7070..) {
        let address = SocketAddr::from((SERVER, port));
        let mut server = KeyServer::start(address, &[]);
        plane.apply(&service(name, address));
        let pod = Pod {
            environment: vec![(TOKEN_ENV, TOKEN)],
            ..Pod::gateway("istio-ingress", name)
        };
        let proxy = Proxy::start(&plane, pod);
        plane.apply(&route(&proxy, &upstream));
        let (cluster, feed_address) = match cluster {
            Cluster::OfService => (cluster_of_service(name), Vec::new()),
            Cluster::Added => (
                "keyfence_control".to_owned(),
                vec!["--feed-address".to_owned(), address.to_string()],
            ),
        };
        let fed = Fed {
            plane: &plane,
            proxy: &proxy,
            cluster: cluster.clone(),
            arguments: [arguments(target, name, &registry), feed_address].concat(),
        };
        let node = format!("{name}.istio-ingress");
        fed_keys::assert_kept(name, &fed, &mut server, &cluster, &node, &upstream);
    }
}

/// The arguments of `keyfence` for a gateway with this label.
fn arguments(target: &[&str], name: &str, registry: &Registry) -> Vec<String> {
    let module = match target[0] {
        "envoy-filter" => format!("--wasm={}", built_filter().display()),
        _ => format!("--image={}", registry.image("0.1.0")),
    };
    let [name, selector] = [format!("--name={name}"), format!("--selector=istio={name}")];
    let own = ["-", &name, &selector, &module];
    [&["render"], target, &own]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Its requests fail, as with any policy that is refused.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_pod_without_the_token_refuses_the_policy() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "fed-without-token"));
    plane.apply(&route(&proxy, &Upstream::start()));
    let name = &proxy.pod.name;
    let fed = Fed {
        plane: &plane,
        proxy: &proxy,
        cluster: cluster_of_service(name),
        arguments: arguments(&["istio"], name, &registry),
    };
    fed.apply("https://docs.example.com/");
    within(PATIENCE, "the refusal", || {
        let answer = proxy.try_send(&Request::get("/"));
        answer.is_ok_and(|answer| answer.status == 500)
    });
    let log = proxy.log();
    assert!(log.contains("keys_from.token_env"), "{}", last_lines(&log, 30));
}

/// The name of the cluster that Istio makes of [`service`].
pub fn cluster_of_service(name: &str) -> String {
    format!("outbound|7070||{name}.keyfence.svc.cluster.local")
}

/// The server's Service, with the server as its pod.
pub fn service(name: &str, server: SocketAddr) -> String {
    let metadata = json!({"name": name, "namespace": "keyfence", "labels": {"kubernetes.io/service-name": name}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"name": "http", "port": 7070, "targetPort": server.port()}]},
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": metadata,
        "ports": [{"name": "http", "port": server.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [server.ip()], "conditions": {"ready": true}}],
    });
    format!("{service}\n---\n{endpoints}")
}
