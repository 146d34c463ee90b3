//! Updates while streams stay open: the newest policy is in force after each, nothing passes unchecked, and the VM's memory does not grow
//! with them. `KEYFENCE_OPEN_UPDATES=60 KEYFENCE_OPEN_KEYS=100000` for the size at which memory would run out.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::client::{connect, read_response};
use crate::harness::memory::Memory;
use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};
use crate::under_load::free_port;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A policy whose first key is of this update alone.
fn policy(update: usize, keys: usize) -> Value {
    let more = (1..keys).map(|n| {
        json!({
            "id": format!("shop-{n:06}"),
            "api_key": format!("ak_live_shop_{n:06}_9f8b1c2d3e4f_{n:024}"),
            "allowed_origins": [format!("https://shop-{n:06}.example"), format!("https://*.shop-{n:06}.example")],
            "allowed_ips": [format!("10.{}.{}.0/24", n >> 8 & 255, n & 255)],
        })
    });
    let newest = json!({"id": format!("newest-{update}"), "api_key": key(update)});
    json!({"keys": std::iter::once(newest).chain(more).collect::<Vec<_>>()})
}

fn key(update: usize) -> String {
    format!("ak_live_newest_{update:06}_0a1b2c3d")
}

fn get(key: &str) -> Request {
    Request::get("/").bearer(key)
}

