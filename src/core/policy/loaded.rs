//! A policy that was accepted.

use std::fmt;

use super::Policy;
use crate::config::Diagnostics;

/// A policy, and what is doubtful about it.
#[derive(Debug)]
pub struct Loaded {
    /// Ready for requests.
    pub policy: Policy,
    /// [`Measure::hash`] of its text.
    pub hash: u64,
    /// Warnings only.
    pub diagnostics: Diagnostics,
}

/// Which policy it is, in the words of the filter's log and of the command line, so that one can be compared with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many it has.
    pub keys: usize,
    /// As [`Loaded::hash`].
    pub hash: u64,
}

impl Loaded {
    /// Of this policy.
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
