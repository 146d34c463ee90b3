//! The limit of each client of a key: exact over all workers, for each address and /64, whoever else comes.
//! (That the window slides, and what happens in a full table, is tested natively, with a clock and a table of the test's own.)

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use crate::harness::burst::burst;
use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

const SITE: &str = "https://yourapp.com";
const KEY: &str = "the-key-000000000";

fn policy(client_ip: &str, limits: &Value) -> Value {
    let mut key = json!({"id": "public", "api_key": KEY, "allowed_origins": [SITE]});
    key.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    json!({"client_ip": client_ip, "keys": [key], "anonymous": {"rate_limit_per_minute_per_client": 1}})
}

fn get() -> Request {
    Request::get("/direct").bearer(KEY).header("Origin", SITE)
}

fn forwarded(address: impl ToString) -> Request {
    get().header("X-Forwarded-For", address.to_string())
}

fn number(response: &Response, header: &str) -> Option<u64> {
    response.header(header).map(|value| value.parse().unwrap())
}

/// Limit and remaining.
fn limit(response: &Response) -> (Option<u64>, Option<u64>) {
    (
        number(response, "x-ratelimit-limit"),
        number(response, "x-ratelimit-remaining"),
    )
}

/// So many requests were over the limit of their client.
fn counted(gateway: &Gateway, decision: &str) -> u64 {
    let name = format!("decision=.={decision};.;code=.=client_rate_limit_exceeded;.;keyfence_requests_total");
    let stats = gateway.admin(&format!("/stats?filter={name}"));
    stats.trim().rsplit(": ").next().unwrap().parse().unwrap()
}

#[test]
#[rustfmt::skip]
fn one_client_over_its_limit_is_refused_while_another_passes() {
    let upstream = Upstream::start();
    let limits = json!({"rate_limit_per_minute": 6, "rate_limit_per_minute_per_client": 3});
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy("peer", &limits))).workers(2).start();
    let (greedy, other, third) = ("127.0.0.5", "127.0.0.6", "127.0.0.7");
    let from = |address: &str| get().from(address);
    let denied = |address: &str| Request::get("/direct").bearer(KEY).from(address);
    let anonymous = |address: &str| Request::get("/direct").from(address);
    let steps = [
        ("the first", from(greedy), (200, ""), (Some(3), Some(2))),
        ("denied by origin, which takes nothing", denied(greedy), (403, "origin_not_allowed"), (Some(3), Some(2))),
        ("the second", from(greedy), (200, ""), (Some(3), Some(1))),
        ("the third", from(greedy), (200, ""), (Some(3), Some(0))),
        ("used up", from(greedy), (429, "client_rate_limit_exceeded"), (Some(3), Some(0))),
        ("still used up", from(greedy), (429, "client_rate_limit_exceeded"), (Some(3), Some(0))),
        ("another client", from(other), (200, ""), (Some(3), Some(2))),
        ("a header changes no peer", from(greedy).header("X-Forwarded-For", other), (429, "client_rate_limit_exceeded"), (Some(3), Some(0))),
        ("another client again", from(other), (200, ""), (Some(3), Some(1))),
        ("a third client", from(third), (200, ""), (Some(6), Some(0))),
        ("the key's is used up", from(third), (429, "rate_limit_exceeded"), (Some(6), Some(0))),
        ("which counts for the client", from(third), (429, "rate_limit_exceeded"), (Some(6), Some(0))),
        ("until its own is used up", from(third), (429, "client_rate_limit_exceeded"), (Some(3), Some(0))),
        ("without a key", anonymous(greedy), (200, ""), (Some(1), Some(0))),
        ("without a key, used up", anonymous(greedy), (429, "client_rate_limit_exceeded"), (Some(1), Some(0))),
        ("another without a key", anonymous(other), (200, ""), (Some(1), Some(0))),
    ];
    for (name, request, expected, expected_limit) in steps {
        let response = gateway.send("main", &request);
        assert_eq!((response.status, response.code().as_str()), expected, "{name}: {response:?}");
        assert_eq!(limit(&response), expected_limit, "{name}: {response:?}");
        let retry_after = number(&response, "retry-after");
        assert_eq!(retry_after.is_some(), response.status == 429, "{name}");
        assert!(retry_after.is_none_or(|seconds| (1..=70).contains(&seconds)), "{name}: {response:?}");
    }
}

