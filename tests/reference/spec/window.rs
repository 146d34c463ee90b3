//! The rate limit (spec, section 8): every admission remembered, counted again each time.

use std::collections::HashMap;

/// Admissions by key id, in milliseconds.
#[derive(Default, Clone, Debug)]
pub struct Ledger(HashMap<String, Vec<u64>>);

/// What the spec leaves open between 60 and 61 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Admitted in the last 60 seconds: at the limit no more may be.
    pub in_60: u64,
    /// Admitted in the last 61 seconds: below the limit none may be refused.
    pub in_61: u64,
    /// Admitted in the last 70 seconds: below the limit of a client none may be refused. (No client shares a window here: there are fewer
    /// than a bucket has.)
    pub in_70: u64,
}

impl Ledger {
    pub fn room(&self, key: &str, now: u64) -> Room {
        let within = |span: u64| match self.0.get(key) {
            Some(times) => times.iter().filter(|time| now.abs_diff(**time) < span).count() as u64,
            None => 0,
        };
        Room {
            in_60: within(60_000),
            in_61: within(61_000),
            in_70: within(70_000),
        }
    }

    pub fn admit(&mut self, key: &str, now: u64) {
        self.0.entry(key.to_owned()).or_default().push(now);
    }
}
