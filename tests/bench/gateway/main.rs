//! What the filter costs in a real Envoy, beside what else could do its work: `make bench`.
//!
//! One Envoy with one worker, held to one core, has a listener for each contender; `wrk` on another core asks them in turn, so that a
//! change of the machine's pace meets all alike. What is measured is the CPU time of the whole Envoy process for each request, and what a
//! filter adds to that of the listener without one in the same round.
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
mod load;
mod policy;
mod scenario;
mod summary;

use std::env;

use harness::{Gateway, Upstream};

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
    let contenders: Vec<_> = scenarios.iter().flat_map(Scenario::listeners).collect();
    let gateway = Gateway::in_front_of(&upstream)
        .amend(move |bootstrap| bootstrap["static_resources"]["listeners"] = contenders.into())
        .start();
    let meter = Meter::of(&gateway);

    let mut measurements = Measurements::default();
    // The first round warms up: V8 compiles what is called often anew.
    for round in 0..=rounds {
        for scenario in &scenarios {
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
    let summary = Summary::of(&scenarios, &measurements);
    println!("{}", figures::table(&summary, rounds));
    if only.is_none() {
        figures::keep(&summary, rounds);
    }
}
