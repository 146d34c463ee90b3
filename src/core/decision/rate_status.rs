//! The state of a rate limit.

use std::num::NonZeroU32;

/// The state of a limit, as the client learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateStatus {
    /// How many requests are admitted in any 60 seconds.
    pub limit: NonZeroU32,
    /// How many more are admitted now.
    pub remaining: u32,
    /// The Unix time in seconds at which `remaining` grows next. If nothing is used, the current time.
    pub reset: u64,
    /// The seconds from now until `reset`, at least 1.
    pub retry_after: u64,
}
