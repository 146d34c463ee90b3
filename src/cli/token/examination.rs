//! A token under a policy, examined by the filter's own code.

use std::sync::Arc;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::jwt::{Jwt, has_form};
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::scoped_token::{ScopedToken, Unverified};
use keyfence_core::decision::token_error::TokenError;
use keyfence_core::policy::in_force::InForce;
use keyfence_core::policy::{Key, Policy};
use serde_json::Value;

/// What is found of a token.
pub struct Examination {
    /// `null` if it is not JSON.
    pub header: Value,
    /// `null` if they are not JSON.
    pub claims: Value,
    /// The token, if requests with it come to the checks of what it and its key allow.
    pub result: Result<Arc<ScopedToken>, Refusal>,
}

/// Why requests with a token are refused.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    /// It is longer than any token may be.
    TooLong(usize),
    /// It does not look like a token, so it would be an unknown key.
    NotAToken,
    /// The token itself is wrong.
    Token(TokenError),
    /// Its key is disabled, or not valid at this time.
    Key(Reason),
}

impl Examination {
    pub fn of(policy: &Policy, text: &str, now: Timestamp) -> Examination {
        let jwt = Jwt::parse(text);
        let json = |part: Option<&Vec<u8>>| part.and_then(|part| serde_json::from_slice(part).ok());
        let header: Value = json(jwt.as_ref().map(|jwt| &jwt.header)).unwrap_or_default();
        Examination {
            result: examine(policy, text, now).and_then(|token| {
                let key = policy.keys().iter().find(|key| Some(key.id()) == id_of(&header));
                key.map_or(Ok(()), |key| check_key(key, now)).map(|()| token)
            }),
            claims: json(jwt.as_ref().map(|jwt| &jwt.claims)).unwrap_or_default(),
            header,
        }
    }

    /// The id of the key that it is, or claims to be, narrowed from.
    pub fn key_id(&self) -> Option<&str> {
        id_of(&self.header)
    }
}

fn id_of(header: &Value) -> Option<&str> {
    header.get("kid")?.as_str()
}

fn examine(policy: &Policy, text: &str, now: Timestamp) -> Result<Arc<ScopedToken>, Refusal> {
    let longest = InForce::from(policy).max_credential_length();
    if text.len() > longest {
        return Err(Refusal::TooLong(longest));
    }
    if !has_form(text) {
        return Err(Refusal::NotAToken);
    }
    let unverified = Unverified::read(policy.into(), text, now);
    unverified.and_then(Unverified::verify).map_err(Refusal::Token)
}

fn check_key(key: &Key, now: Timestamp) -> Result<(), Refusal> {
    let refusals = [
        (!key.is_enabled(), Reason::KeyDisabled),
        (
            key.not_before().is_some_and(|begin| now < begin),
            Reason::KeyNotYetValid,
        ),
        (key.expires_at().is_some_and(|end| now >= end), Reason::KeyExpired),
    ];
    match refusals.into_iter().find(|(applies, _)| *applies) {
        Some((_, reason)) => Err(Refusal::Key(reason)),
        None => Ok(()),
    }
}

impl Refusal {
    /// What the client is told.
    pub fn reason(self) -> Reason {
        match self {
            Refusal::TooLong(_) | Refusal::NotAToken => Reason::InvalidApiKey,
            Refusal::Token(error) => error.reason(),
            Refusal::Key(reason) => reason,
        }
    }
}

/// A clause.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::TooLong(longest) => write!(f, "it is longer than {longest} bytes"),
            Refusal::NotAToken => f.write_str("it does not have the form of a token: three parts between dots"),
            Refusal::Token(error) => error.fmt(f),
            Refusal::Key(Reason::KeyDisabled) => f.write_str("its key is disabled"),
            Refusal::Key(Reason::KeyNotYetValid) => f.write_str("its key is not valid yet"),
            Refusal::Key(_) => f.write_str("its key has expired"),
        }
    }
}
