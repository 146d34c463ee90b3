//! The Envoy process.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Once, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Request, Response, Version};
use super::control_server;
use super::listener::Listener;
use super::upstream::Upstream;

/// A V8 start on a busy machine included.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The same under a program that watches every instruction.
const WATCHED_START_TIMEOUT: Duration = Duration::from_secs(1_200);

/// A running Envoy.
pub struct Gateway {
    process: Process,
    launch: Launch,
    directory: TempDir,
    wasm: PathBuf,
    listeners: HashMap<String, Listener>,
    addresses: HashMap<String, SocketAddr>,
    admin: SocketAddr,
    crash_expected: bool,
}

/// A gateway to be.
pub struct Setup {
    upstream: SocketAddr,
    listeners: Vec<Listener>,
    workers: u32,
    wasm: Option<PathBuf>,
    amend: Vec<Amendment>,
    crash_expected: bool,
    restart: Restart,
    watcher: Vec<String>,
    clusters: Vec<(String, SocketAddr)>,
    environment: Vec<(String, String)>,
}

type Amendment = Box<dyn FnOnce(&mut Value)>;

impl Gateway {
    /// A gateway with one worker, to be set up and started.
    pub fn in_front_of(upstream: &Upstream) -> Setup {
        Self::before(upstream.address())
    }

