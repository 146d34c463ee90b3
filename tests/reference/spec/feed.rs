//! Keys from a feed (spec, section 17): every form of every key kept as JSON, each rule looked up from scratch.
//!
//! Taken, where the specification is silent:
//! - What has to be retried after a page is retried when the whole page has been applied, the key that was refused first before the others.
//! - A key before another stays in force only if nothing else conflicts with it, neither by a digest nor by a token secret.
//! - A key that is held over does not keep a token secret from another either.
//! - A policy update looks at the keys in force first, then at those kept aside.
//! - Of several conflicts with the policy and with other fed keys, the first is reported: an id, a digest, a token secret of the policy; a
//!   header, a scope; a digest, a token secret of another fed key.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::origins;
use super::tokens;

/// A longer body is not read.
pub const MAX_BODY: usize = 262_144;

/// More pages are not one answer.
pub const MAX_PAGES: usize = 16_384;

/// What an answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A page with others behind it.
    More,
    /// The last page.
    Taken,
    /// The last page, with nothing in it, or of the same revision as before.
    NothingNew,
    Outdated,
    Malformed,
    TooLarge,
}

/// The feed as one VM has it.
#[derive(Clone, Debug)]
pub struct Feed {
    policy: Value,
    wrong: Wrong,
    table: Table,
    /// Since the first complete answer.
    is_loaded: bool,
    after: Option<(String, u64)>,
    /// Refused keys without an id, since the last complete answer.
    nameless: usize,
    progress: Option<Progress>,
}

/// An answer of which some pages have come.
#[derive(Clone, Debug)]
struct Progress {
    epoch: String,
    revision: u64,
    /// The table that a complete answer builds.
    second: Option<Table>,
    cursor: String,
    pages: usize,
    nameless: usize,
}

/// A page, as far as it can be read.
struct Page {
    epoch: String,
    revision: u64,
    complete: bool,
    removed: Vec<String>,
    set: Vec<Value>,
    next: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Table {
    /// Without those that are neither in force nor refused.
    entries: Vec<Entry>,
    /// How many were refused before.
    arrivals: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    in_force: Option<Value>,
    /// Of the newest form, if that is not the one in force.
    refused: Option<Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    code: &'static str,
    key: Value,
    arrival: u64,
    /// It is right by itself, and is tried again.
    is_aside: bool,
    /// Another fed key is in its way, and not the policy.
    waits: bool,
}

/// Why a key does not come in force.
#[derive(Clone, Copy)]
struct Conflict {
    code: &'static str,
    with_fed: bool,
}

impl Entry {
    fn is_held_over(&self) -> bool {
        self.in_force.is_some() && self.refused.is_some()
    }
}

/// What is wrong with a key by itself: `unknown_field` or `invalid_key`.
pub type Wrong = fn(&Value) -> Option<&'static str>;

impl Feed {
    pub fn new(policy: &Value) -> Feed {
        Self::with(policy, wrong)
    }

    /// With another way to see what is wrong with a key.
    pub fn with(policy: &Value, wrong: Wrong) -> Feed {
        Feed {
            policy: policy.clone(),
            wrong,
            table: Table::default(),
            is_loaded: false,
            after: None,
            nameless: 0,
            progress: None,
        }
    }

    pub fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    pub fn after(&self) -> Option<&(String, u64)> {
        self.after.as_ref()
    }

    pub fn cursor(&self) -> Option<&str> {
        self.progress.as_ref().map(|progress| &progress.cursor[..])
    }

    /// The next request, less `node` and `instance`, and with all refused keys in their order under `refused`.
    pub fn poll(&self, wait_seconds: u64) -> Value {
        json!({
            "after": self.after.as_ref().map(|(epoch, revision)| json!({"epoch": epoch, "revision": revision})),
            "cursor": self.cursor(),
            "wait_seconds": if self.progress.is_some() { 0 } else { wait_seconds },
        })
    }

    /// `(id, code)` of every refused key, sorted; those without an id have an empty one.
    pub fn refused(&self) -> Vec<(String, String)> {
        let named = self.table.entries.iter();
        let named = named.filter_map(|entry| Some((entry.id.clone(), entry.refused.as_ref()?.code.to_owned())));
        let nameless = std::iter::repeat_n((String::new(), "invalid_key".to_owned()), self.nameless);
        let mut refused: Vec<_> = named.chain(nameless).collect();
        refused.sort();
        refused
    }

