//! The checks of a request, one function each, in the order of [`Check`].

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use super::client::Client;
use super::context::{Refusal, RequestContext, Unavailable};
use super::cors::AllowOrigin;
use super::credential::{Credential, PresentedKey};
use super::jwt;
use super::outcome::{Check, Decision, Matched, Outcome};
use super::path::is_ambiguous;
use super::preflight;
use super::rate::RateStatus;
use super::reason::Reason;
use super::request::Head;
use super::scoped_token::{ScopedToken, Unverified};
use super::token_error::TokenError;
use crate::config::api_key::KeyDigest;
use crate::config::key::{Kind, OriginCheck};
use crate::policy::in_force::InForce;
use crate::policy::scopes::{ScopeAnswer, ScopeRules};
use crate::policy::{Key, KeyMatch, Restrictions};

/// Decides on a request. Nothing is kept between requests but what `context` keeps.
pub fn decide<'p, 'r>(
    in_force: impl Into<InForce<'p>>,
    head: &'r Head<'r>,
    context: &impl RequestContext,
) -> Decision<'p, 'r> {
    decide_with_trace(in_force.into(), head, context, &mut |_, _| {})
}

/// Decides on a request, and calls `trace` with the result of each check as it is made. The first that fails is the last.
pub fn decide_with_trace<'p, 'r>(
    in_force: InForce<'p>,
    head: &'r Head<'r>,
    context: &impl RequestContext,
    trace: &mut impl FnMut(Check, Result<(), Reason>),
) -> Decision<'p, 'r> {
    let policy = in_force.policy;
    let subject = identify(in_force, head, context);
    if head.is_preflight() {
        let decision = match subject {
            Err(IdentificationError {
                reason: Reason::PolicyUnavailable,
                may_be_fed: false,
                ..
            }) => preflight::unavailable(in_force, head),
            Err(_) => preflight::decide(in_force, head, None, None),
            Ok(subject) => preflight::decide(in_force, head, subject.key, subject.token),
        };
        trace(
            Check::Origin,
            match decision.outcome {
                Outcome::Deny(reason) => Err(reason),
                Outcome::Allow | Outcome::Preflight => Ok(()),
            },
        );
        return decision;
    }
    let restrictions = subject.as_ref().ok().map(|subject| subject.restrictions);
    let origin = head
        .origin
        .and_then(|origin| in_force.match_origin(restrictions, origin));
    let is_any_alone = match restrictions {
        Some(restrictions) => restrictions.origins.is_any_alone(),
        None => policy.response.union_is_any_alone,
    };
    let mut decision = Decision {
        outcome: Outcome::Allow,
        enforcement: in_force.enforcement(subject.as_ref().ok().and_then(|subject| subject.key), restrictions),
        key: subject.as_ref().ok().and_then(|subject| subject.key),
        token: subject.as_ref().ok().and_then(|subject| subject.token.clone()),
        restrictions,
        presented: head.credential.one(),
        matched: Matched {
            origin,
            token_error: subject.as_ref().err().and_then(|error| error.token_error),
            ..Matched::default()
        },
        allow_origin: AllowOrigin::of_response(is_any_alone, origin),
        rate: None,
        own_rules_name_methods: false,
        is_preflight: false,
    };
    trace(Check::Key, subject.as_ref().map(drop).map_err(|error| error.reason));
    let token = decision.token.clone();
    let result = subject.map_err(|error| error.reason).and_then(|subject| {
        let mut evaluation = Evaluation {
            in_force,
            head,
            key: subject.key,
            token: token.as_deref(),
            restrictions: subject.restrictions,
            context,
            decision: &mut decision,
        };
        evaluation.run(trace)
    });
    if let Err(reason) = result {
        decision.outcome = Outcome::Deny(reason);
    }
    decision
}

/// The key, the token and the restrictions of a request.
struct Subject<'p> {
    /// `None`: it has no key.
    key: Option<KeyMatch<'p>>,
    /// The token that it presents in place of the key.
    token: Option<Arc<ScopedToken>>,
    restrictions: &'p Restrictions,
}

