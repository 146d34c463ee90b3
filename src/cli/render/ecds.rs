//! `render ecds`: an ECDS resource, in a file that Envoy watches.

use serde_json::json;

use super::feed::Feed;
use super::plugin::{self, BUILT_WASM, WASM_TYPE};
use super::{Arguments, Failure, LocatedPolicy, escape};

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let mut vm = json!({
        "vm_id": "keyfence",
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": arguments.wasm.as_deref().unwrap_or(BUILT_WASM)}},
    });
    // The cluster of the feed belongs to Envoy's bootstrap: a filter cannot bring one.
    let feed = arguments.feed(policy)?;
    if let (Some(vm), Some(name)) = (vm.as_object_mut(), feed.as_ref().and_then(Feed::environment)) {
        vm.insert("environment_variables".into(), json!({"host_env_keys": [name]}));
    }
    let resources = json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "keyfence",
        "typed_config": {
            "@type": WASM_TYPE,
            "config": {
                "name": "keyfence",
                "root_id": "keyfence",
                "vm_config": vm,
                "failure_policy": "FAIL_RELOAD",
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": plugin::text(policy)?},
            },
        },
    }]});
    Ok(escape::json(&format!("{resources:#}\n")))
}
