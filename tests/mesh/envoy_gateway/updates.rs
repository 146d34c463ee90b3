//! A new policy under traffic: Envoy Gateway has the policy in the listener, so a new one replaces the listener.

use std::collections::BTreeSet;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::EnvoyGateway;
use super::resources::{SERVER_KEY, WEB_KEY, drain_time, extension_policy};
use crate::harness::client::{connect, read_response};
use crate::harness::http2::Http2Connection;
use crate::harness::{Request, Response};
use crate::registry::digest;

/// A policy with this one key.
fn policy(key: &str) -> Value {
    extension_policy(json!({"keys": [{"id": "server", "api_key": digest(key.as_bytes()), "kind": "secret"}]}))
}

/// The keys of the policies in turn.
const KEYS: [&str; 2] = [WEB_KEY, SERVER_KEY];

fn with_key(key: &str) -> Request {
    Request::get("/v1/indexes/shop").bearer(key)
}

fn until_accepted(gateway: &EnvoyGateway, key: &str) {
    gateway.wait_for("the policy", |gateway| gateway.send(&with_key(key)).status == 200);
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn each_answer_is_by_the_old_policy_or_by_the_new_one() {
    let gateway = EnvoyGateway::start(&[policy(KEYS[0])]);
    until_accepted(&gateway, KEYS[0]);
    let is_over = AtomicBool::new(false);
    let statuses = |request: Request| {
        let mut statuses = BTreeSet::new();
        while !is_over.load(Ordering::Relaxed) {
            statuses.insert(gateway.send(&request).status);
        }
        statuses
    };
    thread::scope(|scope| {
        let keys = KEYS.map(|key| scope.spawn(move || statuses(with_key(key))));
        let without_key = scope.spawn(|| statuses(Request::get("/v1/indexes/shop")));
        for turn in 1..=6 {
            thread::sleep(Duration::from_millis(300));
            let (old, new) = (KEYS[(turn + 1) % 2], KEYS[turn % 2]);
            let begun = Instant::now();
            gateway.put(&policy(new));
            until_accepted(&gateway, new);
            let in_force = begun.elapsed();
            gateway.wait_for("the end of the old policy", |gateway| {
                gateway.send(&with_key(old)).status == 401
            });
            println!("a policy is in force after {in_force:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        for thread in keys {
            assert_eq!(thread.join().unwrap(), BTreeSet::from([200, 401]));
        }
        assert_eq!(without_key.join().unwrap(), BTreeSet::from([401]));
    });
}

/// A connection to the gateway that is kept open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(gateway: &EnvoyGateway) -> Self {
        Self(BufReader::new(connect(gateway.address(), None).unwrap()))
    }

    fn send(&mut self, request: &Request) -> std::io::Result<Response> {
        self.0.get_mut().write_all(&request.to_bytes())?;
        read_response(&mut self.0, &request.method)
    }

    /// Reads until the gateway ends it.
    fn wait_until_closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well.
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
}

/// Connections that were open before a new policy keep the old one, at most until the drain time is over: each is told to close with its
/// next answer, a client that goes on nevertheless is served for another five seconds, and a stream is cut at the end.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn what_is_open_keeps_the_old_policy_until_the_drain_time_is_over() {
    const DRAIN_TIME: Duration = Duration::from_secs(11);
    const TOLERANCE: Duration = Duration::from_secs(3);
    let gateway = EnvoyGateway::start(&[policy(KEYS[0]), drain_time(DRAIN_TIME.as_secs())]);
    until_accepted(&gateway, KEYS[0]);
    let old_key = with_key(KEYS[0]);
    let mut connections = [(); 3].map(|()| Connection::open(&gateway));
    for connection in &mut connections {
        assert_eq!(connection.send(&old_key).unwrap().status, 200);
    }
    let [mut goes_on, mut late, mut idle] = connections;
    let http2 = Http2Connection::open(gateway.address(), None).unwrap();
    assert_eq!(http2.send(std::slice::from_ref(&old_key)).unwrap()[0].status, 200);
    // Its end never comes.
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n";
    gateway.upstream.answer_raw("/v1/indexes/stream", answer);
    let mut stream = Connection::open(&gateway);
    let request = Request::get("/v1/indexes/stream").bearer(KEYS[0]);
    stream.0.get_mut().write_all(&request.to_bytes()).unwrap();
    let mut status_line = [0; 12];
    stream.0.read_exact(&mut status_line).unwrap();
    assert_eq!(&status_line, b"HTTP/1.1 200");

    gateway.put(&policy(KEYS[1]));
    gateway.wait_for("the new policy", |gateway| gateway.send(&old_key).status == 401);
    let in_force = Instant::now();
    // HTTP/2 says it with a GOAWAY, which this client takes.
    let begun = Instant::now();
    while let Ok(answers) = http2.send(std::slice::from_ref(&old_key)) {
        assert_eq!(answers[0].status, 200);
    }
    assert!(begun.elapsed() < DRAIN_TIME, "{:?}", begun.elapsed());
    while let Ok(answer) = goes_on.send(&old_key) {
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        thread::sleep(Duration::from_millis(50));
    }
    let went_on = in_force.elapsed();
    let answer = late.send(&old_key).unwrap();
    let asked = in_force.elapsed();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    idle.wait_until_closed();
    stream.wait_until_closed();
    let cut = in_force.elapsed();
    println!(
        "drain time {DRAIN_TIME:?}: a connection went on for {went_on:?}, one that asked after {asked:?} had an answer, a stream was cut \
         after {cut:?}"
    );
    // About five seconds, where the machine does nothing else.
    assert!(went_on < DRAIN_TIME, "{went_on:?}");
    assert!(cut.abs_diff(DRAIN_TIME) < TOLERANCE, "{cut:?}");
}

/// The windows of limits are in Envoy, by the name of the policy, and not in the listener.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn limits_outlive_a_policy() {
    let limited = |name: &str| {
        let mut resource = policy(KEYS[0]);
        let key = &mut resource["spec"]["wasm"][0]["config"]["keys"][0];
        key["rate_limit_per_minute"] = json!(1);
        key["name"] = json!(name);
        resource
    };
    let gateway = EnvoyGateway::start(&[limited("first")]);
    until_accepted(&gateway, KEYS[0]);
    let refused = |gateway: &EnvoyGateway| gateway.send(&with_key(KEYS[0])).code() == "rate_limit_exceeded";
    assert!(refused(&gateway));
    let loaded = |gateway: &EnvoyGateway| gateway.metric(r#"keyfence_policy_hash{plugin="keyfence"}"#);
    let first = loaded(&gateway);
    gateway.put(&limited("second"));
    gateway.wait_for("the new policy", |gateway| loaded(gateway) != first);
    for _ in 0..20 {
        assert!(refused(&gateway));
        thread::sleep(Duration::from_millis(100));
    }
}

/// Envoy Gateway's default is the same.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn the_drain_time_is_the_one_of_the_manifest() {
    let gateway = EnvoyGateway::start(&[]);
    let arguments = gateway.proxy_arguments().join(" ");
    assert!(arguments.contains("--drain-time-s 60"), "{arguments}");
}
