//! Security headers: on every response, each once.

use serde_json::{Value, json};

use crate::harness::{Gateway, Listener, Request, Upstream, Version};

const KEY: &str = "the-key-000000000";

const DEFAULT: [(&str, Option<&str>); 6] = [
    (
        "Strict-Transport-Security",
        Some("max-age=31536000; includeSubDomains; preload"),
    ),
    ("X-Content-Type-Options", Some("nosniff")),
    ("X-Frame-Options", Some("DENY")),
    ("X-XSS-Protection", Some("1; mode=block")),
    ("Referrer-Policy", Some("strict-origin-when-cross-origin")),
    ("Content-Security-Policy", Some("default-src 'self'")),
];

fn policy(security_headers: &Value) -> Value {
    json!({
        "keys": [{"id": "it", "api_key": KEY}, {"id": "off", "api_key": "key-switched-off", "enabled": false}],
        "anonymous": {"allowed_ips": ["127.0.0.1"], "allowed_origins": ["https://yourapp.com"], "origin_check": "if_present"},
        "security_headers": security_headers,
    })
}

#[test]
#[rustfmt::skip]
fn on_responses_of_every_maker() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy(&json!({})))).start();
    upstream.answer(
        "/own",
        &[
            ("X-Frame-Options", "SAMEORIGIN"),
            ("x-frame-options", "ALLOWALL"),
            ("Content-Security-Policy", "default-src *"),
            ("Strict-Transport-Security", "max-age=0"),
        ],
    );
    let keyed = |path| Request::get(path).bearer(KEY);
    let cases = [
        ("upstream", keyed("/"), 200),
        ("upstream with its own", keyed("/own"), 200),
        ("redirect", keyed("/redirect"), 301),
        ("direct response", keyed("/direct"), 200),
        ("dead upstream", keyed("/dead"), 503),
        ("preflight", Request::preflight("/", "https://yourapp.com", "GET", ""), 204),
        ("denied preflight", Request::preflight("/", "https://evil.com", "GET", ""), 403),
        ("401", Request::get("/").bearer("key-of-nobody-00"), 401),
        ("401 of a known key", Request::get("/").bearer("key-switched-off"), 401),
        ("403", Request::get("/").from("127.0.0.2"), 403),
        ("HEAD", Request::new("HEAD", "/").bearer(KEY), 200),
    ];
    for version in Version::BOTH {
        for (name, request, status) in &cases {
            let response = gateway.send_over(version, "main", request);
            assert_eq!(response.status, *status, "{name}, {version:?}");
            for (header, value) in DEFAULT {
                assert_eq!(response.header(header), value, "{name}, {version:?}");
            }
        }
    }
}

