//! A headless Chromium, driven over the WebDriver protocol.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::Request;
use crate::harness::client;
use crate::harness::gateway::Process;

/// A start on a busy machine included.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Chromium {
    address: SocketAddr,
    session: String,
    network_changed: AtomicBool,
    _driver: Process,
}

/// `$CHROMEDRIVER`, else `chromedriver` on the path.
pub fn find_driver() -> Option<PathBuf> {
    if let Some(path) = env::var_os("CHROMEDRIVER") {
        return Some(path.into());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join("chromedriver"))
        .find(|path| path.is_file())
}

/// The driver and where it listens; none where it ends at once, as when its port was just taken.
fn start_driver(driver: &Path) -> Option<(Process, SocketAddr)> {
    let mut command = Command::new(driver);
    command
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = Process::spawn(command);
    let mut output = BufReader::new(process.0.stdout.take()?).lines();
    let address = output.by_ref().map_while(Result::ok).find_map(|line| {
        let port = line.split("started successfully on port ").nth(1)?;
        let port: u16 = port.trim_end_matches('.').parse().ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })?;
    thread::spawn(move || output.for_each(drop));
    Some((process, address))
}

impl Chromium {
    /// `host_rules` say where host names lead; certificates of `public_key` (the base64 of its
    /// SHA-256) are trusted.
    pub fn start(driver: &Path, host_rules: &str, public_key: &str) -> Self {
        let (process, address) = (0..3)
            .find_map(|_| start_driver(driver))
            .expect("chromedriver names its port");
        let mut arguments = vec![
            "--headless".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            // Through a pipe the browser notices the end of its driver, and ends too.
            "--remote-debugging-pipe".to_owned(),
            format!("--host-resolver-rules={host_rules}"),
            format!("--ignore-certificate-errors-spki-list={public_key}"),
        ];
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            arguments.push("--no-sandbox".to_owned());
        }
        let mut browser = Self {
            address,
            session: String::new(),
            network_changed: AtomicBool::new(false),
            _driver: process,
        };
        let session = browser.command(
            "POST",
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": {"args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "timeouts": {"script": 20_000, "pageLoad": 20_000},
            }}}),
        );
        browser.session = format!("/{}", session.unwrap()["sessionId"].as_str().unwrap());
        browser
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut request =
            Request::new(method, format!("/session{}{path}", self.session)).header("Host", self.address.to_string());
        if method == "POST" {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let exchange = || {
            let mut connection = client::connect(self.address, None)?;
            connection.set_read_timeout(Some(TIMEOUT))?;
            connection.write_all(&request.to_bytes())?;
            client::read_response(&mut BufReader::new(connection), method)
        };
        let response = exchange().map_err(|error| format!("{method} {path}: {error}"))?;
        let value = response.json()["value"].take();
        if value.to_string().contains("ERR_NETWORK_CHANGED") {
            self.network_changed.store(true, Ordering::Relaxed);
        }
        match response.status {
            200 => Ok(value),
            _ => Err(format!("{}: {}", value["error"], value["message"])),
        }
    }

    /// What `test` says, though not while a network interface came or went on this machine: Chromium
    /// then cancels requests.
    pub fn undisturbed<T>(&self, test: impl Fn() -> T) -> T {
        for _ in 0..5 {
            self.network_changed.store(false, Ordering::Relaxed);
            let result = test();
            self.network();
            if !self.network_changed.load(Ordering::Relaxed) {
                return result;
            }
        }
        test()
    }

    pub fn open(&self, url: &str) -> Result<(), String> {
        self.command("POST", "/url", &json!({"url": url})).map(drop)
    }

    /// Runs the body of a function in the page; a promise that it returns is awaited.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        let body = json!({"script": script, "args": arguments});
        self.command("POST", "/execute/sync", &body)
    }

    /// The lines of the console since the last call.
    pub fn console(&self) -> Vec<String> {
        self.log("browser")
            .iter()
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The `Network` events of the DevTools protocol since the last call.
    pub fn network(&self) -> Vec<Value> {
        self.log("performance")
            .iter()
            .map(|entry| {
                let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
                event["message"].clone()
            })
            .filter(|event| {
                event["method"]
                    .as_str()
                    .is_some_and(|method| method.starts_with("Network."))
            })
            .collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.command("POST", "/se/log", &json!({"type": kind})).unwrap();
        log.as_array().unwrap().clone()
    }

    /// A window of this size, in light or dark.
    pub fn resize(&self, width: u32, height: u32, dark: bool) -> Result<(), String> {
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": scheme}))?;
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// A PNG of what the window shows.
    pub fn screenshot(&self) -> Result<Vec<u8>, String> {
        let picture = self.command("GET", "/screenshot", &Value::Null)?;
        Ok(BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap())
    }

    /// A command of the DevTools protocol.
    fn devtools(&self, command: &str, parameters: &Value) -> Result<(), String> {
        let body = json!({"cmd": command, "params": parameters});
        self.command("POST", "/goog/cdp/execute", &body).map(drop)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.command("DELETE", "", &Value::Null);
    }
}
