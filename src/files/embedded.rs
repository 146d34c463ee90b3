//! Finds what a configuration of Envoy, Istio or Envoy Gateway holds: plugins with their policies, and files.

use crate::tree::Node;

/// A node of a document, and its path there.
#[derive(Debug, Clone)]
pub struct Place<'t> {
    /// The node.
    pub node: &'t Node,
    /// The steps from the document to it.
    pub path: Vec<Step<'t>>,
}

/// A step of a path.
#[derive(Debug, Clone, Copy)]
pub enum Step<'t> {
    /// The value with this name.
    Field(&'t str),
    /// The item with this index, from 0.
    Item(usize),
}

/// A Wasm plugin.
#[derive(Debug, Clone)]
pub struct Plugin<'t> {
    /// What configures it.
    pub kind: PluginKind,
    /// Whether one of its names or its image contains `keyfence`.
    pub is_named: bool,
    /// Its policy.
    pub policy: Policy<'t>,
    /// What configures the plugin.
    pub place: Place<'t>,
    /// The Kubernetes resource that is or contains the plugin. For Envoy it is the plugin.
    pub resource: Place<'t>,
}

/// What configures a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// A `WasmPlugin` of Istio.
    WasmPlugin,
    /// A `TrafficExtension` of Istio.
    TrafficExtension,
    /// An item of `spec.wasm` in an `EnvoyExtensionPolicy` of Envoy Gateway.
    EnvoyExtensionPolicy,
    /// A `PluginConfig` of Envoy.
    Envoy,
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

/// A file in a `ConfigMap` or `Secret`.
#[derive(Debug, Clone, Copy)]
pub struct File<'t> {
    /// Its name in the resource.
    pub name: &'t str,
    /// Its text.
    pub content: &'t Node,
    /// Whether the text is in base64, as in the `data` of a `Secret`.
    pub is_base64: bool,
    /// Whether the names of the resource and the file say that it is a policy of keyfence: `policy.json` in `keyfence`, or `keyfence.yaml`.
    pub is_named: bool,
}

/// The plugins of a document that are named keyfence, or all of them if none is.
pub fn plugins(document: &Node) -> Vec<Plugin<'_>> {
    let mut search = Search::default();
    search.visit(document);
    let mut plugins = search.plugins;
    if plugins.iter().any(|plugin| plugin.is_named) {
        plugins.retain(|plugin| plugin.is_named);
    }
    plugins
}

/// The files of a document that is a `ConfigMap`, a `Secret`, or a `List` of resources.
pub fn files(document: &Node) -> Vec<File<'_>> {
    const FIELDS: [(&str, &str, bool); 4] = [
        ("ConfigMap", "data", false),
        ("ConfigMap", "binaryData", true),
        ("Secret", "stringData", false),
        ("Secret", "data", true),
    ];
    let mut files = Vec::new();
    for resource in document.get("items").map_or(&[][..], Node::items) {
        files.extend(self::files(resource));
    }
    let kind = document.get("kind").and_then(Node::text);
    let is_named = names_keyfence(document, &[&["metadata", "name"]]);
    for (_, field, is_base64) in FIELDS.iter().filter(|(of, _, _)| Some(*of) == kind) {
        let members = document.get(field).map_or(&[][..], Node::members);
        files.extend(members.iter().map(|member| File {
            name: &member.name,
            content: &member.node,
            is_base64: *is_base64,
            is_named: names_a_policy(is_named, &member.name),
        }));
    }
    files
}

fn names_a_policy(is_named: bool, file: &str) -> bool {
    let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
    let is_policy = stem == "keyfence" || stem.contains("policy") && (is_named || stem.contains("keyfence"));
    is_policy && matches!(extension, "json" | "yaml" | "yml")
}

