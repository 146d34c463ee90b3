//! The sizes at which `kubectl apply` and etcd refuse a resource are named.

use serde_json::{Value, json};

use super::{read, render_with_warnings};

/// All annotations of a resource, names and values (`ValidateAnnotationsSize` of Kubernetes).
const MAX_ANNOTATIONS: usize = 262_144;

/// What etcd takes in one request, unless another limit is set.
const MAX_REQUEST: usize = 1_572_864;

/// A policy with keys, and with a text of this length, which goes into each target as it is.
fn policy(keys: usize, length: usize) -> String {
    let key = |index: usize| json!({"id": format!("key-{index}"), "api_key": format!("sha256:{index:064x}"), "kind": "secret"});
    let keys: Vec<Value> = (0..keys).map(key).collect();
    json!({"$schema": "x".repeat(length), "keys": keys}).to_string()
}

/// The JSON of the largest resource of what is rendered, as `kubectl apply` keeps it.
fn kept(rendered: &str) -> usize {
    let mut documents = read(rendered);
    let sizes = documents.as_array_mut().unwrap().iter_mut().map(|document| {
        document["metadata"]["annotations"] = json!({});
        format!("{document}\nkubectl.kubernetes.io/last-applied-configuration").len()
    });
    sizes.max().unwrap()
}

fn warnings(target: &str, policy: &str) -> (String, Vec<String>) {
    let (rendered, said) = render_with_warnings(target, &[], policy);
    let lines = said.lines().filter(|line| line.starts_with("keyfence: warning: "));
    (rendered, lines.map(str::to_owned).collect())
}

#[test]
fn what_is_too_large_for_an_annotation_is_named() {
    for target in ["istio", "envoy-filter", "envoy-gateway"] {
        let keys = if target == "envoy-filter" { 1_400 } else { 2_000 };
        let (rendered, none) = warnings(target, &policy(keys, 0));
        assert_eq!(none, [""; 0], "{target}");
        let largest = MAX_ANNOTATIONS - kept(&rendered);
        let (rendered, none) = warnings(target, &policy(keys, largest));
        assert_eq!((none.len(), kept(&rendered)), (0, MAX_ANNOTATIONS), "{target}");
        let (_, one) = warnings(target, &policy(keys, largest + 1));
        assert_eq!(one.len(), 1, "{target}");
        assert!(
            one[0].ends_with("in an annotation of at most 262144; use kubectl apply --server-side"),
            "{one:?}"
        );
    }
}

#[test]
fn what_is_too_large_for_etcd_is_named() {
    let is_for_etcd = |line: &str| line.contains("etcd refuses more than 1572864") && line.contains("render ecds");
    for target in ["istio", "envoy-filter", "envoy-gateway"] {
        let (_, one) = warnings(target, &policy(15_000, 0));
        assert!(one.len() == 1 && is_for_etcd(&one[0]), "{one:?}");
    }
    let (rendered, _) = warnings("istio", &policy(13_000, 0));
    let largest = MAX_REQUEST - read(&rendered)[0].to_string().len();
    let (_, one) = warnings("istio", &policy(13_000, largest));
    assert!(one.len() == 1 && one[0].contains("--server-side"), "{one:?}");
    let (_, one) = warnings("istio", &policy(13_000, largest + 1));
    assert!(one.len() == 1 && is_for_etcd(&one[0]), "{one:?}");
}

/// Go writes these characters as six.
#[test]
fn what_is_escaped_counts() {
    let written = |text: &str| warnings("istio", &json!({"$schema": text}).to_string()).1;
    assert_eq!(written(&"x".repeat(60_000)), [""; 0]);
    for text in ["<", ">", "&"] {
        assert_eq!(written(&text.repeat(60_000)).len(), 1, "{text}");
    }
}

/// They are no resources of Kubernetes.
#[test]
fn envoys_own_files_may_be_large() {
    for target in ["envoy", "ecds"] {
        assert_eq!(warnings(target, &policy(15_000, 0)).1, [""; 0], "{target}");
    }
    let empty: Value = read(&render_with_warnings("envoy", &[], "{}").0);
    assert!(empty[0].get("kind").is_none());
}
