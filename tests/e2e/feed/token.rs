//! The token of the feed's requests: where it comes from, and that nothing shows it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Fed, TOKEN, get, key, policy};
use crate::harness::feed_server::Reply;
use crate::harness::{FeedServer, Gateway, Listener, Request, Upstream};

const VARIABLE: &str = "KEYFENCE_FEED_TOKEN";

#[test]
fn a_token_of_the_environment_is_shown_by_nothing() {
    let mut own = policy();
    own["keys_from"] = json!({"cluster": "control", "token_env": VARIABLE, "wait_seconds": 1, "path": "/feed/%41", "authority": "feed.test:8080"});
    let (upstream, feed) = (Upstream::start(), FeedServer::start());
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &own).host_env_key(VARIABLE))
        .cluster("control", feed.address())
        .environment(VARIABLE, TOKEN)
        .start();
    feed.set([key("a")]);
    gateway.wait_for("the key", |gateway| gateway.send("main", &get("a")).status == 200);
    for poll in feed.take() {
        assert_eq!(poll.received.all("authorization"), [format!("Bearer {TOKEN}")]);
        assert_eq!(poll.received.path(), "/feed/%41");
        assert_eq!(poll.received.all("host"), ["feed.test:8080"]);
    }
    // A server that tells it back, in each place that might be shown.
    let mut answers = Vec::new();
    for (line, body) in [
        ("401 Unauthorized", json!({"detail": TOKEN})),
        (
            "200 OK",
            json!({"epoch": TOKEN, "revision": "x", "complete": TOKEN, "set": TOKEN}),
        ),
        (
            "200 OK",
            json!({"epoch": "epoch-1", "revision": 100, "complete": false, "set": [{"id": 1, "api_key": TOKEN}]}),
        ),
    ] {
        let header = format!("x-token: {TOKEN}\r\n");
        feed.lie(move |_| Some(Reply::status(line, &header, &body)));
        thread::sleep(Duration::from_millis(1_500));
        answers.push(format!("{:?}", gateway.send("main", &get("nobody"))));
        answers.push(format!(
            "{:?}",
            gateway.send("main", &Request::preflight("/", "https://x.example", "GET", ""))
        ));
    }
    thread::sleep(Duration::from_millis(300));
    for (name, text) in [
        ("log", gateway.log()),
        ("config dump", gateway.admin("/config_dump?include_eds")),
        ("stats", gateway.admin("/stats")),
        ("access log", format!("{:?}", gateway.access_log())),
        ("answers", answers.join("\n")),
        ("requests at the upstream", format!("{:?}", upstream.take())),
    ] {
        assert!(!text.contains(TOKEN), "{name}");
    }
}

#[test]
fn a_token_in_the_policy_is_not_in_the_log() {
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    fed.feed.go_away();
    thread::sleep(Duration::from_secs(2));
    assert!(!fed.gateway.log().contains(TOKEN));
    assert!(!fed.gateway.admin("/stats").contains(TOKEN));
}

/// A configuration whose token is not there is refused, and the log says what is missing; it does not tell the variable's value.
#[test]
#[rustfmt::skip]
fn a_variable_that_is_not_there_or_no_token() {
    let mut own = policy();
    own["keys_from"] = json!({"cluster": "control", "token_env": VARIABLE, "wait_seconds": 1});
    let cases = [
        ("the VM does not see it", None, Some("a-token-0123"), false),
        ("Envoy does not have it", Some(VARIABLE), None, false),
        ("it is empty", Some(VARIABLE), Some(""), false),
        ("it is white space", Some(VARIABLE), Some(" "), false),
        ("it has a header of its own", Some(VARIABLE), Some("a-token-0123\r\nx-forged: 1"), false),
        ("it has two words", Some(VARIABLE), Some("Bearer a-token-0123"), false),
        ("it is not ASCII", Some(VARIABLE), Some("a-token-0123\u{442}"), false),
        ("it ends in a line break", Some(VARIABLE), Some("a-token-0123\n"), true),
    ];
    for (name, seen, value, is_right) in cases {
        let (upstream, feed) = (Upstream::start(), FeedServer::start());
        feed.set([key("a")]);
        let listener = Listener::new("main", &own);
        let listener = match seen { Some(seen) => listener.host_env_key(seen), None => listener };
        let setup = Gateway::in_front_of(&upstream).listener(listener).cluster("control", feed.address());
        let setup = match value { Some(value) => setup.environment(VARIABLE, value), None => setup };
        match setup.try_start() {
            Ok(gateway) => {
                assert!(is_right, "{name}");
                gateway.wait_for("the key", |gateway| gateway.send("main", &get("a")).status == 200);
                assert_eq!(feed.take()[0].received.all("authorization"), ["Bearer a-token-0123"], "{name}");
            }
            Err(log) => {
                assert!(!is_right, "{name}: {log}");
                assert!(log.lines().any(|line| line.contains("keys_from.token_env") && line.contains(VARIABLE)), "{name}: {log}");
                assert!(!log.contains("a-token-0123"), "{name}: {log}");
                assert_eq!(feed.take().len(), 0, "{name}");
            }
        }
    }
}
