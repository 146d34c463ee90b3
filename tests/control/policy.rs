//! Keys and files for the tests.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// A key with a digest of its own.
pub fn key(id: &str) -> Value {
    json!({"id": id, "api_key": digest(id), "kind": "secret"})
}

/// The `sha256:` form of a key that nobody knows.
pub fn digest(id: &str) -> String {
    let hex: String = id.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex:0>64}")
}

/// A policy with these keys.
pub fn policy(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// Writes a file, and moves it into place.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