#[test]
#[rustfmt::skip]
fn as_configured() {
    const OWN_CSP: Option<&str> = Some("default-src *");
    let cases: [(&str, Value, &[(&str, Option<&str>)]); 12] = [
        ("default", json!({"preset": "default"}), &DEFAULT),
        ("owasp", json!({"preset": "owasp"}), &[
            ("Cache-Control", Some("no-store, max-age=0")),
            ("Content-Security-Policy", Some("default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests")),
            ("Cross-Origin-Embedder-Policy", Some("require-corp")),
            ("Cross-Origin-Opener-Policy", Some("same-origin")),
            ("Cross-Origin-Resource-Policy", Some("same-origin")),
            ("Referrer-Policy", Some("no-referrer")),
            ("Strict-Transport-Security", Some("max-age=63072000; includeSubDomains")),
            ("X-Content-Type-Options", Some("nosniff")),
            ("X-DNS-Prefetch-Control", Some("off")),
            ("X-Frame-Options", Some("deny")),
            ("X-Permitted-Cross-Domain-Policies", Some("none")),
            ("Clear-Site-Data", None),
            ("X-XSS-Protection", Some("upstream")),
        ]),
        ("api", json!({"preset": "api"}), &[
            ("Cache-Control", Some("no-store")),
            ("Content-Security-Policy", Some("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")),
            ("Strict-Transport-Security", Some("max-age=31536000; includeSubDomains; preload")),
            ("X-Content-Type-Options", Some("nosniff")),
            ("X-Frame-Options", Some("DENY")),
            ("Referrer-Policy", Some("no-referrer")),
            ("Cross-Origin-Resource-Policy", Some("cross-origin")),
            ("X-XSS-Protection", Some("0")),
        ]),
        ("none", json!({"preset": "none"}), &[
            ("Content-Security-Policy", OWN_CSP),
            ("X-XSS-Protection", Some("upstream")),
            ("Strict-Transport-Security", None),
            ("X-Content-Type-Options", None),
            ("X-Frame-Options", None),
            ("Referrer-Policy", None),
            ("X-Powered-By", Some("php")),
        ]),
        ("none but one", json!({"preset": "none", "set": {"Referrer-Policy": "no-referrer"}}), &[
            ("Referrer-Policy", Some("no-referrer")),
            ("Content-Security-Policy", OWN_CSP),
            ("X-Content-Type-Options", None),
        ]),
        ("another value", json!({"set": {"referrer-policy": "no-referrer"}}), &[
            ("Referrer-Policy", Some("no-referrer")),
            ("X-Frame-Options", Some("DENY")),
        ]),
        ("one taken away, the upstream's stays", json!({"set": {"Content-Security-Policy": null, "X-Frame-Options": null}}), &[
            ("Content-Security-Policy", OWN_CSP),
            ("X-Frame-Options", None),
            ("X-Content-Type-Options", Some("nosniff")),
        ]),
        ("if absent, and it is there", json!({"set": {"Content-Security-Policy": {"value": "default-src 'none'", "mode": "if_absent"}}}), &[
            ("Content-Security-Policy", OWN_CSP),
        ]),
        ("if absent, and it is not", json!({"set": {"X-Custom": {"value": "1", "mode": "if_absent"}}}), &[
            ("X-Custom", Some("1")),
        ]),
        ("overwrite by name", json!({"set": {"Content-Security-Policy": {"value": "default-src 'none'", "mode": "overwrite"}}}), &[
            ("Content-Security-Policy", Some("default-src 'none'")),
        ]),
        ("CSP from directives", json!({"content_security_policy": {"default-src": ["'self'"], "script-src": ["'self'", "https://cdn.justkalm.com"]}}), &[
            ("Content-Security-Policy", Some("default-src 'self'; script-src 'self' https://cdn.justkalm.com")),
            ("X-Frame-Options", Some("DENY")),
        ]),
        ("removal", json!({"remove": ["X-Powered-By", "x-internal"]}), &[
            ("X-Powered-By", None),
            ("X-Internal", None),
            ("X-Kept", Some("yes")),
        ]),
    ];
    let upstream = Upstream::start();
    upstream.answer("/own", &[
        ("Content-Security-Policy", "default-src *"),
        ("X-XSS-Protection", "upstream"),
        ("X-Powered-By", "php"),
        ("X-Internal", "a"),
        ("X-Internal", "b"),
        ("X-Kept", "yes"),
    ]);
    let gateway = cases
        .iter()
        .fold(Gateway::in_front_of(&upstream), |gateway, (name, headers, _)| gateway.listener(Listener::new(name, &policy(headers))))
        .start();
    for (name, _, expected) in cases {
        let response = gateway.send(name, &Request::get("/own").bearer(KEY));
        assert_eq!(response.status, 200, "{name}");
        for (header, value) in expected {
            assert_eq!(response.header(header), *value, "{name}: {header}");
        }
    }
    let owasp = gateway.send("owasp", &Request::get("/").bearer(KEY));
    let permissions = owasp.header("Permissions-Policy").unwrap();
    assert!(permissions.contains("camera=()") && permissions.contains("sync-xhr=(self)"), "{permissions}");
}