    /// The same, before an upstream of another kind.
    pub fn before(upstream: SocketAddr) -> Setup {
        Setup {
            upstream,
            listeners: Vec::new(),
            workers: 1,
            wasm: None,
            amend: Vec::new(),
            crash_expected: false,
            restart: Restart::Cold,
            watcher: Vec::new(),
            clusters: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// An Envoy with a configuration of the test's own, for example one that is shipped. It has the token
    /// of a [`control_server`] in its environment. It takes an `admin` section; the file is in [`Gateway::directory`], paths in it are relative to the
    /// repository.
    pub fn from_yaml(configuration: &str) -> Self {
        Self::try_from_yaml(configuration).unwrap_or_else(|log| panic!("Envoy did not start:\n{}", tail(&log)))
    }

    /// The log of an Envoy that did not start is the error.
    pub fn try_from_yaml(configuration: &str) -> Result<Self, String> {
        let launch = Launch {
            file: "envoy.yaml".into(),
            workers: 1,
            restart: Restart::Cold,
            epoch: 0,
            watcher: Vec::new(),
            environment: vec![(control_server::TOKEN_VARIABLE.into(), control_server::TOKEN.into())],
        };
        Self::launch(TempDir::new().unwrap(), launch, configuration)
    }

    fn launch(directory: TempDir, launch: Launch, configuration: &str) -> Result<Self, String> {
        fs::write(directory.path().join(&launch.file), configuration).unwrap();
        let (process, admin) = launch.start(directory.path())?;
        Ok(Self {
            process,
            launch,
            directory,
            wasm: PathBuf::new(),
            listeners: HashMap::new(),
            addresses: listener_addresses(admin),
            admin,
            crash_expected: false,
        })
    }

    /// Starts a second Envoy that takes over from this one, which gives its connections time to end and then ends itself: it is the
    /// result. For a [`Setup::hot_restart`].
    pub fn restart_hot(&mut self) -> Process {
        self.launch.epoch += 1;
        self.start_again()
    }

    /// Ends Envoy as the kernel would, and starts it anew after a while. Its listeners need ports of their own ([`Listener::port`]).
    pub fn kill_and_start(&mut self, after: Duration) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        thread::sleep(after);
        drop(self.start_again());
    }

    fn start_again(&mut self) -> Process {
        let started = self.launch.start(self.directory.path());
        let (process, admin) = started.unwrap_or_else(|log| panic!("Envoy did not start again:\n{}", tail(&log)));
        self.admin = admin;
        self.addresses = listener_addresses(admin);
        std::mem::replace(&mut self.process, process)
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// Sends over HTTP/1.1.
    pub fn send(&self, listener: &str, request: &Request) -> Response {
        self.send_over(Version::Http1, listener, request)
    }

    pub fn send_over(&self, version: Version, listener: &str, request: &Request) -> Response {
        request
            .send(version, self.address(listener))
            .unwrap_or_else(|error| panic!("{error}: {version:?} to {listener}: {request:?}"))
    }

    /// Replaces the policy of an [`Listener::updatable`] listener. Envoy takes it up, or refuses
    /// it, a little later: see [`Gateway::wait_for`].
    pub fn update(&mut self, listener: &str, policy: &Value) {
        let updated = self.listeners[listener].clone().with_policy(&policy.to_string());
        updated.write_resource(&self.wasm, self.directory.path());
        self.listeners.insert(listener.to_owned(), updated);
    }

    /// Replaces filter and policy of an updatable listener.
    pub fn update_filter(&mut self, listener: &str, wasm: impl Into<PathBuf>, policy: &Value) {
        self.wasm = wasm.into();
        self.update(listener, policy);
    }

    /// Asks again and again until `condition` holds; fails the test when it does not in 10 s.
    pub fn wait_for(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What Envoy and the filter logged.
    pub fn log(&self) -> String {
        read_lossy(&self.directory.path().join("envoy.log"))
    }

    /// The JSON access log of all listeners (fields: `listener.rs`); lines come within 0.1 s.
    pub fn access_log(&self) -> Vec<Value> {
        let text = read_lossy(&self.directory.path().join("access.log"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// `GET` from the admin interface: `/stats`, `/stats/prometheus`, `/config_dump`, `/memory`.
    pub fn admin(&self, path: &str) -> String {
        admin_get(self.admin, path).unwrap()
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Where a test may put files for this Envoy; gone with the gateway.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn complaints(&self) -> Vec<String> {
        if self.crash_expected {
            return Vec::new();
        }
        self.log()
            .lines()
            // A policy that is refused is "critical" to Envoy, but nothing that breaks.
            .filter(|line| !line.contains("failed to load"))
            .filter(|line| {
                ["panicked", "[critical]", "RuntimeError", "Function: proxy_on"]
                    .iter()
                    .any(|sign| line.contains(sign))
            })
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("The end of Envoy's log:\n{}", tail(&self.log()));
            return;
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "in Envoy's log: {complaints:#?}");
        if let Ok(Some(status)) = self.process.0.try_wait() {
            panic!("Envoy ended by itself ({status}):\n{}", tail(&self.log()));
        }
    }
}

impl Setup {
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Another build of the filter.
    pub fn wasm(mut self, path: impl Into<PathBuf>) -> Self {
        self.wasm = Some(path.into());
        self
    }

    /// Changes the bootstrap configuration just before Envoy gets it: more listeners, filters,
    /// clusters, `stats_tags`.
    pub fn amend(mut self, change: impl FnOnce(&mut Value) + 'static) -> Self {
        self.amend.push(Box::new(change));
        self
    }

    /// One more cluster, beside `upstream` and `dead`.
    pub fn cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.clusters.push((name.to_owned(), address));
        self
    }

    /// A variable of Envoy's environment; the filter sees it by [`Listener::host_env_key`].
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The log will show a panic, and may.
    pub fn crash_expected(mut self) -> Self {
        self.crash_expected = true;
        self
    }

    /// Envoy runs under this program, which takes Envoy's command line behind its own and keeps the process.
    pub fn watched_by(mut self, command: impl IntoIterator<Item = String>) -> Self {
        self.watcher = command.into_iter().collect();
        self
    }

    /// For [`Gateway::restart_hot`]; the listeners need ports of their own ([`Listener::port`]).
    pub fn hot_restart(mut self) -> Self {
        self.restart = Restart::Hot;
        self
    }

    pub fn start(self) -> Gateway {
        self.try_start()
            .unwrap_or_else(|log| panic!("Envoy did not start:\n{}", tail(&log)))
    }

    /// The log of an Envoy that did not start is the error.
    pub fn try_start(self) -> Result<Gateway, String> {
        let directory = TempDir::new().unwrap();
        let wasm = self.wasm.unwrap_or_else(|| built_filter().to_owned());
        for listener in self.listeners.iter().filter(|listener| listener.updatable) {
            listener.write_resource(&wasm, directory.path());
        }
        let listeners: Vec<Value> = self
            .listeners
            .iter()
            .map(|listener| listener.to_json(&wasm, directory.path()))
            .collect();
        let mut clusters = vec![
            cluster("upstream", self.upstream),
            cluster("dead", "127.0.0.1:1".parse().unwrap()),
        ];
        clusters.extend(self.clusters.iter().map(|(name, address)| cluster(name, *address)));
        let mut bootstrap = json!({
            "node": {"id": "test", "cluster": "keyfence"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {
                "listeners": listeners,
                "clusters": clusters,
            },
        });
        for amend in self.amend {
            amend(&mut bootstrap);
        }
        let launch = Launch {
            file: "envoy.json".into(),
            workers: self.workers,
            restart: self.restart,
            epoch: 0,
            watcher: self.watcher,
            environment: self.environment,
        };
        let mut gateway = Gateway::launch(directory, launch, &bootstrap.to_string())?;
        gateway.wasm = wasm;
        gateway.listeners = self
            .listeners
            .into_iter()
            .map(|listener| (listener.name.clone(), listener))
            .collect();
        gateway.crash_expected = self.crash_expected;
        Ok(gateway)
    }
}

/// How an Envoy is started, and started again.
struct Launch {
    /// The configuration's, in the gateway's directory.
    file: String,
    workers: u32,
    restart: Restart,
    /// How many hot restarts there were.
    epoch: u32,
    /// See [`Setup::watched_by`].
    watcher: Vec<String>,
    environment: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    Cold,
    Hot,
}

impl Launch {
    /// A process, and where its admin interface is; the log of one that does not start is the error.
    fn start(&self, directory: &Path) -> Result<(Process, SocketAddr), String> {
        let admin_path = directory.join("admin-address");
        let _ = fs::remove_file(&admin_path);
        let log_path = directory.join("envoy.log");
        let log = File::options().create(true).append(true).open(&log_path).unwrap();
        let mut command = match self.watcher.as_slice() {
            [] => Command::new(envoy_binary()),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(envoy_binary());
                command
            }
        };
        command
            .args(["--file-flush-interval-msec", "100"])
            .args(["--log-level", "info"])
            .args(["--component-log-level", "main:warning,config:warning"])
            .args(["--concurrency", &self.workers.to_string()])
            .arg("--config-path")
            .arg(directory.join(&self.file))
            .arg("--admin-address-path")
            .arg(&admin_path)
            .current_dir(repository())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.add_restart(&mut command, &directory.join("base-id"));
        let mut process = Process::spawn(command);
        let patience = if self.watcher.is_empty() {
            START_TIMEOUT
        } else {
            WATCHED_START_TIMEOUT
        };
        match process.wait_until_ready(&admin_path, patience) {
            Some(admin) => Ok((process, admin)),
            None => Err(read_lossy(&log_path)),
        }
    }

    /// Envoys with the same base id, which the first of them chooses, take over from each other.
    fn add_restart(&self, command: &mut Command, base_id: &Path) {
        if self.restart == Restart::Cold {
            command.arg("--disable-hot-restart");
            return;
        }
        command
            .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "3"])
            .args(["--restart-epoch", &self.epoch.to_string()]);
        if self.epoch == 0 {
            command.arg("--use-dynamic-base-id").arg("--base-id-path").arg(base_id);
        } else {
            command.args(["--base-id", read_lossy(base_id).trim()]);
        }
    }
}

/// Ends with its owner, and on Linux also with this process should that be killed.
pub struct Process(pub Child);

impl Process {
    pub fn spawn(mut command: Command) -> Self {
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::process::CommandExt;
            // SAFETY: prctl is async-signal-safe, and touches no memory of the parent.
            unsafe {
                command.pre_exec(|| {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    Ok(())
                });
            }
        }
        // The death signal comes when the thread ends that started the process, so that one stays.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let _ = sender.send(command.spawn());
            loop {
                thread::park();
            }
        });
        Self(receiver.recv().unwrap().unwrap())
    }

