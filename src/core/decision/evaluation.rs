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
use super::scoped_token::{ScopedToken, TokenError, Unverified};
use crate::config::api_key::KeyDigest;
use crate::config::key::{Kind, OriginCheck};
use crate::policy::networks::Networks;
use crate::policy::scopes::ScopeAnswer;
use crate::policy::{Key, KeyMatch, Policy, Restrictions};

/// Decides on a request. Nothing is kept between requests but what `context` keeps.
pub fn decide<'p, 'r>(policy: &'p Policy, head: &'r Head<'r>, context: &impl RequestContext) -> Decision<'p, 'r> {
    decide_with_trace(policy, head, context, &mut |_, _| {})
}

/// Decides on a request, and calls `trace` with the result of each check as it is made. The first that fails is the last.
pub fn decide_with_trace<'p, 'r>(
    policy: &'p Policy,
    head: &'r Head<'r>,
    context: &impl RequestContext,
    trace: &mut impl FnMut(Check, Result<(), Reason>),
) -> Decision<'p, 'r> {
    let subject = identify(policy, head, context);
    if head.is_preflight() {
        let decision = match subject {
            Err(Unidentified {
                reason: Reason::PolicyUnavailable,
                ..
            }) => preflight::unavailable(policy, head),
            Err(_) => preflight::decide(policy, head, None, None),
            Ok(subject) => preflight::decide(policy, head, subject.key, subject.token),
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
    let origin = head.origin.and_then(|origin| policy.match_origin(restrictions, origin));
    let is_any_alone = match restrictions {
        Some(restrictions) => restrictions.origins.is_any_alone(),
        None => policy.union.is_any_alone(),
    };
    let mut decision = Decision {
        outcome: Outcome::Allow,
        enforcement: restrictions.map_or(policy.response.enforcement, |restrictions| restrictions.enforcement),
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
        is_preflight: false,
    };
    trace(Check::Key, subject.as_ref().map(drop).map_err(|error| error.reason));
    let result = subject.map_err(|error| error.reason).and_then(|subject| {
        let mut evaluation = Evaluation {
            policy,
            head,
            key: subject.key,
            token: subject.token,
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

/// Whose request it is.
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

/// Why it is not known whose request it is.
struct Unidentified {
    reason: Reason,
    token_error: Option<TokenError>,
}

impl From<Reason> for Unidentified {
    fn from(reason: Reason) -> Self {
        Unidentified {
            reason,
            token_error: None,
        }
    }
}

impl From<TokenError> for Unidentified {
    fn from(error: TokenError) -> Self {
        Unidentified {
            reason: error.reason(),
            token_error: Some(error),
        }
    }
}

fn identify<'p>(
    policy: &'p Policy,
    head: &Head<'_>,
    context: &impl RequestContext,
) -> Result<Subject<'p>, Unidentified> {
    match head.credential {
        Credential::Ambiguous => Err(Reason::AmbiguousApiKey.into()),
        Credential::Missing => policy
            .anonymous
            .as_ref()
            .filter(|restrictions| is_for_anonymous(restrictions, head))
            .map(|restrictions| Subject {
                key: None,
                token: None,
                restrictions,
            })
            .ok_or(Reason::MissingApiKey.into()),
        Credential::One(presented) => find_key(policy, &presented, context),
    }
}

/// Looks a credential up as a key, and if it is none, as a token.
fn find_key<'p>(
    policy: &'p Policy,
    presented: &PresentedKey<'_>,
    context: &impl RequestContext,
) -> Result<Subject<'p>, Unidentified> {
    let longest = policy.max_credential_length();
    let digest = presented.digest(longest).ok_or(Reason::InvalidApiKey)?;
    if let Some(key) = policy.find_key(&digest) {
        return Ok(Subject::of_key(key, None));
    }
    let text = presented.text(longest).filter(|text| jwt::begins_as_token(text));
    let token = find_token(policy, &text.ok_or(Reason::InvalidApiKey)?, digest, context)?;
    let key = policy.parent(token.key).ok_or(TokenError::Parent)?;
    Ok(Subject::of_key(key, Some(token)))
}

/// Verifies a token, unless an earlier request has presented it. What costs less is checked before the signature. Only what depends on the
/// signature is remembered: the time is compared on each request.
fn find_token(
    policy: &Policy,
    text: &str,
    digest: KeyDigest,
    context: &impl RequestContext,
) -> Result<Arc<ScopedToken>, Unidentified> {
    let now = context.now().map_err(|Unavailable| Reason::PolicyUnavailable)?;
    if let Some(verdict) = context.remembered_token(&digest, now) {
        return Ok(verdict.at(now)?);
    }
    if !jwt::has_form(text) {
        return Err(Reason::InvalidApiKey.into());
    }
    let token = Unverified::read(policy, text)?;
    token.check_time(now)?;
    let verdict = token.verdict();
    context.remember_token(digest, &verdict);
    Ok(verdict.at(now)?)
}

/// Whether the request may do without a key. If the scopes of `anonymous` do not fit method and path, a key is missing.
fn is_for_anonymous(restrictions: &Restrictions, head: &Head<'_>) -> bool {
    restrictions.scopes.as_ref().is_none_or(|rules| {
        let path = head.bare_path();
        !is_ambiguous(path) && matches!(rules.answer(head.method, path, [None; 2]), ScopeAnswer::Fits(_))
    })
}

/// The checks after the first, of a request whose key is known or that needs none.
struct Evaluation<'p, 'r, 'e, C> {
    policy: &'p Policy,
    head: &'r Head<'r>,
    key: Option<KeyMatch<'p>>,
    token: Option<Arc<ScopedToken>>,
    restrictions: &'p Restrictions,
    context: &'e C,
    /// Gets what each check compared and matched.
    decision: &'e mut Decision<'p, 'r>,
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
        let of_token = self.token.as_ref().map(|token| &token.networks);
        let of_token = of_token.filter(|networks| !networks.is_empty());
        if networks.is_empty() && of_token.is_none() {
            return Ok(());
        }
        let address = self.trusted_address()?;
        let find = |networks: &Networks| address.and_then(|address| networks.find(address));
        let (network, by_token) = (find(networks), of_token.and_then(find));
        self.decision.matched.address = address;
        self.decision.matched.network = network;
        self.decision.matched.by_token.network = by_token;
        let passes = (networks.is_empty() || network.is_some()) && (of_token.is_none() || by_token.is_some());
        if passes { Ok(()) } else { Err(Reason::IpNotAllowed) }
    }

    fn trusted_address(&self) -> Result<Option<IpAddr>, Reason> {
        let address = self.context.source_address();
        let address = address.map_err(|Unavailable| Reason::PolicyUnavailable)?;
        Ok(address.trusted(self.policy.client_ip))
    }

    fn origin(&mut self) -> Result<(), Reason> {
        if self.fits_origins_of_key() && self.fits_origins_of_token() {
            Ok(())
        } else {
            Err(Reason::OriginNotAllowed)
        }
    }

    fn fits_origins_of_key(&mut self) -> bool {
        let restrictions = self.restrictions;
        let matched = &mut self.decision.matched;
        restrictions.origins.is_empty()
            || matched.origin.is_some()
            || match restrictions.origin_check {
                OriginCheck::Required => false,
                // A page on this API's own site may have sent the request, and that site be listed.
                OriginCheck::RequiredOrSameOrigin => {
                    let own = self.head.own_origin();
                    matched.own_origin = own.and_then(|own| self.policy.match_origin(Some(restrictions), &own));
                    matched.own_origin.is_some()
                }
                OriginCheck::IfPresent => self.head.origin.is_none(),
                OriginCheck::CorsOnly => true,
            }
    }

    fn fits_origins_of_token(&mut self) -> bool {
        let Some(token) = self.token.as_ref().filter(|token| token.lists_origins()) else {
            return true;
        };
        let by_token = &mut self.decision.matched.by_token;
        by_token.origin = self.head.origin.and_then(|origin| token.match_origin(origin));
        by_token.origin.is_some()
            || match self.restrictions.origin_check {
                OriginCheck::Required => false,
                OriginCheck::RequiredOrSameOrigin => {
                    let own = self.head.own_origin();
                    by_token.own_origin = own.and_then(|own| token.match_origin(&own));
                    by_token.own_origin.is_some()
                }
                // A token's list is there to refuse, also where the key's only decides what pages may read.
                OriginCheck::IfPresent | OriginCheck::CorsOnly => self.head.origin.is_none(),
            }
    }

    fn path(&mut self) -> Result<(), Reason> {
        let of_token = self.token.as_ref();
        let is_read = self.restrictions.scopes.is_some() || of_token.is_some_and(|token| token.reads_path());
        if is_read && is_ambiguous(self.head.bare_path()) {
            return Err(Reason::AmbiguousPath);
        }
        Ok(())
    }

    /// Asks the rules of the key, and those of the token. A token with indexes of its own and no scopes is asked with the key's rules: one of
    /// them has to find an index that both allow.
    fn scope(&mut self) -> Result<(), Reason> {
        let (method, path) = (self.head.method, self.head.bare_path());
        let (key_scopes, key_indexes) = (self.restrictions.scopes.as_deref(), self.restrictions.indexes.as_ref());
        let token_indexes = self.token.as_ref().and_then(|token| token.indexes.as_ref());
        let token_scopes = self.token.as_ref().and_then(|token| token.scopes(self.policy));
        let of_key = match token_scopes {
            Some(_) => [key_indexes, None],
            None => [key_indexes, token_indexes],
        };
        let key_answer = key_scopes.map(|rules| rules.answer(method, path, of_key));
        // Only a rule tells which segment of the path is the index.
        let has_no_rule = key_scopes.is_none() && of_key.iter().any(Option::is_some);
        let token_answer = token_scopes.map(|mut scopes| {
            let of_token = [token_indexes, None];
            scopes.try_fold(ScopeAnswer::NoRule, |best, rules| {
                match rules.answer(method, path, of_token) {
                    fits @ ScopeAnswer::Fits(_) => Err(fits),
                    ScopeAnswer::NoRule => Ok(best),
                    no_index @ ScopeAnswer::NoIndex(_) => Ok(no_index),
                }
            })
        });
        let token_answer = token_answer.map(|answer| answer.unwrap_or_else(|fits| fits));
        self.decision.matched.rule = key_answer.and_then(ScopeAnswer::rule);
        self.decision.matched.by_token.rule = token_answer.and_then(ScopeAnswer::rule);
        let answers = [key_answer, token_answer];
        let has = |wanted: fn(&ScopeAnswer<'_, '_>) -> bool| answers.iter().flatten().any(wanted);
        if has(|answer| matches!(answer, ScopeAnswer::NoRule)) {
            return Err(Reason::ScopeNotAllowed);
        }
        if has_no_rule || has(|answer| matches!(answer, ScopeAnswer::NoIndex(_))) {
            return Err(Reason::IndexNotAllowed);
        }
        Ok(())
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
        if let Some(digest) = self.token.as_ref().and_then(|token| token.subject_digest()) {
            return Ok(Client::Subject(digest));
        }
        let address = match self.decision.matched.address {
            None => self.trusted_address()?,
            compared => compared,
        };
        Ok(Client::new(address))
    }
}

/// The limit with fewer requests remaining. Of equal ones the one that resets later, because until then no request is admitted.
fn tighter(one: Option<RateStatus>, other: Option<RateStatus>) -> Option<RateStatus> {
    let both = one.into_iter().chain(other);
    both.min_by_key(|status| (status.remaining, Reverse(status.reset)))
}
