//! How soon a change of the feed is in force, and what it costs requests meanwhile: a real Envoy with two workers, 100,000 keys, and
//! keyfence-control in this process. `make bench`.
//!
//! `KEYS` (100,000), `CHANGES` (1,000) and `ROUNDS` (15) set how much is measured. With other numbers than these the figures in
//! `tests/bench/figures` stay as they are.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect has failed"
)]

#[path = "../../harness/mod.rs"]
mod harness;
mod keys;
mod probe;

use std::env;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::control_server::{ControlServer, TOKEN};
use harness::{Gateway, Listener, Upstream};
use serde_json::{Value, json};

use keys::{Version, key, raw_key};
use probe::Probe;

const LISTENER: &str = "feed";

/// Of the policy itself, so that its requests need no feed.
const STATIC_KEY: &str = "a key of the policy itself";

fn main() {
    let setting = |name: &str, default: usize| -> usize {
        env::var(name).map_or(default, |value| value.parse().expect("a number"))
    };
    let (keys, changes, rounds) = (
        setting("KEYS", 100_000),
        setting("CHANGES", 1_000),
        setting("ROUNDS", 15),
    );

    let upstream = Upstream::start();
    let mut server = ControlServer::new();
    server
        .state()
        .replace_all((0..keys).map(|index| key(index, Version(0))));
    let gateway = start_gateway(&upstream, &server);
    let mut probes = Probe::one_for_each_worker(&gateway, LISTENER);

    let mut quiet = times(&mut probes, || thread::sleep(Duration::from_secs(3)));
    let mut load_time = Duration::ZERO;
    let mut loading = times(&mut probes, || load_time = load(&gateway, &mut server, keys));
    let mut in_force = Vec::new();
    for change in 0..changes {
        in_force.push(time_until_in_force(&mut probes, &server, keys, change));
        if change % 100 == 99 {
            eprint!("\r{} of {changes} changes ", change + 1);
        }
    }
    let under_change = requests_under_change(&mut probes, &server, keys, rounds);
    eprintln!();

    let mut table = String::new();
    let mut row = |what: &str, value: String| writeln!(table, "| {what} | {value} |").unwrap();
    row(&format!("what, with {keys} keys and two workers"), "figure".into());
    row("---", "---".into());
    row(
        "first load, until the last key works on both workers",
        milliseconds(load_time),
    );
    for (name, share) in [("p99", 0.99), ("slowest", 1.0)] {
        let [loading, quiet] = [&mut loading, &mut quiet].map(|times| quantile(times, share));
        row(&format!("{name} of requests meanwhile"), milliseconds(loading));
        row(&format!("{name} of requests in 3 s before"), milliseconds(quiet));
    }
    for (name, share) in [("median", 0.5), ("p99", 0.99), ("slowest", 1.0)] {
        let value = milliseconds(quantile(&mut in_force, share));
        row(
            &format!("a change in force on both workers, {name} of {changes}"),
            value,
        );
    }
    let [without, with] = under_change;
    row("p99 of requests, without changes", milliseconds(without));
    row("p99 of requests, with 10 changes a second", milliseconds(with));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    row("ratio of the two", format!("{ratio:.2}"));
    println!("{table}");
    if (keys, changes, rounds) == (100_000, 1_000, 15) {
        fs::write("tests/bench/figures/feed.md", table).unwrap();
    }
}

fn start_gateway(upstream: &Upstream, server: &ControlServer) -> Gateway {
    let policy = json!({
        "key_sources": [{"header": "X-API-Key"}],
        "keys": [{"id": "static", "api_key": STATIC_KEY, "kind": "secret"}],
        "keys_from": {"cluster": "keyfence_control", "token": TOKEN},
    });
    let cluster: Value = json!({
        "name": "keyfence_control",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "keyfence_control",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": "127.0.0.1", "port_value": server.address().port(),
            }}}}]}],
        },
    });
    Gateway::in_front_of(upstream)
        .workers(2)
        .listener(Listener::new(LISTENER, &policy))
        .amend(move |bootstrap| {
            let clusters = bootstrap["static_resources"]["clusters"].as_array_mut();
            clusters.unwrap().push(cluster);
        })
        .start()
}

/// Lets the server answer for the first time. Returns how long it took until the last key worked on both workers.
fn load(gateway: &Gateway, server: &mut ControlServer, keys: usize) -> Duration {
    let mut last = Probe::one_for_each_worker(gateway, LISTENER);
    let last_key = raw_key(keys - 1, Version(0));
    let begin = Instant::now();
    server.start();
    for probe in &mut last {
        while probe.send(&last_key).status != 200 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    begin.elapsed()
}

/// The times of requests with a key of the policy itself, on each worker one every millisecond, while `meanwhile` runs.
fn times(probes: &mut [Probe], meanwhile: impl FnOnce()) -> Vec<Duration> {
    let is_over = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let running: Vec<_> = probes
            .iter_mut()
            .map(|probe| {
                let is_over = is_over.clone();
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        let answer = probe.send(STATIC_KEY);
                        assert_eq!(answer.status, 200);
                        times.push(answer.time);
                        thread::sleep(Duration::from_millis(1));
                    }
                    times
                })
            })
            .collect();
        meanwhile();
        is_over.store(true, Ordering::Relaxed);
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Changes one key, and asks both workers with its new API key until both take it.
fn time_until_in_force(probes: &mut [Probe], server: &ControlServer, keys: usize, change: usize) -> Duration {
    let index = change * 7_919 % keys;
    let version = Version(change + 1);
    let raw = raw_key(index, version);
    let begin = Instant::now();
    server.state().set([key(index, version)]);
    for probe in probes {
        while probe.send(&raw).status != 200 {}
    }
    begin.elapsed()
}

/// The 99th percentile of requests without changes and with ten a second, in turns of a second, so that a change of the machine's pace meets
/// both alike.
fn requests_under_change(probes: &mut [Probe], server: &ControlServer, keys: usize, rounds: usize) -> [Duration; 2] {
    const PER_SECOND: usize = 500;
    let mut times: [Vec<Duration>; 2] = Default::default();
    for round in 0..2 * rounds {
        let has_changes = round % 2 == 1;
        let begin = Instant::now();
        for request in 0..PER_SECOND {
            if has_changes && request % (PER_SECOND / 10) == 0 {
                let index = (round * 10 + request) * 104_729 % keys;
                server.state().set([key(index, Version(1_000_000 + round))]);
            }
            let due = begin + Duration::from_secs(1) * request as u32 / PER_SECOND as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let probe = &mut probes[request % 2];
            times[usize::from(has_changes)].push(probe.send(STATIC_KEY).time);
        }
    }
    times.map(|mut times| quantile(&mut times, 0.99))
}

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * share).round() as usize]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
