//! What a decision is: its outcome, and the evidence for it.

use std::net::IpAddr;
use std::sync::Arc;

use super::client::Client;
use super::cors::AllowOrigin;
use super::credential::PresentedKey;
use super::rate::RateStatus;
use super::reason::Reason;
use super::scoped_token::ScopedToken;
use super::token_error::TokenError;
use crate::config::key::Enforcement;
use crate::config::network::Network;
use crate::config::timestamp::Timestamp;
use crate::policy::origin_list::OriginMatch;
use crate::policy::scopes::{RuleMatch, ScopeRules};
use crate::policy::{KeyMatch, Policy, Restrictions};

/// What the policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It may go to the upstream.
    Allow,
    /// It may not, for this reason.
    Deny(Reason),
    /// It is a preflight that the filter answers.
    Preflight,
}

/// What happens to a request: always one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It goes to the upstream.
    Forward,
    /// The filter answers it.
    Respond(LocalReplyKind),
}

/// What the filter's own response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalReplyKind {
    /// Why the request is denied.
    Error(Reason),
    /// What a page may do (Fetch, "CORS-preflight fetch").
    Preflight,
}

/// A decision on a request, with the evidence for it.
#[derive(Debug, Clone)]
pub struct Decision<'p, 'r> {
    /// What the policy says of the request.
    pub outcome: Outcome,
    /// Whether that takes effect.
    pub enforcement: Enforcement,
    /// The key of the request, and the entry of it, if the policy has it.
    pub key: Option<KeyMatch<'p>>,
    /// The token that the request presents in place of its key, if it is good.
    pub token: Option<Arc<ScopedToken>>,
    /// What the request was checked against: the restrictions of the key, or those of anonymous requests. `None` if there are none.
    pub restrictions: Option<&'p Restrictions>,
    /// The key as the request presents it, if it presents exactly one.
    pub presented: Option<PresentedKey<'r>>,
    /// What in the policy the request matched.
    pub matched: Matched<'p, 'r>,
    /// The value of `Access-Control-Allow-Origin` in the response.
    pub allow_origin: AllowOrigin,
    /// The rate limit after this request, if there is one. Of two the one that refused it, else the one with fewer requests remaining.
    pub rate: Option<RateStatus>,
    /// Whether the policy's own scopes name methods, where the key's are from another policy. See
    /// [`InForce::compiled_with`](crate::policy::in_force::InForce::compiled_with).
    pub own_rules_name_methods: bool,
    /// Whether the request is a preflight, refused ones included.
    pub is_preflight: bool,
}

/// What each check compared, and what it found in the policy. A field is `None` if no check needed it, or if nothing matched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Matched<'p, 'r> {
    /// The time that the key's dates were compared with.
    pub time: Option<Timestamp>,
    /// The client address that was compared.
    pub address: Option<IpAddr>,
    /// The network that contains it.
    pub network: Option<Network>,
    /// What the request's origin matched: in the list of the restrictions, or for a preflight without a known key in the lists of all
    /// enabled keys.
    pub origin: Option<OriginMatch>,
    /// What lists the origin of the request's own URL, where the browser says that its page has the same.
    pub own_origin: Option<OriginMatch>,
    /// The rule that fits method and path, and the index that it finds in the path. With [`Reason::IndexNotAllowed`] that index is not
    /// allowed, or the rule names none.
    pub rule: Option<RuleMatch<'p, 'r>>,
    /// Whose requests the limit of each client counted.
    pub client: Option<Client>,
    /// Why the scoped token is refused.
    pub token_error: Option<TokenError>,
    /// What the request matched in the lists of the scoped token, if it has any.
    pub by_token: Option<MatchedByToken<'p, 'r>>,
}

/// What each check found in the lists of a scoped token, as in the fields of [`Matched`] with the same names.
#[derive(Debug, Clone, Copy, Default)]
pub struct MatchedByToken<'p, 'r> {
    /// The network that contains the address.
    pub network: Option<Network>,
    /// What the request's origin matched.
    pub origin: Option<OriginMatch>,
    /// What lists the origin of the request's own URL.
    pub own_origin: Option<OriginMatch>,
    /// The rule that fits method and path.
    pub rule: Option<RuleMatch<'p, 'r>>,
}

/// The checks of a request, in their order. The first that fails decides. A preflight has one of them: [`Check::Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Which key is it?
    Key,
    /// Is the key valid at this time?
    Validity,
    /// May a key of this kind be used from a browser?
    Kind,
    /// May it be used from this address?
    Address,
    /// May it be used from this web origin?
    Origin,
    /// Has the path one reading?
    Path,
    /// Do its scopes and indexes include this method, path and index?
    Scope,
    /// Is the client's limit or the key's used up?
    Rate,
}

impl Decision<'_, '_> {
    /// What happens to the request.
    pub fn effect(&self) -> Effect {
        match (self.enforcement, self.outcome) {
            (Enforcement::Report, _) | (_, Outcome::Allow) => Effect::Forward,
            (Enforcement::Enforce, Outcome::Deny(reason)) => Effect::Respond(LocalReplyKind::Error(reason)),
            (Enforcement::Enforce, Outcome::Preflight) => Effect::Respond(LocalReplyKind::Preflight),
        }
    }

    /// Whether method overrides are removed from the request and its trailers: the scopes that it was checked against name methods.
    pub fn removes_method_overrides(&self, policy: &Policy) -> bool {
        let scopes = self
            .restrictions
            .and_then(|restrictions| restrictions.scopes.as_deref());
        let of_token = self.token.as_ref().and_then(|token| token.scopes(policy));
        let mut rules = scopes.into_iter().chain(of_token.into_iter().flatten());
        self.enforcement == Enforcement::Enforce
            && (self.own_rules_name_methods || rules.any(ScopeRules::names_methods))
    }
}
