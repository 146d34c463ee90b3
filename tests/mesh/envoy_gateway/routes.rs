//! Envoy Gateway turns the filter on in routes: a request that matches none is answered without it.

use serde_json::{Value, json};

use super::EnvoyGateway;
use super::resources::shipped;
use crate::harness::Request;

const ORIGIN: &str = "https://yourapp.com";

/// The shipped route, with these methods only.
fn route(methods: &[&str]) -> Value {
    let mut route = shipped()
        .into_iter()
        .find(|resource| resource["kind"] == "HTTPRoute")
        .unwrap();
    let matches = methods
        .iter()
        .map(|method| json!({"path": {"type": "PathPrefix", "value": "/v1/indexes"}, "method": method}));
    route["spec"]["rules"][0]["matches"] = matches.collect();
    route
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn what_no_route_matches_has_no_filter() {
    let gateway = EnvoyGateway::start(&[route(&["GET", "POST"])]);
    let get = |path: &str| Request::get(path).header("Origin", ORIGIN);
    let preflight = |path: &str| Request::preflight(path, ORIGIN, "GET", "authorization");
    gateway.wait_for("the policy", |gateway| gateway.send(&get("/v1/indexes")).status == 401);
    for (name, request) in [
        ("another path", get("/v2")),
        ("its preflight", preflight("/v2")),
        (
            "a preflight of a route that matches by method",
            preflight("/v1/indexes"),
        ),
    ] {
        let response = gateway.send(&request);
        assert_eq!((response.status, response.text().as_str()), (404, ""), "{name}");
        for header in ["access-control-allow-origin", "x-frame-options"] {
            assert_eq!(response.header(header), None, "{name}");
        }
    }
    gateway.put(&route(&["GET", "POST", "OPTIONS"]));
    gateway.wait_for("the route for OPTIONS", |gateway| {
        gateway.send(&preflight("/v1/indexes")).status == 204
    });
    assert_eq!(
        gateway
            .send(&preflight("/v1/indexes"))
            .header("access-control-allow-origin"),
        Some(ORIGIN)
    );
}
