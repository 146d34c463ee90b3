//! What `keys_from` needs around the policy: the cluster that the feed is asked for at, and the environment variable with its token.

use std::net::IpAddr;

use keyfence_core::config::keys_from::{FeedToken, KeysFrom};
use keyfence_core::config::{self, Diagnostics};

use super::{Arguments, Failure, LocatedPolicy, Target, yaml};

/// The key of the Secret that has the token.
const SECRET_KEY: &str = "token";

/// The feed of a policy.
pub struct Feed {
    /// The name of the cluster.
    pub cluster: String,
    /// The environment variable that has the token.
    token_env: Option<String>,
}

impl Feed {
    /// Reads `keys_from` of a policy without errors.
    pub fn of(policy: &LocatedPolicy) -> Option<Feed> {
        let config = config::read(&policy.json, &mut Diagnostics::default())?;
        let KeysFrom { cluster, token, .. } = config.keys_from?;
        let token_env = match token {
            Some(FeedToken::TokenEnv(name)) => Some(name),
            Some(FeedToken::Token(_)) | None => None,
        };
        Some(Feed { cluster, token_env })
    }

    /// The host of a cluster that Istio makes of a Service: `outbound|<port>||<host>`.
    fn mesh_host(&self) -> Option<&str> {
        let (_, host) = self.cluster.strip_prefix("outbound|")?.split_once("||")?;
        Some(host).filter(|host| !host.is_empty() && !host.contains('|'))
    }

    /// A `DestinationRule` for a cluster that Istio makes of a Service. Other clusters have no such host.
    pub fn destination_rule(&self, metadata: &str) -> Option<String> {
        let host = yaml::string(self.mesh_host()?);
        Some(format!(
            r#"---
# Envoy notices after 11 seconds when the control plane or the network fails silently.
apiVersion: networking.istio.io/v1
kind: DestinationRule
{metadata}spec:
  host: {host}
  trafficPolicy:
    connectionPool:
      tcp:
        connectTimeout: "1s"
        tcpKeepalive:
          time: "5s"
          interval: "2s"
          probes: 3
"#
        ))
    }

    /// The cluster, in YAML.
    pub fn cluster(&self, arguments: &Arguments) -> Result<String, Failure> {
        let here = ("127.0.0.1".to_owned(), 7070);
        let address = match &arguments.feed_address {
            Some(address) => address,
            None if arguments.target == Target::Envoy => &here,
            None => {
                return Err(Failure(
                    "the policy has keys_from; write where keyfence-control is, as in --feed-address keyfence-control.keyfence.svc.cluster.local:7070"
                        .into(),
                ));
            }
        };
        Ok(cluster(&self.cluster, address, arguments.feed_ca.as_deref()))
    }

    /// The names of Envoy's environment variables that the filter reads.
    pub fn environment(&self) -> Option<&str> {
        self.token_env.as_deref()
    }

    /// The environment variable of a container, with the token from a Secret, in YAML: an item of `env`.
    pub fn container_variable(&self, secret: &str) -> Option<String> {
        let name = yaml::string(self.token_env.as_deref()?);
        let secret = yaml::string(secret);
        Some(format!(
            "- name: {name}
  valueFrom:
    secretKeyRef:
      name: {secret}
      key: {SECRET_KEY}
"
        ))
    }
}

/// A cluster of Envoy. A poll waits without traffic, so only keepalive notices a peer that fails silently: 5 s after the
/// last packet, and after three probes of 2 s.
fn cluster(name: &str, (host, port): &(String, u16), authority: Option<&str>) -> String {
    // Envoy balances between all addresses of a name. By default it takes IPv6 addresses where there are any, reachable or not.
    let discovery = match host.parse::<IpAddr>() {
        Ok(_) => "STATIC",
        Err(_) => "STRICT_DNS\ndns_lookup_family: V4_PREFERRED",
    };
    let (name, host) = (yaml::string(name), yaml::quoted(host));
    let mut cluster = format!(
        r#"name: {name}
type: {discovery}
connect_timeout: "1s"
# Envoy notices after 11 seconds when the control plane or the network fails silently.
upstream_connection_options:
  tcp_keepalive: {{ keepalive_time: 5, keepalive_interval: 2, keepalive_probes: 3 }}
load_assignment:
  cluster_name: {name}
  endpoints:
  - lb_endpoints:
    - endpoint:
        address:
          socket_address: {{ address: {host}, port_value: {port} }}
"#
    );
    if let Some(file) = authority {
        let file = yaml::string(file);
        cluster += &format!(
            r#"# The certificate must be one for the host in the policy's keys_from.authority.
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    upstream_http_protocol_options: {{ auto_sni: true, auto_san_validation: true }}
    explicit_http_config: {{ http_protocol_options: {{}} }}
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    common_tls_context:
      validation_context:
        trusted_ca:
          filename: {file}
"#
        );
    }
    cluster
}

impl Arguments {
    /// The feed of the policy. Refuses options for a cluster that is not rendered.
    pub fn feed(&self, policy: &LocatedPolicy) -> Result<Option<Feed>, Failure> {
        let feed = Feed::of(policy);
        let option = match (&self.feed_address, &self.feed_ca) {
            (Some(_), _) => "--feed-address",
            (None, Some(_)) => "--feed-ca",
            (None, None) => return Ok(feed),
        };
        match &feed {
            None => Err(Failure(format!("{option} needs a policy with keys_from"))),
            Some(feed) if self.is_of_mesh(feed) => Err(Failure(format!(
                "{option} is for a cluster that render writes, and {} is the mesh's own",
                feed.cluster
            ))),
            Some(_) => Ok(feed),
        }
    }

    fn is_of_mesh(&self, feed: &Feed) -> bool {
        matches!(self.target, Target::Istio | Target::EnvoyFilter) && feed.mesh_host().is_some()
    }
}
