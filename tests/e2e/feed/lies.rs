//! A server that lies: nothing of the lie is in force, nothing that was in force is lost, and it is counted and told once.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Fed, TOKEN, get, key, policy, raw};
use crate::harness::feed_server::{Poll, Reply, response};

/// What would be a good answer, with the key `evil` in place of all others.
fn page(poll: &Poll) -> Value {
    json!({
        "epoch": poll.epoch().unwrap_or("epoch-1"),
        "revision": poll.revision().unwrap_or(0) + 1,
        "complete": true,
        "set": [key("evil")],
    })
}

fn with(poll: &Poll, name: &str, value: Value) -> Reply {
    let mut page = page(poll);
    page[name] = value;
    Reply::json(&page)
}

fn without(poll: &Poll, name: &str) -> Reply {
    let mut page = page(poll);
    page.as_object_mut().unwrap().remove(name);
    Reply::json(&page)
}

/// A good answer with other text in place of the last brace.
fn ending(poll: &Poll, end: &str) -> Vec<u8> {
    let text = page(poll).to_string();
    format!("{}{end}", text.strip_suffix('}').unwrap()).into_bytes()
}

fn head(body: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {body}\r\n\r\n").into_bytes()
}

/// `{"epoch":…}` compressed: no gateway asked for it.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xabV*-P\xb2R\xca)\xcd\xcdMU\xaa\x05\x00";

type Lie = fn(&Poll) -> Reply;

