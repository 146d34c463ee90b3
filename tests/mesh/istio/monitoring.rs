//! The dashboard and the alerts, with the metrics that an agent exposes.

use serde_json::json;

use super::manifest::{adapted, read};
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route, shipped_mesh_config};
use crate::harness::prometheus::Prometheus;
use crate::harness::skipped::skip;
use crate::harness::{Request, Upstream, traffic_for_graphs as traffic};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn every_graph_and_alert_has_data() {
    if !Prometheus::is_installed() {
        return skip("the dashboard in the mesh: there is no Prometheus (Debian: apt-get install prometheus)");
    }
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "monitored"));
    plane.apply(&route(&proxy, &upstream));
    let mut manifest = adapted(read("wasmplugin-gateway.yaml"), &proxy, &registry);
    manifest["metadata"]["name"] = json!("keyfence");
    manifest["spec"]["pluginConfig"] = traffic::policy();
    plane.apply(&manifest.to_string());
    proxy.wait_for_code("the policy", "missing_api_key");
    let prometheus = Prometheus::scraping("kubernetes-pods", proxy.port(15_020));
    prometheus.wait_for("the first scrape", &format!("keyfence_keys == {}", traffic::KEYS));
    for request in traffic::requests() {
        proxy.send(&request);
    }
    traffic::assert_every_graph_without_a_feed_has_data(&prometheus);
    assert_eq!(prometheus.unhealthy_rules(), [""; 0]);
    plane
        .kubectl(&["delete", "wasmplugin", "keyfence", "-n", "istio-system"], "")
        .unwrap();
}

/// Where the mesh's settings have no `extraStatTags`, an annotation of the gateway's pods does the same.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn an_annotation_makes_the_labels_too() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    for (name, annotations, series) in [
        (
            "annotated",
            json!({"sidecar.istio.io/extraStatTags": "decision,code,plugin"}),
            r#"keyfence_requests_total{decision="deny",code="missing_api_key"} "#,
        ),
        (
            "plain",
            json!({}),
            "decision___deny___code___missing_api_key___keyfence_requests_total{} ",
        ),
    ] {
        let mut pod = Pod::gateway("istio-ingress", name);
        let mut mesh = shipped_mesh_config();
        mesh["defaultConfig"].as_object_mut().unwrap().remove("extraStatTags");
        (pod.annotations, pod.mesh) = (annotations, Some(mesh));
        let proxy = Proxy::start(&plane, pod);
        plane.apply(&route(&proxy, &Upstream::start()));
        plane.apply(&adapted(read("wasmplugin-gateway.yaml"), &proxy, &registry).to_string());
        within(PATIENCE, series, || {
            let _ = proxy.try_send(&Request::get("/"));
            proxy.metrics().lines().any(|line| line.starts_with(series))
        });
    }
}
