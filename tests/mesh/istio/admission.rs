//! Kubernetes and Istio accept the manifests, whose namespace and labels fit the gateways that people install.

use std::fs;

use serde_json::{Value, json};

use super::manifest::{adapted, plugin, read};
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route};
use crate::fed_keys;
use crate::harness::Upstream;
use crate::harness::command_line::printed;
use crate::harness::gateway::repository;
use crate::process::programs;
use crate::registry::{Format, Registry};

/// The arguments of `keyfence render` whose output Kubernetes takes.
const RENDERED: &[&[&str]] = &[
    &["istio"],
    &[
        "istio",
        "--namespace",
        "search",
        "--selector",
        "app=search",
        "--fail-strategy",
        "fail-close",
    ],
    &["istio", "--kind", "traffic-extension"],
    &[
        "istio",
        "--namespace",
        "search",
        "--gateway",
        "public",
        "--gateway",
        "private",
        "--pull-secret",
        "registry",
        "--name",
        "other",
    ],
    &[
        "istio",
        "--sha256",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ],
    &["envoy-filter"],
];

/// The same for a policy with `keys_from`, which has this cluster.
const FED: &[(&str, &[&str])] = &[
    ("outbound|7070||keyfence-control.keyfence.svc.cluster.local", &["istio"]),
    (
        "outbound|7070||keyfence-control.keyfence.svc.cluster.local",
        &["istio", "--kind", "traffic-extension"],
    ),
    (
        "outbound|7070||keyfence-control.keyfence.svc.cluster.local",
        &["envoy-filter"],
    ),
    (
        "keyfence_control",
        &[
            "istio",
            "--feed-address",
            "keys.example.com:443",
            "--feed-ca",
            "/etc/ssl/certs/ca-certificates.crt",
        ],
    ),
    (
        "keyfence_control",
        &[
            "istio",
            "--namespace",
            "search",
            "--gateway",
            "public",
            "--feed-address",
            "192.0.2.1:7070",
        ],
    ),
    (
        "keyfence_control",
        &["envoy-filter", "--feed-address", "192.0.2.1:7070"],
    ),
];

/// What is not a resource of Kubernetes.
const FOR_ISTIOCTL: &str = "mesh.yaml";

fn manifests() -> Vec<(String, String)> {
    let folder = repository().join("envoy/istio");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let yaml = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "yaml"));
    let mut manifests: Vec<(String, String)> = yaml
        .filter(|file| file.file_name() != FOR_ISTIOCTL)
        .map(|file| {
            (
                file.path().display().to_string(),
                fs::read_to_string(file.path()).unwrap(),
            )
        })
        .collect();
    let policy = fs::read_to_string(repository().join("envoy/policy.json")).unwrap();
    for arguments in RENDERED {
        let arguments = [&["render"], *arguments, &["-"]].concat();
        manifests.push((format!("{arguments:?}"), printed(&arguments, &policy)));
    }
    for (cluster, arguments) in FED {
        let arguments = [&["render"], *arguments, &["-"]].concat();
        let policy = fed_keys::policy(cluster, "https://docs.example.com/").to_string();
        manifests.push((format!("{cluster}: {arguments:?}"), printed(&arguments, &policy)));
    }
    manifests
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn kubernetes_and_istio_take_every_manifest() {
    let plane = ControlPlane::shared();
    for (name, manifest) in manifests() {
        for taken in [
            plane.kubectl(
                &["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
                &manifest,
            ),
            plane.istioctl(&["validate", "-f", "-"], &manifest),
            analyzed(&plane, &manifest),
        ] {
            assert!(taken.is_ok(), "{name}: {}", taken.unwrap_err());
        }
    }
}

/// The test above can fail: a manifest with a mistake is refused.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn kubernetes_does_not_take_a_mistake() {
    let plane = ControlPlane::shared();
    let mut manifest = read("wasmplugin-gateway.yaml");
    manifest["spec"]["failStrategy"] = json!("FAIL_CLOSED");
    let refused = plane.kubectl(&["apply", "--dry-run=server", "-f", "-"], &manifest.to_string());
    assert!(refused.unwrap_err().contains("spec.failStrategy"));
}

