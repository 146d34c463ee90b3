//! What Envoy and the harness do by themselves, so that a failure elsewhere is the filter's; and what reaches the upstream by a route
//! that has the filter disabled, as the README describes it.

use serde_json::{Value, json};

use crate::harness::{Gateway, Listener, Request, Upstream, Version};

#[test]
fn requests_reach_the_upstream_as_they_are() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .start();
    for version in Version::BOTH {
        let request = Request::new("POST", "/path?query")
            .header("x-bytes", b"\xff\x80")
            .body("body")
            .from("127.0.0.7");
        let response = gateway.send_over(version, "plain", &request);
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "upstream\n"),
            "{version:?}"
        );
        let received = upstream.take_one();
        assert_eq!(received.path(), "/path?query");
        assert_eq!(received.body, b"body");
        assert_eq!(received.all("x-forwarded-for"), ["127.0.0.7"]);
        assert!(
            received
                .headers()
                .contains(&(b"x-bytes".to_vec(), b"\xff\x80".to_vec())),
            "{received:?}"
        );
    }
}

#[test]
fn envoy_answers_by_itself() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .start();
    for (path, status) in [("/redirect", 301), ("/direct", 200), ("/dead", 503)] {
        assert_eq!(gateway.send("plain", &Request::get(path)).status, status, "{path}");
    }
    assert_eq!(upstream.take().len(), 0);
}

/// Adds a route `/off/` with the filter disabled to a listener.
fn with_open_route<'a>(bootstrap: &'a mut Value, listener: &str) -> &'a mut Value {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let listener = listeners.iter_mut().find(|found| found["name"] == listener).unwrap();
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut();
    routes.unwrap().insert(
        0,
        json!({
            "match": {"prefix": "/off/"},
            "route": {"cluster": "upstream"},
            "typed_per_filter_config": {"keyfence": {
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                "disabled": true,
            }},
        }),
    );
    manager
}

#[test]
#[rustfmt::skip]
fn a_route_with_the_filter_disabled() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [{"id": "a", "api_key": "ak_test_key_0000000"}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("by-default", &policy))
        .listener(Listener::new("as-the-readme-says", &policy))
        .amend(|bootstrap| {
            with_open_route(bootstrap, "by-default");
            let manager = with_open_route(bootstrap, "as-the-readme-says");
            manager["normalize_path"] = json!(true);
            manager["path_with_escaped_slashes_action"] = json!("REJECT_REQUEST");
            manager["route_config"]["virtual_hosts"][0]["routes"][0]["request_headers_to_remove"] = json!(["x-key-id", "x_key_id"]);
        })
        .start();
    // Path, then status and X-Key-Id at the upstream by default, and as the README says.
    let forged = Some("admin");
    let cases = [
        ("/v1/x", (401, None), (401, None)),
        ("/off/x", (200, forged), (200, None)),
        ("/off/../v1/x", (200, forged), (401, None)),
        ("/off/%2e%2e/v1/x", (200, forged), (401, None)),
        ("/off/..%2fv1/x", (200, forged), (400, None)),
        ("/off/..%5cv1/x", (200, forged), (400, None)),
        ("/off/..\\v1/x", (200, forged), (401, None)),
    ];
    for version in Version::BOTH {
        for (path, by_default, as_advised) in cases {
            for (listener, expected) in [("by-default", by_default), ("as-the-readme-says", as_advised)] {
                for header in ["X-Key-Id", "X_Key_Id"] {
                    let request = Request::get(path).header(header, "admin");
                    let status = gateway.send_over(version, listener, &request).status;
                    let received = upstream.take();
                    let key_id = received.first().and_then(|request| request.all(header).first().cloned());
                    assert_eq!((status, key_id.as_deref()), expected, "{listener}, {path}, {header} ({version:?})");
                }
            }
        }
    }
}
