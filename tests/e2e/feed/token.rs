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

/// Without the variable there is no token to send, and the log says why the server refuses.
#[test]
fn a_variable_that_the_vm_does_not_see() {
    let mut own = policy();
    own["keys_from"] = json!({"cluster": "control", "token_env": VARIABLE, "wait_seconds": 1});
    let feed = FeedServer::start();
    feed.lie(|poll| {
        let has_token = !poll.received.all("authorization").is_empty();
        (!has_token).then(|| Reply::status("401 Unauthorized", "", &json!({})))
    });
    let fed = Fed::with(&own, 1, feed, |setup| setup.environment(VARIABLE, TOKEN));
    fed.gateway.wait_for("the log", |gateway| {
        gateway
            .log()
            .lines()
            .any(|line| line.contains("feed: ") && line.contains(VARIABLE))
    });
    fed.assert_outcome(&get("static"), "200");
    fed.assert_outcome(&get("a"), super::UNAVAILABLE);
}

/// A value that is no token would be a line of the request's own.
#[test]
fn a_variable_with_a_line_break() {
    let mut own = policy();
    own["keys_from"] = json!({"cluster": "control", "token_env": VARIABLE, "wait_seconds": 1});
    let mut own_listener = Some(Listener::new("main", &own).updatable().host_env_key(VARIABLE));
    for value in ["abc\r\nx-forged: 1", "abc\n", "", " ", "\u{442}"] {
        let (upstream, feed) = (Upstream::start(), FeedServer::start());
        feed.set([key("a")]);
        let listener = own_listener.clone().unwrap();
        let gateway = Gateway::in_front_of(&upstream)
            .listener(listener)
            .cluster("control", feed.address())
            .environment(VARIABLE, value)
            .start();
        gateway.wait_for("the filter", |gateway| {
            gateway.send("main", &get("static")).status == 200
        });
        thread::sleep(Duration::from_secs(1));
        for poll in feed.take() {
            assert_eq!(poll.received.all("x-forged").len(), 0, "{value:?}");
            let sent = poll.received.all("authorization");
            let expected = if value == "abc\n" {
                vec!["Bearer abc".to_owned()]
            } else {
                Vec::new()
            };
            assert!(sent.is_empty() || sent == expected, "{value:?}: {sent:?}");
        }
    }
    own_listener.take();
}
