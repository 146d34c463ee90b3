//! The feed and the other paths, request by request.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::policy::{digest, key, policy, replace};
use crate::server::{SOON, Server, TOKEN, after, head, ids, poll};

#[test]
fn only_the_token_opens_the_feed() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let body = poll(&Value::Null, 0).to_string();
    for (authorization, is_open) in [
        (format!("authorization: Bearer {TOKEN}"), true),
        (format!("AUTHORIZATION: bearer  {TOKEN} "), true),
        ("x-none: 1".into(), false),
        ("authorization: Bearer".into(), false),
        ("authorization: Bearer ".into(), false),
        (format!("authorization: {TOKEN}"), false),
        (format!("authorization: Basic {TOKEN}"), false),
        (format!("authorization: Bearer {TOKEN}x"), false),
        (format!("authorization: Bearer {}", &TOKEN[1..]), false),
        (format!("authorization: Bearer {}", TOKEN.to_uppercase()), false),
        (
            format!("authorization: Bearer {TOKEN}\nauthorization: Bearer {TOKEN}"),
            false,
        ),
        (format!("authorization: Bearer {TOKEN}, Bearer {TOKEN}"), false),
        (format!("x-api-key: {TOKEN}"), false),
    ] {
        for (line, body) in [("POST /v1/feed", body.as_str()), ("GET /v1/gateways", "")] {
            let response = server.request(&format!("{line} HTTP/1.1\n{authorization}"), body);
            if is_open {
                assert_eq!(response.status, 200, "{authorization}: {response:?}");
                continue;
            }
            assert_eq!(response.status, 401, "{authorization}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert_eq!(response.header("content-type"), Some("application/problem+json"));
            assert_eq!(response.json()["code"], "unauthenticated");
            assert_eq!(response.json()["status"], 401);
        }
    }
    assert!(!format!("{:?}", server.log()).contains(TOKEN));
}

#[test]
fn a_wrong_request_gets_a_reason() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a")])).unwrap();
    let server = Server::of(&file);
    let with = |name: &str, value: Value| {
        let mut body = poll(&Value::Null, 0);
        body[name] = value;
        body.to_string()
    };
    let epoch = server.page(&Value::Null)["epoch"].clone();
    let long = "x".repeat(65);
    for (body, status, code) in [
        ("".into(), 400, "malformed_request"),
        ("{".into(), 400, "malformed_request"),
        ("[]".into(), 400, "malformed_request"),
        ("{}".into(), 400, "malformed_request"),
        (with("instance", "".into()), 400, "malformed_request"),
        (with("instance", "a b".into()), 400, "malformed_request"),
        (with("instance", long.as_str().into()), 400, "malformed_request"),
        (with("node", 1.into()), 400, "malformed_request"),
        (with("after", json!({"epoch": "e"})), 400, "malformed_request"),
        (
            with("after", json!({"epoch": "", "revision": 1})),
            400,
            "malformed_request",
        ),
        (
            with("after", json!({"epoch": long, "revision": 1})),
            400,
            "malformed_request",
        ),
        (
            with("after", json!({"epoch": "e", "revision": -1})),
            400,
            "malformed_request",
        ),
        (
            with("after", json!({"epoch": "e", "revision": 1.5})),
            400,
            "malformed_request",
        ),
        (
            with("after", json!({"epoch": "e", "revision": (1_u64 << 53) + 1})),
            400,
            "malformed_request",
        ),
        (with("cursor", 1.into()), 400, "malformed_request"),
        (with("wait_seconds", "10".into()), 400, "malformed_request"),
        (with("wait_seconds", (-1).into()), 400, "malformed_request"),
        (with("refused", 1.into()), 400, "malformed_request"),
        (
            with("refused", json!({"count": 1, "first": [{"id": "a"}]})),
            400,
            "malformed_request",
        ),
        (with("node", "x".repeat(65_536).into()), 413, "request_too_large"),
        (with("cursor", "nothing".into()), 409, "unknown_cursor"),
        (
            with("cursor", format!("{}:9:k:a", epoch.as_str().unwrap()).into()),
            409,
            "unknown_cursor",
        ),
        (
            with("after", json!({"epoch": epoch, "revision": 2})),
            503,
            "revision_ahead",
        ),
    ] {
        let response = server.request(&head(), &body);
        let body = &body[..body.len().min(200)];
        assert_eq!(response.status, status, "{body}: {response:?}");
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json"),
            "{body}"
        );
        assert_eq!(response.json()["code"], code, "{body}");
    }
    for (line, status, allow) in [
        ("GET /v1/feed", 405, Some("POST")),
        ("POST /v1/gateways", 405, Some("GET, HEAD")),
        ("POST /metrics", 405, Some("GET, HEAD")),
        ("GET /", 404, None),
        ("GET /v1/feed/", 404, None),
        ("GET /healthz", 200, None),
        ("GET /readyz?a=b", 200, None),
    ] {
        let response = server.request(&format!("{line} HTTP/1.1"), "");
        assert_eq!((response.status, response.header("allow")), (status, allow), "{line}");
    }
    // Members that only later versions know are none of its concern.
    assert_eq!(server.request(&head(), &with("later", json!({"a": 1}))).status, 200);
    // One that waits for longer than is allowed is not malformed.
    let started = Instant::now();
    assert_eq!(
        server.request(&head(), &with("wait_seconds", 1_000_000.into())).status,
        200
    );
    assert!(started.elapsed() < SOON);
}

