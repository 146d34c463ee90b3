//! A VM that fails, and answers that pass the filter by. The filter here is a build of its own with
//! the feature `trap`, which fails on demand; the shipped one is searched for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::{exchange_raw, read_response};
use crate::harness::gateway::repository;
use crate::harness::{Gateway, Listener, Request, Upstream};
use crate::manifests::yaml;

const KEY: &str = "ak_test_failure_0d1c2b3a4f5e";

/// The header that makes the trapping build fail, of a request or a response.
pub const TRAP: &str = "x-keyfence-trap";

fn policy() -> Value {
    json!({"keys": [{"id": "site", "api_key": KEY, "rate_limit_per_minute": 3}]})
}

#[test]
fn under_fail_closed_a_failed_vm_lets_nothing_pass_for_good() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "FAIL_CLOSED");
    assert_eq!(gateway.send("main", &Request::get("/").bearer(KEY)).status, 200);
    upstream.take();
    assert_eq!(gateway.send("main", &trap()).status, 503);
    for_a_while(Duration::from_secs(3), || {
        for request in [Request::get("/"), Request::get("/").bearer(KEY)] {
            assert_eq!(gateway.send("main", &request).status, 503);
        }
        true
    });
    assert_eq!(upstream.take().len(), 0);
}

#[test]
fn under_fail_reload_service_is_back_after_the_back_off() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "FAIL_RELOAD");
    let with_key = Request::get("/").bearer(KEY);
    for _ in 0..3 {
        assert_eq!(gateway.send("main", &with_key).status, 200);
    }
    upstream.take();
    assert_eq!(gateway.send("main", &trap()).status, 503);
    let failed = Instant::now();
    let mut refused = 0;
    for_a_while(Duration::from_secs(10), || {
        match gateway.send("main", &Request::get("/")).status {
            503 => refused += 1,
            401 => return false,
            status => panic!("a request without a key got {status}"),
        }
        true
    });
    let back = failed.elapsed();
    assert!(back < Duration::from_secs(5), "it took {back:?}");
    // The memory of the limits is Envoy's, not the VM's.
    assert_eq!(gateway.send("main", &with_key).status, 429);
    assert_eq!(upstream.take().len(), 0);

    let stats = gateway.admin("/stats");
    for (name, value) in [
        ("vm_reload_backoff", refused),
        ("vm_reload_success", 1),
        ("vm_reload_failure", 0),
    ] {
        assert!(
            stats.contains(&format!("wasm.keyfence.{name}: {value}\n")),
            "{name} is not {value}:\n{stats}"
        );
    }
}

#[test]
fn what_a_failed_vm_was_at_work_on_is_not_delivered_unchecked() {
    let upstream = Upstream::start();
    upstream.answer(
        "/",
        &[
            (TRAP, "now"),
            ("X-Powered-By", "upstream"),
            ("Access-Control-Allow-Origin", "*"),
        ],
    );
    for failure_policy in ["FAIL_CLOSED", "FAIL_RELOAD"] {
        let gateway = gateway(&upstream, failure_policy);
        let response = gateway.send("main", &Request::get("/").bearer(KEY));
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(response.header("x-powered-by"), None);
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

#[test]
fn answers_that_pass_the_filter_by_carry_security_headers() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "FAIL_CLOSED");
    let by_the_filter = gateway.send("main", &Request::get("/"));
    assert_eq!(by_the_filter.code(), "missing_api_key");

    let codec_errors: [(&str, &[u8], u16); 5] = [
        ("no header line", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", 400),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", 426),
        (
            "an unknown transfer coding",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
            501,
        ),
        ("a bad target", b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ];
    let mut answers = vec![];
    for (name, bytes, status) in codec_errors {
        let raw = exchange_raw(gateway.address("main"), bytes, Duration::from_millis(500)).unwrap();
        let response = read_response(&mut raw.as_slice(), "GET").unwrap();
        assert_eq!(response.status, status, "{name}");
        answers.push((name, response));
    }
    gateway.send("main", &trap());
    answers.push(("a dead VM", gateway.send("main", &Request::get("/"))));

    for header in SECURITY_HEADERS {
        let expected = by_the_filter.header(header);
        assert!(expected.is_some(), "{header} from the filter");
        for (name, response) in &answers {
            assert_eq!(response.header(header), expected, "{header}: {name}");
        }
    }
}

#[test]
fn the_shipped_filter_has_no_trap() {
    let upstream = Upstream::start();
    upstream.answer("/", &[(TRAP, "now")]);
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &policy()))
        .start();
    assert_eq!(gateway.send("main", &trap().bearer(KEY)).status, 200);
}

/// What the `default` preset sets (`Server` aside, which is Envoy's).
const SECURITY_HEADERS: [&str; 6] = [
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
    "referrer-policy",
    "content-security-policy",
];

fn gateway(upstream: &Upstream, failure_policy: &'static str) -> Gateway {
    Gateway::in_front_of(upstream)
        .wasm(trapping_filter())
        .listener(Listener::new("main", &policy()).failure_policy(failure_policy))
        .amend(with_local_replies)
        .crash_expected()
        .start()
}

/// The part of the example that sees to Envoy's own answers.
fn with_local_replies(bootstrap: &mut Value) {
    let example = yaml("envoy/envoy.yaml");
    let listeners = example["static_resources"]["listeners"].as_array().unwrap();
    let config = listeners
        .iter()
        .map(|listener| &listener["filter_chains"][0]["filters"][0]["typed_config"]["local_reply_config"])
        .find(|config| config.is_object())
        .unwrap();
    bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["local_reply_config"] =
        config.clone();
}

fn trap() -> Request {
    Request::get("/").header(TRAP, "now")
}

/// Repeats until `action` says no more, which it need not.
fn for_a_while(at_most: Duration, mut action: impl FnMut() -> bool) {
    let end = Instant::now() + at_most;
    while Instant::now() < end && action() {
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn trapping_filter() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let target = repository().join("target/trap");
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "keyfence-envoy",
                "--features",
                "trap",
            ])
            .args(["--target", "wasm32-wasip1", "--target-dir"])
            .arg(&target)
            .current_dir(repository())
            .status()
            .unwrap();
        assert!(status.success(), "the trapping filter does not build");
        target.join("wasm32-wasip1/release/keyfence.wasm")
    })
}
