//! Makes scoped tokens, good and bad ones, with another library than the filter verifies them with.

#![allow(dead_code, reason = "each test uses a part of it")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// Who signs a token.
#[derive(Clone, Copy)]
pub enum Signer {
    /// `HS256` with this secret.
    Secret(&'static [u8]),
    /// `EdDSA` with the key pair of this seed.
    Seed(&'static [u8; 32]),
    /// Nobody: the signature is empty.
    Nobody,
}

pub const SECRET: &[u8] = b"a secret of thirty-two bytes....";
pub const OTHER_SECRET: &[u8] = b"another one of thirty-two bytes.";
pub const SEED: &[u8; 32] = b"a seed of 32 bytes, for Ed25519.";
pub const OTHER_SEED: &[u8; 32] = b"another seed of 32 bytes here...";

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public key of a seed.
pub fn public_key(seed: &[u8; 32]) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    pair.public_key().as_ref().to_vec()
}

/// The `x` of the public key's JSON Web Key.
pub fn jwk_x(seed: &[u8; 32]) -> String {
    base64url(public_key(seed))
}

impl Signer {
    pub fn sign(self, message: &[u8]) -> Vec<u8> {
        match self {
            Signer::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Signer::Seed(seed) => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
                pair.sign(message).as_ref().to_vec()
            }
            Signer::Nobody => Vec::new(),
        }
    }
}

/// A token of the texts of its header and its claims.
pub fn token(header: &str, claims: &str, signer: Signer) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signature = base64url(signer.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token for the key `kid`, issued at `now` and valid for a minute, with further claims such as `"sub":"alice"`.
pub fn good(kid: &str, now: i64, further: &str, signer: Signer) -> String {
    let alg = match signer {
        Signer::Secret(_) => "HS256",
        Signer::Seed(_) => "EdDSA",
        Signer::Nobody => "none",
    };
    let comma = if further.is_empty() { "" } else { "," };
    token(
        &format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#),
        &format!(r#"{{"iat":{now},"exp":{}{comma}{further}}}"#, now + 60),
        signer,
    )
}
