//! The answers that clients get: with keyfence's own manifests, and with the output of `keyfence render`.

use serde_json::{Value, json};

use super::EnvoyGateway;
use super::resources::{SERVER_KEY, WEB_KEY, extension_policy, manifest, with_known_keys};
use crate::harness::Request;
use crate::harness::command_line::printed;
use crate::registry::digest;

/// A request, and what its sender and the upstream get.
struct Case {
    name: &'static str,
    request: Request,
    /// Status, and the `code` of the error.
    answer: (u16, &'static str),
    allow_origin: Option<&'static str>,
    /// The lines `X-Key-Id` that reach the upstream; none where the request does not.
    key_id: Option<&'static [&'static str]>,
}

fn case(
    name: &'static str,
    request: Request,
    answer: (u16, &'static str),
    allow_origin: Option<&'static str>,
    key_id: Option<&'static [&'static str]>,
) -> Case {
    Case {
        name,
        request,
        answer,
        allow_origin,
        key_id,
    }
}

const OK: (u16, &str) = (200, "");

fn assert_answers(gateway: &EnvoyGateway, cases: &[Case]) {
    for case in cases {
        gateway.upstream.take();
        let response = gateway.send(&case.request);
        assert_eq!(
            (response.status, response.code().as_str()),
            case.answer,
            "{}",
            case.name
        );
        assert_eq!(
            response.header("access-control-allow-origin"),
            case.allow_origin,
            "{}",
            case.name
        );
        let key_ids = gateway.upstream.take().first().map(|received| received.all("x-key-id"));
        assert_eq!(
            key_ids,
            case.key_id.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
            "{}",
            case.name
        );
    }
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn the_shipped_manifests_do_what_they_promise() {
    let gateway = EnvoyGateway::start(&[with_known_keys(manifest("extension-policy"))]);
    let path = "/v1/indexes/shop/search";
    let origin = "https://shop.yourapp.com";
    let get = || Request::get(path);
    assert_answers(
        &gateway,
        &[
            case("no key", get(), (401, "missing_api_key"), None, None),
            case(
                "unknown key",
                get().bearer("unknown"),
                (401, "invalid_api_key"),
                None,
                None,
            ),
            case(
                "preflight",
                Request::preflight(path, origin, "POST", "authorization"),
                (204, ""),
                Some(origin),
                None,
            ),
            case(
                "preflight from elsewhere",
                Request::preflight(path, "https://evil.example", "POST", ""),
                (403, "origin_not_allowed"),
                None,
                None,
            ),
            case(
                "key",
                get().bearer(WEB_KEY).header("Origin", origin),
                OK,
                Some(origin),
                Some(&["frontend-search-prod"]),
            ),
            case(
                "key from elsewhere",
                get().bearer(WEB_KEY).header("Origin", "https://evil.example"),
                (403, "origin_not_allowed"),
                None,
                None,
            ),
            case(
                "scope",
                Request::new("POST", path).bearer(WEB_KEY).header("Origin", origin),
                OK,
                Some(origin),
                Some(&["frontend-search-prod"]),
            ),
            case(
                "outside of the scope",
                Request::get("/v1/indexes/shop")
                    .bearer(WEB_KEY)
                    .header("Origin", origin),
                (403, "scope_not_allowed"),
                Some(origin),
                None,
            ),
            case(
                "dot segments",
                Request::get("/v1/indexes/shop/search/../documents")
                    .bearer(WEB_KEY)
                    .header("Origin", origin),
                (403, "scope_not_allowed"),
                Some(origin),
                None,
            ),
            case(
                "forged identity",
                get()
                    .bearer(WEB_KEY)
                    .header("Origin", origin)
                    .header("X-Key-Id", "backend-indexer"),
                OK,
                Some(origin),
                Some(&["frontend-search-prod"]),
            ),
            // Envoy Gateway refuses names with underscores, which some upstreams read as `X-Key-Id`.
            case(
                "forged identity, underscores",
                get()
                    .bearer(WEB_KEY)
                    .header("Origin", origin)
                    .header("x_key_id", "backend-indexer"),
                (400, ""),
                None,
                None,
            ),
            case(
                "outside of the networks",
                get().bearer(SERVER_KEY),
                (403, "ip_not_allowed"),
                None,
                None,
            ),
        ],
    );
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn what_render_prints_does_the_same() {
    let rendered = printed(&["render", "envoy-gateway", "envoy/policy.json"], "");
    let gateway = EnvoyGateway::start(&serde_saphyr::from_multiple::<Value>(&rendered).unwrap());
    let path = "/v1/indexes/shop";
    let origin = "https://app.example.com";
    let get = || Request::get(path).from("127.0.0.1");
    assert_answers(
        &gateway,
        &[
            case("no key", get(), (401, "missing_api_key"), None, None),
            case(
                "preflight",
                Request::preflight(path, origin, "GET", "x-api-key"),
                (204, ""),
                Some(origin),
                None,
            ),
            case(
                "key",
                get()
                    .header("X-API-Key", "demo_browser_0123456789")
                    .header("Origin", origin),
                OK,
                Some(origin),
                Some(&["demo-browser"]),
            ),
            case(
                "key from elsewhere",
                get()
                    .bearer("demo_browser_0123456789")
                    .header("Origin", "https://evil.example"),
                (403, "origin_not_allowed"),
                None,
                None,
            ),
            case(
                "another address",
                get()
                    .bearer("demo_browser_0123456789")
                    .header("Origin", origin)
                    .from("10.66.0.9"),
                (403, "ip_not_allowed"),
                Some(origin),
                None,
            ),
            case(
                "secret key",
                get().bearer("demo_server_0123456789"),
                OK,
                None,
                Some(&["demo-server"]),
            ),
            case(
                "secret key in a browser",
                get().bearer("demo_server_0123456789").header("Origin", origin),
                (403, "secret_key_in_browser"),
                None,
                None,
            ),
        ],
    );
    let response = gateway.send(&get().bearer("demo_server_0123456789"));
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("server"), None, "the policy removes it");
}

/// Where the address comes from, and which networks then admit whom.
#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn the_address_of_the_client() {
    let policy = |client_ip: &str| {
        extension_policy(json!({
            "keys": [{"id": "server", "api_key": digest(SERVER_KEY.as_bytes()), "kind": "secret", "allowed_ips": ["192.0.2.0/24", "10.66.0.9/32"]}],
            "client_ip": client_ip,
        }))
    };
    let request = || Request::get("/v1/indexes/shop").bearer(SERVER_KEY);
    let forwarded = |value: &str| request().header("X-Forwarded-For", value);
    let behind_a_proxy = manifest("client-traffic-policy");
    let gateway = EnvoyGateway::start(&[policy("peer")]);
    let answers = |gateway: &EnvoyGateway, cases: &[(&str, Request, &str)]| {
        for (name, request, code) in cases {
            assert_eq!(gateway.send(request).code(), *code, "{name}");
        }
    };
    answers(
        &gateway,
        &[
            ("the connection's address", request(), ""),
            ("another", request().from("10.66.0.2"), "ip_not_allowed"),
            (
                "the header does not count",
                forwarded("192.0.2.7").from("10.66.0.2"),
                "ip_not_allowed",
            ),
            ("the header does not count", forwarded("198.51.100.7"), ""),
        ],
    );

    // The policy wants the connection's address, and the gateway takes it from the header: clients that send the header are refused.
    gateway.put(&behind_a_proxy);
    gateway.wait_for("the header in force", |gateway| {
        gateway.send(&forwarded("192.0.2.7")).status != 200
    });
    answers(
        &gateway,
        &[
            ("the connection's address", request(), ""),
            ("allowed in the header", forwarded("192.0.2.7"), "ip_not_allowed"),
            ("not allowed in the header", forwarded("198.51.100.7"), "ip_not_allowed"),
        ],
    );

    gateway.put(&policy("forwarded"));
    gateway.wait_for("the new policy", |gateway| {
        gateway.send(&forwarded("192.0.2.7")).status == 200
    });
    answers(
        &gateway,
        &[
            ("what the proxy in front wrote", forwarded("192.0.2.7"), ""),
            ("not allowed", forwarded("198.51.100.7"), "ip_not_allowed"),
            (
                "forged: an entry that was there before",
                forwarded("192.0.2.7, 198.51.100.7"),
                "ip_not_allowed",
            ),
            (
                "with an entry that was there before",
                forwarded("198.51.100.7, 192.0.2.7"),
                "",
            ),
            ("with a port", forwarded("192.0.2.7:4711"), "ip_not_allowed"),
            ("no address", forwarded("unknown"), "ip_not_allowed"),
            ("no header", request(), "ip_not_allowed"),
        ],
    );
}
