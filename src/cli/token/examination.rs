//! A token under a policy, examined by the filter's own code.

use std::sync::Arc;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::jwt::Jwt;
use keyfence_core::decision::scoped_token::{ScopedToken, TokenError, Unverified};
use keyfence_core::policy::Policy;
use serde_json::Value;

/// What is found of a token. The filter stops at the first error; here the time is looked at apart from the rest.
pub struct Examination {
    /// `null` if it is not JSON.
    pub header: Value,
    /// `null` if they are not JSON.
    pub claims: Value,
    /// Whether it is right, apart from the time.
    pub verdict: Result<Arc<ScopedToken>, TokenError>,
    /// Whether it is valid at this time.
    pub time: Result<(), TokenError>,
}

impl Examination {
    pub fn of(policy: &Policy, text: &str, now: Timestamp) -> Examination {
        let jwt = Jwt::parse(text);
        let json = |part: fn(Jwt<'_>) -> Vec<u8>| {
            let part = Jwt::parse(text).map(part);
            part.and_then(|part| serde_json::from_slice(&part).ok())
                .unwrap_or_default()
        };
        let (verdict, time) = match Unverified::read(policy, text) {
            Ok(token) => {
                let time = token.check_time(now);
                (token.verify(), time)
            }
            Err(error) => (Err(error), Ok(())),
        };
        Examination {
            header: jwt.as_ref().map_or(Value::Null, |_| json(|jwt| jwt.header)),
            claims: jwt.as_ref().map_or(Value::Null, |_| json(|jwt| jwt.claims)),
            verdict,
            time,
        }
    }

    /// The id of the key that it is, or claims to be, narrowed from.
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// The token, if a request with it would be let through to the other checks.
    pub fn valid(&self) -> Result<&Arc<ScopedToken>, TokenError> {
        let token = self.verdict.as_ref().map_err(|error| *error)?;
        self.time?;
        Ok(token)
    }
}
