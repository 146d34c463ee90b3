//! The bearer token that gateways send.

use std::fmt;

use sha2::{Digest, Sha256};

/// The digest of a token. Digests are compared, so the time of a comparison tells nothing about the token.
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

/// The fewest bytes of a token.
const MIN_LENGTH: usize = 16;

/// The most bytes of a token: those that the filter sends.
const MAX_LENGTH: usize = 4096;

/// Does not show the digest either.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token of at least 16 characters that a bearer token may have (RFC 6750, section 2.1). The error says why it is not one; it does not
    /// show it.
    pub fn new(text: &str) -> Result<Token, &'static str> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        if text.len() < MIN_LENGTH {
            return Err("has fewer than 16 characters; make one with: openssl rand -hex 32");
        }
        if text.len() > MAX_LENGTH {
            return Err("has more than 4096 characters");
        }
        let body = text.trim_end_matches('=');
        if body.is_empty() || !body.bytes().all(is_allowed) {
            return Err("has other characters than letters, digits and -._~+/=");
        }
        Ok(Token(Sha256::digest(text).into()))
    }

    /// Whether an `Authorization` header carries the token.
    pub fn is_in(&self, authorization: &[u8]) -> bool {
        let Some((scheme, token)) = authorization.split_at_checked("Bearer ".len()) else {
            return false;
        };
        let found: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"Bearer ") && found == self.0
    }
}
