//! Alerts and dashboard: as `promtool` sees them, and before a real Prometheus that scrapes the
//! gateway. Both programs come with Debian's package `prometheus`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::gateway::{Process, repository};
use crate::harness::{Gateway, Listener, Request, Upstream, Version};
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
    let prometheus = Prometheus::scraping(gateway.admin_address());
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

/// A Prometheus with the project's rules; it ends with its owner.
struct Prometheus {
    _process: Process,
    _directory: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let mut config = yaml("envoy/monitoring/prometheus.yaml");
        config["global"] = json!({"scrape_interval": "500ms", "evaluation_interval": "500ms"});
        config["rule_files"] = json!([repository().join("envoy/monitoring/alerts.yaml")]);
        config["scrape_configs"][0]["static_configs"] = json!([{"targets": [target.to_string()]}]);
        let config_path = directory.path().join("prometheus.json");
        fs::write(&config_path, config.to_string()).unwrap();
        let log_path = directory.path().join("prometheus.log");
        let log = File::create(&log_path).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = Process::spawn(command);
        let address = address_when_ready(&log_path);
        Self {
            _process: process,
            _directory: directory,
            address,
        }
    }

    /// Asks again and again until the query has a result.
    fn wait_for(&self, what: &str, query: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(&format!("/api/v1/query?query={}", percent_encoded(query)));
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            if answer["data"]["result"]
                .as_array()
                .is_some_and(|result| !result.is_empty())
            {
                return;
            }
            assert!(Instant::now() < deadline, "no data for {what}: {query}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn unhealthy_rules(&self) -> Vec<String> {
        let groups = self.get("/api/v1/rules")["data"]["groups"].take();
        let rules = groups
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules
            .filter(|rule| rule["health"] != "ok")
            .map(Value::to_string)
            .collect()
    }

    fn get(&self, path: &str) -> Value {
        Request::get(path).send(Version::Http1, self.address).unwrap().json()
    }
}

/// Prometheus says in its log which port it was given, and is ready a little later.
fn address_when_ready(log_path: &Path) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let log = fs::read_to_string(log_path).unwrap_or_default();
        let address = log
            .lines()
            .filter(|line| line.contains("Listening on"))
            .find_map(|line| line.split_once("address=")?.1.split_whitespace().next()?.parse().ok());
        let ready = Request::get("/-/ready");
        if let Some(address) = address
            && ready
                .send(Version::Http1, address)
                .is_ok_and(|answer| answer.status == 200)
        {
            return address;
        }
        assert!(Instant::now() < deadline, "Prometheus did not start:\n{log}");
        thread::sleep(Duration::from_millis(50));
    }
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

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
