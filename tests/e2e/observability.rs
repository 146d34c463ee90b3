//! What the gateway shows of its decisions, and what it never shows.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::client::{connect, read_response};
use crate::harness::{Gateway, Listener, Request, Upstream};
use crate::manifests::yaml;

const SITE: &str = "ak_test_site_5b1e0c7d9f3a";
const LIMITED: &str = "ak_test_limited_88d2c4e6a1";
const TRIAL: &str = "ak_test_trial_3f9d7b5c1e0a";
const UNKNOWN: &str = "ak_test_unknown_7c7c7c7c7c";

fn policy() -> Value {
    json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [
            {"id": "site", "api_key": hash(SITE), "allowed_origins": ["https://yourapp.com"]},
            {"id": "limited", "api_key": hash(LIMITED), "rate_limit_per_minute": 1},
            // Raw, as nobody should: it is not to be seen all the same.
            {"id": "trial", "api_key": TRIAL, "allowed_origins": ["https://trial.yourapp.com"], "enforcement": "report"},
        ],
    })
}

struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    /// The one series that grows, by one.
    series: &'static str,
    /// `key_id` and `decision` in the access log.
    logged: (Option<&'static str>, Option<&'static str>),
}

fn cases() -> Vec<Case> {
    let get = |path: &str| Request::get(path);
    let case = |name, request, status, series, logged| Case {
        name,
        request,
        status,
        series,
        logged,
    };
    vec![
        case(
            "allowed",
            get("/allowed").bearer(SITE).header("Origin", "https://yourapp.com"),
            200,
            r#"keyfence_requests_total{decision="allow"}"#,
            (Some("site"), None),
        ),
        case(
            "allowed, the key in the query",
            get(format!("/query?api_key={SITE}").as_str()).header("Origin", "https://yourapp.com"),
            200,
            r#"keyfence_requests_total{decision="allow"}"#,
            (Some("site"), None),
        ),
        case(
            "denied, a known key",
            get("/origin").bearer(SITE).header("Origin", "https://evil.example"),
            403,
            r#"keyfence_requests_total{decision="deny",code="origin_not_allowed"}"#,
            (Some("site"), Some("deny:origin_not_allowed")),
        ),
        case(
            "denied, no key",
            get("/none"),
            401,
            r#"keyfence_requests_total{decision="deny",code="missing_api_key"}"#,
            (None, Some("deny:missing_api_key")),
        ),
        case(
            "denied, an unknown key",
            get("/unknown").bearer(UNKNOWN),
            401,
            r#"keyfence_requests_total{decision="deny",code="invalid_api_key"}"#,
            (None, Some("deny:invalid_api_key")),
        ),
        case(
            "denied, an unknown key in the query",
            get(format!("/unknown-query?api_key={UNKNOWN}").as_str()),
            401,
            r#"keyfence_requests_total{decision="deny",code="invalid_api_key"}"#,
            (None, Some("deny:invalid_api_key")),
        ),
        case(
            "the last of its limit",
            get("/last").bearer(LIMITED),
            200,
            r#"keyfence_requests_total{decision="allow"}"#,
            (Some("limited"), None),
        ),
        case(
            "over its limit",
            get("/over").bearer(LIMITED),
            429,
            r#"keyfence_requests_total{decision="deny",code="rate_limit_exceeded"}"#,
            (Some("limited"), Some("deny:rate_limit_exceeded")),
        ),
        case(
            "reported",
            get("/reported").bearer(TRIAL).header("Origin", "https://evil.example"),
            200,
            r#"keyfence_requests_total{decision="report",code="origin_not_allowed"}"#,
            (Some("trial"), Some("report:origin_not_allowed")),
        ),
        case(
            "in report mode, and right",
            get("/right")
                .bearer(TRIAL)
                .header("Origin", "https://trial.yourapp.com"),
            200,
            r#"keyfence_requests_total{decision="allow"}"#,
            (Some("trial"), None),
        ),
        case(
            "a preflight",
            Request::preflight("/preflight", "https://yourapp.com", "GET", "authorization"),
            204,
            r#"keyfence_preflights_total{decision="allow"}"#,
            (None, Some("preflight")),
        ),
        case(
            "a preflight from elsewhere",
            Request::preflight("/preflight-denied", "https://evil.example", "GET", ""),
            403,
            r#"keyfence_preflights_total{decision="deny",code="origin_not_allowed"}"#,
            (None, Some("deny:origin_not_allowed")),
        ),
    ]
}

#[test]
fn every_request_counts_once_and_is_logged_with_key_and_decision() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, &policy());
    let cases = cases();
    for case in &cases {
        let before = series(&gateway);
        let response = gateway.send("main", &case.request);
        assert_eq!(response.status, case.status, "{}", case.name);
        let after = series(&gateway);
        let grown: Vec<(&str, f64)> = after
            .iter()
            .map(|(name, value)| (name.as_str(), value - before.get(name).unwrap_or(&0.0)))
            .filter(|(_, growth)| *growth != 0.0)
            .collect();
        assert_eq!(grown, [(case.series, 1.0)], "{}", case.name);

        let path = String::from_utf8(case.request.path.clone()).unwrap();
        let path = path.split('?').next().unwrap();
        let line = logged(&gateway, path);
        assert_eq!(
            (line["key_id"].as_str(), line["decision"].as_str()),
            case.logged,
            "{}: {line}",
            case.name
        );
        assert_eq!(line["status"], case.status, "{line}");
        let request_id = line["request_id"].as_str().unwrap();
        assert_eq!(request_id.len(), 36, "{line}");
        if response.status >= 400 {
            assert_eq!(response.json()["request_id"], request_id, "{}", case.name);
        }
    }
}

