//! What a denied client reads.

use serde_json::json;

use crate::harness::{Gateway, Listener, Request, Upstream, Version};

#[test]
#[rustfmt::skip]
fn problem_details() {
    let upstream = Upstream::start();
    let key = |id: &str, more: serde_json::Value| {
        let mut key = json!({"id": id, "api_key": format!("key-of-{id}-00000000"), "name": format!("name-of-{id}")});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    };
    let mut policy = json!({"keys": [
        key("off", json!({"enabled": false})),
        key("early", json!({"not_before": "2999-01-01T00:00:00Z"})),
        key("expired", json!({"expires_at": "2001-01-01T00:00:00Z"})),
        key("server", json!({"kind": "secret"})),
        key("far", json!({"allowed_ips": ["10.0.0.0/8"], "allowed_origins": ["https://yourapp.com"]})),
        key("sites", json!({"allowed_origins": ["https://yourapp.com"]})),
    ]});
    let without = Listener::new("without-docs", &policy);
    policy["docs_url"] = json!("https://docs.example.com/errors");
    let gateway = Gateway::in_front_of(&upstream).listener(without).listener(Listener::new("with-docs", &policy)).start();
    let with = |id: &str| Request::get("/").bearer(&format!("key-of-{id}-00000000"));
    let cases = [
        (401, "Unauthorized", "missing_api_key", Request::get("/")),
        (401, "Unauthorized", "ambiguous_api_key", with("off").bearer("x")),
        (401, "Unauthorized", "invalid_api_key", with("nobody")),
        (401, "Unauthorized", "key_disabled", with("off")),
        (401, "Unauthorized", "key_not_yet_valid", with("early")),
        (401, "Unauthorized", "key_expired", with("expired")),
        (403, "Forbidden", "secret_key_in_browser", with("server").header("Sec-Fetch-Site", "same-origin")),
        (403, "Forbidden", "ip_not_allowed", with("far")),
        (403, "Forbidden", "origin_not_allowed", with("sites")),
        (403, "Forbidden", "origin_not_allowed", Request::preflight("/", "https://evil.com", "GET", "")),
    ];
    let mut request_ids = Vec::new();
    for (docs, listener) in [("", "without-docs"), ("https://docs.example.com/errors", "with-docs")] {
        for version in Version::BOTH {
            for (status, title, code, request) in &cases {
                let response = gateway.send_over(version, listener, request);
                let name = format!("{code} ({listener}, {version:?}): {response:?}");
                assert_eq!(response.status, *status, "{name}");
                assert_eq!(response.header("content-type"), Some("application/problem+json"), "{name}");
                assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
                assert_eq!(response.header("www-authenticate").is_some(), *status == 401, "{name}");
                let mut body = response.json();
                let detail = body["detail"].take();
                let id = body["request_id"].take();
                let kind = if docs.is_empty() { "about:blank".to_owned() } else { format!("{docs}#{code}") };
                let rest = json!({"type": kind, "title": title, "status": status, "code": code, "detail": null, "request_id": null});
                assert_eq!(body, rest, "{name}");
                assert!(detail.as_str().unwrap().ends_with('.'), "{name}");
                request_ids.push(id.as_str().unwrap().to_owned());
                // Nothing of the policy, the key or other keys.
                for secret in ["key-of-", "name-of-", "10.0.0.0", "https://yourapp.com"] {
                    assert!(!response.text().contains(secret), "{name}");
                }
            }
        }
    }
    assert_eq!(upstream.take().len(), 0);
    gateway.wait_for("the access log", |gateway| gateway.access_log().len() == request_ids.len());
    let logged: Vec<String> = gateway.access_log().iter().map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(request_ids, logged);
}

/// Envoy's configuration adds to answers of the filter's own what it adds to every response.
#[test]
#[rustfmt::skip]
fn what_envoy_adds_to_an_answer() {
    let upstream = Upstream::start();
    let policy = json!({
        "keys": [{"id": "site", "api_key": "key-of-site-0000", "allowed_origins": ["https://yourapp.com"]}],
        "security_headers": {"remove": ["X-Powered-By"]},
    });
    let added = [
        ("access-control-allow-origin", "*"), ("access-control-allow-methods", "TRACE"), ("access-control-max-age", "1"),
        ("x-frame-options", "SAMEORIGIN"), ("cache-control", "public"), ("vary", "Accept"), ("x-powered-by", "Envoy"), ("x-team", "search"),
    ];
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("added", &policy))
        .listener(Listener::new("overwritten", &policy))
        .amend(move |bootstrap| {
            for (listener, action) in [(0, "APPEND_IF_EXISTS_OR_ADD"), (1, "OVERWRITE_IF_EXISTS_OR_ADD")] {
                let manager = &mut bootstrap["static_resources"]["listeners"][listener]["filter_chains"][0]["filters"][0]["typed_config"];
                let added = added.map(|(name, value)| json!({"header": {"key": name, "value": value}, "append_action": action}));
                manager["route_config"]["virtual_hosts"][0]["response_headers_to_add"] = json!(added);
            }
        })
        .start();
    let with = |key: &str, origin: &str| Request::get("/").bearer(key).header("Origin", origin);
    let preflight = |origin: &str| Request::preflight("/", origin, "GET", "");
    const METHODS: Option<&str> = Some("GET, POST, PUT, DELETE, OPTIONS");
    for (name, request, status, allow_origin, methods) in [
        ("allowed", with("key-of-site-0000", "https://yourapp.com"), 200, Some("https://yourapp.com"), None),
        ("unknown", with("key-of-nobody-00", "https://yourapp.com"), 401, Some("https://yourapp.com"), None),
        ("from elsewhere", with("key-of-site-0000", "https://evil.com"), 403, None, None),
        ("a preflight", preflight("https://yourapp.com"), 204, Some("https://yourapp.com"), METHODS),
        ("a preflight from elsewhere", preflight("https://evil.com"), 403, None, None),
    ] {
        for listener in ["added", "overwritten"] {
            for version in Version::BOTH {
                let response = gateway.send_over(version, listener, &request);
                let place = format!("{name}, {listener}, {version:?}: {response:?}");
                assert_eq!(response.status, status, "{place}");
                assert_eq!(response.header("access-control-allow-origin"), allow_origin, "{place}");
                assert_eq!(response.header("access-control-allow-methods"), methods, "{place}");
                assert_eq!(response.header("access-control-max-age"), methods.map(|_| "86400"), "{place}");
                assert_eq!(response.header("x-frame-options"), Some("DENY"), "{place}");
                assert_eq!(response.header("x-powered-by"), None, "{place}");
                assert_eq!(response.header("x-team"), Some("search"), "{place}");
                if !response.code().is_empty() {
                    assert_eq!(response.header("cache-control"), Some("no-store"), "{place}");
                }
                assert!(response.header("vary").unwrap().contains("Origin"), "{place}");
            }
        }
    }
}
