//! The feed of the filter's core against the [second reading](crate::spec::feed): after each step everything that can be seen of it.

use std::collections::BTreeMap;

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::feed;
use keyfence_core::policy::Policy;
use keyfence_core::policy::in_force::InForce;
use serde_json::{Value, json};

use crate::compare::Pair;
use crate::generate::feed::{IDS, ORIGINS, RAW_KEYS, Server, Step, raw_keys};
use crate::generate::{Generator, Written};
use crate::number_from_env;
use crate::spec::decision::Request;
use crate::spec::feed::{Feed, Outcome};
use crate::spec::{credentials, tokens};

/// How many steps a feed is taken.
const STEPS: usize = 40;

const NOW: Timestamp = Timestamp(1_800_000_000);

/// One VM's feed, in both readings.
pub struct Both {
    spec: Feed,
    filters: feed::Feed,
    written: Value,
    policy: Policy,
}

impl Both {
    pub fn new(policy: &Value) -> Both {
        Both {
            spec: Feed::new(policy),
            filters: feed::Feed::new("0123456789abcdef0123456789abcdef"),
            written: policy.clone(),
            policy: load(policy),
        }
    }

    pub fn spec(&self) -> &Feed {
        &self.spec
    }

    /// The error says what differs.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Answer(body) => {
                let position = self.spec.after().cloned();
                let expected = self.spec.answer(body);
                let got = match self.filters.answer(body, &self.policy, NOW) {
                    Ok(progress) if progress.has_more => Outcome::More,
                    Ok(progress) if progress.is_news => Outcome::Taken,
                    Ok(_) => Outcome::NothingNew,
                    Err(feed::AnswerError::Outdated) => Outcome::Outdated,
                    Err(feed::AnswerError::Malformed(_)) => Outcome::Malformed,
                };
                let expected = match expected {
                    // The filter looks at the length before.
                    Outcome::TooLarge => Outcome::Malformed,
                    // Taken: what comes with the revision of before is not news, though it be something.
                    Outcome::Taken if position == self.spec.after().cloned() => Outcome::NothingNew,
                    other => other,
                };
                same("the answer", &expected, &got)?;
            }
            Step::Failure => {
                self.spec.fail();
                self.filters.fail();
            }
            Step::Policy(policy) => {
                self.spec.update(policy);
                self.written = policy.clone();
                self.policy = load(policy);
                self.filters.resolve(&self.policy);
            }
        }
        self.filters.take_forgotten();
        self.filters.free_old();
        self.same_state()
    }

    fn same_state(&self) -> Result<(), String> {
        let named: Vec<(String, String)> = self
            .spec
            .refused()
            .into_iter()
            .filter(|(id, _)| !id.is_empty())
            .collect();
        let poll: Value = serde_json::from_str(&self.filters.poll("a node", 10)).unwrap();
        let mut expected = self.spec.poll(10);
        expected["node"] = "a node".into();
        expected["instance"] = "0123456789abcdef0123456789abcdef".into();
        expected["refused"] = json!({"count": self.spec.refused().len(), "first": poll["refused"]["first"]});
        let mut first: Vec<(String, String)> = Vec::new();
        for refused in poll["refused"]["first"].as_array().unwrap() {
            let text = |name: &str| refused[name].as_str().unwrap().to_owned();
            first.push((text("id"), text("code")));
        }
        first.sort();
        // There are fewer ids than ten.
        // Taken: of two that are in the way of a key, either is told. What it waits for may have changed since it was looked at.
        let told = |refused: Vec<(String, String)>| -> Vec<(String, String)> {
            let refused = refused.into_iter();
            refused
                .map(|(id, code)| (id, code.replace("public_token_secret", "duplicate_api_key")))
                .collect()
        };
        same("the refused keys", &told(named), &told(first))?;
        same("the next poll", &expected, &poll)?;
        same(
            "whether it is loaded",
            &self.spec.is_loaded(),
            &self.filters.keys().is_some(),
        )?;
        let Some(keys) = self.filters.keys() else { return Ok(()) };
        let in_force = self.spec.in_force();
        same("how many are in force", &in_force.len(), &keys.in_force_count())?;
        same("how many are in force, counted", &in_force.len(), &keys.keys().count())?;
        for id in IDS {
            let key = in_force.iter().find(|(other, _)| other == id).map(|(_, key)| key);
            let limit = key.and_then(|key| key["rate_limit_per_minute"].as_u64());
            let got = keys
                .get(id)
                .and_then(|key| key.restrictions().limit())
                .map(|limit| u64::from(limit.get()));
            same(&format!("the form of {id:?} in force"), &limit, &got)?;
        }
        for raw in RAW_KEYS {
            let owner = in_force
                .iter()
                .find(|(_, key)| raw_keys(key).contains(&raw))
                .map(|(id, _)| id.clone());
            let got = keys
                .find_key(&KeyDigest::of(raw.as_bytes()))
                .map(|found| found.key().id().to_string());
            same(&format!("whose key {raw} is"), &owner, &got)?;
        }
        Ok(())
    }

    /// A few requests, and preflights of all origins, under what is in force.
    pub fn ask(&self, generator: &mut Generator, requests: usize) -> Result<(), String> {
        let effective = self.spec.effective_policy();
        let keys = effective["keys"].as_array().unwrap().iter().enumerate();
        let raw = keys.flat_map(|(number, key)| raw_keys(key).into_iter().map(move |raw| (number, raw.to_owned())));
        let written = Written {
            raw: raw.collect(),
            policy: effective.clone(),
        };
        let mut pair = Pair::new(&effective, InForce::new(&self.policy, self.filters.keys()));
        for now in generator.moments(requests) {
            let request = generator.request(&written, now);
            let answer = generator.answer();
            // Whose tokens they are is told by the feed.
            let carried = credentials::carried(&effective, &request.headers);
            if !self.spec.is_loaded() && carried.iter().any(|one| tokens::has_form(&one.bytes)) {
                continue;
            }
            pair.check(&request, &answer)
                .map_err(|wrong| format!("{wrong}\n{request:?}"))?;
        }
        for origin in ORIGINS.into_iter().chain(["https://nobody.test"]) {
            for (method, raw) in [
                ("OPTIONS", None),
                ("GET", Some("kEy-0")),
                ("GET", Some("unknown kEy")),
                ("GET", None),
            ] {
                let mut headers = vec![(":method", method), (":path", "/v1/x"), ("origin", origin)];
                headers.extend((method == "OPTIONS").then_some(("access-control-request-method", "GET")));
                let bearer = raw.map(|raw| format!("Bearer {raw}"));
                headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
                let headers = headers
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect();
                let request = Request {
                    headers,
                    source: Some("192.0.2.1:1234".to_owned()),
                    now: 1_800_000_600_000,
                };
                pair.check(&request, &Vec::new())
                    .map_err(|wrong| format!("{wrong}\n{request:?}"))?;
            }
        }
        Ok(())
    }
}

fn load(policy: &Value) -> Policy {
    let loaded = Policy::load(policy.to_string().as_bytes(), NOW);
    let loaded = loaded.map_err(|diagnostics| diagnostics.lines().map(|(_, line)| line).collect::<Vec<_>>());
    loaded.unwrap_or_else(|lines| panic!("{lines:#?}\n{policy:#}")).policy
}

fn same<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    match expected == got {
        true => Ok(()),
        false => Err(format!("{what}:\n  spec:   {expected:?}\n  filter: {got:?}")),
    }
}

fn check_feed(seed: u64) -> Result<(), String> {
    let mut generator = Generator::of_seed(seed);
    let mut server = Server::default();
    let policy = generator.feed_policy(&mut server);
    let mut both = Both::new(&policy);
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
