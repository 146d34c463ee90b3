//! What the upstream learns of the key, and from whom.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::exchange_raw;
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

const KEY: &str = "the-key-000000000";

fn policy(more: Value) -> Value {
    let mut policy = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
        "keys": [{"id": "the.id_1", "api_key": KEY}],
        "anonymous": {},
    });
    policy
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    policy
}

#[test]
#[rustfmt::skip]
fn the_header_is_the_filters_own() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("default", &policy(json!({}))))
        .listener(Listener::new("named", &policy(json!({"identity_header": "X-Consumer-Name"}))))
        .listener(Listener::new("none", &policy(json!({"identity_header": null}))))
        .amend(|bootstrap| {
            let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
        })
        .start();
    let get = || Request::get("/");
    let keyed = || get().bearer(KEY);
    let cases: [(&str, &str, Request, &str, &[&str]); 21] = [
        ("a known key", "default", keyed(), "x-key-id", &["the.id_1"]),
        ("anonymous", "default", get(), "x-key-id", &[]),
        ("a forged one", "default", keyed().header("X-Key-Id", "admin"), "x-key-id", &["the.id_1"]),
        ("two forged ones", "default", keyed().header("x-key-id", "admin").header("X-KEY-ID", "root"), "x-key-id", &["the.id_1"]),
        ("a forged one, anonymous", "default", get().header("X-Key-Id", "admin"), "x-key-id", &[]),
        ("underscores", "default", keyed().header("X_Key_Id", "admin"), "x_key_id", &[]),
        ("underscores, anonymous", "default", get().header("x_key_id", "admin").header("x_key_id", "root"), "x_key_id", &[]),
        ("one underscore", "default", keyed().header("x_key-id", "admin"), "x_key-id", &[]),
        ("the other underscore", "default", keyed().header("x-key_id", "admin"), "x-key_id", &[]),
        ("dots", "default", keyed().header("X.Key.Id", "admin"), "x.key.id", &[]),
        ("dots, anonymous", "default", get().header("X.Key.Id", "admin"), "x.key.id", &[]),
        ("other characters of a token", "default", keyed().header("X+Key!Id", "admin"), "x+key!id", &[]),
        ("tildes", "default", keyed().header("x~key~id", "admin"), "x~key~id", &[]),
        ("a letter more", "default", keyed().header("x-key-ids", "mine"), "x-key-ids", &["mine"]),
        ("no letter behind it", "default", keyed().header("x-key-id.", "mine"), "x-key-id.", &["mine"]),
        ("another name, dots", "named", keyed().header("x.consumer|name", "admin"), "x.consumer|name", &[]),
        ("not UTF-8", "default", keyed().header("X-Key-Id", b"\xff"), "x-key-id", &["the.id_1"]),
        ("another name", "named", keyed().header("x_consumer-name", "admin"), "x-consumer-name", &["the.id_1"]),
        ("another name, underscores", "named", keyed().header("x_consumer-name", "admin"), "x_consumer-name", &[]),
        ("another name leaves the default one", "named", keyed().header("X-Key-Id", "mine"), "x-key-id", &["mine"]),
        ("none leaves it", "none", keyed().header("X-Key-Id", "mine"), "x-key-id", &["mine"]),
    ];
    for version in Version::BOTH {
        for (name, listener, request, header, expected) in &cases {
            assert_eq!(gateway.send_over(version, listener, request).status, 200, "{name}");
            assert_eq!(upstream.take_one().all(header), *expected, "{name}, {version:?}");
        }
    }
    // A hop-by-hop header would be taken away on the next hop: HTTP/1.1 only.
    // Envoy leaves the header in an upgrade.
    for connection in ["x-key-id", "X-Key-Id, keep-alive", "close, x-key-id", "upgrade, X-Key-Id", "x-key-id,Upgrade,x-key-id"] {
        let request = keyed().header("Connection", connection).header("Upgrade", "websocket").header("X-Key-Id", "admin");
        let response = gateway.send("default", &request);
        if response.status == 200 {
            let received = upstream.take_one();
            assert_eq!(received.all("x-key-id"), ["the.id_1"], "{connection}");
            assert!(!received.all("connection").join(",").to_lowercase().contains("x-key-id"), "{connection}");
        } else {
            assert_eq!((response.status / 100, upstream.take().len()), (4, 0), "{connection}");
        }
    }
}

/// Lets trailers of the first listener through to the upstream.
pub fn with_trailers(bootstrap: &mut Value) {
    let trailers = json!({"enable_trailers": true});
    let resources = &mut bootstrap["static_resources"];
    let manager = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_protocol_options"] = trailers.clone();
    resources["clusters"][0]["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": trailers},
        },
    });
}

