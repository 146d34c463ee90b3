//! One request in, one decision out. Nothing here knows the host: what only it can tell comes through [`RequestContext`].

pub mod address;
pub mod credential;
pub mod grpc;
pub mod headers;
pub mod local_reply;
pub mod rate;
pub mod reason;
pub mod request;
pub mod response;
pub mod upstream;

use std::num::NonZeroU32;

use crate::config::key::{Enforcement, Kind, OriginCheck};
use crate::config::timestamp::Timestamp;
use crate::policy::key_table::KeyIndex;
use crate::policy::origins::OriginMatch;
use crate::policy::scopes::{ScopeAnswer, is_ambiguous};
use crate::policy::{Key, Policy, Restrictions};
use address::SourceAddress;
use credential::{Credential, PresentedKey};
use rate::RateStatus;
use reason::Reason;
use request::Head;

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

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to the upstream.
    Allow,
    /// It is answered with an error.
    Deny(Reason),
    /// It is a preflight, and is answered.
    Preflight,
}

/// What the filter answers itself. A request without such an answer is forwarded: there is no third way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An error.
    Error(Reason),
    /// What a preflight asks for.
    Preflight,
}

impl Outcome {
    /// The answer that carries the outcome out; `None`: the request is forwarded.
    pub fn answer(self) -> Option<Answer> {
        match self {
            Outcome::Allow => None,
            Outcome::Deny(reason) => Some(Answer::Error(reason)),
            Outcome::Preflight => Some(Answer::Preflight),
        }
    }
}

/// How `Access-Control-Allow-Origin` answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowOrigin {
    /// Not at all.
    Omit,
    /// With the request's origin.
    Echo,
    /// With `null`, and without credentials.
    Null,
    /// With `*`, and without credentials.
    Any,
}

/// The whole outcome of a decision.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'p, 'r> {
    /// What is to be done, or in report mode what would have been.
    pub outcome: Outcome,
    /// Whether it is done.
    pub enforcement: Enforcement,
    /// The key, where it is known.
    pub key: Option<(KeyIndex, &'p Key)>,
    /// The policy that the request was held against: the key's or the anonymous one.
    pub access: Option<&'p Restrictions>,
    /// Where the request carries its one key.
    pub presented: Option<PresentedKey<'r>>,
    /// The CORS headers of the response.
    pub allow_origin: AllowOrigin,
    /// The rate limit after this request, where there is one.
    pub rate: Option<RateStatus>,
    /// Whether the request is a preflight, refused ones included.
    pub is_preflight: bool,
}

/// The steps of a decision, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Which key is it?
    Key,
    /// Is it valid at this time?
    Validity,
    /// May it be used from a browser?
    Kind,
    /// May it be used from this address?
    Address,
    /// May it be used from this web origin?
    Origin,
    /// Has the path one reading?
    Path,
    /// Is it for this method, path and index?
    Scope,
    /// Is its limit used up?
    Rate,
}

/// What the steps after the first look at.
struct Evaluation<'p, 'r, 's, S> {
    policy: &'p Policy,
    head: &'r Head<'r>,
    key: Option<&'p Key>,
    access: &'p Restrictions,
    origin: Option<OriginMatch>,
    context: &'s S,
}

/// Decides on a request.
pub fn decide<'p, 'r>(policy: &'p Policy, head: &'r Head<'r>, context: &impl RequestContext) -> Decision<'p, 'r> {
    decide_with_trace(policy, head, context, &mut |_, _| {})
}

