//! Kubernetes and istiod.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::gateway::repository;
use crate::harness::{Request, Version};
use crate::kubernetes::Kubernetes;
use crate::process::{Process, folder, programs};

const ISTIOD_READY: &str = "127.0.0.1:15080";

/// The namespaces that exist, beside Kubernetes' own.
const NAMESPACES: [&str; 4] = ["istio-system", "istio-ingress", "search", "keyfence"];

/// Kubernetes without nodes, and an istiod that watches it.
pub struct ControlPlane {
    pub folder: TempDir,
    /// Of Istio: 1.31, for example.
    pub version: String,
    /// The folder of Istio's programs.
    istio: PathBuf,
    istiod: Mutex<Option<Process>>,
    kubernetes: Kubernetes,
}

/// All tests share one, because each uses names of its own; a test that would disturb others has it alone.
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
        let plane = Self {
            folder: folder(),
            istio: programs(&format!("istio-{version}")),
            version,
            istiod: Mutex::new(None),
            kubernetes: Kubernetes::start(),
        };
        plane.kubernetes.define(&plane.istio("crds.yaml"));
        plane.kubernetes.define(&plane.istio("gateway-api-crds"));
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
        self.istio.join(name)
    }

    pub fn mesh_config(&self) -> PathBuf {
        self.folder.path().join("mesh.json")
    }

    pub fn start_istiod(&self) {
        let folder = self.folder.path();
        let mut command = Command::new(self.istio("pilot-discovery"));
        command
            .current_dir(folder)
            .args(["discovery", "--meshConfig", "mesh.json", "--kubeconfig"])
            .arg(self.kubernetes.config())
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
        self.kubernetes.kubectl(arguments, stdin)
    }

    /// The same of `istioctl`.
    pub fn istioctl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = Command::new(self.istio("istioctl"));
        command.args(arguments);
        self.kubernetes.run(command, stdin)
    }

    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
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

/// The mesh's settings as `envoy/istio/mesh.yaml` has them.
pub fn shipped_mesh_config() -> Value {
    let text = fs::read_to_string(repository().join("envoy/istio/mesh.yaml")).unwrap();
    let operator: Value = serde_saphyr::from_str(&text).unwrap();
    operator["spec"]["meshConfig"].clone()
}

/// The same behind one proxy that appends to `X-Forwarded-For`.
fn mesh_config() -> Value {
    let mut mesh = shipped_mesh_config();
    mesh["defaultConfig"]["gatewayTopology"]["numTrustedProxies"] = 1.into();
    mesh
}
