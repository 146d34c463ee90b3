//! What a decision asks of the host, beside the request's headers.

use std::num::NonZeroU32;

use super::address::SourceAddress;
use super::rate::RateStatus;
use crate::config::timestamp::Timestamp;
use crate::policy::Key;

/// What a decision may ask of the world beside the request. Each is asked for only where the policy needs it.
pub trait RequestContext {
    /// Where the request came from.
    fn source_address(&self) -> SourceAddress;

    /// The time.
    fn now(&self) -> Result<Timestamp, Unavailable>;

    /// Takes one request from the limit of `key`, or of anonymous requests.
    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal>;

    /// The limit of `key`, or of anonymous requests, with nothing taken from it.
    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable>;
}

/// The host could not tell what a decision needs. The request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Why a limit admits no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The limit is used up.
    UsedUp(RateStatus),
    /// What was admitted so far is not known, or this request could not be noted.
    Unavailable,
}
