//! Alerts and dashboard: as `promtool` sees them, and before a real Prometheus that scrapes the
//! gateway. Both programs come with Debian's package `prometheus`.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::gateway::repository;
use crate::harness::prometheus::Prometheus;
use crate::harness::{Gateway, Listener, Request, Upstream};
use crate::manifests::yaml;
use crate::observability::with_labels;

#[test]
#[ignore = "takes promtool"]
fn promtool_finds_nothing_wrong() {
    for arguments in [
        ["check", "rules", "envoy/monitoring/alerts.yaml"],
        ["check", "config", "envoy/monitoring/prometheus.yaml"],
        ["test", "rules", "tests/alerts.yaml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(repository())
            .output()
            .expect("promtool, of Debian's package prometheus");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn every_alert_has_a_test() {
    let tests = fs::read_to_string(repository().join("tests/alerts.yaml")).unwrap();
    for alert in alerts() {
        let rings = tests
            .split("eval_time")
            .any(|case| case.contains(&format!("alertname: {alert}\n")) && case.contains("exp_labels"));
        assert!(rings, "{alert} rings in no test");
    }
}

#[test]
#[ignore = "takes prometheus"]
fn every_graph_and_alert_has_data_after_some_traffic() {
    let upstream = Upstream::start();
    let policy = json!({"keys": [
        {"id": "site", "api_key": "ak_test_site_000000", "allowed_origins": ["https://yourapp.com"]},
        {"id": "limited", "api_key": "ak_test_limited_000", "rate_limit_per_minute": 1},
        {"id": "trial", "api_key": "ak_test_trial_00000", "allowed_origins": ["https://yourapp.com"], "enforcement": "report"},
        {"id": "rotated", "api_key": ["ak_test_newer_00000", {"key": "ak_test_older_00000", "expires_at": "2099-01-01T00:00:00Z"}], "kind": "secret"},
    ]});
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy).updatable())
        .amend(with_labels)
        .crash_expected()
        .start();
    let prometheus = Prometheus::scraping("keyfence", gateway.admin_address());
    prometheus.wait_for("the first scrape", "keyfence_keys == 4");

    let site = |origin| Request::get("/").bearer("ak_test_site_000000").header("Origin", origin);
    let trial = Request::get("/")
        .bearer("ak_test_trial_00000")
        .header("Origin", "https://evil.example");
    for request in [
        site("https://yourapp.com"),
        site("https://evil.example"),
        Request::get("/"),
        Request::get("/").bearer("ak_test_limited_000"),
        Request::get("/").bearer("ak_test_limited_000"),
        Request::get("/").bearer("ak_test_older_00000"),
        trial,
        Request::preflight("/", "https://yourapp.com", "GET", ""),
        Request::preflight("/", "https://evil.example", "GET", ""),
    ] {
        gateway.send("main", &request);
    }
    gateway.update("main", &json!({"keys": [{"id": "nothing else"}]}));

    for expression in dashboard_expressions() {
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$job", ".*")
            .replace("$instance", ".*");
        prometheus.wait_for(&expression, &expression);
    }
    for (graph, expression) in [
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
        (
            "the alert",
            r#"ALERTS{alertname="KeyfencePolicyLoadFailed", alertstate="firing"}"#,
        ),
    ] {
        prometheus.wait_for(graph, expression);
    }
    assert_eq!(prometheus.unhealthy_rules(), [""; 0]);
}

fn alerts() -> Vec<String> {
    let rules = yaml("envoy/monitoring/alerts.yaml")["groups"][0]["rules"].take();
    let names = rules.as_array().unwrap().iter();
    names.map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
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
