//! What reading a key depends on besides the key itself.

use super::key_source::KeySource;
use super::timestamp::Timestamp;

/// What the diagnostics of a key depend on, besides the key.
#[derive(Debug, Clone, Copy)]
pub struct KeyContext<'c> {
    /// The current time, for the warnings that a key has expired or will expire soon.
    pub now: Timestamp,
    /// Where requests carry their key.
    pub sources: &'c [KeySource],
    /// Whether the upstream is told the id of the key.
    pub has_identity_header: bool,
}
