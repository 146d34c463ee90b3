//! Describes the evidence for each step of a decision. It decides and matches nothing itself: see [`keyfence_core::decision`].

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};

use keyfence_core::config::Config;
use keyfence_core::config::key::{Key, Kind, OriginCheck, Restrictions};
use keyfence_core::config::origin::OriginPattern;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::credential::Credential;
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::token_error::TokenError;
use keyfence_core::decision::{Check, Decision, Outcome};
use keyfence_core::policy::origin_list::OriginMatch;
use keyfence_core::policy::{KeyMatch, Policy};

use super::near_miss::near_miss;

/// A decision, its request, and its policy: as compiled, and as the operator wrote it.
pub struct Evidence<'d> {
    pub config: &'d Config<'d>,
    pub keys: &'d [Key<'d>],
    pub policy: &'d Policy,
    pub head: &'d Head<'d>,
    pub decision: &'d Decision<'d, 'd>,
}

/// The name of a step in the output. Scripts depend on it.
pub fn name(check: Check) -> &'static str {
    match check {
        Check::Key => "key",
        Check::Validity => "life",
        Check::Kind => "kind",
        Check::Address => "address",
        Check::Origin => "origin",
        Check::Path => "path",
        Check::Scope => "scope",
        Check::Rate => "rate",
    }
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<'d> Evidence<'d> {
    /// The values that a check compared, as a sentence.
    pub fn of(&self, check: Check) -> String {
        let of_key = match check {
            Check::Key => self.key(),
            Check::Validity => self.validity(),
            Check::Kind => self.kind(),
            Check::Address => self.address(),
            Check::Origin => self.origin(),
            Check::Path => self.path(),
            Check::Scope => self.scope(),
            Check::Rate => self.rate(),
        };
        match self.of_token(check) {
            Some(of_token) => format!("{of_key}; {of_token}"),
            None => of_key,
        }
    }

    /// What a check compared with the lists of the scoped token. `None` if the token does not narrow it.
    fn of_token(&self, check: Check) -> Option<String> {
        let token = self.decision.token.as_deref()?;
        let matched = self.decision.matched.by_token.unwrap_or_default();
        match check {
            Check::Address if token.lists_networks() => Some(match (self.decision.matched.address, matched.network) {
                (Some(address), Some(network)) => format!("the token's ips: {address} is in {network}"),
                (Some(address), None) => format!("the token's ips: {address} is in none of them"),
                (None, _) => "the token's ips: the address is not known (give --ip)".into(),
            }),
            // The token is asked after the key.
            Check::Origin if token.lists_origins() && !self.is_refused_by_key() => {
                let pattern = |found| match found {
                    OriginMatch::Listed(id) => {
                        let pattern = token.origins().and_then(|origins| origins.pattern(id));
                        pattern.map_or_else(String::new, |pattern| pattern.to_string())
                    }
                    special => self.pattern(special),
                };
                let found = matched.origin.or(matched.own_origin).map(pattern);
                Some(match (found, self.head.origin) {
                    (Some(pattern), _) => format!("the token's origins: it matches {pattern}"),
                    (None, Some(_)) => "the token's origins: it is none of them".into(),
                    (None, None) => "the token lists origins".into(),
                })
            }
            Check::Path if token.reads_path() => Some("the token names scopes or indexes".into()),
            Check::Scope if token.reads_path() => Some(match matched.rule {
                Some(found) => format!("the token's scopes: it fits {}", found.rule),
                None if token.lists_scopes() => "the token's scopes: it fits no rule".into(),
                None => "the token lists indexes".into(),
            }),
            _ => None,
        }
    }

    fn token_reads_path(&self) -> bool {
        self.decision.token.as_ref().is_some_and(|token| token.reads_path())
    }

    /// Whether the key's own list refuses the origin.
    fn is_refused_by_key(&self) -> bool {
        let listed = self
            .decision
            .restrictions
            .map(|restrictions| !restrictions.origins().is_empty());
        let matched = &self.decision.matched;
        self.is_denied_for(Reason::OriginNotAllowed)
            && listed == Some(true)
            && matched.origin.or(matched.own_origin).is_none()
    }

    fn is_denied_for(&self, reason: Reason) -> bool {
        self.decision.outcome == Outcome::Deny(reason)
    }

    /// The restrictions that the request was checked against, as the operator wrote them.
    fn written(&self) -> Option<&'d Restrictions<'d>> {
        self.decision.restrictions?;
        match self.decision.key {
            Some(found) => Some(&self.written_key(found)?.restrictions),
            None => self.config.anonymous.as_ref(),
        }
    }

    /// A key as the operator wrote it.
    fn written_key(&self, found: KeyMatch<'_>) -> Option<&'d Key<'d>> {
        self.keys.iter().find(|key| key.id == found.key().id())
    }

    /// The id of a key; of one with labels or several entries, also which entry it is.
    fn entry(&self, found: KeyMatch<'_>) -> String {
        let id = found.key().id();
        let count = self.written_key(found).map_or(1, |key| key.entries.len());
        match found.label() {
            Some(label) => format!("{id}, entry {label},"),
            None if count > 1 => format!("{id}, entry {} of {count},", found.entry_index() + 1),
            None => id.to_string(),
        }
    }

    fn key(&self) -> String {
        let sources = list(&self.config.key_sources);
        match self.head.credential {
            Credential::Missing if self.decision.restrictions.is_some() => {
                format!("none in {sources}, so the anonymous policy applies")
            }
            Credential::Missing if self.policy.anonymous().is_some() => {
                format!("none in {sources}, and no scope of the anonymous policy allows this method and path")
            }
            Credential::Missing => format!("none in {sources}, and there is no anonymous policy"),
            Credential::Ambiguous => format!("more than one in {sources}"),
            Credential::One(presented) => {
                let source = self.config.key_sources.get(presented.source);
                let source = source.map_or_else(String::new, ToString::to_string);
                match (
                    self.decision.key,
                    &self.decision.token,
                    self.decision.matched.token_error,
                ) {
                    (Some(found), Some(token), _) => {
                        let user = token.subject().map_or_else(String::new, |sub| format!(" for {sub}"));
                        let (id, end) = (found.key().id(), token.expires_at());
                        format!("a scoped token of {id}{user} in {source}, valid until {end}")
                    }
                    (Some(found), ..) => format!("{} in {source}", self.entry(found)),
                    (None, _, Some(error)) => {
                        let in_feed = self.in_feed(error == TokenError::Parent, "that of a key of the feed");
                        format!("the scoped token in {source} is refused: {error}{in_feed}")
                    }
                    (None, ..) => {
                        let in_feed = self.in_feed(true, "one of the feed");
                        format!("the one in {source} is not in the policy{in_feed}")
                    }
                }
            }
        }
    }

    /// What a key or a list that is not found may be, if the policy has a feed.
    fn in_feed(&self, may_be: bool, what: &str) -> String {
        match &self.config.keys_from {
            Some(_) if may_be => format!("; it may be {what}, whose keys are known to gateways alone"),
            _ => String::new(),
        }
    }

    fn validity(&self) -> String {
        let Some(found) = self.decision.key else {
            return "not checked for anonymous requests".into();
        };
        let key = found.key();
        if !key.is_enabled() {
            return "enabled is false".into();
        }
        let Some(now) = self.decision.matched.time else {
            return "enabled, without dates".into();
        };
        let date = |name: &str, date| {
            let side = if now < date { "before" } else { "past" };
            format!("{side} {name} {date}")
        };
        let begin = key.not_before().map(|begin| date("not_before", begin));
        let end = key.expires_at().map(|end| date("expires_at", end));
        let entry_end = found.entry_expires_at().map(|end| date("the entry's expires_at", end));
        let dates = [begin, end, entry_end].into_iter().flatten();
        format!("enabled; {now} is {}", list(dates))
    }

    fn kind(&self) -> String {
        if self.decision.token.is_some() {
            return "a scoped token: from browsers and elsewhere".into();
        }
        match self.decision.key.map(|found| found.key().kind()) {
            None => "not checked for anonymous requests".into(),
            Some(Kind::Publishable) => "publishable: from browsers and elsewhere".into(),
            Some(Kind::Secret) if self.head.origin.is_some() => "secret, and the request has Origin".into(),
            Some(Kind::Secret) if self.head.is_from_browser() => "secret, and the request has Sec-Fetch-Site".into(),
            Some(Kind::Secret) => "secret, and nothing in the request is a browser's".into(),
        }
    }

    fn address(&self) -> String {
        let networks = self.written().map_or(&[][..], |written| &written.allowed_ips);
        let matched = &self.decision.matched;
        match (networks, matched.address, matched.network) {
            ([], ..) => "no allowed_ips: from any address".into(),
            (_, Some(address), Some(network)) => format!("{address} is in {network}"),
            (_, Some(address), None) => format!("{address} is in none of {}", list(networks)),
            (_, None, _) => format!("not known (give --ip), and allowed_ips is {}", list(networks)),
        }
    }

    fn origin(&self) -> String {
        if self.decision.is_preflight && self.decision.key.is_none() {
            return self.origin_of_any_key();
        }
        let Some(written) = self.written() else {
            return String::new();
        };
        let patterns = &written.allowed_origins;
        if patterns.is_empty() {
            return if self.decision.is_preflight {
                "no allowed_origins, so no page may use the key".into()
            } else {
                "no allowed_origins: from any page, and without CORS headers".into()
            };
        }
        let Some(origin) = self.head.origin else {
            let check = match written.origin_check {
                OriginCheck::Required => "required",
                OriginCheck::RequiredOrSameOrigin => return self.own_origin(patterns),
                OriginCheck::IfPresent => "if_present",
                OriginCheck::CorsOnly => "cors_only",
            };
            return format!("the request has none, and origin_check is {check}");
        };
        if let Some(found) = self.decision.matched.origin {
            return format!("{} matches {}", text(origin), self.pattern(found));
        }
        if written.origin_check == OriginCheck::RequiredOrSameOrigin && self.head.own_origin().is_some() {
            return self.own_origin(patterns);
        }
        let near = near_miss(origin, patterns).map_or_else(String::new, |near| format!("; {near}"));
        let served = match written.origin_check {
            OriginCheck::CorsOnly if !self.decision.is_preflight => {
                "; origin_check is cors_only, so it is served without CORS headers"
            }
            _ => "",
        };
        format!("{} is none of {}{near}{served}", text(origin), list(patterns))
    }

    /// The text of the pattern that an origin matched.
    fn pattern(&self, found: OriginMatch) -> String {
        match found {
            OriginMatch::Listed(id) => {
                let pattern = self.policy.origins().pattern(id);
                pattern.map_or_else(String::new, |pattern| pattern.to_string())
            }
            OriginMatch::Null => OriginPattern::Null.to_string(),
            OriginMatch::Any => OriginPattern::Any.to_string(),
        }
    }

    /// A request whose `Origin` is missing or `null`, which may come from a page on the API's own origin.
    fn own_origin(&self, patterns: &[OriginPattern]) -> String {
        let Some(own) = self.head.own_origin() else {
            return "the request has none, nor Sec-Fetch-Site: same-origin, and origin_check is required_or_same_origin".into();
        };
        let site = format!("the request names none, and comes from its own site {}", text(&own));
        match self.decision.matched.own_origin {
            Some(found) => format!("{site}, which matches {}", self.pattern(found)),
            None => format!("{site}, which is none of {}", list(patterns)),
        }
    }

    /// A preflight without a key, which is checked against the origins of all enabled keys.
    fn origin_of_any_key(&self) -> String {
        let origin = self.head.origin.unwrap_or_default();
        if let Some(found) = self.decision.matched.origin {
            let pattern = self.pattern(found);
            return format!("{} matches {pattern} of {}", text(origin), self.owner_of(found));
        }
        let all = self
            .keys
            .iter()
            .map(|key| &key.restrictions)
            .chain(&self.config.anonymous);
        let patterns: Vec<OriginPattern> = all.flat_map(|written| written.allowed_origins.clone()).collect();
        let near = near_miss(origin, &patterns).map_or_else(String::new, |near| format!("; {near}"));
        let in_feed = self.in_feed(true, "in that of a key of the feed");
        format!(
            "{} is in no allowed_origins of an enabled key{near}{in_feed}",
            text(origin)
        )
    }

    /// The first enabled key that lists the pattern which an origin matched.
    fn owner_of(&self, found: OriginMatch) -> &'d str {
        let keys = self.policy.keys().iter().filter(|key| key.is_enabled());
        let owner = keys
            .into_iter()
            .find(|key| key.restrictions().origins().contains(found));
        owner.map_or("anonymous", |key| key.id())
    }

    fn path(&self) -> String {
        let path = text(self.head.bare_path());
        if self
            .decision
            .restrictions
            .is_none_or(|restrictions| restrictions.scopes().is_none())
        {
            "no scopes: any path".into()
        } else if self.is_denied_for(Reason::AmbiguousPath) {
            format!(
                "{path} has an empty or dot segment, an encoded slash, backslash or dot, a semicolon, or a byte outside ASCII"
            )
        } else {
            format!("{path} has one reading")
        }
    }

    fn scope(&self) -> String {
        let Some((written, names)) = self
            .written()
            .and_then(|written| Some((written, written.scopes.as_ref()?)))
        else {
            return if self.is_denied_for(Reason::IndexNotAllowed) {
                "no scopes, but indexes needs a scope whose rule names the index in the path".into()
            } else {
                "no scopes: any method, path and index".into()
            };
        };
        let request = format!("{} {}", text(self.head.method), text(self.head.bare_path()));
        let Some(found) = self.decision.matched.rule else {
            return format!("{request} fits no rule of {}", list(names));
        };
        let fits = format!("{request} fits {}", found.rule);
        match (&written.indexes, found.index.map(text)) {
            (None, _) => fits,
            (Some(_), None) => format!("{fits}, which names no index"),
            (Some(indexes), Some(index)) if self.is_denied_for(Reason::IndexNotAllowed) && self.token_reads_path() => {
                format!(
                    "{fits}, but the index {index} is not both one of {} and allowed by the token",
                    list(indexes)
                )
            }
            (Some(indexes), Some(index)) if self.is_denied_for(Reason::IndexNotAllowed) => {
                format!("{fits}, but the index {index} is none of {}", list(indexes))
            }
            (Some(indexes), Some(index)) => format!("{fits}, and the index {index} is one of {}", list(indexes)),
        }
    }

    fn rate(&self) -> String {
        let restrictions = self.decision.restrictions;
        let of_client = restrictions
            .and_then(|restrictions| restrictions.client_limit())
            .map(|limit| format!("1 of {limit} in 60 seconds for {}", self.client()));
        let of_key = restrictions
            .and_then(|restrictions| restrictions.limit())
            .map(|limit| format!("1 of {limit} in 60 seconds"));
        match (of_client, of_key) {
            (None, None) => "no limit".into(),
            (Some(one), None) | (None, Some(one)) => format!("{one}, in a fresh window"),
            (Some(of_client), Some(of_key)) => format!("{of_client}, and {of_key} for all, in fresh windows"),
        }
    }

    /// Whose requests the limit of each client counts.
    fn client(&self) -> String {
        match self.decision.matched.client {
            Some(Client::V4(address)) => format!("the client {}", Ipv4Addr::from(address)),
            Some(Client::V6Network(network)) => {
                let bits = u128::from(u64::from_be_bytes(network)) << 64;
                format!("the clients in {}/64", Ipv6Addr::from(bits))
            }
            Some(Client::Subject(_)) => "the token's sub".into(),
            Some(Client::Unknown) | None => "all clients whose address is not known (give --ip)".into(),
        }
    }
}
