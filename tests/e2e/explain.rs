//! The same requests through Envoy and through `keyfence explain`: what client and upstream get is the same.

use serde_json::{Value, json};

use crate::harness::command_line::keyfence;
use crate::harness::{Gateway, Listener, Request, Upstream};

/// In place of the key, which `explain` does not show.
const HIDDEN: &str = "(the API key)";

#[rustfmt::skip]
fn policy() -> Value {
    json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
        "keys": [
            {"id": "shop", "api_key": "shop-shop-shop-shop", "allowed_origins": ["https://shop.example.com", "https://*.preview.example.com", "null"]},
            {"id": "limited", "api_key": "limited-limited-limited", "rate_limit_per_minute": 7},
            {"id": "off", "api_key": "off-off-off-off-off-off", "enabled": false},
            {"id": "past", "api_key": "past-past-past-past-past", "expires_at": "2001-01-01T00:00:00Z"},
            {"id": "server", "api_key": "server-server-server", "kind": "secret", "allowed_ips": ["127.0.0.5"]},
            {"id": "cors", "api_key": "cors-cors-cors-cors", "allowed_origins": ["https://cors.example.com", "*"], "origin_check": "cors_only"},
            {"id": "search", "api_key": "search-search-search", "scopes": ["search"], "indexes": ["products"]},
            {"id": "trial", "api_key": "trial-trial-trial-trial", "allowed_origins": ["https://trial.example.com"], "enforcement": "report"},
        ],
        "scopes": {"search": [{"methods": ["GET", "POST"], "path": "/v1/indexes/{index}/search"}]},
        "security_headers": {"preset": "api", "set": {"X-Frame-Options": {"value": "SAMEORIGIN", "mode": "if_absent"}}, "remove": ["X-Powered-By"]},
        "forward_api_key": false,
        "docs_url": "https://docs.example.com/errors",
    })
}

#[rustfmt::skip]
fn requests() -> Vec<(&'static str, Request)> {
    let get = |path: &str| Request::get(path);
    let with = |key: &str| Request::get("/").bearer(key);
    let shop = || with("shop-shop-shop-shop");
    let search = |method: &str, path: &str| Request::new(method, path).bearer("search-search-search");
    vec![
        ("no key", get("/")),
        ("an unknown key", with("unknown")),
        ("two keys", shop().header("X-API-Key", "shop-shop-shop-shop")),
        ("no key, from an origin", get("/").header("Origin", "https://shop.example.com")),
        ("an unknown key, from an origin", with("unknown").header("Origin", "https://a.preview.example.com")),
        ("listed", shop().header("Origin", "https://shop.example.com")),
        ("listed, answered with headers", Request::get("/answer").bearer("shop-shop-shop-shop").header("Origin", "https://shop.example.com")),
        ("a wildcard", shop().header("Origin", "https://a.b.preview.example.com")),
        ("null", shop().header("Origin", "null")),
        ("not listed", shop().header("Origin", "https://evil-shop.example.com")),
        ("a trailing slash", shop().header("Origin", "https://shop.example.com/")),
        ("two origins", shop().header("Origin", "https://shop.example.com").header("Origin", "https://shop.example.com")),
        ("an empty origin", shop().header("Origin", "")),
        ("no origin", shop()),
        ("limited", with("limited-limited-limited")),
        ("off", with("off-off-off-off-off-off")),
        ("expired", with("past-past-past-past-past")),
        ("secret, from its address", with("server-server-server").from("127.0.0.5")),
        ("secret, from another address", with("server-server-server").from("127.0.0.6")),
        ("secret, in a browser", with("server-server-server").from("127.0.0.5").header("Sec-Fetch-Site", "cross-site")),
        ("cors_only, listed", with("cors-cors-cors-cors").header("Origin", "https://cors.example.com")),
        ("cors_only, any", with("cors-cors-cors-cors").header("Origin", "https://else.example.com")),
        ("a scope", search("GET", "/v1/indexes/products/search?q=a%20b")),
        ("another method", search("DELETE", "/v1/indexes/products/search")),
        ("another index", search("POST", "/v1/indexes/users/search")),
        ("an ambiguous path", search("GET", "/v1//indexes/products/search")),
        ("a method override", search("POST", "/v1/indexes/products/search").header("X-HTTP-Method-Override", "DELETE")),
        ("report only", with("trial-trial-trial-trial").header("Origin", "https://else.example.com")),
        ("report only, with a claim", with("trial-trial-trial-trial").header("X-Key-Id", "me")),
        ("claims", shop().header("Origin", "https://shop.example.com").header("x_key_id", "me").header("X-Key-Id", "me")),
        ("in a header", get("/").header("X-API-Key", "cors-cors-cors-cors")),
        ("in the query", get("/a?b=c&api_key=cors-cors-cors-cors&d")),
        ("a preflight", Request::preflight("/", "https://shop.example.com", "PUT", "x-a")),
        ("a preflight from elsewhere", Request::preflight("/", "https://else.example", "PUT", "")),
        ("a preflight with a key", Request::preflight("/?api_key=shop-shop-shop-shop", "https://cors.example.com", "PUT", "")),
        ("no preflight", Request::new("OPTIONS", "/").bearer("shop-shop-shop-shop").header("Origin", "https://shop.example.com")),
    ]
}

