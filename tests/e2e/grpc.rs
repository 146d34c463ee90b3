//! Errors of the filter's own for gRPC's clients, and for gRPC-Web's in a page.

use serde_json::json;

use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

const SITE: &str = "https://yourapp.com";

fn call(content_type: &str, key: &str) -> Request {
    Request::new("POST", "/shop.v1.Search/Find")
        .header("Content-Type", content_type)
        .header("TE", "trailers")
        .header("Origin", SITE)
        .bearer(key)
        .body([0, 0, 0, 0, 0])
}

/// `grpc-status`, and the beginning of `grpc-message`.
#[test]
#[rustfmt::skip]
fn errors_are_read_by_their_clients() {
    let upstream = Upstream::start();
    let policy = json!({
        "keys": [
            {"id": "site", "api_key": "site-key-0000000", "allowed_origins": [SITE]},
            {"id": "far", "api_key": "far-key-00000000", "allowed_origins": [SITE], "allowed_ips": ["10.0.0.0/8"]},
            {"id": "slow", "api_key": "slow-key-0000000", "allowed_origins": [SITE], "rate_limit_per_minute": 1},
            {"id": "scoped", "api_key": "scoped-key-00000", "allowed_origins": [SITE], "scopes": []},
        ],
    });
    // gRPC-Web is turned into gRPC behind the filter, as it is in a mesh.
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .amend(|bootstrap| {
            let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            let filters = manager["http_filters"].as_array_mut().unwrap();
            let translator = json!({"name": "envoy.filters.http.grpc_web", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"}});
            filters.insert(filters.len() - 1, translator);
        })
        .start();
    gateway.send("main", &call("application/grpc", "slow-key-0000000"));
    upstream.take();
    for version in Version::BOTH {
        for (content_type, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc"),
            ("application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web-text"),
        ] {
            for (key, status, message) in [
                ("unknown", "16", "Check the API key: "),
                ("far-key-00000000", "7", "Call from a network "),
                ("slow-key-0000000", "8", "Wait as many seconds "),
                ("scoped-key-00000", "7", "Use a method and path "),
            ] {
                let response = gateway.send_over(version, "main", &call(content_type, key));
                let name = format!("{content_type}, {key}, {version:?}: {response:?}");
                assert_eq!(response.status, 200, "{name}");
                assert_eq!(response.header("content-type"), Some(answered), "{name}");
                assert_eq!(response.header("grpc-status"), Some(status), "{name}");
                assert!(response.header("grpc-message").unwrap().starts_with(message), "{name}");
                assert_eq!(response.body, b"", "{name}");
                assert_eq!(response.header("access-control-allow-origin"), Some(SITE), "{name}");
                assert_eq!(exposed(&response, "grpc-status"), 1, "{name}");
                assert_eq!(exposed(&response, "grpc-message"), 1, "{name}");
                assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{name}");
            }
        }
    }
    assert_eq!(upstream.take().len(), 0);
    gateway.wait_for("the access log", |gateway| {
        let log = gateway.access_log();
        log.iter().any(|line| line["decision"] == "deny:ip_not_allowed")
    });
}

/// What the upstream says in headers alone can be read by the page, too.
#[test]
fn a_page_reads_the_upstreams_status() {
    let upstream = Upstream::start();
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web+proto\r\ngrpc-status: 5\r\ngrpc-message: none such\r\n";
    upstream.answer_raw("/shop.v1.Search/Find", format!("{head}content-length: 0\r\n\r\n"));
    let policy = json!({"keys": [{"id": "site", "api_key": "site-key-0000000", "allowed_origins": [SITE]}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .start();
    let response = gateway.send("main", &call("application/grpc-web+proto", "site-key-0000000"));
    assert_eq!(response.header("grpc-status"), Some("5"), "{response:?}");
    assert_eq!(exposed(&response, "grpc-status"), 1, "{response:?}");
    let response = gateway.send("main", &call("application/json", "site-key-0000000"));
    assert_eq!(exposed(&response, "grpc-status"), 0, "{response:?}");
}

/// How often `Access-Control-Expose-Headers` has the name.
fn exposed(response: &Response, name: &str) -> usize {
    let list = response.header("access-control-expose-headers").unwrap_or_default();
    list.split(", ")
        .filter(|listed| listed.eq_ignore_ascii_case(name))
        .count()
}
