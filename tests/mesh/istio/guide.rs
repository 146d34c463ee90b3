//! The commands of `envoy/istio/README.md`, in their order, as a new user would type them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::ControlPlane;
use super::admission::gateway_deployment;
use super::manifest::{plugin, read};
use crate::harness::gateway::{built_filter, repository};
use crate::process::{folder, programs};

/// Commands that are not run here, by how they begin, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("make image", "takes a Docker engine: tests/compose"),
    ("docker ", "takes a Docker engine and a registry"),
    (
        "istioctl install ",
        "waits for nodes; admission.rs has what it would install",
    ),
    ("kubectl get pods ", "there are no nodes, and so no pods"),
    ("curl ", "there is no DNS; every other test here sends such a request"),
    ("HTTP/1.1 ", "its answer"),
];

/// A command or a file of the guide.
enum Block {
    Command(String),
    File { name: String, text: String },
}

/// The indented blocks: a file begins with a comment that is its name.
fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut file: Option<(String, String)> = None;
    for line in guide.lines().chain([""]) {
        let indentation = line.len() - line.trim_start().len();
        match (&mut file, line.trim().strip_prefix("# ")) {
            _ if indentation < 4 || line.trim().starts_with('|') => {
                if let Some((name, text)) = file.take() {
                    blocks.push(Block::File { name, text });
                }
            }
            (None, Some(name)) => file = Some((name.to_owned(), String::new())),
            (Some((_, text)), _) => *text += &(line[4..].to_owned() + "\n"),
            (None, None) => blocks.push(Block::Command(line.trim().to_owned())),
        }
    }
    blocks
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn every_command_of_the_guide_works() {
    // Alone, because the guide's plugins would apply to gateways of other tests.
    let plane = ControlPlane::alone();
    let folder = folder();
    let home = folder.path();
    prepare(&plane, home);
    let guide = fs::read_to_string(repository().join("envoy/istio/README.md")).unwrap();
    let blocks = blocks(&guide);
    // A file is shown after the command that takes it.
    for block in &blocks {
        if let Block::File { name, .. } = block {
            fs::write(home.join(name), "").unwrap();
        }
    }
    let mut seen = 0;
    for (index, block) in blocks.iter().enumerate() {
        let Block::Command(command) = block else { continue };
        if LEFT_OUT.iter().any(|(begin, _)| command.starts_with(begin)) {
            continue;
        }
        let next_file = blocks[index..].iter().find_map(|block| match block {
            Block::File { name, text } => Some((name, text)),
            Block::Command(_) => None,
        });
        if let Some((name, text)) = next_file {
            fs::write(home.join(name), text).unwrap();
        }
        shell(&plane, home, command);
        seen += 1;
    }
    assert!(seen >= 9, "{seen} commands");
    assert_eq!(volumes(&plane), ["keyfence-module"]);
    // The guide says in words to run this again with its last file.
    shell(
        &plane,
        home,
        "helm upgrade istio-ingress istio/gateway -n istio-ingress --reuse-values -f volumes.yaml",
    );
    assert_eq!(volumes(&plane), ["keyfence-module", "keyfence-policy"]);
    for (kind, name, namespace) in [
        ("wasmplugin", "keyfence", "istio-system"),
        ("wasmplugin", "keyfence", "shop"),
        ("envoyfilter", "keyfence", "istio-system"),
    ] {
        plane.kubectl(&["delete", kind, name, "-n", namespace], "").unwrap();
    }
}

/// What the user of the guide has: programs, a policy, the filter, a gateway of each installation and a namespace of a Gateway.
fn prepare(plane: &ControlPlane, home: &Path) {
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, program) in [
        ("keyfence", env!("CARGO_BIN_EXE_keyfence").into()),
        ("kubectl", programs("kubernetes").join("kubectl")),
        ("helm", programs("helm").join("helm")),
    ] {
        symlink(program, bin.join(name)).unwrap();
    }
    symlink(repository().join("envoy"), home.join("envoy")).unwrap();
    // The chart that `helm repo add istio` makes known.
    fs::create_dir(home.join("istio")).unwrap();
    symlink(plane.istio("gateway-chart"), home.join("istio/gateway")).unwrap();
    fs::copy(built_filter(), home.join("plugin.wasm")).unwrap();
    let policy = plugin(&mut read("wasmplugin-gateway.yaml"))["pluginConfig"].clone();
    for name in ["policy.yaml", "policy.json"] {
        fs::write(home.join(name), policy.to_string()).unwrap();
    }
    plane.kubectl(&["create", "namespace", "shop"], "").unwrap();
    let installed = plane
        .istioctl(&["manifest", "generate", "-f", "envoy/istio/mesh.yaml"], "")
        .unwrap();
    plane.apply(&gateway_deployment(&installed).unwrap().to_string());
    shell(plane, home, "helm install istio-ingress istio/gateway -n istio-ingress");
}

fn shell(plane: &ControlPlane, home: &Path, line: &str) {
    let mut command = Command::new("sh");
    let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap());
    command.args(["-euc", line]).env("PATH", path).env("HOME", home);
    let output = plane.run_in(home, command);
    assert!(output.is_ok(), "{line}: {}", output.unwrap_err());
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
