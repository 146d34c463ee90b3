//! What each step of a decision compared, in words. The decision is not made here: see [`keyfence_core::decision`].

use std::fmt::Display;
use std::net::IpAddr;

use keyfence_core::config::Config;
use keyfence_core::config::key::{Key, Kind, OriginCheck, Restrictions};
use keyfence_core::config::origin::{
    HostPattern, LabelPattern, OriginErrorKind, OriginPattern, PortPattern, TuplePattern,
};
use keyfence_core::config::scope::{Rule, Segment};
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::credential::Credential;
use keyfence_core::decision::rate::RateStatus;
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::{Check, Decision};
use keyfence_core::policy::networks::Networks;
use keyfence_core::policy::origins::OriginTable;
use keyfence_core::policy::scopes::{IndexList, ScopeAnswer, ScopeRules};

/// A decision that was made, with the configuration that it was made by.
pub struct Decided<'d> {
    pub config: &'d Config<'d>,
    pub keys: &'d [Key<'d>],
    pub head: &'d Head<'d>,
    pub decision: &'d Decision<'d, 'd>,
    pub address: Option<IpAddr>,
    pub now: Timestamp,
}

/// The step in one word.
pub fn name(step: Check) -> &'static str {
    match step {
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

impl<'d> Decided<'d> {
    /// What the step held against what.
    pub fn compared(&self, step: Check, outcome: Result<(), Reason>) -> String {
        match step {
            Check::Key => self.key(outcome),
            Check::Validity => self.validity(),
            Check::Kind => self.kind(),
            Check::Address => self.address(),
            Check::Origin => self.origin(),
            Check::Path => self.path(outcome),
            Check::Scope => self.scope(),
            Check::Rate => self.rate(),
        }
    }

    /// The key that was found, as the operator wrote it.
    fn found_key(&self) -> Option<&'d Key<'d>> {
        let (_, found) = self.decision.key?;
        self.keys.iter().find(|key| key.id == *found.id)
    }

    /// What the request was held against: the key's or the anonymous policy.
    fn access(&self) -> Option<&'d Restrictions<'d>> {
        match self.found_key() {
            Some(key) => Some(&key.restrictions),
            None => self.config.anonymous.as_ref(),
        }
    }

    fn key(&self, outcome: Result<(), Reason>) -> String {
        let sources = list(&self.config.key_sources);
        match (self.head.credential, outcome) {
            (Credential::Missing, Ok(())) => format!("none in {sources}, so the anonymous policy holds"),
            (Credential::Missing, Err(_)) if self.config.anonymous.is_some() => {
                format!("none in {sources}, and the scopes of anonymous do not fit method and path")
            }
            (Credential::Missing, Err(_)) => format!("none in {sources}, and there is no anonymous policy"),
            (Credential::Ambiguous, _) => format!("more than one in {sources}"),
            (Credential::One(presented), _) => {
                let source = self.config.key_sources.get(presented.source);
                let source = source.map_or_else(String::new, ToString::to_string);
                match self.decision.key {
                    Some((_, key)) => format!("{} in {source}", key.id),
                    None => format!("the one in {source} is not in the policy"),
                }
            }
        }
    }

    fn validity(&self) -> String {
        let Some(key) = self.found_key() else {
            return "only keys have one".into();
        };
        if !key.restrictions.enabled {
            return "enabled is false".into();
        }
        let side = |time: Timestamp| if self.now < time { "before" } else { "past" };
        let begin = key
            .not_before
            .map(|begin| format!("{} not_before {begin}", side(begin)));
        let end = key.expires_at.map(|end| format!("{} expires_at {end}", side(end)));
        let dates = list([begin, end].into_iter().flatten());
        if dates.is_empty() {
            "enabled, without dates".into()
        } else {
            format!("enabled; {} is {dates}", self.now)
        }
    }

    fn kind(&self) -> String {
        match self.found_key().map(|key| key.kind) {
            None => "only keys have one".into(),
            Some(Kind::Publishable) => "publishable: from browsers and elsewhere".into(),
            Some(Kind::Secret) if self.head.origin.is_some() => "secret, and the request has Origin".into(),
            Some(Kind::Secret) if self.head.is_from_browser() => "secret, and the request has Sec-Fetch-Site".into(),
            Some(Kind::Secret) => "secret, and nothing in the request is a browser's".into(),
        }
    }

    fn address(&self) -> String {
        let networks = self.access().map_or(&[][..], |access| &access.allowed_ips);
        if networks.is_empty() {
            return "no allowed_ips: from any address".into();
        }
        let Some(address) = self.address else {
            return format!("not known (give --ip), and allowed_ips is {}", list(networks));
        };
        let has = |network| Networks::new(std::slice::from_ref(network)).contains(address);
        match networks.iter().find(|network| has(network)) {
            Some(network) => format!("{address} is in {network}"),
            None => format!("{address} is in none of {}", list(networks)),
        }
    }

    fn origin(&self) -> String {
        let is_for_all = self.decision.is_preflight && self.decision.key.is_none();
        if is_for_all {
            return self.origin_of_any();
        }
        let Some(access) = self.access() else {
            return String::new();
        };
        let patterns = &access.allowed_origins;
        if patterns.is_empty() {
            return if self.decision.is_preflight {
                "no allowed_origins, so no page may use the key".into()
            } else {
                "no allowed_origins: from any page, and without CORS headers".into()
            };
        }
        let Some(origin) = self.head.origin else {
            let check = match access.origin_check {
                OriginCheck::Required => "required",
                OriginCheck::RequiredOrSameOrigin => return self.same_origin(patterns),
                OriginCheck::IfPresent => "if_present",
                OriginCheck::CorsOnly => "cors_only",
            };
            return format!("the request has none, and origin_check is {check}");
        };
        if let Some(pattern) = matching(patterns, origin) {
            return format!("{} matches {pattern}", text(origin));
        }
        if access.origin_check == OriginCheck::RequiredOrSameOrigin && self.head.same_origin().is_some() {
            return self.same_origin(patterns);
        }
        let near = near_miss(origin, patterns).map_or_else(String::new, |near| format!("; {near}"));
        let served = match access.origin_check {
            OriginCheck::CorsOnly if !self.decision.is_preflight => {
                "; origin_check is cors_only, so it is served without CORS headers"
            }
            _ => "",
        };
        format!("{} is none of {}{near}{served}", text(origin), list(patterns))
    }

    /// A request whose `Origin` is missing or `null` may come from a page on the API's own site.
    fn same_origin(&self, patterns: &[OriginPattern]) -> String {
        let Some(own) = self.head.same_origin() else {
            return "the request has none, nor Sec-Fetch-Site: same-origin, and origin_check is required_or_same_origin".into();
        };
        let site = format!("the request names none, and comes from its own site {}", text(&own));
        match matching(patterns, &own) {
            Some(pattern) => format!("{site}, which matches {pattern}"),
            None => format!("{site}, which is none of {}", list(patterns)),
        }
    }

    /// A preflight without a key is held against the origins of all.
    fn origin_of_any(&self) -> String {
        let origin = self.head.origin.unwrap_or_default();
        let keys = self.keys.iter().map(|key| (&*key.id, &key.restrictions));
        let anonymous = self.config.anonymous.iter().map(|access| ("anonymous", access));
        let mut lists = keys.chain(anonymous).filter(|(_, access)| access.enabled);
        let found = lists.find_map(|(id, access)| Some((id, matching(&access.allowed_origins, origin)?)));
        match found {
            Some((id, pattern)) => format!("{} matches {pattern} of {id}", text(origin)),
            None => {
                let all = self
                    .keys
                    .iter()
                    .map(|key| &key.restrictions)
                    .chain(&self.config.anonymous);
                let patterns: Vec<OriginPattern> = all.flat_map(|access| access.allowed_origins.clone()).collect();
                let near = near_miss(origin, &patterns).map_or_else(String::new, |near| format!("; {near}"));
                format!("{} is in no allowed_origins of an enabled key{near}", text(origin))
            }
        }
    }

    fn path(&self, outcome: Result<(), Reason>) -> String {
        let path = text(self.head.bare_path());
        match (self.access().and_then(|access| access.scopes.as_ref()), outcome) {
            (None, _) => "no scopes: any path".into(),
            (Some(_), Ok(())) => format!("{path} has one reading"),
            (Some(_), Err(_)) => {
                format!(
                    "{path} has an empty or dot segment, an encoded slash, backslash or dot, a semicolon, or no ASCII"
                )
            }
        }
    }

    fn scope(&self) -> String {
        let Some((access, names)) = self.access().and_then(|access| Some((access, access.scopes.as_ref()?))) else {
            return "no scopes: any method, path and index".into();
        };
        let scopes = self
            .config
            .scopes
            .iter()
            .filter(|scope| names.iter().any(|name| *name == scope.name));
        let rules = scopes.flat_map(|scope| scope.rules.iter().map(|rule| (scope.name.as_str(), rule)));
        let fitting: Vec<(&str, &Rule)> = rules.filter(|(_, rule)| self.fits(rule)).collect();
        let request = format!("{} {}", text(self.head.method), text(self.head.bare_path()));
        let Some((first_name, first)) = fitting.first() else {
            return format!("{request} fits no rule of {}", list(names));
        };
        let shown = |name: &str, rule: &Rule| format!("{request} fits {rule} of {name}");
        let Some(indexes) = &access.indexes else {
            return shown(first_name, first);
        };
        let list_of_indexes = IndexList::new(indexes);
        let listed = |index: &str| list_of_indexes.contains(index.as_bytes());
        let named: Vec<(&str, &Rule, String)> = fitting
            .iter()
            .filter_map(|(name, rule)| Some((*name, *rule, self.index_of(rule)?)))
            .collect();
        match named.iter().find(|(.., index)| listed(index)).or_else(|| named.first()) {
            None => format!("{}, which names no index", shown(first_name, first)),
            Some((name, rule, index)) if listed(index) => {
                format!(
                    "{}, and the index {index} is one of {}",
                    shown(name, rule),
                    list(indexes)
                )
            }
            Some((name, rule, index)) => {
                format!(
                    "{}, but the index {index} is none of {}",
                    shown(name, rule),
                    list(indexes)
                )
            }
        }
    }

    fn fits(&self, rule: &Rule) -> bool {
        // One rule alone has no more states than segments.
        let mut unbounded = usize::MAX;
        ScopeRules::new(&[rule], &mut unbounded)
            .is_some_and(|rules| rules.answer(self.head.method, self.head.bare_path(), None) == ScopeAnswer::Fits)
    }

    fn index_of(&self, rule: &Rule) -> Option<String> {
        let at = rule
            .path
            .segments
            .iter()
            .position(|segment| *segment == Segment::Index)?;
        // Before the first slash is nothing.
        self.head.bare_path().split(|byte| *byte == b'/').nth(at + 1).map(text)
    }

    fn rate(&self) -> String {
        match self.decision.rate {
            None => "no limit".into(),
            Some(RateStatus { limit, .. }) => format!("1 of {limit} in 60 seconds, in a fresh window"),
        }
    }
}

/// The pattern that allows the origin; `*` only where no other does.
fn matching<'p>(patterns: &'p [OriginPattern], origin: &[u8]) -> Option<&'p OriginPattern> {
    let allows = |pattern: &&OriginPattern| {
        let mut table = OriginTable::default();
        let list = table.add(std::slice::from_ref(*pattern), true);
        table.match_list(&list, origin).is_some()
    };
    let mut specific = patterns.iter().filter(|pattern| **pattern != OriginPattern::Any);
    specific.find(allows).or_else(|| patterns.iter().find(allows))
}

