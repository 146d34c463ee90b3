//! The rate limit of a key: a sliding window, kept in one slot of the host's shared data.
//!
//! The slot counts the admitted requests of the current second and of each of the 60 seconds before. These 61 counts cover any 60 seconds
//! up to now. So no more than the limit pass in any 60 seconds, and a request is refused only if an exact log of the last 61 seconds would
//! refuse it.

use std::num::NonZeroU32;

use super::counts::{Counts, advance};

pub use super::rate_status::RateStatus;

/// How many seconds have a count, the current one included.
const SECONDS: usize = 61;

/// The first bytes of a slot. A slot with another layout begins with other bytes.
const LAYOUT: [u8; 4] = *b"kfw1";

/// The length of a slot in bytes: the layout, the newest second, and the counts from the newest back, little-endian.
pub const SLOT_LENGTH: usize = LAYOUT.len() + size_of::<u64>() + SECONDS * size_of::<u32>();

/// The slot of a key in shared data.
pub type Slot = [u8; SLOT_LENGTH];

/// The result of [`admit`], and of [`super::client_table::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission<S> {
    /// Whether the request is within the limit.
    pub admitted: bool,
    /// The state of the limit after the request.
    pub status: RateStatus,
    /// The new content of the slot in shared data. `None` if it does not change.
    pub store: Option<S>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// The newest second.
    newest: u64,
    counts: Counts<SECONDS>,
}

/// Takes one request from the limit at `now`, a Unix time in seconds. `slot` is the content of the slot, `None` if there is none yet.
pub fn admit(slot: Option<&[u8]>, limit: NonZeroU32, now: u64) -> Admission<Slot> {
    let (mut window, repaired) = Window::load(slot, limit, now);
    let admitted = window.counts.take(limit);
    Admission {
        admitted,
        status: window.status(limit, now),
        store: (admitted || repaired).then(|| window.to_slot()),
    }
}

/// The state of the limit at `now`. Takes nothing from it.
pub fn peek(slot: Option<&[u8]>, limit: NonZeroU32, now: u64) -> RateStatus {
    let (window, _) = Window::load(slot, limit, now);
    window.status(limit, now)
}

impl Window {
    /// The window at `now`, and whether it must be stored even if the request is refused.
    fn load(slot: Option<&[u8]>, limit: NonZeroU32, now: u64) -> (Window, bool) {
        let at_now = |counts| Window { newest: now, counts };
        let Some(bytes) = slot else {
            return (at_now(Counts::NONE), false);
        };
        let Some(mut window) = Window::from_slot(bytes) else {
            // The number of admitted requests is lost, so the limit counts as used up for the next 61 seconds.
            return (at_now(Counts::current(limit.get())), true);
        };
        let passed = advance(&mut window.newest, now, SECONDS);
        window.counts.age(passed.intervals);
        (window, passed.is_set_back)
    }

    fn from_slot(bytes: &[u8]) -> Option<Window> {
        let (newest, counts) = bytes.strip_prefix(&LAYOUT)?.split_first_chunk()?;
        let (counts, []) = counts.as_chunks() else {
            return None;
        };
        let counts: &[_; SECONDS] = counts.try_into().ok()?;
        Some(Window {
            newest: u64::from_le_bytes(*newest),
            counts: Counts(counts.map(u32::from_le_bytes)),
        })
    }

    fn to_slot(self) -> Slot {
        let mut slot = [0; SLOT_LENGTH];
        if let Some((layout, rest)) = slot.split_first_chunk_mut()
            && let Some((newest, rest)) = rest.split_first_chunk_mut()
        {
            *layout = LAYOUT;
            *newest = self.newest.to_le_bytes();
            for (bytes, count) in rest.as_chunks_mut().0.iter_mut().zip(self.counts.0) {
                *bytes = count.to_le_bytes();
            }
        }
        slot
    }

