//! The feed of the filter's core against the [second reading](crate::spec::feed): after each step everything that can be seen of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::feed_pair::FeedPair;
use crate::generate::Generator;
use crate::generate::feed::{Server, Step};
use crate::number_from_env;
use crate::spec::feed::Feed;

/// How many steps a feed is taken.
const STEPS: usize = 40;

fn check_feed(seed: u64) -> Result<(), String> {
    let mut generator = Generator::of_seed(seed);
    let mut server = Server::default();
    let policy = generator.feed_policy(&mut server);
    let mut both = FeedPair::new(&policy);
    let mut told = vec![format!("policy {policy}")];
    for _ in 0..STEPS {
        let step = generator.feed_step(both.spec(), &mut server);
        told.push(match &step {
            Step::Answer(body) => String::from_utf8_lossy(&body[..body.len().min(4_000)]).into_owned(),
            Step::Failure => "a failure".to_owned(),
            Step::Policy(policy) => format!("policy {policy}"),
        });
        let checked = both.take(&step).and_then(|()| match generator.one_in(4) {
            true => both.ask(&mut generator, 3),
            false => Ok(()),
        });
        checked.map_err(|wrong| format!("{wrong}\nafter:\n{}", told.join("\n")))?;
    }
    Ok(())
}

#[test]
fn both_readings_agree() {
    if let Some(seed) = number_from_env("KEYFENCE_SEED") {
        return check_feed(seed).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
    let feeds = number_from_env("KEYFENCE_CASES").unwrap_or(200_000) / 500;
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || {
                for seed in (worker..feeds).step_by(workers as usize) {
                    check_feed(seed).unwrap_or_else(|wrong| panic!("KEYFENCE_SEED={seed}: {wrong}"));
                }
            });
        }
    });
}

/// By the specification alone: each outcome and each refusal comes up.
#[test]
fn answers_are_of_all_kinds() {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..300 {
        let mut generator = Generator::of_seed(seed);
        let mut server = Server::default();
        let mut feed = Feed::new(&generator.feed_policy(&mut server));
        for _ in 0..STEPS {
            match generator.feed_step(&feed, &mut server) {
                Step::Answer(body) => *seen.entry(format!("{:?}", feed.answer(&body))).or_default() += 1,
                Step::Failure => feed.fail(),
                Step::Policy(policy) => feed.update(&policy),
            }
            let refused = feed.refused();
            for (_, code) in &refused {
                *seen.entry(format!("refused {code}")).or_default() += 1;
            }
            for (id, key) in feed.in_force() {
                let is_held_over = refused.iter().any(|(other, _)| *other == id);
                *seen
                    .entry(if is_held_over { "held over" } else { "in force" }.to_owned())
                    .or_default() += 1;
                *seen
                    .entry(format!("enabled {}", key["enabled"] != json!(false)))
                    .or_default() += 1;
            }
        }
    }
    for (kind, count) in &seen {
        println!("{count:>9} {kind}");
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 20).collect();
    // `too_many_rules` needs more scopes than these policies have.
    assert_eq!((seen.len(), rare.len()), (6 + 7 + 4, 0), "{rare:?}");
}

/// One step of a table: what the server sends or the operator writes, then `id=limit` of the keys in force, then `id:code` of the refused.
type Row = (Value, &'static str, &'static str);

