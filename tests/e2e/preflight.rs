//! Preflights are answered by the filter, whole and without a key.

use std::collections::BTreeMap;

use serde_json::json;

use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

/// All headers but those that Envoy writes itself.
pub fn headers_of_the_filter(response: &Response) -> BTreeMap<String, &str> {
    let own = [
        "date",
        "server",
        "x-envoy-upstream-service-time",
        "content-length",
        "connection",
    ];
    response
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| !own.contains(&name.as_str()))
        .map(|name| {
            let value = response.header(&name).unwrap();
            (name, value)
        })
        .collect()
}

#[test]
fn the_documented_exchange_holds_to_the_letter() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [{
        "id": "frontend",
        "api_key": "ak_live_xxx",
        "allowed_origins": ["https://yourapp.com", "https://*.yourapp.com", "http://localhost:3000"],
    }]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .start();
    let preflight = Request::preflight("/", "https://yourapp.com", "POST", "Authorization, Content-Type");
    for version in Version::BOTH {
        let response = gateway.send_over(version, "main", &preflight);
        assert_eq!(response.status, 204);
        assert_eq!(response.body, b"");
        let expected = [
            ("access-control-allow-origin", "https://yourapp.com"),
            ("access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"),
            (
                "access-control-allow-headers",
                "Authorization, Content-Type, X-Request-Id, X-Idempotency-Key",
            ),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "86400"),
            (
                "access-control-expose-headers",
                "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset",
            ),
            (
                "vary",
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
            (
                "strict-transport-security",
                "max-age=31536000; includeSubDomains; preload",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("content-security-policy", "default-src 'self'"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(
            headers_of_the_filter(&response),
            BTreeMap::from(expected),
            "{version:?}"
        );
    }
    assert_eq!(upstream.take().len(), 0);
}

struct Case {
    name: &'static str,
    request: Request,
    /// The `Access-Control-Allow-Origin`; none is a 403.
    allowed: Option<&'static str>,
}

#[test]
#[rustfmt::skip]
fn which_preflights_are_allowed() {
    let upstream = Upstream::start();
    let policy = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [
            {"id": "one", "api_key": "key-of-site-one-", "allowed_origins": ["https://one.com", "https://*.one.com"]},
            {"id": "two", "api_key": "key-of-site-two-", "allowed_origins": ["https://two.com", "null"]},
            {"id": "three", "api_key": "key-of-three-000", "allowed_origins": ["https://three.com"], "origin_check": "cors_only"},
            {"id": "off", "api_key": "key-switched-off", "allowed_origins": ["https://off.com"], "enabled": false},
            {"id": "office", "api_key": "key-of-an-office", "allowed_origins": ["https://office.com"], "allowed_ips": ["10.0.0.0/8"]},
        ],
        "anonymous": {"allowed_origins": ["https://anonymous.com"]},
    });
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).start();
    let ask = |path: &str, origin: &str| Request::preflight(path, origin, "PUT", "");
    let cases = [
        Case { name: "a key's origin", request: ask("/", "https://one.com"), allowed: Some("https://one.com") },
        Case { name: "a subdomain", request: ask("/", "https://a.b.one.com"), allowed: Some("https://a.b.one.com") },
        Case { name: "another key's origin", request: ask("/", "https://two.com"), allowed: Some("https://two.com") },
        Case { name: "plain CORS", request: ask("/", "https://three.com"), allowed: Some("https://three.com") },
        Case { name: "the anonymous list", request: ask("/", "https://anonymous.com"), allowed: Some("https://anonymous.com") },
        Case { name: "null", request: ask("/", "null"), allowed: Some("null") },
        Case { name: "whatever the address", request: ask("/", "https://office.com"), allowed: Some("https://office.com") },
        Case { name: "whatever the path", request: ask("/redirect", "https://one.com"), allowed: Some("https://one.com") },
        Case { name: "a path that Envoy answers", request: ask("/direct", "https://one.com"), allowed: Some("https://one.com") },
        Case { name: "the key in the query", request: ask("/?api_key=key-of-site-one-", "https://one.com"), allowed: Some("https://one.com") },
        Case { name: "the key in the query, another key's origin", request: ask("/?api_key=key-of-site-one-", "https://two.com"), allowed: None },
        Case { name: "an unknown key in the query", request: ask("/?api_key=key-of-nobody-00", "https://two.com"), allowed: Some("https://two.com") },
        Case { name: "a disabled key's origin", request: ask("/", "https://off.com"), allowed: None },
        Case { name: "nobody's origin", request: ask("/", "https://evil.com"), allowed: None },
        Case { name: "a list of origins", request: ask("/", "https://one.com,https://two.com"), allowed: None },
        Case { name: "two origins", request: ask("/", "https://one.com").header("Origin", "https://two.com"), allowed: None },
        Case { name: "not ASCII", request: Request::new("OPTIONS", "/").header("Origin", b"https://\xff.one.com").header("Access-Control-Request-Method", "GET"), allowed: None },
        Case { name: "an empty origin", request: ask("/", ""), allowed: None },
        Case { name: "what it asks for is not parsed", request: Request::preflight("/", "https://one.com", "b\"o/g;us", &"x,".repeat(10_000)), allowed: Some("https://one.com") },
        Case { name: "a method of no ASCII", request: Request::new("OPTIONS", "/").header("Origin", "https://one.com").header("Access-Control-Request-Method", b"\xff"), allowed: Some("https://one.com") },
    ];
    for version in Version::BOTH {
        for Case { name, request, allowed } in &cases {
            let response = gateway.send_over(version, "main", request);
            let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
            assert_eq!(response.header("vary"), Some(vary), "{name}, {version:?}");
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{name}, {version:?}");
            assert_eq!(response.header("access-control-allow-origin"), *allowed, "{name}, {version:?}");
            let of_cors = response.headers.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-")).count();
            match *allowed {
                None => {
                    assert_eq!((response.status, response.code().as_str()), (403, "origin_not_allowed"), "{name}, {version:?}");
                    assert_eq!(of_cors, 0, "{name}, {version:?}: {response:?}");
                }
                Some(origin) => {
                    assert_eq!((response.status, response.body.len()), (204, 0), "{name}, {version:?}");
                    let credentials = response.header("access-control-allow-credentials");
                    assert_eq!(credentials, (origin != "null").then_some("true"), "{name}, {version:?}");
                }
            }
            assert_eq!(upstream.take().len(), 0, "{name}, {version:?} at the upstream");
        }
    }
}

