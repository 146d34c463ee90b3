//! The guide `envoy/keys-from`: what its section on the gateway says is so, with what `render` writes, in a real Envoy.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::command_line::{keyfence, printed};
use crate::harness::control_server::ControlServer;
use crate::harness::gateway::built_filter;
use crate::harness::{Gateway, Request, Upstream};

const GUIDE: &str = include_str!("../../envoy/keys-from/README.md");
const POLICY: &str = "envoy/keys-from/policy.json";

/// `keyfence render` with these arguments, on free ports.
fn rendered(arguments: &[&str]) -> String {
    let wasm = built_filter().to_str().unwrap();
    let arguments = [
        &["render", "envoy", POLICY, "--wasm", wasm, "--listen", "127.0.0.1:0"],
        arguments,
    ]
    .concat();
    let admin = "pipe: { path: /tmp/keyfence-admin.sock, mode: 384 }";
    printed(&arguments, "")
        .replace(admin, "socket_address: { address: 127.0.0.1, port_value: 0 }")
        .replace("port_value: 9902", "port_value: 0")
}

fn key(id: &str) -> Value {
    json!({"id": id, "api_key": api_key(id), "kind": "secret"})
}

fn api_key(id: &str) -> String {
    format!("ak_test_{id}_0123456789")
}

fn with(id: &str) -> Request {
    Request::get("/v1/indexes/products/search").bearer(&api_key(id))
}

/// What the gateway answers to a request with a key: its status, or the code of its error.
fn answer(gateway: &Gateway, id: &str) -> String {
    let response = gateway.send("gateway", &with(id));
    if response.status == 200 {
        "200".into()
    } else {
        response.code().to_owned()
    }
}

fn wait_for(gateway: &Gateway, id: &str, expected: &str) {
    gateway.wait_for(&format!("{expected} for {id}"), |gateway| {
        answer(gateway, id) == expected
    });
}

#[test]
fn a_gateway_gets_its_keys_and_keeps_them() {
    let mut server = ControlServer::new();
    server.set(&key("shop"));
    let upstream = Upstream::start();
    let (feed, address) = (server.address().to_string(), upstream.address().to_string());
    let gateway = Gateway::from_yaml(&rendered(&["--feed-address", &feed, "--upstream", &address]));

    // Not ready, then ready: the path of a load balancer.
    assert_eq!(answer(&gateway, "no-such-key"), "policy_unavailable");
    assert_eq!(answer(&gateway, "shop"), "policy_unavailable");
    assert_eq!(gateway.send("gateway", &Request::get("/")).code(), "missing_api_key");
    server.start();
    wait_for(&gateway, "no-such-key", "invalid_api_key");
    assert_eq!(answer(&gateway, "shop"), "200");
    assert_eq!(upstream.take_one().all("x-key-id"), ["shop"]);

    // A change, on connections that are open too.
    server.set(&key("reports"));
    wait_for(&gateway, "reports", "200");
    server.remove("shop");
    wait_for(&gateway, "shop", "invalid_api_key");

    // Without the server the keys stay in force; with it the next change comes.
    server.stop();
    gateway.wait_for("a failure", |gateway| gateway.log().contains("stay in force"));
    assert_eq!(answer(&gateway, "reports"), "200");
    server.set(&key("shop"));
    server.start();
    wait_for(&gateway, "shop", "200");
}

#[test]
fn a_feed_over_tls_is_that_of_its_authority() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let certificate = rcgen::generate_simple_self_signed(["keyfence-control".to_owned()]).unwrap();
    fs::write(file("tls.crt"), certificate.cert.pem()).unwrap();
    fs::write(file("tls.key"), certificate.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(["keyfence-control".to_owned()]).unwrap();
    fs::write(file("other.crt"), other.cert.pem()).unwrap();
    let mut server = ControlServer::new();
    server.set(&key("shop"));
    server.start_tls(&file("tls.crt"), &file("tls.key"));
    let upstream = Upstream::start();
    let (feed, address) = (server.address().to_string(), upstream.address().to_string());
    let gateway = |ca: &str, authority: &str| {
        let ca = file(ca).to_str().unwrap().to_owned();
        let rendered = rendered(&["--feed-address", &feed, "--upstream", &address, "--feed-ca", &ca]);
        let policy = r#""cluster": "keyfence_control""#;
        assert_eq!(rendered.matches(policy).count(), 1);
        Gateway::from_yaml(&rendered.replace(policy, &format!(r#"{policy}, "authority": "{authority}""#)))
    };
    wait_for(&gateway("tls.crt", "keyfence-control"), "shop", "200");
    for (ca, authority) in [("other.crt", "keyfence-control"), ("tls.crt", "other.example")] {
        let gateway = gateway(ca, authority);
        gateway.wait_for("three failures", |gateway| failures(gateway, "unreachable") >= 3);
        assert_eq!(answer(&gateway, "shop"), "policy_unavailable", "{ca}, {authority}");
    }
}

/// How often polls have failed in this way.
fn failures(gateway: &Gateway, code: &str) -> u64 {
    let metrics = gateway.admin("/stats/prometheus");
    let counter = format!(r#"keyfence_feed_failures_total{{code="{code}",plugin="keyfence"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&counter));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Each command that renders, as the guide has it: what it prints has no error and no warning.
#[test]
fn the_commands_of_the_guide_render() {
    let lines = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("    keyfence render "));
    let mut targets = Vec::new();
    for line in lines {
        let line = line.split(" --output").next().unwrap();
        let arguments = line.split(['|', '>']).next().unwrap().trim();
        let arguments: Vec<&str> = ["render"].into_iter().chain(arguments.split(' ')).collect();
        let output = keyfence(&["check", "-"], &printed(&arguments, ""));
        let found = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {found}");
        assert_eq!(found.lines().count(), 1, "{line}: {found}");
        targets.push(arguments[1].to_owned());
    }
    targets.sort();
    targets.dedup();
    assert_eq!(targets, ["ecds", "envoy", "envoy-gateway", "istio"]);
}

/// Each alert of the feed is explained, and each reason that a poll has failed.
#[test]
fn the_guide_has_every_alert_and_failure() {
    let alerts = fs::read_to_string("envoy/monitoring/alerts.yaml").unwrap();
    let names: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .filter(|name| name.starts_with("KeyfenceFeed"))
        .collect();
    assert_eq!(names.len(), 5);
    for name in names
        .into_iter()
        .chain(["unreachable", "status", "malformed", "too_large", "outdated", "memory"])
    {
        assert!(GUIDE.contains(&format!("`{name}`")), "{name}");
    }
}
