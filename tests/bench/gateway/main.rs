//! What the filter costs in a real Envoy, beside what else could do its work: `make bench`.
//!
//! One Envoy with one worker, held to one core, has a listener for each contender; `wrk` on another core asks them in turn, so that a
//! change of the machine's pace meets all alike. What is measured is the CPU time of the whole Envoy process for each request, and what a
//! filter adds to that of the listener without one in the same round. Where valgrind is, the instructions of a request are counted too.
//!
//! `ROUNDS` (15) sets how often each is asked, for a second; `ONLY` takes the scenarios whose name contains it, and leaves the figures in
//! `tests/bench/figures` as they are.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect has failed"
)]

mod contender;
mod figures;
mod growth;
#[path = "../../harness/mod.rs"]
mod harness;
mod instructions;
mod load;
mod policy;
mod scenario;
mod summary;

use std::env;

use harness::{Gateway, Upstream};
use serde_json::Value;

use figures::Figures;
use instructions::Counter;
use load::Meter;
use scenario::Scenario;
use summary::{Measurements, Summary};

fn main() {
    let setting = |name: &str| env::var(name).ok();
    let rounds: usize = setting("ROUNDS").map_or(15, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let only = setting("ONLY");
    let scenarios: Vec<Scenario> = scenario::all()
        .into_iter()
        .filter(|scenario| only.as_ref().is_none_or(|only| scenario.name.contains(only.as_str())))
        .collect();

    let upstream = Upstream::start();
    let instructions = count(&upstream, &scenarios);
    let times = time(&upstream, &scenarios, rounds);
    let figures = Figures {
        times: Summary::of(&scenarios, &times),
        instructions: instructions.map(|instructions| Summary::of(&scenarios, &instructions)),
        rounds,
    };
    println!("{}", figures.table());
    if only.is_none() {
        figures.keep();
    }
}

/// µs, in each round.
fn time(upstream: &Upstream, scenarios: &[Scenario], rounds: usize) -> Measurements {
    let listeners = scenarios.iter().flat_map(|scenario| {
        let contenders = scenario.contenders.iter();
        contenders.map(|contender| scenario.listener(contender))
    });
    let listeners: Vec<Value> = listeners.collect();
    let gateway = Gateway::in_front_of(upstream)
        .amend(move |bootstrap| bootstrap["static_resources"]["listeners"] = listeners.into())
        .start();
    let meter = Meter::of(&gateway);
    let mut measurements = Measurements::default();
    // The first round warms up.
    for round in 0..=rounds {
        for scenario in scenarios {
            for contender in &scenario.contenders {
                let cost = meter.cost(scenario, contender);
                if round > 0 {
                    measurements.add(scenario, contender, cost);
                }
            }
        }
        eprint!("\rround {round} of {rounds} ");
    }
    eprintln!();
    measurements
}

/// Instructions, once: they are the same each time.
fn count(upstream: &Upstream, scenarios: &[Scenario]) -> Option<Measurements> {
    /// A VM reserves more address space than valgrind has for a dozen.
    const AT_ONCE: usize = 3;
    let mut measurements = Measurements::default();
    for scenario in scenarios {
        for contenders in scenario.contenders.chunks(AT_ONCE) {
            let listeners = contenders.iter().map(|contender| scenario.listener(contender));
            let Some(counter) = Counter::start(upstream, listeners.collect()) else {
                eprintln!(
                    "Instructions are not counted, for there is no valgrind here (Debian: apt-get install valgrind)."
                );
                return None;
            };
            for contender in contenders {
                measurements.add(scenario, contender, counter.cost(scenario, contender));
                eprint!("\rcounted: {} ", scenario.listener_name(contender));
            }
        }
    }
    eprintln!();
    Some(measurements)
}
