//! `render envoy-filter`: Istio's `EnvoyFilter`, with the filter from a file in the pod.

use super::istio::{NAMESPACE, cluster_patch, mesh_settings};
use super::{Arguments, Failure, LocatedPolicy, plugin};

const MOUNTED_WASM: &str = "/etc/keyfence/plugin.wasm";

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let (metadata, mesh) = (arguments.metadata(NAMESPACE), mesh_settings());
    let labels = arguments.labels(6);
    let wasm = arguments.wasm.as_deref().unwrap_or(MOUNTED_WASM);
    let feed = arguments.feed(policy)?;
    let plugin = plugin::typed_config(arguments.name(), &plugin::text(policy)?, feed.as_ref(), wasm, 10);
    let feed = match &feed {
        None => String::new(),
        Some(feed) => match feed.destination_rule(&metadata) {
            Some(rule) => rule,
            None => cluster_patch(feed, arguments)?,
        },
    };
    Ok(format!(
        "# Rendered by keyfence: `kubectl apply -f` loads it.
{mesh}apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
{metadata}spec:
  workloadSelector:
    labels:
{labels}  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
    patch:
      operation: INSERT_FIRST
      value:
        name: keyfence
        typed_config:
{plugin}{feed}"
    ))
}
