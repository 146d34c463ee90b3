//! The checks of what a scoped token narrows. Each comes after the check of its key: a request has to satisfy both.

use super::context::RequestContext;
use super::evaluation::Evaluation;
use super::outcome::MatchedByToken;
use super::reason::Reason;
use super::scoped_token::ScopedToken;
use crate::config::key::OriginCheck;
use crate::policy::scopes::ScopeAnswer;

impl<'p, 'r, C: RequestContext> Evaluation<'p, 'r, '_, C> {
    fn by_token(&mut self) -> &mut MatchedByToken<'p, 'r> {
        self.decision.matched.by_token.get_or_insert_default()
    }

    /// The address is in one of the token's networks.
    #[cold]
    pub(super) fn address_of_token(&mut self, token: &ScopedToken) -> Result<(), Reason> {
        if !token.lists_networks() {
            return Ok(());
        }
        let address = self.known_address()?;
        let network = address.and_then(|address| token.networks.find(address));
        self.decision.matched.address = address;
        self.by_token().network = network;
        network.map(drop).ok_or(Reason::IpNotAllowed)
    }

    /// The origin matches one of the token's.
    #[cold]
    pub(super) fn origin_of_token(&mut self, token: &ScopedToken) -> Result<(), Reason> {
        if !token.lists_origins() {
            return Ok(());
        }
        let head = self.head;
        let origin = head.origin.and_then(|origin| token.match_origin(origin));
        self.by_token().origin = origin;
        let passes = origin.is_some()
            || match self.restrictions.origin_check {
                OriginCheck::Required => false,
                OriginCheck::RequiredOrSameOrigin => {
                    let own = head.own_origin().and_then(|own| token.match_origin(&own));
                    self.by_token().own_origin = own;
                    own.is_some()
                }
                // A token's list is there to refuse, also where the key's only decides what pages may read.
                OriginCheck::IfPresent | OriginCheck::CorsOnly => head.origin.is_none(),
            };
        if passes { Ok(()) } else { Err(Reason::OriginNotAllowed) }
    }

    /// Method, path and index fit the rules of the key and those of the token. A token with indexes of its own and no scopes is asked with the
    /// key's rules: one of them has to find an index that both allow.
    #[cold]
    pub(super) fn scope_of_token(&mut self, token: &ScopedToken) -> Result<(), Reason> {
        let (method, path) = (self.head.method, self.head.bare_path());
        let (scopes, indexes) = (self.restrictions.scopes.as_deref(), self.restrictions.indexes.as_ref());
        let of_token = token.scopes(self.in_force.policy);
        let narrowed = token.indexes.as_ref();
        let indexes = match of_token {
            Some(_) => [indexes, None],
            None => [indexes, narrowed],
        };
        // Only a rule tells which segment of the path is the index.
        let has_no_rule = scopes.is_none() && indexes.iter().any(Option::is_some);
        let by_key = scopes.map(|rules| rules.answer(method, path, indexes));
        // One rule of any of its scopes is enough.
        let by_token = of_token.map(|scopes| {
            scopes.fold(ScopeAnswer::NoRule, |best, rules| match best {
                ScopeAnswer::Fits(_) => best,
                ScopeAnswer::NoRule => rules.answer(method, path, [narrowed, None]),
                ScopeAnswer::NoIndex(_) => match rules.answer(method, path, [narrowed, None]) {
                    ScopeAnswer::NoRule => best,
                    better => better,
                },
            })
        });
        self.decision.matched.rule = by_key.and_then(ScopeAnswer::rule);
        self.by_token().rule = by_token.and_then(ScopeAnswer::rule);
        let answers = [by_key, by_token];
        let mut answers = answers.iter().flatten();
        if answers.clone().any(|answer| matches!(answer, ScopeAnswer::NoRule)) {
            return Err(Reason::ScopeNotAllowed);
        }
        if has_no_rule || answers.any(|answer| matches!(answer, ScopeAnswer::NoIndex(_))) {
            return Err(Reason::IndexNotAllowed);
        }
        Ok(())
    }
}
