//! etcd, Kubernetes' API server and istiod.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::gateway::repository;
use crate::harness::{Request, Version};
use crate::process::{PATIENCE, Process, folder, programs, within};

const API: &str = "127.0.0.1:16443";
const ISTIOD_READY: &str = "127.0.0.1:15080";

/// The namespaces that exist, beside Kubernetes' own.
const NAMESPACES: [&str; 3] = ["istio-system", "istio-ingress", "search"];

/// Kubernetes without nodes, and an istiod that watches it.
pub struct ControlPlane {
    pub folder: TempDir,
    programs: Programs,
    istiod: Mutex<Option<Process>>,
    _etcd: Process,
    _api: Process,
}

/// The folders of what `tests/mesh/programs` has built.
struct Programs {
    istio: PathBuf,
    kubernetes: PathBuf,
    etcd: PathBuf,
}

/// One is enough for all tests, for they use names of their own; a test that disturbs it has it alone.
static SHARED: OnceLock<RwLock<ControlPlane>> = OnceLock::new();

impl ControlPlane {
    pub fn shared() -> RwLockReadGuard<'static, Self> {
        let lock = SHARED.get_or_init(|| RwLock::new(Self::start()));
        lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// For a test during which no other may use it.
    pub fn alone() -> RwLockWriteGuard<'static, Self> {
        let lock = SHARED.get_or_init(|| RwLock::new(Self::start()));
        lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start() -> Self {
        let version = std::env::var("KEYFENCE_ISTIO").unwrap_or_else(|_| "1.31".into());
        let programs = Programs {
            istio: programs(&format!("istio-{version}")),
            kubernetes: programs("kubernetes"),
            etcd: programs("etcd"),
        };
        let folder = folder();
        let etcd = start_etcd(&programs, folder.path());
        let api = start_api(&programs, folder.path());
        let plane = Self {
            folder,
            programs,
            istiod: Mutex::new(None),
            _etcd: etcd,
            _api: api,
        };
        within(PATIENCE, "the API server", || {
            plane.kubectl(&["get", "--raw", "/readyz"], "").is_ok()
        });
        let crds = plane.programs.istio.join("crds.yaml");
        plane.kubectl(&["create", "-f", crds.to_str().unwrap()], "").unwrap();
        plane
            .kubectl(
                &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"],
                "",
            )
            .unwrap();
        for namespace in NAMESPACES {
            plane.kubectl(&["create", "namespace", namespace], "").unwrap();
            plane
                .kubectl(&["create", "serviceaccount", "default", "-n", namespace], "")
                .unwrap();
        }
        fs::write(plane.mesh_config(), mesh_config().to_string()).unwrap();
        plane.start_istiod();
        plane
    }

    /// A program or file of Istio.
    pub fn istio(&self, name: &str) -> PathBuf {
        self.programs.istio.join(name)
    }

    pub fn mesh_config(&self) -> PathBuf {
        self.folder.path().join("mesh.json")
    }

    pub fn start_istiod(&self) {
        let folder = self.folder.path();
        let mut command = Command::new(self.istio("pilot-discovery"));
        command
            .current_dir(folder)
            .args(["discovery", "--kubeconfig", "kubeconfig", "--meshConfig", "mesh.json"])
            .args(["--httpAddr", ISTIOD_READY, "--grpcAddr", "127.0.0.1:15010"])
            .args([
                "--secureGRPCAddr",
                "127.0.0.1:15012",
                "--httpsAddr=",
                "--monitoringAddr",
                "127.0.0.1:15014",
            ])
            .args(["--ctrlz_address", "127.0.0.1"])
            .env("POD_NAMESPACE", "istio-system")
            .env("POD_NAME", "istiod")
            .env("REVISION", "default")
            .env("ENABLE_CA_SERVER", "true")
            // Filters of Istio's own Envoy, which upstream's does not have.
            .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
            .env("PILOT_ENABLE_ALPN_FILTER", "false")
            .env("PILOT_ENABLE_GATEWAY_API", "false")
            .env("INJECTION_WEBHOOK_CONFIG_NAME", "")
            .env("VALIDATION_WEBHOOK_CONFIG_NAME", "");
        let mut istiod = Process::start(folder, "istiod", &mut command);
        istiod.wait_for("istiod", || {
            let answer = Request::get("/ready").send(Version::Http1, ISTIOD_READY.parse().unwrap());
            answer.is_ok_and(|answer| answer.status == 200)
        });
        *self.istiod.lock().unwrap() = Some(istiod);
    }