#[test]
fn the_configured_lists_stand_whole_and_in_order() {
    let upstream = Upstream::start();
    let policy = json!({
        "key_sources": [{"header": "X-Second-Key"}, {"header": "X-API-Key"}, {"header": "authorization", "scheme": "Bearer"}],
        "keys": [{"id": "one", "api_key": "key-of-site-one-", "allowed_origins": ["https://one.com"]}],
        "cors": {
            "allow_methods": ["PATCH", "GET"],
            "allow_headers": ["X-B", "x-api-key", "X-A"],
            "expose_headers": ["X-Z", "X-Y"],
            "allow_credentials": false,
            "max_age": 0,
        },
    });
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("string", &policy))
        .listener(Listener::new("struct", &policy).struct_form())
        .start();
    for listener in ["string", "struct"] {
        let response = gateway.send(listener, &Request::preflight("/", "https://one.com", "GET", ""));
        let got = |name| response.header(name);
        assert_eq!(got("access-control-allow-methods"), Some("PATCH, GET"));
        assert_eq!(
            got("access-control-allow-headers").map(str::to_lowercase),
            Some("x-b, x-api-key, x-a, x-second-key, authorization".to_owned()),
        );
        assert_eq!(got("access-control-expose-headers"), Some("X-Z, X-Y"));
        assert_eq!(got("access-control-allow-credentials"), None);
        assert_eq!(got("access-control-max-age"), Some("0"));
    }
}
