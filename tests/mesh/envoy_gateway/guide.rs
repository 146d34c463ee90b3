//! Envoy Gateway as it runs in Kubernetes: the steps of `envoy/envoy-gateway/README.md`, repeated here by hand, and what that page says
//! you see.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::alone;
use crate::guide::{Block, Home, blocks};
use crate::harness::command_line::printed;
use crate::harness::gateway::repository;
use crate::harness::{Request, Response, Upstream, Version};
use crate::kubernetes::Kubernetes;
use crate::process::{PATIENCE, Process, folder, programs, within};
use crate::registry::{Format, Registry};

const NAMESPACE: &str = "envoy-gateway-system";

/// The image of the guide, in place of which the test has one that is there.
const SHIPPED_IMAGE: &str = "registry.example.com/keyfence:0.1.0";

/// Commands that are not run here, by how they begin, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("make image", "takes a Docker engine: tests/compose"),
    ("docker ", "takes a Docker engine and a registry"),
    ("curl ", "what it asks is asked below"),
];

/// The addresses of this machine and of Envoy's pod for each other. The pod has a network of its own, because Envoy listens on ports that
/// Envoy Gateway uses too.
const HOST: &str = "10.77.0.1";
const POD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A program with the certificates of this folder, as a container has them.
const WITH_CERTIFICATES: &str = r#"mount --bind "$1" /certs && shift && exec "$@""#;

/// Envoy Gateway, and a pod with Envoy once that is started.
struct Cluster {
    folder: TempDir,
    kubernetes: Kubernetes,
    envoy_gateway: Option<Process>,
    envoy: Option<Process>,
}

