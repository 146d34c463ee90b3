//! The metrics, in Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a poll was answered.
#[derive(Debug, Clone, Copy)]
pub enum Answered {
    /// A page of a complete answer.
    Complete,
    /// A page of changes.
    Changes,
    /// Nothing was newer.
    Unchanged,
    /// The gateway has a later revision.
    Ahead,
    /// The cursor was not known.
    UnknownCursor,
    /// The request was malformed.
    Malformed,
    /// The token was missing or wrong.
    Unauthenticated,
}

impl Answered {
    const ALL: [(Answered, &'static str); 7] = [
        (Answered::Complete, "complete"),
        (Answered::Changes, "changes"),
        (Answered::Unchanged, "unchanged"),
        (Answered::Ahead, "ahead"),
        (Answered::UnknownCursor, "unknown_cursor"),
        (Answered::Malformed, "malformed"),
        (Answered::Unauthenticated, "unauthenticated"),
    ];
}

/// Counts of the feed.
#[derive(Debug, Default)]
pub struct Metrics {
    answered: [AtomicU64; Answered::ALL.len()],
    waiting: AtomicU64,
}

/// A poll that has no answer yet.
pub struct Waiting<'m>(&'m Metrics);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a poll as waiting until the result is dropped.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Counts an answer.
    pub fn count(&self, answered: Answered) {
        if let Some(count) = self.answered.get(answered as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All metrics, with these gauges.
    pub fn to_text(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let waiting = (
            "keyfence_control_polls_waiting",
            "Polls without an answer yet.",
            waiting,
        );
        for (name, help, value) in gauges.iter().chain([&waiting]) {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        }
        let name = "keyfence_control_polls_total";
        let _ = write!(
            text,
            "# HELP {name} Polls, by how they were answered.\n# TYPE {name} counter\n"
        );
        for ((_, label), count) in Answered::ALL.iter().zip(&self.answered) {
            let _ = writeln!(text, "{name}{{answer=\"{label}\"}} {}", count.load(Ordering::Relaxed));
        }
        text
    }
}