const ANSWERED: &[(&str, &str)] = &[
    ("Vary", "Accept, origin"),
    ("Access-Control-Allow-Origin", "*"),
    ("X-Powered-By", "a framework"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "max-age=60"),
];

#[test]
fn explain_and_the_filter_agree() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("policy.json");
    std::fs::write(&file, policy().to_string()).unwrap();
    let upstream = Upstream::start();
    upstream.answer("/answer", ANSWERED);
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy()))
        .start();
    for (name, request) in requests() {
        let explained = explain(file.to_str().unwrap(), &request);
        let response = gateway.send("main", &request);
        let reached = upstream.take();

        let expected_status = explained["response"]["status"].as_u64().unwrap_or(200);
        assert_eq!(u64::from(response.status), expected_status, "{name}: {response:?}");
        assert_eq!(
            significant(response.headers.clone()),
            pairs(&explained["response"]["headers"]),
            "{name}: the response"
        );
        if !explained["response"]["status"].is_null() {
            assert_eq!(
                without_id(&response.text()),
                without_id(explained["response"]["body"].as_str().unwrap()),
                "{name}"
            );
        }

        let upstream_headers = explained["upstream"].as_array().map(|_| pairs(&explained["upstream"]));
        let received: Vec<_> = reached
            .iter()
            .map(|received| {
                let mut headers = vec![(":path".to_owned(), received.path())];
                headers.extend(
                    received
                        .headers()
                        .iter()
                        .map(|(name, value)| (lossy(name), lossy(value))),
                );
                significant(headers)
            })
            .collect();
        assert_eq!(received, Vec::from_iter(upstream_headers), "{name}: the upstream");
    }
}

fn explain(file: &str, request: &Request) -> Value {
    let path = String::from_utf8(request.path.clone()).unwrap();
    let address = request
        .from
        .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
    let mut arguments = vec![
        "explain",
        file,
        "--format",
        "json",
        "--method",
        &request.method,
        "--path",
        &path,
        "--ip",
        &address,
    ];
    let lines: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{}: {}", lossy(name), lossy(value)))
        .collect();
    for line in &lines {
        arguments.extend(["-H", line]);
    }
    let answered: Vec<String> = ANSWERED
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    if path == "/answer" {
        arguments.extend(answered.iter().flat_map(|line| ["--response-header", line]));
    }
    let output = keyfence(&arguments, "");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = headers.as_array().unwrap().iter();
    significant(headers.map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
}

/// What is not Envoy's own, the time's, or another key's spelling; sorted, names in lower case.
fn significant(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    const ENVOYS: [&str; 9] = [
        "host",
        "date",
        "server",
        "content-length",
        "transfer-encoding",
        "x-request-id",
        "x-forwarded-proto",
        "x-forwarded-for",
        "connection",
    ];
    let mut headers: Vec<(String, String)> = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !name.starts_with("x-envoy-") && !ENVOYS.contains(&name.as_str()) && name != ":method")
        .map(|(name, value)| {
            if name == "x-ratelimit-reset" {
                (name, String::new())
            } else {
                (name, shown(&value))
            }
        })
        .collect();
    headers.sort();
    headers
}

/// A value with the keys in it hidden.
fn shown(value: &str) -> String {
    let policy = policy();
    let keys = policy["keys"].as_array().unwrap().iter();
    keys.fold(value.to_owned(), |value, key| {
        value.replace(key["api_key"].as_str().unwrap(), HIDDEN)
    })
}

/// An error's body without the id that Envoy gave the request.
fn without_id(body: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
    }
    body
}
