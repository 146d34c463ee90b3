//! What is measured: policies of any size, and requests to them.

#![allow(dead_code, reason = "each program uses its own part of this")]

use std::cell::RefCell;
use std::iter;
use std::num::NonZeroU32;

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::credential::Credential;
use keyfence_core::decision::rate::{RateStatus, peek};
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::scoped_token::Verdict;
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::{Outcome, Refusal, RequestContext, Unavailable};
use keyfence_core::policy::{Key, Policy};

/// 2026-07-01.
pub const NOW: Timestamp = Timestamp(1_782_864_000);

/// Requests are made with no more than this many of a policy's keys.
const CALLERS: usize = 16_384;

/// A policy of this many keys, each with three origins and two networks of its own.
pub fn policy_text(keys: usize) -> String {
    let keys: Vec<String> = (0..keys).map(key).collect();
    format!("{{\"keys\": [\n{}\n]}}\n", keys.join(",\n"))
}

pub fn policy(keys: usize) -> Policy {
    load(&policy_text(keys))
}

/// The same, with keys that verify scoped tokens.
pub fn policy_with_tokens(keys: usize) -> Policy {
    let tokens = format!(
        r#""scoped_tokens": {{"secrets": ["{TOKEN_SECRET}"], "public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{TOKEN_PUBLIC_KEY}"}}]}}, "id":"#
    );
    load(&policy_text(keys).replace(r#""id":"#, &tokens))
}

fn load(text: &str) -> Policy {
    match Policy::load(text.as_bytes(), NOW) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{:?}", diagnostics.errors()),
    }
}

fn key(number: usize) -> String {
    let digest = KeyDigest::of(raw_key(number).as_bytes());
    let [exact, wildcard, port] = origins(number);
    let (high, low) = (number >> 8, number & 255);
    format!(
        r#"{{"id": "shop-{number:06}", "api_key": "{digest}", "allowed_origins": ["{exact}", "{wildcard}", "{port}"], "allowed_ips": ["{}.{}.{low}.0/24", "2001:db8:{high:x}:{low:x}::/64"]}}"#,
        10 + (high >> 8),
        high & 255,
    )
}

fn raw_key(number: usize) -> String {
    format!("ak_live_shop_{number:06}_9f8b1c2d3e4f")
}

/// The patterns of one key.
pub fn origins(number: usize) -> [String; 3] {
    [
        format!("https://shop-{number:06}.example"),
        format!("https://*.shop-{number:06}.example"),
        format!("https://staging.shop-{number:06}.test:8443"),
    ]
}

/// One kind of request. `{}` stands for the number of the key.
pub struct Kind {
    pub name: &'static str,
    pub method: &'static str,
    origin: &'static str,
    more: &'static [(&'static str, &'static str)],
    token: Option<Token>,
    pub outcome: Outcome,
}

/// What a request presents in place of the key.
struct Token {
    text: &'static str,
    is_remembered: bool,
}

pub const KINDS: [Kind; 5] = [
    Kind {
        name: "allowed, 6 headers",
        method: "GET",
        origin: "https://shop-{}.example",
        more: &[],
        token: None,
        outcome: Outcome::Allow,
    },
    Kind {
        name: "allowed, 20 headers",
        method: "GET",
        origin: "https://shop-{}.example",
        more: &FROM_A_BROWSER,
        token: None,
        outcome: Outcome::Allow,
    },
    Kind {
        name: "allowed by a wildcard",
        method: "GET",
        origin: "https://www.eu.shop-{}.example",
        more: &FROM_A_BROWSER,
        token: None,
        outcome: Outcome::Allow,
    },
    Kind {
        name: "denied",
        method: "GET",
        origin: "https://shop-{}.example.evil.example",
        more: &FROM_A_BROWSER,
        token: None,
        outcome: Outcome::Deny(Reason::OriginNotAllowed),
    },
    Kind {
        name: "preflight",
        method: "OPTIONS",
        origin: "https://shop-{}.example",
        more: &PREFLIGHT,
        token: None,
        outcome: Outcome::Preflight,
    },
];

/// Requests of one token, to a [`policy_with_tokens`].
pub const TOKEN_KINDS: [Kind; 3] = [
    Kind {
        name: "token, remembered",
        token: Some(Token {
            text: HS256,
            is_remembered: true,
        }),
        ..KINDS[0]
    },
    Kind {
        name: "token, first sight, HS256",
        token: Some(Token {
            text: HS256,
            is_remembered: false,
        }),
        ..KINDS[0]
    },
    Kind {
        name: "token, first sight, EdDSA",
        token: Some(Token {
            text: EDDSA,
            is_remembered: false,
        }),
        ..KINDS[0]
    },
];

/// Of the key 0, issued at [`NOW`] for an hour, with `sub` and `filter`.
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InNob3AtMDAwMDAwIn0.eyJpYXQiOjE3ODI4NjQwMDAsImV4cCI6MTc4Mjg2NzYwMCwic3ViIjoidXNlci0wMDAwMDEiLCJmaWx0ZXIiOiJ0ZW5hbnRfaWQ9NyJ9.sMP3Jmzsuf55l9H40bWzWHeHKLwA36fxBx-6xXV5vYQ";
const EDDSA: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6InNob3AtMDAwMDAwIn0.eyJpYXQiOjE3ODI4NjQwMDAsImV4cCI6MTc4Mjg2NzYwMCwic3ViIjoidXNlci0wMDAwMDEiLCJmaWx0ZXIiOiJ0ZW5hbnRfaWQ9NyJ9.1phNKR96jKJ5077jc3r0qdcYCJF1RYszVfnAad5afCOxDDqXRi-Z_NDL5_W_TJjZDSZ2pb_E9jtnwqfq1zToAw";
const TOKEN_SECRET: &str = "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4";
const TOKEN_PUBLIC_KEY: &str = "aASPlhWDHuMHNIkvnjS6MzZLf7Kjjt8jtuVcwXeiEzE";

/// What a page's `fetch` sends beside method, path, host, scheme, key and origin.
const FROM_A_BROWSER: [(&str, &str); 14] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("accept", "application/json"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/"),
    ("sec-ch-ua", "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "cross-site"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "7c0f1a52-8a3c-4c5e-9d0e-2f6f1b1f5c11"),
];

const PREFLIGHT: [(&str, &str); 8] = [
    ("access-control-request-method", "GET"),
    ("access-control-request-headers", "authorization"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    ),
    ("accept", "*/*"),
    ("sec-fetch-mode", "cors"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "7c0f1a52-8a3c-4c5e-9d0e-2f6f1b1f5c11"),
];

/// Who sends a request: a key, and the page and the address it is used from.
pub struct Caller {
    authorization: String,
    pub origin: String,
    address: String,
    /// `None`: of a token, which has to be hashed anyway where it is verified.
    digest: Option<KeyDigest>,
    tokens: Option<RefCell<TokenCache>>,
}

impl Caller {
    /// The same request, its key's digest known already: hashing takes another number of instructions on each kind of processor.
    pub fn hashed<'r>(&self, mut head: Head<'r>) -> Head<'r> {
        if let (Credential::One(presented), Some(digest)) = (head.credential, self.digest) {
            head.credential = Credential::One(presented.with_digest(digest));
        }
        head
    }
}

