//! `render envoy`: `envoy/envoy.yaml` with the policy in it. So a rendered gateway has the same metrics, access log and headers.

use super::plugin::{self, BUILT_WASM};
use super::{Arguments, Failure, LocatedPolicy, yaml};

const GATEWAY: &str = include_str!("../../../envoy/envoy.yaml");

/// What is before the settings: a comment on the repository.
const FIRST_SETTING: &str = "node: ";

/// Between these lines is the filter.
const FILTERS: &str = "          http_filters:\n";
const ROUTER: &str = "          - name: envoy.filters.http.router\n";

const LISTENER: &str = "socket_address: { address: 127.0.0.1, port_value: 10000 }";
const UPSTREAM: &str = "socket_address: { address: 127.0.0.1, port_value: 10001 }";

/// Readers of YAML disagree on `0600`, which is 384.
const ADMIN_MODE: &str = "mode: 0600";
const ADMIN: &str = "target/admin.sock";

pub fn render(arguments: &Arguments, policy: &LocatedPolicy) -> Result<String, Failure> {
    let plugin = plugin::typed_config(
        &plugin::text(policy)?,
        arguments.wasm.as_deref().unwrap_or(BUILT_WASM),
        14,
    );
    let settings = GATEWAY.find(FIRST_SETTING).and_then(|start| GATEWAY.get(start..));
    let settings = settings
        .unwrap_or(GATEWAY)
        .replace(ADMIN_MODE, "mode: 384")
        .replace(ADMIN, "/tmp/keyfence-admin.sock")
        .replace(LISTENER, &socket_address(arguments.listen.as_ref(), 10_000))
        .replace(UPSTREAM, &socket_address(arguments.upstream.as_ref(), 10_001));
    let (before, rest) = settings.split_once(FILTERS).unwrap_or_default();
    let (_, after) = rest.split_once(ROUTER).unwrap_or_default();
    Ok(format!(
        "# Rendered by keyfence: `envoy -c` loads it.\n{before}{FILTERS}          - name: keyfence\n            typed_config:\n{plugin}{ROUTER}{after}"
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
            (FILTERS, 2),
            (ROUTER, 2),
            (LISTENER, 1),
            (UPSTREAM, 1),
            (ADMIN_MODE, 1),
            (ADMIN, 2),
        ] {
            assert_eq!(GATEWAY.matches(text).count(), count, "{text}");
        }
        let targets = GATEWAY.replace(ADMIN, "").replace("target/gateway", "");
        assert!(!targets.contains("target/"), "another path of the repository");
    }
}