    /// The keys in force, sorted by id.
    pub fn in_force(&self) -> Vec<(String, Value)> {
        let entries = self.table.entries.iter();
        let mut keys: Vec<_> = entries
            .filter_map(|entry| Some((entry.id.clone(), entry.in_force.clone()?)))
            .collect();
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        keys
    }

    /// The policy as it would be with the fed keys in force among its own; the decision is told where they are not known.
    pub fn effective_policy(&self) -> Value {
        let mut policy = self.policy.clone();
        let mut keys = policy["keys"].as_array().cloned().unwrap_or_default();
        if self.is_loaded {
            keys.extend(self.in_force().into_iter().map(|(_, key)| key));
        } else {
            policy["keys_from"]["unknown"] = true.into();
        }
        policy["keys"] = keys.into();
        policy
    }

    /// The call failed, or its status was not 200.
    pub fn fail(&mut self) {
        self.progress = None;
    }

    pub fn update(&mut self, policy: &Value) {
        self.policy = policy.clone();
        self.table.resolve(policy);
        if let Some(second) = self.progress.as_mut().and_then(|progress| progress.second.as_mut()) {
            second.resolve(policy);
        }
    }

    pub fn answer(&mut self, body: &[u8]) -> Outcome {
        let progress = self.progress.take();
        if body.len() > MAX_BODY {
            return Outcome::TooLarge;
        }
        let Some(page) = Page::read(body) else {
            return Outcome::Malformed;
        };
        let is_empty = page.removed.is_empty() && page.set.is_empty();
        if page.next.is_some() && is_empty {
            return Outcome::Malformed;
        }
        let mut pages = 1;
        let mut nameless = if page.complete { 0 } else { self.nameless };
        let mut second = page.complete.then(Table::default);
        if let Some(progress) = progress {
            let is_same = (&progress.epoch, progress.revision, progress.second.is_some())
                == (&page.epoch, page.revision, page.complete);
            pages += progress.pages;
            if !is_same || page.next.as_ref() == Some(&progress.cursor) || pages > MAX_PAGES {
                return Outcome::Malformed;
            }
            (second, nameless) = (progress.second, progress.nameless);
        } else {
            let is_same_epoch = self.after.as_ref().is_some_and(|(epoch, _)| *epoch == page.epoch);
            if is_same_epoch
                && self
                    .after
                    .as_ref()
                    .is_some_and(|(_, revision)| page.revision < *revision)
            {
                return Outcome::Outdated;
            }
            if !page.complete && !is_same_epoch {
                return Outcome::Malformed;
            }
        }
        let table = second.as_mut().unwrap_or(&mut self.table);
        nameless += page.set.iter().filter(|key| id_of(key).is_none()).count();
        table.apply(&page.removed, &page.set, &self.policy, self.wrong);
        if let Some(cursor) = page.next {
            self.progress = Some(Progress {
                epoch: page.epoch,
                revision: page.revision,
                second,
                cursor,
                pages,
                nameless,
            });
            return Outcome::More;
        }
        if let Some(mut second) = second {
            second.hold_over(&self.table, &self.policy);
            self.table = second;
            self.is_loaded = true;
        }
        // Taken: a complete answer counts as a change even if it is empty; an answer with the known revision does not.
        let says_something = page.complete || !is_empty || pages > 1;
        let position = Some((page.epoch, page.revision));
        let is_new = says_something && self.after != position;
        (self.after, self.nameless) = (position, nameless);
        if is_new { Outcome::Taken } else { Outcome::NothingNew }
    }
}

impl Page {
    fn read(body: &[u8]) -> Option<Page> {
        let Value::Object(body) = serde_json::from_slice(body).ok()? else {
            return None;
        };
        let visible = |value: &Value, most: usize| {
            let text = value.as_str()?;
            let is_visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
            ((1..=most).contains(&text.len()) && is_visible).then(|| text.to_owned())
        };
        let list = |name: &str| match body.get(name) {
            None => Some(Vec::new()),
            Some(list) => list.as_array().cloned(),
        };
        let removed = list("removed")?;
        let removed = removed.iter().map(|id| id.as_str().map(str::to_owned));
        Some(Page {
            epoch: visible(body.get("epoch")?, 64)?,
            revision: whole(body.get("revision")?)?,
            complete: body.get("complete")?.as_bool()?,
            removed: removed.collect::<Option<_>>()?,
            set: list("set")?,
            next: match body.get("next") {
                None | Some(Value::Null) => None,
                Some(next) => Some(visible(next, 256)?),
            },
        })
    }
}

/// A whole number of 0 to 2^53, however it is written.
fn whole(number: &Value) -> Option<u64> {
    let number = number.as_f64()?;
    (number >= 0.0 && number <= 2f64.powi(53) && number.fract() == 0.0).then_some(number as u64)
}

impl Table {
    fn entry(&mut self, id: &str) -> &mut Entry {
        let at = self.entries.iter().position(|entry| entry.id == id);
        let at = at.unwrap_or_else(|| {
            self.entries.push(Entry {
                id: id.to_owned(),
                in_force: None,
                refused: None,
            });
            self.entries.len() - 1
        });
        &mut self.entries[at]
    }

