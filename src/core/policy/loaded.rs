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
    /// The number of keys.
    pub keys: usize,
    /// See [`Loaded::hash`].
    pub hash: u64,
}

impl Loaded {
    /// The summary of this policy.
    pub fn summary(&self) -> Summary {
        Summary {
            keys: self.policy.keys().len(),
            hash: self.hash,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.keys == 1 { "key" } else { "keys" };
        write!(f, "policy accepted: {} {noun}, hash {}", self.keys, self.hash)
    }
}
