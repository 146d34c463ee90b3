//! What the fuzz targets share: the second reading of the specification, to hold the filter against, and the maker of scoped tokens.

#![allow(dead_code)]

#[path = "../reference/compare.rs"]
pub mod compare;
#[path = "../reference/feed_pair.rs"]
pub mod feed_pair;
#[path = "../reference/generate/mod.rs"]
pub mod generate;
#[path = "../reference/spec/mod.rs"]
pub mod spec;
#[path = "../reference/subject.rs"]
pub mod subject;
#[path = "../harness/token.rs"]
pub mod token;

use std::sync::OnceLock;

use serde_json::Value;
use token::{OTHER_SECRET, OTHER_SEED, SECRET, SEED, Signer, base64url, good, jwk_x};

/// The policies of a file, with the secrets and public keys of the maker where they are named.
pub fn policies(text: &str) -> Vec<Value> {
    let named = [
        ("{SECRET}", base64url(SECRET)),
        ("{OTHER_SECRET}", base64url(OTHER_SECRET)),
        ("{SEED}", jwk_x(SEED)),
        ("{OTHER_SEED}", jwk_x(OTHER_SEED)),
    ];
    let text = named
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    serde_json::from_str(&text).expect("it is JSON")
}

/// The text with a good token in place of each `<kid claims>`, signed with the secret, or with the seed where the claims end in `$`.
pub fn with_tokens(text: &str, now: i64) -> String {
    let mut parts = text.split('<');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((token, rest)) = part.split_once('>') else {
            written.extend(["<", part]);
            continue;
        };
        let (kid, claims) = token.split_once(' ').unwrap_or((token, ""));
        let token = match claims.strip_suffix('$') {
            Some(claims) => good(kid, now, claims, Signer::Seed(SEED)),
            None => good(kid, now, claims, Signer::Secret(SECRET)),
        };
        written.extend([&token, rest]);
    }
    written
}

/// Whether any key has tokens.
pub fn knows_tokens(policy: &Value) -> bool {
    let mut keys = policy["keys"].as_array().into_iter().flatten();
    keys.any(|key| key.get("scoped_tokens").is_some())
}

/// The policies of `policies.json`.
pub fn common_policies() -> &'static [Value] {
    static POLICIES: OnceLock<Vec<Value>> = OnceLock::new();
    POLICIES.get_or_init(|| policies(include_str!("policies.json")))
}
