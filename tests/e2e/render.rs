//! What `keyfence render` writes is loaded by a real Envoy, or held against the published schemas; and `keyfence check` reads YAML as
//! Envoy does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::manifests::faults;
use crate::harness::command_line::{keyfence, printed};
use crate::harness::gateway::built_filter;
use crate::harness::{Gateway, Listener, Request, Upstream};
use crate::special::{SPECIAL, policy};

const POLICY: &str = r#"{
  "keys": [{"id": "on", "name": "it's: # \"é\"", "api_key": "a-raw-key-of-some-bytes", "allowed_origins": ["https://*.yourapp.com"]}],
  "security_headers": {"set": {"X-A": ": 'yes' # \\"}}
}"#;

/// Whether the gateway has [`POLICY`] in force.
fn assert_in_force(gateway: &Gateway, listener: &str, upstream: &Upstream) {
    let request = Request::get("/")
        .bearer("a-raw-key-of-some-bytes")
        .header("Origin", "https://shop.yourapp.com");
    let response = gateway.send(listener, &request);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("x-a"), Some(": 'yes' # \\"));
    assert_eq!(upstream.take_one().all("x-key-id"), ["on"]);
    assert_eq!(gateway.send(listener, &Request::get("/")).code(), "missing_api_key");
}

fn wasm() -> &'static str {
    built_filter().to_str().unwrap()
}

/// A rendered configuration whose admin interface and metrics have ports of their own.
fn static_envoy(arguments: &[&str], policy: &str) -> String {
    let arguments = [
        &["render", "envoy", "-", "--wasm", wasm(), "--listen", "127.0.0.1:0"],
        arguments,
    ]
    .concat();
    let mut rendered = printed(&arguments, policy);
    for (from, to) in [
        (
            "pipe: { path: /tmp/keyfence-admin.sock, mode: 384 }",
            "socket_address: { address: 127.0.0.1, port_value: 0 }",
        ),
        ("port_value: 9902", "port_value: 0"),
    ] {
        assert_eq!(rendered.matches(from).count(), 1, "{from}");
        rendered = rendered.replace(from, to);
    }
    rendered
}

#[test]
fn a_static_envoy_loads_it() {
    let upstream = Upstream::start();
    let address = upstream.address().to_string();
    let gateway = Gateway::from_yaml(&static_envoy(&["--upstream", &address], POLICY));
    assert_in_force(&gateway, "gateway", &upstream);
    // The documented labels and headers. Envoy answers bytes that are not HTTP without the filter.
    gateway.wait_for("labelled metrics", |gateway| {
        let metrics = gateway.admin("/stats/prometheus");
        let is_labelled = |line: &str| line.contains("decision=\"deny\"") && line.contains("code=\"missing_api_key\"");
        metrics.lines().any(is_labelled)
    });
    let headers = local_reply_headers(&gateway);
    assert!(headers.contains("x-content-type-options: nosniff"), "{headers}");
}

/// What Envoy answers to a request that is not HTTP.
fn local_reply_headers(gateway: &Gateway) -> String {
    let mut stream = TcpStream::connect(gateway.address("gateway")).unwrap();
    stream.write_all(b"\x01\x02 / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.to_ascii_lowercase()
}

/// What `gateway` has as the configuration of its one Wasm plugin, as it read it itself.
fn configuration(gateway: &Gateway) -> Value {
    let dump: Value = serde_json::from_str(&gateway.admin("/config_dump")).unwrap();
    let mut configs = dump["configs"].as_array().unwrap().iter();
    let listeners = configs.find_map(|config| config.pointer("/bootstrap/static_resources/listeners"));
    let pointer = "/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";
    listeners.unwrap().pointer(pointer).unwrap().clone()
}

/// Envoy has a YAML reader of its own, yaml-cpp.
#[test]
fn an_envoy_reads_special_texts_as_they_are() {
    let long = ["k".repeat(1_100), "あ".repeat(400)];
    let texts: Vec<String> = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long).collect();
    let policy = policy(&texts);
    let rendered = static_envoy(&[], &policy.to_string());
    let gateway = Gateway::from_yaml(&rendered);
    let text = configuration(&gateway);
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap(), policy);

    // As fields, which targets for Kubernetes have, in place of the text.
    let fields = printed(&["render", "istio", "-"], &policy.to_string());
    let (_, fields) = fields.split_once("  pluginConfig:\n").unwrap();
    let (before, rest) = rendered.split_once("google.protobuf.StringValue\n").unwrap();
    let (_, after) = rest
        .split_once("          - name: envoy.filters.http.router\n")
        .unwrap();
    let fields: String = fields.lines().map(|line| format!("                {line}\n")).collect();
    let yaml = format!(
        "{before}google.protobuf.Struct\n                  value:\n{fields}          - name: envoy.filters.http.router\n{after}"
    );
    assert_eq!(configuration(&Gateway::from_yaml(&yaml)), policy);
}

