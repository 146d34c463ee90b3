//! The gateway of `envoy/docker-compose.yaml`, asked by clients with addresses of their own.
//! Ignored unless asked for: `make test-compose` sets it up.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod fleet;
mod image;
mod isolation;
mod operation;

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use harness::gateway::{demo_token, repository};
use harness::{Request, Version};

/// The networks have addresses of their own, so there can be one project at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// How long another run may have the networks.
const ANOTHERS_TURN: Duration = Duration::from_secs(180);

/// A project of docker compose, which is taken down in the end.
struct Compose {
    name: String,
    /// What the gateway reads as `target/gateway`: the policy, for one.
    gateway_files: PathBuf,
    more: More,
    keeper: Option<Child>,
    _alone: MutexGuard<'static, ()>,
}

/// What a project has beside the files that all have.
#[derive(Default)]
struct More {
    files: &'static [&'static str],
    variables: Vec<(&'static str, String)>,
}

impl Compose {
    fn up() -> Self {
        Self::start(More::default(), repository().join("target/gateway"), &[])
    }

    /// `up` with more arguments, such as the services meant.
    fn start(more: More, gateway_files: PathBuf, arguments: &[&str]) -> Self {
        let mut compose = Self {
            name: format!("keyfence-test-{}", std::process::id()),
            gateway_files,
            more,
            keeper: None,
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        compose.keeper = Some(compose.taken_down_later());
        let up = [&["up", "--detach"], arguments].concat();
        let deadline = Instant::now() + ANOTHERS_TURN;
        // Another run of these tests on this engine has the networks until its project is down.
        while let Err(error) = compose.try_run(&up) {
            let is_taken = error.contains("Pool overlaps") && Instant::now() < deadline;
            assert!(is_taken, "{up:?}: {error}");
            thread::sleep(Duration::from_secs(2));
        }
        compose
    }

    fn command(&self) -> Command {
        let mut command = compose();
        command
            .env("GATEWAY_PORT", "0")
            .env("PROMETHEUS_PORT", "0")
            .env("GATEWAY_FILES", &self.gateway_files)
            .args(["--project-name", &self.name, "--file", "envoy/docker-compose.yaml"])
            .args(["--file", "tests/compose/clients.yaml"])
            .args(self.more.files.iter().flat_map(|file| ["--file", file]))
            .envs(self.more.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A process that takes the project down once its input ends: with this process at the latest,
    /// should that be killed.
    fn taken_down_later(&self) -> Child {
        let mut down = self.command();
        // `docker compose` leaves services alone whose profile is not named.
        down.env("COMPOSE_PROFILES", "monitoring,monitor,second")
            .args(["down", "--timeout", "1", "--volumes"]);
        Command::new("sh")
            .args(["-c", "cat >/dev/null; exec \"$0\" \"$@\""])
            .arg(down.get_program())
            .args(down.get_args())
            .envs(down.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(repository())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What interrupts the test must not interrupt this.
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.try_run(arguments)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// What the command prints, or the error that it ends with.
    fn try_run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command().args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Where a port of a service is published.
    fn address(&self, service: &str, port: u16) -> SocketAddr {
        self.run(&["port", service, &port.to_string()]).trim().parse().unwrap()
    }
}

/// The command in `KEYFENCE_COMPOSE`, else `docker compose`.
fn compose() -> Command {
    let command = std::env::var("KEYFENCE_COMPOSE").unwrap_or_else(|_| "docker compose".into());
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(repository());
    command
}

impl Drop for Compose {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.command().args(["logs", "--tail", "40"]).status();
        }
        if let Some(mut keeper) = self.keeper.take() {
            // Waiting closes its input first.
            let _ = keeper.wait();
        }
    }
}

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
#[rustfmt::skip]
fn clients_on_the_compose_networks() {
    let compose = Compose::up();
    let routes = [
        ("near, IPv4", compose.address("near", 10004), true),
        ("near, IPv6", compose.address("near", 10006), true),
        ("far, IPv4", compose.address("far", 10004), false),
        ("far, IPv6", compose.address("far", 10006), false),
        ("this machine", compose.address("gateway", 10000), true),
    ];
    let get = || Request::get("/v1/hello");
    let browser = || get().bearer("demo_browser_0123456789");
    let search = || get().header("X-API-Key", "demo_search_0123456789");
    let alice = demo_token("alice");
    let user = |origin| get().bearer(&alice).header("Origin", origin);
    // Request, then status and code from an allowed and from another address.
    let cases = [
        ("allowed where the address is", browser().header("Origin", "https://app.example.com"), (200, ""), (403, "ip_not_allowed")),
        ("a subdomain", browser().header("Origin", "https://pr-1.preview.example.com"), (200, ""), (403, "ip_not_allowed")),
        ("an origin that is denied", browser().header("Origin", "https://evil.example"), (403, "origin_not_allowed"), (403, "ip_not_allowed")),
        ("a spoofed address", browser().header("Origin", "https://app.example.com").header("X-Forwarded-For", "10.253.121.100"), (200, ""), (403, "ip_not_allowed")),
        ("a key without networks", search().header("Origin", "https://shop.example.com"), (200, ""), (200, "")),
        ("its denied origin", search().header("Origin", "https://app.example.com"), (403, "origin_not_allowed"), (403, "origin_not_allowed")),
        ("a server's key", get().bearer("demo_server_0123456789"), (200, ""), (200, "")),
        ("a server's key in a browser", get().bearer("demo_server_0123456789").header("Sec-Fetch-Site", "cross-site"), (403, "secret_key_in_browser"), (403, "secret_key_in_browser")),
        ("a user's token", user("http://localhost:10002"), (200, ""), (403, "ip_not_allowed")),
        ("a user's token elsewhere", user("https://app.example.com"), (403, "origin_not_allowed"), (403, "ip_not_allowed")),
        ("no key", get(), (401, "missing_api_key"), (401, "missing_api_key")),
        ("an unknown key", get().bearer("demo_unknown_0123456789"), (401, "invalid_api_key"), (401, "invalid_api_key")),
        ("a preflight", Request::preflight("/", "https://app.example.com", "POST", ""), (204, ""), (204, "")),
        ("a denied preflight", Request::preflight("/", "https://evil.example", "POST", ""), (403, "origin_not_allowed"), (403, "origin_not_allowed")),
    ];
    for (route, address, allowed) in routes {
        wait_for(address);
        for version in Version::BOTH {
            for (name, request, near, far) in &cases {
                let response = request.send(version, address).unwrap();
                let expected = if allowed { near } else { far };
                assert_eq!((response.status, response.code().as_str()), *expected, "{name} ({route}, {version:?}): {response:?}");
                assert_eq!(response.header("x-frame-options"), Some("DENY"), "{name} ({route}, {version:?})");
                if response.status == 200 {
                    assert!(response.text().contains("\nx-key-id: demo-"), "{name} ({route}, {version:?}): {}", response.text());
                }
            }
        }
    }
}

/// Until gateway and upstream answer.
fn wait_for(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let request = Request::get("/").bearer("demo_server_0123456789");
    while !request
        .send(Version::Http1, address)
        .is_ok_and(|response| response.status == 200)
    {
        assert!(Instant::now() < deadline, "nothing answers on {address}");
        thread::sleep(Duration::from_millis(100));
    }
}
