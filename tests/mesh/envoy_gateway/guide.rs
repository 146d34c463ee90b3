//! Envoy Gateway as it runs in Kubernetes: the steps of `envoy/envoy-gateway/README.md`, repeated here by hand, and what that page says
//! you see.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::cluster::{Cluster, NAMESPACE, service};
use super::control_plane::alone;
use crate::guide::{Block, Home, blocks};
use crate::harness::command_line::printed;
use crate::harness::gateway::repository;
use crate::harness::{Request, Upstream};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

/// The image of the guide, in place of which the test has one that is there.
const SHIPPED_IMAGE: &str = "registry.example.com/keyfence:0.1.0";

/// Commands that are not run here, by how they begin, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("make image", "takes a Docker engine: tests/compose"),
    ("docker ", "takes a Docker engine and a registry"),
    ("curl ", "what it asks is asked below"),
];

fn without_key() -> Request {
    Request::get("/v1/indexes/shop/search")
}

fn until(cluster: &Cluster, status: u16) {
    within(PATIENCE, &format!("status {status}"), || {
        cluster.send(&without_key()).status == status
    });
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn the_guide_is_right() {
    let _alone = alone();
    let registry = Registry::start(Format::Oci);
    let upstream = Upstream::at(SocketAddr::from(([10, 66, 0, 3], 0)));
    let mut cluster = Cluster::start();
    cluster.apply(&service(&upstream)).unwrap();

    // Install.
    let policy = json!({"keys": [{"id": "server", "api_key": crate::registry::digest(b"server_key_0123456789"), "kind": "secret"}]});
    let image = registry.image("0.1.0");
    let home = Home::new(&policy.to_string());
    let mut seen = 0;
    for block in blocks(Path::new("envoy/envoy-gateway/README.md")) {
        let Block::Command(command) = block else { continue };
        if LEFT_OUT.iter().any(|(begin, _)| command.starts_with(begin)) {
            continue;
        }
        home.run(&cluster.kubernetes, &command.replace(SHIPPED_IMAGE, &image));
        seen += 1;
    }
    assert!(seen >= 4, "{seen} commands");
    let rendered = fs::read_to_string(home.path("keyfence.yaml")).unwrap();
    cluster.start_pod();
    until(&cluster, 401);
    assert_eq!(cluster.send(&without_key()).code(), "missing_api_key");
    let with_key = without_key()
        .bearer("server_key_0123456789")
        .header("X-Key-Id", "forged");
    assert_eq!(cluster.send(&with_key).status, 200);
    assert_eq!(upstream.take_one().all("x-key-id"), ["server"]);
    assert_eq!(cluster.accepted()[0], "True");

    // Kubernetes takes every file and what render prints, field by field.
    let strictly = ["apply", "--dry-run=server", "--validate=strict", "-f"];
    for file in fs::read_dir(repository().join("envoy/envoy-gateway")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            cluster.kubectl(&[&strictly[..], &[path.to_str().unwrap()]].concat());
        }
    }
    let digest = "0".repeat(64);
    let more = [
        "--name",
        "keys",
        "--trusted-hops",
        "1",
        "--sha256",
        &digest,
        "--pull-secret",
        "registry",
    ];
    let arguments = ["render", "envoy-gateway", "-", "--image", &image];
    let rendered_with_more = printed(&[&arguments[..], &more].concat(), &policy.to_string());
    cluster
        .kubernetes
        .kubectl(&[&strictly[..], &["-"]].concat(), &rendered_with_more)
        .unwrap();

    // What the guide says of Kubernetes.
    let service = cluster.get(&["service", "-n", NAMESPACE]);
    assert_eq!(service["items"][0]["spec"]["externalTrafficPolicy"], "Local");
    let annotations = &cluster.deployment()["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "19001", "{annotations}");
    let metrics = cluster.pod_metrics();
    let series = r#"keyfence_requests_total{decision="deny",code="missing_api_key"} "#;
    assert!(metrics.contains(series), "{metrics}");
    let generation = cluster.deployment()["metadata"]["generation"].clone();
    cluster.apply(&rendered.replace("\"60s\"", "\"30s\"")).unwrap();
    within(PATIENCE, "new pods", || {
        cluster.deployment()["metadata"]["generation"] != generation
    });

    // When something fails.
    let refused = cluster.apply(&rendered.replace("failOpen: false", "failOpen: yesplease"));
    assert!(refused.unwrap_err().contains("failOpen"));
    cluster
        .apply(&rendered.replace("kind: secret", "kindd: secret"))
        .unwrap();
    within(PATIENCE, "the refusal", || {
        cluster.envoy_gateway_metrics().contains("xds_nack_total{")
    });
    assert_eq!(cluster.accepted()[0], "True");
    assert_eq!(cluster.send(&without_key()).status, 401);
    let metrics = cluster.pod_metrics();
    assert!(
        metrics.contains("envoy_listener_manager_lds_update_rejected{} 1\n"),
        "{metrics}"
    );

    cluster
        .apply(&rendered.replace(&image, &registry.image("0.0.0")))
        .unwrap();
    until(&cluster, 500);
    within(PATIENCE, "the status", || {
        cluster.accepted()[..2] == ["False", "Invalid"]
    });
    let [.., message] = cluster.accepted();
    assert!(message.contains("could not fetch Wasm OCI image"), "{message}");
    let metrics = cluster.envoy_gateway_metrics();
    let failure = r#"wasm_remote_fetch_total{reason="manifest_error",status="failure"} 1"#;
    assert!(metrics.contains(failure), "{metrics}");

    // The image is back, and Envoy Gateway does not fetch it, even after an annotation of the policy.
    cluster.apply(&rendered).unwrap();
    until(&cluster, 401);
    registry.set_empty(true);
    cluster.start_envoy_gateway();
    until(&cluster, 500);
    registry.set_empty(false);
    cluster.kubectl(&["annotate", "envoyextensionpolicy", "keyfence", "example.com/again=1"]);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.send(&without_key()).status, 500);
    cluster.start_envoy_gateway();
    until(&cluster, 401);
}
