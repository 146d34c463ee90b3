//! The example of one limit for a whole fleet: Envoy's rate limit filter behind keyfence, and a stand-in for the service.

use std::collections::BTreeSet;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::rate_limit_example::{configuration, replace, sample_policy, shipped};
use crate::harness::rate_limit_service::{Question, RESET, RateLimitService};
use crate::harness::{Gateway, Request, Response, Upstream, Version};

const SITE: &str = "https://shop.example.com";
const SEARCH: &str = "demo_search_0123456789";
/// A key that keyfence itself limits, to one request a minute.
const LIMITED: &str = "limited_0123456789abcdef";

/// The example with the sample policy, for anonymous requests and one more key as well.
fn gateway(upstream: &Upstream, service: &RateLimitService, rendered: &TempDir) -> Gateway {
    let mut policy = sample_policy();
    policy["anonymous"] = json!({});
    let limited = json!({"id": "limited", "api_key": LIMITED, "allowed_origins": [SITE], "rate_limit_per_minute": 1});
    policy["keys"].as_array_mut().unwrap().push(limited);
    let configuration = configuration(upstream.address(), service.address(), &policy, rendered.path());
    // However busy the machine is.
    Gateway::from_yaml(&replace(&configuration, "timeout: 0.1s", "timeout: 10s"))
}

#[test]
#[rustfmt::skip]
fn the_service_is_asked_by_the_key_that_keyfence_found() {
    let upstream = Upstream::start();
    let service = RateLimitService::start();
    let rendered = TempDir::new().unwrap();
    let gateway = gateway(&upstream, &service, &rendered);
    let search = || Request::get("/v1").bearer(SEARCH).header("Origin", SITE);
    let server = || Request::get("/v1").header("X-API-Key", "demo_server_0123456789");
    // Request, then status, and the key id that the service is asked for.
    let cases = [
        ("a key", search(), 200, Some("demo-search")),
        ("another key", server(), 200, Some("demo-server")),
        ("a key that says it is another", search().header("X-Key-Id", "demo-server"), 200, Some("demo-search")),
        ("with underscores", search().header("X_Key_Id", "demo-server"), 200, Some("demo-search")),
        ("anonymous", Request::get("/v1"), 200, None),
        ("anonymous that says it is a key", Request::get("/v1").header("X-Key-Id", "demo-server"), 200, None),
        ("denied", Request::get("/v1").bearer(SEARCH), 403, None),
        ("unknown", Request::get("/v1").bearer("demo_unknown_0123456789"), 401, None),
        ("a preflight", Request::preflight("/v1", SITE, "GET", "authorization"), 204, None),
    ];
    for version in Version::BOTH {
        for (name, request, status, key_id) in &cases {
            let response = gateway.send_over(version, "gateway", request);
            assert_eq!(response.status, *status, "{name} ({version:?}): {response:?}");
            let question = key_id.map(|id| Question {
                domain: "keyfence".to_owned(),
                descriptors: vec![vec![("key_id".to_owned(), id.to_owned())]],
            });
            assert_eq!(service.take(), Vec::from_iter(question), "{name} ({version:?})");
            assert_eq!(upstream.take().len(), usize::from(*status == 200), "{name} ({version:?})");
        }
    }
}