    /// Kills istiod; another one starts when the result goes out of scope.
    pub fn without_istiod(&self) -> WithoutIstiod<'_> {
        let istiod = self.istiod.lock().unwrap().take().unwrap();
        istiod.signal("KILL");
        istiod.stop();
        WithoutIstiod(self)
    }

    /// What `kubectl` printed; what it printed of an error, where it exits with one.
    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.kubernetes.join("kubectl"));
        command.args(arguments);
        self.run(command, stdin)
    }

    /// The same of `istioctl`.
    pub fn istioctl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = Command::new(self.istio("istioctl"));
        command.args(arguments);
        self.run(command, stdin)
    }

    fn run(&self, mut command: Command, stdin: &str) -> Result<String, String> {
        let mut child = command
            .current_dir(repository())
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr) + &text(&output.stdout))
        }
    }

    /// `kubectl apply` of this manifest, which must be taken.
    pub fn apply(&self, manifest: &str) {
        self.kubectl(&["apply", "-f", "-"], manifest)
            .unwrap_or_else(|error| panic!("{error}\n{manifest}"));
    }
}

/// While there is no istiod.
pub struct WithoutIstiod<'p>(&'p ControlPlane);

impl Drop for WithoutIstiod<'_> {
    fn drop(&mut self) {
        self.0.start_istiod();
    }
}

fn start_etcd(programs: &Programs, folder: &Path) -> Process {
    let [client, peer] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];
    let mut command = Command::new(programs.etcd.join("etcd"));
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")]);
    Process::start(folder, "etcd", &mut command)
}

fn start_api(programs: &Programs, folder: &Path) -> Process {
    let key = folder.join("serviceaccounts.key");
    let made = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "openssl: {made:?}");
    fs::write(folder.join("tokens.csv"), "admin-token,admin,admin,system:masters\n").unwrap();
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, clusters: [{{name: mesh, cluster: {{server: 'https://{API}', insecure-skip-tls-verify: true}}}}], \
         users: [{{name: admin, user: {{token: admin-token}}}}], contexts: [{{name: mesh, context: {{cluster: mesh, user: admin}}}}], \
         current-context: mesh}}"
    );
    fs::write(folder.join("kubeconfig"), kubeconfig).unwrap();
    let (address, port) = API.split_once(':').unwrap();
    let mut command = Command::new(programs.kubernetes.join("kube-apiserver"));
    command
        .current_dir(folder)
        .arg("--etcd-servers=http://127.0.0.1:2379")
        .args([
            "--bind-address",
            address,
            "--secure-port",
            port,
            "--advertise-address=10.66.0.9",
        ])
        .args([
            "--cert-dir=certificates",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
        ])
        .args([
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
        ])
        .args([
            "--service-account-key-file=serviceaccounts.key",
            "--service-account-signing-key-file=serviceaccounts.key",
        ])
        .arg("--disable-admission-plugins=ServiceAccount");
    Process::start(folder, "kube-apiserver", &mut command)
}

/// The mesh's settings as `envoy/istio/mesh.yaml` has them.
fn mesh_config() -> Value {
    let text = fs::read_to_string(repository().join("envoy/istio/mesh.yaml")).unwrap();
    let operator: Value = serde_saphyr::from_str(&text).unwrap();
    operator["spec"]["meshConfig"].clone()
}
