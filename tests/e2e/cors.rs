//! CORS on every response, whoever made it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

/// The names in `Vary`, in lower case. None may come twice.
fn vary(response: &Response) -> BTreeSet<String> {
    let names: Vec<String> = response
        .all("vary")
        .iter()
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "Vary names one header twice: {response:?}");
    set
}

fn cors_headers(response: &Response) -> BTreeSet<String> {
    response
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}

/// `Some((origin, with credentials))`, or no `Access-Control-*` at all.
fn assert_cors(response: &Response, expected: Option<(&str, bool)>, name: &str) {
    let Some((origin, credentials)) = expected else {
        assert_eq!(cors_headers(response), BTreeSet::new(), "{name}: {response:?}");
        return;
    };
    let got = |name| response.header(name);
    assert_eq!(got("access-control-allow-origin"), Some(origin), "{name}");
    assert_eq!(
        got("access-control-allow-credentials"),
        credentials.then_some("true"),
        "{name}"
    );
    let exposed = "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset";
    assert_eq!(got("access-control-expose-headers"), Some(exposed), "{name}");
    let others = [
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-max-age",
    ];
    assert!(!others.iter().any(|other| got(other).is_some()), "{name}: {response:?}");
}

#[test]
#[rustfmt::skip]
fn by_key_and_origin() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [
        {"id": "sites", "api_key": "sites-key-000000", "allowed_origins": ["https://yourapp.com", "https://*.yourapp.com"]},
        {"id": "cors-only", "api_key": "cors-only-key-00", "allowed_origins": ["https://other.com"], "origin_check": "cors_only"},
        {"id": "star", "api_key": "star-key-0000000", "allowed_origins": ["*", "https://special.com"], "origin_check": "if_present"},
        {"id": "star-null", "api_key": "star-null-key-00", "allowed_origins": ["*", "null"]},
        {"id": "open", "api_key": "key-without-a-list"},
        {"id": "far", "api_key": "key-of-far-away-", "allowed_origins": ["https://yourapp.com"], "allowed_ips": ["10.0.0.0/8"]},
        {"id": "off", "api_key": "key-switched-off", "allowed_origins": ["https://off.com"], "enabled": false},
    ]});
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).start();
    let sent = |key: &str, origin: &str| Request::get("/").bearer(key).header("Origin", origin);
    let cases: [(&str, Request, u16, Option<(&str, bool)>); 17] = [
        ("exact", sent("sites-key-000000", "https://yourapp.com"), 200, Some(("https://yourapp.com", true))),
        ("subdomain", sent("sites-key-000000", "https://a.yourapp.com"), 200, Some(("https://a.yourapp.com", true))),
        ("unmatched", sent("sites-key-000000", "https://evil.com"), 403, None),
        ("another key's origin", sent("sites-key-000000", "https://other.com"), 403, None),
        ("no origin", Request::get("/").bearer("sites-key-000000"), 403, None),
        ("plain CORS, matched", sent("cors-only-key-00", "https://other.com"), 200, Some(("https://other.com", true))),
        ("plain CORS, unmatched: served, and withheld by the browser", sent("cors-only-key-00", "https://evil.com"), 200, None),
        ("only * matches", sent("star-key-0000000", "https://anything.com"), 200, Some(("*", false))),
        ("the more specific match wins", sent("star-key-0000000", "https://special.com"), 200, Some(("https://special.com", true))),
        ("null has no credentials", sent("star-null-key-00", "null"), 200, Some(("null", false))),
        ("* and no origin", Request::get("/").bearer("star-key-0000000"), 200, None),
        ("a key with no list", sent("key-without-a-list", "https://yourapp.com"), 200, None),
        ("address denied, origin allowed: the page can read why", sent("key-of-far-away-", "https://yourapp.com"), 403, Some(("https://yourapp.com", true))),
        ("address denied, origin too", sent("key-of-far-away-", "https://evil.com"), 403, None),
        ("disabled key: its own list", sent("key-switched-off", "https://off.com"), 401, Some(("https://off.com", true))),
        ("unknown key: the union", sent("key-of-nobody-00", "https://other.com"), 401, Some(("https://other.com", true))),
        ("no key: the union", Request::get("/").header("Origin", "https://a.yourapp.com"), 401, Some(("https://a.yourapp.com", true))),
    ];
    for version in Version::BOTH {
        for (name, request, status, expected) in &cases {
            let response = gateway.send_over(version, "main", request);
            assert_eq!(response.status, *status, "{name}: {response:?}");
            assert_cors(&response, *expected, name);
            assert!(vary(&response).contains("origin"), "{name}: {response:?}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn on_responses_of_every_maker() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [{
        "id": "sites", "api_key": "sites-key-000000", "allowed_origins": ["https://yourapp.com"], "origin_check": "cors_only",
    }]});
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).start();
    let own = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Origin", "https://evil.com"),
        ("access-control-allow-credentials", "true"),
        ("Access-Control-Allow-Methods", "TRACE"),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Expose-Headers", "X-Internal"),
        ("Access-Control-Max-Age", "1"),
        ("Access-Control-Allow-Private-Network", "true"),
    ];
    upstream.answer("/own-cors", &own);
    let differs = BTreeSet::from(["origin", "authorization"].map(str::to_owned));
    for (path, status) in [("/", 200), ("/own-cors", 200), ("/redirect", 301), ("/direct", 200), ("/dead", 503)] {
        for version in Version::BOTH {
            let request = Request::get(path).bearer("sites-key-000000");
            let allowed = gateway.send_over(version, "main", &request.clone().header("Origin", "https://yourapp.com"));
            assert_eq!(allowed.status, status, "{path}");
            assert_cors(&allowed, Some(("https://yourapp.com", true)), path);
            assert_eq!(vary(&allowed), differs, "{path}");
            for request in [request.clone().header("Origin", "https://evil.com"), request] {
                let other = gateway.send_over(version, "main", &request);
                assert_eq!(other.status, status, "{path}");
                assert_cors(&other, None, path);
                assert_eq!(vary(&other), differs, "{path}");
            }
        }
    }
}

