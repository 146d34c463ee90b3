//! What happens to the feed of one VM, in both readings. In one of two forms:
//!
//! - `t`, then line by line: `p` and a number, a policy; `f`, a poll that fails; anything else is the body of an answer
//! - anything else: a program of bytes, see [`Program`]

#![no_main]

use std::sync::OnceLock;

use keyfence_core::config::read::UNKNOWN_FIELD;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use libfuzzer_sys::fuzz_target;
use reference::feed_pair::FeedPair;
use reference::generate::Generator;
use reference::generate::feed::{IDS, RAW_KEYS, Step};
use reference::spec::json::{Json, parse};
use reference::token::{SECRET, SEED, base64url, jwk_x};
use serde_json::{Map, Value, json};

const SCOPES: [&str; 3] = ["read", "write", "search"];
const HEADERS: [&str; 2] = ["X-Plan", "X-Tier"];
const PATTERNS: [&str; 4] = ["https://a.test", "https://*.c.test", "null", "*"];

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b't', text)) => run_text(text),
        _ => run_program(Program { rest: data, limit: 0 }),
    }
});

fn check(feed: &mut FeedPair, step: &Step, asks: bool) {
    let mut checked = feed.take(step);
    if asks {
        checked = checked.and_then(|()| feed.ask(&mut Generator::of_seed(1), 1));
    }
    if let Err(wrong) = checked {
        let told = match step {
            Step::Answer(body) => String::from_utf8_lossy(body).into_owned(),
            other => format!("{other:?}"),
        };
        panic!("{wrong}\nat {told}");
    }
}

fn run_text(text: &[u8]) {
    let mut feed = FeedPair::with(&policy_of(0), wrong);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').take(12).collect();
    for (number, line) in lines.iter().enumerate() {
        let step = match *line {
            [b'p', number] => Step::Policy(policy_of(*number)),
            b"f" => Step::Failure,
            body if is_readable(body) => Step::Answer(body.to_vec()),
            _ => return,
        };
        check(&mut feed, &step, number + 1 == lines.len());
    }
}

/// Whether the second reading can read it: it knows the JSON without members that come twice, the headers that policies list, and names of
/// scopes that a policy can have.
fn is_readable(body: &[u8]) -> bool {
    fn is_plain(json: &Json) -> bool {
        match json {
            Json::List(items) => items.iter().all(is_plain),
            Json::Object(members) => {
                let is_first = |at: usize| members[..at].iter().all(|(earlier, _)| *earlier != members[at].0);
                members.iter().all(|(_, value)| is_plain(value)) && (0..members.len()).all(is_first)
            }
            _ => true,
        }
    }
    let Some(json) = parse(body) else { return true };
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return true;
    };
    let mut keys = value["set"].as_array().into_iter().flatten();
    is_plain(&json)
        && keys.all(|key| {
            let headers = key["upstream_headers"].as_object();
            let mut scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let is_name =
                |name: &str| !name.is_empty() && name.len() < 16 && name.bytes().all(|byte| byte.is_ascii_lowercase());
            headers.is_none_or(|headers| headers.keys().all(|name| HEADERS.contains(&&**name))) && scopes.all(is_name)
        })
}

/// What the configuration says of it, whose reading is tested elsewhere.
fn wrong(key: &Value) -> Option<&'static str> {
    let scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let scopes: Map<String, Value> = scopes.map(|name| (name.to_owned(), rules())).collect();
    let policy =
        json!({"keys": [key], "keys_from": {"cluster": "c"}, "upstream_header_names": HEADERS, "scopes": scopes});
    let loaded = Policy::load(policy.to_string().as_bytes(), Timestamp(1_800_000_000));
    let diagnostics = loaded.err()?;
    let unknown = diagnostics
        .errors()
        .iter()
        .any(|error| error.message.reason == UNKNOWN_FIELD);
    Some(if unknown { "unknown_field" } else { "invalid_key" })
}

fn rules() -> Value {
    json!([{"methods": ["*"], "path": "/v1/**"}])
}

/// Bits: two of the scopes, one header, one key of its own of two kinds, its digest, its tokens.
fn policy_of(bits: u8) -> Value {
    let has = |bit: u8| bits >> bit & 1 == 1;
    let mut key = json!({"id": if has(4) { "a" } else { "own" }, "api_key": RAW_KEYS[usize::from(has(5))], "rate_limit_per_minute": 9_999});
    match bits >> 6 {
        1 => key["scoped_tokens"] = json!({"secrets": [x()]}),
        2 => key["scoped_tokens"] = json!({"public_keys": [jwk()]}),
        3 => key["allowed_origins"] = json!(["*"]),
        _ => {}
    }
    let scopes: Map<String, Value> = SCOPES
        .iter()
        .zip([true, has(0), has(1)])
        .filter(|(_, is_there)| *is_there)
        .map(|(name, _)| ((*name).to_owned(), rules()))
        .collect();
    json!({
        "keys": if has(3) { vec![key] } else { Vec::new() },
        "keys_from": {"cluster": "control"},
        "scopes": scopes,
        "upstream_header_names": if has(2) { &HEADERS[..] } else { &HEADERS[..1] },
    })
}

