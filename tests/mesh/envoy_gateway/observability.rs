//! Metrics and the access log, as envoy-proxy.yaml has them.

use serde_json::{Value, json};

use super::EnvoyGateway;
use super::resources::{WEB_KEY, manifest, with_known_keys};
use crate::harness::Request;

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn decisions_are_in_the_metrics_and_in_the_access_log() {
    let gateway = EnvoyGateway::start(&[with_known_keys(manifest("extension-policy"))]);
    let path = "/v1/indexes/shop/search?q=shoes";
    let origin = "https://yourapp.com";
    let get = || Request::get(path);
    let with_key = || get().bearer(WEB_KEY).header("Origin", origin);
    gateway.wait_for("the policy", |gateway| gateway.send(&with_key()).status == 200);
    gateway.send(&get());
    gateway.send(&get().bearer(WEB_KEY).header("Origin", "https://evil.example"));
    gateway.send(&Request::preflight(path, origin, "GET", ""));
    gateway.send(&Request::preflight(path, "https://evil.example", "GET", ""));

    for (series, value) in [
        (r#"keyfence_requests_total{decision="allow"}"#, 1),
        (r#"keyfence_requests_total{decision="deny",code="missing_api_key"}"#, 1),
        (
            r#"keyfence_requests_total{decision="deny",code="origin_not_allowed"}"#,
            1,
        ),
        (r#"keyfence_preflights_total{decision="allow"}"#, 1),
        (
            r#"keyfence_preflights_total{decision="deny",code="origin_not_allowed"}"#,
            1,
        ),
        (r#"keyfence_keys{plugin="keyfence"}"#, 2),
    ] {
        assert_eq!(gateway.metric(series), Some(value), "{series}\n{}", gateway.metrics());
    }
    let metrics = gateway.metrics();
    let unlabelled = metrics
        .lines()
        .find(|line| line.contains("keyfence") && line.contains(";"));
    assert_eq!(unlabelled, None);

    let expected = [
        json!([200, "frontend-search-prod", null]),
        json!([401, null, "deny:missing_api_key"]),
        json!([403, "frontend-search-prod", "deny:origin_not_allowed"]),
        json!([204, null, "preflight"]),
        json!([403, null, "deny:origin_not_allowed"]),
    ];
    let logged = |gateway: &EnvoyGateway| -> Vec<Value> {
        let log = gateway.access_log();
        log.into_iter()
            .filter(|entry| entry["path"] == "/v1/indexes/shop/search")
            .collect()
    };
    gateway.wait_for("the access log", |gateway| logged(gateway).len() == expected.len());
    for (entry, expected) in logged(&gateway).iter().zip(expected) {
        assert_eq!(
            json!([entry["status"], entry["key_id"], entry["decision"]]),
            expected,
            "{entry}"
        );
        assert_eq!(entry["client"], "10.66.0.9", "{entry}");
    }
}
