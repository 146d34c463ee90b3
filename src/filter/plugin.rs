//! The plugin in one VM: its configurations, and the streams under each.

use std::rc::Rc;

use hashbrown::HashTable;

use crate::config::{Findings, Severity};
use crate::policy::Policy;

use super::host::{self, Action, Level, now};
use super::in_force::InForce;
use super::metrics::Metrics;
use super::once::say_once;
use super::plugin_configuration::to_json;
use super::stream::Stream;

/// Everything that the VM keeps.
#[derive(Default)]
pub struct Plugin {
    /// By the number of their context. An update brings a new one; the old one stays until its last stream has ended.
    configurations: Vec<(u32, Rc<InForce>)>,
    streams: HashTable<(u32, Stream)>,
}

/// The host counts contexts up, so that neighbours go to places far from each other.
fn hash(context: u32) -> u64 {
    u64::from(context).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Plugin {
    /// Reads the configuration at hand; whether it is fit. If it is not, requests under it are refused.
    pub fn configure(&mut self, context: u32) -> bool {
        let metrics = Metrics::define();
        let policy = load(&metrics);
        let is_loaded = policy.is_some();
        self.configurations.retain(|(known, _)| *known != context);
        self.configurations
            .push((context, Rc::new(InForce { policy, metrics })));
        is_loaded
    }

    /// A stream begins.
    pub fn begin_stream(&mut self, context: u32, configuration: u32) {
        let mut configurations = self.configurations.iter();
        let in_force = configurations.find(|(known, _)| *known == configuration);
        let stream = Stream::new(in_force.map(|(_, in_force)| in_force.clone()));
        self.streams
            .insert_unique(hash(context), (context, stream), |(context, _)| hash(*context));
    }

    fn stream(&mut self, context: u32) -> Option<&mut Stream> {
        let entry = self.streams.find_mut(hash(context), |(known, _)| *known == context);
        entry.map(|(_, stream)| stream)
    }

    /// What is to become of the request with the headers at hand.
    pub fn on_request_headers(&mut self, context: u32) -> Action {
        match self.stream(context) {
            Some(stream) => stream.on_request_headers(),
            None => Stream::new(None).on_request_headers(),
        }
    }

    /// Takes out of the trailers at hand what the upstream must not get.
    pub fn on_request_trailers(&mut self, context: u32) {
        if let Some(stream) = self.stream(context) {
            stream.on_request_trailers();
        }
    }

    /// Sets the headers of the response at hand.
    pub fn on_response_headers(&mut self, context: u32) {
        if let Some(stream) = self.stream(context) {
            stream.on_response_headers();
        }
    }

    /// A stream or a configuration is gone.
    pub fn end(&mut self, context: u32) {
        match self.streams.find_entry(hash(context), |(known, _)| *known == context) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => self.configurations.retain(|(known, _)| *known != context),
        }
    }
}

fn load(metrics: &Metrics) -> Option<Policy> {
    let begin = host::nanoseconds();
    let text = host::plugin_configuration();
    match Policy::load(&to_json(text.as_deref().unwrap_or_default()), now()) {
        Ok(loaded) => {
            warn_once(&loaded.findings);
            let keys = loaded.policy.keys().len();
            metrics.record_keys(keys);
            let milliseconds = host::nanoseconds().saturating_sub(begin) / 1_000_000;
            let kilobytes = core::arch::wasm32::memory_size(0) * 64;
            host::log(
                Level::Debug,
                &format!("{keys} keys loaded in {milliseconds} ms; the VM has {kilobytes} kB of memory"),
            );
            Some(loaded.policy)
        }
        Err(findings) => {
            log_findings(&findings);
            metrics.count_load_failure();
            None
        }
    }
}

fn log_findings(findings: &Findings) {
    for (severity, line) in findings.lines() {
        match severity {
            Severity::Error => host::log(Level::Error, &format!("configuration refused: {line}")),
            Severity::Warning => host::log(Level::Warn, &line),
        }
    }
}

/// Every worker loads the same configuration; the first to do so speaks for all.
fn warn_once(findings: &Findings) {
    let lines: Vec<String> = findings.lines().map(|(_, line)| line).collect();
    if say_once(b"keyfence/warned", lines.join("\n").as_bytes()) {
        log_findings(findings);
    }
}
