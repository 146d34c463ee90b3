//! Finds the policies in a configuration of Envoy, Istio or Envoy Gateway.

use super::tree::Node;

/// The configuration of a Wasm plugin.
#[derive(Debug, Clone, Copy)]
pub struct Plugin<'t> {
    /// Whether one of its names or its image contains `keyfence`.
    pub is_named: bool,
    pub policy: Policy<'t>,
}

/// The policy in a plugin's configuration.
#[derive(Debug, Clone, Copy)]
pub enum Policy<'t> {
    /// Fields of the surrounding document.
    Fields(&'t Node),
    /// A string that contains JSON.
    Text(&'t Node),
    /// The plugin at this node has no policy.
    Missing(&'t Node),
}

/// The plugins of a document that are named keyfence, or all of them if none is.
pub fn plugins(document: &Node) -> Vec<Plugin<'_>> {
    let mut plugins = Vec::new();
    collect(document, &mut plugins);
    if plugins.iter().any(|plugin| plugin.is_named) {
        plugins.retain(|plugin| plugin.is_named);
    }
    plugins
}

/// Whether a document is a configuration of Envoy or Kubernetes, not a policy.
pub fn is_foreign(document: &Node) -> bool {
    const FIELDS: [&str; 9] = [
        "apiVersion",
        "static_resources",
        "dynamic_resources",
        "resources",
        "typed_config",
        "http_filters",
        "vm_config",
        "@type",
        "bootstrap",
    ];
    FIELDS.iter().any(|field| document.get(field).is_some())
}

/// Whether a document is a Kubernetes resource. A control plane reads it, not Envoy.
pub fn is_kubernetes(document: &Node) -> bool {
    document.get("apiVersion").is_some() && document.get("kind").is_some()
}

fn collect<'t>(node: &'t Node, plugins: &mut Vec<Plugin<'t>>) {
    match node.get("kind").and_then(Node::text) {
        Some("WasmPlugin") => {
            const NAMES: [&[&str]; 3] = [&["metadata", "name"], &["spec", "pluginName"], &["spec", "url"]];
            return plugins.push(Plugin {
                is_named: names_keyfence(node, &NAMES),
                policy: fields(node, &["spec", "pluginConfig"]),
            });
        }
        Some("EnvoyExtensionPolicy") => {
            const NAMES: [&[&str]; 3] = [&["name"], &["code", "image", "url"], &["code", "http", "url"]];
            let wasm = node.at(&["spec", "wasm"]).map_or(&[][..], Node::items);
            return plugins.extend(wasm.iter().map(|extension| Plugin {
                is_named: names_keyfence(extension, &NAMES),
                policy: fields(extension, &["config"]),
            }));
        }
        _ => {}
    }
    if node.get("vm_config").is_some() {
        const NAMES: [&[&str]; 4] = [
            &["name"],
            &["root_id"],
            &["vm_config", "vm_id"],
            &["vm_config", "code", "local", "filename"],
        ];
        // Its configuration is opaque to Envoy, so nothing in it is another plugin.
        return plugins.push(Plugin {
            is_named: names_keyfence(node, &NAMES),
            policy: any(node),
        });
    }
    let members = node.members().iter().map(|member| &member.node);
    for child in members.chain(node.items()) {
        collect(child, plugins);
    }
}

fn names_keyfence(node: &Node, names: &[&[&str]]) -> bool {
    let mut texts = names.iter().filter_map(|path| node.at(path)?.text());
    texts.any(|text| text.contains("keyfence"))
}

fn fields<'t>(plugin: &'t Node, path: &[&str]) -> Policy<'t> {
    plugin.at(path).map_or(Policy::Missing(plugin), Policy::Fields)
}

/// The policy in a plugin's `configuration`, a `google.protobuf.Any`.
fn any(plugin: &Node) -> Policy<'_> {
    let Some(configuration) = plugin.get("configuration") else {
        return Policy::Missing(plugin);
    };
    let value = configuration.get("value").unwrap_or(configuration);
    let kind = configuration.get("@type").and_then(Node::text).unwrap_or_default();
    if kind.ends_with("google.protobuf.Struct") {
        Policy::Fields(value)
    } else {
        Policy::Text(value)
    }
}
