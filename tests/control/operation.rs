//! What operators see of gateways, and how the server stops.

use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::client;
use crate::policy::{key, policy, replace};
use crate::server::{SOON, Server, TOKEN, after, head, poll};

#[test]
fn gateways_are_listed_and_their_refused_keys_logged_once() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let first = server.page(&Value::Null);
    let mut report = poll(&after(&first), 0);
    report["node"] = json!("edge\n2");
    report["instance"] = json!("f".repeat(32));
    let first_refused: Vec<Value> = (0..12)
        .map(|n| json!({"id": format!("k{n}"), "code": "unknown_scope"}))
        .collect();
    report["refused"] = json!({"count": 12, "first": first_refused});
    server.poll(&report);
    server.poll(&report);
    let line = server.wait_for_log("refuses 12 keys: \"k0\" unknown_scope, \"k1\" unknown_scope");
    assert!(line.contains(r#"gateway "edge\n2" (ffffffff"#), "{line}");
    report["refused"] = json!({"count": 0, "first": []});
    server.poll(&report);
    server.wait_for_log("refuses no key any more");
    report["refused"] = json!({"count": 1, "first": [{"id": "a", "code": "invalid_key"}]});
    server.poll(&report);
    server.wait_for_log("refuses 1 key: \"a\" invalid_key");
    assert_eq!(
        server.log().iter().filter(|line| line.contains("refuses")).count(),
        3,
        "{:#?}",
        server.log()
    );
    let gateway = |node: &str, instance: &str, after: &Value, refused: Value| {
        json!({
            "node": node,
            "instance": instance,
            "epoch": after["epoch"],
            "revision": after["revision"],
            "age_seconds": 0,
            "refused": refused,
        })
    };
    let mut found = server.get("/v1/gateways").json();
    for item in found["items"].as_array_mut().unwrap() {
        assert!(item["age_seconds"].as_u64().unwrap() < 10);
        item["age_seconds"] = json!(0);
    }
    let expected = json!({
        "items": [
            gateway("edge\n2", &"f".repeat(32), &after(&first), json!({"count": 1, "first": [{"id": "a", "code": "invalid_key"}]})),
            gateway("gateway-1", "0123456789abcdef0123456789abcdef", &json!({}), json!({"count": 0, "first": []})),
        ],
        "next": null,
    });
    assert_eq!(found, expected);
    for (name, value) in [
        ("keyfence_control_revision", 1),
        ("keyfence_control_keys", 1),
        ("keyfence_control_gateways", 2),
        ("keyfence_control_wrong_files", 0),
        ("keyfence_control_polls_waiting", 0),
        ("keyfence_control_polls_total{answer=\"complete\"}", 1),
        ("keyfence_control_polls_total{answer=\"unchanged\"}", 4),
    ] {
        assert_eq!(server.metric(name), value, "{name}");
    }
}

#[test]
fn waiting_polls_are_answered_when_the_server_stops() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    for signal in ["TERM", "INT"] {
        let mut server = Server::of(&file);
        let first = server.page(&Value::Null);
        let mut stream = client::connect(&server.address);
        client::write(&mut stream, &head(), &poll(&after(&first), 50).to_string());
        server.wait_for_metric("keyfence_control_polls_waiting", 1);
        let started = Instant::now();
        server.signal(signal);
        let response = client::read(stream);
        assert_eq!((response.status, response.json()["revision"].clone()), (200, json!(1)));
        assert_eq!(server.wait().code(), Some(0), "{signal}");
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        server.wait_for_log("keyfence-control: stopped");
    }
}

#[test]
fn a_new_start_is_a_new_epoch() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let before = Server::of(&file).page(&Value::Null);
    let server = Server::of(&file);
    let started = Instant::now();
    let now = server.change(&after(&before));
    assert!(started.elapsed() < Duration::from_secs(5), "at once");
    assert_ne!(now["epoch"], before["epoch"]);
    assert_eq!((&now["complete"], &now["set"]), (&json!(true), &before["set"]));
}

