//! `keyfence render`: prints a configuration of Envoy or Kubernetes that loads a policy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io, process, str};

use clap::{Args, ValueEnum};
use keyfence_core::config::node::Node;
use serde_json::{Value, json};

use super::report::Report;
use super::source::{LocatedPolicy, Source};
use super::style::Style;
use super::{DENIED, Failure, escape, print, yaml};

/// Write an Envoy or Kubernetes configuration that loads a policy
///
/// Errors and warnings of the policy, as check prints them, go to standard error. If there are errors, nothing is rendered, and the
/// output file does not change.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The kind of configuration
    #[arg(value_enum)]
    target: Target,

    /// The policy as JSON or YAML; - for standard input
    file: PathBuf,

    /// Write to this file: it is replaced atomically, by a rename, as Envoy's file-based xDS requires
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// The path of keyfence.wasm for Envoy [default: the output of make build; for envoy-filter /etc/keyfence/plugin.wasm]
    #[arg(long, value_name = "FILE")]
    wasm: Option<String>,

    /// The filter's OCI image, for istio and envoy-gateway
    #[arg(long, default_value_t = default_image())]
    image: String,

    /// The namespace, for istio, envoy-filter and envoy-gateway [default: istio-ingress; for envoy-gateway default]
    #[arg(long)]
    namespace: Option<String>,

    /// The name of the Gateway that loads the filter, for envoy-gateway
    #[arg(long, default_value = "eg")]
    gateway: String,

    /// A label of the pods that load the filter, for istio and envoy-filter
    #[arg(long, value_name = "NAME=VALUE", default_value = "istio=ingressgateway", value_parser = label)]
    selector: (String, String),

    /// The listener's address, for envoy
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10000", value_parser = host_and_port)]
    listen: (String, u16),

    /// The upstream's address, for envoy
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10001", value_parser = host_and_port)]
    upstream: (String, u16),
}

/// The kind of configuration to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A complete static configuration of Envoy (YAML)
    Envoy,
    /// An ECDS resource, in a file that Envoy watches (JSON)
    Ecds,
    /// Istio's WasmPlugin, with the filter from an image
    Istio,
    /// Istio's EnvoyFilter, with the filter from a file in the pod
    EnvoyFilter,
    /// Envoy Gateway's EnvoyExtensionPolicy
    EnvoyGateway,
}

const EXAMPLES: &str = "Examples:
  keyfence render envoy policy.json >envoy.yaml && envoy -c envoy.yaml
  keyfence render ecds policy.json --output target/gateway/filter.json
  keyfence render istio policy.yaml --image registry.example.com/keyfence:1.0 | kubectl apply -f -
  keyfence render envoy-gateway policy.yaml --namespace default --gateway eg | kubectl apply -f -";

const BUILT_WASM: &str = "target/wasm32-wasip1/release/keyfence.wasm";
const MOUNTED_WASM: &str = "/etc/keyfence/plugin.wasm";

