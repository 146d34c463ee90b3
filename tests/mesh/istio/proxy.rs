//! Istio's agent with an Envoy, as they run in a gateway's pod or as a workload's sidecar.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fs, io};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::ControlPlane;
use crate::harness::{Request, Response, Version};
use crate::process::{PATIENCE, Process, folder, last_lines, within};

/// Each proxy takes the next ports, because all have the same addresses.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A running agent. It ends with its owner.
pub struct Proxy {
    pub process: Option<Process>,
    pub folder: TempDir,
    pub pod: Pod,
    offset: u16,
    listener: Option<u16>,
}

/// What of a pod its agent knows.
#[derive(Clone)]
pub struct Pod {
    pub name: String,
    pub namespace: String,
    /// `router` for a gateway, `sidecar` beside a workload.
    pub kind: &'static str,
    pub address: &'static str,
    pub labels: Value,
    pub annotations: Value,
    /// The environment of its container, beside what each agent has.
    pub environment: Vec<(&'static str, &'static str)>,
    /// The mesh's settings, where they are not those of `mesh.yaml`.
    pub mesh: Option<Value>,
}

impl Pod {
    /// A gateway's pod with this label for `istio`.
    pub fn gateway(namespace: &str, label: &str) -> Self {
        Self {
            name: label.to_owned(),
            namespace: namespace.to_owned(),
            kind: "router",
            address: "10.66.0.1",
            labels: json!({"istio": label}),
            annotations: json!({}),
            environment: Vec::new(),
            mesh: None,
        }
    }

    /// The sidecar of a workload with this label for `app`.
    pub fn sidecar(namespace: &str, label: &str) -> Self {
        Self {
            name: label.to_owned(),
            namespace: namespace.to_owned(),
            kind: "sidecar",
            address: "10.66.0.2",
            labels: json!({"app": label}),
            annotations: json!({}),
            environment: Vec::new(),
            mesh: None,
        }
    }
}

impl Proxy {
    /// Starts it and waits until it is ready.
    pub fn start(plane: &ControlPlane, pod: Pod) -> Self {
        let mut proxy = Self {
            process: None,
            folder: folder(),
            pod,
            listener: None,
            offset: 100 * NEXT.fetch_add(1, Ordering::Relaxed),
        };
        proxy.start_again(plane);
        proxy
    }

