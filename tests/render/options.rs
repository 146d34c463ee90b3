//! What each option changes, and which are refused.

use std::process::Command;

use serde_json::{Value, json};

use super::feed::{CASES as FEED_CASES, FEED};
use super::{read, render};

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF";

/// The target and its arguments (`DIGEST` is a digest), a place in the list of documents, and what is there. A line adds another.
#[rustfmt::skip]
const OPTIONS: &[(&str, &str, &str)] = &[
    ("istio", "/0/kind", "\"WasmPlugin\""),
    ("istio --kind wasm-plugin", "/0/kind", "\"WasmPlugin\""),
    ("istio --kind traffic-extension", "/0/kind", "\"TrafficExtension\""),
    ("istio --kind traffic-extension", "/0/spec/wasm/url", "\"oci://registry.example.com/keyfence:0.1.0\""),
    ("istio --kind traffic-extension", "/0/spec/wasm/failStrategy", "\"FAIL_RELOAD\""),
    ("istio --kind traffic-extension", "/0/spec/wasm/pluginConfig", "{\"anonymous\": {\"name\": \"a\"}}"),
    ("istio --kind traffic-extension", "/0/spec/phase", "\"AUTHN\""),
    ("istio --kind traffic-extension", "/0/spec/selector/matchLabels", "{\"istio\": \"ingressgateway\"}"),
    ("istio --kind traffic-extension --sha256 DIGEST --pull-secret s", "/0/spec/wasm/imagePullSecret", "\"s\""),
    ("istio --selector a=b --selector c=d=e", "/0/spec/selector/matchLabels", "{\"a\": \"b\", \"c\": \"d=e\"}"),
    ("istio --namespace n --gateway a --gateway b", "/0/spec/targetRefs/1", "{\"group\": \"gateway.networking.k8s.io\", \"kind\": \"Gateway\", \"name\": \"b\"}"),
    ("istio --namespace n --gateway a", "/0/spec/selector", "null"),
    ("istio", "/0/spec/failStrategy", "\"FAIL_RELOAD\""),
    ("istio --fail-strategy fail-close", "/0/spec/failStrategy", "\"FAIL_CLOSE\""),
    ("istio --fail-strategy fail-reload", "/0/spec/failStrategy", "\"FAIL_RELOAD\""),
    ("istio --name other", "/0/metadata", "{\"name\": \"other\", \"namespace\": \"istio-system\"}"),
    ("istio --name on", "/0/metadata/name", "\"on\""),
    ("istio --name 12", "/0/metadata/name", "\"12\""),
    ("istio --image oci://a/b:1", "/0/spec/url", "\"oci://a/b:1\""),
    ("envoy-gateway --image oci://a/b:1", "/0/spec/wasm/0/code/image/url", "\"a/b:1\""),
    ("istio --sha256 DIGEST", "/0/spec/sha256", "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
    ("istio --sha256 sha256:DIGEST", "/0/spec/sha256", "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
    ("istio --sha256 1111111111111111111111111111111111111111111111111111111111111111", "/0/spec/sha256", "\"1111111111111111111111111111111111111111111111111111111111111111\""),
    ("istio", "/0/spec/sha256", "null"),
    ("envoy-filter --name other --namespace n", "/0/metadata", "{\"name\": \"other\", \"namespace\": \"n\"}"),
    ("envoy-filter --selector a=b --selector c=d", "/0/spec/workloadSelector/labels", "{\"a\": \"b\", \"c\": \"d\"}"),
    ("envoy-gateway", "/0/spec/wasm/0/failOpen", "false"),
    ("envoy-gateway", "/0/spec/targetRefs/0/name", "\"eg\""),
    ("envoy-gateway", "/1/kind", "\"EnvoyProxy\""),
    ("envoy-gateway", "/2", "null"),
    ("envoy-gateway --name other", "/0/metadata", "{\"name\": \"other\", \"namespace\": \"default\"}"),
    ("envoy-gateway --name other", "/1/metadata", "{\"name\": \"other\", \"namespace\": \"default\"}"),
    ("envoy-gateway --sha256 DIGEST", "/0/spec/wasm/0/code/image/sha256", "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
    ("envoy-gateway --trusted-hops 3", "/2/spec/clientIPDetection", "{\"xForwardedFor\": {\"numTrustedHops\": 3}}"),
    ("envoy --listen 127.0.0.1:1 --upstream [::1]:2", "/0/static_resources/listeners/0/address/socket_address", "{\"address\": \"127.0.0.1\", \"port_value\": 1}"),
    ("envoy --listen 127.0.0.1:1 --upstream [::1]:2", "/0/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address", "{\"address\": \"::1\", \"port_value\": 2}"),
];

/// Each option with a value, and the targets that use it.
#[rustfmt::skip]
const USES: &[(&str, &[&str])] = &[
    ("--wasm=a", &["envoy", "ecds", "envoy-filter"]),
    ("--image=a", &["istio", "envoy-gateway"]),
    ("--sha256=DIGEST", &["istio", "envoy-gateway"]),
    ("--pull-secret=a", &["istio", "envoy-gateway"]),
    ("--name=a", &["istio", "envoy-filter", "envoy-gateway"]),
    ("--namespace=a", &["istio", "envoy-filter", "envoy-gateway"]),
    ("--gateway=a --namespace=b", &["istio", "envoy-gateway"]),
    ("--selector=a=b", &["istio", "envoy-filter"]),
    ("--kind=wasm-plugin", &["istio"]),
    ("--fail-strategy=fail-close", &["istio"]),
    ("--trusted-hops=1", &["envoy-gateway"]),
    ("--listen=a:1", &["envoy"]),
    ("--upstream=a:1", &["envoy"]),
    ("--feed-ca=a --feed-address=b:1", &["envoy", "istio", "envoy-filter", "envoy-gateway"]),
    ("--feed-address=a:1", &["envoy", "istio", "envoy-filter", "envoy-gateway"]),
    ("--output=rendered", &["envoy", "ecds", "istio", "envoy-filter", "envoy-gateway"]),
];

/// Arguments, and a part of what is said of them.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("istio --name A", "lower-case letters"),
    ("istio --name a.b", "lower-case letters"),
    ("istio --name=-a", "lower-case letters"),
    ("istio --name a-", "lower-case letters"),
    ("istio --name=", "lower-case letters"),
    ("istio --name a123456789012345678901234567890123456789012345678901234567890123", "lower-case letters"),
    ("istio --sha256 0123", "64 hexadecimal digits"),
    ("istio --sha256 sha512:DIGEST", "64 hexadecimal digits"),
    ("istio --sha256 DIGEST0", "64 hexadecimal digits"),
    ("istio --selector a", "name=value"),
    ("istio --selector a=b --selector c=d --selector a=c", "--selector has a twice"),
    ("istio --selector =b", "name=value"),
    ("istio --namespace=", "it is empty"),
    ("istio --namespace=n --gateway=", "it is empty"),
    ("istio --image=", "it is empty"),
    ("istio --image=oci://", "it is empty"),
    ("istio --pull-secret=", "it is empty"),
    ("envoy --wasm=", "it is empty"),
    ("envoy --listen :1", "host:port"),
    ("envoy --upstream []:1", "host:port"),
    ("envoy --feed-address 7070", "host:port"),
    ("envoy --feed-ca=", "it is empty"),
    ("envoy --feed-address a:1", "--feed-address needs a policy with keys_from"),
    ("envoy-gateway --feed-ca a", "--feed-ca needs a policy with keys_from"),
    ("istio --gateway a", "--gateway takes --namespace for istio"),
    ("istio --selector a=b --gateway c", "cannot be used with"),
    ("istio --fail-strategy fail-open", "possible values: fail-close, fail-reload"),
    ("istio --kind envoy-filter", "possible values: wasm-plugin, traffic-extension"),
    ("envoy-gateway --trusted-hops 0", "1..=255"),
    ("envoy-gateway --trusted-hops one", "invalid"),
];

pub fn words(arguments: &str) -> Vec<String> {
    arguments
        .split(' ')
        .map(|word| word.replace("DIGEST", DIGEST))
        .collect()
}

/// The exit code, and what is on standard error.
pub fn run(arguments: &[String], policy: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.json"), policy).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyfence"));
    let output = command
        .args(["render", &arguments[0], "policy.json"])
        .args(&arguments[1..])
        .current_dir(&folder)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn each_option_is_where_it_belongs() {
    for (arguments, pointer, expected) in OPTIONS {
        let words = words(arguments);
        let rest: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let rendered = read(&render(&words[0], &rest, r#"{"anonymous": {"name": "a"}}"#));
        let expected: Value = serde_json::from_str(expected).unwrap();
        let found = rendered.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{arguments}: {pointer} of {rendered:#}");
    }
}

#[test]
fn an_option_that_the_target_does_not_use_is_refused() {
    for target in ["envoy", "ecds", "istio", "envoy-filter", "envoy-gateway"] {
        for (option, targets) in USES {
            let policy = if option.contains("--feed") { FEED } else { "{}" };
            let (code, said) = run(&words(&format!("{target} {option}")), policy);
            if targets.contains(&target) {
                assert_eq!(code, Some(0), "{target} {option}: {said}");
            } else {
                let option = option.split_once('=').unwrap().0;
                let expected = format!(
                    "keyfence: {target} does not use {option}; it is for {}\n",
                    targets.join(", ")
                );
                assert_eq!((code, said), (Some(2), expected), "{target} {option}");
            }
        }
    }
}

#[test]
fn a_wrong_value_is_refused() {
    for (arguments, expected) in REFUSED {
        let (code, said) = run(&words(arguments), "{}");
        assert_eq!(code, Some(2), "{arguments}: {said}");
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

/// Each kind of what is rendered is one that `check` finds nothing wrong with.
#[test]
fn check_finds_nothing_wrong_with_what_is_rendered() {
    const PLAIN: &str = r#"{"anonymous": {"allowed_ips": ["192.0.2.0/24"]}, "client_ip": "forwarded"}"#;
    let with_feed = FEED_CASES
        .iter()
        .map(|(arguments, policy)| (*arguments, (*policy).to_owned()));
    let plain = [
        "envoy",
        "ecds",
        "istio",
        "istio --kind traffic-extension --fail-strategy fail-reload --sha256 DIGEST --pull-secret s",
        "istio --namespace n --gateway a --gateway b --sha256 DIGEST --pull-secret s --name n",
        "istio --kind traffic-extension --namespace n --gateway a",
        "envoy-filter --selector a=b",
        "envoy-gateway --gateway a --sha256 DIGEST --pull-secret s --trusted-hops 1",
    ];
    let plain = plain.map(|arguments| (arguments, PLAIN.to_owned()));
    for (arguments, policy) in plain.into_iter().chain(with_feed) {
        let words = words(arguments);
        let rest: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rendered"), render(&words[0], &rest, &policy)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyfence"));
        let output = command
            .args(["check", "rendered"])
            .current_dir(&folder)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(
            printed.lines().all(|line| line.contains(": policy accepted: ")),
            "{arguments}: {printed}"
        );
        assert_eq!(
            (output.status.code(), printed.lines().count()),
            (Some(0), 1),
            "{arguments}: {printed}"
        );
    }
}

/// No argument makes a gateway that lets requests pass after a failure.
#[test]
fn nothing_that_is_rendered_is_open() {
    for target in ["envoy", "ecds", "istio", "envoy-filter", "envoy-gateway"] {
        let rendered = render(target, &[], "{}");
        for open in ["FAIL_OPEN", "failOpen: true", "fail_open"] {
            assert!(!rendered.contains(open), "{target}: {open}");
        }
    }
    assert_eq!(
        read(&render("envoy-gateway", &[], "{}"))[0]["spec"]["wasm"][0]["failOpen"],
        json!(false)
    );
}
