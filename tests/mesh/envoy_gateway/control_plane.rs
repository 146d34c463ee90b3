//! The processes: Envoy Gateway, Envoy, and what they need.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::resources::shipped;
use crate::harness::{Request, Response, Upstream, Version};
use crate::process::{PATIENCE, Process, folder, last_lines, programs, within};
use crate::registry::{Format, Registry};

/// The version that Envoy Gateway is told to look for. What it finds is `ENVOY_BIN`, whatever its version.
const WANTED_ENVOY: &str = "1.40.0";

/// A client that no policy knows, and the gateway's address for it.
pub const CLIENT: &str = "10.66.0.9";
const GATEWAY: [u8; 4] = [10, 66, 0, 1];

/// Its ports are fixed, so there is one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Envoy Gateway with a Gateway before an upstream, and an Envoy of its own, which outlives it as in Kubernetes.
pub struct EnvoyGateway {
    pub registry: Registry,
    pub upstream: Upstream,
    control_plane: Option<Process>,
    proxy: Option<Process>,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl EnvoyGateway {
    /// Starts it with what is shipped and `changes`, which replace the resources of their kinds; waits until it answers.
    pub fn start(changes: &[Value]) -> Self {
        let mut gateway = Self::stopped(changes);
        gateway.start_control_plane();
        gateway.start_proxy();
        gateway.wait_for("an answer", |gateway| gateway.try_send(&Request::get("/")).is_ok());
        gateway
    }

    /// The same, before anything is started.
    pub fn stopped(changes: &[Value]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = Self {
            registry: Registry::start(Format::Docker),
            upstream: Upstream::start(),
            control_plane: None,
            proxy: None,
            folder: folder(),
            _alone: alone,
        };
        fs::create_dir(gateway.resources()).unwrap();
        gateway.write_control_plane_files();
        for resource in shipped().iter().chain(changes) {
            gateway.put(resource);
        }
        gateway
    }

    /// Creates or replaces a resource; there is one of each kind. The filter's image is this test's.
    pub fn put(&self, resource: &Value) {
        let image = self.registry.image("");
        let text = resource.to_string().replace("registry.example.com/keyfence:", &image);
        self.put_text(resource["kind"].as_str().unwrap(), &text);
    }

    fn put_text(&self, kind: &str, text: &str) {
        let partial = self.folder.path().join("partial.yaml");
        fs::write(&partial, text).unwrap();
        fs::rename(partial, self.resources().join(format!("{kind}.yaml"))).unwrap();
    }

    /// Deletes the resource of this kind.
    pub fn delete(&self, kind: &str) {
        fs::remove_file(self.resources().join(format!("{kind}.yaml"))).unwrap();
    }

    /// Starts Envoy Gateway and waits until it has said how Envoy is to be started.
    pub fn start_control_plane(&mut self) {
        let path = |name: &str| self.folder.path().join(name);
        let _ = fs::remove_file(path("arguments"));
        let mut command = Command::new(programs("envoy-gateway").join("envoy-gateway"));
        command
            .args(["server", "--config-path"])
            .arg(path("envoy-gateway.yaml"))
            // It keeps the modules that it has fetched there.
            .env("HOME", path("home"));
        let mut process = Process::start(self.folder.path(), "envoy-gateway", &mut command);
        process.wait_for("Envoy Gateway", || path("arguments").exists());
        self.control_plane = Some(process);
    }

    pub fn stop_control_plane(&mut self) {
        self.control_plane.take().unwrap().stop();
    }

    /// Starts Envoy as Envoy Gateway has said, in place of one that runs.
    pub fn start_proxy(&mut self) {
        if let Some(process) = self.proxy.take() {
            process.stop();
        }
        let arguments = self.proxy_arguments();
        let _ = fs::remove_file(Self::admin_file(&arguments));
        let mut command = Command::new(std::env::var("ENVOY_BIN").expect("ENVOY_BIN"));
        command.args(["--file-flush-interval-msec", "50"]).args(&arguments);
        let mut process = Process::start(self.folder.path(), "envoy", &mut command);
        process.wait_for("Envoy", || {
            let admin = fs::read_to_string(Self::admin_file(&arguments)).unwrap_or_default();
            let ready = admin.parse().ok().map(|admin| Request::get("/ready").send(Version::Http1, admin));
            ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.status == 200))
        });
        self.proxy = Some(process);
    }

    /// The arguments that Envoy Gateway gives to Envoy.
    pub fn proxy_arguments(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("arguments")).unwrap();
        text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    fn admin_file(arguments: &[String]) -> PathBuf {
        let flag = arguments.iter().position(|argument| argument == "--admin-address-path").unwrap();
        arguments[flag + 1].as_str().into()
    }

    fn resources(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    fn write_control_plane_files(&self) {
        let path = |name: &str| self.folder.path().join(name);
        let configuration = json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            "provider": {
                "type": "Custom",
                "custom": {
                    "resource": {"type": "File", "file": {"paths": [self.resources()]}},
                    "infrastructure": {
                        "type": "Host",
                        "host": {
                            "configHome": certificates(),
                            "dataHome": path("data"),
                            "stateHome": path("state"),
                            "runtimeDir": path("run"),
                        },
                    },
                },
            },
            "extensionApis": {"enableBackend": true},
        });
        fs::write(path("envoy-gateway.yaml"), configuration.to_string()).unwrap();
        // In the place of Envoy, which would end with Envoy Gateway: notes with which arguments Envoy is to be started.
        let folder = path("data").join(format!("envoy-versions/{WANTED_ENVOY}/bin"));
        fs::create_dir_all(&folder).unwrap();
        let arguments = path("arguments");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\0' \"$@\" >{0}.partial\nmv {0}.partial {0}\nexec sleep 86400\n",
            arguments.display()
        );
        fs::write(folder.join("envoy"), script).unwrap();
        fs::set_permissions(folder.join("envoy"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(path("home")).unwrap();

        let upstream = self.upstream.address();
        self.put(&json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": "upstream", "namespace": "default"},
            "spec": {"endpoints": [{"ip": {"address": upstream.ip(), "port": upstream.port()}}]},
        }));
        // Without this Secret it makes one whose CA does not know Envoy Gateway's own server, from which Envoy fetches the filter.
        let files = ["ca.crt", "tls.crt", "tls.key"].map(|name| {
            let content = fs::read(certificates().join("certs/envoy").join(name)).unwrap();
            (name.to_owned(), json!(BASE64_STANDARD.encode(content)))
        });
        self.put(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "envoy", "namespace": "envoy-gateway-system"},
            "type": "kubernetes.io/tls",
            "data": Value::Object(files.into_iter().collect()),
        }));
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((GATEWAY, 8080))
    }

    /// Sends a request from an address that no policy knows, unless it has one.
    pub fn try_send(&self, request: &Request) -> std::io::Result<Response> {
        let mut request = request.clone();
        request.from = request.from.or(Some(CLIENT.parse().unwrap()));
        request.send(Version::Http1, self.address())
    }

    pub fn send(&self, request: &Request) -> Response {
        self.try_send(request)
            .unwrap_or_else(|error| panic!("{error}: {request:?}\n{}", self.logs()))
    }

    /// `GET` from Envoy's admin interface.
    pub fn admin(&self, path: &str) -> String {
        let admin = fs::read_to_string(Self::admin_file(&self.proxy_arguments())).unwrap();
        let answer = Request::get(path).send(Version::Http1, admin.parse().unwrap());
        answer.unwrap().text()
    }

    /// The series that Prometheus sees. Envoy Gateway has them at port 19001 of the pod, and here at the admin interface.
    pub fn metrics(&self) -> String {
        self.admin("/stats/prometheus")
    }

    /// The lines of the access log, in the form of envoy-proxy.yaml.
    pub fn access_log(&self) -> Vec<Value> {
        let log = self.proxy.as_ref().unwrap().log();
        log.lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn proxy_log(&self) -> String {
        self.proxy.as_ref().unwrap().log()
    }

    pub fn logs(&self) -> String {
        let logs = [("Envoy Gateway", &self.control_plane), ("Envoy", &self.proxy)];
        let logs = logs.map(|(name, process)| {
            let log = process.as_ref().map(Process::log).unwrap_or_default();
            format!("The end of the log of {name}:\n{}\n", last_lines(&log, 20))
        });
        logs.concat()
    }

    /// Waits until `condition` holds.
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        within(PATIENCE, what, || condition(self));
    }
}

/// The folder of the certificates, which are made once.
fn certificates() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = folder();
        let output = Command::new(programs("envoy-gateway").join("envoy-gateway"))
            .args(["certgen", "--local", "--config-home"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::write(folder.path().join("envoy-version"), WANTED_ENVOY).unwrap();
        // Envoy is told to find the CA there, as in its pod.
        fs::copy(folder.path().join("certs/envoy/ca.crt"), "/certs/ca.crt")
            .expect("the folder that tests/mesh/namespace makes");
        folder
    });
    folder.path()
}