    /// Ends it where it runs, and starts it anew, as a new container of the pod would.
    pub fn start_again(&mut self, plane: &ControlPlane) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
        let mut process = Process::start(self.folder.path(), "agent", &mut self.command(plane));
        let ready = self.port(15_021);
        process.wait_for("the agent", || {
            let answer = Request::get("/healthz/ready").send(Version::Http1, ready);
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.process = Some(process);
    }

    fn command(&self, plane: &ControlPlane) -> Command {
        let (folder, pod) = (self.folder.path(), &self.pod);
        let write = |path: &str, text: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        // istiod writes its root certificate into every namespace.
        let mut root = String::new();
        within(PATIENCE, "istiod's root certificate", || {
            let path = r"jsonpath={.data.root-cert\.pem}";
            let arguments = [
                "get",
                "configmap",
                "istio-ca-root-cert",
                "-n",
                &pod.namespace,
                "-o",
                path,
            ];
            root = plane.kubectl(&arguments, "").unwrap_or_default();
            !root.is_empty()
        });
        write("var/run/secrets/istio/root-cert.pem", &root);
        let token = [
            "create",
            "token",
            "default",
            "-n",
            &pod.namespace,
            "--audience",
            "istio-ca",
        ];
        let token = plane.kubectl(&token, "").unwrap();
        write("var/run/secrets/tokens/istio-token", token.trim());
        write("etc/istio/proxy/here", "");
        // As the downward API writes them.
        let annotations = pod.annotations.as_object().unwrap().iter();
        let annotations: String = annotations.map(|(name, value)| format!("{name}={value}\n")).collect();
        write("etc/istio/pod/annotations", &annotations);
        let mesh = match &pod.mesh {
            None => plane.mesh_config(),
            Some(mesh) => {
                write("mesh.json", &mesh.to_string());
                folder.join("mesh.json")
            }
        };

        // The agent keeps fetched modules in a folder with a fixed name; in a pod that folder is its own.
        let own_folder = "mount -t tmpfs tmpfs /var/lib/istio && mkdir /var/lib/istio/data && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", own_folder, "agent"])
            .arg(plane.istio("pilot-agent"))
            .current_dir(folder)
            .args([
                "proxy",
                pod.kind,
                "--domain",
                &format!("{}.svc.cluster.local", pod.namespace),
            ])
            .arg("--meshConfig")
            .arg(mesh)
            .args(["--proxyLogLevel=warning", "--log_output_level=default:info"])
            .env("POD_NAME", &pod.name)
            .env("POD_NAMESPACE", &pod.namespace)
            .env("INSTANCE_IP", pod.address)
            .env("SERVICE_ACCOUNT", "default")
            .env("TRUST_DOMAIN", "cluster.local")
            .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
            .env("ISTIO_META_WORKLOAD_NAME", &pod.name)
            .env("ISTIO_META_APP_CONTAINERS", "app")
            .env("ISTIO_META_INTERCEPTION_MODE", "REDIRECT")
            .env("ISTIO_META_MESH_ID", "cluster.local")
            .env("ISTIO_METAJSON_LABELS", pod.labels.to_string())
            .env("ENVOY_STATUS_PORT", self.port(15_021).port().to_string())
            .env("ENVOY_PROMETHEUS_PORT", self.port(15_090).port().to_string())
            .env("PROXY_CONFIG", self.proxy_config(plane).to_string())
            .envs(pod.environment.iter().copied());
        if pod.kind == "router" {
            command.env("ISTIO_META_UNPRIVILEGED_POD", "true");
        }
        command
    }

    fn proxy_config(&self, plane: &ControlPlane) -> Value {
        json!({
            "discoveryAddress": "istiod.istio-system.svc:15012",
            "binaryPath": std::env::var("ENVOY_BIN").expect("ENVOY_BIN"),
            "configPath": self.folder.path().join("etc/istio/proxy"),
            "proxyBootstrapTemplatePath": plane.istio("bootstrap.json"),
            "proxyAdminPort": self.port(15_000).port(),
            "statusPort": self.port(15_020).port(),
            "concurrency": 2,
            "terminationDrainDuration": "1s",
        })
    }

    /// The address of a port that is `port` in a pod of its own.
    pub fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port + self.offset))
    }

    /// What the agent shows Prometheus: Envoy's metrics and its own.
    pub fn metrics(&self) -> String {
        let answer = Request::get("/stats/prometheus").send(Version::Http1, self.port(15_020));
        answer.unwrap().text()
    }

    /// `GET` from Envoy's admin interface.
    pub fn admin(&self, path: &str) -> String {
        let answer = Request::get(path).send(Version::Http1, self.port(15_000));
        answer.unwrap().text()
    }

    /// The log of the agent and of Envoy, access log included.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// A client's request, from an address that is neither the gateway's nor the upstream's.
    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        let to = SocketAddr::new(self.pod.address.parse().unwrap(), self.listener_port());
        request.clone().from("10.66.0.9").send(Version::Http1, to)
    }

    pub fn send(&self, request: &Request) -> Response {
        self.try_send(request)
            .unwrap_or_else(|error| panic!("{error}: {request:?}\n{}", last_lines(&self.log(), 30)))
    }

    /// Waits until a request without a key is refused with this `code`, so until a policy that does so is in force.
    pub fn wait_for_code(&self, what: &str, code: &str) {
        within(PATIENCE, &format!("{what}: {code}"), || {
            let answer = self.try_send(&Request::get("/"));
            answer.is_ok_and(|answer| answer.code() == code)
        });
    }

    /// Where the gateway listens for clients.
    pub fn listener_port(&self) -> u16 {
        self.listener.unwrap_or(18_080 + self.offset)
    }

    /// For a gateway whose port is known before it starts.
    pub fn listening_at(mut self, port: u16) -> Self {
        self.listener = Some(port);
        self
    }
}
