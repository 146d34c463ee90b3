//! What a decision asks of the host, beside the request's headers.

use std::num::NonZeroU32;

use super::address::SourceAddress;
use super::client::Client;
use super::rate::RateStatus;
use super::scoped_token::Verdict;
use crate::config::api_key::KeyDigest;
use crate::config::timestamp::Timestamp;
use crate::policy::Key;

/// The facts about a request that only the host knows. A decision asks for each only if the policy needs it.
pub trait RequestContext {
    /// The client's address.
    fn source_address(&self) -> Result<SourceAddress, Unavailable>;

    /// The current time.
    fn now(&self) -> Result<Timestamp, Unavailable>;

    /// The verdict on the token with this text that [`RequestContext::remember_token`] got, if it was good, and is remembered under the policy of
    /// the request.
    fn good_token(&self, _text: &str, _now: Timestamp) -> Option<Verdict> {
        None
    }

    /// The same for a token with this digest, if it was bad.
    fn bad_token(&self, _digest: &KeyDigest, _now: Timestamp) -> Option<Verdict> {
        None
    }

    /// Gets the verdict on a token, so that it need not be verified again. It may be forgotten at any time, or at once.
    fn remember_token(&self, _text: &str, _digest: KeyDigest, _verdict: &Verdict) {}

    /// Takes one request from the limit of `key`, or of anonymous requests.
    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal>;

    /// The state of the limit of `key`, or of anonymous requests. Takes nothing from it.
    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable>;

    /// Takes one request from the limit that each client of `key`, or of anonymous requests, has.
    fn admit_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal>;

    /// The state of the limit of one client. Takes nothing from it.
    fn peek_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable>;
}

/// The host could not answer, so the request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Why a limit does not admit a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The limit is used up. Its state, for the headers of the response.
    UsedUp(RateStatus),
    /// The host could not read the state of the limit, or could not write it.
    Unavailable,
}
