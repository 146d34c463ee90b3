//! The commands of `envoy/istio/README.md`, in their order, as a new user would type them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::ControlPlane;
use super::admission::gateway_deployment;
use super::manifest::{plugin, read};
use crate::guide::{Block, Home, blocks};
use crate::process::programs;

/// Commands that are not run here, by how they begin, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("make image", "takes a Docker engine: tests/compose"),
    ("docker ", "takes a Docker engine and a registry"),
    (
        "istioctl install ",
        "waits for nodes; admission.rs has what it would install",
    ),
    ("kubectl get pods ", "there are no nodes, and so no pods"),
    ("curl ", "every other test here asks gateways for what it asks"),
    ("HTTP/1.1 ", "its answer"),
];

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn every_command_of_the_guide_works() {
    // Its names are those of the guide, and of no other test.
    let plane = ControlPlane::alone();
    let policy = plugin(&mut read("wasmplugin-gateway.yaml"))["pluginConfig"].to_string();
    let home = Home::new(&policy);
    prepare(&plane, &home);
    let blocks = blocks(Path::new("envoy/istio/README.md"));
    let mut seen = 0;
    for (index, block) in blocks.iter().enumerate() {
        let Block::Command(command) = block else { continue };
        if LEFT_OUT.iter().any(|(begin, _)| command.starts_with(begin)) {
            continue;
        }
        // A file is shown after the command that takes it.
        let next_file = blocks[index..].iter().find_map(|block| match block {
            Block::File { name, text } => Some((name, text)),
            Block::Command(_) => None,
        });
        if let Some((name, text)) = next_file {
            home.write(name, text);
        }
        home.run(plane.kubernetes(), command);
        seen += 1;
    }
    assert!(seen >= 13, "{seen} commands");
    assert_eq!(volumes(&plane), ["keyfence-module", "keyfence-policy"]);
    for (kind, name, namespace) in [
        ("wasmplugin", "keyfence", "istio-system"),
        ("wasmplugin", "keyfence", "shop"),
        ("envoyfilter", "keyfence", "istio-system"),
    ] {
        plane.kubectl(&["delete", kind, name, "-n", namespace], "").unwrap();
    }
}

/// What the user of the guide has: Istio's chart, a gateway of each installation, and a namespace with a Gateway.
fn prepare(plane: &ControlPlane, home: &Home) {
    home.link_program("helm", &programs("helm").join("helm"));
    // The chart that `helm repo add istio` makes known.
    fs::create_dir(home.path("istio")).unwrap();
    symlink(plane.istio("gateway-chart"), home.path("istio/gateway")).unwrap();
    plane.kubectl(&["create", "namespace", "shop"], "").unwrap();
    let installed = plane
        .istioctl(&["manifest", "generate", "-f", "envoy/istio/mesh.yaml"], "")
        .unwrap();
    plane.apply(&gateway_deployment(&installed).unwrap().to_string());
    home.run(
        plane.kubernetes(),
        "helm install istio-ingress istio/gateway -n istio-ingress",
    );
}

/// The volumes of the gateway that the chart has installed.
fn volumes(plane: &ControlPlane) -> Vec<String> {
    let arguments = [
        "get",
        "deployment",
        "istio-ingress",
        "-n",
        "istio-ingress",
        "-o",
        "json",
    ];
    let deployment: Value = serde_json::from_str(&plane.kubectl(&arguments, "").unwrap()).unwrap();
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].clone();
    let volumes = volumes.as_array().cloned().unwrap_or_default();
    volumes
        .iter()
        .filter_map(|volume| volume["name"].as_str().map(Into::into))
        .collect()
}
