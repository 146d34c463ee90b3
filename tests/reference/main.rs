//! The filter's core against a [second reading of the specification](spec), over generated policies and requests.
//!
//! `KEYFENCE_CASES=5000000 cargo test --release --test reference` for more than the default, `KEYFENCE_SEED=…` for the case that failed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "../harness/skipped.rs"]
mod skipped;

mod compare;
mod feed;
mod feed_pair;
mod generate;
mod python;
mod spec;
mod subject;

use std::collections::BTreeMap;
use std::thread;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;

use compare::Pair;
use generate::Generator;
use spec::decision::decide;
use spec::window::Ledger;
use spec::{credentials, tokens};

/// Requests to one policy.
const REQUESTS: usize = 50;

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Everything about one policy; the error says what went wrong with what.
fn check_policy(seed: u64, rulings: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let mut generator = Generator::of_seed(seed);
    let written = generator.policy();
    let policy = &written.policy;
    let text = serde_json::to_vec(policy).unwrap();
    let loaded = Policy::load(&text, Timestamp(0)).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
        format!("refused: {}\npolicy: {policy:#}", lines.join("\n"))
    })?;
    let mut pair = Pair::new(policy, &loaded.policy);
    for now in generator.moments(REQUESTS) {
        let request = generator.request(&written, now);
        let answer = generator.answer();
        let outcome = pair.check(&request, &answer).map_err(|wrong| {
            let lines: Vec<String> = request
                .headers
                .iter()
                .map(|(name, value)| format!("  {}: {}", name.escape_ascii(), value.escape_ascii()))
                .collect();
            format!(
                "{wrong}\nfrom {:?} at {}:\n{}\npolicy: {policy:#}",
                request.source,
                request.now,
                lines.join("\n")
            )
        })?;
        let mode = if outcome.reports { "report" } else { "enforce" };
        *rulings.entry(format!("{mode} {:?}", outcome.ruling)).or_default() += 1;
    }
    Ok(())
}

#[test]
fn both_readings_agree() {
    if let Some(seed) = number_from_env("KEYFENCE_SEED") {
        return check_policy(seed, &mut BTreeMap::new()).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    let policies = number_from_env("KEYFENCE_CASES")
        .unwrap_or(200_000)
        .div_ceil(REQUESTS as u64);
    let workers = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let all = thread::scope(|scope| {
        let run = |worker: u64| {
            move || {
                let mut rulings = BTreeMap::new();
                for seed in (worker..policies).step_by(workers as usize) {
                    check_policy(seed, &mut rulings).unwrap_or_else(|wrong| panic!("KEYFENCE_SEED={seed}: {wrong}"));
                }
                rulings
            }
        };
        let started: Vec<_> = (0..workers).map(|worker| scope.spawn(run(worker))).collect();
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for worker in started {
            for (ruling, count) in worker
                .join()
                .unwrap_or_else(|_| panic!("the readings differ, see above"))
            {
                *all.entry(ruling).or_default() += count;
            }
        }
        all
    });
    for (ruling, count) in &all {
        println!("{count:>9} {ruling}");
    }
    // Alphabets that no longer meet would compare nothing: every ruling has its share.
    let rare = all
        .values()
        .filter(|count| **count * 20_000 < policies * REQUESTS as u64)
        .count();
    assert_eq!(
        (all.len(), rare),
        (36, 0),
        "of the rulings, some never or hardly ever came up: {all:#?}"
    );
}

/// By the specification alone: what comes of the tokens, so that none of their kinds dies out.
#[test]
fn tokens_are_of_all_kinds() {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..400 {
        let mut generator = Generator::of_seed(seed);
        let written = generator.policy();
        for now in generator.moments(REQUESTS) {
            let request = generator.request(&written, now);
            let decision = decide(&written.policy, &request, &Ledger::default(), None);
            let mode = if decision.reports { "report" } else { "enforce" };
            *seen.entry(format!("{mode} {:?}", decision.ruling)).or_default() += 1;
            let [carried] = &decision.carried[..] else { continue };
            let has_form = tokens::has_form(&carried.bytes);
            let Ok(found) = credentials::find(&written.policy, &carried.bytes, (now / 1000) as i64) else {
                continue;
            };
            let Some(claims) = found.claims.filter(|_| has_form) else {
                continue;
            };
            *seen.entry(format!("a good token, {:?}", decision.ruling)).or_default() += 1;
            for (claim, _) in claims.as_object().unwrap() {
                *seen.entry(format!("a good token with {claim}")).or_default() += 1;
            }
            if carried.bytes.len() == 4096 {
                *seen.entry("a good token of 4096 bytes".to_owned()).or_default() += 1;
            }
        }
    }
    for (kind, count) in &seen {
        println!("{count:>9} {kind}");
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 5).collect();
    // Nothing is admitted here, so no limit is used up: four of the rulings are missing.
    assert_eq!((seen.len(), rare.len()), (32 + 17, 0), "{rare:?}");
}

/// What a key's list takes, a token's claim takes.
#[test]
fn entries_are_what_a_key_takes() {
    let mut generator = Generator::of_seed(1);
    let (mut takes, mut refuses) = (0, 0);
    for _ in 0..number_from_env("KEYFENCE_CASES").unwrap_or(200_000) / 10 {
        let (field, own) = generator.list_entry();
        let key = serde_json::json!({"id": "a", "api_key": "a key of some length", field: [own]});
        let policy = serde_json::json!({"keys": [key]}).to_string();
        let loaded = Policy::load(policy.as_bytes(), Timestamp(0)).is_ok();
        let taken = match field {
            "allowed_origins" => spec::origins::is_pattern(&own),
            "allowed_ips" => spec::addresses::is_network(&own),
            _ => spec::paths::is_index(&own),
        };
        assert_eq!(taken, loaded, "{field}: {own:?}");
        takes += u32::from(taken);
        refuses += u32::from(!taken);
    }
    assert!(takes > 1000 && refuses > 1000, "{takes} taken, {refuses} refused");
}

#[test]
fn addresses_are_what_python_takes_them_for() {
    python::compare(number_from_env("KEYFENCE_CASES").unwrap_or(10_000).min(1_000_000) as usize);
}
