//! Whether a token is good.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::scoped_token::Unverified;
use keyfence_core::policy::Policy;
use ring::hmac;
use serde_json::{Value, json};

/// What the policy has of a key, to verify its tokens.
#[derive(Debug, Clone, Copy)]
pub enum Verifier<'v> {
    Secret(&'v [u8]),
    /// Ed25519.
    PublicKey(&'v [u8]),
}

/// The claims of a token of the key `kid`, if a policy with this verifier takes it now.
pub fn accept(token: &str, kid: &str, verifier: Verifier<'_>) -> Result<Value, String> {
    let scoped_tokens = match verifier {
        Verifier::Secret(secret) => json!({"secrets": [BASE64_URL_SAFE_NO_PAD.encode(secret)]}),
        Verifier::PublicKey(key) => {
            let x = BASE64_URL_SAFE_NO_PAD.encode(key);
            json!({"public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})
        }
    };
    let policy = json!({"keys": [{"id": kid, "scoped_tokens": scoped_tokens}]});
    let loaded = Policy::load(policy.to_string().as_bytes(), Timestamp(now()));
    let policy = loaded
        .map_err(|diagnostics| format!("{:?}", diagnostics.errors()))?
        .policy;
    let verified = Unverified::read((&policy).into(), token, Timestamp(now())).and_then(Unverified::verify);
    verified.map_err(|error| error.to_string())?;
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(claims)
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&claims).map_err(|error| error.to_string())
}

/// A token with this header and these claims.
pub fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encoded = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = encoded.join(".");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}
