//! When a feed is asked, and how answers are applied: the filter over a host of the test's own, whose clock the test sets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/host.rs"]
mod world;

use keyfence_filter::host::{Action, MapType};
use keyfence_filter::stream::Stream;
use serde_json::{Value, json};
use world::{Fake, Vm};

const FED_KEY: &str = "fed-key-0123456789";

fn policy(more: Value) -> Value {
    let mut policy = json!({
        "keys": [{"id": "static", "api_key": "static-key-0123456789", "kind": "secret"}],
        "keys_from": {"cluster": "control", "authority": "a.example", "path": "/feed", "token": "the-token", "wait_seconds": 10},
    });
    for (name, value) in more.as_object().unwrap() {
        policy[name] = value.clone();
    }
    policy
}

/// A VM with a policy, at a time that the test moves on.
struct Run {
    host: Fake,
    vm: Vm,
}

impl Run {
    fn new(more: Value) -> Run {
        let host = Fake::new(&policy(more).to_string());
        let mut run = Run {
            vm: Vm::new(host.clone()),
            host,
        };
        assert!(run.configure(1));
        run
    }

    fn configure(&mut self, context: u32) -> bool {
        let size = self.host.0.configuration.borrow().len();
        self.vm.configure(context, size)
    }

    fn set_policy(&mut self, more: Value) {
        *self.host.0.configuration.borrow_mut() = policy(more).to_string().into_bytes();
    }

    fn polls(&self) -> usize {
        self.host.0.http_calls.borrow().len()
    }

    /// The body of the last poll.
    fn last_poll(&self) -> Value {
        serde_json::from_str(&self.host.0.http_calls.borrow().last().unwrap().body).unwrap()
    }

    fn tick_after(&mut self, context: u32, seconds: u64) {
        self.host.0.seconds.set(self.host.0.seconds.get() + seconds);
        self.vm.plugin.on_tick(context);
    }

    /// The answer to the last poll.
    fn answer(&mut self, status: Option<&str>, body: &str) {
        self.answer_to(self.polls() - 1, status, body);
    }

    fn answer_to(&mut self, poll: usize, status: Option<&str>, body: &str) {
        let headers: Vec<(&str, &str)> = status.map(|status| (":status", status)).into_iter().collect();
        self.host.set(MapType::HttpCallResponseHeaders, &headers);
        *self.host.0.http_body.borrow_mut() = body.as_bytes().to_vec();
        self.vm.plugin.on_http_call_response(poll as u32, body.len());
    }

    fn load(&mut self) {
        self.tick_after(1, 0);
        self.answer(Some("200"), &complete(1));
    }

    /// The status of a request with this key; 200 if it passes.
    fn status(&mut self, context: u32, key: &str) -> u16 {
        self.status_of(context, key, "GET", "/")
    }

    fn status_of(&mut self, context: u32, key: &str, method: &str, path: &str) -> u16 {
        self.host.set(
            MapType::RequestHeaders,
            &[
                (":method", method),
                (":path", path),
                ("authorization", &format!("Bearer {key}")),
            ],
        );
        self.vm.streams.insert(7, Stream::new(context));
        match self.vm.on_request_headers(7) {
            Action::Continue => 200,
            Action::Pause => self.host.last_answer().unwrap().0,
        }
    }

    fn failures(&self, code: &str) -> u64 {
        self.host.value(&format!(
            "plugin=.=keyfence;.;code=.={code};.;keyfence_feed_failures_total"
        ))
    }

    fn gauge(&self, name: &str) -> u64 {
        self.host.value(&format!("plugin=.=keyfence;.;keyfence_feed_{name}"))
    }
}

fn complete(revision: u64) -> String {
    let key = json!({"id": "fed", "api_key": FED_KEY, "kind": "secret"});
    json!({"epoch": "e", "revision": revision, "complete": true, "set": [key]}).to_string()
}

fn change(revision: u64, removed: &[&str]) -> String {
    json!({"epoch": "e", "revision": revision, "complete": false, "removed": removed}).to_string()
}

