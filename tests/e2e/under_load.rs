//! What happens to an Envoy happens to it at work: hot restarts, a sudden end, a failed VM. No answer is wrong meanwhile, and nothing
//! refused comes to the upstream; answers may be missing.

use std::net::TcpListener;
use std::time::Duration;

use crate::failure::{TRAP, trapping_filter};
use crate::harness::{Gateway, Request, Version, Witness};
use crate::traffic::{IDS, Traffic, listener};

const HOSTILE: u32 = 5;

/// So many requests between one event and the next.
const STRETCH: u64 = 3_000;

/// One that is free, and that no connection gets while its Envoy is away: systems give these from 32768 on.
pub fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..30_000));
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

fn good_answers(traffic: &Traffic<'_>) -> u64 {
    traffic.outcomes("legitimate: 200")
}

/// Until so many more legitimate requests were let through.
fn work(traffic: &Traffic<'_>) {
    let before = good_answers(traffic);
    while good_answers(traffic) < before + STRETCH / 3 {
        assert!(traffic.wait_for(traffic.finished() + STRETCH / 10), "the traffic ended");
    }
}

#[test]
fn a_hot_restart_gives_no_wrong_answer() {
    const RESTARTS: u64 = 3;
    let witness = Witness::start(&IDS);
    let mut gateway = Gateway::before(witness.address())
        .listener(listener("main").port(free_port()))
        .workers(2)
        .hot_restart()
        .start();
    let mut traffic = Traffic::new(gateway.address("main"), &witness, u64::MAX, HOSTILE);
    traffic.may_disconnect = true;
    traffic.lives = RESTARTS + 1;
    traffic.run(|traffic| {
        work(traffic);
        for _ in 0..RESTARTS {
            let mut old = gateway.restart_hot();
            while old.0.try_wait().unwrap().is_none() {
                work(traffic);
            }
            work(traffic);
        }
    });
}

#[test]
fn a_sudden_end_and_a_new_start_give_no_wrong_answer() {
    const ENDS: u64 = 3;
    let witness = Witness::start(&IDS);
    let mut gateway = Gateway::before(witness.address())
        .listener(listener("main").port(free_port()))
        .workers(2)
        .start();
    let mut traffic = Traffic::new(gateway.address("main"), &witness, u64::MAX, HOSTILE);
    traffic.may_disconnect = true;
    traffic.lives = ENDS + 1;
    traffic.run(|traffic| {
        work(traffic);
        for _ in 0..ENDS {
            gateway.kill_and_start(Duration::from_millis(200));
            work(traffic);
        }
    });
    assert!(traffic.outcomes("legitimate: no answer") > 0, "nobody noticed");
}

#[test]
fn a_vm_that_fails_at_work_lets_nothing_through() {
    for failure_policy in ["FAIL_RELOAD", "FAIL_CLOSED"] {
        let witness = Witness::start(&IDS);
        let gateway = Gateway::before(witness.address())
            .wasm(trapping_filter())
            .listener(listener("main").failure_policy(failure_policy))
            .workers(2)
            .crash_expected()
            .start();
        let mut traffic = Traffic::new(gateway.address("main"), &witness, u64::MAX, HOSTILE);
        traffic.may_disconnect = true;
        traffic.may_be_unavailable = true;
        traffic.run(|traffic| {
            work(traffic);
            for _ in 0..3 {
                // Of several connections some are the one worker's and some the other's.
                for version in [Version::Http1, Version::Http2].repeat(3) {
                    let trap = Request::get("/").header(TRAP, "now");
                    if let Ok(response) = trap.send(version, gateway.address("main")) {
                        assert_eq!(response.status, 503);
                    }
                }
                if failure_policy == "FAIL_RELOAD" {
                    work(traffic);
                } else {
                    traffic.wait_for(traffic.finished() + STRETCH);
                }
            }
        });
        assert!(traffic.outcomes("503 for a while") > 0, "nobody noticed");
    }
}
