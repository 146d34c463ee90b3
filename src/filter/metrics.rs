//! The metrics of the filter.
//!
//! No metric's name contains a key id, an origin or a header, because Envoy never removes a metric. Gauges carry the plugin's name, because
//! two policies in one Envoy would otherwise overwrite each other's gauges.
//!
//! proxy-wasm has no labels, so they are a part of the name, in the notation that Istio's bootstrap reads (`extraStatTags`), before the
//! metric's own name: `decision=.=deny;.;code=.=missing_api_key;.;keyfence_requests_total`. Other hosts have `stats_tags` for it.

use keyfence_core::config::key::Enforcement;
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::{Decision, Outcome};
use keyfence_core::policy::Summary;
use keyfence_core::policy::expiry::UpcomingExpiries;

use crate::host::{Host, MetricId, MetricType, Result};

/// Counters for preflights, or for all other requests.
struct Counters {
    allow: MetricId,
    /// Preflights whose policy only reports; `None` for other requests.
    report: Option<MetricId>,
    /// In the order of [`Reason::ALL`]; `None` for a reason that such a request cannot have.
    deny_by_reason: Vec<Option<MetricId>>,
    /// As `deny_by_reason`.
    report_by_reason: Vec<Option<MetricId>>,
}

/// The counters of requests, shared by all policies of a VM.
pub struct Metrics {
    requests: Counters,
    preflights: Counters,
    /// Requests, except preflights, with an entry of a key that is not its first.
    old_entries: MetricId,
}

fn counter(host: &impl Host, name: &str) -> Result<MetricId> {
    host.define_metric(MetricType::Counter, name)
}

/// A label in front of a metric's name.
fn label(label: &str, value: &str) -> String {
    // The value would end at the separator.
    let value = value.replace(";.;", "_");
    format!("{label}=.={value};.;")
}

impl Counters {
    fn define(host: &impl Host, name: &str, reasons: &[Reason]) -> Result<Counters> {
        let by_reason = |decision: &str| -> Result<Vec<Option<MetricId>>> {
            let all = Reason::ALL.iter();
            all.map(|reason| {
                let is_counted = reasons.contains(reason);
                let name = label("decision", decision) + &label("code", reason.code()) + name;
                is_counted.then(|| counter(host, &name)).transpose()
            })
            .collect()
        };
        Ok(Counters {
            allow: counter(host, &(label("decision", "allow") + name))?,
            report: None,
            deny_by_reason: by_reason("deny")?,
            report_by_reason: by_reason("report")?,
        })
    }

    fn of(&self, decision: &Decision<'_, '_>) -> Option<MetricId> {
        let by_reason = |metrics: &[Option<MetricId>], reason: Reason| *metrics.get(reason as usize)?;
        match (decision.outcome, decision.enforcement) {
            (Outcome::Deny(reason), Enforcement::Enforce) => by_reason(&self.deny_by_reason, reason),
            (Outcome::Deny(reason), Enforcement::Report) => by_reason(&self.report_by_reason, reason),
            (Outcome::Preflight, Enforcement::Report) => self.report,
            (Outcome::Preflight, Enforcement::Enforce) | (Outcome::Allow, _) => Some(self.allow),
        }
    }
}

impl Metrics {
    /// Defines all counters in the host.
    pub fn define(host: &impl Host) -> Result<Metrics> {
        let reasons = [Reason::PolicyUnavailable, Reason::OriginNotAllowed];
        let name = "keyfence_preflights_total";
        let mut preflights = Counters::define(host, name, &reasons)?;
        preflights.report = Some(counter(host, &(label("decision", "report") + name))?);
        Ok(Metrics {
            requests: Counters::define(host, "keyfence_requests_total", &Reason::ALL)?,
            preflights,
            old_entries: counter(host, "keyfence_old_entry_requests_total")?,
        })
    }

    /// Counts a request by its decision, and one that uses an old entry of a key.
    pub fn count(&self, host: &impl Host, decision: &Decision<'_, '_>) -> Result<()> {
        let is_old = decision.key.is_some_and(|found| found.entry_index() > 0);
        if is_old && !decision.is_preflight {
            host.increment_metric(self.old_entries)?;
        }
        let counters = if decision.is_preflight {
            &self.preflights
        } else {
            &self.requests
        };
        match counters.of(decision) {
            Some(metric) => host.increment_metric(metric),
            None => Ok(()),
        }
    }

    /// Counts a request that was denied because no policy could be applied.
    pub fn count_unavailable(&self, host: &impl Host) -> Result<()> {
        match self.requests.deny_by_reason.get(Reason::PolicyUnavailable as usize) {
            Some(Some(metric)) => host.increment_metric(*metric),
            _ => Ok(()),
        }
    }
}

/// Why a poll of a feed has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollFailure {
    /// Nothing answered, or a proxy said so.
    Unreachable,
    /// The answer has another status than 200.
    Status,
    /// It is not an answer of the protocol.
    Malformed,
    /// It is larger than a page may be.
    TooLarge,
    /// It is older than what is known.
    Outdated,
    /// The VM has too little memory for it.
    Memory,
}