#[test]
fn the_poll_is_as_configured() {
    let mut run = Run::new(json!({}));
    assert_eq!(run.polls(), 0, "before the first tick");
    assert!(run.host.0.tick_period.get() > 0);
    run.tick_after(1, 0);
    let calls = run.host.0.http_calls.borrow();
    let call = &calls[0];
    assert_eq!((&*call.cluster, call.milliseconds), ("control", 15_000));
    for (name, value) in [
        (":method", "POST"),
        (":path", "/feed"),
        (":authority", "a.example"),
        ("content-type", "application/json"),
        ("authorization", "Bearer the-token"),
    ] {
        assert!(
            call.headers.contains(&(name.into(), value.into())),
            "{name}: {:?}",
            call.headers
        );
    }
}

#[test]
fn keys_are_unavailable_until_they_are_known() {
    let mut run = Run::new(json!({}));
    assert_eq!(run.status(1, FED_KEY), 503);
    assert_eq!(run.status(1, "static-key-0123456789"), 200);
    run.load();
    assert_eq!(run.status(1, FED_KEY), 200);
    assert_eq!(run.status(1, "another-key-0123456789"), 401);
    assert_eq!((run.gauge("keys"), run.gauge("revision")), (1, 1));
    assert_eq!(run.polls(), 2, "the next poll is sent at once");
    run.answer(Some("200"), &change(2, &["fed"]));
    assert_eq!(run.status(1, FED_KEY), 401);
}

