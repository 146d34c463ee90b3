//! Counts what a request costs in instructions of the processor, by valgrind's callgrind: a figure that is the same from run to run,
//! however busy the machine is.
//!
//! It is that of the worker's thread alone, and without the kernel's part. Envoy's allocator finds no restartable sequences there and
//! takes a longer way, so allocations weigh more than they cost.

use std::fs;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::contender::Contender;
use crate::harness::client::{connect, read_response};
use crate::harness::{Gateway, Upstream};
use crate::scenario::Scenario;

/// Requests that are counted together. More do not change the figure by a thousandth.
const REQUESTS: usize = 1_000;

/// Requests before those, with which buffers and tables grow to their size.
const FIRST_REQUESTS: usize = 200;

/// An Envoy under callgrind.
pub struct Counter {
    gateway: Gateway,
    /// Where callgrind leaves its counts, a file for each thread.
    counts: TempDir,
}

impl Counter {
    /// `None` where there is no valgrind.
    pub fn start(upstream: &Upstream, listeners: Vec<Value>) -> Option<Counter> {
        Command::new("valgrind").arg("--version").output().ok()?;
        let counts = TempDir::new().unwrap();
        let callgrind = [
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            "--separate-threads=yes".to_owned(),
            "--instr-atstart=no".to_owned(),
            format!("--callgrind-out-file={}", counts.path().join("counts").display()),
        ];
        let gateway = Gateway::in_front_of(upstream)
            .watched_by(callgrind)
            .amend(move |bootstrap| bootstrap["static_resources"]["listeners"] = listeners.into())
            .start();
        Some(Counter { gateway, counts })
    }

    /// Instructions a request.
    pub fn cost(&self, scenario: &Scenario, contender: &Contender) -> f64 {
        scenario.check(&self.gateway, contender);
        let requests = scenario.requests(contender).take(2 * FIRST_REQUESTS + REQUESTS);
        let requests: Vec<_> = requests.map(|headers| scenario.request(headers).to_bytes()).collect();
        // Each goes on where the one before has stopped, so that what is to be new is.
        let mut requests = requests.iter().cycle();
        let mut send = |count| self.send(requests.by_ref().take(count), scenario, contender);
        send(FIRST_REQUESTS);
        self.control("--instr=on");
        // The first ones after that are translated anew.
        send(FIRST_REQUESTS);
        self.control("--zero");
        send(REQUESTS);
        let instructions = self.take_count();
        self.control("--instr=off");
        instructions as f64 / REQUESTS as f64
    }

    /// One after the other, over one connection.
    fn send<'r>(&self, requests: impl Iterator<Item = &'r Vec<u8>>, scenario: &Scenario, contender: &Contender) {
        let address = self.gateway.address(&scenario.listener_name(contender));
        let mut connection = BufReader::new(connect(address, None).unwrap());
        for request in requests {
            connection.get_mut().write_all(request).unwrap();
            read_response(&mut connection, scenario.method).unwrap();
        }
    }

    /// The busiest thread's: there is one worker.
    fn take_count(&self) -> u64 {
        for file in fs::read_dir(self.counts.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        self.control("--dump");
        let files = fs::read_dir(self.counts.path()).unwrap();
        let counts = files.filter_map(|file| total(&file.unwrap().path()));
        counts.max().expect("callgrind leaves a count")
    }

    fn control(&self, command: &str) {
        let status = Command::new("callgrind_control")
            .args([command, &self.gateway.pid().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "callgrind_control {command}"
        );
    }
}

fn total(file: &Path) -> Option<u64> {
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}