/// A policy whose feed nobody answers, and with which requests without a key pass.
const FEED: &str =
    r#"{"keys_from": {"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN"}, "anonymous": {}}"#;

/// What Envoy has of the cluster of the feed.
fn assert_has_cluster(gateway: &Gateway, address: &str) {
    let clusters = gateway.admin("/clusters");
    assert!(
        clusters.contains(&format!("keyfence_control::{address}::health_flags::healthy")),
        "{clusters}"
    );
}

#[test]
fn an_envoy_has_the_cluster_of_the_feed() {
    let upstream = Upstream::start();
    let address = upstream.address().to_string();
    for (arguments, feed) in [
        (&[][..], "127.0.0.1:7070"),
        (&["--feed-address", "127.0.0.1:1"], "127.0.0.1:1"),
        (&["--feed-address", "localhost:1"], "127.0.0.1:1"),
        (
            &[
                "--feed-address",
                "127.0.0.1:1",
                "--feed-ca",
                "/etc/ssl/certs/ca-certificates.crt",
            ],
            "127.0.0.1:1",
        ),
    ] {
        let arguments = [&["--upstream", &address], arguments].concat();
        let gateway = Gateway::from_yaml(&static_envoy(&arguments, FEED));
        assert_eq!(gateway.send("gateway", &Request::get("/")).status, 200);
        assert_has_cluster(&gateway, feed);
    }
    // As an EnvoyFilter adds it, and an EnvoyProxy.
    for (target, pointer) in [
        ("envoy-filter", "/0/spec/configPatches/1/patch/value"),
        ("envoy-gateway", "/1/spec/bootstrap/jsonPatches/4/value"),
    ] {
        let rendered = printed(&["render", target, "-", "--feed-address", "127.0.0.1:1"], FEED);
        let documents: Value = serde_saphyr::from_multiple::<Value>(&rendered).unwrap().into();
        let cluster = documents.pointer(pointer).unwrap().clone();
        let gateway = Gateway::in_front_of(&upstream)
            .listener(Listener::without_filter("main"))
            .amend(|bootstrap| {
                bootstrap["static_resources"]["clusters"]
                    .as_array_mut()
                    .unwrap()
                    .push(cluster)
            })
            .start();
        assert_has_cluster(&gateway, "127.0.0.1:1");
    }
}

#[test]
fn an_envoy_takes_it_up_by_ecds() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("main", &json!({})).updatable())
        .start();
    assert_eq!(gateway.send("main", &Request::get("/")).header("x-a"), None);
    let resource = gateway.directory().join("main.ecds.json");
    printed(
        &[
            "render",
            "ecds",
            "-",
            "--wasm",
            wasm(),
            "--output",
            resource.to_str().unwrap(),
        ],
        POLICY,
    );
    gateway.wait_for("the new policy", |gateway| {
        gateway.send("main", &Request::get("/")).header("x-a").is_some()
    });
    assert_in_force(&gateway, "main", &upstream);
}

#[test]
fn an_envoy_loads_what_an_envoy_filter_inserts() {
    let rendered = yaml(&printed(&["render", "envoy-filter", "-", "--wasm", wasm()], POLICY));
    let filter = rendered["spec"]["configPatches"][0]["patch"]["value"].clone();
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("main"))
        .amend(|bootstrap| {
            let listener = &mut bootstrap["static_resources"]["listeners"][0];
            let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
            filters.as_array_mut().unwrap().insert(0, filter);
        })
        .start();
    assert_in_force(&gateway, "main", &upstream);
}