/// What keeps an origin from matching a pattern that may have been meant for it.
fn near_miss(origin: &[u8], patterns: &[OriginPattern]) -> Option<String> {
    if patterns.contains(&OriginPattern::Any) {
        return Some("* is one line of printable ASCII without commas, up to 512 bytes".into());
    }
    let origin = text(origin);
    let no_browser_sends = |kind: OriginErrorKind| Some(format!("no browser sends it: {}", kind.reason()));
    let sent = match OriginPattern::parse(&origin) {
        Ok(OriginPattern::Tuple(sent)) => sent,
        Ok(_) => return None,
        Err(error) => return no_browser_sends(error.kind),
    };
    let HostPattern::One(host) = &sent.hosts else {
        return no_browser_sends(OriginErrorKind::BadHost);
    };
    let tuples = || {
        patterns.iter().filter_map(|pattern| match pattern {
            OriginPattern::Tuple(tuple) => Some(tuple),
            _ => None,
        })
    };
    let differences = |pattern: &TuplePattern| {
        let port = match (pattern.port, sent.port) {
            (PortPattern::Any, _) => None,
            (written, sent) if written == sent => None,
            (PortPattern::Absent, _) => Some("no port"),
            (_, PortPattern::Absent) => Some("a port"),
            _ => Some("another port"),
        };
        let scheme = (pattern.scheme != sent.scheme).then_some("another scheme");
        let differences: Vec<&str> = scheme.into_iter().chain(port).collect();
        (!differences.is_empty()).then(|| format!("{pattern} has {}", differences.join(" and ")))
    };
    if let Some(pattern) = tuples().find(|pattern| pattern.hosts == sent.hosts) {
        return differences(pattern);
    }
    if let Some(pattern) = tuples().find(|pattern| pattern.hosts == HostPattern::Below(host.clone())) {
        return Some(format!("{pattern} is for subdomains, not for {host} itself"));
    }
    let labels = || {
        tuples().filter_map(|pattern| match &pattern.hosts {
            HostPattern::Label(label) => Some((pattern, label, label_before(host, label.parts()[2])?)),
            _ => None,
        })
    };
    let resembles = |(_, pattern, label): &(&TuplePattern, &LabelPattern, &str)| {
        let [prefix, suffix, _] = pattern.parts();
        !prefix.is_empty() && label.starts_with(prefix) || !suffix.is_empty() && label.ends_with(suffix)
    };
    let label_miss = |(pattern, wanted, label): (&TuplePattern, &LabelPattern, &str)| {
        let miss = label_miss(wanted, label).map(|miss| format!("in {pattern} {miss}"));
        miss.or_else(|| differences(pattern))
    };
    if let Some(nearest) = labels().find(resembles) {
        return label_miss(nearest);
    }
    let is_above = |pattern: &&TuplePattern| match &pattern.hosts {
        HostPattern::One(above) | HostPattern::Below(above) => label_before(host, above).is_some(),
        _ => false,
    };
    if let Some(above) = tuples().find(is_above) {
        return match &above.hosts {
            HostPattern::Below(_) => Some(format!("{above} has another scheme or port")),
            _ => Some(format!("{above} is for that host alone, not for its subdomains")),
        };
    }
    if let Some(other) = labels().next() {
        return label_miss(other);
    }
    let any_host = tuples().find(|pattern| pattern.hosts == HostPattern::Any && pattern.scheme == sent.scheme)?;
    differences(any_host).or_else(|| Some(format!("{any_host} is for hosts of letters, digits, -, _ and dots")))
}

/// What stands before `parent` and its dot.
fn label_before<'h>(host: &'h str, parent: &str) -> Option<&'h str> {
    host.strip_suffix(parent)?
        .strip_suffix('.')
        .filter(|_| !parent.is_empty())
}

/// Why the label does not fit; `None`: it does.
fn label_miss(pattern: &LabelPattern, label: &str) -> Option<String> {
    let [prefix, suffix, _] = pattern.parts();
    if !label.starts_with(prefix) || !label.ends_with(suffix) {
        let begins = (!prefix.is_empty()).then(|| format!("begins with {prefix}"));
        let ends = (!suffix.is_empty()).then(|| format!("ends with {suffix}"));
        let both: Vec<String> = begins.into_iter().chain(ends).collect();
        return Some(format!("the label {}", both.join(" and ")));
    }
    if label.len() <= prefix.len() + suffix.len() {
        return Some("* is one character or more".into());
    }
    label.contains('.').then(|| "* has no dot".into())
}
