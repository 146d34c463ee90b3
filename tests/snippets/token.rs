//! Whether a token is good.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

/// What the policy has of a key, to verify its tokens.
#[derive(Debug, Clone, Copy)]
pub enum Verifier<'v> {
    Secret(&'v [u8]),
    /// Ed25519.
    PublicKey(&'v [u8]),
}

/// The claims of a token of the key `kid`, if it is valid now for a day at most.
///
/// The filter's own check takes this function's place: a policy with this key, and a request with this token.
pub fn accept(token: &str, kid: &str, verifier: Verifier<'_>) -> Result<Value, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(format!("{} parts", parts.len()));
    };
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let parse = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|error| error.to_string());
    let (head, signature) = (parse(header)?, decode(signature)?);
    let signed = [header, claims].join(".");
    let (algorithm, is_signed) = match verifier {
        Verifier::Secret(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            ("HS256", hmac::verify(&key, signed.as_bytes(), &signature).is_ok())
        }
        Verifier::PublicKey(key) => {
            let key = UnparsedPublicKey::new(&ED25519, key);
            ("EdDSA", key.verify(signed.as_bytes(), &signature).is_ok())
        }
    };
    if head["alg"] != algorithm || head["kid"] != kid || !head["crit"].is_null() {
        return Err(format!("the header is {head}"));
    }
    if !is_signed {
        return Err("the signature is wrong".into());
    }
    let claims = parse(claims)?;
    let (Some(issued), Some(end)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else {
        return Err(format!("the dates are missing in {claims}"));
    };
    if issued > now() + 60 || end <= now() || end - issued > 86_400 {
        return Err(format!("the dates are wrong in {claims}"));
    }
    Ok(claims)
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