impl Cluster {
    fn start() -> Self {
        let kubernetes = Kubernetes::start();
        kubernetes.define(&programs("envoy-gateway").join("crds"));
        let mut cluster = Self {
            folder: folder(),
            kubernetes,
            envoy_gateway: None,
            envoy: None,
        };
        cluster.kubectl(&["create", "namespace", NAMESPACE]);
        let mut command = Command::new(programs("envoy-gateway").join("envoy-gateway"));
        command
            .args(["certgen", "--disable-topology-injector"])
            .env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE);
        cluster.kubernetes.run(command, "").unwrap();
        for name in ["envoy-gateway", "envoy"] {
            cluster.write_secret(name);
        }
        let configuration = json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            // Without it Envoy waits for the endpoints of its own Service, which has none here.
            "provider": {"type": "Kubernetes", "kubernetes": {"proxyTopologyInjector": {"disabled": true}}},
        });
        fs::write(cluster.path("envoy-gateway.yaml"), configuration.to_string()).unwrap();
        cluster.start_envoy_gateway();
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the files of a Secret into a folder with its name.
    fn write_secret(&self, name: &str) {
        let secret = self.get(&["secret", name, "-n", NAMESPACE]);
        fs::create_dir(self.path(name)).unwrap();
        for (file, content) in secret["data"].as_object().unwrap() {
            let content = BASE64_STANDARD.decode(content.as_str().unwrap()).unwrap();
            fs::write(self.path(name).join(file), content).unwrap();
        }
    }

    /// Starts Envoy Gateway, anew where it runs: `kubectl rollout restart deployment envoy-gateway`.
    fn start_envoy_gateway(&mut self) {
        if let Some(process) = self.envoy_gateway.take() {
            process.stop();
        }
        let mut command = with_certificates(&self.path("envoy-gateway"));
        command
            .arg(programs("envoy-gateway").join("envoy-gateway"))
            .args(["server", "--config-path"])
            .arg(self.path("envoy-gateway.yaml"))
            .env("KUBECONFIG", self.kubernetes.config())
            .env("ENVOY_GATEWAY_NAMESPACE", NAMESPACE);
        let mut process = Process::start(self.folder.path(), "envoy-gateway", &mut command);
        process.wait_for("Envoy Gateway", || {
            let answer = Request::get("/readyz").send(Version::Http1, SocketAddr::from(([127, 0, 0, 1], 8081)));
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.envoy_gateway = Some(process);
    }

    /// Starts the pod of the Deployment, as a node would.
    fn start_pod(&mut self) {
        let deployment = self.deployment();
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        let envoy = containers
            .iter()
            .find(|container| container["name"] == "envoy")
            .unwrap();
        let arguments = envoy["args"].as_array().unwrap().iter().map(|argument| {
            let argument = argument.as_str().unwrap().replace("$(ENVOY_POD_NAME)", "pod");
            // There is no DNS, and Envoy does not look up names that end with a dot in /etc/hosts.
            argument.replace("envoy-gateway.envoy-gateway-system.svc.cluster.local.", HOST)
        });

        let files = self.get(&["configmap", name, "-n", NAMESPACE]);
        fs::create_dir_all("/sds").unwrap();
        for (file, content) in files["data"].as_object().unwrap() {
            fs::write(Path::new("/sds").join(file), content.as_str().unwrap()).unwrap();
        }
        let hosts = self.path("hosts");
        fs::write(&hosts, format!("{HOST} envoy-gateway.{NAMESPACE}.svc.cluster.local\n")).unwrap();

        for arguments in [
            "netns add pod",
            "link add host type veth peer name pod netns pod",
            &format!("address add {HOST}/24 dev host"),
            "link set host up",
            &format!("-n pod address add {POD}/24 dev pod"),
            "-n pod link set pod up",
            "-n pod link set lo up",
            &format!("-n pod route add default via {HOST}"),
        ] {
            let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
            assert!(output.status.success(), "ip {arguments}: {output:?}");
        }
        let script = format!("mount --bind {} /etc/hosts && {WITH_CERTIFICATES}", hosts.display());
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", "pod", "sh", "-c", &script, "sh"])
            .arg(self.path("envoy"))
            .arg(std::env::var("ENVOY_BIN").expect("ENVOY_BIN"))
            .args(arguments);
        let mut process = Process::start(self.folder.path(), "envoy", &mut command);
        process.wait_for("the readiness of the pod", || {
            let answer = Request::get("/ready").send(Version::Http1, SocketAddr::from((POD, 19_003)));
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.envoy = Some(process);
    }

    fn deployment(&self) -> Value {
        let mut found = json!(null);
        within(PATIENCE, "a Deployment", || {
            found = self.get(&["deployment", "-n", NAMESPACE])["items"][0].clone();
            !found.is_null()
        });
        found
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let printed = self.kubernetes.kubectl(arguments, "");
        printed.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    fn get(&self, what: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], what].concat())).unwrap()
    }

    /// `kubectl apply --server-side -f -`
    fn apply(&self, manifest: &str) -> Result<String, String> {
        self.kubernetes
            .kubectl(&["apply", "--server-side", "-f", "-"], manifest)
    }

    /// The condition `Accepted` of keyfence's policy: its status, reason and message.
    fn accepted(&self) -> [String; 3] {
        let policy = self.get(&["envoyextensionpolicy", "keyfence"]);
        let conditions = policy["status"]["ancestors"][0]["conditions"].as_array().cloned();
        let conditions = conditions.unwrap_or_default();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted");
        let field = |name: &str| {
            accepted
                .and_then(|condition| condition[name].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        ["status", "reason", "message"].map(field)
    }

    fn send(&self, request: &Request) -> Response {
        request.send(Version::Http1, SocketAddr::from((POD, 8080))).unwrap()
    }

    fn until(&self, status: u16) {
        within(PATIENCE, &format!("status {status}"), || {
            self.send(&without_key()).status == status
        });
    }

    /// What Prometheus sees of the pod.
    fn pod_metrics(&self) -> String {
        let answer = Request::get("/stats/prometheus").send(Version::Http1, SocketAddr::from((POD, 19_001)));
        answer.unwrap().text()
    }

    /// What it sees of Envoy Gateway.
    fn envoy_gateway_metrics(&self) -> String {
        let answer = Request::get("/metrics").send(Version::Http1, SocketAddr::from(([127, 0, 0, 1], 19_001)));
        answer.unwrap().text()
    }
}

fn with_certificates(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", WITH_CERTIFICATES, "sh"])
        .arg(folder);
    command
}

fn without_key() -> Request {
    Request::get("/v1/indexes/shop/search")
}

/// The Service that http-route.yaml names.
fn service(upstream: &Upstream) -> String {
    let address = upstream.address();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "search", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": address.port()}]},
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "search", "namespace": "default", "labels": {"kubernetes.io/service-name": "search"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
    });
    format!("{service}\n---\n{endpoints}")
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
    cluster.until(401);
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
    cluster.until(500);
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
    cluster.until(401);
    registry.set_empty(true);
    cluster.start_envoy_gateway();
    cluster.until(500);
    registry.set_empty(false);
    cluster.kubectl(&["annotate", "envoyextensionpolicy", "keyfence", "example.com/again=1"]);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(cluster.send(&without_key()).status, 500);
    cluster.start_envoy_gateway();
    cluster.until(401);
}