impl<'p> Subject<'p> {
    fn of_key(key: KeyMatch<'p>, token: Option<Arc<ScopedToken>>) -> Subject<'p> {
        Subject {
            key: Some(key),
            token,
            restrictions: &key.key().restrictions,
        }
    }
}

/// Why a request has no key or restrictions.
struct IdentificationError {
    reason: Reason,
    token_error: Option<TokenError>,
    /// Whether the keys of the feed are not known, and the request's may be one of them.
    may_be_fed: bool,
}

impl From<Reason> for IdentificationError {
    fn from(reason: Reason) -> Self {
        IdentificationError {
            reason,
            token_error: None,
            may_be_fed: false,
        }
    }
}

impl From<TokenError> for IdentificationError {
    fn from(error: TokenError) -> Self {
        IdentificationError {
            reason: error.reason(),
            token_error: Some(error),
            may_be_fed: false,
        }
    }
}

fn identify<'p>(
    in_force: InForce<'p>,
    head: &Head<'_>,
    context: &impl RequestContext,
) -> Result<Subject<'p>, IdentificationError> {
    match head.credential {
        Credential::Ambiguous => Err(Reason::AmbiguousApiKey.into()),
        Credential::Missing => in_force
            .policy
            .anonymous
            .as_ref()
            .filter(|restrictions| is_for_anonymous(restrictions, head))
            .map(|restrictions| Subject {
                key: None,
                token: None,
                restrictions,
            })
            .ok_or(Reason::MissingApiKey.into()),
        Credential::One(presented) => find_key(in_force, &presented, context).map_err(|error| match error {
            IdentificationError {
                reason: Reason::InvalidApiKey | Reason::InvalidScopedToken | Reason::ScopedTokenExpired,
                ..
            } if in_force.is_incomplete() => IdentificationError {
                may_be_fed: true,
                ..Reason::PolicyUnavailable.into()
            },
            error => error,
        }),
    }
}

/// Looks a credential up as a key, and if it is none, as a token.
fn find_key<'p>(
    in_force: InForce<'p>,
    presented: &PresentedKey<'_>,
    context: &impl RequestContext,
) -> Result<Subject<'p>, IdentificationError> {
    let token = match find_good_token(in_force, presented, context)? {
        Some(token) => token,
        None => {
            let digest = presented.digest(in_force.max_credential_length());
            let digest = digest.ok_or(Reason::InvalidApiKey)?;
            if let Some(key) = in_force.find_key(&digest) {
                return Ok(Subject::of_key(key, None));
            }
            find_token(in_force, presented, digest, context)?
        }
    };
    let key = in_force.parent(token.key).ok_or(TokenError::Parent)?;
    Ok(Subject::of_key(key, Some(token)))
}

/// Finds a token that an earlier request has presented, and that was good: so its text is not a key's. Its digest is not needed.
fn find_good_token(
    in_force: InForce<'_>,
    presented: &PresentedKey<'_>,
    context: &impl RequestContext,
) -> Result<Option<Arc<ScopedToken>>, IdentificationError> {
    if !in_force.has_tokens() {
        return Ok(None);
    }
    let text = presented.text(in_force.max_credential_length());
    let Some(text) = text.filter(|text| jwt::begins_as_token(text)) else {
        return Ok(None);
    };
    let now = context.now().map_err(|Unavailable| Reason::PolicyUnavailable)?;
    let verdict = context.good_token(&text, now);
    Ok(verdict.map(|verdict| verdict.at(now)).transpose()?)
}

/// Verifies a token, unless an earlier request has presented it and it was bad. The cheaper checks come before the
/// signature. Only what depends on the signature is remembered: the time is compared on each request.
#[inline(never)]
fn find_token(
    in_force: InForce<'_>,
    presented: &PresentedKey<'_>,
    digest: KeyDigest,
    context: &impl RequestContext,
) -> Result<Arc<ScopedToken>, IdentificationError> {
    let text = presented.text(in_force.max_credential_length());
    let text = &*text
        .filter(|text| jwt::begins_as_token(text))
        .ok_or(Reason::InvalidApiKey)?;
    let now = context.now().map_err(|Unavailable| Reason::PolicyUnavailable)?;
    if let Some(verdict) = context.bad_token(&digest, now) {
        return Ok(verdict.at(now)?);
    }
    if !jwt::has_form(text) {
        return Err(Reason::InvalidApiKey.into());
    }
    let verdict = Unverified::read(in_force, text, now)?.verdict();
    context.remember_token(text, digest, &verdict);
    Ok(verdict.at(now)?)
}

/// Whether the request may do without a key. If the scopes of `anonymous` do not fit method and path, a key is missing.
fn is_for_anonymous(restrictions: &Restrictions, head: &Head<'_>) -> bool {
    restrictions.scopes.as_ref().is_none_or(|rules| {
        let path = head.bare_path();
        !is_ambiguous(path) && matches!(rules.answer(head.method, path, [None; 2]), ScopeAnswer::Fits(_))
    })
}

