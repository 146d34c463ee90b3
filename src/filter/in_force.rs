//! What every request under one configuration shares.

use crate::policy::Policy;

use super::metrics::Metrics;

/// The policy and its counters.
pub struct InForce {
    /// `None` where the configuration was refused: then everything is.
    pub policy: Option<Policy>,
    /// Counters.
    pub metrics: Metrics,
}