#[test]
fn no_key_is_seen_raw_or_hashed() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, &policy());
    let mut answers = String::new();
    for case in cases() {
        let response = gateway.send("main", &case.request);
        answers += &format!("{:?}\n{}\n", response.headers, response.text());
    }
    let last = "/preflight-denied";
    logged(&gateway, last);
    let access_log = format!("{:?}", gateway.access_log());
    for (place, text) in [
        ("Envoy's log", gateway.log()),
        ("the access log", access_log),
        ("the statistics", gateway.admin("/stats")),
        ("Prometheus' statistics", gateway.admin("/stats/prometheus")),
        ("an answer", answers),
    ] {
        assert!(!text.is_empty(), "{place}");
        for key in [SITE, LIMITED, TRIAL, UNKNOWN] {
            let digest = hash(key);
            for secret in [key, digest.trim_start_matches("sha256:")] {
                let shown = text.to_lowercase().contains(&secret.to_lowercase());
                assert!(!shown, "{place} shows {secret}");
            }
        }
    }
}

#[test]
fn ten_thousand_keys_and_origins_add_no_series() {
    const COUNT: usize = 10_000;
    let key = |n: usize| format!("ak_test_many_{n:08}");
    let keys: Vec<Value> = (0..COUNT)
        .map(|n| {
            json!({
                "id": format!("key-{n}"),
                "api_key": hash(&key(n)),
                "allowed_origins": [format!("https://site{n}.example")],
                "rate_limit_per_minute": 1,
            })
        })
        .collect();
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, &json!({ "keys": keys }));
    let before = series(&gateway);
    assert_eq!(before[KEYS], COUNT as f64);

    let mut connection = connect(gateway.address("main"), None).unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    for n in 0..COUNT {
        let request = Request::get("/")
            .bearer(&key(n))
            .header("Origin", format!("https://site{n}.example"));
        connection.write_all(&request.to_bytes()).unwrap();
        let response = read_response(&mut reader, "GET").unwrap();
        assert_eq!(response.status, 200, "key {n}");
    }
    let after = series(&gateway);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(after[r#"keyfence_requests_total{decision="allow"}"#], COUNT as f64);
    assert!(after.len() < 100, "{} series", after.len());
}

/// The series of the plugin that tests configure.
const KEYS: &str = r#"keyfence_keys{plugin="keyfence"}"#;
const FAILURES: &str = r#"keyfence_policy_load_failures_total{plugin="keyfence"}"#;

#[test]
fn a_refused_policy_is_counted_and_the_keys_stay() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy()).updatable())
        .amend(with_labels)
        .crash_expected()
        .start();
    for round in 1..=3 {
        gateway.update("main", &json!({"keys": [{"id": format!("no key {round}")}]}));
        gateway.wait_for("the refusal to be counted", |gateway| {
            series(gateway)[FAILURES] == f64::from(round)
        });
        assert_eq!(series(&gateway)[KEYS], 3.0);
    }
    gateway.update("main", &json!({"keys": []}));
    gateway.wait_for("the good policy", |gateway| series(gateway)[KEYS] == 0.0);
}

#[test]
fn labels_are_made_alike_everywhere() {
    let tags = &yaml("envoy/envoy.yaml")["stats_config"]["stats_tags"];
    // Istio makes such a regular expression of each of these names.
    let mesh = yaml("envoy/istio/mesh.yaml");
    let names = mesh["spec"]["meshConfig"]["defaultConfig"]["extraStatTags"]
        .as_array()
        .unwrap();
    for (name, tag) in names.iter().zip(tags.as_array().unwrap()) {
        let name = name.as_str().unwrap();
        let regex = format!(r"({name}=\.=(.*?);\.;)");
        assert_eq!(*tag, json!({"tag_name": name, "regex": regex}));
    }
    assert_eq!(names.len(), 3);
    let envoy_gateway = yaml("envoy/envoy-gateway/envoy-proxy.yaml");
    let patches = envoy_gateway["spec"]["bootstrap"]["jsonPatches"].as_array().unwrap();
    let values: Vec<&Value> = patches.iter().map(|patch| &patch["value"]).collect();
    assert_eq!(json!(values), *tags);
}

fn gateway(upstream: &Upstream, policy: &Value) -> Gateway {
    Gateway::in_front_of(upstream)
        .listener(Listener::new("main", policy))
        .amend(with_labels)
        .start()
}

/// The part of the example that makes labels of metric names.
pub fn with_labels(bootstrap: &mut Value) {
    bootstrap["stats_config"] = yaml("envoy/envoy.yaml")["stats_config"].clone();
}

/// The filter's series as Prometheus reads them, labels included.
pub fn series(gateway: &Gateway) -> BTreeMap<String, f64> {
    gateway
        .admin("/stats/prometheus")
        .lines()
        .filter(|line| line.starts_with("keyfence_"))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.trim_end_matches("{}").to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn logged(gateway: &Gateway, path: &str) -> Value {
    let mut found = None;
    gateway.wait_for("a line in the access log", |gateway| {
        found = gateway.access_log().into_iter().find(|line| line["path"] == path);
        found.is_some()
    });
    found.unwrap()
}

fn hash(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
