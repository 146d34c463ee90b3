//! Servers that use Node's built-in `fetch`, which sends `Sec-Fetch-Mode` and is no browser. Skipped where there is no Node.

use std::process::Command;

use serde_json::json;

use crate::harness::skipped::skip;
use crate::harness::{Gateway, Listener, Upstream};

/// Prints the status and the `code` of what it gets with the method, key and headers in the arguments.
const SCRIPT: &str = "
const [url, method, key, headers] = process.argv.slice(1);
const response = await fetch(url, { method, headers: { Authorization: `Bearer ${key}`, ...JSON.parse(headers) } });
const text = await response.text();
console.log(response.status, response.ok ? '' : JSON.parse(text).code);";

#[test]
fn fetch_of_node() {
    if Command::new("node").arg("--version").output().is_err() {
        skip("Node's fetch: there is no node (Debian: apt-get install nodejs)");
        return;
    }
    let upstream = Upstream::start();
    let policy = json!({"keys": [
        {"id": "secret", "api_key": "secret-key-00000", "kind": "secret"},
        {"id": "site", "api_key": "site-key-0000000", "allowed_origins": ["https://yourapp.com"]},
    ]});
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy))
        .start();
    let url = format!("http://{}/", gateway.address("main"));
    for (method, key, headers, expected) in [
        ("GET", "secret-key-00000", json!({}), "200"),
        (
            "POST",
            "secret-key-00000",
            json!({"Content-Type": "application/json"}),
            "200",
        ),
        (
            "GET",
            "secret-key-00000",
            json!({"Origin": "https://yourapp.com"}),
            "403 secret_key_in_browser",
        ),
        ("GET", "site-key-0000000", json!({}), "403 origin_not_allowed"),
        (
            "GET",
            "site-key-0000000",
            json!({"Origin": "https://yourapp.com"}),
            "200",
        ),
    ] {
        let output = Command::new("node")
            .args(["--input-type=module", "--eval", SCRIPT, "--"])
            .args([&url, method, key, &headers.to_string()])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(printed.trim(), expected, "{method} with {key} and {headers}: {errors}");
    }
}