/// Whether a document is a configuration of Envoy or Kubernetes, not a policy.
pub fn is_foreign(document: &Node) -> bool {
    const FIELDS: [&str; 14] = [
        "apiVersion",
        "static_resources",
        "dynamic_resources",
        "resources",
        "typed_config",
        "http_filters",
        "vm_config",
        "@type",
        "bootstrap",
        "staticResources",
        "dynamicResources",
        "typedConfig",
        "httpFilters",
        "vmConfig",
    ];
    FIELDS.iter().any(|field| document.get(field).is_some())
}

/// Whether a document is a Kubernetes resource. A control plane reads it, not Envoy.
pub fn is_kubernetes(document: &Node) -> bool {
    document.get("apiVersion").is_some() && document.get("kind").is_some()
}

#[derive(Default)]
struct Search<'t> {
    plugins: Vec<Plugin<'t>>,
    path: Vec<Step<'t>>,
}

impl<'t> Search<'t> {
    fn visit(&mut self, node: &'t Node) {
        match node.get("kind").and_then(Node::text) {
            Some("WasmPlugin") => {
                const NAMES: [&[&str]; 3] = [&["metadata", "name"], &["spec", "pluginName"], &["spec", "url"]];
                return self.add(
                    PluginKind::WasmPlugin,
                    node,
                    &NAMES,
                    fields(node, &["spec", "pluginConfig"]),
                );
            }
            // One without `spec.wasm` is a Lua script.
            Some("TrafficExtension") if node.at(&["spec", "wasm"]).is_some() => {
                const NAMES: [&[&str]; 3] = [
                    &["metadata", "name"],
                    &["spec", "wasm", "pluginName"],
                    &["spec", "wasm", "url"],
                ];
                let policy = fields(node, &["spec", "wasm", "pluginConfig"]);
                return self.add(PluginKind::TrafficExtension, node, &NAMES, policy);
            }
            Some("EnvoyExtensionPolicy") => {
                const NAMES: [&[&str]; 3] = [&["name"], &["code", "image", "url"], &["code", "http", "url"]];
                let resource = self.place(node);
                for (index, extension) in node
                    .at(&["spec", "wasm"])
                    .map_or(&[][..], Node::items)
                    .iter()
                    .enumerate()
                {
                    let mut place = resource.clone();
                    place.node = extension;
                    place
                        .path
                        .extend([Step::Field("spec"), Step::Field("wasm"), Step::Item(index)]);
                    self.plugins.push(Plugin {
                        kind: PluginKind::EnvoyExtensionPolicy,
                        is_named: names_keyfence(extension, &NAMES),
                        policy: fields(extension, &["config"]),
                        place,
                        resource: resource.clone(),
                    });
                }
                return;
            }
            _ => {}
        }
        // Protobuf's JSON also has names in camel case, as Go writes them.
        if node.get("vm_config").or_else(|| node.get("vmConfig")).is_some() {
            const NAMES: [&[&str]; 7] = [
                &["name"],
                &["root_id"],
                &["rootId"],
                &["vm_config", "vm_id"],
                &["vmConfig", "vmId"],
                &["vm_config", "code", "local", "filename"],
                &["vmConfig", "code", "local", "filename"],
            ];
            // Its configuration is opaque to Envoy, so nothing in it is another plugin.
            return self.add(PluginKind::Envoy, node, &NAMES, any(node));
        }
        for member in node.members() {
            self.visit_child(Step::Field(&member.name), &member.node);
        }
        for (index, item) in node.items().iter().enumerate() {
            self.visit_child(Step::Item(index), item);
        }
    }

    fn visit_child(&mut self, step: Step<'t>, child: &'t Node) {
        self.path.push(step);
        self.visit(child);
        self.path.pop();
    }

    fn place(&self, node: &'t Node) -> Place<'t> {
        Place {
            node,
            path: self.path.clone(),
        }
    }

    fn add(&mut self, kind: PluginKind, node: &'t Node, names: &[&[&str]], policy: Policy<'t>) {
        self.plugins.push(Plugin {
            kind,
            is_named: names_keyfence(node, names),
            policy,
            place: self.place(node),
            resource: self.place(node),
        });
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