/// An upstream may add trailers to the headers (RFC 9110, section 6.5.1).
#[test]
fn nor_does_a_client_say_it_behind_the_body() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("gateway", &policy(json!({}))))
        .amend(with_trailers)
        .start();
    for authorization in ["Authorization: Bearer the-key-000000000\r\n", ""] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: api.test\r\n{authorization}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Key-Id: admin\r\nx_key_id: admin\r\nX.Key.Id: admin\r\nX-Other: kept\r\nX-KEY_ID: admin\r\nX+Key!Id: admin\r\nx~key~id: admin\r\nAuthorization: Bearer k\r\nX_API_Key: k\r\n\r\n"
        );
        let answer = exchange_raw(gateway.address("gateway"), request.as_bytes(), Duration::from_secs(10)).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let received = upstream.take_one();
        assert_eq!(received.body, b"hi");
        assert_eq!(String::from_utf8_lossy(&received.trailers), "x-other: kept\r\n\r\n");
    }
}

#[test]
#[rustfmt::skip]
fn the_key_is_forwarded_or_not() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("forward", &policy(json!({}))))
        .listener(Listener::new("keep", &policy(json!({"forward_api_key": false}))))
        .start();
    let bearer = format!("Bearer {KEY}");
    let basic = || Request::get("/").header("Authorization", "Basic dXNlcg==");
    let query = |query: String| Request::get(format!("/p{query}"));
    // Listener, request, then the path, Authorization and X-API-Key at the upstream.
    let cases: [(&str, Request, String, &[&str], &[&str]); 16] = [
        ("forward", Request::get("/").bearer(KEY), "/".into(), &[&bearer], &[]),
        ("forward", Request::get("/").header("X-API-Key", KEY), "/".into(), &[], &[KEY]),
        ("forward", query(format!("?a=1&api_key={KEY}")), format!("/p?a=1&api_key={KEY}"), &[], &[]),
        ("keep", Request::get("/").bearer(KEY), "/".into(), &[], &[]),
        ("keep", Request::get("/").header("X-API-Key", KEY), "/".into(), &[], &[]),
        ("keep", basic().header("X-API-Key", KEY), "/".into(), &["Basic dXNlcg=="], &[]),
        ("keep", basic(), "/".into(), &["Basic dXNlcg=="], &[]),
        ("keep", query(format!("?api_key={KEY}")), "/p".into(), &[], &[]),
        ("keep", query(format!("?api_key={KEY}&b=2")), "/p?b=2".into(), &[], &[]),
        ("keep", query(format!("?a=1&api_key={KEY}")), "/p?a=1".into(), &[], &[]),
        ("keep", query(format!("?a=1&api_key={KEY}&b=2")), "/p?a=1&b=2".into(), &[], &[]),
        ("keep", query(format!("?a=%20+%26&&api_key={KEY}&b&=&c=")), "/p?a=%20+%26&&b&=&c=".into(), &[], &[]),
        ("keep", query(format!("?my_api_key=x&api_key={KEY}&api_keys=y")), "/p?my_api_key=x&api_keys=y".into(), &[], &[]),
        ("keep", query(format!("?api_key={KEY}")).header("X-Other", KEY), "/p".into(), &[], &[]),
        ("keep", query("?a=1".into()), "/p?a=1".into(), &[], &[]),
        ("keep", query("?".into()), "/p?".into(), &[], &[]),
    ];
    for version in Version::BOTH {
        for (listener, request, path, authorization, api_key) in &cases {
            let response = gateway.send_over(version, listener, request);
            assert_eq!(response.status, 200, "{listener}: {request:?}: {response:?}");
            let received = upstream.take_one();
            assert_eq!(received.path(), *path, "{listener}");
            assert_eq!(received.all("authorization"), *authorization, "{listener}: {request:?}");
            assert_eq!(received.all("x-api-key"), *api_key, "{listener}: {request:?}");
        }
    }
}

#[test]
fn the_access_log_has_key_and_decision() {
    let upstream = Upstream::start();
    let sites = json!({"keys": [{"id": "site", "api_key": KEY, "allowed_origins": ["https://yourapp.com"]}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &sites))
        .start();
    let with_origin = |origin| Request::get("/").bearer(KEY).header("Origin", origin);
    let cases = [
        (with_origin("https://yourapp.com"), json!("site"), Value::Null),
        (
            with_origin("https://evil.com"),
            json!("site"),
            json!("deny:origin_not_allowed"),
        ),
        (Request::get("/"), Value::Null, json!("deny:missing_api_key")),
        (
            Request::preflight("/", "https://yourapp.com", "GET", ""),
            Value::Null,
            json!("preflight"),
        ),
    ];
    for (request, _, _) in &cases {
        gateway.send("main", request);
    }
    gateway.wait_for("the access log", |gateway| gateway.access_log().len() == cases.len());
    for ((request, key_id, decision), line) in cases.iter().zip(gateway.access_log()) {
        assert_eq!(
            (&line["key_id"], &line["decision"]),
            (key_id, decision),
            "{request:?}: {line}"
        );
    }
}
