//! The values of the options, and which target uses which option.

use clap::ValueEnum;

use super::Target::{Ecds, Envoy, EnvoyFilter, EnvoyGateway, Istio};
use super::{Arguments, Failure, Target};

/// The kind of Istio's resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    WasmPlugin,
    TrafficExtension,
}

/// What Istio does after a failure. There is no FAIL_OPEN: it lets requests pass unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailStrategy {
    FailClose,
    FailReload,
}

/// A label of Kubernetes, as `NAME=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    if name.is_empty() {
        return Err("write it as name=value".into());
    }
    Ok((name.into(), value.into()))
}

/// A text that is not empty, as it is where a variable of a script has no value.
pub fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty; leave the option out for the default".into());
    }
    Ok(text.into())
}

/// The name of an image. Istio has `oci://` before it, and Envoy Gateway has not.
pub fn image(text: &str) -> Result<String, String> {
    not_empty(text.strip_prefix("oci://").unwrap_or(text))
}

/// A DNS label (RFC 1123).
pub fn dns_label(text: &str) -> Result<String, String> {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = text.len() <= 63
        && text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.chars().all(|c| is_alphanumeric(c) || c == '-');
    if is_label {
        Ok(text.into())
    } else {
        Err("write at most 63 lower-case letters, digits and hyphens, with no hyphen at either end".into())
    }
}

/// A SHA-256 digest in hexadecimal, with or without `sha256:` before it.
pub fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(digits.to_ascii_lowercase())
    } else {
        Err("write the 64 hexadecimal digits of the image's digest".into())
    }
}

pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("write it as host:port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("write it as host:port".into());
    }
    Ok((
        host.into(),
        port.parse().map_err(|_| "the port must be a number up to 65535")?,
    ))
}

impl Arguments {
    /// Refuses options that the target does not use, labels that are there twice, and a Gateway without its namespace.
    pub fn check_options(&self) -> Result<(), Failure> {
        let options: [(&str, bool, &[Target]); 15] = [
            ("--wasm", self.wasm.is_some(), &[Envoy, Ecds, EnvoyFilter]),
            ("--image", self.image.is_some(), &[Istio, EnvoyGateway]),
            ("--sha256", self.sha256.is_some(), &[Istio, EnvoyGateway]),
            ("--pull-secret", self.pull_secret.is_some(), &[Istio, EnvoyGateway]),
            ("--name", self.name.is_some(), &[Istio, EnvoyFilter, EnvoyGateway]),
            ("--gateway", !self.gateway.is_empty(), &[Istio, EnvoyGateway]),
            (
                "--namespace",
                self.namespace.is_some(),
                &[Istio, EnvoyFilter, EnvoyGateway],
            ),
            ("--selector", !self.selector.is_empty(), &[Istio, EnvoyFilter]),
            ("--kind", self.kind.is_some(), &[Istio]),
            ("--fail-strategy", self.fail_strategy.is_some(), &[Istio]),
            ("--trusted-hops", self.trusted_hops.is_some(), &[EnvoyGateway]),
            ("--listen", self.listen.is_some(), &[Envoy]),
            ("--upstream", self.upstream.is_some(), &[Envoy]),
            (
                "--feed-ca",
                self.feed_ca.is_some(),
                &[Envoy, Istio, EnvoyFilter, EnvoyGateway],
            ),
            (
                "--feed-address",
                self.feed_address.is_some(),
                &[Envoy, Istio, EnvoyFilter, EnvoyGateway],
            ),
        ];
        for (option, is_given, targets) in options {
            if is_given && !targets.contains(&self.target) {
                let others: Vec<String> = targets.iter().map(|target| target.name()).collect();
                let (target, others) = (self.target.name(), others.join(", "));
                return Err(Failure(format!("{target} does not use {option}; it is for {others}")));
            }
        }
        if self.target == Istio && !self.gateway.is_empty() && self.namespace.is_none() {
            let reason = "a plugin applies to a Gateway of its own namespace";
            return Err(Failure(format!("--gateway takes --namespace for istio: {reason}")));
        }
        let mut names: Vec<&str> = self.selector.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let twice = names.array_windows().find(|[name, next]| name == next);
        twice.map_or(Ok(()), |[name, _]| Err(Failure(format!("--selector has {name} twice"))))
    }
}

impl Target {
    /// The name in the arguments.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
