//! What a policy with `keys_from` adds: the cluster of the feed, and the environment variable with its token.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::options::{run, words};
use super::special::SPECIAL;
use super::{long, read, render};

pub const FEED: &str = r#"{"keys_from": {"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN"}}"#;

/// A cluster that Istio makes of a Service.
pub const MESH: &str = r#"{"keys_from": {"cluster": "outbound|8080||keyfence-control.keyfence.svc.cluster.local", "token_env": "KEYFENCE_FEED_TOKEN"}}"#;

/// Each way to render a feed: the target with its arguments, and the policy.
#[rustfmt::skip]
pub const CASES: &[(&str, &str)] = &[
    ("envoy", FEED),
    ("envoy --feed-address keys.example.com:443 --feed-ca /etc/ssl/certs/ca-certificates.crt", FEED),
    ("ecds", FEED),
    ("istio", MESH),
    ("istio --kind traffic-extension", MESH),
    ("istio --feed-address keys.example.com:443 --feed-ca /etc/ssl/certs/ca-certificates.crt", FEED),
    ("istio --namespace n --gateway a --gateway b --feed-address a.n.svc.cluster.local:7070", FEED),
    ("envoy-filter", MESH),
    ("envoy-filter --feed-address [2001:db8::1]:7070", FEED),
    ("envoy-gateway --feed-address keyfence-control.keyfence.svc.cluster.local:7070", FEED),
    ("envoy-gateway --name n --feed-address 192.0.2.1:7070 --feed-ca /etc/ssl/certs/ca-certificates.crt", FEED),
];

fn documents(arguments: &str, policy: &str) -> Value {
    let words = words(arguments);
    let rest: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    read(&render(&words[0], &rest, policy))
}

/// A cluster without TLS.
fn cluster(name: &str, discovery: &str, host: &str, port: u16) -> Value {
    let mut cluster = json!({
        "name": name, "type": discovery, "connect_timeout": "1s",
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 5, "keepalive_interval": 2, "keepalive_probes": 3}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}]}]},
    });
    if discovery == "STRICT_DNS" {
        cluster["dns_lookup_family"] = "V4_PREFERRED".into();
    }
    cluster
}

/// The token by `host_env_keys`.
fn environment() -> Value {
    json!({"host_env_keys": ["KEYFENCE_FEED_TOKEN"]})
}

const FILTER: &str = "/0/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/vm_config/environment_variables";
const PATCHED_FILTER: &str = "/0/spec/configPatches/0/patch/value/typed_config/config/vm_config/environment_variables";