#[test]
#[rustfmt::skip]
fn vary_is_added_to() {
    let upstream = Upstream::start();
    let key = "the-key-000000000";
    let policy = |sources, origins: &[&str]| json!({
        "key_sources": sources,
        "keys": [{"id": "it", "api_key": key, "allowed_origins": origins, "origin_check": "cors_only"}],
    });
    let bearer = json!([{"header": "Authorization", "scheme": "Bearer"}]);
    let header = json!([{"header": "X-API-Key"}, {"header": "Authorization", "scheme": "Bearer"}]);
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("bearer", &policy(bearer.clone(), &["https://yourapp.com"])))
        .listener(Listener::new("header", &policy(header, &["https://yourapp.com"])))
        .listener(Listener::new("star", &policy(bearer.clone(), &["*"])))
        .listener(Listener::new("no-list", &policy(bearer, &[])))
        .listener(Listener::new("query", &policy(json!([{"query": "api_key"}]), &["*"])))
        .start();
    let cases: [(&str, &str, &[(&str, &str)], &[&str]); 15] = [
        ("none before", "bearer", &[], &["origin", "authorization"]),
        ("another before", "bearer", &[("Vary", "Accept-Encoding")], &["accept-encoding", "origin", "authorization"]),
        ("two lines before", "bearer", &[("Vary", "Accept"), ("vary", "Accept-Encoding")], &["accept", "accept-encoding", "origin", "authorization"]),
        ("it is there", "bearer", &[("Vary", "Origin")], &["origin", "authorization"]),
        ("it is there in lower case", "bearer", &[("Vary", "accept, origin")], &["accept", "origin", "authorization"]),
        ("it is there on the second line", "bearer", &[("Vary", "accept"), ("Vary", "ORIGIN")], &["accept", "origin", "authorization"]),
        ("a name that contains it", "bearer", &[("Vary", "X-Origin")], &["x-origin", "origin", "authorization"]),
        ("everything", "bearer", &[("Vary", "*")], &["*"]),
        ("a key header that is there, Authorization", "bearer", &[("Vary", "AUTHORIZATION")], &["origin", "authorization"]),
        ("a key header", "header", &[], &["origin", "x-api-key", "authorization"]),
        ("a key header that is there", "header", &[("Vary", "x-api-key, Accept")], &["x-api-key", "accept", "origin", "authorization"]),
        ("only a star", "star", &[], &["authorization"]),
        ("only a star, and the upstream's", "star", &[("Vary", "Accept")], &["accept", "authorization"]),
        ("no list", "no-list", &[("Vary", "Accept")], &["accept", "authorization"]),
        ("a key in the query and a star", "query", &[("Vary", "Accept")], &["accept"]),
    ];
    for version in Version::BOTH {
        for (name, listener, headers, expected) in cases {
            upstream.answer("/", headers);
            let request = match listener {
                "query" => Request::get(format!("/?api_key={key}")),
                _ => Request::get("/").bearer(key),
            };
            let response = gateway.send_over(version, listener, &request);
            assert_eq!(response.status, 200, "{name}");
            let expected = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(vary(&response), expected, "{name}");
        }
    }
}

