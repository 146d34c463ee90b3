//! The plugin in one VM: it loads configurations, and gives each stream the policy of its configuration.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use keyfence_core::config::config_path::ConfigPath;
use keyfence_core::config::keys_from::KeysFrom;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{Diagnostics, Measure, Severity, long_text, memory_limit};
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::feed::Forgotten;
use keyfence_core::policy::footprint::Footprint;
use keyfence_core::policy::in_force::InForce;
use keyfence_core::policy::response_headers::ResponsePolicy;
use keyfence_core::policy::{Loaded, Policy, TokenParentRef};

use crate::feed::{self, Poller};
use crate::host::{self, Action, Host, LogLevel};
use crate::metrics::{Metrics, PolicyMetrics};
use crate::once::log_once;
use crate::plugin_configuration::Configuration;
use crate::policy_cache::{OTHER_MEMORY, PluginId, PolicyCache};
use crate::stream::Stream;

/// The state of one VM.
pub struct Plugin<H> {
    host: H,
    roots: Vec<Root>,
    policies: PolicyCache,
    /// What this worker has found of scoped tokens, under the id of the root context.
    tokens: RefCell<TokenCache>,
    /// The response policies of open streams and root contexts. A new policy with an equal one shares it.
    response_policies: Vec<Weak<ResponsePolicy>>,
    feeds: Vec<Poller>,
    metrics: Option<Metrics>,
}

/// A root context. An update of the configuration creates a new one; Envoy keeps the old one until its last stream ends.
struct Root {
    context: u32,
    /// For responses to requests that the filter did not see; `None` if no policy was loaded.
    response_policy: Option<Arc<ResponsePolicy>>,
}