#[test]
fn what_is_wrong_with_an_answer_is_counted_and_changes_nothing() {
    let large = complete(2) + &" ".repeat(262_144);
    for (name, status, body, code) in [
        ("none", None, "", "unreachable"),
        ("no healthy upstream", Some("503"), "", "unreachable"),
        ("time-out", Some("504"), "", "unreachable"),
        ("a wrong token", Some("401"), "{}", "status"),
        ("not found", Some("404"), "<html>", "status"),
        ("a redirect", Some("302"), "", "status"),
        ("an empty success", Some("204"), "", "status"),
        ("HTML", Some("200"), "<html>", "malformed"),
        ("nothing", Some("200"), "", "malformed"),
        ("bytes that are cut off", Some("200"), &complete(2)[..40], "malformed"),
        ("older", Some("200"), &change(0, &["fed"]), "outdated"),
        (
            "another epoch",
            Some("200"),
            r#"{"epoch": "f", "revision": 9, "complete": false, "removed": ["fed"]}"#,
            "malformed",
        ),
        ("too large", Some("200"), &large, "too_large"),
        ("a status that is not a number", Some("abc"), "", "unreachable"),
    ] {
        let mut run = Run::new(json!({}));
        run.load();
        run.answer(status, body);
        assert_eq!(run.failures(code), 1, "{name}");
        assert_eq!(run.status(1, FED_KEY), 200, "{name}");
        assert_eq!(run.polls(), 2, "{name}: it is not asked again at once");
        run.tick_after(1, 1);
        assert_eq!(run.polls(), 3, "{name}");
        assert_eq!(run.last_poll()["after"], json!({"epoch": "e", "revision": 1}), "{name}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_asked_less_and_less() {
    let mut run = Run::new(json!({}));
    let mut times = Vec::new();
    for second in 0..60 {
        let before = run.polls();
        run.tick_after(1, u64::from(second > 0));
        if run.polls() > before {
            times.push(second);
            run.answer(None, "");
        }
    }
    let last_pauses: Vec<i32> = times.windows(2).map(|pair| pair[1] - pair[0]).rev().take(5).collect();
    assert!(last_pauses.iter().all(|pause| (3..=5).contains(pause)), "{times:?}");
}

#[test]
fn a_server_that_does_not_wait_is_not_asked_all_the_time() {
    let mut run = Run::new(json!({}));
    run.load();
    run.answer(Some("200"), &change(1, &[]));
    assert_eq!(run.polls(), 2);
    run.tick_after(1, 1);
    assert_eq!(run.polls(), 3);
    // This one waits.
    run.host.0.seconds.set(run.host.0.seconds.get() + 10);
    run.answer(Some("200"), &change(1, &[]));
    assert_eq!(run.polls(), 4);
}

/// Two stores behind one name: each knows nothing of the other's revisions.
#[test]
fn servers_that_always_answer_with_all_keys_are_not_asked_all_the_time() {
    let mut run = Run::new(json!({}));
    run.load();
    let of = |epoch: &str, revision: u64| complete(revision).replace(r#""e""#, &format!("{epoch:?}"));
    run.answer(Some("200"), &of("f", 5));
    assert_eq!((run.polls(), run.status(1, FED_KEY)), (2, 200));
    run.tick_after(1, 1);
    assert_eq!(run.polls(), 3);
    run.answer(Some("200"), &of("e", 2));
    assert_eq!(run.polls(), 3);
    run.tick_after(1, 1);
    // A store that was restored gives all keys once.
    run.answer(Some("200"), &change(3, &["fed"]));
    assert_eq!((run.polls(), run.status(1, FED_KEY)), (5, 401));
    run.answer(Some("200"), &of("f", 6));
    assert_eq!(run.polls(), 6);
}

#[test]
fn a_poll_without_any_callback_is_given_up() {
    let mut run = Run::new(json!({}));
    run.tick_after(1, 0);
    run.tick_after(1, 19);
    assert_eq!(run.polls(), 1);
    run.tick_after(1, 1);
    run.tick_after(1, 1);
    assert_eq!(run.polls(), 2);
    // Its callback comes after all.
    run.answer_to(0, Some("200"), &complete(1));
    assert_eq!(run.status(1, FED_KEY), 503);
}

#[test]
fn the_newest_root_context_polls_and_the_keys_are_kept() {
    let mut run = Run::new(json!({}));
    run.load();
    run.set_policy(json!({"docs_url": "https://docs.example/errors"}));
    assert!(run.configure(2));
    assert_eq!((run.status(1, FED_KEY), run.status(2, FED_KEY)), (200, 200));
    // The poll of the old one is still under way.
    run.tick_after(2, 1);
    assert_eq!(run.polls(), 2);
    run.answer(Some("200"), &change(2, &[]));
    assert_eq!(run.polls(), 2, "the old one polls no more");
    run.tick_after(1, 1);
    assert_eq!(
        (run.polls(), run.host.0.tick_period.get()),
        (2, 1_000),
        "and is called seldom"
    );
    run.tick_after(2, 1);
    assert_eq!(run.polls(), 3);
    // Envoy does not call back for a context that has ended.
    run.set_policy(json!({}));
    assert!(run.configure(3));
    run.vm.plugin.end(2);
    run.tick_after(3, 1);
    assert_eq!(run.polls(), 4);
    assert_eq!(run.status(3, FED_KEY), 200);
}

/// Two listeners with a policy each, and the same plugin name and feed: a request gets what both policies allow.
#[test]
fn policies_side_by_side_do_not_widen_each_other() {
    let first = json!({
        "scopes": {"read": [{"methods": ["GET"], "path": "/v1/**"}], "own": [{"methods": ["GET"], "path": "/own"}], "any": [{"methods": ["*"], "path": "/**"}], "indexed": [{"methods": ["GET"], "path": "/{index}"}]},
        "upstream_header_names": ["x-first", "x-both"],
        "keys": [{"id": "static", "api_key": "static-key-0123456789", "kind": "secret"}, {"id": "taken", "api_key": "taken-key-0123456789", "kind": "secret"}],
    });
    let second = json!({
        "scopes": {"read": [{"methods": ["*"], "path": "/**"}], "any": [{"methods": ["*"], "path": "/**"}], "indexed": [{"methods": ["GET"], "path": "/v2/{index}"}]},
        "upstream_header_names": ["x-second", "x-both"],
        "enforcement": "report",
    });
    let key = |id: &str, more: Value| {
        let mut key = json!({"id": id, "api_key": format!("{id}-fed-key-0123456789"), "kind": "secret"});
        for (name, value) in more.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    let keys = [
        key("plain", json!({"enforcement": "enforce"})),
        key("read", json!({"scopes": ["read"], "enforcement": "enforce"})),
        key("as-the-policy", json!({"scopes": ["read"]})),
        key("any", json!({"scopes": ["any"], "enforcement": "enforce"})),
        key("own", json!({"scopes": ["own"], "enforcement": "enforce"})),
        key(
            "indexed",
            json!({"scopes": ["indexed"], "indexes": ["shop"], "enforcement": "enforce"}),
        ),
        key("taken", json!({"enforcement": "enforce"})),
        key(
            "both",
            json!({"upstream_headers": {"x-both": "1"}, "enforcement": "enforce"}),
        ),
        key(
            "second",
            json!({"upstream_headers": {"x-second": "1"}, "enforcement": "enforce"}),
        ),
    ];
    let all = json!({"epoch": "e", "revision": 1, "complete": true, "set": keys}).to_string();
    let mut run = Run::new(first);
    run.set_policy(second);
    assert!(run.configure(2));
    run.tick_after(2, 0);
    run.answer(Some("200"), &all);
    for (id, method, path, statuses) in [
        // Under the first policy, and under the second, which the keys are compiled with.
        ("plain", "DELETE", "/admin", [200, 200]),
        ("read", "GET", "/v1/a", [200, 200]),
        ("read", "GET", "/admin", [403, 200]),
        ("read", "DELETE", "/v1/a", [403, 200]),
        ("as-the-policy", "DELETE", "/v1/a", [403, 200]),
        ("any", "DELETE", "/admin", [200, 200]),
        // No key in force; the second policy only reports that.
        ("own", "GET", "/own", [401, 200]),
        ("indexed", "GET", "/v2/shop", [403, 200]),
        ("indexed", "GET", "/shop", [403, 403]),
        ("taken", "GET", "/", [401, 200]),
        ("both", "GET", "/", [200, 200]),
        ("second", "GET", "/", [401, 200]),
    ] {
        let raw = format!("{id}-fed-key-0123456789");
        let found = [1, 2].map(|context| run.status_of(context, &raw, method, path));
        assert_eq!(found, statuses, "{id} {method} {path}");
    }
    let log = run.host.0.log.borrow().join("\n");
    assert_eq!(log.matches("need different plugin names").count(), 1, "{log}");
    // A third one that is as the second one narrows nothing.
    assert!(run.configure(3));
    assert_eq!(run.status_of(2, "read-fed-key-0123456789", "DELETE", "/admin"), 200);
    assert_eq!(run.status_of(1, "read-fed-key-0123456789", "DELETE", "/admin"), 403);
    // The newer ones end: the keys are compiled with the first policy at its next tick, and until then narrowed as before.
    run.vm.plugin.end(3);
    run.vm.plugin.end(2);
    for own in [401, 200] {
        for (id, method, path, expected) in [
            ("read", "GET", "/v1/a", 200),
            ("read", "DELETE", "/admin", 403),
            ("as-the-policy", "DELETE", "/admin", 403),
            ("own", "GET", "/own", own),
            ("taken", "GET", "/", 401),
            ("second", "GET", "/", 401),
        ] {
            let raw = format!("{id}-fed-key-0123456789");
            assert_eq!(run.status_of(1, &raw, method, path), expected, "{id} {method} {path}");
        }
        run.tick_after(1, 1);
    }
}

/// A listener that drains keeps its configuration for as long as its connections, perhaps longer than a newer one.
#[test]
fn a_superseded_root_context_polls_again_when_the_newer_one_ends() {
    let mut run = Run::new(json!({}));
    run.load();
    run.set_policy(json!({"docs_url": "https://docs.example/errors"}));
    assert!(run.configure(2));
    run.answer(Some("200"), &change(2, &[]));
    run.tick_after(1, 1);
    run.tick_after(2, 1);
    assert_eq!(run.polls(), 3);
    run.vm.plugin.end(2);
    run.tick_after(1, 1);
    assert_eq!((run.polls(), run.host.0.tick_period.get()), (4, 50));
    run.answer(Some("200"), &change(3, &["fed"]));
    assert_eq!(run.status(1, FED_KEY), 401);
}

#[test]
fn another_feed_begins_without_keys() {
    let mut run = Run::new(json!({}));
    run.load();
    run.set_policy(json!({"keys_from": {"cluster": "other", "token": "the-token"}}));
    assert!(run.configure(2));
    assert_eq!((run.status(1, FED_KEY), run.status(2, FED_KEY)), (200, 503));
    // Requests under the old policy are on connections that drain: their keys go on to be revoked.
    run.answer(Some("200"), &change(2, &["fed"]));
    assert_eq!(run.status(1, FED_KEY), 401);
}

#[test]
fn stale_keys_are_unavailable() {
    let mut run = Run::new(json!({"keys_from": {"cluster": "control", "token": "t", "max_stale_seconds": 60}}));
    run.load();
    run.tick_after(1, 60);
    assert_eq!(run.status(1, FED_KEY), 200);
    run.tick_after(1, 1);
    assert_eq!(run.status(1, FED_KEY), 503);
    assert_eq!(run.status(1, "static-key-0123456789"), 200);
    run.tick_after(1, 5);
    run.answer(Some("200"), &change(1, &[]));
    assert_eq!(run.status(1, FED_KEY), 200);
}

#[test]
fn without_memory_for_a_change_no_key_of_the_feed_is_in_force() {
    let mut run = Run::new(json!({}));
    run.load();
    run.host.0.memory.set(0);
    run.answer(Some("200"), &change(2, &["fed"]));
    assert_eq!((run.failures("memory"), run.status(1, FED_KEY)), (1, 503));
    run.host.0.memory.set(usize::MAX);
    run.tick_after(1, 1);
    assert_eq!(run.last_poll()["after"], Value::Null);
}

#[test]
fn the_token_comes_from_the_environment() {
    for (value, accepted) in [
        (Some("token-of-the-environment"), true),
        (Some("token-with-a-line-break\n"), true),
        (Some("two words"), false),
        (Some(""), false),
        (None, false),
    ] {
        let feed = json!({"keys_from": {"cluster": "control", "token_env": "FEED_TOKEN"}});
        let host = Fake::new(&policy(feed).to_string());
        if let Some(value) = value {
            host.0
                .environment
                .borrow_mut()
                .insert("FEED_TOKEN".into(), value.into());
        }
        let mut run = Run {
            vm: Vm::new(host.clone()),
            host,
        };
        assert_eq!(run.configure(1), accepted, "{value:?}");
        let log = run.host.0.log.borrow().join("\n");
        assert_eq!(log.contains("keys_from.token_env"), !accepted, "{value:?}: {log}");
        if accepted {
            run.tick_after(1, 0);
            let calls = run.host.0.http_calls.borrow();
            let expected = ("authorization".to_owned(), format!("Bearer {}", value.unwrap().trim()));
            assert!(calls[0].headers.contains(&expected), "{:?}", calls[0].headers);
        }
    }
}

#[test]
fn whatever_call_fails_the_feed_goes_on() {
    for number in 1.. {
        let mut run = Run::new(json!({}));
        run.load();
        let before = run.host.0.calls.get();
        run.host.0.fails.set(before + number);
        run.answer(Some("200"), &change(2, &["fed"]));
        run.tick_after(1, 30);
        run.tick_after(1, 6);
        if run.host.0.failed.borrow().is_none() {
            break;
        }
        let failed = run.host.0.failed.borrow().unwrap();
        // It has been asked again, and the answer brings what was missed.
        let poll = run.polls() - 1;
        run.answer_to(poll, Some("200"), &change(3, &["fed"]));
        assert_eq!(run.status(1, FED_KEY), 401, "{failed}, call {number}");
    }
}

#[test]
fn a_clock_that_is_set_back_delays_no_poll() {
    let mut run = Run::new(json!({}));
    run.load();
    run.answer(None, "");
    run.host.0.seconds.set(run.host.0.seconds.get() - 100_000);
    run.tick_after(1, 0);
    run.tick_after(1, 5);
    assert_eq!(run.polls(), 3);
}