    /// The admin interface's address, once Envoy serves; none where it ended or took too long.
    fn wait_until_ready(&mut self, admin_path: &Path, patience: Duration) -> Option<SocketAddr> {
        let deadline = Instant::now() + patience;
        while self.0.try_wait().unwrap().is_none() && Instant::now() < deadline {
            if let Ok(admin) = read_lossy(admin_path).trim().parse()
                && admin_get(admin, "/ready").is_ok_and(|text| text.trim() == "LIVE")
            {
                return Some(admin);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listener_addresses(admin: SocketAddr) -> HashMap<String, SocketAddr> {
    let listeners: Value = serde_json::from_str(&admin_get(admin, "/listeners?format=json").unwrap()).unwrap();
    let statuses = listeners["listener_statuses"].as_array().unwrap();
    statuses
        .iter()
        .map(|status| {
            let address = &status["local_address"]["socket_address"];
            let ip: IpAddr = address["address"].as_str().unwrap().parse().unwrap();
            let port = address["port_value"].as_u64().unwrap().try_into().unwrap();
            (status["name"].as_str().unwrap().to_owned(), SocketAddr::new(ip, port))
        })
        .collect()
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
            "socket_address": {"address": address.ip(), "port_value": address.port()},
        }}}]}]},
    })
}

/// The Envoy that `make` would use.
pub fn envoy_binary() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let fetch = repository().join("envoy/fetch");
        let output = Command::new(fetch).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "there is no Envoy to test with");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

/// The filter as the sources stand: a stale file would test yesterday's code.
pub fn built_filter() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        // By make, whose flags are part of what is shipped.
        make("wasm");
        repository().join("target/wasm32-wasip1/release/keyfence.wasm")
    })
}

/// The token of a user of the demo, fresh in the file where the demo has it.
pub fn demo_token(user: &str) -> String {
    static MADE: Once = Once::new();
    MADE.call_once(|| make("tokens"));
    let path = repository().join(format!("target/gateway/{user}.jwt"));
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

fn make(target: &str) {
    let status = Command::new("make")
        .args(["--silent", target])
        .current_dir(repository())
        .status()
        .unwrap();
    assert!(status.success(), "make {target} fails");
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn admin_get(address: SocketAddr, path: &str) -> io::Result<String> {
    Request::get(path)
        .send(Version::Http1, address)
        .map(|response| response.text())
}

fn read_lossy(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
