//! The plugin in one VM, over a [`Host`]: its configurations, and the streams under each.

use std::sync::{Arc, Weak};

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{Diagnostics, Measure, Severity, long_text, memory_limit};
use keyfence_core::policy::footprint::Footprint;
use keyfence_core::policy::response_headers::ResponsePolicy;
use keyfence_core::policy::{Loaded, Policy};

use crate::host::{self, Action, Host, LogLevel};
use crate::metrics::{Metrics, PolicyMetrics};
use crate::once::log_once;
use crate::plugin_configuration::Configuration;
use crate::policy_cache::{PluginId, PolicyCache};
use crate::stream::Stream;

/// Everything that the VM keeps.
pub struct Plugin<H> {
    host: H,
    roots: Vec<Root>,
    policies: PolicyCache,
    /// Of the streams that are open and of the roots: a new policy that says the same of responses shares what is here.
    responses: Vec<Weak<ResponsePolicy>>,
    metrics: Option<Metrics>,
}

/// A root context. An update brings a new one; the old one stays until its last stream has ended.
struct Root {
    context: u32,
    /// For responses to requests that the filter never saw; `None` where the configuration has no policy.
    response: Option<Arc<ResponsePolicy>>,
}

/// What policies leave to the streams: some 100,000 open ones.
const RESERVE: usize = 16 << 20;

/// Why a configuration has no policy.
enum LoadError {
    /// It is wrong, wherever it is loaded. The canary on Envoy's main thread is the first to say so, and no worker gets it.
    Refused(Diagnostics),
    /// It cannot be loaded here. Envoy serves unfiltered where a worker's configuration call fails, so the call succeeds, and what comes
    /// is answered with 503.
    Unavailable {
        why: String,
        /// Where it is known.
        hash: Option<u64>,
    },
}

impl From<host::HostError> for LoadError {
    fn from(error: host::HostError) -> LoadError {
        LoadError::Unavailable {
            why: error.to_string(),
            hash: None,
        }
    }
}

impl<H: Host> Plugin<H> {
    /// Without a configuration yet.
    pub fn new(host: H) -> Plugin<H> {
        Plugin {
            host,
            roots: Vec::new(),
            policies: PolicyCache::default(),
            responses: Vec::new(),
            metrics: None,
        }
    }

    /// Loads the configuration that the host has, of `size` bytes. `false`: it is wrong. What cannot be loaded for another reason is
    /// accepted without a policy.
    pub fn configure(&mut self, context: u32, size: usize) -> bool {
        let plugin = self.plugin_id();
        let name = plugin.name.clone();
        self.policies.begin(context, plugin);
        self.roots.retain(|root| root.context != context);
        let loaded = self.load(size);
        let metrics = PolicyMetrics::of(&self.host, &name);
        let (response, is_accepted) = match loaded {
            Ok((loaded, bytes)) => {
                let summary = loaded.summary();
                let Loaded {
                    policy, diagnostics, ..
                } = loaded;
                warn_once(&self.host, &diagnostics);
                let now = host::unix_seconds(&self.host).unwrap_or_default();
                let recorded = metrics.load_failures().and(metrics.record_loaded(summary, now));
                if let Err(error) = recorded {
                    self.host.log(LogLevel::Error, &error.to_string());
                }
                let line = summary.to_string();
                if log_once(
                    &self.host,
                    format!("keyfence/accepted/{name}").as_bytes(),
                    line.as_bytes(),
                ) {
                    self.host.log(LogLevel::Info, &line);
                }
                let response = policy.response().clone();
                self.policies.insert(context, policy, bytes);
                (Some(response), true)
            }
            Err(error) => {
                let mut recorded = metrics.count_load_failure();
                let is_accepted = match error {
                    LoadError::Refused(diagnostics) => {
                        log_findings(&self.host, &diagnostics);
                        self.policies.remove(context);
                        false
                    }
                    LoadError::Unavailable { why, hash } => {
                        let line = format!("policy not loaded, requests get 503 policy_unavailable: {why}");
                        self.host.log(LogLevel::Error, &line);
                        recorded = recorded.and(metrics.record_missing(hash));
                        true
                    }
                };
                if let Err(error) = recorded {
                    self.host.log(LogLevel::Error, &error.to_string());
                }
                (None, is_accepted)
            }
        };
        self.roots.push(Root { context, response });
        is_accepted
    }

    /// Where the host has no name, none tells plugins apart.
    fn plugin_id(&self) -> PluginId {
        let text = |path: &[u8]| {
            let value = self.host.property(path).ok().flatten();
            value.map_or_else(String::new, |value| String::from_utf8_lossy(&value).into_owned())
        };
        PluginId {
            name: text(b"plugin_name"),
            root_id: text(b"plugin_root_id"),
        }
    }

