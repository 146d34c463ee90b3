//! The server of keys, `keyfence-control`, with a file that a test changes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Request, Version};
use crate::process::{Process, folder};

/// The environment variable with the token, of the server and of gateways.
pub const TOKEN_ENV: &str = "KEYFENCE_FEED_TOKEN";
pub const TOKEN: &str = "a-token-of-the-tests-0123456789";

/// It ends with its owner.
pub struct KeyServer {
    process: Option<Process>,
    address: SocketAddr,
    folder: TempDir,
}

impl KeyServer {
    /// Starts it and waits until it is ready. What it sends is not encrypted, as in a mesh that does so itself.
    pub fn start(address: SocketAddr, keys: &[Value]) -> Self {
        let mut server = Self {
            process: None,
            address,
            folder: folder(),
        };
        server.write(keys);
        server.start_again();
        server
    }

    /// Starts it after [`KeyServer::stop`], with the keys that were written last.
    pub fn start_again(&mut self) {
        let mut command = Command::new(program());
        command
            .args(["serve", "--plaintext", "--listen", &self.address.to_string(), "--from"])
            .arg(self.keys())
            .env(TOKEN_ENV, TOKEN);
        let mut process = Process::start(self.folder.path(), "keyfence-control", &mut command);
        let address = self.address;
        process.wait_for("keyfence-control", || {
            let answer = Request::get("/readyz").send(Version::Http1, address);
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.process = Some(process);
    }

    pub fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    /// Writes the keys, in place of those before, as operators do.
    pub fn write(&self, keys: &[Value]) {
        let new = self.keys().with_extension("new");
        fs::write(&new, json!({"keys": keys}).to_string()).unwrap();
        fs::rename(new, self.keys()).unwrap();
    }

    /// The VMs that have asked, as the server shows them.
    pub fn gateways(&self) -> Vec<Value> {
        let request = Request::get("/v1/gateways").bearer(TOKEN);
        let answer = request.send(Version::Http1, self.address).unwrap();
        answer.json()["items"].as_array().unwrap().clone()
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        let answer = Request::get("/metrics").send(Version::Http1, self.address).unwrap();
        let metrics = answer.text();
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix("keyfence_control_revision "));
        value.unwrap().parse().unwrap()
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }
}

/// Beside the command line. It belongs to another package, so Cargo does not build it for a test.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_keyfence")).with_file_name("keyfence-control");
    assert!(
        program.exists(),
        "cargo build --bin keyfence-control builds {}",
        program.display()
    );
    program
}
