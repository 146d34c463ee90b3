//! The policy that all contenders enforce: so many keys, each with three origins and two networks of its own.

use std::sync::OnceLock;
use std::time::SystemTime;

use keyfence_core::config::api_key::KeyDigest;
use serde_json::{Value, json};

use crate::contender::{Algorithm, Credential, Limit};
use crate::harness::token::{self, OTHER_SECRET, OTHER_SEED, SECRET, SEED, Signer, base64url, jwk_x};

pub const KEY_HEADER: &str = "X-API-Key";

/// The key of this number.
pub fn key(number: usize) -> String {
    format!("ak_bench_{number:023}")
}

pub fn id(number: usize) -> String {
    format!("key-{number}")
}

/// What it may be used from: these hosts, and all below the second.
pub fn origins(number: usize) -> [String; 3] {
    [
        format!("https://app{number}.example"),
        format!("https://*.app{number}.example"),
        "http://localhost:3000".to_owned(),
    ]
}

/// Address and length of the prefix.
pub fn networks(number: usize) -> [(String, u8); 2] {
    let (high, low) = (number >> 16, number & 0xffff);
    [
        ("127.0.0.0".to_owned(), 8),
        (format!("2001:db8:{high:x}:{low:x}::"), 64),
    ]
}

/// All of it as keyfence takes it.
pub fn keyfence(keys: usize) -> Value {
    let keys: Vec<Value> = (0..keys)
        .map(|number| {
            json!({
                "id": id(number),
                "api_key": KeyDigest::of(key(number).as_bytes()).to_string(),
                "allowed_origins": origins(number),
                "allowed_ips": networks(number).map(|(address, length)| format!("{address}/{length}")),
            })
        })
        .collect();
    json!({"key_sources": [{"header": KEY_HEADER}], "keys": keys})
}

/// The least that a policy can ask: one key, from anywhere.
pub fn lean() -> Value {
    let mut policy = keyfence(1);
    policy["keys"][0]["allowed_origins"] = json!([]);
    policy["keys"][0]["allowed_ips"] = json!([]);
    policy["security_headers"] = json!({"preset": "none"});
    policy
}

/// One key that verifies tokens of both kinds.
pub fn scoped() -> Value {
    let mut policy = keyfence(1);
    policy["keys"][0]["scoped_tokens"] = json!({
        "secrets": [base64url(SECRET)],
        "public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": jwk_x(SEED)}],
    });
    policy
}

/// What the request of this number presents to [`scoped`].
pub fn credential(kind: Credential, number: usize) -> String {
    match kind {
        Credential::Key => key(0),
        Credential::UnknownKey => key(number + 1),
        Credential::Token(algorithm) => token(algorithm, 0, true),
        Credential::NewToken(algorithm) => token(algorithm, number, true),
        Credential::ForgedToken(algorithm) => token(algorithm, number, false),
    }
}

/// A token of the user of this number. A forged one is signed too, but by somebody else: random bytes are mostly no signature at all.
fn token(algorithm: Algorithm, user: usize, is_good: bool) -> String {
    static NOW: OnceLock<u64> = OnceLock::new();
    let now = NOW.get_or_init(|| {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        time.unwrap().as_secs()
    });
    let signer = match (algorithm, is_good) {
        (Algorithm::Hs256, true) => Signer::Secret(SECRET),
        (Algorithm::Hs256, false) => Signer::Secret(OTHER_SECRET),
        (Algorithm::EdDsa, true) => Signer::Seed(SEED),
        (Algorithm::EdDsa, false) => Signer::Seed(OTHER_SEED),
    };
    token::token(
        &format!(r#"{{"alg":"{}","typ":"JWT","kid":"{}"}}"#, algorithm.name(), id(0)),
        &format!(
            r#"{{"iat":{now},"exp":{},"sub":"user-{user:06}","filter":"tenant_id=7"}}"#,
            now + 86_400
        ),
        signer,
    )
}

/// One key with a limit that no measurement uses up.
pub fn limited(limit: Limit) -> Value {
    let mut policy = keyfence(1);
    let field = match limit {
        Limit::None => return policy,
        Limit::Whole => "rate_limit_per_minute",
        Limit::PerClient => "rate_limit_per_minute_per_client",
    };
    policy["keys"][0][field] = 1_000_000_000.into();
    policy
}

/// The headers that keyfence's default preset sets.
pub const SECURITY_HEADERS: [(&str, &str); 6] = [
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains; preload",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("content-security-policy", "default-src 'self'"),
];

pub const EXPOSE_HEADERS: &str = "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset";