#[test]
fn a_poll_whose_connection_is_gone_is_forgotten() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let body = poll(&after(&server.page(&Value::Null)), 50).to_string();
    let streams: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = client::connect(&server.address);
            client::write(&mut stream, &head(), &body);
            stream
        })
        .collect();
    server.wait_for_metric("keyfence_control_polls_waiting", 20);
    drop(streams);
    server.wait_for_metric("keyfence_control_polls_waiting", 0);
}

/// Ten seconds are for the first request with the token; the server closes what has sent none by then.
#[test]
fn a_connection_without_the_token_is_closed() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let mut asking = client::connect(&server.address);
    let with_token = format!("GET /v1/gateways HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    asking.write_all(with_token.as_bytes()).unwrap();
    let silent = [
        ("nothing", &b""[..]),
        ("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n"),
        (
            "HTTP/2 without a request",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        ),
        ("the beginning of a head", b"GET /healthz HTTP/1.1\r\nhost: a\r\n"),
        ("without the token", b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"),
        (
            "with another token",
            b"GET /v1/gateways HTTP/1.1\r\nhost: a\r\nauthorization: Bearer 0123456789abcdef\r\n\r\n",
        ),
    ]
    .map(|(name, bytes)| {
        let mut stream = client::connect(&server.address);
        stream.write_all(bytes).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (name, stream)
    });
    for (name, mut stream) in silent {
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    asking
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answers = String::new();
    asking.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

/// What `/proc` says of a process, such as its threads.
#[cfg(target_os = "linux")]
fn status_of(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap().trim_end_matches(" kB").trim().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn many_waiting_polls_are_cheap_and_wake_together() {
    const POLLS: usize = 500;
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let body = poll(&after(&server.page(&Value::Null)), 50).to_string();
    let (threads, memory) = (status_of(server.id(), "Threads"), status_of(server.id(), "VmRSS"));
    let streams: Vec<_> = (0..POLLS)
        .map(|_| {
            let mut stream = client::connect(&server.address);
            client::write(&mut stream, &head(), &body);
            stream
        })
        .collect();
    server.wait_for_metric("keyfence_control_polls_waiting", POLLS as u64);
    assert_eq!(status_of(server.id(), "Threads"), threads);
    let grown = status_of(server.id(), "VmRSS") - memory;
    assert!(grown < 40 * POLLS as u64, "{grown} kB for {POLLS} polls");
    let written = Instant::now();
    replace(&file, &policy(&[key("b")]));
    for stream in streams {
        assert_eq!(client::read(stream).json()["revision"], 2);
    }
    assert!(written.elapsed() < SOON, "{:?}", written.elapsed());
}

#[test]
fn a_small_change_among_many_keys_is_served_soon() {
    let folder = tempdir().unwrap();
    let many = |file: usize| (0..1_000).map(|n| key(&format!("{file}-{n}"))).collect::<Vec<_>>();
    for file in 0..20 {
        fs::write(folder.path().join(format!("{file}.json")), policy(&many(file))).unwrap();
    }
    replace(&folder.path().join("small.json"), &policy(&[key("small")]));
    let server = Server::of(folder.path());
    let mut last = json!({"epoch": server.page(&Value::Null)["epoch"], "revision": 1});
    let mut taken = Vec::new();
    for round in 0..5 {
        let (change, answered, written) = thread::scope(|scope| {
            let waiting = scope.spawn(|| (server.change(&last), Instant::now()));
            server.wait_for_metric("keyfence_control_polls_waiting", 1);
            let written = Instant::now();
            replace(
                &folder.path().join("small.json"),
                &policy(&[key(&format!("small-{round}"))]),
            );
            let (change, answered) = waiting.join().unwrap();
            (change, answered, written)
        });
        assert_eq!(change["set"].as_array().unwrap().len(), 1);
        taken.push(answered - written);
        last = after(&change);
    }
    // Mostly the wait until it is quiet, of 20 ms. A machine that has much to do may take longer once.
    assert!(taken.iter().min().unwrap() < &Duration::from_millis(500), "{taken:?}");
}
