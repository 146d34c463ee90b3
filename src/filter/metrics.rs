//! What is counted. The names are fixed: none comes from a key, an origin or a header, for Envoy never forgets one.

use crate::config::key::Enforcement;
use crate::decision::reason::Reason;
use crate::decision::{Ruling, Verdict};

use super::host::{Metric, MetricKind};

/// Counters of one kind of request.
struct Counters {
    allow: Option<Metric>,
    report: Option<Metric>,
    /// In the order of [`Reason::ALL`].
    deny_by_reason: Vec<Option<Metric>>,
    report_by_reason: Vec<Option<Metric>>,
}

/// All metrics of the filter.
pub struct Metrics {
    requests: Counters,
    preflights: Counters,
    keys: Option<Metric>,
    load_failures: Option<Metric>,
}

fn counter(name: &str) -> Option<Metric> {
    Metric::define(MetricKind::Counter, name)
}

impl Counters {
    fn define(name: &str, reasons: &[Reason]) -> Counters {
        let by_reason = |decision: &str| {
            let all = Reason::ALL.iter();
            all.map(|reason| {
                let code = reason.code();
                let is_counted = reasons.contains(reason);
                is_counted.then(|| counter(&format!("{name}.decision.{decision}.code.{code}")))?
            })
            .collect()
        };
        Counters {
            allow: counter(&format!("{name}.decision.allow")),
            report: None,
            deny_by_reason: by_reason("deny"),
            report_by_reason: by_reason("report"),
        }
    }

    fn of(&self, verdict: &Verdict<'_, '_>) -> Option<Metric> {
        let by_reason = |metrics: &[Option<Metric>], reason: Reason| {
            let index = Reason::ALL.iter().position(|known| *known == reason)?;
            *metrics.get(index)?
        };
        match (verdict.ruling, verdict.enforcement) {
            (Ruling::Deny(reason), Enforcement::Enforce) => by_reason(&self.deny_by_reason, reason),
            (Ruling::Deny(reason), Enforcement::Report) => by_reason(&self.report_by_reason, reason),
            (Ruling::Preflight, Enforcement::Report) => self.report,
            (Ruling::Preflight, Enforcement::Enforce) | (Ruling::Allow, _) => self.allow,
        }
    }
}

impl Metrics {
    /// Defines every metric.
    pub fn define() -> Metrics {
        let mut preflights = Counters::define("keyfence_preflights_total", &[Reason::OriginNotAllowed]);
        preflights.report = counter("keyfence_preflights_total.decision.report");
        Metrics {
            requests: Counters::define("keyfence_requests_total", &Reason::ALL),
            preflights,
            keys: Metric::define(MetricKind::Gauge, "keyfence_keys"),
            load_failures: counter("keyfence_policy_load_failures_total"),
        }
    }

    /// Counts a request.
    pub fn count(&self, verdict: &Verdict<'_, '_>) {
        let counters = if verdict.is_preflight {
            &self.preflights
        } else {
            &self.requests
        };
        if let Some(metric) = counters.of(verdict) {
            metric.increment();
        }
    }

    /// Counts a request that came while no policy was in force.
    pub fn count_unavailable(&self) {
        if let Some(Some(metric)) = self.requests.deny_by_reason.first() {
            metric.increment();
        }
    }

    /// Notes how many keys the policy in force has.
    pub fn record_keys(&self, count: usize) {
        if let Some(metric) = self.keys {
            metric.record(count as u64);
        }
    }

    /// Counts a policy that was refused.
    pub fn count_load_failure(&self) {
        if let Some(metric) = self.load_failures {
            metric.increment();
        }
    }
}