/// Name, what is answered, and as which of these failures it counts.
#[rustfmt::skip]
const LIES: &[(&str, Lie, &[&str])] = &[
    ("500", |poll| Reply::status("500 Internal Server Error", "", &page(poll)), &["status"]),
    ("404", |poll| Reply::status("404 Not Found", "", &page(poll)), &["status"]),
    ("401", |poll| Reply::status("401 Unauthorized", "www-authenticate: Bearer\r\n", &page(poll)), &["status"]),
    ("503", |poll| Reply::status("503 Service Unavailable", "retry-after: 1\r\n", &page(poll)), &["unreachable"]),
    ("201", |poll| Reply::status("201 Created", "", &page(poll)), &["status"]),
    ("206", |poll| Reply::status("206 Partial Content", "", &page(poll)), &["status"]),
    ("204", |_| Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()), &["status"]),
    ("a redirect", |poll| Reply::status("307 Temporary Redirect", "location: /v1/other\r\n", &page(poll)), &["status"]),
    ("a sign-in page", |_| Reply::ok("<!doctype html><title>Sign in</title>"), &["malformed"]),
    ("nothing", |_| Reply::ok(""), &["malformed"]),
    ("a list", |poll| Reply::ok(format!("[{}]", page(poll))), &["malformed"]),
    ("half of it", |poll| Reply::ok(ending(poll, "")), &["malformed"]),
    ("two of it", |poll| Reply::ok(format!("{0}{0}", page(poll))), &["malformed"]),
    ("bytes that are not text", |poll| Reply::ok([&ending(poll, r#","x":""#)[..], b"\xff\"}"].concat()), &["malformed"]),
    ("compressed", |_| Reply::Bytes(response("200 OK", "content-encoding: gzip\r\n", GZIP)), &["malformed"]),
    ("nested without end", |poll| Reply::ok(ending(poll, &format!(r#","x":{}"#, "[".repeat(200_000)))), &["malformed"]),
    ("deep and closed", |poll| Reply::ok(ending(poll, &format!(r#","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)))), &["malformed"]),
    ("too long", |poll| Reply::ok(ending(poll, &format!(r#","x":"{}"}}"#, "x".repeat(262_144)))), &["too_large"]),
    ("far too long", |poll| Reply::ok(ending(poll, &format!(r#","x":"{}"}}"#, "x".repeat(40 << 20)))), &["too_large", "unreachable", "status"]),
    ("without end", |_| Reply::Endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()), &["too_large", "unreachable", "status"]),
    ("a length that is too short", |poll| Reply::Close([head(20), ending(poll, "}")].concat()), &["malformed", "unreachable"]),
    ("a length that is too long", |poll| Reply::Close([head(20_000), ending(poll, "}")].concat()), &["unreachable", "status"]),
    ("a reset in its middle", |poll| Reply::Reset([head(20_000), ending(poll, "")].concat()), &["unreachable", "status"]),
    ("a reset at once", |_| Reply::Reset(Vec::new()), &["unreachable", "status"]),
    ("an end at once", |_| Reply::Close(Vec::new()), &["unreachable", "status"]),
    ("another protocol", |_| Reply::Close(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), &["unreachable", "status"]),
    ("a hang", |_| Reply::Hang(Vec::new()), &["unreachable", "status"]),
    ("a hang in its middle", |poll| Reply::Hang([head(20_000), ending(poll, "")].concat()), &["unreachable", "status"]),
    ("so slow that it does not end in time", |poll| Reply::Slowly(Duration::from_secs(1), [head(20_000), ending(poll, "}")].concat()), &["unreachable", "status"]),
    ("no epoch", |poll| without(poll, "epoch"), &["malformed"]),
    ("an empty epoch", |poll| with(poll, "epoch", json!("")), &["malformed"]),
    ("a long epoch", |poll| with(poll, "epoch", json!("e".repeat(65))), &["malformed"]),
    ("an epoch with a line break", |poll| with(poll, "epoch", json!("e\nfeed: 5 keys in force")), &["malformed"]),
    ("an epoch that is a number", |poll| with(poll, "epoch", json!(1)), &["malformed"]),
    ("no revision", |poll| without(poll, "revision"), &["malformed"]),
    ("a revision below zero", |poll| with(poll, "revision", json!(-1)), &["malformed"]),
    ("half a revision", |poll| with(poll, "revision", json!(1e6 + 0.5)), &["malformed"]),
    ("a revision that is text", |poll| with(poll, "revision", json!("9000")), &["malformed"]),
    ("a revision beyond numbers", |poll| with(poll, "revision", json!(1e300)), &["malformed"]),
    ("no complete", |poll| without(poll, "complete"), &["malformed"]),
    ("complete as text", |poll| with(poll, "complete", json!("true")), &["malformed"]),
    ("removed is not a list", |poll| with(poll, "removed", json!({"a": true})), &["malformed"]),
    ("removed of numbers", |poll| with(poll, "removed", json!([1])), &["malformed"]),
    ("set is not a list", |poll| with(poll, "set", json!({"evil": {}})), &["malformed"]),
    ("an empty cursor", |poll| with(poll, "next", json!("")), &["malformed"]),
    ("a long cursor", |poll| with(poll, "next", json!("n".repeat(257))), &["malformed"]),
    ("a cursor with a line break", |poll| with(poll, "next", json!("n\r\n")), &["malformed"]),
    ("pages without end, empty ones", |poll| {
        let mut page = page(poll);
        page["set"] = json!([]);
        page["next"] = json!(format!("n{}", poll.body["cursor"].as_str().unwrap_or("")));
        Reply::json(&page)
    }, &["malformed"]),
    ("the same cursor again", |poll| with(poll, "next", json!("again")), &["malformed"]),
    ("another epoch on the second page", |poll| {
        let mut page = page(poll);
        match poll.body["cursor"].as_str() {
            None => page["next"] = json!("2"),
            Some(_) => page["epoch"] = json!("other"),
        }
        Reply::json(&page)
    }, &["malformed"]),
    ("another revision on the second page", |poll| {
        let mut page = page(poll);
        match poll.body["cursor"].as_str() {
            None => page["next"] = json!("2"),
            Some(_) => page["revision"] = json!(9_999),
        }
        Reply::json(&page)
    }, &["malformed"]),
    ("not complete any more on the second page", |poll| {
        let mut page = page(poll);
        match poll.body["cursor"].as_str() {
            None => page["next"] = json!("2"),
            Some(_) => page["complete"] = json!(false),
        }
        Reply::json(&page)
    }, &["malformed"]),
    ("a second page that fails", |poll| match poll.body["cursor"].as_str() {
        None => with(poll, "next", json!("2")),
        Some(_) => Reply::status("500 Internal Server Error", "", &json!({})),
    }, &["status"]),
    ("changes of another epoch", |poll| {
        let mut page = page(poll);
        page["epoch"] = json!("other");
        page["complete"] = json!(false);
        Reply::json(&page)
    }, &["malformed"]),
    ("an older revision, whole", |poll| with(poll, "revision", json!(poll.revision().unwrap_or(1) - 1)), &["outdated"]),
    ("an older revision, changes", |poll| {
        let mut page = page(poll);
        page["revision"] = json!(poll.revision().unwrap_or(1) - 1);
        page["complete"] = json!(false);
        page["removed"] = json!(["a"]);
        Reply::json(&page)
    }, &["outdated"]),
];

const FAILURES: &str = "keyfence_feed_failures_total";

#[test]
fn nothing_of_a_lie_is_in_force() {
    let only = std::env::var("KEYFENCE_LIE").ok();
    let fed = Fed::start(&policy());
    fed.feed.set([key("a")]);
    fed.wait_for_all("a", 200);
    for (round, (name, lie, codes)) in LIES.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        println!("{name}");
        let failures = || codes.iter().map(|code| fed.metric(FAILURES, Some(code))).sum::<f64>();
        let (all, before) = (fed.metric(FAILURES, None), failures());
        let lie = *lie;
        fed.settle();
        fed.feed.take();
        fed.feed.lie(move |poll| Some(lie(poll)));
        fed.gateway
            .wait_for(&format!("{codes:?} for {name}"), |_| failures() > before);
        for (id, expected) in [("a", "200"), ("static", "200"), ("evil", "401 invalid_api_key")] {
            fed.assert_outcome(&get(id), expected);
        }
        let (other, counted) = (fed.metric(FAILURES, None) - all, failures() - before);
        assert!(
            other - counted < 0.5,
            "{name}: {counted} failures of {codes:?}, and {other} in all"
        );
        fed.feed.be_honest();
        for poll in fed.feed.take() {
            let (epoch, revision) = fed.feed.epoch_and_revision();
            assert_eq!(
                poll.body["after"],
                json!({"epoch": epoch, "revision": revision}),
                "{name}"
            );
        }
        fed.wait_for_marker(&format!("after-{round}"));
        fed.assert_outcome(&get("evil"), "401 invalid_api_key");
        fed.assert_outcome(&get("a"), "200");
    }
    let log = fed.gateway.log();
    for secret in [TOKEN, &raw("a"), &raw("evil")] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
    assert!(
        !log.lines().any(|line| line.starts_with("feed: 5 keys")),
        "a server writes lines into the log"
    );
}

/// A name, and an answer that is taken although it is not what most servers send.
#[rustfmt::skip]
const ODD: &[(&str, fn(&Poll, Vec<u8>) -> Reply)] = &[
    ("in chunks", |_, body| Reply::Bytes([
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        &body.chunks(7).flat_map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).collect::<Vec<u8>>()[..],
        b"0\r\n\r\n",
    ].concat())),
    ("until the connection ends", |_, body| Reply::Close([b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat())),
    ("slowly, but in time", |_, body| Reply::Slowly(Duration::from_millis(50), [head(body.len()), body].concat())),
    ("late, but in time", |_, body| Reply::Later(Duration::from_secs(4), Box::new(Reply::ok(body)))),
    ("as text/plain", |_, body| Reply::Bytes(response("200 OK", "content-type: text/plain\r\n", &body))),
    ("after an early hint", |_, body| Reply::Bytes([b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec(), head(body.len()), body].concat())),
    ("with other members", |_, body| Reply::ok([&body[..body.len() - 1], br#","server":{"set":[],"epoch":7,"next":"x"}}"#].concat())),
    ("with white space around it", |_, body| Reply::ok([b"\n\t ", &body[..], b"\r\n"].concat())),
    ("of just the length that is read", |_, body| {
        let padding = " ".repeat(262_144 - body.len());
        Reply::ok([&body[..], padding.as_bytes()].concat())
    }),
];

#[test]
fn what_is_odd_and_right_is_taken() {
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    for (round, (name, reply)) in ODD.iter().enumerate() {
        println!("{name}");
        let id = format!("odd-{round}");
        let reply = *reply;
        let set = key(&id);
        fed.feed.take();
        fed.feed.lie(move |poll| {
            let mut page = json!({"epoch": "epoch-1", "revision": 1_000 + round, "complete": false, "set": [set]});
            if poll.revision() == Some(1_000 + round as u64) {
                page["set"] = json!([]);
                return Some(Reply::Later(Duration::from_millis(300), Box::new(Reply::json(&page))));
            }
            Some(reply(poll, page.to_string().into_bytes()))
        });
        fed.wait_for_all(&id, 200);
    }
    assert_eq!(fed.metric(FAILURES, None), 0.0);
}

/// A server that fails, or that does not wait, is not asked without pause.
#[test]
#[rustfmt::skip]
fn no_server_is_hammered() {
    let cases: [(&str, fn(&Poll) -> Reply); 5] = [
        ("500", |poll| Reply::status("500 Internal Server Error", "", &page(poll))),
        ("an end at once", |_| Reply::Close(Vec::new())),
        ("nonsense", |_| Reply::ok("nonsense")),
        ("outdated", |poll| with(poll, "revision", json!(poll.revision().unwrap_or(1) - 1))),
        ("nothing new, at once", |poll| Reply::json(&json!({
            "epoch": poll.epoch(), "revision": poll.revision(), "complete": false,
        }))),
    ];
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    let instances = fed.feed.instances_at(fed.feed.epoch_and_revision().1).len().max(1);
    for (name, lie) in cases {
        fed.feed.lie(move |poll| Some(lie(poll)));
        fed.feed.take();
        thread::sleep(Duration::from_secs(6));
        let polls = fed.feed.take().len();
        println!("{name}: {polls} polls of {instances} in 6 s");
        // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 s, or the halves of these.
        assert!((2..=8 * instances).contains(&polls), "{name}: {polls} polls of {instances} instances in 6 s");
        fed.feed.be_honest();
        fed.wait_for_marker(&format!("after-{}", name.len()));
    }
}

/// Each of them would be a change without end of the table.
#[test]
fn pages_without_end_do_not_stop_requests() {
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    fed.feed.lie(|poll| {
        let cursor = poll.body["cursor"]
            .as_str()
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0_u64);
        let mut page = page(poll);
        page["set"] = json!([key(&format!("page-{cursor}"))]);
        page["next"] = json!((cursor + 1).to_string());
        Some(Reply::json(&page))
    });
    for _ in 0..30 {
        thread::sleep(Duration::from_millis(100));
        fed.assert_outcome(&get("a"), "200");
        fed.assert_outcome(&get("page-0"), "401 invalid_api_key");
    }
    let most = fed
        .feed
        .take()
        .iter()
        .filter_map(|poll| poll.body["cursor"].as_str()?.parse::<u64>().ok())
        .max();
    println!("{most:?} pages in 3 s");
    assert!(most > Some(20), "the pages are asked for at once: {most:?}");
    fed.feed.be_honest();
    fed.wait_for_marker("b");
    fed.assert_outcome(&get("page-0"), "401 invalid_api_key");
}

#[test]
fn a_key_that_is_wrong_is_refused_alone() {
    let fed = Fed::start(&policy());
    let invalid = |name: &str, value: Value| super::with(key("wrong"), name, value);
    fed.feed.set([key("a"), key("gone")]);
    fed.wait_for_all("a", 200);
    // What is wrong, the code, and whether the key before it stays in force.
    #[rustfmt::skip]
    let cases = [
        ("a restriction of a later version", invalid("allowed_countries", json!(["CH"])), "unknown_field", true),
        ("the same, disabled", super::with(invalid("allowed_countries", json!(["CH"])), "enabled", json!(false)), "unknown_field", false),
        ("a network", invalid("allowed_ips", json!(["10.0.0.1/8"])), "invalid_key", true),
        ("an origin", invalid("allowed_origins", json!(["https://shop.example/"])), "invalid_key", true),
        ("a date", invalid("expires_at", json!("tomorrow")), "invalid_key", true),
        ("a scope that is not there", invalid("scopes", json!(["admin"])), "unknown_scope", true),
        ("a header that is not listed", invalid("upstream_headers", json!({"X-Plan": "gold"})), "unlisted_upstream_header", true),
        ("the key of another", invalid("api_key", json!([digest_of("wrong"), digest_of("a")])), "duplicate_api_key", true),
        ("the key of the policy's own", invalid("api_key", json!([digest_of("wrong"), super::digest(super::STATIC)])), "duplicate_api_key", true),
        ("enabled as text", invalid("enabled", json!("false")), "invalid_key", true),
    ];
    for (number, (name, wrong, code, stays)) in cases.into_iter().enumerate() {
        println!("{name}");
        fed.feed.set([key("wrong")]);
        fed.wait_for_all("wrong", 200);
        let id = format!("with-{number}");
        fed.feed.set([wrong, key(&id)]);
        fed.wait_for_all(&id, 200);
        fed.assert_outcome(&get("wrong"), if stays { "200" } else { "401 invalid_api_key" });
        fed.assert_outcome(&get("a"), "200");
        fed.gateway.wait_for("the report", |_| {
            fed.reported() == json!({"count": 1, "first": [{"id": "wrong", "code": code}]})
        });
        assert_eq!(fed.metric("keyfence_feed_refused_keys", None), 1.0, "{name}");
        let log = fed.gateway.log();
        assert!(log.contains(r#"feed: key "wrong" refused: "#), "{name}");
        fed.feed.remove(["wrong"]);
        fed.wait_for_all("wrong", 401);
        assert_eq!(fed.reported(), json!({"count": 0, "first": []}), "{name}");
    }
    // Ids are the server's text: none of them may write a line.
    let id = "x\n[info] feed: forged";
    fed.feed.set([json!({"id": id, "api_key": digest_of("x")}), key("z")]);
    fed.wait_for_all("z", 200);
    assert!(
        !fed.gateway
            .log()
            .lines()
            .any(|line| line.starts_with("[info] feed: forged"))
    );
    // Of many only the first ten are told.
    fed.feed
        .set((0..50).map(|number| super::with(key(&format!("w-{number}")), "new", json!(1))));
    fed.gateway.wait_for("the report of many", |_| {
        let reported = fed.reported();
        reported["count"] == 51 && reported["first"].as_array().is_some_and(|first| first.len() == 10)
    });
}

fn digest_of(id: &str) -> String {
    super::digest(&raw(id))
}
