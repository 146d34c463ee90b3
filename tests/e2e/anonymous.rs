//! An API without keys: the filter as CORS, address lists, scopes and a limit for everybody.

use serde_json::{Value, json};

use super::decision::{Case, allowed, denied, run_with};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

const SITE: &str = "https://yourapp.com";
const EVIL: &str = "https://evil.com";

/// An API without keys may well have an `Authorization` of its own: a header that nobody sends is the source of keys.
fn policy(anonymous: Value) -> Value {
    json!({"key_sources": [{"header": "X-API-Key"}], "anonymous": anonymous})
}

fn run(policy: &Value, cases: &[Case]) {
    for workers in [1, 2] {
        run_with(workers, policy, cases);
    }
}

#[test]
#[rustfmt::skip]
fn lists_for_everybody() {
    let policy = {
        let mut policy = policy(json!({
            "allowed_origins": [SITE, "https://*.yourapp.com"],
            "origin_check": "if_present",
            "allowed_ips": ["127.0.0.1", "127.0.1.0/24"],
            "scopes": ["read"],
            "indexes": ["public-*"],
        }));
        policy["scopes"] = json!({"read": [{"methods": ["GET"], "path": "/v1/{index}/**"}]});
        policy
    };
    let get = || Request::get("/v1/public-a/b");
    run(
        &policy,
        &[
            allowed("from a site", get().header("Origin", SITE)),
            allowed("from a server", get().from("127.0.1.9")),
            allowed("with an Authorization of the API's own", get().bearer("some.json.webtoken")),
            denied("another site", 403, "origin_not_allowed", get().header("Origin", EVIL)),
            denied("another address", 403, "ip_not_allowed", get().from("127.0.0.2")),
            denied("another method", 401, "missing_api_key", Request::new("PUT", "/v1/public-a/b")),
            denied("another path", 401, "missing_api_key", Request::get("/v2/public-a")),
            allowed("HEAD where GET may", Request::new("HEAD", "/v1/public-a/b")),
            denied("another index", 403, "index_not_allowed", Request::get("/v1/private/b")),
            denied("an ambiguous path", 401, "missing_api_key", Request::get("/v1/public-a//b")),
            denied("a key all the same", 401, "invalid_api_key", get().header("X-API-Key", "key-of-nobody-00")),
            denied("two keys", 401, "ambiguous_api_key", get().header("X-API-Key", "a").header("X-API-Key", "b")),
            denied("a preflight from another site", 403, "origin_not_allowed", Request::preflight("/v1/public-a/b", EVIL, "GET", "")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn plain_cors() {
    let upstream = Upstream::start();
    upstream.answer("/v1", &[("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")]);
    let listed = json!({"allowed_origins": [SITE], "origin_check": "cors_only"});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("listed", &policy(listed)))
        .listener(Listener::new("any", &policy(json!({"allowed_origins": ["*"], "origin_check": "cors_only"}))))
        .listener(Listener::new("off", &policy(json!({"allowed_origins": [SITE], "enabled": false}))))
        .start();
    let get = || Request::get("/v1");
    let preflight = |origin| Request::preflight("/v1", origin, "PUT", "content-type");
    // Listener and request, then status, Access-Control-Allow-Origin, -Credentials, and whether it reaches the upstream.
    let cases = [
        ("listed", get().header("Origin", SITE), 200, Some(SITE), Some("true"), true),
        ("listed", get().header("Origin", EVIL), 200, None, None, true),
        ("listed", get(), 200, None, None, true),
        ("listed", preflight(SITE), 204, Some(SITE), Some("true"), false),
        ("listed", preflight(EVIL), 403, None, None, false),
        ("any", get().header("Origin", EVIL), 200, Some("*"), None, true),
        ("any", get(), 200, Some("*"), None, true),
        ("any", preflight(EVIL), 204, Some("*"), None, false),
        ("off", get().header("Origin", SITE), 401, None, None, false),
        ("off", preflight(SITE), 403, None, None, false),
    ];
    for version in Version::BOTH {
        for (listener, request, status, origin, credentials, reaches) in &cases {
            let response = gateway.send_over(version, listener, request);
            let name = format!("{listener}, {version:?}, {request:?}: {response:?}");
            assert_eq!(response.status, *status, "{name}");
            assert_eq!(response.header("access-control-allow-origin"), *origin, "{name}");
            assert_eq!(response.header("access-control-allow-credentials"), *credentials, "{name}");
            let received = upstream.take();
            assert_eq!(received.len(), usize::from(*reaches), "{name}");
            assert!(received.iter().all(|received| received.all("x-key-id").is_empty()), "{name}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn one_limit_for_everybody() {
    let upstream = Upstream::start();
    let mut policy = policy(json!({"allowed_origins": [SITE], "rate_limit_per_minute": 3}));
    // An id that could be taken for the anonymous slot's name.
    policy["keys"] = json!([{"id": "anonymous", "api_key": "key-of-one-00000", "rate_limit_per_minute": 2}]);
    let get = || Request::get("/v1").header("Origin", SITE);
    let keyed = || Request::get("/v1").header("X-API-Key", "key-of-one-00000");
    // Request, then status, code and what remains.
    let steps = [
        ("the first", get(), (200, ""), Some("2")),
        ("another client", get().from("127.0.0.7"), (200, ""), Some("1")),
        ("denied, so nothing is taken", Request::get("/v1"), (403, "origin_not_allowed"), Some("1")),
        ("a preflight", Request::preflight("/v1", SITE, "GET", ""), (204, ""), None),
        ("a key has a limit of its own", keyed(), (200, ""), Some("1")),
        ("an unknown key has none", get().header("X-API-Key", "key-of-two-00000"), (401, "invalid_api_key"), None),
        ("the last", get(), (200, ""), Some("0")),
        ("one too many", get(), (429, "rate_limit_exceeded"), Some("0")),
        ("from another client too", get().from("127.0.0.8"), (429, "rate_limit_exceeded"), Some("0")),
        ("the key goes on", keyed(), (200, ""), Some("0")),
    ];
    for workers in [1, 2] {
        for version in Version::BOTH {
            let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).workers(workers).start();
            for (name, request, expected, remaining) in &steps {
                let response = gateway.send_over(version, "main", request);
                let name = format!("{name} ({version:?}, {workers} workers): {response:?}");
                assert_eq!((response.status, response.code().as_str()), *expected, "{name}");
                assert_eq!(response.header("x-ratelimit-remaining"), *remaining, "{name}");
            }
        }
    }
}
