//! The filter and its policy, as Envoy's and Kubernetes' configurations have them.

use std::str;

use keyfence_core::config::node::Node;
use serde_json::Value;

use super::feed::Feed;
use super::{Failure, LocatedPolicy, yaml};

pub const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// Where `make build` writes the filter.
pub const BUILT_WASM: &str = "target/wasm32-wasip1/release/keyfence.wasm";

/// The filter's `typed_config` in YAML. The policy is a JSON string, so that the filter's errors have its own line numbers. `name` is the
/// plugin's, which tells policies of one Envoy apart.
pub fn typed_config(name: &str, policy: &str, feed: Option<&Feed>, wasm: &str, indentation: usize) -> String {
    let (name, wasm) = (yaml::string(name), yaml::string(wasm));
    let environment = feed.and_then(Feed::environment).map_or_else(String::new, |name| {
        let name = yaml::string(name);
        format!("\n    environment_variables:\n      host_env_keys:\n      - {name}")
    });
    let head = format!(
        r#""@type": {WASM_TYPE}
config:
  name: {name}
  root_id: keyfence
  failure_policy: FAIL_RELOAD
  vm_config:
    vm_id: keyfence
    runtime: envoy.wasm.runtime.v8{environment}
    code:
      local:
        filename: {wasm}
  configuration:
    "@type": type.googleapis.com/google.protobuf.StringValue
    value: |"#
    );
    yaml::indented(&head, indentation) + &yaml::literal(policy, indentation + 6)
}

/// The policy as JSON, in its author's layout unless that is one long line.
pub fn text(policy: &LocatedPolicy) -> Result<String, Failure> {
    let written = str::from_utf8(&policy.json).map_err(Failure::new)?.trim();
    if written.contains(['\n', '\r']) || written.len() < 80 {
        return Ok(written.to_owned());
    }
    // This may reformat numbers and reorder names, which does not change the policy.
    let value: Value = serde_json::from_str(written).map_err(Failure::new)?;
    Ok(format!("{value:#}"))
}

/// The policy as YAML.
pub fn fields(policy: &LocatedPolicy, indentation: usize) -> Result<String, Failure> {
    let policy: Node<'_> = serde_json::from_slice(&policy.json).map_err(Failure::new)?;
    Ok(yaml::block(&policy, indentation))
}
