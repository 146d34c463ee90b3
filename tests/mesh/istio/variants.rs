//! Every way to bring keyfence into a gateway of the mesh: each keeps the same promises.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::manifest::{BACKEND, adapted, plugin, read};
use super::promises::assert_kept;
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route, shipped_mesh_config};
use crate::harness::command_line::printed;
use crate::harness::gateway::built_filter;
use crate::harness::{Request, Upstream};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

/// A manifest for a gateway, as text.
type Variant = fn(&Proxy, &Registry) -> String;

const VARIANTS: &[(&str, Format, Variant)] = &[
    ("wasmplugin", Format::Docker, |proxy, registry| {
        adapted(read("wasmplugin-gateway.yaml"), proxy, registry).to_string()
    }),
    ("oci-image", Format::Oci, |proxy, registry| {
        adapted(read("wasmplugin-gateway.yaml"), proxy, registry).to_string()
    }),
    ("trafficextension", Format::Docker, |proxy, registry| {
        adapted(read("trafficextension-gateway.yaml"), proxy, registry).to_string()
    }),
    ("module-in-a-file", Format::Docker, |proxy, registry| {
        let mut manifest = adapted(read("wasmplugin-gateway.yaml"), proxy, registry);
        plugin(&mut manifest)["url"] = json!(format!("file://{}", built_filter().display()));
        manifest.to_string()
    }),
    ("rendered", Format::Docker, |proxy, registry| {
        let image = registry.image("0.1.0");
        rendered("istio", proxy, registry, &["--image", &image])
    }),
    ("rendered-by-digest", Format::Oci, |proxy, registry| {
        let image = registry.image("0.1.0");
        let arguments = [
            "--kind",
            "traffic-extension",
            "--image",
            &image,
            "--sha256",
            &registry.digest("0.1.0"),
        ];
        rendered("istio", proxy, registry, &arguments)
    }),
    ("rendered-envoyfilter", Format::Docker, |proxy, registry| {
        let wasm = built_filter().display().to_string();
        rendered("envoy-filter", proxy, registry, &["--wasm", &wasm])
    }),
    ("policy-in-a-file", Format::Docker, |proxy, registry| {
        mount_policy(&proxy.folder.path().join("policy"), &policy(proxy, registry), "v1");
        policy_in_a_file(proxy).to_string()
    }),
];

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn every_way_to_load_it_keeps_its_promises() {
    let plane = ControlPlane::shared();
    let upstream = Upstream::start();
    for (variant, format, manifest) in VARIANTS {
        let registry = Registry::start(*format);
        let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", variant));
        plane.apply(&route(&proxy, &upstream));
        plane.apply(&manifest(&proxy, &registry));
        assert_kept(variant, &proxy, &upstream);
    }
}

/// What `keyfence render` makes of the policy for this gateway.
fn rendered(target: &str, proxy: &Proxy, registry: &Registry, arguments: &[&str]) -> String {
    let selector = format!("istio={}", proxy.pod.name);
    let all = [
        &[
            "render",
            target,
            "-",
            "--name",
            &proxy.pod.name,
            "--selector",
            &selector,
        ],
        arguments,
    ]
    .concat();
    printed(&all, &policy(proxy, registry).to_string())
}

/// The policy of the gateway's manifest, with known keys.
fn policy(proxy: &Proxy, registry: &Registry) -> Value {
    adapted(read("wasmplugin-gateway.yaml"), proxy, registry)["spec"]["pluginConfig"].clone()
}

/// `envoyfilter-ecds.yaml` for this gateway, with the volume in a folder of its own.
fn policy_in_a_file(proxy: &Proxy) -> Value {
    let mut manifest = read("envoyfilter-ecds.yaml");
    manifest["metadata"]["name"] = json!(proxy.pod.name);
    manifest["spec"]["workloadSelector"]["labels"] = proxy.pod.labels.clone();
    let volume = proxy.folder.path().join("policy");
    let text = manifest.to_string();
    serde_json::from_str(&text.replace("/etc/keyfence/policy", volume.to_str().unwrap())).unwrap()
}

/// Writes a policy into a volume as the kubelet writes a new version of a Secret: into a new folder, to which it then moves a link.
fn mount_policy(volume: &Path, policy: &Value, version: &str) {
    let data = volume.join(version);
    fs::create_dir_all(&data).unwrap();
    let wasm = built_filter().display().to_string();
    let resource = printed(&["render", "ecds", "-", "--wasm", &wasm], &policy.to_string());
    fs::write(data.join("filter.json"), resource).unwrap();
    symlink(version, volume.join("..data.new")).unwrap();
    fs::rename(volume.join("..data.new"), volume.join("..data")).unwrap();
    let link = volume.join("filter.json");
    if !link.exists() {
        symlink("..data/filter.json", link).unwrap();
    }
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_secret_that_changes_is_taken_up() {
    let plane = ControlPlane::shared();
    let upstream = Upstream::start();
    let registry = Registry::start(Format::Docker);
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "secret"));
    let volume = proxy.folder.path().join("policy");
    let mut policy = policy(&proxy, &registry);
    mount_policy(&volume, &policy, "v1");
    plane.apply(&route(&proxy, &upstream));
    plane.apply(&policy_in_a_file(&proxy).to_string());
    proxy.wait_for_code("the first version", "missing_api_key");
    policy["anonymous"] = json!({"allowed_ips": ["192.0.2.1/32"]});
    mount_policy(&volume, &policy, "v2");
    proxy.wait_for_code("the second version", "ip_not_allowed");
}

/// The settings and the manifest as they are shipped, for a gateway that clients call themselves: what they write into the header is not
/// their address.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_gateway_at_the_edge_has_the_address_of_the_connection() {
    let plane = ControlPlane::shared();
    let upstream = Upstream::start();
    let registry = Registry::start(Format::Docker);
    let mut pod = Pod::gateway("istio-ingress", "edge");
    pod.mesh = Some(shipped_mesh_config());
    let proxy = Proxy::start(&plane, pod);
    plane.apply(&route(&proxy, &upstream));
    let mut manifest = adapted(read("wasmplugin-gateway.yaml"), &proxy, &registry);
    let policy = &mut plugin(&mut manifest)["pluginConfig"];
    policy["client_ip"] = read("wasmplugin-gateway.yaml")["spec"]["pluginConfig"]["client_ip"].clone();
    policy.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    policy["keys"][1]["allowed_ips"] = json!(["10.66.0.9/32"]);
    plane.apply(&manifest.to_string());
    let server = Request::get("/any").bearer(BACKEND);
    within(PATIENCE, "the policy", || {
        proxy.try_send(&server).is_ok_and(|answer| {
            answer.status == 200 && !upstream.take().iter().all(|request| request.all("x-key-id").is_empty())
        })
    });
    for forged in ["192.0.2.7", "192.0.2.7, 192.0.2.8", "10.66.0.1"] {
        let answer = proxy.send(&server.clone().header("X-Forwarded-For", forged));
        assert_eq!(answer.status, 200, "{forged}");
    }
    plugin(&mut manifest)["pluginConfig"]["keys"][1]["allowed_ips"] = json!(["192.0.2.0/24"]);
    plane.apply(&manifest.to_string());
    within(PATIENCE, "the other network", || {
        proxy.send(&server).code() == "ip_not_allowed"
    });
    for forged in ["192.0.2.7", "192.0.2.7, 192.0.2.8", "192.0.2.7:80"] {
        let answer = proxy.send(&server.clone().header("X-Forwarded-For", forged));
        assert_eq!(answer.code(), "ip_not_allowed", "{forged}");
    }
}
