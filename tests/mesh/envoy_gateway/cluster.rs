//! Envoy Gateway with Kubernetes, and the pod with Envoy that a node would start.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Request, Response, Upstream, Version};
use crate::kubernetes::Kubernetes;
use crate::process::{PATIENCE, Process, folder, programs, within};

pub const NAMESPACE: &str = "envoy-gateway-system";

/// The addresses of this machine and of Envoy's pod for each other. The pod has a network of its own, because Envoy listens on ports that
/// Envoy Gateway uses too.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const POD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The host name of a Service with the server of keys, which is on this machine.
pub const KEY_SERVER: &str = "keyfence-control.keyfence.svc.cluster.local";

/// A program with the certificates of this folder, as a container has them.
const WITH_CERTIFICATES: &str = r#"mount --bind "$1" /certs && shift && exec "$@""#;

/// Envoy Gateway, and a pod with Envoy once that is started.
pub struct Cluster {
    folder: TempDir,
    pub kubernetes: Kubernetes,
    envoy_gateway: Option<Process>,
    envoy: Option<Process>,
}

impl Cluster {
    pub fn start() -> Self {
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
        fs::create_dir(self.path(name)).unwrap();
        for (file, content) in self.secret(name) {
            fs::write(self.path(name).join(file), content).unwrap();
        }
    }

    fn secret(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let secret = self.get(&["secret", name, "-n", NAMESPACE]);
        let data = secret["data"].as_object().unwrap().iter();
        data.map(|(name, content)| (name.clone(), BASE64_STANDARD.decode(content.as_str().unwrap()).unwrap()))
            .collect()
    }

    /// The environment of a container, as the kubelet makes it; what the pod itself would tell is left out.
    fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for variable in container["env"].as_array().unwrap() {
            let secret = &variable["valueFrom"]["secretKeyRef"];
            let value = match (variable["value"].as_str(), secret["name"].as_str()) {
                (Some(value), _) => value.to_owned(),
                (None, Some(name)) => {
                    let value = self.secret(name).remove(secret["key"].as_str().unwrap());
                    String::from_utf8(value.unwrap()).unwrap()
                }
                (None, None) => continue,
            };
            environment.insert(variable["name"].as_str().unwrap().to_owned(), value);
        }
        environment
    }

    /// Starts Envoy Gateway, anew where it runs: `kubectl rollout restart deployment envoy-gateway`.
    pub fn start_envoy_gateway(&mut self) {
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
    pub fn start_pod(&mut self) {
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
            argument.replace(
                "envoy-gateway.envoy-gateway-system.svc.cluster.local.",
                &HOST.to_string(),
            )
        });

        let files = self.get(&["configmap", name, "-n", NAMESPACE]);
        fs::create_dir_all("/sds").unwrap();
        for (file, content) in files["data"].as_object().unwrap() {
            fs::write(Path::new("/sds").join(file), content.as_str().unwrap()).unwrap();
        }
        let hosts = self.path("hosts");
        let names = format!("envoy-gateway.{NAMESPACE}.svc.cluster.local {KEY_SERVER}");
        fs::write(&hosts, format!("{HOST} {names}\n")).unwrap();

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
            .args(arguments)
            .envs(self.environment(envoy));
        let mut process = Process::start(self.folder.path(), "envoy", &mut command);
        process.wait_for("the readiness of the pod", || {
            let answer = Request::get("/ready").send(Version::Http1, SocketAddr::from((POD, 19_003)));
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.envoy = Some(process);
    }

    pub fn deployment(&self) -> Value {
        let mut found = json!(null);
        within(PATIENCE, "a Deployment", || {
            found = self.get(&["deployment", "-n", NAMESPACE])["items"][0].clone();
            !found.is_null()
        });
        found
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let printed = self.kubernetes.kubectl(arguments, "");
        printed.unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    pub fn get(&self, what: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[&["get", "-o", "json"], what].concat())).unwrap()
    }

    /// `kubectl apply --server-side -f -`
    pub fn apply(&self, manifest: &str) -> Result<String, String> {
        self.kubernetes
            .kubectl(&["apply", "--server-side", "-f", "-"], manifest)
    }

    /// The condition `Accepted` of keyfence's policy: its status, reason and message.
    pub fn accepted(&self) -> [String; 3] {
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

    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        request.send(Version::Http1, SocketAddr::from((POD, 8080)))
    }

    pub fn send(&self, request: &Request) -> Response {
        self.try_send(request).unwrap()
    }

    /// `GET` from Envoy's admin interface, which listens on the pod's loopback.
    pub fn admin(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:19000{path}");
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            "pod",
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            &url,
        ]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{url}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What Prometheus sees of the pod.
    pub fn pod_metrics(&self) -> String {
        let answer = Request::get("/stats/prometheus").send(Version::Http1, SocketAddr::from((POD, 19_001)));
        answer.unwrap().text()
    }

    /// What it sees of Envoy Gateway.
    pub fn envoy_gateway_metrics(&self) -> String {
        let answer = Request::get("/metrics").send(Version::Http1, SocketAddr::from(([127, 0, 0, 1], 19_001)));
        answer.unwrap().text()
    }
}

impl Drop for Cluster {
    /// Another test has a pod of the same name.
    fn drop(&mut self) {
        self.envoy = None;
        for arguments in ["link delete host", "netns delete pod"] {
            let _ = Command::new("ip").args(arguments.split(' ')).output();
        }
    }
}

fn with_certificates(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", WITH_CERTIFICATES, "sh"])
        .arg(folder);
    command
}

/// The Service that http-route.yaml names.
pub fn service(upstream: &Upstream) -> String {
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
