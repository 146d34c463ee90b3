//! `render envoy`: `envoy/envoy.yaml` with the policy in it. So a rendered gateway has the same metrics, access log and headers.

use super::plugin::{self, BUILT_WASM};
use super::{Arguments, Failure, LocatedPolicy, yaml};

const GATEWAY: &str = include_str!("../../../envoy/envoy.yaml");

/// What is before the settings: a comment on the repository.
const FIRST_SETTING: &str = "node: ";

/// Behind this line is the cluster of the feed: the last part of the file.
const FEED_CLUSTER: &str = "  # Where keyfence-control is";

const OTHER_CLUSTERS: [&str; 2] = ["admin", "upstream"];

/// Between these lines is the filter.
const FILTERS: &str = "          http_filters:\n";
const ROUTER: &str = "          - name: envoy.filters.http.router\n";

const LISTENER: &str = "socket_address: { address: 127.0.0.1, port_value: 10000 }";
const UPSTREAM: &str = "socket_address: { address: 127.0.0.1, port_value: 10001 }";

/// Readers of YAML disagree on `0600`, which is 384.
const ADMIN_MODE: &str = "mode: 0600";
const ADMIN: &str = "target/admin.sock";

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let feed = arguments.feed(policy)?;
    let plugin = plugin::typed_config(
        arguments.name(),
        &plugin::text(policy)?,
        feed.as_ref(),
        arguments.wasm.as_deref().unwrap_or(BUILT_WASM),
        14,
    );
    let settings = GATEWAY.find(FIRST_SETTING).and_then(|start| GATEWAY.get(start..));
    let (settings, _) = settings.unwrap_or(GATEWAY).split_once(FEED_CLUSTER).unwrap_or_default();
    let settings = settings
        .replace(ADMIN_MODE, "mode: 384")
        .replace(ADMIN, "/tmp/keyfence-admin.sock")
        .replace(LISTENER, &socket_address(arguments.listen.as_ref(), 10_000))
        .replace(UPSTREAM, &socket_address(arguments.upstream.as_ref(), 10_001));
    let (before, rest) = settings.split_once(FILTERS).unwrap_or_default();
    let (_, after) = rest.split_once(ROUTER).unwrap_or_default();
    if let Some(name) = feed
        .as_ref()
        .map(|feed| &feed.cluster)
        .filter(|name| OTHER_CLUSTERS.contains(&name.as_str()))
    {
        let name = name.as_str();
        return Err(Failure(format!(
            "another cluster is named {name}; write another name in keys_from.cluster"
        )));
    }
    let cluster = feed.map(|feed| feed.cluster(arguments)).transpose()?;
    let cluster = cluster.map_or_else(String::new, |cluster| yaml::item(&cluster, 2));
    Ok(format!(
        "# Rendered by keyfence: `envoy -c` loads it.\n{before}{FILTERS}          - name: keyfence\n            typed_config:\n{plugin}{ROUTER}{after}{cluster}"
    ))
}

fn socket_address(address: Option<&(String, u16)>, default_port: u16) -> String {
    let (host, port) = address.map_or(("127.0.0.1", default_port), |(host, port)| (host, *port));
    let host = yaml::quoted(host);
    format!("socket_address: {{ address: {host}, port_value: {port} }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file is edited as text, which keeps its comments.
    #[test]
    fn the_file_has_what_is_replaced() {
        for (text, count) in [
            (FIRST_SETTING, 1),
            (FEED_CLUSTER, 1),
            (FILTERS, 2),
            (ROUTER, 2),
            (LISTENER, 1),
            (UPSTREAM, 1),
            (ADMIN_MODE, 1),
            (ADMIN, 2),
        ] {
            assert_eq!(GATEWAY.matches(text).count(), count, "{text}");
        }
        let clusters = GATEWAY
            .split("\n  - name: ")
            .filter(|part| part.contains("cluster_name: "));
        let names: Vec<&str> = clusters.filter_map(|part| part.lines().next()).collect();
        assert_eq!(names, [&OTHER_CLUSTERS[..], &["keyfence_control"]].concat());
        let targets = GATEWAY.replace(ADMIN, "").replace("target/gateway", "");
        assert!(!targets.contains("target/"), "another path of the repository");
    }
}
