//! Why a scoped token is refused.

use std::fmt;

use super::reason::Reason;

/// Why a token is refused. Clients are told no more than its [`TokenError::reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is not three parts of base64url.
    Malformed,
    /// The header is not a JSON object, or has a name twice.
    Header,
    /// The header has `crit`.
    Critical,
    /// `alg` is none of `HS256`, `EdDSA` and `Ed25519`.
    Algorithm,
    /// `kid` is not the id of a key with scoped tokens.
    Parent,
    /// The key verifies nothing with this `alg`, or the signature has another length.
    SignatureForm,
    /// The claims are not a JSON object, or have a name twice.
    Claims,
    /// This claim is missing, or is not what it must be.
    Claim(&'static str),
    /// `exp` is too long after `iat`.
    Lifetime,
    /// It was issued before the `not_before` of the key's scoped tokens.
    Revoked,
    /// `iat` or `nbf` is too far ahead.
    NotYetValid,
    /// `exp` is past.
    Expired,
    /// The signature is wrong.
    Signature,
}

impl TokenError {
    /// What the client is told.
    pub fn reason(self) -> Reason {
        match self {
            TokenError::Expired => Reason::ScopedTokenExpired,
            _ => Reason::InvalidScopedToken,
        }
    }
}

/// A clause for people who have the policy.
impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not three parts of base64url without padding",
            Self::Header => "its header is not a JSON object, or has a name twice",
            Self::Critical => "its header has crit, and no extension is understood",
            Self::Algorithm => "its alg is none of HS256, EdDSA and Ed25519",
            Self::Parent => "its kid is not the id of a key with scoped_tokens",
            Self::SignatureForm => {
                "the key has no secret or public key for its alg, or its signature has the wrong length"
            }
            Self::Claims => "its claims are not a JSON object, or have a name twice",
            Self::Claim(name) => return write!(f, "its claim {name} is missing, or has a value that it cannot have"),
            Self::Lifetime => "exp is more than max_lifetime_seconds after iat",
            Self::Revoked => "iat is before the not_before of the key's scoped_tokens",
            Self::NotYetValid => "iat or nbf is over 60 seconds ahead",
            Self::Expired => "exp is past",
            Self::Signature => "no secret or public key of the key verifies its signature",
        })
    }
}