fn result_of(answer: ScopeAnswer<'_, '_>) -> Result<(), Reason> {
    match answer {
        ScopeAnswer::NoRule => Err(Reason::ScopeNotAllowed),
        ScopeAnswer::NoIndex(_) => Err(Reason::IndexNotAllowed),
        ScopeAnswer::Fits(_) => Ok(()),
    }
}

/// The checks after the first, of a request whose key is known or that needs none.
pub(super) struct Evaluation<'p, 'r, 'e, C> {
    pub(super) in_force: InForce<'p>,
    pub(super) head: &'r Head<'r>,
    key: Option<KeyMatch<'p>>,
    /// The token that narrows the key: see [`narrowing`](super::narrowing).
    token: Option<&'e ScopedToken>,
    pub(super) restrictions: &'p Restrictions,
    context: &'e C,
    /// Gets what each check compared and matched.
    pub(super) decision: &'e mut Decision<'p, 'r>,
}

type CheckFn<E> = fn(&mut E) -> Result<(), Reason>;

impl<'p, C: RequestContext> Evaluation<'p, '_, '_, C> {
    fn run(&mut self, trace: &mut impl FnMut(Check, Result<(), Reason>)) -> Result<(), Reason> {
        let checks: [(Check, CheckFn<Self>); 7] = [
            (Check::Validity, Self::validity),
            (Check::Kind, Self::kind),
            (Check::Address, Self::address),
            (Check::Origin, Self::origin),
            (Check::Path, Self::path),
            (Check::Scope, Self::scope),
            (Check::Rate, Self::rate),
        ];
        for (check, run) in checks {
            let result = run(self);
            trace(check, result);
            if result.is_err() {
                // A denied request shows how much of the limit is left, and takes nothing from it.
                if check != Check::Rate {
                    self.decision.rate = self.peek();
                }
                return result;
            }
        }
        Ok(())
    }