    /// One page.
    fn apply(&mut self, removed: &[String], set: &[Value], policy: &Value, wrong: Wrong) {
        for id in removed {
            self.entries.retain(|entry| entry.id != *id);
        }
        let mut last: Vec<(&str, &Value)> = Vec::new();
        for key in set {
            if let Some(id) = id_of(key) {
                last.retain(|(earlier, _)| *earlier != id);
                last.push((id, key));
            }
        }
        let before = self.clone();
        for (id, key) in &last {
            match wrong(key) {
                Some(code) => {
                    self.refuse(id, key, Conflict { code, with_fed: false }, false);
                    if key["enabled"] == json!(false) {
                        self.entry(id).in_force = None;
                    }
                }
                None => (self.entry(id).in_force, self.entry(id).refused) = (None, None),
            }
        }
        for (id, key) in last.iter().filter(|(_, key)| wrong(key).is_none()) {
            self.enter_or_refuse(id, key, policy);
        }
        for (id, _) in &last {
            self.restore(id, &before, policy);
        }
        self.retry(policy, |refused| refused.waits);
        self.sweep();
    }

    /// After the last page: what was in force in the table before stays in force for keys that are refused.
    fn hold_over(&mut self, before: &Table, policy: &Value) {
        let ids: Vec<String> = self.entries.iter().map(|entry| entry.id.clone()).collect();
        for id in ids {
            self.restore(&id, before, policy);
        }
    }

    /// Puts the form of `before` in force where the newest is refused, does not say that the key is disabled, and there is none.
    fn restore(&mut self, id: &str, before: &Table, policy: &Value) {
        let older = before.entries.iter().find(|entry| entry.id == id);
        let older = older.and_then(|entry| entry.in_force.clone());
        let entry = self.entry(id);
        let is_held_over = entry
            .refused
            .as_ref()
            .is_some_and(|refused| refused.key["enabled"] != json!(false));
        if is_held_over
            && entry.in_force.is_none()
            && let Some(older) = older
            && self.conflict(id, &older, policy, true).is_none()
        {
            self.entry(id).in_force = Some(older);
        }
    }

    fn refuse(&mut self, id: &str, key: &Value, conflict: Conflict, is_aside: bool) {
        self.arrivals += 1;
        let refused = Refused {
            code: conflict.code,
            key: key.clone(),
            arrival: self.arrivals,
            is_aside,
            waits: conflict.with_fed,
        };
        self.entry(id).refused = Some(refused);
    }

    /// Keys that are held over go where they conflict with this one.
    fn enter_or_refuse(&mut self, id: &str, key: &Value, policy: &Value) -> bool {
        if let Some(conflict) = self.conflict(id, key, policy, false) {
            self.refuse(id, key, conflict, true);
            return false;
        }
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.id != id && entry.is_held_over())
        {
            if entry
                .in_force
                .as_ref()
                .is_some_and(|other| shares(key, other) || meets(key, other))
            {
                entry.in_force = None;
            }
        }
        let entry = self.entry(id);
        (entry.in_force, entry.refused) = (Some(key.clone()), None);
        true
    }