    fn status(&self, limit: NonZeroU32, now: u64) -> RateStatus {
        self.counts.status(limit, self.newest, 1, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32) -> NonZeroU32 {
        NonZeroU32::new(requests).unwrap()
    }

    /// Sends a request at each of `times` and gives what was admitted, with the slot at the end.
    fn run(requests: u32, times: &[u64]) -> (Vec<bool>, Option<Slot>) {
        let mut slot: Option<Slot> = None;
        let admitted = times.iter().map(|&now| {
            let admission = admit(slot.as_ref().map(|s| s.as_slice()), limit(requests), now);
            slot = admission.store.or(slot);
            admission.admitted
        });
        (admitted.collect(), slot)
    }

    #[test]
    fn the_window_slides() {
        for (name, requests, times, expected) in [
            ("up to the limit", 2, &[100, 100, 100][..], &[true, true, false][..]),
            (
                "60 seconds later the first still counts",
                1,
                &[100, 160],
                &[true, false],
            ),
            ("61 seconds later it does not", 1, &[100, 161], &[true, true]),
            (
                "no second helping around a full minute",
                2,
                &[119, 119, 120, 121],
                &[true, true, false, false],
            ),
            (
                "each leaves in its turn",
                2,
                &[100, 130, 161, 162, 191],
                &[true, true, true, false, true],
            ),
            (
                "refused requests take nothing",
                1,
                &[100, 120, 140, 161],
                &[true, false, false, true],
            ),
            ("a long silence", 1, &[100, 1_000_000], &[true, true]),
            ("a worker a second behind", 1, &[100, 99], &[true, false]),
            (
                "a minute behind is no later",
                1,
                &[100, 40, 160, 161],
                &[true, false, false, true],
            ),
            (
                "the clock set back an hour",
                1,
                &[10_000, 6_400, 6_460, 6_461],
                &[true, false, false, true],
            ),
            (
                "set back while the window is half over",
                1,
                &[10_000, 10_030, 6_400, 6_461],
                &[true, false, false, true],
            ),
        ] {
            assert_eq!(run(requests, times).0, expected, "{name}");
        }
    }

    #[test]
    fn the_status_tells_when_more_are_admitted() {
        let (_, slot) = run(3, &[100, 100, 130]);
        let bytes = slot.as_ref().map(|s| s.as_slice());
        for (requests, now, remaining, reset, retry_after) in [
            (3, 130, 0, 161, 31),
            (3, 160, 0, 161, 1),
            (3, 161, 2, 191, 30),
            (3, 191, 3, 191, 1),
            (4, 130, 1, 161, 31),
            // Lowered: three were admitted, so one leaving is not enough.
            (1, 130, 0, 191, 61),
            (2, 130, 0, 161, 31),
        ] {
            let expected = RateStatus {
                limit: limit(requests),
                remaining,
                reset,
                retry_after,
            };
            assert_eq!(peek(bytes, limit(requests), now), expected, "limit {requests} at {now}");
        }
        let untouched = peek(None, limit(5), 77);
        assert_eq!((untouched.remaining, untouched.reset), (5, 77));
    }

    #[test]
    fn a_slot_of_unknown_layout_is_a_limit_used_up_for_one_window() {
        let good = run(2, &[100]).1.unwrap();
        for (name, bytes) in [
            ("empty", &[][..]),
            ("short", &good[..SLOT_LENGTH - 1]),
            ("long", &[good.as_slice(), &[0]].concat()),
            ("another layout", &[b"kfw0", &good[4..]].concat()),
        ] {
            let first = admit(Some(bytes), limit(2), 100);
            assert!(!first.admitted, "{name}");
            let slot = first.store.expect(name);
            assert!(!admit(Some(&slot), limit(2), 160).admitted, "{name}");
            assert!(admit(Some(&slot), limit(2), 161).admitted, "{name}");
        }
        let hostile = [b"kfw1".as_slice(), &[0xff; SLOT_LENGTH - 4]].concat();
        assert!(!admit(Some(&hostile), limit(2), u64::MAX).admitted);
        assert!(!admit(Some(&hostile), limit(u32::MAX), 0).admitted);
    }

    /// Multiplies and adds (Knuth): the same patterns in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn random_arrivals_against_an_exact_log() {
        for seed in 0..10_000 {
            let mut random = Random(seed);
            let requests = 1 + random.below(12);
            let longest_gap = [200, 3_000, 20_000, 90_000][random.below(4) as usize];
            let mut slot: Option<Slot> = None;
            let mut log: Vec<u64> = Vec::new();
            let mut now = 1_000_000;
            for _ in 0..60 {
                now += random.below(longest_gap);
                let bytes = slot.as_ref().map(|s| s.as_slice());
                let admission = admit(bytes, limit(requests as u32), now / 1000);
                let within = |span: u64| log.iter().filter(|&&at| now - at < span).count() as u64;
                if admission.admitted {
                    assert!(within(60_000) < requests, "seed {seed}: over the limit at {now} ms");
                    log.push(now);
                } else {
                    assert!(
                        within(61_000) >= requests,
                        "seed {seed}: refused without need at {now} ms"
                    );
                }
                slot = admission.store.or(slot);
            }
        }
    }
}