    fn key(&self) -> Option<&'p Key> {
        self.key.map(|found| found.key())
    }

    fn validity(&mut self) -> Result<(), Reason> {
        let Some(found) = self.key else { return Ok(()) };
        let key = found.key();
        if !key.enabled {
            return Err(Reason::KeyDisabled);
        }
        let ends = [key.expires_at, found.entry_expires_at()];
        if key.not_before.is_none() && ends == [None, None] {
            return Ok(());
        }
        let now = self.context.now().map_err(|Unavailable| Reason::PolicyUnavailable)?;
        self.decision.matched.time = Some(now);
        if key.not_before.is_some_and(|begin| now < begin) {
            return Err(Reason::KeyNotYetValid);
        }
        if ends.into_iter().flatten().any(|end| now >= end) {
            return Err(Reason::KeyExpired);
        }
        Ok(())
    }

    /// A token is publishable, whatever its key is: it is made to be given away.
    fn kind(&mut self) -> Result<(), Reason> {
        match self.key() {
            Some(key) if key.kind == Kind::Secret && self.token.is_none() && self.head.is_from_browser() => {
                Err(Reason::SecretKeyInBrowser)
            }
            _ => Ok(()),
        }
    }

    fn address(&mut self) -> Result<(), Reason> {
        let networks = &self.restrictions.networks;
        if !networks.is_empty() {
            let address = self.trusted_address()?;
            let network = address.and_then(|address| networks.find(address));
            self.decision.matched.address = address;
            self.decision.matched.network = network;
            network.ok_or(Reason::IpNotAllowed)?;
        }
        self.token.map_or(Ok(()), |token| self.address_of_token(token))
    }

    /// The address that a check has compared already, or else the host's.
    pub(super) fn known_address(&self) -> Result<Option<IpAddr>, Reason> {
        match self.decision.matched.address {
            None => self.trusted_address(),
            compared => Ok(compared),
        }
    }

    fn trusted_address(&self) -> Result<Option<IpAddr>, Reason> {
        let address = self.context.source_address();
        let address = address.map_err(|Unavailable| Reason::PolicyUnavailable)?;
        Ok(address.trusted(self.in_force.policy.client_ip))
    }

    fn origin(&mut self) -> Result<(), Reason> {
        let matched = &mut self.decision.matched;
        let passes = self.restrictions.origins.is_empty()
            || matched.origin.is_some()
            || match self.restrictions.origin_check {
                OriginCheck::Required => false,
                // A page on this API's own site may have sent the request, and that site be listed.
                OriginCheck::RequiredOrSameOrigin => {
                    let own = self.head.own_origin();
                    matched.own_origin = own.and_then(|own| self.in_force.match_origin(Some(self.restrictions), &own));
                    matched.own_origin.is_some()
                }
                OriginCheck::IfPresent => self.head.origin.is_none(),
                OriginCheck::CorsOnly => true,
            };
        if !passes {
            return Err(Reason::OriginNotAllowed);
        }
        self.token.map_or(Ok(()), |token| self.origin_of_token(token))
    }

    fn path(&mut self) -> Result<(), Reason> {
        let is_read = self.restrictions.scopes.is_some() || self.token.is_some_and(ScopedToken::reads_path);
        if is_read && is_ambiguous(self.head.bare_path()) {
            return Err(Reason::AmbiguousPath);
        }
        Ok(())
    }

    fn scope(&mut self) -> Result<(), Reason> {
        match self.token {
            Some(token) => self.scope_of_token(token)?,
            None => self.scope_of_key()?,
        }
        match self.key.and_then(|key| self.in_force.own_rules(key)) {
            Some(rules) => self.scope_of_own_rules(&rules),
            None => Ok(()),
        }
    }

    /// Method, path and index fit the rules that the policy itself has, too: those of the key are from another one.
    #[cold]
    fn scope_of_own_rules(&mut self, rules: &ScopeRules) -> Result<(), Reason> {
        self.decision.own_rules_name_methods = rules.names_methods();
        let indexes = self.restrictions.indexes.as_ref();
        result_of(rules.answer(self.head.method, self.head.bare_path(), [indexes, None]))
    }

    fn scope_of_key(&mut self) -> Result<(), Reason> {
        let indexes = self.restrictions.indexes.as_ref();
        let Some(rules) = &self.restrictions.scopes else {
            // Only a rule tells which segment of the path is the index.
            return match indexes {
                Some(_) => Err(Reason::IndexNotAllowed),
                None => Ok(()),
            };
        };
        let answer = rules.answer(self.head.method, self.head.bare_path(), [indexes, None]);
        self.decision.matched.rule = answer.rule();
        result_of(answer)
    }

    fn rate(&mut self) -> Result<(), Reason> {
        let (key, context) = (self.key(), self.context);
        if let Some(limit) = self.restrictions.client_limit {
            let client = self.client()?;
            self.decision.matched.client = Some(client);
            self.count(
                context.admit_client(key, &client, limit),
                Reason::ClientRateLimitExceeded,
            )?;
        }
        match self.restrictions.limit {
            Some(limit) => self.count(context.admit(key, limit), Reason::RateLimitExceeded),
            None => Ok(()),
        }
    }

    /// Notes the state of a limit, and whether it admits the request.
    fn count(&mut self, admitted: Result<RateStatus, Refusal>, reason: Reason) -> Result<(), Reason> {
        let (status, result) = match admitted {
            Ok(status) => (tighter(self.decision.rate, Some(status)), Ok(())),
            Err(Refusal::UsedUp(status)) => (Some(status), Err(reason)),
            Err(Refusal::Unavailable) => (None, Err(Reason::PolicyUnavailable)),
        };
        self.decision.rate = status;
        result
    }

    /// The state of the limits for a request that takes nothing from them.
    fn peek(&self) -> Option<RateStatus> {
        let of_client = self.restrictions.client_limit.and_then(|limit| {
            let client = self.client().ok()?;
            self.context.peek_client(self.key(), &client, limit).ok()
        });
        let limit = self.restrictions.limit;
        tighter(
            of_client,
            limit.and_then(|limit| self.context.peek(self.key(), limit).ok()),
        )
    }

    /// Whose requests the limit of each client counts.
    fn client(&self) -> Result<Client, Reason> {
        if let Some(digest) = self.token.and_then(ScopedToken::subject_digest) {
            return Ok(Client::Subject(digest));
        }
        Ok(Client::new(self.known_address()?))
    }
}

/// The limit with fewer requests remaining. Of equal ones the one that resets later, because until then no request is admitted.
fn tighter(one: Option<RateStatus>, other: Option<RateStatus>) -> Option<RateStatus> {
    let both = one.into_iter().chain(other);
    both.min_by_key(|status| (status.remaining, Reverse(status.reset)))
}
