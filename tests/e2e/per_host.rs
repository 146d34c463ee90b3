//! The example of a policy for each host, and the trap beside it.

use std::fs;

use serde_json::json;

use crate::harness::gateway::{built_filter, repository};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};

// Of the sample policy.
const SHOP: &str = "demo_search_0123456789";
const ADMIN: &str = "demo_server_0123456789";

#[test]
#[rustfmt::skip]
fn each_host_has_its_policy() {
    let upstream = Upstream::start();
    let mut configuration = fs::read_to_string(repository().join("envoy/per-host/envoy.yaml")).unwrap();
    for (from, to) in [
        ("127.0.0.1, port_value: 10000", "127.0.0.1, port_value: 0".to_owned()),
        ("pipe: { path: target/admin.sock, mode: 0600 }", "socket_address: { address: 127.0.0.1, port_value: 0 }".to_owned()),
        ("127.0.0.1, port_value: 10001", format!("127.0.0.1, port_value: {}", upstream.address().port())),
        ("target/wasm32-wasip1/release/keyfence.wasm", built_filter().display().to_string()),
    ] {
        assert!(configuration.contains(from), "the example has no {from:?}");
        configuration = configuration.replace(from, &to);
    }
    let gateway = Gateway::from_yaml(&configuration);
    let at = |host: &str, path: &str| Request::get(path).header("Host", host).header("X-Key-Id", "forged");
    let shop = |host: &str| at(host, "/v1").bearer(SHOP).header("Origin", "https://shop.example.com");
    let admin = |host: &str| at(host, "/v1").bearer(ADMIN);
    for (name, request, status, code, identity) in [
        ("a shop's key", shop("shop.example.com"), 200, "", &["shop"][..]),
        ("any other host", shop("other.example"), 200, "", &["shop"]),
        ("no key", at("shop.example.com", "/v1"), 401, "missing_api_key", &[]),
        ("the admin's key at the shop", admin("shop.example.com"), 401, "invalid_api_key", &[]),
        ("the admin's key", admin("admin.example.com"), 200, "", &["admin"]),
        ("in other letters", admin("ADMIN.example.COM"), 200, "", &["admin"]),
        ("with a port", admin("admin.example.com:10000"), 200, "", &["admin"]),
        ("with a dot behind", admin("admin.example.com."), 200, "", &["admin"]),
        ("the shop's key at the admin's", shop("admin.example.com"), 401, "invalid_api_key", &[]),
        ("no key, in other letters", at("Admin.example.com", "/v1"), 401, "missing_api_key", &[]),
        ("a public path", at("shop.example.com", "/healthz"), 200, "", &[]),
        ("the same at the admin's", at("admin.example.com", "/healthz"), 401, "missing_api_key", &[]),
        ("a path around the public one", at("shop.example.com", "/healthz/../v1"), 401, "missing_api_key", &[]),
        ("a path below the public one", at("shop.example.com", "/healthz/"), 401, "missing_api_key", &[]),
    ] {
        for version in Version::BOTH {
            let response = gateway.send_over(version, "gateway", &request);
            let name = format!("{name}, {version:?}: {response:?}");
            assert_eq!((response.status, response.code().as_str()), (status, code), "{name}");
            let received = upstream.take();
            assert_eq!(received.len(), usize::from(status == 200), "{name}");
            let identities: Vec<String> = received.iter().flat_map(|request| request.all("x-key-id")).collect();
            assert_eq!(identities, identity, "{name}");
        }
    }
}

/// What the README warns of: a composite filter that chooses by the raw `Host` lets a host in another spelling through unchecked.
#[test]
fn a_composite_filter_that_matches_the_raw_host_is_passed_by() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [{"id": "shop", "api_key": SHOP}]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .amend(|bootstrap| {
            let manager = &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
            let filter = &mut manager["http_filters"][0];
            let keyfence = json!({"name": "keyfence", "typed_config": filter["typed_config"]});
            *filter = json!({
                "name": "composite",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
                    "extension_config": {
                        "name": "composite",
                        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite"},
                    },
                    "xds_matcher": {"matcher_tree": {
                        "input": {
                            "name": "host",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                                "header_name": "host",
                            },
                        },
                        "exact_match_map": {"map": {"a.test": {"action": {
                            "name": "keyfence",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
                                "typed_config": keyfence,
                            },
                        }}}},
                    }},
                },
            });
        })
        .start();
    for (host, status) in [
        ("a.test", 401),
        ("A.test", 200),
        ("a.test:10000", 200),
        ("a.test.", 200),
    ] {
        let response = gateway.send("main", &Request::get("/").header("Host", host));
        assert_eq!(response.status, status, "{host}: {response:?}");
    }
}
