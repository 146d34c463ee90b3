//! The built server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{self, Response};

pub const TOKEN: &str = "a-token-of-the-tests-0123456789";

/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

pub struct Server {
    child: Child,
    pub address: String,
    log: Arc<Mutex<Vec<String>>>,
}

/// `keyfence-control serve` with these arguments and the token.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfence-control"));
    command.arg("serve").args(arguments).env("KEYFENCE_FEED_TOKEN", TOKEN);
    command
}

/// How a program ends that should end at once, and what it logs. One that does not end is killed.
pub fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < SOON {
        thread::sleep(Duration::from_millis(10));
    }
    // It has ended, unless something is wrong.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

impl Server {
    /// Serves the keys of a file or folder.
    pub fn of(from: &Path) -> Server {
        Server::start(&["--from", from.to_str().unwrap()])
    }

    pub fn start(arguments: &[&str]) -> Server {
        let mut command = command(arguments);
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| kept.lock().unwrap().push(line))
        });
        let mut server = Server {
            child,
            address: String::new(),
            log,
        };
        let line = server.wait_for_log("listening on http");
        server.address = line.split_once("://").unwrap().1.to_owned();
        server
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The first line with this text, as soon as it is there.
    pub fn wait_for_log(&self, text: &str) -> String {
        wait_for(
            || self.log().into_iter().find(|line| line.contains(text)),
            || format!("{text:?} in {:#?}", self.log()),
        )
    }

    pub fn get(&self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\nauthorization: Bearer {TOKEN}"), "")
    }

    pub fn request(&self, head: &str, body: &str) -> Response {
        let mut stream = client::connect(&self.address);
        client::write(&mut stream, head, body);
        client::read(stream)
    }

    pub fn poll(&self, poll: &Value) -> Response {
        self.request(&head(), &poll.to_string())
    }

    /// The page that a gateway gets at once.
    pub fn page(&self, after: &Value) -> Value {
        let response = self.poll(&poll(after, 0));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.request("GET /metrics HTTP/1.1", "").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }

    pub fn wait_for_metric(&self, name: &str, value: u64) {
        wait_for(
            || (self.metric(name) == value).then_some(()),
            || format!("{name}: {}", self.metric(name)),
        );
    }

    /// The answer to a poll that waits after `after`, as soon as something is newer.
    pub fn change(&self, after: &Value) -> Value {
        let response = self.poll(&poll(after, 10));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by the name that `kill` has for it.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(kill.success());
    }

    /// How it ends.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for(|| child.try_wait().unwrap(), || "it has not ended".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the server's log: {:#?}", self.log());
        }
    }
}

/// The head of a poll.
pub fn head() -> String {
    format!("POST /v1/feed HTTP/1.1\ncontent-type: application/json\nauthorization: Bearer {TOKEN}")
}

/// The body of a poll.
pub fn poll(after: &Value, wait_seconds: u64) -> Value {
    json!({
        "node": "gateway-1",
        "instance": "0123456789abcdef0123456789abcdef",
        "after": after,
        "cursor": null,
        "wait_seconds": wait_seconds,
        "refused": {"count": 0, "first": []},
    })
}

/// What a gateway sends as `after` when it has this page.
pub fn after(page: &Value) -> Value {
    json!({"epoch": page["epoch"], "revision": page["revision"]})
}

/// The ids of the keys that a page sets.
pub fn ids(page: &Value) -> Vec<&str> {
    let set = page["set"].as_array().unwrap().iter();
    set.map(|key| key["id"].as_str().unwrap()).collect()
}

/// What `found` gives, as soon as it gives something.
pub fn wait_for<T>(mut found: impl FnMut() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < SOON, "{}", otherwise());
        thread::sleep(Duration::from_millis(10));
    }
}
