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
use crate::harness::prometheus::{Prometheus, expression_of};
use crate::harness::skipped::skip;
use crate::harness::{Request, Response, Upstream, Version};
use crate::process::{PATIENCE, Process, folder, last_lines, programs, within};
use crate::registry::{Format, Registry};

/// The version that Envoy Gateway looks for. It finds a script that notes the arguments; with these the tests start `ENVOY_BIN`, whatever its
/// version.
const WANTED_ENVOY: &str = "1.40.0";

/// A client that no policy knows, and the gateway's address for it.
pub const CLIENT: &str = "10.66.0.9";
const GATEWAY: [u8; 4] = [10, 66, 0, 1];

/// Envoy Gateway's ports are fixed, so only one can run at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Envoy Gateway with a Gateway before an upstream, and an Envoy of its own, which outlives it as in Kubernetes.
pub struct EnvoyGateway {
    pub registry: Registry,
    pub upstream: Upstream,
    control_plane: Option<Process>,
    proxy: Option<Process>,
    admin: Option<SocketAddr>,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl EnvoyGateway {
    /// Starts it with what is shipped and `changes`, which replace the resources of the same kind and name; waits until it answers.
    pub fn start(changes: &[Value]) -> Self {
        let mut gateway = Self::stopped(changes);
        gateway.start_control_plane();
        gateway.start_proxy();
        gateway.wait_for("an answer", |gateway| gateway.try_send(&Request::get("/")).is_ok());
        gateway
    }

    /// The same, before anything is started.
    pub fn stopped(changes: &[Value]) -> Self {
        let alone = alone();
        let gateway = Self {
            registry: Registry::start(Format::Docker),
            upstream: Upstream::start(),
            control_plane: None,
            proxy: None,
            admin: None,
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

    /// Creates or replaces a resource. The filter's image is this test's.
    pub fn put(&self, resource: &Value) {
        let image = self.registry.image("");
        let text = resource.to_string().replace("registry.example.com/keyfence:", &image);
        let partial = self.folder.path().join("partial.yaml");
        fs::write(&partial, text).unwrap();
        fs::rename(partial, self.file(resource)).unwrap();
    }

    /// Deletes a resource.
    pub fn delete(&self, resource: &Value) {
        fs::remove_file(self.file(resource)).unwrap();
    }

    fn file(&self, resource: &Value) -> PathBuf {
        let [kind, name] = [&resource["kind"], &resource["metadata"]["name"]].map(|text| text.as_str().unwrap());
        self.resources().join(format!("{kind}-{name}.yaml"))
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
        let flag = arguments.iter().position(|argument| argument == "--admin-address-path");
        let admin = Path::new(&arguments[flag.unwrap() + 1]);
        // Envoy Gateway deletes the folder of the Envoy that ended with it.
        fs::create_dir_all(admin.parent().unwrap()).unwrap();
        let _ = fs::remove_file(admin);
        let mut command = Command::new(std::env::var("ENVOY_BIN").expect("ENVOY_BIN"));
        command.args(["--file-flush-interval-msec", "50"]).args(&arguments);
        let mut process = Process::start(self.folder.path(), "envoy", &mut command);
        process.wait_for("Envoy", || {
            fs::read_to_string(admin).is_ok_and(|admin| !admin.is_empty())
        });
        self.admin = Some(fs::read_to_string(admin).unwrap().parse().unwrap());
        self.proxy = Some(process);
        self.wait_for("readiness", Self::is_ready);
    }

    /// The arguments that Envoy Gateway gives to Envoy.
    pub fn proxy_arguments(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("arguments")).unwrap();
        text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    /// What the readiness probe of the pod asks.
    pub fn is_ready(&self) -> bool {
        let answer = Request::get("/ready").send(Version::Http1, SocketAddr::from((GATEWAY, 19_003)));
        answer.is_ok_and(|answer| answer.status == 200)
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
        // In place of Envoy, which would end together with Envoy Gateway: a script that notes the arguments for Envoy.
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
        // Without this Secret, Envoy Gateway makes one whose CA did not sign the certificate of its own server, from which Envoy fetches the filter.
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
        let answer = Request::get(path).send(Version::Http1, self.admin.unwrap());
        answer.unwrap().text()
    }

    /// The series that Prometheus sees. Envoy Gateway has them at port 19001 of the pod, and here at the admin interface.
    pub fn metrics(&self) -> String {
        self.admin("/stats/prometheus")
    }

    /// The alerts for the Envoy that runs now, from now on.
    pub fn alerts(&self) -> Alerts {
        Alerts::of(self.admin.unwrap(), "/stats/prometheus")
    }

    /// Those for Envoy Gateway.
    pub fn control_plane_alerts(&self) -> Alerts {
        Alerts::of(SocketAddr::from(([127, 0, 0, 1], 19_001)), "/metrics")
    }

    /// The value of a series, with its labels as Envoy writes them; none where there is no such series.
    pub fn metric(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics();
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
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

/// What Prometheus sees of one program; nothing where there is no Prometheus.
pub struct Alerts(Option<Prometheus>);

impl Alerts {
    fn of(target: SocketAddr, path: &str) -> Self {
        if !Prometheus::is_installed() {
            skip("the alerts in Envoy Gateway: there is no Prometheus (Debian: apt-get install prometheus)");
            return Self(None);
        }
        // A scrape job as people have it, not with keyfence in its name.
        Self(Some(Prometheus::scraping_at("kubernetes-pods", target, path)))
    }

    /// Waits until a series has been scraped.
    pub fn have(&self, series: &str) {
        if let Self(Some(prometheus)) = self {
            prometheus.wait_for(series, series);
        }
    }

    /// Waits until the expression of an alert holds.
    pub fn ring(&self, alert: &str) {
        self.have(&expression_of(alert));
    }
}
