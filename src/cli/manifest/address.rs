//! A policy that takes the client's address from the connection, behind a gateway that takes it from `X-Forwarded-For`.
//!
//! The filter then knows no address for a request that has the header, so every key with `allowed_ips` is refused.

use std::collections::HashSet;

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::{DiagnosticKind, Diagnostics, Message};

use super::with_path;
use keyfence_files::embedded::{Plugin, PluginKind, Policy, Step};
use keyfence_files::source::Manifest;
use keyfence_files::tree::Node;

/// Namespace and name of a Gateway.
type Gateway<'t> = (&'t str, &'t str);

/// The Gateways for which a ClientTrafficPolicy trusts `X-Forwarded-For`.
pub fn trusting_gateways(manifests: &[Manifest]) -> HashSet<Gateway<'_>> {
    let mut gateways = HashSet::new();
    for root in manifests.iter().filter_map(|manifest| manifest.tree.root.as_ref()) {
        let items = root.get("items").map_or(&[][..], Node::items);
        for resource in items.iter().chain([root]) {
            let is_policy = resource.get("kind").and_then(Node::text) == Some("ClientTrafficPolicy");
            let header = resource.at(&["spec", "clientIPDetection", "xForwardedFor"]);
            if is_policy && header.is_some_and(is_trusted) {
                gateways.extend(targets(resource));
            }
        }
    }
    gateways
}

fn is_trusted(header: &Node) -> bool {
    let hops = header.get("numTrustedHops").and_then(Node::text);
    hops.is_some_and(|hops| hops != "0") || header.get("trustedCIDRs").is_some()
}

fn targets(resource: &Node) -> impl Iterator<Item = Gateway<'_>> {
    let namespace = resource
        .at(&["metadata", "namespace"])
        .and_then(Node::text)
        .unwrap_or("default");
    let listed = resource.at(&["spec", "targetRefs"]).map_or(&[][..], Node::items);
    let targets = listed.iter().chain(resource.at(&["spec", "targetRef"]));
    targets.filter_map(move |target| Some((namespace, target.get("name")?.text()?)))
}

struct PeerBehindProxy;

impl DiagnosticKind for PeerBehindProxy {
    fn message(&self) -> Message {
        Message::warning(
            "the ClientTrafficPolicy takes the address from X-Forwarded-For, and with client_ip \"peer\" every key with allowed_ips is refused for requests that have the header",
            "write client_ip: forwarded",
        )
    }
}

/// Whether a resource applies to one of these Gateways.
pub fn is_for(resource: &Node, trusting: &HashSet<Gateway<'_>>) -> bool {
    !trusting.is_empty() && targets(resource).any(|gateway| trusting.contains(&gateway))
}

/// `is_trusting` is what [`is_for`] says of the plugin's resource.
pub fn check(plugin: &Plugin<'_>, is_trusting: bool, diagnostics: &mut Diagnostics) {
    let (PluginKind::EnvoyExtensionPolicy, Policy::Fields(policy)) = (plugin.kind, plugin.policy) else {
        return;
    };
    let client_ip = policy.get("client_ip");
    let is_peer = client_ip.is_none_or(|value| value.text() == Some("peer"));
    let keys = policy.get("keys").map_or(&[][..], Node::items);
    let has_networks = keys
        .iter()
        .chain(policy.get("anonymous"))
        .any(|key| key.get("allowed_ips").is_some());
    if is_peer && has_networks && is_trusting {
        let mut steps = plugin.place.path.clone();
        steps.push(Step::Field("config"));
        steps.extend(client_ip.map(|_| Step::Field("client_ip")));
        with_path(&steps, &ConfigPath::ROOT, &mut |path| {
            diagnostics.add_bare(path, &PeerBehindProxy);
        });
    }
}