    /// Tries those kept aside, the first that was refused first, until none comes in force any more.
    fn retry(&mut self, policy: &Value, is_tried: impl Fn(&Refused) -> bool) {
        loop {
            let entries = self.entries.iter();
            let mut aside: Vec<(String, Refused)> = entries
                .filter_map(|entry| Some((entry.id.clone(), entry.refused.clone()?)))
                .filter(|(_, refused)| refused.is_aside && is_tried(refused))
                .collect();
            aside.sort_by_key(|(_, refused)| refused.arrival);
            let mut has_entered = false;
            for (id, refused) in aside {
                has_entered = self.enter_or_refuse(&id, &refused.key, policy);
                if has_entered {
                    break;
                }
                if let Some(again) = &mut self.entry(&id).refused {
                    again.arrival = refused.arrival;
                }
            }
            if !has_entered {
                return;
            }
        }
    }

    fn resolve(&mut self, policy: &Value) {
        for at in 0..self.entries.len() {
            let entry = self.entries[at].clone();
            let Some(key) = entry.in_force else { continue };
            if let Some(conflict) = self
                .conflict(&entry.id, &key, policy, false)
                .filter(|conflict| !conflict.with_fed)
            {
                self.entries[at].in_force = None;
                if entry.refused.is_none() {
                    self.refuse(&entry.id, &key, conflict, true);
                }
            }
        }
        self.retry(policy, |_| true);
        self.sweep();
    }

    fn sweep(&mut self) {
        self.entries
            .retain(|entry| entry.in_force.is_some() || entry.refused.is_some());
    }

    /// What keeps this form of `id` out; keys that are held over keep out only those of which `of_held` says so.
    fn conflict(&self, id: &str, key: &Value, policy: &Value, of_held: bool) -> Option<Conflict> {
        let own: Vec<&Value> = policy["keys"].as_array().into_iter().flatten().collect();
        let of_policy = |code| Some(Conflict { code, with_fed: false });
        if own.iter().any(|other| other["id"] == id) {
            return of_policy("duplicate_id");
        }
        let digests_of_key = digests(key);
        let shares = |other: &Value| digests(other).iter().any(|digest| digests_of_key.contains(digest));
        if own.iter().any(|other| shares(other)) {
            return of_policy("duplicate_api_key");
        }
        if own.iter().any(|other| meets(key, other)) {
            return of_policy("public_token_secret");
        }
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let listed = names(&policy["upstream_header_names"]);
        let mut set = key["upstream_headers"].as_object().into_iter().flatten();
        if !set.all(|(name, _)| listed.iter().any(|other| other.eq_ignore_ascii_case(name))) {
            return of_policy("unlisted_upstream_header");
        }
        if names(&key["scopes"])
            .iter()
            .any(|scope| policy["scopes"].get(scope).is_none())
        {
            return of_policy("unknown_scope");
        }
        let others = self
            .entries
            .iter()
            .filter(|entry| entry.id != id && (of_held || !entry.is_held_over()));
        let others: Vec<&Value> = others.filter_map(|entry| entry.in_force.as_ref()).collect();
        let with_fed = |code| Some(Conflict { code, with_fed: true });
        if others.iter().any(|other| shares(other)) {
            return with_fed("duplicate_api_key");
        }
        if others.iter().any(|other| meets(key, other)) {
            return with_fed("public_token_secret");
        }
        None
    }
}

/// Whether two keys have a digest in common.
fn shares(one: &Value, other: &Value) -> bool {
    digests(one).iter().any(|digest| digests(other).contains(digest))
}

/// Whether a token secret of one is a public key of the other.
fn meets(one: &Value, other: &Value) -> bool {
    let ((secrets, public), (others_secrets, others_public)) = (token_keys(one), token_keys(other));
    secrets.iter().any(|secret| others_public.contains(secret))
        || public.iter().any(|public| others_secrets.contains(public))
}

