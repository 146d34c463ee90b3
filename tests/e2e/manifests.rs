//! The manifests under `envoy/`: their fields are those of the published CRDs, and the filter loads
//! the policy in each.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::command_line::printed;
use crate::harness::gateway::{built_filter, repository};
use crate::harness::{Gateway, Listener, Request, Upstream};

/// Each manifest, and the fixture in `tests/fixtures/crds` that holds its reduced schema.
const MANIFESTS: &[(&str, &str)] = &[
    ("istio/wasmplugin-gateway.yaml", "istio-wasmplugin"),
    ("istio/trafficextension-gateway.yaml", "istio-trafficextension"),
    ("istio/wasmplugin-sidecar.yaml", "istio-wasmplugin"),
    ("istio/envoyfilter-ecds.yaml", "istio-envoyfilter"),
    ("istio/mesh.yaml", "istio-meshconfig"),
    (
        "envoy-gateway/extension-policy.yaml",
        "envoy-gateway-envoyextensionpolicy",
    ),
    (
        "envoy-gateway/client-traffic-policy.yaml",
        "envoy-gateway-clienttrafficpolicy",
    ),
    ("envoy-gateway/envoy-proxy.yaml", "envoy-gateway-envoyproxy"),
    ("envoy-gateway/gateway-class.yaml", "gateway-api-gatewayclass"),
    ("envoy-gateway/gateway.yaml", "gateway-api-gateway"),
    ("envoy-gateway/http-route.yaml", "gateway-api-httproute"),
];

/// Mistakes that the reduced schemas must not let pass: manifest, place, value.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("istio/wasmplugin-gateway.yaml", "/spec/phase", "\"AUTH\""),
    ("istio/wasmplugin-gateway.yaml", "/spec/failStrategy", "\"FAIL_CLOSED\""),
    ("istio/wasmplugin-gateway.yaml", "/spec/pluginConfiguration", "{}"),
    ("istio/wasmplugin-gateway.yaml", "/spec/selector/labels", "{}"),
    (
        "istio/wasmplugin-gateway.yaml",
        "/apiVersion",
        "\"extensions.istio.io/v1\"",
    ),
    ("istio/wasmplugin-sidecar.yaml", "/spec/match/0/mode", "\"INBOUND\""),
    (
        "istio/envoyfilter-ecds.yaml",
        "/spec/configPatches/0/patch/operation",
        "\"PREPEND\"",
    ),
    (
        "istio/mesh.yaml",
        "/spec/meshConfig/defaultConfig/gatewayTopology/numTrustedProxies",
        "-1",
    ),
    (
        "envoy-gateway/extension-policy.yaml",
        "/spec/wasm/0/code/type",
        "\"Oci\"",
    ),
    ("envoy-gateway/extension-policy.yaml", "/spec/wasm/0/failClosed", "true"),
    (
        "envoy-gateway/client-traffic-policy.yaml",
        "/spec/clientIPDetection/xForwardedFor/numTrustedProxies",
        "1",
    ),
    (
        "envoy-gateway/envoy-proxy.yaml",
        "/spec/bootstrap/type",
        "\"JsonPatch\"",
    ),
    ("envoy-gateway/envoy-proxy.yaml", "/spec/shutdown/drainTimeout", "60"),
    ("envoy-gateway/gateway-class.yaml", "/spec/controllerName", "\"eg\""),
    ("envoy-gateway/gateway.yaml", "/spec/listeners/0/port", "0"),
    (
        "envoy-gateway/http-route.yaml",
        "/spec/rules/0/matches/0/method",
        "\"get\"",
    ),
];

#[test]
fn every_field_is_one_of_the_published_schema() {
    for (path, fixture) in MANIFESTS {
        assert_eq!(faults(&manifest(path), fixture), [""; 0], "{path}");
    }
}

#[test]
fn the_reduced_schemas_refuse_mistakes() {
    for (path, place, value) in MISTAKES {
        let (_, fixture) = MANIFESTS.iter().find(|(known, _)| known == path).unwrap();
        let mut manifest = manifest(path);
        let (parent, field) = place.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap()[field] = serde_json::from_str(value).unwrap();
        assert_ne!(faults(&manifest, fixture), [""; 0], "{path}: {place} {value}");
    }
}