#[test]
#[rustfmt::skip]
fn the_second_reading_reads_the_contract() {
    let key = |id: &str, number: u64, raw: &[&str]| json!({"id": id, "api_key": raw, "rate_limit_per_minute": number});
    let with = |mut key: Value, name: &str, value: Value| { key[name] = value; key };
    let page = |revision: u64, complete: bool, removed: &[&str], set: &[Value]| {
        json!({"epoch": "e", "revision": revision, "complete": complete, "removed": removed, "set": set})
    };
    let empty = || json!({"keys": []});
    let scoped = || json!({"keys": [], "scopes": {"s": [{"methods": ["*"], "path": "/**"}]}});
    let own = |id: &str, raw: &str| json!({"keys": [{"id": id, "api_key": raw}]});
    let off = || json!(false);
    let cases: Vec<(&str, Vec<Row>)> = vec![
        ("a wrong key holds the one before over; a right one replaces both", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"])]), "a=1", ""),
            (page(2, false, &[], &[with(key("a", 2, &["k1"]), "new", off())]), "a=1", "a:unknown_field"),
            (page(3, false, &[], &[key("a", 0, &["k1"])]), "a=1", "a:invalid_key"),
            (page(4, false, &[], &[key("a", 3, &["k1"])]), "a=3", ""),
        ]),
        ("a wrong key that is disabled ends the one before", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"])]), "a=1", ""),
            (page(2, false, &[], &[with(with(key("a", 2, &["k1"]), "new", off()), "enabled", off())]), "", "a:unknown_field"),
            (page(3, false, &[], &[key("a", 0, &["k1"])]), "", "a:invalid_key"),
        ]),
        ("a removed id is gone, refused or not", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"]), key("b", 0, &["k2"])]), "a=1", "b:invalid_key"),
            (page(2, false, &["a", "b"], &[]), "", ""),
        ]),
        ("a digest moves in one page", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"]), key("b", 2, &["k2"])]), "a=1 b=2", ""),
            (page(2, false, &[], &[key("b", 3, &["k1"]), key("a", 4, &["k2"])]), "a=4 b=3", ""),
            (page(3, false, &["a"], &[key("b", 5, &["k2"])]), "b=5", ""),
        ]),
        ("what is held over does not keep its digest", vec![
            (page(1, true, &[], &[key("a", 1, &["k1", "k2"]), key("b", 2, &["k3"])]), "a=1 b=2", ""),
            (page(2, false, &[], &[key("a", 0, &["k1"])]), "a=1 b=2", "a:invalid_key"),
            (page(3, false, &[], &[key("b", 3, &["k2"])]), "b=3", "a:invalid_key"),
        ]),
        ("moved to another id in the page that has the id's own key wrong", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"]), key("b", 2, &["k2"])]), "a=1 b=2", ""),
            (page(2, false, &[], &[key("a", 0, &["k1"]), key("b", 3, &["k1"])]), "b=3", "a:invalid_key"),
        ]),
        ("one that conflicts waits for the digest", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"])]), "a=1", ""),
            (page(2, false, &[], &[key("b", 2, &["k1"])]), "a=1", "b:duplicate_api_key"),
            (page(3, false, &[], &[key("c", 3, &["k1"])]), "a=1", "b:duplicate_api_key c:duplicate_api_key"),
            (page(4, false, &["a"], &[]), "b=2", "c:duplicate_api_key"),
            (page(5, false, &[], &[key("b", 4, &["k2"])]), "b=4 c=3", ""),
        ]),
        ("scopes come and go", vec![
            (page(1, true, &[], &[with(key("a", 1, &["k1"]), "scopes", json!(["s"])), key("b", 2, &["k2"])]), "b=2", "a:unknown_scope"),
            (scoped(), "a=1 b=2", ""),
            (page(2, false, &[], &[with(key("a", 3, &["k1"]), "scopes", json!(["s"]))]), "a=3 b=2", ""),
            (empty(), "b=2", "a:unknown_scope"),
            (page(3, false, &[], &[key("c", 4, &["k1"])]), "b=2 c=4", "a:unknown_scope"),
            (scoped(), "b=2 c=4", "a:duplicate_api_key"),
            (page(4, false, &["c"], &[]), "a=3 b=2", ""),
        ]),
        ("static keys win", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"]), key("b", 2, &["k2"])]), "a=1 b=2", ""),
            (own("a", "k2"), "", "a:duplicate_id b:duplicate_api_key"),
            (page(2, false, &[], &[key("b", 3, &["k3"])]), "b=3", "a:duplicate_id"),
            (empty(), "a=1 b=3", ""),
        ]),
        ("a complete answer replaces all, and holds over what it has wrong", vec![
            (page(1, true, &[], &[key("a", 1, &["k1"]), key("b", 2, &["k2"]), key("c", 3, &["k3"])]), "a=1 b=2 c=3", ""),
            (page(2, true, &[], &[key("a", 0, &["k1"]), with(key("c", 0, &["k3"]), "enabled", off())]), "a=1", "a:invalid_key c:invalid_key"),
            (page(3, true, &[], &[key("a", 0, &["k1"]), key("b", 4, &["k1"])]), "b=4", "a:invalid_key"),
            (page(3, true, &[], &[]), "", ""),
        ]),
        ("without an id", vec![
            (page(1, true, &[], &[json!({}), json!([1]), key("", 1, &["k"])]), "", ":invalid_key :invalid_key :invalid_key"),
            (page(2, true, &[], &[]), "", ""),
        ]),
        ("before a complete answer", vec![
            (page(1, false, &[], &[key("a", 1, &["k1"])]), "", ""),
        ]),
    ];
    for (name, rows) in cases {
        let mut feed = Feed::new(&empty());
        for (number, (step, in_force, refused)) in rows.into_iter().enumerate() {
            match step.get("epoch") {
                Some(_) => { feed.answer(step.to_string().as_bytes()); }
                None => feed.update(&step),
            }
            let keys: Vec<String> = feed.in_force().iter().map(|(id, key)| format!("{id}={}", key["rate_limit_per_minute"])).collect();
            let codes: Vec<String> = feed.refused().iter().map(|(id, code)| format!("{id}:{code}")).collect();
            assert_eq!((keys.join(" "), codes.join(" ")), (in_force.to_owned(), refused.to_owned()), "{name}, row {number}");
        }
    }
}
