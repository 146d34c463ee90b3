//! What keyfence promises, as one table of requests: a gateway of the mesh must pass it for every way to configure keyfence.

use serde_json::Value;

use super::Proxy;
use super::manifest::{BACKEND, FRONTEND};
use crate::harness::upstream::Received;
use crate::harness::{Request, Upstream};
use crate::process::{PATIENCE, within};

const SITE: &str = "https://yourapp.com";
const OTHER_SITE: &str = "https://evil.example";
const SEARCH: &str = "/v1/indexes/products/search";

/// A request, and the result under the policy of `wasmplugin-gateway.yaml` behind one trusted proxy.
struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    code: &'static str,
    /// The origin that may read the response.
    readable_by: Option<&'static str>,
    /// The `X-Key-Id` that the upstream gets; without one the request must not get there.
    key_id: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let denied = |name, request, status, code| Case {
        name,
        request,
        status,
        code,
        readable_by: Some(SITE),
        key_id: None,
    };
    let hidden = |name, request, status, code| Case {
        readable_by: None,
        ..denied(name, request, status, code)
    };
    let allowed = |name, request, id, readable_by| Case {
        name,
        request,
        status: 200,
        code: "",
        readable_by,
        key_id: Some(id),
    };
    let page = |path: &str| Request::get(path).bearer(FRONTEND).header("Origin", SITE);
    let server = |addresses: &str| {
        Request::get("/any")
            .bearer(BACKEND)
            .header("X-Forwarded-For", addresses)
    };
    vec![
        Case {
            status: 204,
            ..denied(
                "a preflight",
                Request::preflight(SEARCH, SITE, "GET", "authorization"),
                204,
                "",
            )
        },
        hidden(
            "a preflight of another site",
            Request::preflight(SEARCH, OTHER_SITE, "GET", ""),
            403,
            "origin_not_allowed",
        ),
        allowed("a key and its origin", page(SEARCH), "frontend-search-prod", Some(SITE)),
        allowed(
            "a forged identity",
            page(SEARCH)
                .header("X-Key-Id", "backend-indexer")
                .header("X_Key_Id", "backend-indexer"),
            "frontend-search-prod",
            Some(SITE),
        ),
        denied(
            "no key",
            Request::get(SEARCH).header("Origin", SITE),
            401,
            "missing_api_key",
        ),
        denied(
            "an unknown key",
            Request::get(SEARCH).bearer("nobodys").header("Origin", SITE),
            401,
            "invalid_api_key",
        ),
        hidden(
            "another site",
            Request::get(SEARCH).bearer(FRONTEND).header("Origin", OTHER_SITE),
            403,
            "origin_not_allowed",
        ),
        hidden(
            "no origin",
            Request::get(SEARCH).bearer(FRONTEND),
            403,
            "origin_not_allowed",
        ),
        denied("another path", page("/v1/other"), 403, "scope_not_allowed"),
        denied(
            "an escaped slash",
            page("/v1/indexes/products%2Fsearch"),
            400,
            "ambiguous_path",
        ),
        denied(
            "an empty segment",
            page("/v1//indexes/products/search"),
            400,
            "ambiguous_path",
        ),
        // Istio resolves dot segments before the filter sees the path.
        allowed(
            "dot segments",
            page("/v1/indexes/x/../products/search"),
            "frontend-search-prod",
            Some(SITE),
        ),
        allowed(
            "an address from the trusted proxy",
            server("192.0.2.7"),
            "backend-indexer",
            None,
        ),
        hidden(
            "an address that the client wrote itself",
            server("192.0.2.7, 198.51.100.1"),
            403,
            "ip_not_allowed",
        ),
        hidden(
            "no address",
            Request::get("/any").bearer(BACKEND),
            403,
            "ip_not_allowed",
        ),
        hidden(
            "a secret key in a browser",
            server("192.0.2.7").header("Origin", SITE),
            403,
            "secret_key_in_browser",
        ),
    ]
}

/// Waits until the plugin is in force, and sends each request once.
pub fn assert_kept(variant: &str, proxy: &Proxy, upstream: &Upstream) {
    proxy.wait_for_code(variant, "missing_api_key");
    upstream.take();
    for case in cases() {
        let response = proxy.send(&case.request);
        let at = format!("{variant}: {}: {response:?}", case.name);
        assert_eq!(
            (response.status, response.code().as_str()),
            (case.status, case.code),
            "{at}"
        );
        assert_eq!(response.header("access-control-allow-origin"), case.readable_by, "{at}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{at}");
        assert_eq!(identity(&upstream.take()), case.key_id.map(str::to_owned), "{at}");
    }
    assert_logged(variant, proxy);
    assert_counted(variant, &proxy.metrics());
}

/// The `X-Key-Id` of the one request that reached the upstream; none if none did.
fn identity(received: &[Received]) -> Option<String> {
    assert!(received.len() <= 1, "{received:?}");
    let request = received.first()?;
    assert_eq!(request.all("x_key_id"), [""; 0], "{request:?}");
    Some(request.all("x-key-id").join(" and "))
}

/// The access log of `mesh.yaml` says whose key it was and what was decided.
fn assert_logged(variant: &str, proxy: &Proxy) {
    for (path, key_id, decision, status) in [
        ("/v1/other", "frontend-search-prod", "deny:scope_not_allowed", 403),
        ("/any", "backend-indexer", "deny:secret_key_in_browser", 403),
        ("/any", "backend-indexer", "-", 200),
    ] {
        within(
            PATIENCE,
            &format!("{variant}: {path} {decision} in the access log"),
            || {
                let log = proxy.log();
                let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.any(|line| {
                    let field = |name: &str| line[name].as_str().unwrap_or("-");
                    [field("path"), field("key_id"), field("decision")] == [path, key_id, decision]
                        && line["status"] == status
                })
            },
        );
    }
}

/// The agent shows Prometheus the filter's metrics with labels.
fn assert_counted(variant: &str, metrics: &str) {
    for series in [
        r#"keyfence_requests_total{decision="allow"} "#,
        r#"keyfence_requests_total{decision="deny",code="scope_not_allowed"} 1"#,
        r#"keyfence_preflights_total{decision="deny",code="origin_not_allowed"} 1"#,
        r#"keyfence_keys{plugin="#,
        r#"keyfence_policy_hash{plugin="#,
    ] {
        let is_there = metrics.lines().any(|line| line.starts_with(series));
        assert!(is_there, "{variant}: no {series} in {}", ours(metrics));
    }
}

fn ours(metrics: &str) -> String {
    let lines = metrics.lines().filter(|line| line.contains("keyfence"));
    lines.map(|line| format!("{line}\n")).collect()
}