#[test]
fn a_complete_answer_has_all_keys_over_its_pages() {
    let folder = tempdir().unwrap();
    let origins = |n: usize| {
        (0..40)
            .map(|m| format!("https://a{m}.customer-{n}.example.com"))
            .collect::<Vec<_>>()
    };
    let keys: Vec<Value> = (0..600)
        .map(|n| json!({"id": format!("k{n:03}"), "api_key": digest(&n.to_string()), "allowed_origins": origins(n)}))
        .collect();
    fs::write(folder.path().join("a.json"), policy(&keys[..300])).unwrap();
    // JSON is YAML too.
    fs::write(
        folder.path().join("b.yaml"),
        format!("# customers\n{}", policy(&keys[300..500])),
    )
    .unwrap();
    fs::write(
        folder.path().join("c.yml"),
        format!("keys: {}", Value::from(&keys[500..])),
    )
    .unwrap();
    let server = Server::of(folder.path());
    let (mut found, mut cursor, mut pages) = (Vec::new(), Value::Null, 0);
    let mut head = None;
    loop {
        let mut body = poll(&Value::Null, 0);
        body["cursor"] = cursor;
        let response = server.poll(&body);
        assert!(
            response.status == 200 && response.body.len() <= 256_000,
            "{}",
            response.body.len()
        );
        let page = response.json();
        let this = (
            page["epoch"].clone(),
            page["revision"].clone(),
            page["complete"].clone(),
        );
        assert_eq!(*head.get_or_insert(this.clone()), this);
        found.extend(page["set"].as_array().unwrap().clone());
        assert_eq!(page["removed"], json!([]));
        pages += 1;
        cursor = page["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(found, keys);
    assert_eq!(pages, 21);
    assert_eq!(server.metric("keyfence_control_polls_total{answer=\"complete\"}"), 21);
    let (epoch, revision, complete) = head.unwrap();
    assert_eq!(
        (epoch.as_str().unwrap().len(), revision, complete),
        (32, json!(1), json!(true))
    );
}

/// A revision that a gateway was told of without its changes would never be asked for again.
#[test]
fn no_answer_has_a_revision_without_its_changes() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("0")])).unwrap();
    let server = Server::of(&file);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut known = server.page(&Value::Null);
                while !is_over.load(Ordering::Relaxed) {
                    let page = server.page(&after(&known));
                    let is_newer = page["revision"] != known["revision"];
                    assert_eq!(page.get("set").is_some(), is_newer, "{page} after {known}");
                    known = page;
                }
            });
        }
        for version in 1..=60 {
            replace(&file, &policy(&[key(&version.to_string())]));
            std::thread::sleep(Duration::from_millis(45));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_poll_waits_until_something_is_newer() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, policy(&[key("a"), key("b")])).unwrap();
    let server = Server::of(&file);
    let first = server.page(&Value::Null);
    let started = Instant::now();
    let unchanged = server.poll(&poll(&after(&first), 1));
    assert!(
        (1_000..9_000).contains(&started.elapsed().as_millis()),
        "{:?}",
        started.elapsed()
    );
    let expected = json!({"epoch": first["epoch"], "revision": 1, "complete": false});
    assert_eq!((unchanged.status, unchanged.json()), (200, expected));

    let ahead = json!({"epoch": first["epoch"], "revision": 5});
    let started = Instant::now();
    let response = server.poll(&poll(&ahead, 1));
    assert!(
        (1_000..9_000).contains(&started.elapsed().as_millis()),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        (response.status, response.json()["code"].clone()),
        (503, json!("revision_ahead"))
    );

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let change = server.change(&after(&first));
            (change, Instant::now())
        });
        server.wait_for_metric("keyfence_control_polls_waiting", 1);
        let written = Instant::now();
        replace(&file, &policy(&[key("b"), key("c")]));
        let (change, answered) = waiting.join().unwrap();
        assert!(answered - written < SOON, "{:?}", answered - written);
        let expected = json!({
            "epoch": first["epoch"],
            "revision": 2,
            "complete": false,
            "removed": ["a"],
            "set": [key("c")],
            "next": null,
        });
        assert_eq!(change, expected);
    });
    // A gateway that has what was there before gets both changes; one that has neither gets everything.
    replace(&file, &policy(&[key("c"), key("d")]));
    server.wait_for_metric("keyfence_control_revision", 3);
    let both = server.page(&after(&first));
    assert_eq!((&both["removed"], ids(&both)), (&json!(["a", "b"]), vec!["c", "d"]));
    let complete = server.page(&json!({"epoch": "another", "revision": 3}));
    assert_eq!((&complete["complete"], ids(&complete)), (&json!(true), vec!["c", "d"]));
}
