//! A real Prometheus with the project's rules. It comes with Debian's package `prometheus`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::gateway::{Process, repository};
use super::{Request, Version};

/// A Prometheus with the project's rules; it ends with its owner.
pub struct Prometheus {
    _process: Process,
    _directory: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Whether the program is installed.
    pub fn is_installed() -> bool {
        Command::new("prometheus").arg("--version").output().is_ok()
    }

    /// It scrapes one Envoy, under the name of this job, and evaluates the rules twice a second.
    pub fn scraping(job: &str, target: SocketAddr) -> Self {
        Self::scraping_at(job, target, "/stats/prometheus")
    }

    /// The same of another program's metrics.
    pub fn scraping_at(job: &str, target: SocketAddr, path: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let text = fs::read_to_string(repository().join("envoy/monitoring/prometheus.yaml")).unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        config["global"] = json!({"scrape_interval": "500ms", "evaluation_interval": "500ms"});
        config["rule_files"] = json!([repository().join("envoy/monitoring/alerts.yaml")]);
        config["scrape_configs"][0]["job_name"] = json!(job);
        config["scrape_configs"][0]["metrics_path"] = json!(path);
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

    /// Whether the query has a result now.
    pub fn has(&self, query: &str) -> bool {
        let answer = self.get(&format!("/api/v1/query?query={}", percent_encoded(query)));
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array();
        result.is_some_and(|result| !result.is_empty())
    }

    /// Asks again and again until the query has a result.
    pub fn wait_for(&self, what: &str, query: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if self.has(query) {
                return;
            }
            assert!(Instant::now() < deadline, "no data for {what}: {query}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Rules whose expression cannot be evaluated.
    pub fn unhealthy_rules(&self) -> Vec<String> {
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

/// What an alert asks, without the time for which it must hold.
pub fn expression_of(alert: &str) -> String {
    let text = fs::read_to_string(repository().join("envoy/monitoring/alerts.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&text).unwrap();
    let mut rules = rules["groups"][0]["rules"].as_array().unwrap().iter();
    let rule = rules.find(|rule| rule["alert"] == alert);
    let rule = rule.unwrap_or_else(|| panic!("there is no alert {alert}"));
    rule["expr"].as_str().unwrap().to_owned()
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
