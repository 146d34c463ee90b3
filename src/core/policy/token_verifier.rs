//! Verifies the signatures of scoped tokens with the secrets and the public keys of one key.

use ed25519_dalek::Signature;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::allocator::{OVERHEAD, table_bytes};
use crate::config::api_key::KeyDigest;
use crate::config::scoped_tokens::{PublicKey, ScopedTokens, TokenSecret};
use crate::config::timestamp::Timestamp;

/// What verifies the scoped tokens of one key, and how long they may live.
#[derive(Debug)]
pub struct TokenVerifier {
    /// HMAC, already keyed, so that a request does not hash the secret.
    secrets: Box<[Hmac<Sha256>]>,
    public_keys: Box<[PublicKey]>,
    /// The most seconds between `iat` and `exp`.
    pub(crate) max_lifetime: u32,
    /// Tokens that were issued earlier are refused.
    pub(crate) not_before: Option<Timestamp>,
}

/// How a token is signed (RFC 7515, section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `HS256`: HMAC with SHA-256 (RFC 7518, section 3.2).
    Hs256,
    /// `EdDSA` (RFC 8037, section 3.1) with Ed25519, or `Ed25519`, the newer name for the same (RFC 9864, section 2.2).
    EdDsa,
}

impl Algorithm {
    /// The algorithm of this name. `None` for `none` and all others.
    pub fn named(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    /// The bytes of a signature.
    fn signature_length(self) -> usize {
        match self {
            Algorithm::Hs256 => 32,
            Algorithm::EdDsa => 64,
        }
    }
}

impl TokenVerifier {
    /// Of what the configuration has for one key.
    pub fn new(tokens: &ScopedTokens) -> TokenVerifier {
        TokenVerifier {
            secrets: tokens.secrets.iter().filter_map(TokenSecret::hmac).collect(),
            public_keys: tokens.public_keys.as_slice().into(),
            max_lifetime: tokens.max_lifetime_seconds,
            not_before: tokens.not_before,
        }
    }

    /// Whether any key for this algorithm exists and the signature has the right length. It costs next to nothing, so it comes before
    /// [`Self::verify`].
    pub fn may_verify(&self, algorithm: Algorithm, signature: &[u8]) -> bool {
        let has_key = match algorithm {
            Algorithm::Hs256 => !self.secrets.is_empty(),
            Algorithm::EdDsa => !self.public_keys.is_empty(),
        };
        has_key && signature.len() == algorithm.signature_length()
    }

    /// Whether one of the keys for this algorithm verifies the signature of `message`. A secret verifies `HS256` only and a public key
    /// `EdDSA` only, so that nobody can sign with a public key as the secret.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match algorithm {
            Algorithm::Hs256 => self.secrets.iter().any(|secret| {
                let mac = secret.clone().chain_update(message);
                mac.verify_slice(signature).is_ok()
            }),
            Algorithm::EdDsa => Signature::from_slice(signature).is_ok_and(|signature| {
                let mut keys = self.public_keys.iter();
                // Strict: one signature has one form, and no point of small order verifies anything.
                keys.any(|PublicKey(key)| key.verify_strict(message, &signature).is_ok())
            }),
        }
    }
}

/// An upper bound on the bytes that the verifiers of `parents` keys take besides themselves. They have `keys` secrets and public keys, of
/// `bytes` bytes of text while they are read.
pub fn bytes_for(parents: usize, keys: usize, bytes: usize) -> usize {
    let of_key = size_of::<PublicKey>().max(size_of::<Hmac<Sha256>>()) + 2 * OVERHEAD;
    parents * 2 * OVERHEAD + keys * of_key + bytes
}

/// A secret or a public key of tokens, by its digest.
#[derive(Debug, Clone, Copy)]
pub struct KnownTokenKey {
    /// The SHA-256 of its bytes.
    pub digest: KeyDigest,
    /// The index in the configuration of the first key that has it.
    pub key: usize,
    /// Whether it is a secret there.
    pub is_secret: bool,
}

/// An upper bound on the bytes of a table of this number of secrets and public keys.
pub fn bytes_of_table(keys: usize) -> usize {
    table_bytes::<KnownTokenKey>(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding};

    fn verifier() -> TokenVerifier {
        TokenVerifier::new(&ScopedTokens {
            // RFC 7515, appendix A.1.
            secrets: vec![
                TokenSecret::parse(&"A".repeat(43)).unwrap(),
                TokenSecret::parse(
                    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
                )
                .unwrap(),
            ],
            // RFC 8037, appendix A.2.
            public_keys: vec![PublicKey::parse("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap()],
            max_lifetime_seconds: 1,
            not_before: None,
        })
    }

    #[test]
    fn signatures_of_the_rfcs() {
        use Algorithm::*;
        let rfc_7515 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                        cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mac = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let rfc_8037 = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        for (name, algorithm, message, signature, expected) in [
            ("RFC 7515, A.1", Hs256, rfc_7515, mac, true),
            ("another message", Hs256, rfc_8037, mac, false),
            ("the other algorithm", EdDsa, rfc_7515, mac, false),
            ("cut", Hs256, rfc_7515, &mac[..42], false),
            ("RFC 8037, A.4", EdDsa, rfc_8037, signature, true),
            ("another message", EdDsa, rfc_7515, signature, false),
            ("the other algorithm", Hs256, rfc_8037, signature, false),
            ("cut", EdDsa, rfc_8037, &signature[..84], false),
        ] {
            let signature = Base64UrlUnpadded::decode_vec(signature).unwrap_or_default();
            let verifier = verifier();
            let found = verifier.may_verify(algorithm, &signature)
                && verifier.verify(algorithm, message.as_bytes(), &signature);
            assert_eq!(found, expected, "{name} {algorithm:?}");
            assert_eq!(
                verifier.verify(algorithm, message.as_bytes(), &signature),
                expected,
                "{name}"
            );
        }
    }

    /// Adding the order of the group to S gives a second signature for the same message, where S is not checked (RFC 8032, section 5.1.7).
    #[test]
    fn a_signature_has_one_form() {
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let mut signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, addend) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + addend + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!verifier().verify(Algorithm::EdDsa, message, &signature));
    }
}
