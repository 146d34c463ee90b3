//! A program in the background, and waiting for what it does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::gateway::{self, repository};

/// How long a test waits for something, unless it says otherwise; long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a set of programs, which `tests/mesh/programs` has built.
pub fn programs(set: &str) -> PathBuf {
    let output = Command::new(repository().join("tests/mesh/programs"))
        .args(["--built", set])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// A program that ends with its owner.
pub struct Process {
    process: gateway::Process,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output in `<name>.log` of this folder.
    pub fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = std::mem::replace(command, Command::new("true"));
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            process: gateway::Process::spawn(command),
            log,
        }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until `condition` holds; the test fails, with the end of the log, where the program ends before or it takes too long.
    pub fn wait_for(&mut self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            let ended = self.process.0.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{what}: not in time ({ended:?})\n{}",
                last_lines(&self.log(), 30)
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends it a signal, such as `TERM` or `STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.process.0.id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(status.unwrap().success());
    }

    /// Ends it, and waits until it has ended.
    pub fn stop(mut self) {
        self.signal("TERM");
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.process.0.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.signal("KILL");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Waits until `condition` holds; the test fails where that takes too long.
pub fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Where a test's programs write; with `KEYFENCE_MESH_LOGS` the folder stays.
pub fn folder() -> TempDir {
    let mut folder = TempDir::new().unwrap();
    if std::env::var_os("KEYFENCE_MESH_LOGS").is_some() {
        folder.disable_cleanup(true);
        eprintln!("logs: {}", folder.path().display());
    }
    folder
}