#[test]
fn no_manifest_is_left_out() {
    for folder in ["istio", "envoy-gateway"] {
        for file in fs::read_dir(repository().join("envoy").join(folder)).unwrap() {
            let path = format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap());
            if path.ends_with("/README.md") {
                continue;
            }
            assert!(MANIFESTS.iter().any(|(known, _)| *known == path), "{path}");
        }
    }
}

#[test]
fn the_access_log_format_of_the_mesh_is_json() {
    let mesh = manifest("istio/mesh.yaml");
    let format = mesh["spec"]["meshConfig"]["accessLogFormat"].as_str().unwrap();
    let format: Value = serde_json::from_str(format).unwrap();
    let fields =
        &manifest("envoy-gateway/envoy-proxy.yaml")["spec"]["telemetry"]["accessLog"]["settings"][0]["format"]["json"];
    assert_eq!(&format, fields, "Istio and Envoy Gateway log the same fields");
}

/// As the control plane hands it on: Istio and Envoy Gateway as a `StringValue`, what an `EnvoyFilter` inserts as it is written.
#[test]
fn the_filter_loads_the_policy_of_every_manifest() {
    let listener = |name: &str, path: &str, place: &str| Listener::new(name, manifest(path).pointer(place).unwrap());
    let upstream = Upstream::start();
    // What a Secret brings for `envoyfilter-ecds.yaml`.
    let volume = TempDir::new().unwrap();
    let mounted = volume.path().to_owned();
    let policy = manifest("istio/wasmplugin-gateway.yaml")["spec"]["pluginConfig"].to_string();
    let wasm = built_filter().to_str().unwrap();
    let resource = printed(&["render", "ecds", "-", "--wasm", wasm], &policy);
    fs::write(mounted.join("filter.json"), resource).unwrap();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(listener(
            "gateway",
            "istio/wasmplugin-gateway.yaml",
            "/spec/pluginConfig",
        ))
        .listener(listener(
            "sidecar",
            "istio/wasmplugin-sidecar.yaml",
            "/spec/pluginConfig",
        ))
        .listener(listener(
            "envoy-gateway",
            "envoy-gateway/extension-policy.yaml",
            "/spec/wasm/0/config",
        ))
        .listener(Listener::new(
            "extension",
            manifest("istio/trafficextension-gateway.yaml")
                .pointer("/spec/wasm/pluginConfig")
                .unwrap(),
        ))
        .listener(Listener::without_filter("mounted"))
        .amend(move |bootstrap| {
            let envoyfilter = manifest("istio/envoyfilter-ecds.yaml").to_string();
            let envoyfilter = envoyfilter.replace("/etc/keyfence/policy", mounted.to_str().unwrap());
            let envoyfilter: Value = serde_json::from_str(&envoyfilter).unwrap();
            let filter = envoyfilter["spec"]["configPatches"][0]["patch"]["value"].clone();
            let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
            let listener = listeners
                .iter_mut()
                .find(|listener| listener["name"] == "mounted")
                .unwrap();
            let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
            filters.as_array_mut().unwrap().insert(0, filter);
        })
        .start();
    for listener in ["gateway", "extension", "sidecar", "envoy-gateway", "mounted"] {
        let preflight = Request::preflight("/", "https://shop.yourapp.com", "GET", "authorization");
        assert_eq!(
            gateway.send(listener, &Request::get("/")).code(),
            "missing_api_key",
            "{listener}"
        );
        assert_eq!(gateway.send(listener, &preflight).status, 204, "{listener}");
    }
    assert_eq!(upstream.take().len(), 0);
}

/// What the published schema, reduced, has against it.
pub fn faults(manifest: &Value, fixture: &str) -> Vec<String> {
    let schema = yaml(&format!("tests/fixtures/crds/{fixture}.yaml"));
    jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(manifest)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

fn manifest(path: &str) -> Value {
    yaml(&format!("envoy/{path}"))
}

pub fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}