    /// The policy, and the bytes that it takes.
    fn load(&mut self, size: usize) -> Result<(Loaded, usize), LoadError> {
        let begin = self.host.nanoseconds()?;
        if self.metrics.is_none() {
            self.metrics = Some(Metrics::define(&self.host)?);
        }
        memory_limit::check(size).map_err(LoadError::Refused)?;
        self.make_space(size, &[size], None)?;
        let configuration = Configuration::of(self.host.plugin_configuration()?);
        let further = configuration.further_bytes();
        self.make_space(further, &[further], None)?;
        let text = configuration.into_json();
        long_text::check(&text).map_err(LoadError::Refused)?;
        let measure = Measure::of(&text);
        let Footprint { compiled, peak, large } = Footprint::of(&measure);
        memory_limit::check(text.len().saturating_add(peak)).map_err(LoadError::Refused)?;
        self.policies.trim(compiled);
        self.make_space(peak, &large, Some(measure.hash))?;
        let now = Timestamp(i64::try_from(host::unix_seconds(&self.host)?).unwrap_or(i64::MAX));
        let mut loaded = Policy::compile(&text, &measure, now).map_err(LoadError::Refused)?;
        self.share_response(&mut loaded.policy);
        let milliseconds = self.host.nanoseconds()?.saturating_sub(begin) / 1_000_000;
        let keys = loaded.policy.keys().len();
        let memory = self.host.memory() / 1024;
        let line = format!("{keys} keys loaded in {milliseconds} ms; the VM has {memory} kB of memory");
        self.host.log(LogLevel::Debug, &line);
        Ok((loaded, compiled))
    }

    /// Makes sure that there are so many bytes of memory, `large` ones among them in one piece each, at the expense of superseded policies.
    fn make_space(&mut self, bytes: usize, large: &[usize], hash: Option<u64>) -> Result<(), LoadError> {
        while !self.host.has_memory(bytes.saturating_add(RESERVE), large) {
            if !self.policies.evict() {
                let why = format!(
                    "it takes {} kB more of memory than the VM has left",
                    bytes.div_ceil(1024)
                );
                return Err(LoadError::Unavailable { why, hash });
            }
        }
        Ok(())
    }

    /// Streams that stay open over many updates hold one response policy for as long as updates change none.
    fn share_response(&mut self, policy: &mut Policy) {
        self.responses.retain(|known| known.strong_count() > 0);
        let mut known = self.responses.iter().filter_map(Weak::upgrade);
        if !known.any(|known| policy.share_response(&known)) {
            self.responses.push(Arc::downgrade(policy.response()));
        }
    }

    /// Decides on the request whose headers the host has.
    pub fn on_request_headers(&mut self, stream: &mut Stream) -> Action {
        let policy = self.policies.get(stream.root);
        stream.on_request_headers(&self.host, policy, self.metrics.as_ref())
    }

    /// Removes from the trailers that the host has what the upstream must not get.
    pub fn on_request_trailers(&self, stream: &mut Stream) -> Action {
        let response = response_of(&self.roots, stream.root);
        stream.on_request_trailers(&self.host, response, self.metrics.as_ref())
    }

    /// Sets the headers of the response that the host has.
    pub fn on_response_headers(&self, stream: &mut Stream) -> Action {
        let response = response_of(&self.roots, stream.root);
        stream.on_response_headers(&self.host, response, self.metrics.as_ref())
    }

    /// A configuration is gone.
    pub fn end(&mut self, context: u32) {
        self.policies.remove(context);
        self.roots.retain(|root| root.context != context);
    }
}

fn response_of(roots: &[Root], context: u32) -> Option<&ResponsePolicy> {
    let root = roots.iter().rev().find(|root| root.context == context)?;
    root.response.as_deref()
}

fn log_findings(host: &impl Host, diagnostics: &Diagnostics) {
    for (severity, line) in diagnostics.lines() {
        match severity {
            Severity::Error => host.log(LogLevel::Error, &format!("configuration refused: {line}")),
            Severity::Warning => host.log(LogLevel::Warn, &line),
        }
    }
}

/// Every worker loads the same configuration; the first to do so speaks for all.
fn warn_once(host: &impl Host, diagnostics: &Diagnostics) {
    let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
    if log_once(host, b"keyfence/warned", lines.join("\n").as_bytes()) {
        log_findings(host, diagnostics);
    }
}
