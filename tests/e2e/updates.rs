//! A new policy takes the place of the one in force without a restart, under load, and a wrong one does not.

use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{connect, read_response};
use crate::harness::memory::Memory;
use crate::harness::{Gateway, Listener, Request, Upstream};

/// How many good updates: 200, or as many as `make hostile SWAPS=…` says.
fn good_updates() -> usize {
    std::env::var("KEYFENCE_SWAPS").map_or(200, |text| text.parse().expect("KEYFENCE_SWAPS is a number"))
}

/// Every so many good updates a bad one.
const BAD_AFTER: usize = 4;
const CLIENTS: usize = 4;

fn site(generation: usize) -> String {
    format!("https://generation-{generation}.example")
}

/// Enough keys that a policy which is not given back shows in the memory.
fn policy(generation: usize) -> Value {
    let key = |id: usize| {
        json!({
            "id": format!("key-{id}"),
            "api_key": format!("the-raw-key-number-{id}"),
            "allowed_origins": [site(generation), format!("https://{id}.generation-{generation}.example")],
        })
    };
    json!({"keys": (0..500).map(key).collect::<Vec<_>>()})
}

fn get(generation: usize) -> Request {
    Request::get("/")
        .bearer("the-raw-key-number-7")
        .header("Origin", site(generation))
}

/// What updates have come how far, as clients see it.
#[derive(Default)]
struct Progress {
    /// This one is in force on all workers.
    in_force: AtomicUsize,
    /// This one is on its way, or in force.
    sent: AtomicUsize,
    done: AtomicBool,
    answers: AtomicUsize,
}

/// Asks on one connection without pause, for the origin of the policy in force.
fn client(to: SocketAddr, progress: &Progress) {
    while !progress.done.load(SeqCst) {
        let mut reader = BufReader::new(connect(to, None).unwrap());
        for _ in 0..50 {
            let in_force = progress.in_force.load(SeqCst);
            reader.get_mut().write_all(&get(in_force).to_bytes()).unwrap();
            let response = read_response(&mut reader, "GET").unwrap();
            let is_changing = progress.sent.load(SeqCst) > in_force;
            match response.status {
                200 => assert_eq!(response.header("access-control-allow-origin"), Some(&*site(in_force))),
                403 if is_changing => assert_eq!(response.code(), "origin_not_allowed"),
                status => panic!("{status} under policy {in_force}: {}", response.text()),
            }
            progress.answers.fetch_add(1, SeqCst);
        }
    }
}

fn refused(gateway: &Gateway) -> u64 {
    let stats = gateway.admin("/stats?filter=keyfence_policy_load_failures_total");
    let value = stats.lines().find_map(|line| line.rsplit_once(": "));
    value.map_or(0, |(_, count)| count.parse().unwrap())
}

#[test]
fn policies_change_under_load_and_wrong_ones_do_not() {
    let good = good_updates();
    let upstream = Upstream::start();
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy(0)).updatable())
        .workers(2)
        .start();
    let to = gateway.address("main");
    let progress = Progress::default();
    let mut memory = Vec::new();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                // Whatever ends a client ends the others.
                let end = EndAll(&progress);
                client(to, &progress);
                drop(end);
            });
        }
        let end = EndAll(&progress);
        for generation in 1..=good {
            progress.sent.store(generation, SeqCst);
            gateway.update("main", &policy(generation));
            gateway.wait_for("the new policy on both workers", |gateway| {
                (0..20).all(|_| gateway.send("main", &get(generation)).status == 200)
            });
            progress.in_force.store(generation, SeqCst);
            if generation % BAD_AFTER == 0 {
                let before = refused(&gateway);
                let mut wrong = policy(generation + 1);
                wrong["keys"][3]["allowed_origins"][0] = json!(format!("https://wrong-{generation}.example/"));
                gateway.update("main", &wrong);
                gateway.wait_for("the refusal to be counted", |gateway| refused(gateway) > before);
            }
            if generation % 10 == 0 {
                memory.push(Memory::of(gateway.pid()));
            }
            assert!(!progress.done.load(SeqCst), "a client ended");
        }
        drop(end);
    });
    let refusals = good / BAD_AFTER;
    assert_eq!(refused(&gateway), refusals as u64);
    let log = gateway.log();
    for generation in (BAD_AFTER..=good).step_by(BAD_AFTER) {
        let place = "keys[3].allowed_origins[0]";
        let value = format!("https://wrong-{generation}.example/");
        assert!(
            log.lines().any(|line| line.contains(place) && line.contains(&value)),
            "{value} in the log"
        );
    }
    let answers = progress.answers.load(SeqCst);
    println!(
        "{answers} answers during {good} good and {refusals} bad updates; memory in kB after each ten: {memory:?}"
    );
    // A policy kept by three threads is half a megabyte or more.
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    assert!(
        last.resident < first.resident + 20_000,
        "resident memory grew from {first:?} to {last:?}"
    );
    assert!(
        last.wasm < first.wasm + 5_000,
        "wasm memory grew from {first:?} to {last:?}"
    );
}

struct EndAll<'p>(&'p Progress);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, SeqCst);
    }
}

#[test]
fn a_running_gateway_shows_no_usable_key() {
    let upstream = Upstream::start();
    let raw = "a-raw-key-that-no-dump-may-show";
    let digest = keyfence_core::config::api_key::KeyDigest::of(raw.as_bytes()).to_string();
    let policy = json!({"keys": [{"id": "hashed", "api_key": digest, "allowed_origins": ["https://yourapp.com"]}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy).updatable())
        .start();
    let request = Request::get("/").bearer(raw).header("Origin", "https://yourapp.com");
    gateway.wait_for("the policy", |gateway| gateway.send("main", &request).status == 200);
    thread::sleep(Duration::from_millis(200));
    let dump = gateway.admin("/config_dump?include_eds");
    assert!(dump.contains(&digest), "the dump holds the policy");
    for (name, text) in [
        ("config_dump", dump),
        ("log", gateway.log()),
        ("stats", gateway.admin("/stats")),
        ("access log", format!("{:?}", gateway.access_log())),
    ] {
        assert!(!text.contains(raw), "{name}");
    }
}