impl PollFailure {
    const ALL: [(PollFailure, &'static str); 6] = [
        (PollFailure::Unreachable, "unreachable"),
        (PollFailure::Status, "status"),
        (PollFailure::Malformed, "malformed"),
        (PollFailure::TooLarge, "too_large"),
        (PollFailure::Outdated, "outdated"),
        (PollFailure::Memory, "memory"),
    ];
}

/// Metrics about a feed, labelled with the plugin's name. All VMs write the same gauges, so the last one counts.
pub struct FeedMetrics {
    keys: MetricId,
    refused: MetricId,
    revision: MetricId,
    last_answer: MetricId,
    /// In the order of [`PollFailure::ALL`].
    failures: Vec<MetricId>,
}

impl FeedMetrics {
    /// Defines them for the plugin with this name, so that they show 0 before the first answer.
    pub fn define(host: &impl Host, plugin: &str) -> Result<FeedMetrics> {
        let metrics = PolicyMetrics::of(host, plugin);
        let failures = PollFailure::ALL.iter().map(|(_, code)| {
            let name = format!("{}keyfence_feed_failures_total", label("code", code));
            counter(host, &(metrics.label.clone() + &name))
        });
        Ok(FeedMetrics {
            keys: metrics.gauge("keyfence_feed_keys")?,
            refused: metrics.gauge("keyfence_feed_refused_keys")?,
            revision: metrics.gauge("keyfence_feed_revision")?,
            last_answer: metrics.gauge("keyfence_feed_last_answer_timestamp_seconds")?,
            failures: failures.collect::<Result<_>>()?,
        })
    }

    /// Records what is in force after an answer.
    pub fn record(
        &self,
        host: &impl Host,
        keys: usize,
        refused: usize,
        revision: u64,
        unix_seconds: u64,
    ) -> Result<()> {
        host.record_metric(self.keys, keys as u64)?;
        host.record_metric(self.refused, refused as u64)?;
        host.record_metric(self.revision, revision)?;
        host.record_metric(self.last_answer, unix_seconds)
    }

    /// Counts a poll that has failed.
    pub fn count_failure(&self, host: &impl Host, failure: PollFailure) -> Result<()> {
        match self.failures.get(failure as usize) {
            Some(metric) => host.increment_metric(*metric),
            None => Ok(()),
        }
    }
}

/// Metrics about the policies that a plugin loaded, labelled with the plugin's name.
pub struct PolicyMetrics<'h, H> {
    host: &'h H,
    /// In front of each metric's name; empty if the plugin has no name.
    label: String,
}

impl<'h, H: Host> PolicyMetrics<'h, H> {
    /// The metrics of the plugin with this name; empty if it has none.
    pub fn of(host: &'h H, plugin: &str) -> Self {
        let label = match plugin {
            "" => String::new(),
            name => label("plugin", name),
        };
        PolicyMetrics { host, label }
    }

    fn gauge(&self, name: &str) -> Result<MetricId> {
        let name = format!("{}{name}", self.label);
        self.host.define_metric(MetricType::Gauge, &name)
    }

    fn record(&self, name: &str, value: u64) -> Result<()> {
        self.host.record_metric(self.gauge(name)?, value)
    }

    /// Records that the plugin accepted a policy at this time. Without an expiry to come, the time of the next is 0.
    pub fn record_loaded(&self, summary: Summary, expiries: UpcomingExpiries, unix_seconds: u64) -> Result<()> {
        let next = expiries.next.and_then(|next| u64::try_from(next.0).ok());
        self.record("keyfence_keys", summary.keys as u64)?;
        self.record("keyfence_policy_has_feed", u64::from(summary.has_feed))?;
        self.record("keyfence_policy_expiries_within_week", expiries.within_week as u64)?;
        self.record("keyfence_policy_next_expiry_timestamp_seconds", next.unwrap_or(0))?;
        self.record("keyfence_policy_hash", summary.hash)?;
        self.record("keyfence_policy_loaded_timestamp_seconds", unix_seconds)
    }

    /// Records the hash of a policy that this worker could not load, although others may use it.
    ///
    /// If the worker could not even read the configuration (`None`), it records the hash that was accepted last: Envoy's main thread loads
    /// each configuration before the workers do.
    pub fn record_missing(&self, hash: Option<u64>) -> Result<()> {
        let hash = match hash {
            Some(hash) => hash,
            None => self.host.metric(self.gauge("keyfence_policy_hash")?)?,
        };
        self.record("keyfence_policy_missing_hash", hash)
    }

    /// Counts a policy that was refused or could not be loaded.
    pub fn count_load_failure(&self) -> Result<()> {
        self.host.increment_metric(self.load_failures()?)
    }

    /// Defines the counter of load failures, so that it shows 0 before the first one.
    pub fn load_failures(&self) -> Result<MetricId> {
        counter(self.host, &format!("{}keyfence_policy_load_failures_total", self.label))
    }
}