/// `istioctl analyze` reads a file; warnings count.
fn analyzed(plane: &ControlPlane, manifest: &str) -> Result<String, String> {
    let file = plane.folder.path().join("analyzed.yaml");
    fs::write(&file, manifest).unwrap();
    let arguments = [
        "analyze",
        "--use-kube=false",
        "--failure-threshold=Warning",
        file.to_str().unwrap(),
    ];
    plane.istioctl(&arguments, "")
}

/// How gateways are installed: the Deployment's manifest, and the manifest of keyfence for it.
struct Installation {
    name: &'static str,
    installed: fn(&ControlPlane) -> String,
    plugin: fn() -> Value,
}

const INSTALLATIONS: &[Installation] = &[
    Installation {
        name: "istioctl install -f envoy/istio/mesh.yaml",
        installed: |plane| {
            plane
                .istioctl(&["manifest", "generate", "-f", "envoy/istio/mesh.yaml"], "")
                .unwrap()
        },
        plugin: || read("wasmplugin-gateway.yaml"),
    },
    Installation {
        name: "helm install istio-ingress istio/gateway",
        installed: |plane| chart(plane, "istio-ingress"),
        plugin: || rendered(&["--selector", "istio=ingress"]),
    },
    Installation {
        name: "helm install istio-ingressgateway istio/gateway",
        installed: |plane| chart(plane, "istio-ingressgateway"),
        plugin: || rendered(&[]),
    },
];

fn chart(plane: &ControlPlane, release: &str) -> String {
    let mut helm = std::process::Command::new(programs("helm").join("helm"));
    helm.args(["template", release])
        .arg(plane.istio("gateway-chart"))
        .args(["--namespace", "istio-ingress"]);
    let output = helm.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rendered(arguments: &[&str]) -> Value {
    let mut policy = read("wasmplugin-gateway.yaml");
    let policy = plugin(&mut policy)["pluginConfig"].to_string();
    let arguments = [&["render", "istio", "-"], arguments].concat();
    serde_saphyr::from_str(&printed(&arguments, &policy)).unwrap()
}

/// Each installation of the guide gets the plugin that the guide has for it, with name, namespace and labels unchanged.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn the_plugin_fits_the_gateway_that_the_guide_installs() {
    // Alone, because the plugin with its own name and labels would apply to gateways of other tests.
    let plane = ControlPlane::alone();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    for installation in INSTALLATIONS {
        let installed = (installation.installed)(&plane);
        let deployment = gateway_deployment(&installed).unwrap_or_else(|| panic!("{}", installation.name));
        let mut pod = Pod::gateway(deployment["metadata"]["namespace"].as_str().unwrap(), "fits");
        pod.labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
        let proxy = Proxy::start(&plane, pod);
        plane.apply(&route(&proxy, &upstream));
        let written = (installation.plugin)();
        let mut plugin = adapted(written.clone(), &proxy, &registry);
        plugin["metadata"] = written["metadata"].clone();
        plugin["spec"]["selector"] = written["spec"]["selector"].clone();
        plane.apply(&plugin.to_string());
        proxy.wait_for_code(installation.name, "missing_api_key");
        let name = written["metadata"]["name"].as_str().unwrap();
        let namespace = written["metadata"]["namespace"].as_str().unwrap();
        plane
            .kubectl(&["delete", "wasmplugin", name, "-n", namespace], "")
            .unwrap();
    }
}

/// The Deployment of the ingress gateway among these documents.
pub fn gateway_deployment(documents: &str) -> Option<Value> {
    documents
        .split("\n---\n")
        .filter(|document| document.contains("\nkind: Deployment\n"))
        .filter_map(|document| serde_saphyr::from_str::<Value>(document).ok())
        .find(|document| {
            document["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("istio-ingress"))
        })
}
