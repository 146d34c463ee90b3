//! Requests after which every graph of the dashboard has something to show.

use std::fs;

use serde_json::{Value, json};

use super::Request;
use super::gateway::repository;
use super::prometheus::Prometheus;

/// Keys for every kind of decision. It is refused nowhere.
pub fn policy() -> Value {
    json!({"keys": [
        {"id": "site", "api_key": "ak_test_site_000000", "allowed_origins": ["https://yourapp.com"]},
        {"id": "limited", "api_key": "ak_test_limited_000", "rate_limit_per_minute": 1},
        {"id": "trial", "api_key": "ak_test_trial_00000", "allowed_origins": ["https://yourapp.com"], "enforcement": "report"},
        {"id": "rotated", "api_key": ["ak_test_newer_00000", {"key": "ak_test_older_00000", "expires_at": "2099-01-01T00:00:00Z"}], "kind": "secret"},
    ]})
}

/// How many keys it has.
pub const KEYS: usize = 4;

pub fn requests() -> Vec<Request> {
    let site = |origin| Request::get("/").bearer("ak_test_site_000000").header("Origin", origin);
    vec![
        site("https://yourapp.com"),
        site("https://evil.example"),
        Request::get("/"),
        Request::get("/").bearer("ak_test_limited_000"),
        Request::get("/").bearer("ak_test_limited_000"),
        Request::get("/").bearer("ak_test_older_00000"),
        Request::get("/")
            .bearer("ak_test_trial_00000")
            .header("Origin", "https://evil.example"),
        Request::preflight("/", "https://yourapp.com", "GET", ""),
        Request::preflight("/", "https://evil.example", "GET", ""),
    ]
}

/// What must have grown, beside every graph.
const GROWN: &[(&str, &str)] = &[
    (
        "a refusal",
        r#"increase(keyfence_requests_total{decision="deny",code="origin_not_allowed"}[1m]) > 0"#,
    ),
    (
        "a limit used up",
        r#"increase(keyfence_requests_total{code="rate_limit_exceeded"}[1m]) > 0"#,
    ),
    ("an old entry", "increase(keyfence_old_entry_requests_total[1m]) > 0"),
    (
        "a would-be refusal",
        r#"increase(keyfence_requests_total{decision="report"}[1m]) > 0"#,
    ),
    (
        "a preflight",
        r#"increase(keyfence_preflights_total{decision="allow"}[1m]) > 0"#,
    ),
];

/// All graphs, for a gateway that gets keys of a feed, too.
pub fn assert_every_graph_has_data(prometheus: &Prometheus) {
    assert_graphs_have_data(prometheus, |_| true);
}

/// All graphs but those of feeds.
pub fn assert_every_graph_without_a_feed_has_data(prometheus: &Prometheus) {
    assert_graphs_have_data(prometheus, |expression| !expression.contains("keyfence_feed_"));
}

fn assert_graphs_have_data(prometheus: &Prometheus, is_tried: impl Fn(&str) -> bool) {
    for expression in dashboard_expressions()
        .into_iter()
        .filter(|expression| is_tried(expression))
    {
        let expression = expression
            .replace("$__rate_interval", "1m")
            // Longer than this test runs.
            .replace("offset 1m", "offset 1s")
            .replace("offset 1h", "offset 1s")
            .replace("$job", ".*")
            .replace("$instance", ".*");
        prometheus.wait_for(&expression, &expression);
    }
    for (graph, expression) in GROWN {
        prometheus.wait_for(graph, expression);
    }
}

fn dashboard_expressions() -> Vec<String> {
    let text = fs::read_to_string(repository().join("envoy/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}
