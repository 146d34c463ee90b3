//! Policies that Envoy starts with, and those that it refuses to start with.

use std::fs;

use serde_json::{Value, json};

use crate::harness::gateway::repository;
use crate::harness::{Gateway, Listener, Request, Upstream};

/// The log of an Envoy that was started with this policy, and had to refuse it.
fn refusal(listener: Listener) -> String {
    let upstream = Upstream::start();
    match Gateway::in_front_of(&upstream).listener(listener).try_start() {
        Ok(_) => panic!("Envoy started with a wrong policy"),
        Err(log) => log,
    }
}

fn with_key(more: Value) -> Value {
    let mut key = json!({"id": "one", "api_key": "key-number-one-00"});
    key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"keys": [key]})
}

#[test]
#[rustfmt::skip]
fn a_wrong_policy_is_refused_with_place_value_and_help() {
    // Policy, then what one line of the log says.
    let cases: [(&str, Value, &[&str]); 11] = [
        ("unknown field", with_key(json!({"allowed_origin": ["https://yourapp.com"]})), &["keys[0].allowed_origin", "allowed_origins"]),
        ("wrong type", with_key(json!({"enabled": "yes"})), &["keys[0].enabled"]),
        ("a placeholder for a key", json!({"keys": [{"id": "one", "api_key": "Bearer ${KEYFENCE_BACKEND_API_KEY}"}]}), &["keys[0].api_key", "placeholder", "fill it in"]),
        ("missing id", json!({"keys": [{"api_key": "key-number-one-00"}]}), &["keys[0]", "id is missing"]),
        ("trailing slash", with_key(json!({"allowed_origins": ["https://a.com", "https://yourapp.com/"]})), &["keys[0].allowed_origins[1]", "\"https://yourapp.com/\"", "https://yourapp.com"]),
        ("no scheme", with_key(json!({"allowed_origins": ["yourapp.com"]})), &["keys[0].allowed_origins[0]", "\"yourapp.com\"", "https://yourapp.com"]),
        ("host bits", with_key(json!({"allowed_ips": ["10.0.0.5/8"]})), &["keys[0].allowed_ips[0]", "\"10.0.0.5/8\"", "10.0.0.0/8"]),
        ("secret key with origins", with_key(json!({"kind": "secret", "allowed_origins": ["https://yourapp.com"]})), &["keys[0]", "secret"]),
        ("max age", json!({"cors": {"max_age": 86401}}), &["cors.max_age", "86401", "86400"]),
        ("CSP keyword without quotes", json!({"security_headers": {"content_security_policy": {"default-src": ["self"]}}}), &["security_headers.content_security_policy", "self", "'self'"]),
        ("a line break in a value", json!({"security_headers": {"set": {"X-A": "b\r\nc: d"}}}), &["security_headers.set", "X-A"]),
    ];
    for (name, policy, expected) in cases {
        for listener in [Listener::new("string", &policy), Listener::new("struct", &policy).struct_form()] {
            let log = refusal(listener);
            let found = log.lines().any(|line| expected.iter().all(|part| line.contains(part)));
            assert!(found, "{name}: no line with {expected:?} in\n{log}");
        }
    }
}

#[test]
fn text_that_is_no_json_is_refused_with_its_line() {
    let log = refusal(Listener::with_text(
        "main",
        "{\n  \"keys\": [\n    {\"id\": \"one\",}\n  ]\n}",
    ));
    assert!(log.lines().any(|line| line.contains("line 3")), "{log}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let log = refusal(Listener::new(
        "main",
        &json!({
            "keys": [
                {"id": "one", "api_key": "key-number-one-00", "allowed_origins": ["https://a.com:443", "https://A.com"]},
                {"id": "one", "api_key": "key-number-two-00", "allowed_ips": ["::ffff:10.0.0.1"]},
                {"id": "three", "api_key": "key-number-one-00", "colour": "red"},
            ],
            "client_ip": "header",
            "cors": {"allow_methods": ["CONNECT"], "allow_headers": ["*"]},
        }),
    ));
    for place in [
        "keys[0].allowed_origins[0]",
        "keys[0].allowed_origins[1]",
        "keys[1].id",
        "keys[1].allowed_ips[0]",
        "keys[2].api_key",
        "keys[2].colour",
        "client_ip",
        "cors.allow_methods[0]",
        "cors.allow_headers[0]",
    ] {
        assert!(log.contains(place), "{place} is missing in\n{log}");
    }
    // Not even here is a key shown.
    assert!(!log.contains("key-number-"), "{log}");
}

#[test]
fn an_update_with_a_wrong_policy_leaves_the_old_one_in_force() {
    let upstream = Upstream::start();
    let one = with_key(json!({}));
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &one).updatable())
        .start();
    let with_one = Request::get("/").bearer("key-number-one-00");
    let with_two = Request::get("/").bearer("key-number-two-00");
    assert_eq!(gateway.send("main", &with_one).status, 200);
    gateway.update("main", &with_key(json!({"allowed_origins": ["https://yourapp.com/"]})));
    gateway.wait_for("the complaint", |gateway| {
        gateway.log().contains("keys[0].allowed_origins[0]")
    });
    assert_eq!(gateway.send("main", &with_one).status, 200);
    gateway.update(
        "main",
        &json!({"keys": [{"id": "two", "api_key": "key-number-two-00"}]}),
    );
    gateway.wait_for("the new policy", |gateway| {
        gateway.send("main", &with_two).status == 200
    });
    assert_eq!(gateway.send("main", &with_one).code(), "invalid_api_key");
}

#[test]
fn the_sample_policy_loads() {
    let text = fs::read_to_string(repository().join("envoy/policy.json")).unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::with_text("string", &text))
        .listener(Listener::with_text("struct", &text).struct_form())
        .listener(Listener::with_text("marked", &format!("\u{FEFF}{text}")))
        .start();
    for listener in ["string", "struct", "marked"] {
        assert_eq!(gateway.send(listener, &Request::get("/")).code(), "missing_api_key");
    }
}

/// A block of the README that is fenced as `json` is a policy.
#[test]
fn the_policies_in_the_readme_load() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap_or_default();
    let policies = readme
        .split("\n```json\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap());
    let upstream = Upstream::start();
    let mut gateway = Gateway::in_front_of(&upstream).listener(Listener::new("empty", &json!({})));
    for (number, policy) in policies.enumerate() {
        gateway = gateway.listener(Listener::with_text(&number.to_string(), policy));
    }
    drop(gateway.start());
}