/// Arguments, the policy, a place in the list of documents, and what is there.
fn places() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "keyfence", "namespace": "istio-system"},
        "spec": {"host": "keyfence-control.keyfence.svc.cluster.local", "trafficPolicy": {"connectionPool": {"tcp": {
            "connectTimeout": "1s", "tcpKeepalive": {"time": "5s", "interval": "2s", "probes": 3}}}}},
    });
    let host = json!([{"name": "KEYFENCE_FEED_TOKEN", "valueFrom": "HOST"}]);
    let far = || cluster("keyfence_control", "STRICT_DNS", "a.b", 7070);
    let patch = json!([{"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": far()}}]);
    let gateway = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "a"}]);
    let secret = |name: &str| {
        json!({"type": "Kubernetes", "kubernetes": {"envoyDeployment": {"container": {"env": [
            {"name": "KEYFENCE_FEED_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}]}}}})
    };
    vec![
        (
            "envoy",
            FEED,
            "/0/static_resources/clusters/2",
            cluster("keyfence_control", "STATIC", "127.0.0.1", 7070),
        ),
        ("envoy", FEED, FILTER, environment()),
        (
            "envoy --feed-address a.b:7070",
            FEED,
            "/0/static_resources/clusters/2",
            far(),
        ),
        (
            "envoy --feed-address [::1]:1",
            FEED,
            "/0/static_resources/clusters/2",
            cluster("keyfence_control", "STATIC", "::1", 1),
        ),
        (
            "envoy",
            MESH,
            "/0/static_resources/clusters/2/name",
            json!("outbound|8080||keyfence-control.keyfence.svc.cluster.local"),
        ),
        ("envoy", "{}", "/0/static_resources/clusters/2", Value::Null),
        ("envoy", "{}", FILTER, Value::Null),
        (
            "ecds",
            FEED,
            "/0/resources/0/typed_config/config/vm_config/environment_variables",
            environment(),
        ),
        (
            "ecds",
            "{}",
            "/0/resources/0/typed_config/config/vm_config/environment_variables",
            Value::Null,
        ),
        ("istio", MESH, "/0/spec/vmConfig/env", host.clone()),
        ("istio", MESH, "/1", rule.clone()),
        ("istio", MESH, "/2", Value::Null),
        (
            "istio --kind traffic-extension",
            MESH,
            "/0/spec/wasm/vmConfig/env",
            host,
        ),
        (
            "istio --kind traffic-extension --name n --namespace m",
            MESH,
            "/1/metadata",
            json!({"name": "n", "namespace": "m"}),
        ),
        (
            "istio --feed-address a.b:7070",
            FEED,
            "/1/spec",
            json!({"workloadSelector": {"labels": {"istio": "ingressgateway"}}, "configPatches": patch}),
        ),
        (
            "istio --feed-address a.b:7070 --selector a=b",
            FEED,
            "/1/spec/workloadSelector/labels",
            json!({"a": "b"}),
        ),
        (
            "istio --feed-address a.b:7070 --namespace n --gateway a",
            FEED,
            "/1/spec",
            json!({"targetRefs": gateway, "configPatches": patch}),
        ),
        ("istio", "{}", "/1", Value::Null),
        ("istio", "{}", "/0/spec/vmConfig", Value::Null),
        ("envoy-filter", MESH, "/1", rule),
        ("envoy-filter", MESH, PATCHED_FILTER, environment()),
        ("envoy-filter", MESH, "/0/spec/configPatches/1", Value::Null),
        (
            "envoy-filter --feed-address a.b:7070",
            FEED,
            "/0/spec/configPatches/1",
            patch[0].clone(),
        ),
        ("envoy-filter --feed-address a.b:7070", FEED, "/1", Value::Null),
        (
            "envoy-gateway --feed-address a.b:7070",
            FEED,
            "/0/spec/wasm/0/env",
            json!({"hostKeys": ["KEYFENCE_FEED_TOKEN"]}),
        ),
        (
            "envoy-gateway --feed-address a.b:7070",
            FEED,
            "/1/spec/bootstrap/jsonPatches/4",
            json!({"op": "add", "path": "/static_resources/clusters/-", "value": far()}),
        ),
        (
            "envoy-gateway --feed-address a.b:7070",
            FEED,
            "/1/spec/provider",
            secret("keyfence-feed"),
        ),
        (
            "envoy-gateway --feed-address a.b:7070 --name n",
            FEED,
            "/1/spec/provider",
            secret("n-feed"),
        ),
        ("envoy-gateway", "{}", "/0/spec/wasm/0/env", Value::Null),
        ("envoy-gateway", "{}", "/1/spec/provider", Value::Null),
    ]
}

#[test]
fn each_target_has_the_cluster_and_the_token() {
    for (arguments, policy, pointer, expected) in places() {
        let rendered = documents(arguments, policy);
        let found = rendered.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{arguments}: {pointer} of {rendered:#}");
    }
}

/// The token in the policy itself: nothing names an environment variable.
#[test]
fn a_token_of_the_policy_takes_no_environment() {
    for (arguments, policy) in CASES {
        let policy = policy.replace(r#""token_env": "KEYFENCE_FEED_TOKEN""#, r#""token": "kfcp_a""#);
        let text = documents(arguments, &policy).to_string();
        for name in [
            "host_env_keys",
            "hostKeys",
            "\"env\"",
            "secretKeyRef",
            "KEYFENCE_FEED_TOKEN",
        ] {
            assert!(!text.contains(name), "{arguments}: {name}");
        }
        assert!(text.contains("kfcp_a"), "{arguments}");
    }
}

#[test]
fn with_a_ca_the_connections_are_tls() {
    for (arguments, policy) in CASES.iter().filter(|(arguments, _)| arguments.contains("--feed-ca")) {
        let rendered = documents(arguments, policy);
        let cluster = [
            "/0/static_resources/clusters/2",
            "/1/spec/configPatches/0/patch/value",
            "/1/spec/bootstrap/jsonPatches/4/value",
        ]
        .iter()
        .find_map(|pointer| rendered.pointer(pointer))
        .unwrap();
        let tls = &cluster["transport_socket"]["typed_config"]["common_tls_context"];
        let file = &tls["validation_context"]["trusted_ca"]["filename"];
        assert_eq!(file, "/etc/ssl/certs/ca-certificates.crt", "{arguments}: {cluster}");
        let options =
            &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        let expected = json!({"auto_sni": true, "auto_san_validation": true});
        assert_eq!(
            options["upstream_http_protocol_options"], expected,
            "{arguments}: {cluster}"
        );
    }
}

#[test]
fn what_cannot_be_rendered_is_refused() {
    let named = |name: &str| FEED.replace("keyfence_control", name);
    for (arguments, policy, expected) in [
        ("envoy-gateway", FEED, "write where keyfence-control is"),
        ("istio", FEED, "write where keyfence-control is"),
        ("envoy-filter --feed-ca a", FEED, "write where keyfence-control is"),
        ("istio --feed-address a:1", MESH, "is the mesh's own"),
        (
            "envoy-filter --feed-ca a",
            MESH,
            "--feed-ca is for a cluster that render writes",
        ),
        // Clusters of a subset, and of no host.
        (
            "istio",
            &named("outbound|8080|v1|a.b"),
            "write where keyfence-control is",
        ),
        ("istio", &named("outbound|8080||"), "write where keyfence-control is"),
        ("envoy", &named("admin"), "another cluster is named admin"),
        ("envoy", &named("upstream"), "another cluster is named upstream"),
    ] {
        let (code, said) = run(&words(arguments), policy);
        assert_eq!(code, Some(2), "{arguments}: {said}");
        assert!(said.contains(expected), "{arguments}: {said}");
    }
}

/// Each visible character of ASCII in the cluster's name, in all targets.
#[test]
fn no_name_of_a_cluster_adds_to_the_yaml() {
    let mut names: Vec<String> = ('!'..='~').map(|c| format!("{c}a{c}:{c}")).collect();
    names.extend(["outbound|1||".into(), "#".into(), "c".repeat(255)]);
    for (arguments, _) in CASES.iter().filter(|(_, policy)| *policy == FEED) {
        let plain = documents(arguments, FEED);
        for name in &names {
            let policy = json!({"keys_from": {"cluster": name, "token_env": "KEYFENCE_FEED_TOKEN"}}).to_string();
            let rendered = documents(arguments, &policy);
            assert_eq!(shape(&rendered), shape(&plain), "{arguments}: {name}");
            let count = |document: &Value, name: &str| texts(document).into_iter().filter(|text| *text == name).count();
            assert_eq!(
                count(&rendered, name),
                count(&plain, "keyfence_control"),
                "{arguments}: {name}"
            );
        }
    }
}

/// The names of all members, and the lengths of all lists.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        _ => Value::Null,
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members.values().flat_map(texts).collect(),
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text],
        _ => Vec::new(),
    }
}

#[test]
fn no_address_or_file_adds_to_the_yaml() {
    let texts = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long());
    let texts: Vec<String> = texts
        .filter(|text| !text.contains(['\0', '[', ']']) && !text.is_empty())
        .collect();
    for (target, pointer) in [
        ("envoy", "/0/static_resources/clusters/2"),
        ("istio", "/1/spec/configPatches/0/patch/value"),
        ("envoy-filter", "/0/spec/configPatches/1/patch/value"),
        ("envoy-gateway", "/1/spec/bootstrap/jsonPatches/4/value"),
    ] {
        let plain = read(&render(target, &["--feed-address=a:1", "--feed-ca=b"], FEED));
        for text in &texts {
            let arguments = [format!("--feed-address={text}:1"), format!("--feed-ca={text}")];
            let rendered = read(&render(target, &arguments.each_ref().map(String::as_str), FEED));
            let mut wanted = plain.clone();
            let cluster = wanted.pointer_mut(pointer).unwrap();
            for place in [
                "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address",
                "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename",
            ] {
                *cluster.pointer_mut(place).unwrap() = text.clone().into();
            }
            if text.parse::<IpAddr>().is_ok() {
                cluster["type"] = "STATIC".into();
                cluster.as_object_mut().unwrap().remove("dns_lookup_family");
            }
            assert_eq!(rendered, wanted, "{target}: {text:?}");
        }
    }
}
