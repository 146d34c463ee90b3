//! Kubernetes without nodes: etcd and the API server. Their ports are fixed, so only one can run at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::command_line::output_of;
use crate::harness::gateway::repository;
use crate::process::{PATIENCE, Process, folder, programs, within};

const API: &str = "127.0.0.1:16443";

pub struct Kubernetes {
    folder: TempDir,
    /// The folder of its programs.
    programs: PathBuf,
    _etcd: Process,
    _api: Process,
}

impl Kubernetes {
    /// Starts it and waits until it is ready.
    pub fn start() -> Self {
        let folder = folder();
        let programs = programs("kubernetes");
        let etcd = start_etcd(folder.path());
        let api = start_api(&programs, folder.path());
        let kubernetes = Self {
            folder,
            programs,
            _etcd: etcd,
            _api: api,
        };
        within(PATIENCE, "the API server", || {
            kubernetes.kubectl(&["get", "--raw", "/readyz"], "").is_ok()
        });
        kubernetes
    }

    /// The file that says to clients where the API server is.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Adds the resource definitions of a file, or of all files in a folder.
    pub fn define(&self, definitions: &Path) {
        let definitions = definitions.to_str().unwrap();
        self.kubectl(&["create", "-R", "-f", definitions], "").unwrap();
        let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        self.kubectl(&wait, "").unwrap();
    }

    /// What `kubectl` printed; what it printed of an error, where it exits with one.
    pub fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.args(arguments);
        self.run(command, stdin)
    }

    /// The same of another client.
    pub fn run(&self, command: Command, stdin: &str) -> Result<String, String> {
        self.run_in(repository(), command, stdin)
    }

    /// The same in another folder.
    pub fn run_in(&self, folder: &Path, mut command: Command, stdin: &str) -> Result<String, String> {
        let output = output_of(command.current_dir(folder).env("KUBECONFIG", self.config()), stdin);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr) + &text(&output.stdout))
        }
    }
}

fn start_etcd(folder: &Path) -> Process {
    let [client, peer] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];
    let mut command = Command::new(programs("etcd").join("etcd"));
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")]);
    Process::start(folder, "etcd", &mut command)
}

fn start_api(programs: &Path, folder: &Path) -> Process {
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
    let mut command = Command::new(programs.join("kube-apiserver"));
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
