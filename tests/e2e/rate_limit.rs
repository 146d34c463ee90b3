//! A key's limit: exact over all workers, told to clients, and kept through updates of the policy.
//! (That the window slides is tested natively, with a clock of the test's own.)

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::burst::burst;
use crate::harness::gateway::built_filter;
use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

const SITE: &str = "https://yourapp.com";

fn raw_key(id: &str) -> String {
    format!("key-of-{id}-00000")
}

fn key(id: &str, limit: u32) -> Value {
    json!({"id": id, "api_key": raw_key(id), "rate_limit_per_minute": limit, "allowed_origins": [SITE]})
}

fn get(id: &str) -> Request {
    Request::get("/v1").bearer(&raw_key(id)).header("Origin", SITE)
}

/// Denied, so that it takes nothing; its response tells the limit.
fn ask(id: &str) -> Request {
    Request::get("/v1").bearer(&raw_key(id))
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn number(response: &Response, header: &str) -> Option<u64> {
    response.header(header).map(|value| value.parse().unwrap())
}

fn limit(response: &Response) -> Option<u64> {
    number(response, "x-ratelimit-limit")
}

fn remaining(response: &Response) -> Option<u64> {
    number(response, "x-ratelimit-remaining")
}

fn reset(response: &Response) -> Option<u64> {
    number(response, "x-ratelimit-reset")
}

#[test]
#[rustfmt::skip]
fn responses_tell_the_limit() {
    let upstream = Upstream::start();
    let mut policy = json!({
        "keys": [],
        "scopes": {"v1": [{"methods": ["GET"], "path": "/v1"}, {"methods": ["GET"], "path": "/direct"}]},
    });
    for version in Version::BOTH {
        let mut key = key(&format!("{version:?}"), 3);
        key["scopes"] = json!(["v1"]);
        key["allowed_ips"] = json!(["127.0.0.1"]);
        policy["keys"].as_array_mut().unwrap().push(key);
    }
    for workers in [1, 2] {
        let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).workers(workers).start();
        for version in Version::BOTH {
            let id = format!("{version:?}");
            let elsewhere = || Request::get("/v2").bearer(&raw_key(&id)).header("Origin", SITE);
            let preflight = || Request::preflight("/v1", SITE, "GET", "authorization");
            let direct = || Request::get("/direct").bearer(&raw_key(&id)).header("Origin", SITE);
            // Request, then status and code, and what remains after it.
            let steps = [
                ("denied before any", ask(&id), (403, "origin_not_allowed"), Some(3)),
                ("the first", get(&id), (200, ""), Some(2)),
                ("denied by origin", ask(&id), (403, "origin_not_allowed"), Some(2)),
                ("denied by address", get(&id).from("127.0.0.9"), (403, "ip_not_allowed"), Some(2)),
                ("denied by scope", elsewhere(), (403, "scope_not_allowed"), Some(2)),
                ("a preflight", preflight(), (204, ""), None),
                ("the second", get(&id), (200, ""), Some(1)),
                ("the third, answered by Envoy", direct(), (200, ""), Some(0)),
                ("used up", get(&id), (429, "rate_limit_exceeded"), Some(0)),
                ("denied by origin first", ask(&id), (403, "origin_not_allowed"), Some(0)),
                ("a preflight nevertheless", preflight(), (204, ""), None),
                ("still used up", get(&id), (429, "rate_limit_exceeded"), Some(0)),
                ("an unknown key", ask("nobody"), (401, "invalid_api_key"), None),
            ];
            let mut first_admitted = None;
            for (name, request, expected, expected_remaining) in steps {
                let name = format!("{name} ({version:?}, {workers} workers)");
                let before = unix_time();
                let response = gateway.send_over(version, "main", &request);
                let after = unix_time();
                assert_eq!((response.status, response.code().as_str()), expected, "{name}: {response:?}");
                assert_eq!(remaining(&response), expected_remaining, "{name}: {response:?}");
                assert_eq!(limit(&response), expected_remaining.map(|_| 3), "{name}: {response:?}");
                if expected == (200, "") && first_admitted.is_none() {
                    first_admitted = Some((before, after));
                }
                if let Some(reset) = reset(&response) {
                    // What the first took comes back when it is 61 seconds old; with nothing taken it is now.
                    let range = first_admitted.map_or(before..=after, |(before, after)| before + 61..=after + 61);
                    assert!(range.contains(&reset), "{name}: {range:?} has no {reset}");
                }
                if response.status == 429 {
                    let retry_after = number(&response, "retry-after").unwrap();
                    let reset = reset(&response).unwrap();
                    assert!((reset - after..=reset - before).contains(&retry_after), "{name}: {response:?}");
                    assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
                    assert_eq!(response.header("access-control-allow-origin"), Some(SITE), "{name}");
                    let exposed = response.header("access-control-expose-headers").unwrap();
                    assert!(exposed.contains("X-RateLimit-Remaining, X-RateLimit-Reset"), "{name}: {exposed}");
                } else {
                    assert_eq!(response.header("retry-after"), None, "{name}");
                }
            }
            // One was answered by Envoy.
            assert_eq!(upstream.take().len(), 2, "{version:?}");
        }
    }
}