/// What requests may present, of all entries of a key.
pub fn digests(key: &Value) -> Vec<String> {
    let entries = match &key["api_key"] {
        Value::Array(entries) => entries.clone(),
        Value::Null => Vec::new(),
        entry => vec![entry.clone()],
    };
    let digest = |entry: &Value| {
        let text = entry["key"].as_str().or(entry.as_str())?;
        Some(match text.strip_prefix("sha256:") {
            Some(hex) => hex.to_ascii_lowercase(),
            None => Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    };
    entries.iter().filter_map(digest).collect()
}

/// The token secrets of a key, and its public keys, decoded.
fn token_keys(key: &Value) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let list = |name: &str| key["scoped_tokens"][name].as_array().cloned().unwrap_or_default();
    let secrets = list("secrets")
        .iter()
        .filter_map(Value::as_str)
        .filter_map(tokens::decoded)
        .collect();
    let public = list("public_keys")
        .iter()
        .filter_map(|key| tokens::decoded(key["x"].as_str()?))
        .collect();
    (secrets, public)
}

fn id_of(key: &Value) -> Option<&str> {
    let id = key["id"].as_str()?;
    let is_id = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    is_id.then_some(id)
}

/// What is wrong with a key by itself, of what the generator makes.
fn wrong(key: &Value) -> Option<&'static str> {
    const FIELDS: [&str; 17] = [
        "id",
        "name",
        "api_key",
        "kind",
        "enabled",
        "not_before",
        "expires_at",
        "allowed_origins",
        "origin_check",
        "allowed_ips",
        "scopes",
        "indexes",
        "rate_limit_per_minute",
        "rate_limit_per_minute_per_client",
        "upstream_headers",
        "scoped_tokens",
        "enforcement",
    ];
    const ENTRY: [&str; 3] = ["key", "label", "expires_at"];
    const TOKENS: [&str; 4] = ["secrets", "public_keys", "max_lifetime_seconds", "not_before"];
    let Some(fields) = key.as_object() else {
        return Some("invalid_key");
    };
    let knows = |fields: &Map<String, Value>, known: &[&str]| fields.keys().all(|name| known.contains(&&name[..]));
    let entries: Vec<&Value> = match &key["api_key"] {
        Value::Array(entries) => entries.iter().collect(),
        entry => vec![entry],
    };
    let nested = entries.iter().filter_map(|entry| entry.as_object());
    if !knows(fields, &FIELDS)
        || nested.clone().any(|entry| !knows(entry, &ENTRY))
        || key["scoped_tokens"]
            .as_object()
            .is_some_and(|tokens| !knows(tokens, &TOKENS))
    {
        return Some("unknown_field");
    }
    let is_absent_or = |name: &str, holds: fn(&Value) -> bool| fields.get(name).is_none_or(holds);
    let is_entry = |entry: &Value| match entry {
        Value::String(text) => is_presentable(text),
        Value::Object(entry) => entry.get("key").and_then(Value::as_str).is_some_and(is_presentable),
        _ => false,
    };
    let has_entries = match fields.get("api_key") {
        Some(Value::Array(entries)) => !entries.is_empty() && entries.iter().all(is_entry),
        Some(entry) => is_entry(entry),
        None => key["scoped_tokens"].is_object(),
    };
    let own = digests(key);
    let has_twice = (1..own.len()).any(|at| own[..at].contains(&own[at]));
    let is_text_list = |list: &Value| list.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    let is_right = has_entries
        && !has_twice
        && is_absent_or("enabled", Value::is_boolean)
        && is_absent_or("scopes", is_text_list)
        && is_absent_or("kind", |kind| *kind == "publishable" || *kind == "secret")
        && is_absent_or("rate_limit_per_minute", |limit| {
            whole(limit).is_some_and(|limit| limit >= 1)
        })
        && is_absent_or("allowed_origins", |list| {
            let list = list.as_array();
            list.is_some_and(|list| {
                list.iter()
                    .all(|origin| origin.as_str().is_some_and(origins::is_pattern))
            })
        })
        && is_absent_or("upstream_headers", |headers| {
            headers
                .as_object()
                .is_some_and(|headers| headers.values().all(Value::is_string))
        })
        && !(key["kind"] == "secret" && key["allowed_origins"].as_array().is_some_and(|list| !list.is_empty()));
    (!is_right).then_some("invalid_key")
}

/// A digest, or a raw key that is not a digest of another kind.
fn is_presentable(text: &str) -> bool {
    match text.strip_prefix("sha256:") {
        Some(hex) => hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !text.is_empty() && !text.starts_with("sha512:"),
    }
}