/// The public key of a seed, which as a secret everybody knows.
fn x() -> &'static str {
    static X: OnceLock<String> = OnceLock::new();
    X.get_or_init(|| jwk_x(SEED))
}

fn jwk() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": x()})
}

/// Each byte chooses something; behind the end all are 0.
struct Program<'d> {
    rest: &'d [u8],
    /// Each form of a key has a limit of its own.
    limit: u64,
}

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::from(self.byte()) % list.len()]
    }

    /// A page. Its first byte: whether it is complete, whether another follows, whether it is of another answer, and how many keys it has.
    fn page(&mut self, feed: &FeedPair) -> Value {
        let bits = self.byte();
        let after = feed.spec().after().cloned();
        let (epoch, revision) = after.unwrap_or(("0".to_owned(), 0));
        let is_first = feed.spec().cursor().is_none();
        // Pages of one answer agree, unless they are not to.
        let mut page = json!({
            "epoch": if bits & 0x30 == 0x30 { format!("{epoch}'") } else { epoch },
            "revision": if bits & 0x40 == 0 { revision + 1 } else { revision.saturating_sub(u64::from(bits & 0x20 > 0)) },
            "complete": bits & 1 == 1,
        });
        if bits & 2 == 2 {
            page["next"] = json!(format!("{}{}", if is_first { "" } else { "n" }, self.byte() % 3));
        }
        let removed = self.byte();
        let ids = IDS.iter().enumerate().filter(|(at, _)| removed >> at & 1 == 1);
        page["removed"] = ids.map(|(_, id)| *id).collect();
        page["set"] = (0..bits >> 2 & 3).map(|_| self.key()).collect();
        page
    }

    fn key(&mut self) -> Value {
        self.limit += 1;
        let bits = self.byte();
        let mut key = json!({"id": self.pick(&IDS), "rate_limit_per_minute": self.limit});
        key["api_key"] = match bits & 3 {
            0 | 1 => json!(self.pick(&RAW_KEYS)),
            2 => json!([self.pick(&RAW_KEYS), {"key": self.pick(&RAW_KEYS), "label": "new"}]),
            _ => json!([self.pick(&RAW_KEYS), self.pick(&RAW_KEYS), self.pick(&RAW_KEYS)]),
        };
        if bits & 4 > 0 {
            key["enabled"] = (bits & 8 > 0).into();
        }
        if bits & 0x10 > 0 {
            key["allowed_origins"] = json!([self.pick(&PATTERNS)]);
        }
        if bits & 0x20 > 0 {
            key["scopes"] = json!([self.pick(&SCOPES)]);
        }
        if bits & 0x40 > 0 {
            key["upstream_headers"] = json!({self.pick(&HEADERS): "gold"});
        }
        if bits & 0x80 > 0 {
            match self.byte() % 10 {
                0 => key["scoped_tokens"] = json!({"secrets": [x()]}),
                1 => key["scoped_tokens"] = json!({"public_keys": [jwk()]}),
                2 => key["scoped_tokens"] = json!({"secrets": [base64url(SECRET)]}),
                3 => key["scoped_tokens"] = json!({"public_keys": [jwk()], "secrets": [base64url(SECRET)]}),
                4 => key["new"] = json!(1),
                5 => key["rate_limit_per_minute"] = json!(0),
                6 => key["id"] = json!("no id"),
                7 => key["enabled"] = json!("false"),
                8 => key = json!(["no key"]),
                _ => key["scoped_tokens"] = json!({"secrets": [base64url(SECRET)], "new": 1}),
            }
        }
        key
    }
}

fn run_program(mut program: Program<'_>) {
    let mut feed = FeedPair::new(&policy_of(program.byte()));
    for _ in 0..24 {
        if program.rest.is_empty() {
            break;
        }
        let kind = program.byte();
        let step = match kind % 8 {
            0 => Step::Policy(policy_of(program.byte())),
            1 if kind & 8 > 0 => Step::Failure,
            _ => Step::Answer(program.page(&feed).to_string().into_bytes()),
        };
        check(&mut feed, &step, kind & 0xf0 == 0xf0 || program.rest.is_empty());
    }
}
