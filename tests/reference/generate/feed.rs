//! Answers of a feed: of a server that does what it should, with mistakes now and then.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Generator;
use crate::spec::feed::{Feed, digests};

pub const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
pub const RAW_KEYS: [&str; 7] = ["kEy-0", "kEy-1", "kEy-2", "kEy-3", "kEy-4", "kEy-5", "kEy-6"];
pub const ORIGINS: [&str; 4] = ["https://a.test", "https://b.test", "https://x.c.test", "null"];
const PATTERNS: [&str; 5] = ["https://a.test", "https://b.test", "https://*.c.test", "null", "*"];
const SCOPES: [&str; 3] = ["read", "write", "search"];
const HEADERS: [&str; 2] = ["X-Plan", "X-Tier"];

/// What happens to the feed of one VM next.
#[derive(Clone, Debug)]
pub enum Step {
    /// The body of an answer with status 200.
    Answer(Vec<u8>),
    /// No answer, or one with another status.
    Failure,
    /// A new policy.
    Policy(Value),
}

/// The server.
#[derive(Debug, Default)]
pub struct Server {
    epoch: u32,
    revision: u64,
    /// By id.
    keys: BTreeMap<String, Value>,
    /// Ids changed since the last answer that was sent whole.
    changed: Vec<String>,
    /// Pages that are still to be sent.
    pages: Vec<Value>,
    /// Each form of a key has a limit of its own, by which it is known.
    serial: u64,
}

fn digest(raw: &str) -> String {
    let hex: String = Sha256::digest(raw).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The `x` of a public key.
fn public_key(number: u8) -> String {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    let of_seed = |number: u8| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
        URL_SAFE_NO_PAD.encode(pair.public_key())
    };
    KEYS.get_or_init(|| (0..8).map(of_seed).collect())[usize::from(number)].clone()
}

