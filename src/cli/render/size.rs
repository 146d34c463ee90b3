//! The sizes of a Kubernetes resource at which `kubectl apply` and etcd refuse it.

use keyfence_files::scalar::Dialect;
use keyfence_files::tree;

/// All annotations of a resource together, names and values, in bytes.
const MAX_ANNOTATIONS: usize = 262_144;

/// A request to etcd, in bytes, where nobody has set another limit.
const MAX_REQUEST: usize = 1_572_864;

/// What `kubectl apply` adds to the manifest's JSON in the annotation, and the annotation's name.
const ANNOTATION: &str = "\"annotations\":{},\nkubectl.kubernetes.io/last-applied-configuration";

/// A warning if one of the resources is larger than a limit.
pub fn warning(rendered: &str) -> Option<String> {
    let documents = tree::parse_yaml(rendered, &mut tree::Aliased::default()).ok()?;
    let sizes = documents
        .iter()
        .map(|document| size(&document.to_json(Dialect::Kubernetes)));
    let size = sizes.max()?;
    if size > MAX_REQUEST {
        Some(format!(
            "this is {size} bytes as JSON, and etcd refuses more than {MAX_REQUEST}, so the policy does not fit into a Kubernetes resource; let the filter fetch the keys (keys_from), or give the policy to Envoy as a file, as keyfence render ecds writes it"
        ))
    } else if size + ANNOTATION.len() > MAX_ANNOTATIONS {
        Some(format!(
            "this is {size} bytes as JSON, and kubectl apply keeps it in an annotation of at most {MAX_ANNOTATIONS}; use kubectl apply --server-side"
        ))
    } else {
        None
    }
}

/// The size of JSON as kubectl writes it: Go escapes these characters.
fn size(json: &str) -> usize {
    let escaped = json.bytes().filter(|b| matches!(b, b'<' | b'>' | b'&')).count();
    json.len() + escaped * (r"\u003c".len() - 1)
}
