//! The plugin as a whole: one policy for each configuration of it, in each worker.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use crate::config::{Findings, Severity};
use crate::policy::Policy;

use super::host::now;
use super::in_force::InForce;
use super::metrics::Metrics;
use super::once::say_once;
use super::plugin_configuration::to_json;
use super::stream::Stream;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::default()));
}}

#[derive(Default)]
struct Plugin {
    in_force: Option<Rc<InForce>>,
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _size: usize) -> bool {
        let metrics = Metrics::define();
        let text = self.get_plugin_configuration().unwrap_or_default();
        let policy = match Policy::load(&to_json(&text), now()) {
            Ok(loaded) => {
                warn_once(&loaded.findings);
                metrics.record_keys(loaded.policy.keys().len());
                Some(loaded.policy)
            }
            Err(findings) => {
                log_findings(&findings);
                metrics.count_load_failure();
                None
            }
        };
        let is_loaded = policy.is_some();
        self.in_force = Some(Rc::new(InForce { policy, metrics }));
        is_loaded
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(self.in_force.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn log_findings(findings: &Findings) {
    for (severity, line) in findings.lines() {
        match severity {
            Severity::Error => log::error!("configuration refused: {line}"),
            Severity::Warning => log::warn!("{line}"),
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