/// A key that the service refuses and one that keyfence refuses for its own limit: a program reads both in the same way.
#[test]
fn what_the_service_refuses_is_an_error_as_keyfence_has_them() {
    let upstream = Upstream::start();
    let service = RateLimitService::start();
    let rendered = TempDir::new().unwrap();
    let gateway = gateway(&upstream, &service, &rendered);
    let search = Request::get("/v1").bearer(SEARCH).header("Origin", SITE);
    let limited = Request::get("/v1").bearer(LIMITED).header("Origin", SITE);
    service.refuse("demo-search");
    assert_eq!(gateway.send("gateway", &limited).status, 200);
    upstream.take();
    for version in Version::BOTH {
        let response = gateway.send_over(version, "gateway", &search);
        let own = gateway.send_over(version, "gateway", &limited);
        assert_eq!((response.status, own.status), (429, 429), "{response:?}, {own:?}");
        assert_eq!(own.code(), "rate_limit_exceeded");
        let (mut body, mut own_body) = (response.json(), own.json());
        for body in [&mut body, &mut own_body] {
            let id = body.as_object_mut().unwrap().remove("request_id");
            assert_eq!(id.unwrap().as_str().unwrap().len(), 36, "{body}");
        }
        assert_eq!(body, own_body, "{version:?}");
        let names = |response: &Response| {
            let names = response.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
            let differing = |name: &String| name.starts_with("x-ratelimit-") || name.starts_with("ratelimit-");
            let names: BTreeSet<String> = names.filter(|name| !differing(name)).collect();
            names
        };
        let mut expected = names(&own);
        expected.insert("x-envoy-ratelimited".to_owned());
        assert_eq!(names(&response), expected, "{version:?}");
        assert_eq!(response.header("retry-after"), Some(RESET), "{version:?}");
        for (name, value) in [
            ("x-envoy-ratelimited", "true"),
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", SITE),
            ("access-control-allow-credentials", "true"),
            (
                "access-control-expose-headers",
                "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset",
            ),
            ("vary", "Origin, Authorization, X-API-Key"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.header(name), Some(value), "{version:?}: {response:?}");
        }
        assert_eq!(upstream.take().len(), 0, "{version:?}");
        let server = Request::get("/v1").bearer("demo_server_0123456789");
        let passed = gateway.send_over(version, "gateway", &server);
        assert_eq!(passed.status, 200, "another key: {version:?}");
        assert_eq!(passed.header("retry-after"), None, "another key: {version:?}");
        assert_eq!(upstream.take().len(), 1, "{version:?}");
    }
}

/// What Envoy takes for gRPC gets the form of gRPC. Anything else, gRPC-Web without its translator too, gets that of HTTP.
#[test]
#[rustfmt::skip]
fn what_the_service_refuses_clients_of_grpc_can_read() {
    let upstream = Upstream::start();
    let service = RateLimitService::start();
    let rendered = TempDir::new().unwrap();
    let gateway = gateway(&upstream, &service, &rendered);
    service.refuse("demo-search");
    // Content-Type, then whether the answer is gRPC's.
    let cases = [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc; charset=utf-8", false),
        ("application/grpc-web", false),
        ("application/grpc-web-text+proto", false),
        ("application/json", false),
    ];
    for version in Version::BOTH {
        for (content_type, is_grpc) in cases {
            let call = |key| {
                let call = Request::new("POST", "/shop.v1.Search/Find").bearer(key).header("Origin", SITE);
                call.header("Content-Type", content_type).header("TE", "trailers").body([0, 0, 0, 0, 0])
            };
            let name = format!("{content_type}, {version:?}");
            let response = gateway.send_over(version, "gateway", &call(SEARCH));
            assert_eq!(response.header("retry-after"), Some(RESET), "{name}: {response:?}");
            assert_eq!(response.header("cache-control"), Some("no-store"), "{name}: {response:?}");
            assert_eq!(response.header("access-control-allow-origin"), Some(SITE), "{name}: {response:?}");
            if !is_grpc {
                assert_eq!((response.status, response.code().as_str()), (429, "rate_limit_exceeded"), "{name}: {response:?}");
                continue;
            }
            gateway.send_over(version, "gateway", &call(LIMITED));
            let own = gateway.send_over(version, "gateway", &call(LIMITED));
            for header in ["content-type", "grpc-status", "grpc-message", "access-control-expose-headers"] {
                assert_eq!(response.header(header), own.header(header), "{name}: {header}: {response:?}, {own:?}");
            }
            assert_eq!((response.status, response.header("grpc-status")), (200, Some("8")), "{name}: {response:?}");
            assert_eq!(response.body, b"", "{name}");
        }
    }
}

#[test]
fn the_limits_of_the_service_are_for_what_it_is_asked() {
    let limits = shipped("ratelimit/config/limits.yaml");
    assert!(limits.contains("\ndomain: keyfence\n"), "{limits}");
    let policy = sample_policy();
    let ids: Vec<&str> = policy["keys"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|key| key["id"].as_str())
        .collect();
    for line in limits.lines() {
        if let Some(key) = line.strip_prefix("- key: ") {
            assert_eq!(key, "key_id");
        }
        if let Some(value) = line.strip_prefix("  value: ") {
            assert!(ids.contains(&value), "no key {value} in the sample policy");
        }
    }
}
