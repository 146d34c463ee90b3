//! Alerts and dashboard: as `promtool` sees them, and before a real Prometheus that scrapes the
//! gateway. Both programs come with Debian's package `prometheus`.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::harness::gateway::repository;
use crate::harness::prometheus::Prometheus;
use crate::harness::{FeedServer, Gateway, Listener, Upstream, traffic_for_graphs as traffic};
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
    let (upstream, feed) = (Upstream::start(), FeedServer::start());
    let mut policy = traffic::policy();
    policy["keys_from"] = json!({"cluster": "control", "token": "a-token-of-the-test"});
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy).updatable())
        .cluster("control", feed.address())
        .amend(with_labels)
        .crash_expected()
        .start();
    let prometheus = Prometheus::scraping("keyfence", gateway.admin_address());
    prometheus.wait_for("the first scrape", &format!("keyfence_keys == {}", traffic::KEYS));

    for request in traffic::requests() {
        gateway.send("main", &request);
    }
    gateway.update("main", &json!({"keys": [{"id": "nothing else"}]}));

    traffic::assert_every_graph_has_data(&prometheus);
    prometheus.wait_for(
        "the alert",
        r#"ALERTS{alertname="KeyfencePolicyLoadFailed", alertstate="firing"}"#,
    );
    assert_eq!(prometheus.unhealthy_rules(), [""; 0]);
}

fn alerts() -> Vec<String> {
    let rules = yaml("envoy/monitoring/alerts.yaml")["groups"][0]["rules"].take();
    let names = rules.as_array().unwrap().iter();
    names.map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}
