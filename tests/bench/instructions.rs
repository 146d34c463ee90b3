//! Makes decisions for tests/instructions.rs to count the processor's instructions of: `instructions KIND KEYS DECISIONS`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that meets what it did not expect is of no use"
)]

mod workload;

use std::env;

use keyfence_core::decision::decide;
use workload::KINDS;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [kind, keys, decisions] = arguments.as_slice() else {
        panic!("instructions KIND KEYS DECISIONS");
    };
    let kind = KINDS
        .iter()
        .find(|known| known.name == kind)
        .expect("the kind is known");
    let keys = keys.parse().expect("KEYS is a number");
    let decisions = decisions.parse().expect("DECISIONS is a number");
    let policy = workload::policy(keys);
    let callers = kind.callers(keys);
    let mut request = kind.request();
    for caller in callers.iter().cycle().take(decisions) {
        request.come_from(caller);
        let head = caller.hashed(request.read(&policy));
        let decision = decide(&policy, &head, caller);
        assert!(decision.outcome == kind.outcome);
    }
}
