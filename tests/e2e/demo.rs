//! What `make run` starts, and the lines that it prints.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::Gateway;
use crate::harness::gateway::{built_filter, repository};

fn shipped(file: &str) -> String {
    fs::read_to_string(repository().join("envoy").join(file)).unwrap()
}

#[test]
fn each_printed_line_answers_as_its_comment_says() {
    built_filter();
    let rendered = TempDir::new().unwrap();
    let filter = shipped("filter.json").replace("POLICY", &Value::from(shipped("policy.json")).to_string());
    fs::write(rendered.path().join("filter.json"), filter).unwrap();

    let admin = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";
    let upstream = shipped("upstream.yaml").replace("port_value: 10001", "port_value: 0");
    let upstream = Gateway::from_yaml(&(admin.to_owned() + &upstream));
    let gateway = shipped("envoy.yaml")
        .replace("port_value: 10000", "port_value: 0")
        .replace("port_value: 9901", "port_value: 0")
        .replace(
            "port_value: 10001",
            &format!("port_value: {}", upstream.address("upstream").port()),
        )
        .replace("target/gateway", rendered.path().to_str().unwrap());
    let gateway = Gateway::from_yaml(&gateway);

    let text = shipped("try.txt");
    let address = gateway.address("gateway").to_string();
    let mut comment = "";
    let mut tried = 0;
    for line in text.lines() {
        if line.starts_with('#') {
            comment = line;
        } else if line.starts_with("curl ") {
            let line = line
                .replacen("curl", "curl --silent --max-time 10", 1)
                .replace("127.0.0.1:10000", &address);
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            let answer = String::from_utf8_lossy(&output.stdout);
            let (status, code) = comment.split_once(": ").unwrap().1.split_at(3);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{comment}: {line}: {answer}"
            );
            match status {
                "200" => assert!(answer.contains("\nx-key-id: demo-browser\n"), "{comment}: {answer}"),
                "204" => assert!(
                    answer.contains("\r\naccess-control-allow-origin: https://app.example.com\r\n"),
                    "{comment}: {answer}"
                ),
                _ => assert!(answer.contains(&format!("\"{}\"", code.trim())), "{comment}: {answer}"),
            }
            assert!(!answer.contains("\r\nserver:"), "{comment}: {answer}");
            tried += 1;
        }
    }
    assert_eq!(tried, 6);
    gateway.wait_for("the access log", |gateway| {
        gateway.log().contains("\"decision\":\"preflight\"")
    });
    assert!(!gateway.log().contains("0123456789"), "a key in the log");
}