/// Decides on a request, and tells `trace` of each step as it is taken. The first that fails is the last.
pub fn decide_with_trace<'p, 'r>(
    policy: &'p Policy,
    head: &'r Head<'r>,
    context: &impl RequestContext,
    trace: &mut impl FnMut(Check, Result<(), Reason>),
) -> Decision<'p, 'r> {
    let identified = identify(policy, head);
    let key = identified.as_ref().ok().and_then(|found| found.key);
    let access = identified.as_ref().ok().map(|found| found.access);
    let own_list = access.filter(|_| key.is_some() || !head.is_preflight());
    let origin = head.origin.and_then(|origin| match own_list {
        Some(access) => policy.origins.match_list(&access.origins, origin),
        None => policy.origins.match_union(&policy.union, origin),
    });
    let list = own_list.map_or(&policy.union, |access| &access.origins);
    let mut decision = Decision {
        outcome: Outcome::Allow,
        enforcement: access.map_or(policy.response.enforcement, |access| access.enforcement),
        key,
        access,
        presented: match head.credential {
            Credential::One(presented) => Some(presented),
            _ => None,
        },
        allow_origin: if head.is_preflight() {
            AllowOrigin::of(origin)
        } else {
            AllowOrigin::of_response(list.is_any_alone(), origin)
        },
        rate: None,
        is_preflight: head.is_preflight(),
    };
    if head.is_preflight() {
        if key.is_none() {
            decision.enforcement = policy.response.enforcement;
        }
        let answer = origin.map(drop).ok_or(Reason::OriginNotAllowed);
        trace(Check::Origin, answer);
        decision.outcome = answer.map_or_else(Outcome::Deny, |()| Outcome::Preflight);
        return decision;
    }
    trace(Check::Key, identified.as_ref().map(drop).map_err(|reason| *reason));
    let outcome = identified.and_then(|found| {
        let evaluation = Evaluation {
            policy,
            head,
            key: found.key.map(|(_, key)| key),
            access: found.access,
            origin,
            context,
        };
        evaluation.run(&mut decision.rate, trace)
    });
    decision.outcome = outcome.map_or_else(Outcome::Deny, |()| Outcome::Allow);
    decision
}

/// One step after the key is known.
type CheckFn<I> = fn(&I) -> Result<(), Reason>;

/// Whose request it is.
struct Identified<'p> {
    key: Option<(KeyIndex, &'p Key)>,
    access: &'p Restrictions,
}

fn identify<'p>(policy: &'p Policy, head: &Head<'_>) -> Result<Identified<'p>, Reason> {
    match head.credential {
        Credential::Ambiguous => Err(Reason::AmbiguousApiKey),
        Credential::Missing => policy
            .anonymous
            .as_ref()
            .filter(|access| is_for_anonymous(access, head))
            .map(|access| Identified { key: None, access })
            .ok_or(Reason::MissingApiKey),
        Credential::One(presented) => presented
            .digest()
            .and_then(|digest| policy.find_key(&digest))
            .map(|(index, key)| Identified {
                key: Some((index, key)),
                access: &key.access,
            })
            .ok_or(Reason::InvalidApiKey),
    }
}

/// Whether the request may do without a key. Where the scopes of `anonymous` do not fit method and path, what it lacks is a key.
fn is_for_anonymous(access: &Restrictions, head: &Head<'_>) -> bool {
    access.scopes.as_ref().is_none_or(|rules| {
        let path = head.bare_path();
        !is_ambiguous(path) && rules.answer(head.method, path, None) == ScopeAnswer::Fits
    })
}

