//! `render envoy-gateway`: an `EnvoyExtensionPolicy`, the `EnvoyProxy` for metrics and access log, and a `ClientTrafficPolicy`.

use super::feed::Feed;
use super::{Arguments, Failure, LocatedPolicy, plugin, target_refs, yaml};

const NAMESPACE: &str = "default";

const ENVOY_PROXY: &str = include_str!("../../../envoy/envoy-gateway/envoy-proxy.yaml");

/// Before the `EnvoyProxy`'s `apiVersion` is a comment, and between these is its `metadata`.
const API_VERSION: &str = "apiVersion: ";
const METADATA: &str = "metadata:\n";
const SPEC: &str = "spec:\n";

/// Behind the patches of the bootstrap.
const SHUTDOWN: &str = "  shutdown:\n";

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let targets = target_refs(match &*arguments.gateway {
        [] => vec!["eg"],
        gateways => gateways.iter().map(String::as_str).collect(),
    });
    let metadata = arguments.metadata(NAMESPACE);
    let image = image(arguments);
    let feed = arguments.feed(policy)?;
    let environment = feed.as_ref().and_then(Feed::environment);
    let environment = environment.map_or_else(String::new, |name| {
        let name = yaml::string(name);
        format!("    # The token of the feed.\n    env:\n      hostKeys:\n      - {name}\n")
    });
    let policy = plugin::fields(policy, 6)?;
    let name = yaml::string(arguments.name());
    let mut rendered = format!(
        "# Rendered by keyfence: `kubectl apply -f` loads it.
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
{metadata}spec:
{targets}  wasm:
  # Policies of one Envoy need different names.
  - name: {name}
    rootID: keyfence
    # A filter that cannot start or has failed lets nothing pass.
    failOpen: false
{environment}    code:
      type: Image
      image:
{image}    config:
{policy}"
    );
    rendered += &match &feed {
        None => envoy_proxy(&metadata),
        Some(feed) => with_feed(&envoy_proxy(&metadata), feed, arguments)?,
    };
    if let Some(hops) = arguments.trusted_hops {
        rendered += &client_traffic_policy(&metadata, &targets, hops);
    }
    Ok(rendered)
}

fn image(arguments: &Arguments) -> String {
    let mut image = yaml::member("url", &arguments.image(), 8);
    if let Some(digest) = &arguments.sha256 {
        image += &yaml::member("sha256", digest, 8);
    }
    if let Some(secret) = &arguments.pull_secret {
        image += "        pullSecretRef:\n";
        image += &yaml::member("name", secret, 10);
    }
    image
}

fn envoy_proxy(metadata: &str) -> String {
    let (_, proxy) = ENVOY_PROXY.split_once(API_VERSION).unwrap_or_default();
    let (kind, rest) = proxy.split_once(METADATA).unwrap_or_default();
    let (_, spec) = rest.split_once(SPEC).unwrap_or_default();
    format!(
        "---
# Labels for keyfence's metrics, and its fields in the access log. It has no effect until the Gateway, by
# spec.infrastructure.parametersRef, or its GatewayClass, by spec.parametersRef, names it: group gateway.envoyproxy.io,
# kind EnvoyProxy, this name, and for a GatewayClass this namespace.
{API_VERSION}{kind}{metadata}{SPEC}{spec}"
    )
}

/// The `EnvoyProxy` with the cluster of the feed in the bootstrap, and the token in the environment of Envoy.
fn with_feed(proxy: &str, feed: &Feed, arguments: &Arguments) -> Result<String, Failure> {
    let cluster = yaml::indented(feed.cluster(arguments)?.trim_end(), 8);
    let patch = format!(
        "    # Where keyfence-control is.
    - op: add
      path: /static_resources/clusters/-
      value:
{cluster}"
    );
    let (before, after) = proxy.split_once(SHUTDOWN).unwrap_or_default();
    let mut proxy = format!("{before}{patch}{SHUTDOWN}{after}");
    let secret = format!("{}-feed", arguments.name());
    if let Some(variable) = feed.container_variable(&secret) {
        let variable = yaml::indented(variable.trim_end(), 10);
        proxy += &format!(
            "  # The token of the feed, from a Secret in the namespace of the proxies' pods.
  provider:
    type: Kubernetes
    kubernetes:
      envoyDeployment:
        container:
          env:
{variable}"
        );
    }
    Ok(proxy)
}

fn client_traffic_policy(metadata: &str, targets: &str, hops: u8) -> String {
    format!(
        "---
# The client's address: from X-Forwarded-For. The policy needs client_ip: forwarded.
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
{metadata}spec:
{targets}  clientIPDetection:
    xForwardedFor:
      # The entry counted from the right: 1 is what the proxy next to the gateway wrote. Too high a number lets clients
      # choose their address themselves.
      numTrustedHops: {hops}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_is_replaced() {
        for text in [API_VERSION, METADATA, SPEC, SHUTDOWN] {
            let lines = ENVOY_PROXY.matches(&format!("\n{text}")).count();
            assert_eq!((lines, ENVOY_PROXY.matches(text).count()), (1, 1), "{text}");
        }
    }
}
