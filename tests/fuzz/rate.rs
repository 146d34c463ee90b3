//! A limit, what the slot holds at first, and requests with the time between them: the window against an exact log.

#![no_main]

use std::num::NonZeroU32;

use keyfence_core::decision::rate::{SLOT_LENGTH, admit, peek};
use libfuzzer_sys::fuzz_target;

const START: u64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((&[form, limit], data)) = data.split_first_chunk() else {
        return;
    };
    let limit = NonZeroU32::new(u32::from(limit) + 1).unwrap();
    // A slot that anything may have been written to; only what is sure of those is asserted.
    let (mut slot, data) = match form {
        0..128 => (None, data),
        128..192 => (Some(data.to_vec()), data),
        _ if data.len() >= SLOT_LENGTH => (Some(data[..SLOT_LENGTH].to_vec()), &data[SLOT_LENGTH..]),
        _ => (Some([b"kfw1", data].concat()), data),
    };
    let is_known = slot.is_none();
    let mut log: Vec<u64> = Vec::new();
    let mut now = START;
    let mut in_order = true;
    // The log is counted anew each time.
    for &step in data.iter().take(500) {
        now = match step {
            0..100 => now,
            100..200 => now + u64::from(step - 100) / 8,
            200..230 => now + u64::from(step - 199),
            // Another worker's clock, a little behind, and a clock that is set back.
            230..250 => now.saturating_sub(u64::from(step - 230)),
            250..=254 => now.saturating_sub(1 << (step - 240)),
            255 => now + 100_000,
        };
        in_order &= step < 230 || step == 255;
        let before = peek(slot.as_deref(), limit, now);
        let admission = admit(slot.as_deref(), limit, now);
        let status = admission.status;
        assert_eq!(admission.admitted, before.remaining > 0);
        assert_eq!(status.remaining, before.remaining.saturating_sub(1));
        assert_eq!(status.retry_after, status.reset.saturating_sub(now).max(1));
        assert_eq!(
            peek(
                admission.store.as_ref().map(|slot| &slot[..]).or(slot.as_deref()),
                limit,
                now
            ),
            status
        );
        if let Some(stored) = admission.store {
            slot = Some(stored.to_vec());
        }
        if !is_known {
            continue;
        }
        let within = |seconds: u64| log.iter().filter(|then| now.abs_diff(**then) < seconds).count() as u64;
        let limit = u64::from(limit.get());
        if admission.admitted && in_order {
            assert!(within(60) < limit, "more than the limit in 60 seconds");
        }
        if !admission.admitted && in_order {
            assert!(within(61) >= limit, "refused with room in the last 61 seconds");
        }
        if status.remaining == 0 && in_order {
            assert!((now + 1..=now + 61).contains(&status.reset));
            let later = peek(slot.as_deref(), NonZeroU32::new(limit as u32).unwrap(), status.reset);
            let just_before = peek(
                slot.as_deref(),
                NonZeroU32::new(limit as u32).unwrap(),
                status.reset - 1,
            );
            assert!(
                later.remaining > 0 && just_before.remaining == 0,
                "Remaining grows at Reset, not before"
            );
        }
        if admission.admitted {
            log.push(now);
        }
    }
});
