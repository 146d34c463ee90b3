//! `envoy/ratelimit`, the example of one limit for a whole fleet, with addresses of a test's own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::command_line::printed;
use super::gateway::{built_filter, repository};

/// A file of the folder `envoy`.
pub fn shipped(file: &str) -> String {
    fs::read_to_string(repository().join("envoy").join(file)).unwrap()
}

/// The text with `from` in it, once at least, replaced.
pub fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example has no {from:?}");
    text.replace(from, to)
}

pub fn sample_policy() -> Value {
    serde_json::from_str(&shipped("policy.json")).unwrap()
}

/// Envoy's configuration, with the policy in a file of `folder`.
pub fn configuration(upstream: SocketAddr, service: SocketAddr, policy: &Value, folder: &Path) -> String {
    built_filter();
    let filter = folder.join("filter.json");
    printed(
        &["render", "ecds", "-", "--output", filter.to_str().unwrap()],
        &policy.to_string(),
    );
    let mut configuration = shipped("ratelimit/envoy.yaml");
    for (from, to) in [
        (
            "\"::\", ipv4_compat: true, port_value: 10000",
            "127.0.0.1, port_value: 0".to_owned(),
        ),
        (
            "pipe: { path: /tmp/admin.sock, mode: 0600 }",
            "socket_address: { address: 127.0.0.1, port_value: 0 }".to_owned(),
        ),
        (
            "upstream, port_value: 10001",
            format!("127.0.0.1, port_value: {}", upstream.port()),
        ),
        (
            "ratelimit, port_value: 8081",
            format!("127.0.0.1, port_value: {}", service.port()),
        ),
        ("path: target/gateway", format!("path: {}", folder.display())),
    ] {
        configuration = replace(&configuration, from, &to);
    }
    configuration
}
