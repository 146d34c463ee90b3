//! Makes decisions for tests/instructions.rs to count the processor's instructions of: `instructions KIND KEYS DECISIONS`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that meets what it did not expect is of no use"
)]

mod workload;

use std::env;

use keyfence_core::decision::decide;
use workload::{KINDS, Kind, TOKEN_KINDS};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [kind, keys, decisions] = arguments.as_slice() else {
        panic!("instructions KIND KEYS DECISIONS");
    };
    let named = |kinds: &'static [Kind]| kinds.iter().find(|known| known.name == kind);
    let of_token = named(&TOKEN_KINDS);
    let kind = of_token.or_else(|| named(&KINDS)).expect("the kind is known");
    let keys = keys.parse().expect("KEYS is a number");
    let decisions = decisions.parse().expect("DECISIONS is a number");
    let policy = match of_token {
        Some(_) => workload::policy_with_tokens(keys),
        None => workload::policy(keys),
    };
    let callers = kind.callers(keys);
    let mut request = kind.request();
    for caller in callers.iter().cycle().take(decisions) {
        request.come_from(caller);
        let head = caller.hashed(request.read(&policy));
        let decision = decide(&policy, &head, caller);
        assert!(decision.outcome == kind.outcome);
    }
}
