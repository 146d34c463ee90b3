//! `keyfence render`: prints a configuration of Envoy or Kubernetes that loads a policy.

mod ecds;
mod envoy;
mod envoy_filter;
mod envoy_gateway;
mod feed;
mod istio;
mod options;
mod plugin;
mod size;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io, process};

use clap::{Args, ValueEnum};

use super::report::Report;
use super::style::Style;
use super::{DENIED, Failure, escape, print, yaml};
use keyfence_files::source::{LocatedPolicy, Source};
use options::{FailStrategy, Kind, digest, dns_label, host_and_port, image, label, not_empty};

/// Write an Envoy or Kubernetes configuration that loads a policy
///
/// Errors and warnings of the policy, as check prints them, go to standard error, and a warning if the manifest is too large for kubectl
/// apply or for Kubernetes. If there are errors, nothing is rendered, and the output file does not change. An option that the target does
/// not use is an error.
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

    /// The path of keyfence.wasm for Envoy, for envoy, ecds and envoy-filter [default: the output of make build; for envoy-filter
    /// /etc/keyfence/plugin.wasm]
    #[arg(long, value_name = "FILE", value_parser = not_empty)]
    wasm: Option<String>,

    /// The filter's OCI image, for istio and envoy-gateway [default: registry.example.com/keyfence with this version]
    #[arg(long, value_parser = image)]
    image: Option<String>,

    /// The digest of the image (not of the wasm in it), as docker push prints it, for istio and envoy-gateway: another image is refused
    #[arg(long, value_name = "HEX", value_parser = digest)]
    sha256: Option<String>,

    /// The Secret with the credentials for the image, in the same namespace, for istio and envoy-gateway
    #[arg(long, value_name = "NAME", value_parser = not_empty)]
    pull_secret: Option<String>,

    /// The name of the resources, for istio, envoy-filter and envoy-gateway [default: keyfence]
    #[arg(long, value_parser = dns_label)]
    name: Option<String>,

    /// The namespace, for istio, envoy-filter and envoy-gateway [default: istio-system, from where Istio applies it to the pods
    /// of all namespaces; for envoy-gateway default]
    #[arg(long, value_parser = not_empty)]
    namespace: Option<String>,

    /// The Gateway (of the Gateway API) that loads the filter, for istio and envoy-gateway, in the same namespace; may be repeated
    /// [default: for envoy-gateway eg]
    #[arg(long, value_name = "NAME", value_parser = not_empty, conflicts_with = "selector")]
    gateway: Vec<String>,

    /// A label of the pods that load the filter, for istio and envoy-filter; may be repeated [default: istio=ingressgateway]
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,

    /// The kind of resource, for istio: TrafficExtension is recommended from Istio 1.30 [default: wasm-plugin]
    #[arg(long, value_enum)]
    kind: Option<Kind>,

    /// What happens after a failure, for istio: both let nothing pass, and fail-reload (from Istio 1.27) starts a failed VM anew
    /// [default: fail-reload]
    #[arg(long, value_enum)]
    fail_strategy: Option<FailStrategy>,

    /// How many proxies before the gateway append to X-Forwarded-For, for envoy-gateway: adds a ClientTrafficPolicy
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    trusted_hops: Option<u8>,

    /// The listener's address, for envoy [default: 127.0.0.1:10000]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = host_and_port)]
    listen: Option<(String, u16)>,

    /// The upstream's address, for envoy [default: 127.0.0.1:10001]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    upstream: Option<(String, u16)>,

    /// Where keyfence-control is, if the policy has keys_from, for envoy and, unless the cluster is the mesh's own, the targets of
    /// Kubernetes [default: for envoy 127.0.0.1:7070]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    feed_address: Option<(String, u16)>,

    /// The certificates of the authorities that may sign keyfence-control's certificate, as Envoy finds the file: makes the feed's
    /// connections TLS [default: no TLS]
    #[arg(long, value_name = "FILE", value_parser = not_empty)]
    feed_ca: Option<String>,
}