#[test]
#[rustfmt::skip]
fn exactly_the_limit_passes_however_many_come_at_once() {
    for (version, connections, each) in [(Version::Http1, 40, 10), (Version::Http2, 20, 20)] {
        let upstream = Upstream::start();
        let limits = json!({"rate_limit_per_minute_per_client": 50});
        let gateway = Gateway::in_front_of(&upstream)
            .listener(Listener::new("main", &policy("forwarded", &limits)).trusted_hops(1))
            .workers(2)
            .amend(|bootstrap| {
                bootstrap["static_resources"]["listeners"][0]["connection_balance_config"] = json!({"exact_balance": {}});
            })
            .start();
        let clients = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"];
        // The last is the third, under another address of its network.
        let sent = [clients.as_slice(), &["2001:db8::ffff:1"]].concat();
        let requests: Vec<Request> = (0..each).flat_map(|_| &sent).map(forwarded).collect();
        let responses = burst(version, gateway.address("main"), &requests, connections);
        assert_eq!(responses.len(), connections * each * sent.len());
        let mut admitted: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (response, client) in responses.iter().zip(sent.iter().cycle()) {
            match (response.status, limit(response).1) {
                (200, Some(remaining)) => admitted.entry(client).or_default().push(remaining),
                (status, remaining) => assert_eq!((status, remaining), (429, Some(0)), "{response:?}"),
            }
        }
        let other = admitted.remove("2001:db8::ffff:1").unwrap_or_default();
        admitted.entry("2001:db8::1").or_default().extend(other);
        for client in clients {
            // Each took its own place in the line.
            let places: BTreeSet<u64> = admitted[client].iter().copied().collect();
            assert_eq!((admitted[client].len(), places), (50, (0..50).collect()), "{client} ({version:?})");
        }
    }
}

/// Whoever has a /48 has 65,536 clients, and each may send its limit. None of the others is refused for it.
#[test]
#[rustfmt::skip]
fn a_flood_from_many_networks_refuses_nobody_else() {
    let upstream = Upstream::start();
    let limits = json!({"rate_limit_per_minute_per_client": 2});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy("forwarded", &limits)).trusted_hops(1))
        .workers(2)
        .start();
    let before = "203.0.113.1";
    assert_eq!(gateway.send("main", &forwarded(before)).status, 200);
    let network = |number: u32| Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(number) << 64 | 1);
    let flood: Vec<Request> = (0..5_000).map(|number| match number % 2 {
        0 => forwarded(network(number)),
        _ => forwarded(Ipv4Addr::from(0x0a00_0000 + number)),
    }).collect();
    let responses = burst(Version::Http1, gateway.address("main"), &flood, 4);
    let admitted = responses.iter().filter(|response| response.status == 200).count();
    assert_eq!((admitted, responses.len()), (2 * 5_000, 4 * 5_000), "each passes as often as it may");
    for (address, status) in [(before, 200), (before, 429), ("203.0.113.2", 200), ("203.0.113.2", 200), ("203.0.113.2", 429)] {
        assert_eq!(gateway.send("main", &forwarded(address)).status, status, "{address}");
    }
    assert_eq!(counted(&gateway, "deny"), 10_002);
}

#[test]
#[rustfmt::skip]
fn a_key_that_reports_refuses_nobody() {
    let upstream = Upstream::start();
    let limits = json!({"rate_limit_per_minute_per_client": 1, "enforcement": "report"});
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy("peer", &limits))).start();
    for _ in 0..3 {
        let response = gateway.send("main", &get());
        assert_eq!((response.status, limit(&response)), (200, (None, None)), "{response:?}");
    }
    assert_eq!(counted(&gateway, "report"), 2);
}