#[test]
fn manifests_have_the_fields_of_the_published_schemas() {
    const POLICY_FIELDS: &str = "/spec/pluginConfig";
    let digest = "0".repeat(64);
    let with_cluster = r#"{"keys_from": {"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN"}}"#;
    let of_mesh = with_cluster.replace(
        "keyfence_control",
        "outbound|8080||keyfence-control.keyfence.svc.cluster.local",
    );
    let plain = [
        ("istio", &["istio-wasmplugin"][..], POLICY_FIELDS),
        (
            "istio --selector a=b --selector c=d --sha256 DIGEST --pull-secret s --fail-strategy fail-reload --name n",
            &["istio-wasmplugin"],
            POLICY_FIELDS,
        ),
        (
            "istio --namespace n --gateway a --gateway b",
            &["istio-wasmplugin"],
            POLICY_FIELDS,
        ),
        (
            "istio --kind traffic-extension --sha256 DIGEST --pull-secret s",
            &["istio-trafficextension"],
            "/spec/wasm/pluginConfig",
        ),
        (
            "istio --kind traffic-extension --namespace n --gateway a --fail-strategy fail-reload",
            &["istio-trafficextension"],
            "/spec/wasm/pluginConfig",
        ),
        (
            "envoy-gateway --gateway a --gateway b --sha256 DIGEST --pull-secret s --trusted-hops 2",
            &[
                "envoy-gateway-envoyextensionpolicy",
                "envoy-gateway-envoyproxy",
                "envoy-gateway-clienttrafficpolicy",
            ],
            "/spec/wasm/0/config",
        ),
        ("envoy-filter --selector a=b --selector c=d", &["istio-envoyfilter"], ""),
    ];
    let with_feed = [
        (
            "istio",
            of_mesh.as_str(),
            &["istio-wasmplugin", "istio-destinationrule"][..],
            POLICY_FIELDS,
        ),
        (
            "istio --kind traffic-extension --name n",
            &of_mesh,
            &["istio-trafficextension", "istio-destinationrule"],
            "/spec/wasm/pluginConfig",
        ),
        (
            "istio --namespace n --gateway a --feed-address a.b:7070",
            with_cluster,
            &["istio-wasmplugin", "istio-envoyfilter"],
            POLICY_FIELDS,
        ),
        (
            "istio --selector a=b --feed-address a.b:7070",
            with_cluster,
            &["istio-wasmplugin", "istio-envoyfilter"],
            POLICY_FIELDS,
        ),
        (
            "envoy-filter",
            &of_mesh,
            &["istio-envoyfilter", "istio-destinationrule"],
            "",
        ),
        (
            "envoy-filter --feed-address a.b:7070 --feed-ca a",
            with_cluster,
            &["istio-envoyfilter"],
            "",
        ),
        (
            "envoy-gateway --feed-address a.b:7070 --feed-ca a",
            with_cluster,
            &["envoy-gateway-envoyextensionpolicy", "envoy-gateway-envoyproxy"],
            "/spec/wasm/0/config",
        ),
    ];
    let plain = plain.map(|(arguments, fixtures, place)| (arguments, POLICY, fixtures, place));
    // The arguments, the policy, the fixture of each document, and where the first has the policy as fields.
    for (arguments, policy, fixtures, place) in plain.into_iter().chain(with_feed) {
        let arguments = format!(
            "render {}",
            arguments.replacen(' ', " - ", 1).replace("DIGEST", &digest)
        );
        let mut words: Vec<&str> = arguments.split(' ').collect();
        words.extend((!words.contains(&"-")).then_some("-"));
        let manifests: Vec<Value> = serde_saphyr::from_multiple(&printed(&words, policy)).unwrap();
        assert_eq!(manifests.len(), fixtures.len(), "{arguments}");
        for (manifest, fixture) in manifests.iter().zip(fixtures) {
            assert_eq!(faults(manifest, fixture), [""; 0], "{arguments}: {fixture}");
        }
        if !place.is_empty() {
            let policy: Value = serde_json::from_str(policy).unwrap();
            assert_eq!(manifests[0].pointer(place), Some(&policy), "{arguments}");
        }
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Scalars as they stand in YAML: what they are to the filter shows in what it says of them.
const SCALARS: &[&str] = &[
    "on",
    "off",
    "y",
    "N",
    "yes",
    "No",
    "yEs",
    "TRUE",
    "tRUE",
    "False",
    "~",
    "null",
    "NULL",
    "nULL",
    "''",
    "\"on\"",
    "'12'",
    "0x1F",
    "-0x1F",
    "0123",
    "08",
    "00",
    "0o17",
    "0b11",
    "1_000",
    "+12",
    "-7",
    "12.",
    "1e3",
    "1.5",
    "600.0",
    ".inf",
    "3000000000",
    "2147483647",
    "2147483648",
    "99999999999999999999",
    "2026-01-01T00:00:00Z",
    "a b",
    "\"a\\u00e9\\x41\"",
];

#[test]
fn check_reads_yaml_as_envoy_does() {
    let scopes: String = SCALARS
        .iter()
        .enumerate()
        .map(|(index, scalar)| format!("                    s{index}: [{{methods: {scalar}, path: {scalar}}}]\n"))
        .collect();
    let configuration = format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          route_config: {{}}
          http_filters:
          - name: keyfence
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: keyfence
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {{local: {{filename: {wasm}}}}}
                configuration:
                  "@type": type.googleapis.com/google.protobuf.Struct
                  value:
                   scopes:
{scopes}
                    # A name like others: neither merges.
                    sMerge: [{{<<: {{methods: [GET], path: /a}}}}]
"#,
        wasm = wasm(),
    );
    let diagnostics = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter_map(|line| line.find("scopes.s").map(|at| line[at..].to_owned()));
        let mut lines: Vec<String> = lines.collect();
        lines.sort();
        lines.dedup();
        lines
    };
    let log = Gateway::try_from_yaml(&configuration)
        .err()
        .expect("Envoy started with a wrong policy");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("envoy.yaml");
    fs::write(&file, &configuration).unwrap();
    let checked = keyfence(&["check", file.to_str().unwrap()], "");
    let expected = diagnostics(&log);
    assert!(expected.len() > SCALARS.len(), "{log}");
    assert!(
        expected
            .iter()
            .any(|line| line.starts_with("scopes.sMerge[0][\"<<\"]: unknown field")),
        "{log}"
    );
    assert_eq!(diagnostics(&String::from_utf8_lossy(&checked.stdout)), expected);
}