/// The address is parsed for each request, as it is from Envoy's property.
impl RequestContext for Caller {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        Ok(SourceAddress::parse(self.address.as_bytes()))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(NOW)
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.tokens.as_ref()?.borrow_mut().good(PolicyId(1), text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens.as_ref()?.borrow_mut().bad(PolicyId(1), digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        if let Some(tokens) = &self.tokens {
            tokens.borrow_mut().insert(PolicyId(1), text, digest, verdict);
        }
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        self.peek(key, limit).map_err(|Unavailable| Refusal::Unavailable)
    }

    fn peek(&self, _key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }

    fn admit_client(&self, key: Option<&Key>, _client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        self.admit(key, limit)
    }

    fn peek_client(&self, key: Option<&Key>, _client: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        self.peek(key, limit)
    }
}

impl Kind {
    /// Senders with the keys of a policy that has this many, none twice, and none near the one before.
    pub fn callers(&self, keys: usize) -> Vec<Caller> {
        // A prime that divides no number of keys that is measured, so that every key has its turn.
        const STRIDE: usize = 61_441;
        let callers = if self.token.is_some() { 1 } else { keys.min(CALLERS) };
        let numbers = (0..callers).map(|turn| turn * STRIDE % keys);
        numbers.map(|number| self.caller(number)).collect()
    }

    fn caller(&self, number: usize) -> Caller {
        let (high, low) = (number >> 8, number & 255);
        Caller {
            authorization: match &self.token {
                Some(token) => format!("Bearer {}", token.text),
                None => format!("Bearer {}", raw_key(number)),
            },
            origin: self.origin.replace("{}", &format!("{number:06}")),
            address: format!("{}.{}.{low}.7:51234", 10 + (high >> 8), high & 255),
            digest: match self.token {
                Some(_) => None,
                None => Some(KeyDigest::of(raw_key(number).as_bytes())),
            },
            tokens: self
                .token
                .as_ref()
                .filter(|token| token.is_remembered)
                .map(|_| RefCell::default()),
        }
    }

    /// The headers, with places for what each caller has of its own. A preflight carries no key.
    pub fn request(&self) -> Request<'static> {
        let is_preflight = self.outcome == Outcome::Preflight;
        let head = [
            ("origin", ""),
            (":method", self.method),
            (":path", "/v1/indexes/products/search?q=shoes"),
            (":authority", "api.example.com"),
            (":scheme", "https"),
        ];
        let key = iter::once(("authorization", "")).filter(|_| !is_preflight);
        let headers = head.into_iter().chain(self.more.iter().copied()).chain(key);
        Request {
            headers: headers
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect(),
            carries_key: !is_preflight,
        }
    }
}

/// The headers of one request after the other.
pub struct Request<'r> {
    pub headers: Vec<(&'r [u8], &'r [u8])>,
    carries_key: bool,
}

impl<'r> Request<'r> {
    /// Makes it the request of `caller`.
    pub fn come_from(&mut self, caller: &'r Caller) {
        if let Some(origin) = self.headers.first_mut() {
            origin.1 = caller.origin.as_bytes();
        }
        if let Some(key) = self.headers.last_mut().filter(|_| self.carries_key) {
            key.1 = caller.authorization.as_bytes();
        }
    }

    pub fn read(&self, policy: &Policy) -> Head<'r> {
        Head::read(policy, self.headers.iter().copied())
    }
}
