//! The result of loading a configuration.

use std::fmt;

use super::Policy;
use crate::config::Diagnostics;

/// A policy that was accepted.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled policy.
    pub policy: Policy,
    /// The [`Measure::hash`](crate::config::Measure::hash) of the configuration's text.
    pub hash: u64,
    /// The warnings.
    pub diagnostics: Diagnostics,
}

/// Identifies a policy. The filter's log and the command line print it in the same words, so that an operator can compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The number of keys, without those of the feed.
    pub keys: usize,
    /// Whether more keys come from a feed.
    pub has_feed: bool,
    /// See [`Loaded::hash`].
    pub hash: u64,
}

impl Loaded {
    /// The summary of this policy.
    pub fn summary(&self) -> Summary {
        Summary {
            keys: self.policy.keys().len(),
            has_feed: self.policy.feed().is_some(),
            hash: self.hash,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.keys == 1 { "key" } else { "keys" };
        let feed = if self.has_feed { " and a feed" } else { "" };
        write!(f, "policy accepted: {} {noun}{feed}, hash {}", self.keys, self.hash)
    }
}