fn default_image() -> String {
    format!("registry.example.com/keyfence:{}", env!("CARGO_PKG_VERSION"))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    Ok((name.into(), value.into()))
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("write it as host:port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((
        host.into(),
        port.parse().map_err(|_| "the port must be a number up to 65535")?,
    ))
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let source = Source::read(&arguments.file)?;
    let (report, policy) = Report::of_policy(&source)?;
    let rendered = policy.map(|policy| arguments.render(&policy)).transpose()?;
    eprint!("{}", report.to_text(Style::of_stderr()));
    let Some(rendered) = rendered else {
        return Ok(ExitCode::from(DENIED));
    };
    match &arguments.output {
        None => print(&rendered)?,
        Some(path) => {
            replace(path, &rendered).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces a file atomically. Envoy's file-based xDS reloads a file only when another one is moved to its path.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(format!(".{}.new", process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

impl Arguments {
    fn render(&self, policy: &LocatedPolicy) -> Result<String, Failure> {
        Ok(match self.target {
            Target::Envoy => self.envoy(&text(policy)?),
            Target::Ecds => self.ecds(&text(policy)?),
            Target::Istio => self.istio(&fields(policy, 4)?),
            Target::EnvoyFilter => self.envoy_filter(&text(policy)?),
            Target::EnvoyGateway => self.envoy_gateway(&fields(policy, 6)?),
        })
    }

    fn wasm_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.wasm.as_deref().unwrap_or(default)
    }

    fn namespace_or(&self, default: &str) -> String {
        yaml::string(self.namespace.as_deref().unwrap_or(default))
    }

    fn label(&self) -> String {
        let (name, value) = &self.selector;
        yaml::member(name, value, 6)
    }

    fn envoy(&self, policy: &str) -> String {
        let (address, port) = &self.listen;
        let (upstream, upstream_port) = &self.upstream;
        let (address, upstream) = (yaml::quoted(address), yaml::quoted(upstream));
        let plugin = plugin(policy, self.wasm_or(BUILT_WASM), 14);
        format!(
            r#"# Rendered by keyfence: `envoy -c` loads it.
static_resources:
  listeners:
  - name: gateway
    address:
      socket_address: {{ address: {address}, port_value: {port} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          # The client's address is that of the connection. Behind a proxy: see xff_num_trusted_hops, and the policy's client_ip.
          use_remote_address: true
          # Whether there is a Server header is for the policy to say.
          server_header_transformation: PASS_THROUGH
          # WebSockets pass the filters as requests do.
          upgrade_configs:
          - upgrade_type: websocket
          http_filters:
          - name: keyfence
            typed_config:
{plugin}          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: upstream }}
  clusters:
  - name: upstream
    type: STRICT_DNS
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: {upstream}, port_value: {upstream_port} }}
"#
        )
    }

    fn ecds(&self, policy: &str) -> String {
        let resources = json!({"resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "keyfence",
            "typed_config": {
                "@type": WASM_TYPE,
                "config": {
                    "name": "keyfence",
                    "root_id": "keyfence",
                    "vm_config": {
                        "vm_id": "keyfence",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": self.wasm_or(BUILT_WASM)}},
                    },
                    "failure_policy": "FAIL_RELOAD",
                    "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": policy},
                },
            },
        }]});
        escape::json(&format!("{resources:#}\n"))
    }

    fn istio(&self, policy: &str) -> String {
        let namespace = self.namespace_or("istio-ingress");
        let url = yaml::string(&format!("oci://{}", self.image));
        let label = self.label();
        format!(
            r#"# Rendered by keyfence: `kubectl apply -f` loads it.
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata:
  name: keyfence
  namespace: {namespace}
spec:
  selector:
    matchLabels:
{label}  url: {url}
  imagePullPolicy: IfNotPresent
  pluginName: keyfence
  # Before Istio's own authentication and authorization.
  phase: AUTHN
  # Nothing passes unchecked where the module cannot be fetched or has failed.
  failStrategy: FAIL_CLOSE
  pluginConfig:
{policy}"#
        )
    }

    fn envoy_filter(&self, policy: &str) -> String {
        let namespace = self.namespace_or("istio-ingress");
        let label = self.label();
        let plugin = plugin(policy, self.wasm_or(MOUNTED_WASM), 10);
        format!(
            r#"# Rendered by keyfence: `kubectl apply -f` loads it.
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: keyfence
  namespace: {namespace}
spec:
  workloadSelector:
    labels:
{label}  configPatches:
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
{plugin}"#
        )
    }

    fn envoy_gateway(&self, policy: &str) -> String {
        let namespace = self.namespace_or("default");
        let (gateway, image) = (yaml::string(&self.gateway), yaml::string(&self.image));
        format!(
            r#"# Rendered by keyfence: `kubectl apply -f` loads it.
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata:
  name: keyfence
  namespace: {namespace}
spec:
  targetRefs:
  - group: gateway.networking.k8s.io
    kind: Gateway
    name: {gateway}
  wasm:
  - name: keyfence
    rootID: keyfence
    # A filter that cannot start or has failed lets nothing pass.
    failOpen: false
    code:
      type: Image
      image:
        url: {image}
    config:
{policy}"#
        )
    }
}

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The filter's `typed_config` in YAML. The policy is a JSON string, so that the filter's errors have its own line numbers.
fn plugin(policy: &str, wasm: &str, indentation: usize) -> String {
    let wasm = yaml::string(wasm);
    let head = format!(
        r#""@type": {WASM_TYPE}
config:
  name: keyfence
  root_id: keyfence
  failure_policy: FAIL_RELOAD
  vm_config:
    vm_id: keyfence
    runtime: envoy.wasm.runtime.v8
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
fn text(policy: &LocatedPolicy) -> Result<String, Failure> {
    let written = str::from_utf8(&policy.json).map_err(Failure::new)?.trim();
    if written.contains(['\n', '\r']) || written.len() < 80 {
        return Ok(written.to_owned());
    }
    // This may reformat numbers and reorder names, which does not change the policy.
    let value: Value = serde_json::from_str(written).map_err(Failure::new)?;
    Ok(format!("{value:#}"))
}

/// The policy as YAML.
fn fields(policy: &LocatedPolicy, indentation: usize) -> Result<String, Failure> {
    let policy: Node<'_> = serde_json::from_slice(&policy.json).map_err(Failure::new)?;
    Ok(yaml::block(&policy, indentation))
}
