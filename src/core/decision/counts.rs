//! Counts of admitted requests by their age, which the windows of keys and of clients are made of.

use std::num::NonZeroU32;

use super::rate_status::RateStatus;

/// How many requests were admitted in each of the newest `N` intervals of time, the current one first. All have the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts<const N: usize>(pub [u32; N]);

/// What happens to counts when time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// By how many intervals they age.
    pub intervals: usize,
    /// Whether the clock was set back.
    pub is_set_back: bool,
}

impl<const N: usize> Counts<N> {
    /// No requests.
    pub const NONE: Counts<N> = Counts([0; N]);

    /// So many requests in the current interval.
    pub fn current(requests: u32) -> Counts<N> {
        let mut counts = Counts::NONE;
        if let Some(current) = counts.0.first_mut() {
            *current = requests;
        }
        counts
    }

    /// Counts one request more, if that is within the limit. Returns whether it is.
    pub fn take(&mut self, limit: NonZeroU32) -> bool {
        let is_within = self.used() < u64::from(limit.get());
        if is_within && let Some(current) = self.0.first_mut() {
            *current += 1;
        }
        is_within
    }

    /// All requests.
    pub fn used(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Whether there are no requests.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Makes all requests older by this number of intervals. The oldest expire.
    pub fn age(&mut self, intervals: usize) {
        let shift = intervals.min(N);
        self.0.copy_within(..N - shift, shift);
        if let Some(passed) = self.0.get_mut(..shift) {
            passed.fill(0);
        }
    }

    /// The state of the limit at `now`. `newest` is the number of the current interval, and `seconds` the length of each.
    pub fn status(&self, limit: NonZeroU32, newest: u64, seconds: u64, now: u64) -> RateStatus {
        let remaining = u64::from(limit.get()).saturating_sub(self.used());
        let reset = self.next_growth(limit).map_or(now, |intervals| {
            newest.saturating_add(intervals as u64).saturating_mul(seconds)
        });
        RateStatus {
            limit,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset,
            retry_after: reset.saturating_sub(now).max(1),
        }
    }

    /// The number of intervals after which enough requests have expired to admit one more than now. `None` if there are none. If the limit
    /// was lowered below what is used, the oldest count alone may not be enough.
    fn next_growth(&self, limit: NonZeroU32) -> Option<usize> {
        let mut left = self.used();
        let enough = left.min(u64::from(limit.get()));
        for (age, count) in self.0.iter().enumerate().rev() {
            left -= u64::from(*count);
            if left < enough {
                return Some(N - age);
            }
        }
        None
    }
}

/// Moves `newest`, the number of the current interval, to `now`. `kept` is the number of intervals that have a count.
///
/// A `now` less than `kept` intervals before the newest counts as the newest: another worker may have read the clock later and stored
/// first. If `now` is earlier still, the clock was set back. Then the counts keep their ages and count from `now`, so that none expires
/// early and no client waits until the clock has caught up.
pub fn advance(newest: &mut u64, now: u64, kept: usize) -> Passed {
    let is_set_back = newest.saturating_sub(now) >= kept as u64;
    let intervals = now.saturating_sub(*newest);
    if is_set_back || intervals > 0 {
        *newest = now;
    }
    Passed {
        intervals: usize::try_from(intervals).unwrap_or(kept),
        is_set_back,
    }
}