/// A stream that does not end: a POST whose body does not come, a WebSocket, or a response that does not end.
fn hold_open(gateway: &Gateway, update: usize) -> TcpStream {
    let mut connection = connect(gateway.address("main"), None).unwrap();
    let authorization = format!("Authorization: Bearer {}\r\nHost: api.test\r\n", key(update));
    let request = match update % 3 {
        0 => format!("POST /upload HTTP/1.1\r\n{authorization}Content-Length: 1000\r\n\r\nbegin"),
        1 => format!(
            "GET /socket HTTP/1.1\r\n{authorization}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        _ => format!("GET /slow HTTP/1.1\r\n{authorization}\r\n"),
    };
    connection.write_all(request.as_bytes()).unwrap();
    connection
}

/// Each worker is asked, by several connections.
fn all(gateway: &Gateway, request: &Request, is_right: impl Fn(&Response) -> bool) -> bool {
    (0..12).all(|_| is_right(&gateway.send("main", request)))
}

#[test]
fn updates_while_streams_stay_open() {
    let updates = number("KEYFENCE_OPEN_UPDATES", 12);
    let keys = number("KEYFENCE_OPEN_KEYS", 3_000);
    for failure_policy in ["FAIL_RELOAD", "FAIL_CLOSED"] {
        let upstream = Upstream::start();
        upstream.answer_raw("/slow", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
        upstream.answer_raw(
            "/socket",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let listener = Listener::new("main", &policy(0, keys))
            .updatable()
            .failure_policy(failure_policy);
        let mut gateway =
            Gateway::in_front_of(&upstream)
                .listener(listener)
                .workers(2)
                .amend(|bootstrap| {
                    let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
                        ["typed_config"];
                    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
                    manager["stream_idle_timeout"] = json!("0s");
                })
                .start();
        gateway.wait_for("the first policy", |gateway| {
            all(gateway, &get(&key(0)), |answer| answer.status == 200)
        });
        let first = Memory::of(gateway.pid());
        let mut open = Vec::new();
        for update in 1..=updates {
            open.push(hold_open(&gateway, update - 1));
            gateway.update("main", &policy(update, keys));
            gateway.wait_for("the newest key on both workers", |gateway| {
                all(gateway, &get(&key(update)), |answer| answer.status == 200)
            });
            assert!(
                all(&gateway, &get(&key(update - 1)), |answer| answer.code()
                    == "invalid_api_key"),
                "update {update}"
            );
            upstream.take();
            let forged = Request::get("/").header("X-Key-Id", "forged");
            assert!(
                all(&gateway, &forged, |answer| answer.code() == "missing_api_key"),
                "update {update}"
            );
            assert_eq!(upstream.take().len(), 0, "update {update}");
        }
        let last = Memory::of(gateway.pid());
        println!("{failure_policy}, {updates} updates of {keys} keys: {first:?} and then {last:?} kB");
        assert!(
            2 * last.wasm <= 5 * first.wasm,
            "the memory of VMs grew from {first:?} to {last:?}"
        );
        // The last update revokes, and the streams that were held are no reason for another answer.
        drop(open);
        gateway.update("main", &json!({"keys": []}));
        gateway.wait_for("the revocation of every key", |gateway| {
            all(gateway, &get(&key(updates)), |answer| {
                answer.code() == "invalid_api_key"
            })
        });
    }
}

/// Nobody can tell an idle listener's policy from a superseded one but by the name of its plugin.
#[test]
fn an_idle_listener_keeps_its_policy_through_the_updates_of_another() {
    let upstream = Upstream::start();
    let idle = json!({"keys": [{"id": "idle", "api_key": "ak_test_idle_0123456789"}]});
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("idle", &idle).plugin("idle").struct_form())
        .listener(Listener::new("main", &policy(0, 2)).updatable())
        .start();
    gateway.wait_for("the first policy", |gateway| {
        gateway.send("main", &get(&key(0))).status == 200
    });
    let mut open = Vec::new();
    for update in 1..=50 {
        open.push(hold_open(&gateway, 3 * update));
        gateway.update("main", &policy(update, 2));
        gateway.wait_for("the newest key", |gateway| {
            gateway.send("main", &get(&key(update))).status == 200
        });
    }
    assert_eq!(gateway.send("idle", &get("ak_test_idle_0123456789")).status, 200);
    assert_eq!(gateway.send("idle", &get(&key(50))).code(), "invalid_api_key");
    assert_eq!(
        gateway.send("main", &get("ak_test_idle_0123456789")).code(),
        "invalid_api_key"
    );
    let stats = gateway.admin("/stats?filter=keyfence_policy_hash");
    assert_eq!(stats.lines().count(), 2, "{stats}");
    for policy in [idle, policy(50, 2)] {
        let loaded = Policy::load(policy.to_string().as_bytes(), Timestamp(0)).unwrap();
        let shown = format!(": {}", loaded.hash);
        assert!(stats.lines().any(|line| line.ends_with(&shown)), "{stats}{shown}");
    }
}

/// What the README says of updates that come with the listener: a connection that is open keeps the old policy, and
/// `max_connection_duration` bounds for how long.
#[test]
fn a_listener_update_leaves_open_connections_on_the_old_policy() {
    let upstream = Upstream::start();
    let files = TempDir::new().unwrap();
    let port = free_port();
    let (listener, path) = (files.path().join("listener.json"), files.path().join("lds.json"));
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy(0, 1)).port(port))
        .amend({
            let (listener, path) = (listener.clone(), path.clone());
            move |bootstrap| {
                let mut written = bootstrap["static_resources"]["listeners"][0].take();
                bootstrap["static_resources"]["listeners"] = json!([]);
                written["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
                let manager = &mut written["filter_chains"][0]["filters"][0]["typed_config"];
                manager["common_http_protocol_options"] = json!({"max_connection_duration": "4s"});
                std::fs::write(&listener, written.to_string()).unwrap();
                std::fs::write(&path, json!({"resources": [written]}).to_string()).unwrap();
                bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": path}}});
            }
        })
        .start();
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    gateway.wait_for("the listener", |_| {
        get(&key(0))
            .send(Version::Http1, to)
            .is_ok_and(|answer| answer.status == 200)
    });
    let mut reader = BufReader::new(connect(to, None).unwrap());
    let mut ask = |key: &str| -> std::io::Result<Response> {
        reader.get_mut().write_all(&get(key).to_bytes())?;
        read_response(&mut reader, "GET")
    };
    assert_eq!(ask(&key(0)).unwrap().status, 200);

    let mut written: Value = serde_json::from_str(&std::fs::read_to_string(&listener).unwrap()).unwrap();
    let filter = &mut written["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0];
    filter["typed_config"]["config"]["configuration"]["value"] = json!(policy(1, 1).to_string());
    std::fs::write(&listener, json!({"resources": [written]}).to_string()).unwrap();
    std::fs::rename(&listener, &path).unwrap();
    gateway.wait_for("the new policy on new connections", |_| {
        get(&key(1))
            .send(Version::Http1, to)
            .is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(get(&key(0)).send(Version::Http1, to).unwrap().code(), "invalid_api_key");
    assert_eq!(
        ask(&key(0)).unwrap().status,
        200,
        "the old policy, on the connection that was open"
    );
    assert_eq!(
        ask(&key(1)).unwrap().code(),
        "invalid_api_key",
        "the old policy, on the connection that was open"
    );
    gateway.wait_for("the end of that connection", |_| ask(&key(0)).is_err());
}