/// The kind of configuration to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A complete static configuration of Envoy (YAML)
    Envoy,
    /// An ECDS resource, in a file that Envoy watches (JSON)
    Ecds,
    /// Istio's WasmPlugin or TrafficExtension, with the filter from an image
    Istio,
    /// Istio's EnvoyFilter, with the filter from a file in the pod
    EnvoyFilter,
    /// Envoy Gateway's EnvoyExtensionPolicy, with an EnvoyProxy for metrics and access log
    EnvoyGateway,
}

const EXAMPLES: &str = "Examples:
  keyfence render envoy policy.json >envoy.yaml && envoy -c envoy.yaml
  keyfence render envoy policy.json --feed-address keys.example.com:7070 --feed-ca /etc/ssl/certs/ca-certificates.crt
  keyfence render ecds policy.json --output target/gateway/filter.json
  keyfence render istio policy.yaml --image registry.example.com/keyfence:1.0 | kubectl apply -f -
  keyfence render istio policy.yaml --kind traffic-extension --namespace shop --gateway public | kubectl apply -f -
  keyfence render envoy-gateway policy.yaml --namespace default --gateway eg --trusted-hops 1 | kubectl apply -f -";

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.check_options()?;
    let source = Source::read(&arguments.file)?;
    let (report, policy) = Report::of_policy(&source)?;
    let rendered = policy.map(|policy| arguments.render(&policy)).transpose()?;
    eprint!("{}", report.to_text(Style::of_stderr()));
    let Some(rendered) = rendered else {
        return Ok(ExitCode::from(DENIED));
    };
    if arguments.target.is_kubernetes()
        && let Some(warning) = size::warning(&rendered)
    {
        eprintln!("keyfence: warning: {warning}");
    }
    match &arguments.output {
        None => print(&rendered)?,
        Some(path) => {
            replace(path, &rendered).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces a file atomically. Envoy's file-based xDS reloads a file only when another one is moved to its path. A device or pipe, such as
/// `/dev/null`, is written to: a rename would put a file in its place.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|metadata| !metadata.is_file()) {
        return fs::write(path, text);
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(format!(".{}.new", process::id()));
    let temporary = path.with_file_name(name);
    // Not what somebody else has put there, such as a link to another file.
    let mut file = fs::File::create_new(&temporary)?;
    // Whoever may not read the old file may not read the keys in the new one.
    let permissions = old.map(|metadata| file.set_permissions(metadata.permissions()));
    let written = permissions
        .unwrap_or(Ok(()))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

impl Target {
    fn is_kubernetes(self) -> bool {
        matches!(self, Target::Istio | Target::EnvoyFilter | Target::EnvoyGateway)
    }
}

impl Arguments {
    fn render(&self, policy: &LocatedPolicy) -> Result<String, Failure> {
        match self.target {
            Target::Envoy => envoy::render(self, policy),
            Target::Ecds => ecds::render(self, policy),
            Target::Istio => istio::render(self, policy),
            Target::EnvoyFilter => envoy_filter::render(self, policy),
            Target::EnvoyGateway => envoy_gateway::render(self, policy),
        }
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("keyfence")
    }

    fn image(&self) -> String {
        let default = || format!("registry.example.com/keyfence:{}", env!("CARGO_PKG_VERSION"));
        self.image.clone().unwrap_or_else(default)
    }

    /// `metadata` of a resource, in YAML.
    fn metadata(&self, default_namespace: &str) -> String {
        let name = yaml::string(self.name());
        let namespace = yaml::string(self.namespace.as_deref().unwrap_or(default_namespace));
        format!("metadata:\n  name: {name}\n  namespace: {namespace}\n")
    }

    /// The labels of the pods, in YAML.
    fn labels(&self, indentation: usize) -> String {
        let labels = self
            .selector
            .iter()
            .map(|(name, value)| yaml::member(name, value, indentation));
        let labels: String = labels.collect();
        if labels.is_empty() {
            yaml::member("istio", "ingressgateway", indentation)
        } else {
            labels
        }
    }
}

/// `targetRefs` of a resource, in YAML.
fn target_refs<'n>(gateways: impl IntoIterator<Item = &'n str>) -> String {
    let refs = gateways.into_iter().map(|name| {
        let name = yaml::string(name);
        format!("  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: {name}\n")
    });
    refs.fold("  targetRefs:\n".to_owned(), |text, item| text + &item)
}

/// The lines of `text` as a comment.
fn comment(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| format!("#   {line}"));
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}