/// A cache that a request without `Origin` filled, as of an `<img>`, serves pages as well.
#[test]
#[rustfmt::skip]
fn a_star_alone_is_on_every_response() {
    let upstream = Upstream::start();
    let star = json!({"id": "star", "api_key": "star-key-0000000", "allowed_origins": ["*"], "origin_check": "cors_only"});
    let far = json!({"id": "far", "api_key": "key-of-far-away-", "allowed_origins": ["*"], "allowed_ips": ["10.0.0.0/8"]});
    let site = json!({"id": "site", "api_key": "site-key-0000000", "allowed_origins": ["https://yourapp.com", "*"], "origin_check": "cors_only"});
    let open = json!({"id": "open", "api_key": "key-without-a-list"});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("star", &json!({"keys": [star, far, open]})))
        .listener(Listener::new("mixed", &json!({"keys": [star, site]})))
        .listener(Listener::new("report", &json!({"keys": [star], "enforcement": "report"})))
        .start();
    upstream.answer("/own-cors", &[("Access-Control-Allow-Origin", "https://evil.com"), ("Access-Control-Allow-Credentials", "true")]);
    let origins = [None, Some("https://anything.com"), Some("null"), Some("a, b")];
    let keyed = |path: &str, key: &str| Request::get(path).bearer(key);
    // The listener, the request without its origin, the status, and whether every answer has the star.
    let cases = [
        ("star", keyed("/", "star-key-0000000"), 200, true),
        ("star", keyed("/own-cors", "star-key-0000000"), 200, true),
        ("star", keyed("/redirect", "star-key-0000000"), 301, true),
        ("star", keyed("/direct", "star-key-0000000"), 200, true),
        ("star", keyed("/dead", "star-key-0000000"), 503, true),
        ("star", keyed("/", "key-of-far-away-"), 403, true),
        ("star", keyed("/", "key-of-nobody-00"), 401, true),
        ("star", Request::get("/"), 401, true),
        ("star", keyed("/", "key-without-a-list"), 200, false),
        ("mixed", keyed("/", "star-key-0000000"), 200, true),
    ];
    for version in Version::BOTH {
        for (listener, request, status, is_star) in &cases {
            for origin in origins {
                let request = origin.map_or(request.clone(), |origin| request.clone().header("Origin", origin));
                let response = gateway.send_over(version, listener, &request);
                let name = format!("{listener}: {request:?}");
                assert_eq!(response.status, *status, "{name}: {response:?}");
                assert_cors(&response, is_star.then_some(("*", false)), &name);
                assert_eq!(vary(&response).contains("origin"), *listener == "mixed", "{name}: {response:?}");
            }
        }
        for request in [keyed("/", "site-key-0000000"), keyed("/", "key-of-nobody-00")] {
            assert_cors(&gateway.send_over(version, "mixed", &request), None, "a list with another origin");
        }
        let refused = gateway.send_over(version, "star", &Request::preflight("/", "a, b", "GET", ""));
        assert_eq!(refused.status, 403);
        assert_cors(&refused, None, "a refused preflight");
        let reported = gateway.send_over(version, "report", &keyed("/own-cors", "star-key-0000000"));
        assert_eq!(reported.header("access-control-allow-origin"), Some("https://evil.com"));
        assert_eq!(reported.header("access-control-expose-headers"), None);
    }
}

