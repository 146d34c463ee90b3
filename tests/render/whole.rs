//! What is rendered has what `envoy/` has: metrics, access log, local replies, and Istio's and Envoy Gateway's settings for them.

use serde_json::{Value, json};

use super::feed::FEED;
use super::{read, render};

fn file(path: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{root}/envoy/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where `render envoy` differs from `envoy/envoy.yaml`: the filter, addresses, and the socket of the admin interface. The cluster of the
/// feed is there for a policy with one.
#[test]
fn a_static_envoy_has_all_of_envoy_yaml() {
    const DIFFERENCES: [&str; 3] = [
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0",
        "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path",
        "/admin/address/pipe",
    ];
    let mut rendered = read(&render("envoy", &[], FEED))[0].clone();
    assert_eq!(rendered.pointer("/admin/address/pipe/mode"), Some(&json!(0o600)));
    let mut sample = yaml("envoy.yaml");
    for pointer in DIFFERENCES {
        for configuration in [&mut rendered, &mut sample] {
            let value = configuration
                .pointer_mut(pointer)
                .unwrap_or_else(|| panic!("{pointer}"));
            *value = Value::Null;
        }
    }
    assert_eq!(rendered, sample);
    let mut without = read(&render("envoy", &[], "{}"))[0].clone();
    *without.pointer_mut(DIFFERENCES[0]).unwrap() = Value::Null;
    let clusters = |configuration: &Value| {
        configuration["static_resources"]["clusters"]
            .as_array()
            .unwrap()
            .clone()
    };
    assert_eq!(clusters(&without)[1..], clusters(&sample)[1..2]);
    for needed in ["/stats_config/stats_tags/0", "/admin"] {
        assert!(rendered.pointer(needed).is_some(), "{needed}");
    }
    let manager = &rendered["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    for needed in ["access_log", "local_reply_config"] {
        assert!(manager[needed].is_object() || manager[needed].is_array(), "{needed}");
    }
}

#[test]
fn istio_targets_begin_with_the_settings_of_the_mesh() {
    for target in ["istio", "envoy-filter"] {
        let rendered = render(target, &[], "{}");
        let lines = rendered.lines().take_while(|line| line.starts_with('#'));
        let settings: String = lines
            .filter_map(|line| line.strip_prefix("#   "))
            .map(|line| line.to_owned() + "\n")
            .collect();
        assert_eq!(
            settings.replace("\n\n", "\n"),
            file("istio/mesh.yaml").replace("\n\n", "\n"),
            "{target}"
        );
    }
}

#[test]
fn envoy_gateway_has_its_envoy_proxy() {
    let rendered = read(&render("envoy-gateway", &[], "{}"));
    let mut sample = yaml("envoy-gateway/envoy-proxy.yaml");
    sample["metadata"]["namespace"] = "default".into();
    assert_eq!(rendered[1], sample);
    let text = render("envoy-gateway", &[], "{}");
    for needed in ["GatewayClass", "spec.infrastructure.parametersRef", "kind EnvoyProxy"] {
        assert!(text.contains(needed), "{needed}");
    }
}

/// Without options, names, namespaces and selectors are those of the samples.
#[test]
fn defaults_are_those_of_the_samples() {
    for (target, sample, places) in [
        (
            "istio",
            "istio/wasmplugin-gateway.yaml",
            &[
                "/metadata",
                "/spec/selector",
                "/spec/url",
                "/spec/phase",
                "/spec/failStrategy",
                "/spec/pluginName",
            ][..],
        ),
        (
            "envoy-filter",
            "istio/envoyfilter-ecds.yaml",
            &["/metadata", "/spec/workloadSelector", "/spec/configPatches/0/match"],
        ),
        (
            "envoy-gateway",
            "envoy-gateway/extension-policy.yaml",
            &[
                "/metadata",
                "/spec/targetRefs",
                "/spec/wasm/0/code",
                "/spec/wasm/0/failOpen",
            ],
        ),
    ] {
        let Ok(sample_text) = std::fs::read_to_string(format!("{}/envoy/{sample}", env!("CARGO_MANIFEST_DIR"))) else {
            continue;
        };
        let sample_value: Value = serde_saphyr::from_str(&sample_text).unwrap();
        let rendered = read(&render(target, &[], "{}"));
        for place in places {
            assert_eq!(
                rendered[0].pointer(place),
                sample_value.pointer(place),
                "{target}: {place}"
            );
        }
    }
    let with_hops = read(&render("envoy-gateway", &["--trusted-hops=1"], "{}"));
    assert_eq!(with_hops[2], yaml("envoy-gateway/client-traffic-policy.yaml"));
}