impl Generator {
    /// A policy with a feed, and few keys of its own.
    pub fn feed_policy(&mut self, server: &mut Server) -> Value {
        let mut ids = IDS.to_vec();
        let mut raw = RAW_KEYS.to_vec();
        self.0.shuffle(&mut ids);
        self.0.shuffle(&mut raw);
        let keys: Vec<Value> = (0..[0, 0, 1, 1, 2][self.0.usize(..5)])
            .map(|number| {
                let id = if self.one_in(3) { "own" } else { ids[number] };
                let id = if number == 1 { ids[number] } else { id };
                server.serial += 1;
                let mut key =
                    json!({"id": id, "api_key": digest(raw[number]), "rate_limit_per_minute": 1000 + server.serial});
                if self.one_in(2) {
                    key["allowed_origins"] = json!([self.pick(&PATTERNS)]);
                }
                match self.0.u32(..8) {
                    0 => key["scoped_tokens"] = json!({"secrets": [public_key(1)]}),
                    1 => {
                        key["scoped_tokens"] =
                            json!({"public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": public_key(2)}]})
                    }
                    _ => {}
                }
                key
            })
            .collect();
        let scopes: Map<String, Value> = SCOPES
            .iter()
            .filter(|_| !self.one_in(3))
            .map(|name| ((*name).to_owned(), json!([{"methods": ["*"], "path": "/v1/**"}])))
            .collect();
        let headers: Vec<&str> = HEADERS.iter().copied().filter(|_| !self.one_in(3)).collect();
        json!({"keys": keys, "keys_from": {"cluster": "control"}, "scopes": scopes, "upstream_header_names": headers})
    }

    /// What happens next to a feed in this state.
    pub fn feed_step(&mut self, feed: &Feed, server: &mut Server) -> Step {
        match self.0.u32(..40) {
            0..4 => return Step::Policy(self.feed_policy(server)),
            4 => return Step::Failure,
            5 => return Step::Answer(self.not_an_answer()),
            _ => {}
        }
        if feed.cursor().is_none() || server.pages.is_empty() {
            self.change(server);
            server.pages = self.pages(feed, server);
        }
        let mut page = server.pages.remove(0);
        if self.one_in(12) {
            self.spoil_page(&mut page, feed);
            server.pages.clear();
        }
        let mut text = page.to_string();
        if self.one_in(40) {
            text = text.replacen(r#""set":"#, r#""other": {"set": [{"id": "a"}]}, "set":"#, 1);
        }
        if self.one_in(60) {
            text.truncate(self.0.usize(..text.len()));
        }
        Step::Answer(text.into_bytes())
    }

    fn not_an_answer(&mut self) -> Vec<u8> {
        let html = b"<!doctype html><title>Sign in</title>".to_vec();
        match self.0.u32(..7) {
            0 => html,
            1 => Vec::new(),
            2 => b"null".to_vec(),
            3 => b"[]".to_vec(),
            4 => b"\xff\xfe{}".to_vec(),
            5 => "[".repeat(300).into_bytes(),
            _ => vec![b' '; 262_145],
        }
    }

    /// What people do with the server's keys.
    fn change(&mut self, server: &mut Server) {
        if self.one_in(12) {
            server.epoch += 1;
            server.revision = self.0.u64(..3);
            server.changed.clear();
        }
        for _ in 0..self.0.usize(..4) {
            server.revision += 1;
            let id = self.pick(&IDS).to_owned();
            if self.one_in(4) {
                server.keys.remove(&id);
            } else if self.one_in(6)
                && let Some(other) = server.keys.keys().nth(self.0.usize(..6)).cloned()
                && server.keys[&other].is_object()
            {
                // The key itself moves to another id.
                let mut moved = server.keys[&other].clone();
                server.serial += 1;
                moved["id"] = id.clone().into();
                moved["rate_limit_per_minute"] = (1000 + server.serial).into();
                server.keys.insert(id.clone(), moved);
                if !self.one_in(4) {
                    server.keys.remove(&other);
                }
                server.changed.push(other);
            } else {
                let key = self.fed_key(&id, server);
                server.keys.insert(id.clone(), key);
            }
            server.changed.push(id);
        }
    }

    fn fed_key(&mut self, id: &str, server: &mut Server) -> Value {
        server.serial += 1;
        let mut key = json!({"id": id, "rate_limit_per_minute": 1000 + server.serial});
        // Keys of one id have one digest mostly, and others' now and then.
        let own = IDS.iter().position(|other| *other == id).unwrap_or(0);
        let raw = if self.one_in(3) {
            self.pick(&RAW_KEYS)
        } else {
            RAW_KEYS[own]
        };
        let entry = digest(raw);
        key["api_key"] = match self.0.u32(..8) {
            0 => json!([entry, {"key": digest("kEy-6"), "label": "new"}]),
            1 => json!([{"key": entry, "label": "old"}, digest(self.pick(&RAW_KEYS[..3]))]),
            2 => json!([entry]),
            3 => raw.into(),
            _ => entry.into(),
        };
        if self.one_in(2) {
            key["allowed_origins"] = json!([self.pick(&PATTERNS)]);
        }
        if self.one_in(3) {
            key["scopes"] = self.some(2, |generator| generator.pick(&SCOPES).to_owned()).into();
        }
        if self.one_in(5) {
            key["upstream_headers"] = json!({self.pick(&HEADERS): "gold"});
        }
        if self.one_in(5) {
            key["enabled"] = (self.one_in(4)).into();
        }
        let jwk = |number| json!({"kty": "OKP", "crv": "Ed25519", "x": public_key(number)});
        match self.0.u32(..24) {
            0 => key["scoped_tokens"] = json!({"secrets": [public_key(1)]}),
            1 => key["scoped_tokens"] = json!({"secrets": [public_key(2)]}),
            2 => key["scoped_tokens"] = json!({"public_keys": [jwk(1)]}),
            3 => key["scoped_tokens"] = json!({"public_keys": [jwk(2)], "secrets": [public_key(3)]}),
            4 => {
                key["scoped_tokens"] = json!({"secrets": [public_key(4)]});
                key.as_object_mut().unwrap().remove("api_key");
            }
            _ => {}
        }
        if self.one_in(6) {
            self.spoil_key(&mut key);
        }
        key
    }

    fn spoil_key(&mut self, key: &mut Value) {
        let (name, value) = match self.0.u32(..13) {
            0 => ("allowed_countries", json!(["CH"])),
            1 => ("api_key", json!({"key": digest("kEy-0"), "region": "eu"})),
            2 => ("scoped_tokens", json!({"secrets": [public_key(5)], "audience": "x"})),
            3 => ("api_key", json!("sha256:12")),
            4 => ("allowed_origins", json!(["https://a.test/"])),
            5 => ("enabled", json!("false")),
            6 => ("id", json!(7)),
            7 => ("id", json!("no id")),
            8 => ("rate_limit_per_minute", json!(0)),
            9 => ("api_key", json!([digest("kEy-1"), digest("kEy-1")])),
            10 => ("scopes", json!("read")),
            11 => {
                key.as_object_mut().unwrap().remove("id");
                return;
            }
            _ => {
                *key = json!([key.take()]);
                return;
            }
        };
        key[name] = value;
        if self.one_in(3) {
            key["enabled"] = false.into();
        }
    }

    /// A whole answer of a server that does what it should.
    fn pages(&mut self, feed: &Feed, server: &mut Server) -> Vec<Value> {
        let epoch = format!("epoch-{}", server.epoch);
        let complete = feed.after().is_none_or(|(after, _)| *after != epoch) || self.one_in(6);
        let ids: Vec<String> = if complete {
            server.keys.keys().cloned().collect()
        } else {
            let mut changed = server.changed.clone();
            changed.sort();
            changed.dedup();
            changed
        };
        let removed = ids.iter().filter(|id| !server.keys.contains_key(*id));
        let mut removed: Vec<Value> = removed.map(|id| id.as_str().into()).collect();
        let mut set: Vec<Value> = ids.iter().filter_map(|id| server.keys.get(id)).cloned().collect();
        self.0.shuffle(&mut set);
        if self.one_in(20) {
            removed.push(self.pick(&IDS).into());
        }
        if self.one_in(20) && !set.is_empty() {
            set.push(set[0].clone());
            let id = self.pick(&IDS).to_owned();
            set.push(self.fed_key(&id, server));
        }
        if !self.one_in(8) {
            server.changed.clear();
        }
        let page = |removed: Vec<Value>, set: Vec<Value>| json!({"epoch": epoch, "revision": server.revision, "complete": complete, "removed": removed, "set": set});
        let mut pages = Vec::new();
        while self.one_in(2) && removed.len() + set.len() > 1 {
            // Removals come first.
            let (cut, of_set) = (self.0.usize(..=removed.len()), self.0.usize(..=set.len()));
            if cut + of_set == 0 {
                continue;
            }
            pages.push(page(removed.drain(..cut).collect(), set.drain(..of_set).collect()));
        }
        pages.push(page(removed, set));
        let last = pages.len() - 1;
        for (number, page) in pages.iter_mut().enumerate() {
            let page = page.as_object_mut().unwrap();
            if number < last {
                page.insert("next".into(), format!("page-{}", number + 1).into());
            } else if self.one_in(2) {
                page.insert("next".into(), Value::Null);
            }
            for name in ["removed", "set"] {
                if page[name] == json!([]) && self.one_in(2) {
                    page.remove(name);
                }
            }
        }
        pages
    }

    /// One mistake.
    fn spoil_page(&mut self, page: &mut Value, feed: &Feed) {
        let revision = page["revision"].as_u64().unwrap();
        let (name, value) = match self.0.u32(..25) {
            0 => ("epoch", json!("another")),
            1 => ("epoch", json!("")),
            2 => ("epoch", json!("e".repeat(65))),
            3 => ("epoch", json!("with space")),
            4 => ("epoch", Value::Null),
            5 | 22..=24 => ("revision", json!(revision.saturating_sub(2))),
            6 => ("revision", json!(-1)),
            7 => ("revision", json!(revision as f64 + 0.5)),
            8 => ("revision", json!(revision as f64)),
            9 => ("revision", json!("1")),
            10 => ("revision", json!(1u64 << 60)),
            11 => ("complete", json!(!page["complete"].as_bool().unwrap())),
            12 => ("complete", json!("true")),
            13 => ("removed", json!("a")),
            14 => ("removed", json!(["a", 1])),
            15 => ("set", json!({})),
            16 => ("next", json!("")),
            17 => ("next", json!(3)),
            18 => ("next", feed.cursor().map_or(json!("page-1"), |cursor| json!(cursor))),
            19 => {
                page["removed"] = json!([]);
                page["set"] = json!([]);
                ("next", json!("for-ever"))
            }
            20 => {
                let name = self.pick(&["epoch", "revision", "complete"]);
                page.as_object_mut().unwrap().remove(name);
                return;
            }
            _ => ("server", json!({"version": 2})),
        };
        page[name] = value;
    }
}

/// The raw keys that a key's entries are of, of those that are tried.
pub fn raw_keys(key: &Value) -> Vec<&'static str> {
    static DIGESTS: OnceLock<Vec<(String, &str)>> = OnceLock::new();
    let all = DIGESTS.get_or_init(|| {
        let hex = |raw: &&'static str| (digest(raw)["sha256:".len()..].to_owned(), *raw);
        RAW_KEYS.iter().map(hex).collect()
    });
    let own = digests(key);
    all.iter()
        .filter(|(hex, _)| own.contains(hex))
        .map(|(_, raw)| *raw)
        .collect()
}