/// Why no policy was loaded.
enum LoadError {
    /// The configuration has errors. Envoy's main thread loads it first and refuses it, so that no worker gets it.
    Invalid(Diagnostics),
    /// This VM cannot load the configuration. Envoy serves requests without the filter on a worker whose configuration call fails. So the
    /// call succeeds, and every request gets a 503.
    Unavailable {
        why: String,
        /// The hash of the configuration, if it is known.
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
    /// A plugin without any configuration.
    pub fn new(host: H) -> Plugin<H> {
        Plugin {
            host,
            roots: Vec::new(),
            policies: PolicyCache::default(),
            tokens: RefCell::default(),
            response_policies: Vec::new(),
            feeds: Vec::new(),
            metrics: None,
        }
    }

    /// Loads the host's configuration, of `size` bytes, for the root context `context`. Returns `false` if it has errors. If this VM cannot
    /// load it for another reason, it is accepted without a policy, and requests get a 503.
    pub fn configure(&mut self, context: u32, size: usize) -> bool {
        let plugin = self.plugin_id();
        let name = plugin.name.clone();
        self.policies.begin(context, plugin.clone());
        self.tokens.get_mut().forget(PolicyId(context));
        self.roots.retain(|root| root.context != context);
        let loaded = self.load(size, &plugin);
        let metrics = PolicyMetrics::of(&self.host, &name);
        let (response_policy, is_accepted) = match loaded {
            Ok(LoadedPolicy { loaded, bytes, poller }) => {
                let summary = loaded.summary();
                let Loaded {
                    policy, diagnostics, ..
                } = loaded;
                warn_once(&self.host, &name, &diagnostics);
                let now = host::unix_seconds(&self.host).unwrap_or_default();
                let expiries = policy.upcoming_expiries(timestamp(now));
                let recorded = metrics
                    .load_failures()
                    .and(metrics.record_loaded(summary, expiries, now));
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
                let response_policy = policy.response().clone();
                if let Some((index, token)) = poller {
                    self.follow(index, context, &policy, token);
                }
                self.policies.insert(context, policy, bytes);
                (Some(response_policy), true)
            }
            Err(error) => {
                let mut recorded = metrics.count_load_failure();
                let is_accepted = match error {
                    LoadError::Invalid(diagnostics) => {
                        log_diagnostics(&self.host, &diagnostics);
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
        self.roots.push(Root {
            context,
            response_policy,
        });
        is_accepted
    }

    /// The names of the plugin that is being configured; empty if the host has none. Plugins without names count as one.
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

    /// Loads the policy from the host's configuration, of `size` bytes.
    fn load(&mut self, size: usize, plugin: &PluginId) -> Result<LoadedPolicy, LoadError> {
        let begin = self.host.nanoseconds()?;
        if self.metrics.is_none() {
            self.metrics = Some(Metrics::define(&self.host)?);
        }
        memory_limit::check(size).map_err(LoadError::Invalid)?;
        self.make_space(size, &[size], None)?;
        let configuration = Configuration::of(self.host.plugin_configuration()?);
        let conversion_bytes = configuration.conversion_bytes();
        self.make_space(conversion_bytes, &[conversion_bytes], None)?;
        let text = configuration.into_json();
        long_text::check(&text).map_err(LoadError::Invalid)?;
        let measure = Measure::of(&text);
        let Footprint { compiled, peak, large } = Footprint::of(&measure);
        memory_limit::check(text.len().saturating_add(peak)).map_err(LoadError::Invalid)?;
        self.policies.trim(compiled);
        self.make_space(peak, &large, Some(measure.hash))?;
        let now = timestamp(host::unix_seconds(&self.host)?);
        let mut loaded = Policy::compile(&text, &measure, now).map_err(LoadError::Invalid)?;
        let poller = match loaded.policy.feed() {
            Some(feed) => Some(self.poller_of(&feed.settings, plugin)?),
            None => None,
        };
        self.share_response(&mut loaded.policy);
        let milliseconds = self.host.nanoseconds()?.saturating_sub(begin) / 1_000_000;
        let keys = loaded.policy.keys().len();
        let memory = self.host.memory() / 1024;
        let line = format!("{keys} keys loaded in {milliseconds} ms; the VM has {memory} kB of memory");
        self.host.log(LogLevel::Debug, &line);
        Ok(LoadedPolicy {
            loaded,
            bytes: compiled,
            poller,
        })
    }

    /// The index of the poller of a feed, a new one if there is none, and the token of its polls.
    fn poller_of(&mut self, settings: &KeysFrom, plugin: &PluginId) -> Result<(usize, Option<Box<str>>), LoadError> {
        let token = feed::token_of(&self.host, settings)?.map_err(|kind| {
            let mut diagnostics = Diagnostics::default();
            let at = ConfigPath::ROOT.field("keys_from");
            diagnostics.add_bare(&at.field("token_env"), &kind);
            LoadError::Invalid(diagnostics)
        })?;
        let known = self.feeds.iter().position(|poller| poller.is_of(plugin, settings));
        let index = match known {
            Some(index) => index,
            None => {
                self.feeds.push(Poller::new(&self.host, plugin.clone(), settings)?);
                self.feeds.len() - 1
            }
        };
        Ok((index, token))
    }

    /// Lets a poller follow the policy of a root context.
    fn follow(&mut self, index: usize, context: u32, policy: &Policy, token: Option<Box<str>>) {
        if let Some(poller) = self.feeds.get_mut(index) {
            poller.configure(&self.host, context, policy, token);
            forget_tokens(self.tokens.get_mut(), poller);
        }
    }

    /// Handles a tick of a root context: polls feeds.
    pub fn on_tick(&mut self, context: u32) {
        let mut feeds = self.feeds.iter_mut();
        match feeds.find(|poller| poller.owner() == Some(context)) {
            Some(poller) => {
                poller.on_tick(&self.host, context, self.policies.get(context));
                forget_tokens(self.tokens.get_mut(), poller);
            }
            // A newer root context polls in its place.
            None => drop(self.host.set_tick_period(feed::SUPERSEDED_TICK)),
        }
    }

    /// Handles the response to an HTTP call of the filter: an answer of a feed, with a body of `size` bytes.
    pub fn on_http_call_response(&mut self, call: u32, size: usize) {
        let Some(poller) = self.feeds.iter_mut().find(|poller| poller.has_sent(call)) else {
            return;
        };
        let policy = poller.owner().and_then(|context| self.policies.get(context));
        poller.on_answer(&self.host, size, policy);
        forget_tokens(self.tokens.get_mut(), poller);
    }

    /// Makes sure that `bytes` of memory are free, including `large` as in [`Host::has_memory`]. It evicts superseded policies if needed.
    /// `hash` is the configuration's, for the error.
    fn make_space(&mut self, bytes: usize, large: &[usize], hash: Option<u64>) -> Result<(), LoadError> {
        while !self.host.has_memory(bytes.saturating_add(OTHER_MEMORY), large) {
            if !self.policies.evict() {
                let why = format!(
                    "the Wasm VM has too little memory: loading needs {} kB more; make the policy smaller",
                    bytes.div_ceil(1024)
                );
                return Err(LoadError::Unavailable { why, hash });
            }
        }
        Ok(())
    }

    /// Makes equal response policies one, so that streams that stay open over many updates do not each keep a copy.
    fn share_response(&mut self, policy: &mut Policy) {
        self.response_policies.retain(|known| known.strong_count() > 0);
        let mut known = self.response_policies.iter().filter_map(Weak::upgrade);
        if !known.any(|known| policy.share_response(&known)) {
            self.response_policies.push(Arc::downgrade(policy.response()));
        }
    }

    /// Handles the headers of the current request: decides, and forwards the request or sends a local reply.
    pub fn on_request_headers(&mut self, stream: &mut Stream) -> Action {
        self.policies.touch(stream.root);
        let in_force = self
            .policies
            .get(stream.root)
            .map(|policy| self.in_force(stream.root, policy));
        stream.on_request_headers(&self.host, in_force, &self.tokens, self.metrics.as_ref())
    }

    /// The policy of a root context, with the keys of its feed.
    fn in_force<'p>(&'p self, context: u32, policy: &'p Policy) -> InForce<'p> {
        let has_feed = policy.feed().is_some();
        let mut feeds = self.feeds.iter().filter(|_| has_feed);
        let Some(poller) = feeds.find(|poller| poller.serves(context)) else {
            return InForce::new(policy, None);
        };
        let in_force = InForce::new(policy, poller.keys());
        if poller.compiled_for() == context {
            return in_force;
        }
        let in_force = in_force.compiled_with(self.policies.get(poller.compiled_for()));
        if in_force.is_of_other() {
            poller.warn_of_other_policy(&self.host);
        }
        in_force
    }

    /// Handles the trailers of the current request: removes what the upstream must not get.
    pub fn on_request_trailers(&self, stream: &mut Stream) -> Action {
        let policy = response_policy_of(&self.roots, stream.root);
        stream.on_request_trailers(&self.host, policy, self.metrics.as_ref())
    }

    /// Handles the headers of the current response: adds CORS, rate-limit and security headers.
    pub fn on_response_headers(&self, stream: &mut Stream) -> Action {
        let policy = response_policy_of(&self.roots, stream.root);
        stream.on_response_headers(&self.host, policy, self.metrics.as_ref())
    }

    /// Drops the policy of a root context that the host has deleted.
    pub fn end(&mut self, context: u32) {
        self.policies.remove(context);
        self.tokens.get_mut().forget(PolicyId(context));
        self.roots.retain(|root| root.context != context);
        self.feeds.retain_mut(|poller| !poller.end(context));
    }
}

/// A policy that was loaded.
struct LoadedPolicy {
    loaded: Loaded,
    /// Its size when compiled.
    bytes: usize,
    /// The index of the poller of its feed, and the token of the polls.
    poller: Option<(usize, Option<Box<str>>)>,
}

fn forget_tokens(tokens: &mut TokenCache, poller: &mut Poller) {
    match poller.take_forgotten() {
        Forgotten::Keys(keys) if keys.is_empty() => {}
        Forgotten::Keys(keys) => {
            tokens.forget_keys(|key| matches!(key, TokenParentRef::Fed(key) if keys.contains(&key)));
        }
        Forgotten::All => tokens.forget_keys(|key| matches!(key, TokenParentRef::Fed(_))),
    }
}

fn timestamp(unix_seconds: u64) -> Timestamp {
    Timestamp(i64::try_from(unix_seconds).unwrap_or(i64::MAX))
}

fn response_policy_of(roots: &[Root], context: u32) -> Option<&ResponsePolicy> {
    let root = roots.iter().rev().find(|root| root.context == context)?;
    root.response_policy.as_deref()
}

fn log_diagnostics(host: &impl Host, diagnostics: &Diagnostics) {
    for (severity, line) in diagnostics.lines() {
        match severity {
            Severity::Error => host.log(LogLevel::Error, &format!("configuration refused: {line}")),
            Severity::Warning => host.log(LogLevel::Warn, &line),
        }
    }
}

/// Logs warnings, unless another worker that loaded the same configuration has logged them.
fn warn_once(host: &impl Host, plugin: &str, diagnostics: &Diagnostics) {
    let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
    if log_once(
        host,
        format!("keyfence/warned/{plugin}").as_bytes(),
        lines.join("\n").as_bytes(),
    ) {
        log_diagnostics(host, diagnostics);
    }
}
