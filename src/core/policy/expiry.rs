//! When keys and their entries stop being valid, for the metrics.

use super::{Key, Policy};
use crate::config::timestamp::Timestamp;

/// The dates to come of all enabled keys and of their entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpcomingExpiries {
    /// How many of the dates are within the next seven days.
    pub within_week: usize,
    /// The first of the dates.
    pub next: Option<Timestamp>,
}

impl Policy {
    /// The expiries that are to come at `now`. Those of a key that is disabled or has expired already are not among them.
    pub fn upcoming_expiries(&self, now: Timestamp) -> UpcomingExpiries {
        const WEEK_SECONDS: i64 = 7 * 86_400;
        let is_in_use = |key: &Key| key.enabled && key.expires_at.is_none_or(|end| now < end);
        let keys = self.keys.iter().filter(|key| is_in_use(key));
        let entries = self
            .entries
            .iter()
            .filter(|entry| self.key(entry.key).is_some_and(is_in_use));
        let dates = keys
            .filter_map(|key| key.expires_at)
            .chain(entries.filter_map(|entry| entry.expires_at));
        let none = UpcomingExpiries {
            within_week: 0,
            next: None,
        };
        dates
            .filter(|end| *end > now)
            .fold(none, |found, end| UpcomingExpiries {
                within_week: found.within_week + usize::from(end.0.saturating_sub(now.0) <= WEEK_SECONDS),
                next: Some(found.next.map_or(end, |next| next.min(end))),
            })
    }
}
