//! `render istio`: a `WasmPlugin` or `TrafficExtension`, with the filter from an image.

use super::feed::Feed;
use super::options::{FailStrategy, Kind};
use super::{Arguments, Failure, LocatedPolicy, comment, plugin, target_refs, yaml};

/// Istio's root namespace: a resource there applies to pods with its labels in every namespace, wherever the gateway was installed.
pub const NAMESPACE: &str = "istio-system";

/// What `kubectl` cannot apply: the settings of the mesh.
pub fn mesh_settings() -> String {
    const MESH: &str = include_str!("../../../envoy/istio/mesh.yaml");
    let settings = comment(MESH);
    format!(
        "#\n# Client addresses, metrics and the access log also need settings of the mesh, which kubectl does not apply:\n#\n{settings}#\n"
    )
}

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let kind = arguments.kind.unwrap_or(Kind::WasmPlugin);
    // In a TrafficExtension the module's fields are one level deeper.
    let (kind, wasm, indentation) = match kind {
        Kind::WasmPlugin => ("WasmPlugin", "", 2),
        Kind::TrafficExtension => ("TrafficExtension", "  wasm:\n", 4),
    };
    let (metadata, mesh) = (arguments.metadata(NAMESPACE), mesh_settings());
    let target = if arguments.gateway.is_empty() {
        format!("  selector:\n    matchLabels:\n{}", arguments.labels(6))
    } else {
        target_refs(arguments.gateway.iter().map(String::as_str))
    };
    let feed = arguments.feed(policy)?;
    let module = yaml::indented(module(arguments, feed.as_ref()).trim_end(), indentation);
    let policy = plugin::fields(policy, indentation + 2)?;
    let feed = feed.map(|feed| feed_resource(&feed, arguments)).transpose()?;
    let feed = feed.unwrap_or_default();
    Ok(format!(
        "# Rendered by keyfence: `kubectl apply -f` loads it.
{mesh}apiVersion: extensions.istio.io/v1alpha1
kind: {kind}
{metadata}spec:
{target}  # Before Istio's own authentication and authorization.
  phase: AUTHN
{wasm}{module}{policy}{feed}"
    ))
}

/// The resource for the connections to keyfence-control: settings of the mesh's cluster, or a cluster.
fn feed_resource(feed: &Feed, arguments: &Arguments) -> Result<String, Failure> {
    let metadata = arguments.metadata(NAMESPACE);
    if let Some(rule) = feed.destination_rule(&metadata) {
        return Ok(rule);
    }
    let pods = if arguments.gateway.is_empty() {
        format!("  workloadSelector:\n    labels:\n{}", arguments.labels(6))
    } else {
        target_refs(arguments.gateway.iter().map(String::as_str))
    };
    let patch = cluster_patch(feed, arguments)?;
    Ok(format!(
        "---
# Where keyfence-control is.
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
{metadata}spec:
{pods}  configPatches:
{patch}"
    ))
}

/// The patch of an `EnvoyFilter` that adds the cluster of the feed.
pub fn cluster_patch(feed: &Feed, arguments: &Arguments) -> Result<String, Failure> {
    let cluster = yaml::indented(feed.cluster(arguments)?.trim_end(), 8);
    Ok(format!(
        "  - applyTo: CLUSTER
    patch:
      operation: ADD
      value:
{cluster}"
    ))
}

/// The fields of the module, without indentation, up to the policy.
fn module(arguments: &Arguments, feed: Option<&Feed>) -> String {
    let mut module = yaml::member("url", &format!("oci://{}", arguments.image()), 0);
    for (name, value) in [
        ("sha256", &arguments.sha256),
        ("imagePullSecret", &arguments.pull_secret),
    ] {
        if let Some(value) = value {
            module += &yaml::member(name, value, 0);
        }
    }
    module += "imagePullPolicy: IfNotPresent\npluginName: keyfence\n";
    module += match arguments.fail_strategy.unwrap_or(FailStrategy::FailReload) {
        FailStrategy::FailClose => {
            "# Nothing passes where the module cannot be fetched or has failed.
failStrategy: FAIL_CLOSE
"
        }
        FailStrategy::FailReload => {
            "# Nothing passes where the module cannot be fetched or has failed; a failed VM is started anew (from Istio 1.27).
failStrategy: FAIL_RELOAD
"
        }
    };
    if let Some(name) = feed.and_then(Feed::environment) {
        let name = yaml::string(name);
        module += &format!(
            "# The token of the feed, from the environment of the proxy's container.\nvmConfig:\n  env:\n  - name: {name}\n    valueFrom: HOST\n"
        );
    }
    module += "pluginConfig:\n";
    module
}