impl<S: RequestContext> Evaluation<'_, '_, '_, S> {
    fn run(
        &self,
        rate: &mut Option<RateStatus>,
        trace: &mut impl FnMut(Check, Result<(), Reason>),
    ) -> Result<(), Reason> {
        let steps: [(Check, CheckFn<Self>); 6] = [
            (Check::Validity, Self::validity),
            (Check::Kind, Self::kind),
            (Check::Address, Self::address),
            (Check::Origin, Self::origin),
            (Check::Path, Self::path),
            (Check::Scope, Self::scope),
        ];
        for (step, check) in steps {
            let result = check(self);
            trace(step, result);
            if result.is_err() {
                let limit = self.access.limit;
                *rate = limit.and_then(|limit| self.context.peek(self.key, limit).ok());
                return result;
            }
        }
        let Some(limit) = self.access.limit else {
            trace(Check::Rate, Ok(()));
            return Ok(());
        };
        let (status, result) = match self.context.admit(self.key, limit) {
            Ok(status) => (Some(status), Ok(())),
            Err(Refusal::UsedUp(status)) => (Some(status), Err(Reason::RateLimitExceeded)),
            Err(Refusal::Unavailable) => (None, Err(Reason::PolicyUnavailable)),
        };
        *rate = status;
        trace(Check::Rate, result);
        result
    }

    fn validity(&self) -> Result<(), Reason> {
        let Some(key) = self.key else { return Ok(()) };
        if !key.enabled {
            return Err(Reason::KeyDisabled);
        }
        if key.not_before.is_none() && key.expires_at.is_none() {
            return Ok(());
        }
        let now = self.context.now().map_err(|Unavailable| Reason::PolicyUnavailable)?;
        if key.not_before.is_some_and(|begin| now < begin) {
            return Err(Reason::KeyNotYetValid);
        }
        if key.expires_at.is_some_and(|end| now >= end) {
            return Err(Reason::KeyExpired);
        }
        Ok(())
    }

    fn kind(&self) -> Result<(), Reason> {
        match self.key {
            Some(key) if key.kind == Kind::Secret && self.head.is_from_browser() => Err(Reason::SecretKeyInBrowser),
            _ => Ok(()),
        }
    }

    fn address(&self) -> Result<(), Reason> {
        let networks = &self.access.networks;
        if networks.is_empty() {
            return Ok(());
        }
        let address = self.context.source_address().known(self.policy.client_ip);
        match address {
            Some(address) if networks.contains(address) => Ok(()),
            _ => Err(Reason::IpNotAllowed),
        }
    }

    fn origin(&self) -> Result<(), Reason> {
        let passes = self.access.origins.is_empty()
            || self.origin.is_some()
            || match self.access.origin_check {
                OriginCheck::Required => false,
                OriginCheck::RequiredOrSameOrigin => self.is_own_page_listed(),
                OriginCheck::IfPresent => self.head.origin.is_none(),
                OriginCheck::CorsOnly => true,
            };
        if passes { Ok(()) } else { Err(Reason::OriginNotAllowed) }
    }

    /// Whether a page on this API's own site sent the request, and that site is listed.
    fn is_own_page_listed(&self) -> bool {
        let own = self.head.same_origin();
        own.is_some_and(|own| self.policy.origins.match_list(&self.access.origins, &own).is_some())
    }

    fn path(&self) -> Result<(), Reason> {
        if self.access.scopes.is_some() && is_ambiguous(self.head.bare_path()) {
            return Err(Reason::AmbiguousPath);
        }
        Ok(())
    }

    fn scope(&self) -> Result<(), Reason> {
        let indexes = self.access.indexes.as_ref();
        let Some(rules) = &self.access.scopes else {
            // Only a rule says where the index is.
            return if indexes.is_some() {
                Err(Reason::IndexNotAllowed)
            } else {
                Ok(())
            };
        };
        match rules.answer(self.head.method, self.head.bare_path(), indexes) {
            ScopeAnswer::NoRule => Err(Reason::ScopeNotAllowed),
            ScopeAnswer::NoIndex => Err(Reason::IndexNotAllowed),
            ScopeAnswer::Fits => Ok(()),
        }
    }
}

impl AllowOrigin {
    /// Of a response that is not a preflight's. Where `*` is alone in the list that applies, it answers every request: a cache may
    /// give a response to a request without `Origin`, as of an `<img>`, to a page's `fetch`.
    pub fn of_response(is_any_alone: bool, origin: Option<OriginMatch>) -> AllowOrigin {
        if is_any_alone {
            AllowOrigin::Any
        } else {
            AllowOrigin::of(origin)
        }
    }

    fn of(origin: Option<OriginMatch>) -> AllowOrigin {
        match origin {
            None => AllowOrigin::Omit,
            Some(OriginMatch::Listed) => AllowOrigin::Echo,
            Some(OriginMatch::Null) => AllowOrigin::Null,
            Some(OriginMatch::Any) => AllowOrigin::Any,
        }
    }
}

impl Decision<'_, '_> {
    /// What the filter answers itself; `None`: the request is forwarded.
    pub fn answer(&self) -> Option<Answer> {
        match self.enforcement {
            Enforcement::Enforce => self.outcome.answer(),
            Enforcement::Report => None,
        }
    }

    /// Whether method overrides are removed from the request and its trailers: the scopes that it was held against name methods.
    pub fn removes_method_overrides(&self) -> bool {
        let scopes = self.access.and_then(|access| access.scopes.as_ref());
        self.enforcement == Enforcement::Enforce && scopes.is_some_and(|rules| rules.names_methods())
    }
}
