//! When a scoped token is valid (RFC 7519, sections 4.1.4 to 4.1.6).

use super::jwt::Members;
use super::token_error::TokenError;
use crate::config::node::Node;
use crate::config::timestamp::Timestamp;
use crate::policy::token_verifier::TokenVerifier;

/// `exp`, `iat` and `nbf` (RFC 7519, section 4.1), as written: seconds since the epoch, with or without a fraction.
#[derive(Clone, Copy)]
pub struct Dates {
    issued: f64,
    /// The later of `iat` and `nbf`.
    begin: f64,
    end: f64,
}

impl Dates {
    /// Reads the claims.
    pub fn of(claims: &Members<'_>) -> Result<Dates, TokenError> {
        let seconds = |name: &'static str| match claims.get(name) {
            Some(Node::Number(seconds)) => Ok(*seconds),
            _ => Err(TokenError::Claim(name)),
        };
        let issued = seconds("iat")?;
        Ok(Dates {
            issued,
            begin: match claims.get("nbf") {
                None => issued,
                Some(_) => seconds("nbf")?.max(issued),
            },
            end: seconds("exp")?,
        })
    }

    /// Whether the key that the token is narrowed from allows these dates.
    pub fn check(self, verifier: &TokenVerifier) -> Result<(), TokenError> {
        if self.end.floor() - self.issued > f64::from(verifier.max_lifetime) {
            return Err(TokenError::Lifetime);
        }
        if verifier.not_before.is_some_and(|time| self.issued < time.0 as f64) {
            return Err(TokenError::Revoked);
        }
        Ok(())
    }

    /// When a token with these dates is valid, by the clock of the gateway.
    pub fn times(self) -> Times {
        /// How many seconds the backend's clock may be ahead.
        const LEEWAY: f64 = 60.0;
        // A number that is out of range becomes the nearest in range.
        Times {
            begin: Timestamp((self.begin - LEEWAY).ceil() as i64),
            end: Timestamp(self.end.floor() as i64),
        }
    }
}

/// When a token is valid. Fractions of seconds are cut so that it is valid rather shorter.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The first second at which it is valid.
    pub begin: Timestamp,
    /// The first second at which it is no longer valid.
    pub end: Timestamp,
}

impl Times {
    /// Whether a token is valid at this time.
    pub fn check(self, now: Timestamp) -> Result<(), TokenError> {
        if now >= self.end {
            return Err(TokenError::Expired);
        }
        if now < self.begin {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}
