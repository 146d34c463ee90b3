//! The policy that all contenders enforce: so many keys, each with three origins and two networks of its own.

use keyfence_core::config::api_key::KeyDigest;
use serde_json::{Value, json};

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