#[test]
fn only_a_limited_key_changes_what_the_upstream_says_of_its_own_limits() {
    let upstream = Upstream::start();
    upstream.answer(
        "/v1",
        &[
            ("X-RateLimit-Limit", "9"),
            ("X-RateLimit-Remaining", "8"),
            ("X-RateLimit-Reset", "7"),
            ("Retry-After", "6"),
        ],
    );
    let policy = json!({"keys": [key("limited", 5), {"id": "free", "api_key": raw_key("free")}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .start();
    let numbers = |response: &Response| (limit(response), remaining(response), number(response, "retry-after"));
    let limited = gateway.send("main", &get("limited"));
    assert_eq!(numbers(&limited), (Some(5), Some(4), Some(6)));
    let free = gateway.send("main", &get("free"));
    assert_eq!((numbers(&free), reset(&free)), ((Some(9), Some(8), Some(6)), Some(7)));
}

/// So many connections were accepted by each worker.
fn connections_by_worker(gateway: &Gateway) -> Vec<u64> {
    let stats = gateway.admin("/stats?filter=worker_[0-9]%2B.downstream_cx_total");
    let lines = stats.lines().filter(|line| !line.contains("admin"));
    lines
        .map(|line| line.split_once(": ").unwrap().1.parse().unwrap())
        .collect()
}

#[test]
#[rustfmt::skip]
fn exactly_the_limit_passes_however_many_come_at_once() {
    // Workers, version, path (Envoy answers /direct itself, so that its workers are at it the closer together), limit, connections, and
    // on each of them requests with how many keys that nobody used before, and how many with each.
    let cases = [
        (2, Version::Http1, "/v1", 50, 40, 1, 8),
        (2, Version::Http2, "/v1", 50, 20, 1, 16),
        (2, Version::Http1, "/v1", 50, 40, 5, 5),
        (2, Version::Http2, "/v1", 50, 20, 5, 8),
        // Thousands of writes to one slot.
        (2, Version::Http1, "/direct", 1500, 40, 1, 50),
        (2, Version::Http2, "/direct", 1500, 8, 1, 400),
        // Everything hangs on the first write to each slot.
        (2, Version::Http1, "/direct", 1, 8, 1000, 1),
        (2, Version::Http2, "/direct", 1, 8, 500, 1),
        (1, Version::Http1, "/v1", 50, 20, 2, 8),
        (1, Version::Http2, "/v1", 50, 10, 2, 16),
    ];
    for (workers, version, path, limit, connections, keys, each) in cases {
        let case = format!("{limit} of {connections} x {each} with {keys} keys ({version:?}, {workers} workers)");
        let upstream = Upstream::start();
        let ids: Vec<String> = (0..keys).map(|number| format!("fresh-{number}")).collect();
        let policy: Vec<Value> = ids.iter().map(|id| key(id, limit)).collect();
        let gateway = Gateway::in_front_of(&upstream)
            .listener(Listener::new("main", &json!({"keys": policy})))
            .workers(workers)
            // The kernel would now and then give all of eight connections to one worker.
            .amend(|bootstrap| {
                bootstrap["static_resources"]["listeners"][0]["connection_balance_config"] = json!({"exact_balance": {}});
            })
            .start();
        let requests: Vec<Request> = ids.iter().flat_map(|id| vec![Request { path: path.into(), ..get(id) }; each]).collect();
        let responses = burst(version, gateway.address("main"), &requests, connections);
        assert_eq!(responses.len(), connections * keys * each, "{case}");
        let by_key = |number: usize| {
            let of_connections = responses.chunks(requests.len());
            of_connections.flat_map(move |responses| responses[number * each..][..each].iter())
        };
        for (number, id) in ids.iter().enumerate() {
            let (admitted, refused): (Vec<_>, Vec<_>) = by_key(number).partition(|response| response.status == 200);
            assert_eq!(admitted.len(), limit as usize, "{case}: {id}");
            for response in refused {
                assert_eq!((response.status, remaining(response)), (429, Some(0)), "{case}: {response:?}");
            }
            // Each took its own place in the line.
            let places: BTreeSet<u64> = admitted.iter().filter_map(|response| remaining(response)).collect();
            assert_eq!(places, (0..u64::from(limit)).collect(), "{case}: {id}");
        }
        if path == "/v1" {
            assert_eq!(upstream.take().len(), keys * limit as usize, "{case}");
        }
        let connections = connections_by_worker(&gateway);
        assert!(connections.len() == workers as usize && !connections.contains(&0), "an idle worker: {connections:?}");
    }
}

#[test]
#[rustfmt::skip]
fn a_limit_holds_for_all_listeners_of_a_vm_id() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [key("shared", 2)]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("one", &policy))
        .listener(Listener::new("two", &policy).updatable())
        .listener(Listener::new("other", &policy).vm_id("other"))
        .workers(2)
        .start();
    let steps = [
        ("one", Version::Http1, 200),
        ("two", Version::Http2, 200),
        ("one", Version::Http2, 429),
        ("two", Version::Http1, 429),
        ("other", Version::Http1, 200),
    ];
    for (listener, version, status) in steps {
        assert_eq!(gateway.send_over(version, listener, &get("shared")).status, status, "{listener}");
    }
}

#[test]
#[rustfmt::skip]
fn an_update_of_the_policy_keeps_what_was_used() {
    let upstream = Upstream::start();
    let rotated = |limit: u32| {
        let mut key = key("one", limit);
        key["api_key"] = json!([raw_key("one"), raw_key("tomorrow")]);
        key
    };
    // The policy, its limit, and then the status and what remains for one request more.
    let updates = [
        ("as it was", json!({"keys": [key("one", 5)], "enforcement": "enforce"}), 5, 200, 2),
        ("raised", json!({"keys": [key("one", 7)]}), 7, 200, 3),
        ("lowered below what was used", json!({"keys": [key("one", 3)]}), 3, 429, 0),
        ("raised again, another key before it", json!({"keys": [key("zero", 1), key("one", 6)]}), 6, 200, 1),
        ("rotated", json!({"keys": [rotated(8)]}), 8, 200, 2),
        ("lowered to what was used", json!({"keys": [key("one", 6)]}), 6, 429, 0),
    ];
    for workers in [1, 2] {
        let mut gateway = Gateway::in_front_of(&upstream)
            .listener(Listener::new("main", &json!({"keys": [key("one", 4)]})).updatable())
            .workers(workers)
            .start();
        for left in [3, 2] {
            assert_eq!(remaining(&gateway.send("main", &get("one"))), Some(left));
        }
        for (name, policy, expected_limit, status, left) in &updates {
            gateway.update("main", policy);
            // Each worker takes it up by itself; which one answers is up to the kernel.
            gateway.wait_for(name, |gateway| (0..20).all(|_| limit(&gateway.send("main", &ask("one"))) == Some(*expected_limit)));
            let response = gateway.send("main", &get("one"));
            assert_eq!((response.status, remaining(&response)), (*status, Some(*left)), "{name}, {workers} workers: {response:?}");
        }
        gateway.update("main", &json!({"keys": [{"id": "one", "api_key": raw_key("one"), "allowed_origins": [SITE]}]}));
        gateway.wait_for("no limit", |gateway| (0..20).all(|_| limit(&gateway.send("main", &get("one"))).is_none()));
        gateway.update("main", &json!({"keys": [key("one", 6)]}));
        gateway.wait_for("the limit again", |gateway| (0..20).all(|_| limit(&gateway.send("main", &ask("one"))) == Some(6)));
        assert_eq!(gateway.send("main", &get("one")).status, 429, "what passes without a limit frees nothing");
    }
}

#[test]
fn an_update_of_the_filter_keeps_what_was_used() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &json!({"keys": [key("one", 4)]})).updatable())
        .workers(2)
        .start();
    for left in [3, 2] {
        assert_eq!(remaining(&gateway.send("main", &get("one"))), Some(left));
    }
    // The same code, but to Envoy another file: with a section that says nothing (number, length, and a name of one letter).
    let another_build = gateway.directory().join("another-build.wasm");
    let mut bytes = fs::read(built_filter()).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    fs::write(&another_build, bytes).unwrap();
    gateway.update_filter("main", another_build, &json!({"keys": [key("one", 5)]}));
    gateway.wait_for("the update", |gateway| {
        (0..20).all(|_| limit(&gateway.send("main", &ask("one"))) == Some(5))
    });
    assert_eq!(remaining(&gateway.send("main", &get("one"))), Some(2));
}
