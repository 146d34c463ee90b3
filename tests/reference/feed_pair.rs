//! The feed of one VM in both readings, step by step: what differs.

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::feed;
use keyfence_core::policy::Policy;
use keyfence_core::policy::in_force::InForce;
use serde_json::{Value, json};

use crate::compare::Pair;
use crate::generate::feed::{IDS, ORIGINS, RAW_KEYS, Step, raw_keys};
use crate::generate::{Generator, Written};
use crate::spec::decision::Request;
use crate::spec::feed::{Feed, Outcome, Wrong};
use crate::spec::{credentials, tokens};

const NOW: Timestamp = Timestamp(1_800_000_000);

/// One VM's feed, in both readings.
pub struct FeedPair {
    spec: Feed,
    filters: feed::Feed,
    policy: Policy,
}

impl FeedPair {
    pub fn new(policy: &Value) -> FeedPair {
        Self::of(policy, Feed::new(policy))
    }

    /// With another way to see what is wrong with a key.
    #[allow(dead_code, reason = "for the fuzz target")]
    pub fn with(policy: &Value, wrong: Wrong) -> FeedPair {
        Self::of(policy, Feed::with(policy, wrong))
    }

    fn of(policy: &Value, spec: Feed) -> FeedPair {
        FeedPair {
            spec,
            filters: feed::Feed::new("0123456789abcdef0123456789abcdef"),
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
        let own: Vec<(&String, Vec<&str>)> = in_force.iter().map(|(id, key)| (id, raw_keys(key))).collect();
        for raw in RAW_KEYS {
            let owner = own
                .iter()
                .find(|(_, own)| own.contains(&raw))
                .map(|(id, _)| (*id).clone());
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
