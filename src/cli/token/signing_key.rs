//! What signs a token: a secret of the policy, or a private key in a file.

use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey as PrivateKey};
use hmac::{Hmac, KeyInit, Mac};
use keyfence_core::config::scoped_tokens::TokenSecret;
use serde_json::Value;
use sha2::Sha256;

use crate::{Failure, key_input};

pub enum SigningKey<'k> {
    /// For `HS256`.
    Secret(&'k TokenSecret),
    /// For `EdDSA`.
    Private(Box<PrivateKey>),
}

impl SigningKey<'_> {
    /// Reads an Ed25519 private key: PEM (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it), or a JSON Web Key with `d`.
    pub fn read(path: &Path) -> Result<SigningKey<'static>, Failure> {
        let text = key_input::read_key(path)?;
        let private = PrivateKey::from_pkcs8_pem(&text).ok().or_else(|| of_jwk(&text));
        match private {
            Some(private) => Ok(SigningKey::Private(Box::new(private))),
            None => Err(Failure(format!(
                "{}: this is not an Ed25519 private key; give it as PEM, or as a JSON Web Key with d",
                path.display()
            ))),
        }
    }

    /// The `alg` of the token's header.
    pub fn algorithm(&self) -> &'static str {
        match self {
            SigningKey::Secret(_) => "HS256",
            SigningKey::Private(_) => "EdDSA",
        }
    }

    /// The token of this header and these claims, in the compact form (RFC 7515, section 7.1).
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, Failure> {
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match self {
            SigningKey::Secret(secret) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).map_err(Failure::new)?;
                mac.chain_update(&message).finalize().into_bytes().to_vec()
            }
            SigningKey::Private(private) => private.sign(message.as_bytes()).to_vec(),
        };
        Ok(format!("{message}.{}", Base64UrlUnpadded::encode_string(&signature)))
    }
}

/// The private key of a JSON Web Key (RFC 8037, section 2).
fn of_jwk(text: &str) -> Option<PrivateKey> {
    let jwk: Value = serde_json::from_str(text).ok()?;
    let member = |name: &str| jwk.get(name)?.as_str();
    let is_ed25519 = member("kty") == Some("OKP") && member("crv") == Some("Ed25519");
    let d = Base64UrlUnpadded::decode_vec(member("d").filter(|_| is_ed25519)?).ok()?;
    Some(PrivateKey::from_bytes(&d.try_into().ok()?))
}