/// What browsers, WebViews and programs send that is not `https://host`, on requests and on preflights.
#[test]
#[rustfmt::skip]
fn origins_of_previews_and_programs() {
    let upstream = Upstream::start();
    let policy = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [
            {"id": "previews", "api_key": "previews-key-000", "allowed_origins": ["https://app-*-team.example.com", "http://*.localhost:3000"]},
            {"id": "programs", "api_key": "programs-key-000", "allowed_origins": ["capacitor://localhost", "app://.", "file://", "moz-extension://*"]},
            {"id": "star", "api_key": "star-key-0000000", "allowed_origins": ["*"]},
        ],
    });
    let gateway = Gateway::in_front_of(&upstream).listener(Listener::new("main", &policy)).start();
    let (previews, programs, star) = ("previews-key-000", "programs-key-000", "star-key-0000000");
    let cases: [(&str, &[u8], Option<&str>); 38] = [
        (previews, b"https://app-git-main-team.example.com", Some("https://app-git-main-team.example.com")),
        (previews, b"https://app-7f3_2-team.example.com", Some("https://app-7f3_2-team.example.com")),
        (previews, b"https://app--team.example.com", None),
        (previews, b"https://app-team.example.com", None),
        (previews, b"https://app-a.b-team.example.com", None),
        (previews, b"https://app-a-team.b.example.com", None),
        (previews, b"https://evilapp-a-team.example.com", None),
        (previews, b"https://app-a-team.example.com.evil.com", None),
        (previews, b"https://app-a@-team.example.com", None),
        (previews, b"https://app-%60-team.example.com", None),
        (previews, b"https://app-\xff-team.example.com", None),
        (previews, b"https://app-A-team.example.com", None),
        (previews, b"https://app-a-team.example.com:8443", None),
        (previews, b"https://app-a:1-team.example.com:2", None),
        (previews, b"https://evil.com,https://app-a-team.example.com", None),
        (previews, b"http://shop.localhost:3000", Some("http://shop.localhost:3000")),
        (previews, b"http://localhost:3000", None),
        (previews, b"http://shop.localhost:3001", None),
        (programs, b"capacitor://localhost", Some("capacitor://localhost")),
        (programs, b"capacitor://localhost:80", None),
        (programs, b"app://.", Some("app://.")),
        (programs, b"app://", None),
        (programs, b"file://", Some("file://")),
        (programs, b"file:///", None),
        (programs, b"null", None),
        (programs, b"moz-extension://0d2a3b4c-aaaa-4bbb-8ccc-0123456789ab", Some("moz-extension://0d2a3b4c-aaaa-4bbb-8ccc-0123456789ab")),
        (programs, b"moz-extension://a/b", None),
        (programs, b"moz-extension://a\xff", None),
        (programs, b"chrome-extension://abcdefgh", None),
        (star, b"app://.", Some("*")),
        (star, b"file://", Some("*")),
        (star, b"qrc://", Some("*")),
        (star, b"https://a.example.", Some("*")),
        (star, b"nonsense", Some("*")),
        (star, b"null", Some("*")),
        (star, b"https://\xff.example", None),
        (star, b"a b", None),
        (star, b"a,b", None),
    ];
    for version in Version::BOTH {
        for (key, origin, allowed) in cases {
            let name = format!("{} with {key}, {version:?}", origin.escape_ascii());
            let response = gateway.send_over(version, "main", &Request::get("/").bearer(key).header("Origin", origin));
            assert_eq!(response.status, if allowed.is_some() { 200 } else { 403 }, "{name}: {response:?}");
            // With `*` alone it is on the refusal as well.
            let shown = allowed.or((key == star).then_some("*"));
            assert_cors(&response, shown.map(|origin| (origin, origin != "*")), &name);
            let asks = Request::new("OPTIONS", format!("/?api_key={key}")).header("Origin", origin).header("Access-Control-Request-Method", "PUT");
            let answer = gateway.send_over(version, "main", &asks);
            assert_eq!(answer.status, if allowed.is_some() { 204 } else { 403 }, "preflight from {name}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "preflight from {name}");
            let credentials = allowed.filter(|origin| *origin != "*").map(|_| "true");
            assert_eq!(answer.header("access-control-allow-credentials"), credentials, "preflight from {name}");
        }
    }
}
