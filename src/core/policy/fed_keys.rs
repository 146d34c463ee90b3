//! The keys of a feed: a table that changes in place, so that a change costs what changed.
//!
//! A key of the feed has an id, a form in force, and perhaps a newer form that was refused. A form stays in force when a newer one is wrong,
//! and goes when another key takes one of its API keys.

use std::collections::BTreeMap;
use std::mem;

use super::fed_form::Form;
use super::feed_policy::FeedPolicy;
use super::id_hash::id_hash;
use super::origin_list::{OriginMatch, OriginUnion};
use super::origins::OriginTable;
use super::refused_code::RefusedCode;
use super::scope_sets::ScopeSets;
use super::shards::Shards;
use super::token_verifier::TokenVerifier;
use super::{Key, KeyMatch, Policy};
use crate::config::api_key::KeyDigest;
use crate::config::key;

/// A key of a feed, in the form that it had when it was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FedKeyRef {
    slot: SlotIndex,
    /// No two forms have the same, in the whole life of the VM.
    form: u64,
}

type SlotIndex = u32;

/// A key that the feed sets.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all of a page are right")]
pub enum SetKey<'a> {
    /// It has no error of its own.
    Right(key::Key<'a>),
    /// It is refused.
    Wrong {
        /// Its id.
        id: Box<str>,
        /// Why.
        code: RefusedCode,
        /// Whether its `enabled` is absent or true.
        is_enabled: bool,
        /// What is wrong with it, and what to write instead.
        why: Box<str>,
    },
}

impl SetKey<'_> {
    fn id(&self) -> &str {
        match self {
            SetKey::Right(key) => &key.id,
            SetKey::Wrong { id, .. } => id,
        }
    }
}

/// A refused key.
#[derive(Debug, Clone, Copy)]
pub struct RefusedKey<'k> {
    /// Its id.
    pub id: &'k str,
    /// Why it is refused.
    pub code: RefusedCode,
    /// What is wrong with it, and what to write instead, if that is known.
    pub why: Option<&'k str>,
}

/// Of so many refused keys is kept what is wrong with them.
const KEPT_REASONS: usize = 10;

/// What is known of an id. At least one of the two is there.
#[derive(Debug)]
struct Slot {
    id: Box<str>,
    in_force: Option<InForceForm>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct InForceForm {
    number: u64,
    form: Form,
}

/// The newest form of a key, if it is refused.
#[derive(Debug)]
struct Refused {
    code: RefusedCode,
    /// Its place in the order in which refused keys came.
    arrival: u64,
    /// `None` if it is wrong by itself. Otherwise it may come in force when others change.
    form: Option<Box<Form>>,
    /// See [`RefusedKey::why`].
    why: Option<Box<str>>,
    /// Whether the form before it may stay in force.
    is_enabled: bool,
}

/// Why a form does not come in force.
struct Conflict {
    code: RefusedCode,
    with_other: bool,
}

impl From<RefusedCode> for Conflict {
    fn from(code: RefusedCode) -> Self {
        Conflict {
            code,
            with_other: false,
        }
    }
}

/// The keys of a feed.
#[derive(Debug)]
pub struct FedKeys {
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<SlotIndex>,
    by_id: Shards<SlotIndex>,
    by_digest: Shards<DigestRow>,
    token_keys: Shards<TokenKeyRow>,
    origins: OriginTable,
    /// How many lists of the union have `null`, and how many `*`.
    null_offers: usize,
    any_offers: usize,
    scope_sets: ScopeSets,
    /// The refused keys, in the order in which they came.
    refused: BTreeMap<u64, SlotIndex>,
    /// Those of them that another key of the feed keeps out, and not the policy.
    waiting: BTreeMap<u64, SlotIndex>,
    next_number: u64,
    in_force: usize,
    parents: usize,
    /// The origins in all lists.
    listed_origins: usize,
    /// Whether a form that could be in the way of others has gone.
    has_released: bool,
    /// The keys with scoped tokens that have changed since [`FedKeys::take_changed_parents`].
    changed_parents: Vec<FedKeyRef>,
}

/// An entry of `api_key`.
#[derive(Debug, Clone, Copy)]
struct DigestRow {
    digest: KeyDigest,
    slot: SlotIndex,
    /// Its index.
    entry: u32,
}

/// A token secret or a public key.
#[derive(Debug, Clone, Copy)]
struct TokenKeyRow {
    digest: KeyDigest,
    slot: SlotIndex,
    is_secret: bool,
}

impl FedKeys {
    /// An empty table. `before` is the table that it will replace, if any.
    pub fn new(before: Option<&FedKeys>) -> FedKeys {
        FedKeys {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: Shards::growing(),
            by_digest: Shards::growing(),
            token_keys: Shards::default(),
            origins: OriginTable::of_feed(),
            null_offers: 0,
            any_offers: 0,
            scope_sets: ScopeSets::default(),
            refused: BTreeMap::new(),
            waiting: BTreeMap::new(),
            // The old table does not change while the new one is filled, apart from its few refused keys at the end.
            next_number: before.map_or(0, |before| before.next_number),
            in_force: 0,
            parents: 0,
            listed_origins: 0,
            has_released: false,
            changed_parents: Vec::new(),
        }
    }

    /// The key with this id, if one is in force.
    pub fn get(&self, id: &str) -> Option<&Key> {
        Some(&self.in_force_form(self.find(id)?)?.form.key)
    }

    /// The key, and the entry of it, with this digest.
    pub fn find_key(&self, digest: &KeyDigest) -> Option<KeyMatch<'_>> {
        let row = self.by_digest.find(digest.hash(), |row| row.digest == *digest)?;
        let form = &self.in_force_form(row.slot)?.form;
        Some(KeyMatch {
            key: &form.key,
            entry: form.entry(row.entry),
            form: Some(form),
        })
    }

    /// The number of keys in force.
    pub fn in_force_count(&self) -> usize {
        self.in_force
    }

    /// The number of refused keys. The form before one may be in force.
    pub fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// The refused keys, in the order in which they came.
    pub fn refused(&self) -> impl Iterator<Item = RefusedKey<'_>> {
        self.refused.values().filter_map(|index| {
            let slot = self.slot(*index)?;
            let refused = slot.refused.as_ref()?;
            Some(RefusedKey {
                id: &slot.id,
                code: refused.code,
                why: refused.why.as_deref(),
            })
        })
    }

    /// All keys in force, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let slots = self.slots.iter().flatten();
        slots.filter_map(|slot| Some(&slot.in_force.as_ref()?.form.key))
    }

    /// Whether much of the memory is of keys that are gone. Only a complete answer gives it back.
    pub fn is_wasteful(&self) -> bool {
        self.origins.pattern_count() > 4096 + 2 * self.listed_origins
            || self.scope_sets.set_count() > 1024 + self.slots.len()
    }

    /// The bytes of the largest allocation, which doubles when it is full.
    pub fn largest_allocation(&self) -> usize {
        self.origins.largest().max(self.slots.capacity() * size_of::<usize>())
    }

    /// The keys with scoped tokens that have changed since the last call: what is remembered of their tokens does not hold any more.
    pub fn take_changed_parents(&mut self) -> Vec<FedKeyRef> {
        mem::take(&mut self.changed_parents)
    }

    /// Frees the memory of up to this number of keys of a table that is not used any more. Returns whether none is left.
    pub fn dismantle(&mut self, keys: usize) -> bool {
        let keep = self.slots.len().saturating_sub(keys);
        self.slots.truncate(keep);
        keep == 0
    }

    pub(super) fn origins(&self) -> &OriginTable {
        &self.origins
    }

    /// What an origin matches in the lists of the keys that are in force and enabled.
    pub(super) fn match_union(&self, origin: &[u8]) -> Option<OriginMatch> {
        let union = OriginUnion::of_counts(self.null_offers, self.any_offers);
        self.origins.match_union(&union, origin)
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.parents > 0
    }

    pub(super) fn token_parent(&self, id: &str) -> Option<(FedKeyRef, &TokenVerifier)> {
        let slot = self.find(id)?;
        let in_force = self.in_force_form(slot)?;
        let number = in_force.number;
        Some((FedKeyRef { slot, form: number }, in_force.form.verifier()?))
    }

    pub(super) fn parent(&self, key: FedKeyRef) -> Option<KeyMatch<'_>> {
        let in_force = self.in_force_form(key.slot).filter(|form| form.number == key.form)?;
        let form = &in_force.form;
        Some(KeyMatch {
            key: &form.key,
            entry: None,
            form: Some(form),
        })
    }

    /// The names of the scopes of a key. `None`: any method and path.
    pub(super) fn scope_names(&self, form: &Form) -> Option<&[Box<str>]> {
        form.scopes.map(|set| self.scope_sets.names(set))
    }

    /// Applies one page: removes the keys with these ids, then sets these. Afterwards the refused keys that waited for others may be in force.
    pub fn apply<'i>(&mut self, removed: impl Iterator<Item = &'i str>, set: Vec<SetKey<'_>>, policy: &Policy) {
        let Some(feed) = policy.feed() else { return };
        for id in removed {
            if let Some(index) = self.find(id) {
                self.remove(index);
            }
        }
        let mut forms: Vec<(SlotIndex, Form)> = Vec::with_capacity(set.len());
        let mut older: BTreeMap<SlotIndex, InForceForm> = BTreeMap::new();
        for key in last_of_each_id(set) {
            let index = self.slot_of(key.id());
            self.forget_refused(index);
            match key {
                SetKey::Wrong {
                    code, is_enabled, why, ..
                } => {
                    if !is_enabled {
                        self.drop_form(index);
                    }
                    // A form that only stays does not block others any more.
                    self.has_released |= self.in_force_form(index).is_some();
                    self.refuse(index, code.into(), None, is_enabled);
                    self.keep_reason(index, why);
                }
                SetKey::Right(key) => {
                    if let Some(form) = self.leave(index) {
                        older.insert(index, form);
                    }
                    let form = Form::new(key, &mut self.origins, &mut self.scope_sets);
                    self.listed_origins += form.listed_origins;
                    forms.push((index, form));
                }
            }
        }
        for (index, form) in forms {
            self.enter_or_refuse(index, form, policy, feed);
        }
        for (index, form) in older {
            self.stay(index, form.form);
            self.has_released |= self.slot(index).is_some_and(|slot| slot.refused.is_some());
        }
        self.retry_waiting(policy, feed);
    }

    /// Looks at all keys again, because the policy has changed.
    pub fn resolve(&mut self, policy: &Policy) {
        let Some(feed) = policy.feed() else { return };
        self.scope_sets.forget_rules();
        for index in 0..self.slots.len() {
            let index = index as SlotIndex;
            let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else {
                continue;
            };
            let Some(in_force) = &mut slot.in_force else { continue };
            let resolved = resolve_form(&mut in_force.form, &mut self.scope_sets, policy, feed);
            if let Err(code) = resolved
                && let Some(gone) = self.leave(index)
            {
                self.has_released = true;
                // A newer form that was refused is the one that may come in force again.
                if self.slot(index).is_some_and(|slot| slot.refused.is_none()) {
                    let is_enabled = gone.form.key.enabled;
                    self.refuse(index, code.into(), Some(Box::new(gone.form)), is_enabled);
                } else {
                    self.discard(&gone.form);
                }
            }
        }
        let all: Vec<SlotIndex> = self.refused.values().copied().collect();
        self.retry(all, policy, feed);
        self.retry_waiting(policy, feed);
    }

    /// Ends a complete answer, which has filled this table: the forms of refused keys in the table before stay in force as they would there.
    pub fn replace(&mut self, mut before: FedKeys) -> FedKeys {
        let refused: Vec<SlotIndex> = self.refused.values().copied().collect();
        for index in refused {
            let Some(slot) = self.slot(index) else { continue };
            let in_force = before.find(&slot.id).and_then(|index| before.leave(index));
            if let Some(older) = in_force {
                let form = older.form.copied(
                    (&mut self.origins, &before.origins),
                    (&mut self.scope_sets, &before.scope_sets),
                );
                self.listed_origins += form.listed_origins;
                self.next_number = self.next_number.max(before.next_number);
                self.stay(index, form);
            }
        }
        before
    }

    fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index as usize)?.as_deref()
    }

    fn slot_mut(&mut self, index: SlotIndex) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_deref_mut()
    }

    fn in_force_form(&self, index: SlotIndex) -> Option<&InForceForm> {
        self.slot(index)?.in_force.as_ref()
    }

    fn find(&self, id: &str) -> Option<SlotIndex> {
        let is = |index: &SlotIndex| self.slot(*index).is_some_and(|slot| *slot.id == *id);
        self.by_id.find(id_hash(id), is).copied()
    }

    /// The slot of this id, a new one if there is none.
    fn slot_of(&mut self, id: &str) -> SlotIndex {
        if let Some(index) = self.find(id) {
            return index;
        }
        let slot = Some(Box::new(Slot {
            id: id.into(),
            in_force: None,
            refused: None,
        }));
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as SlotIndex
            }
        };
        if let Some(place) = self.slots.get_mut(index as usize) {
            *place = slot;
        }
        let slots = &self.slots;
        let hash_of = |index: &SlotIndex| {
            let slot = slots.get(*index as usize).and_then(Option::as_deref);
            slot.map_or(0, |slot| id_hash(&slot.id))
        };
        self.by_id.insert(id_hash(id), index, hash_of);
        index
    }

    fn remove(&mut self, index: SlotIndex) {
        self.forget_refused(index);
        self.drop_form(index);
        if let Some(slot) = self.slots.get_mut(index as usize).and_then(Option::take) {
            self.by_id.remove(id_hash(&slot.id), |known| *known == index);
            self.free.push(index);
        }
    }

    /// Forgets the newer form of a key that was refused.
    fn forget_refused(&mut self, index: SlotIndex) {
        let refused = self.slot_mut(index).and_then(|slot| slot.refused.take());
        if let Some(refused) = refused {
            self.refused.remove(&refused.arrival);
            self.waiting.remove(&refused.arrival);
            if let Some(form) = refused.form {
                self.discard(&form);
            }
        }
    }

    fn refuse(&mut self, index: SlotIndex, conflict: Conflict, form: Option<Box<Form>>, is_enabled: bool) {
        let arrival = self.number();
        let refused = Refused {
            code: conflict.code,
            arrival,
            form,
            why: None,
            is_enabled,
        };
        if let Some(slot) = self.slot_mut(index) {
            slot.refused = Some(refused);
            self.refused.insert(arrival, index);
            if conflict.with_other {
                self.waiting.insert(arrival, index);
            }
        }
    }

    fn keep_reason(&mut self, index: SlotIndex, why: Box<str>) {
        if self.refused.len() <= KEPT_REASONS
            && let Some(refused) = self.slot_mut(index).and_then(|slot| slot.refused.as_mut())
        {
            refused.why = Some(why);
        }
    }

    /// Takes the form of a key out of force for good. Returns whether there was one.
    fn drop_form(&mut self, index: SlotIndex) -> bool {
        match self.leave(index) {
            Some(gone) => {
                self.discard(&gone.form);
                true
            }
            None => false,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Subtracts a form that is gone from what is counted.
    fn discard(&mut self, form: &Form) {
        self.listed_origins = self.listed_origins.saturating_sub(form.listed_origins);
        self.has_released = true;
    }

    /// Puts a form in force, or keeps it aside. The slot has no form in force.
    fn enter_or_refuse(&mut self, index: SlotIndex, mut form: Form, policy: &Policy, feed: &FeedPolicy) {
        let resolved = resolve_form(&mut form, &mut self.scope_sets, policy, feed).map_err(Conflict::from);
        match resolved.and_then(|()| self.make_way(index, &form)) {
            Ok(()) => self.enter(index, form),
            Err(conflict) => {
                let is_enabled = form.key.enabled;
                self.refuse(index, conflict, Some(Box::new(form)), is_enabled);
            }
        }
    }

    /// Looks whether another key is in the way of a form. A form that only stays until its key is right again goes out of its way.
    fn make_way(&mut self, index: SlotIndex, form: &Form) -> Result<(), Conflict> {
        let is_right = |slot: &Slot| slot.refused.is_none();
        if let Some((_, code)) = self.other_in_the_way(index, form, is_right) {
            return Err(Conflict { code, with_other: true });
        }
        while let Some((slot, _)) = self.other_in_the_way(index, form, |_| true) {
            if !self.drop_form(slot) {
                break;
            }
        }
        Ok(())
    }

    /// One of the other keys in force for which `counts` holds, and which has an API key of this form, or its secret as a public key, or the
    /// reverse. Several keys may have the same secret or public key.
    fn other_in_the_way(
        &self,
        index: SlotIndex,
        form: &Form,
        counts: impl Fn(&Slot) -> bool,
    ) -> Option<(SlotIndex, RefusedCode)> {
        let counts = |slot: SlotIndex| slot != index && self.slot(slot).is_some_and(&counts);
        let mut of_digests = form.digests().filter_map(|digest| {
            let is = |row: &DigestRow| row.digest == *digest && counts(row.slot);
            self.by_digest.find(digest.hash(), is).map(|row| row.slot)
        });
        if let Some(slot) = of_digests.next() {
            return Some((slot, RefusedCode::DuplicateApiKey));
        }
        let mut of_token_keys = form.token_keys().filter_map(|(digest, is_secret)| {
            let is_reverse =
                |row: &TokenKeyRow| row.digest == *digest && row.is_secret != *is_secret && counts(row.slot);
            self.token_keys.find(digest.hash(), is_reverse).map(|row| row.slot)
        });
        Some((of_token_keys.next()?, RefusedCode::PublicTokenSecret))
    }

    /// Lets a form stay in force whose newer form is refused, unless that says otherwise or another key has taken its place.
    fn stay(&mut self, index: SlotIndex, form: Form) {
        let may_stay = self.slot(index).is_some_and(|slot| {
            let refused = slot.refused.as_ref();
            slot.in_force.is_none() && refused.is_some_and(|refused| refused.is_enabled)
        });
        if may_stay && self.other_in_the_way(index, &form, |_| true).is_none() {
            self.enter(index, form);
        } else {
            self.discard(&form);
        }
    }

    fn enter(&mut self, index: SlotIndex, form: Form) {
        let number = self.number();
        for (digest, entry) in form.digests().zip(0..) {
            let row = DigestRow {
                digest: *digest,
                slot: index,
                entry,
            };
            self.by_digest.insert(digest.hash(), row, |row| row.digest.hash());
        }
        for (digest, is_secret) in form.token_keys() {
            let row = TokenKeyRow {
                digest: *digest,
                slot: index,
                is_secret: *is_secret,
            };
            self.token_keys.insert(digest.hash(), row, |row| row.digest.hash());
        }
        if form.key.enabled {
            let list = &form.key.restrictions.origins;
            self.origins.offer(list);
            self.null_offers += usize::from(list.null);
            self.any_offers += usize::from(list.any);
        }
        self.in_force += 1;
        self.parents += usize::from(form.verifier().is_some());
        if let Some(slot) = self.slot_mut(index) {
            slot.in_force = Some(InForceForm { number, form });
        }
    }

    /// Takes the form of a key out of force.
    fn leave(&mut self, index: SlotIndex) -> Option<InForceForm> {
        let gone = self.slot_mut(index)?.in_force.take()?;
        let form = &gone.form;
        for digest in form.digests() {
            self.by_digest
                .remove(digest.hash(), |row| row.digest == *digest && row.slot == index);
        }
        for (digest, is_secret) in form.token_keys() {
            let is = |row: &TokenKeyRow| row.digest == *digest && row.slot == index && row.is_secret == *is_secret;
            self.token_keys.remove(digest.hash(), is);
        }
        if form.key.enabled {
            let list = &form.key.restrictions.origins;
            self.origins.withdraw(list);
            self.null_offers -= usize::from(list.null);
            self.any_offers -= usize::from(list.any);
        }
        self.in_force -= 1;
        if form.verifier().is_some() {
            self.parents -= 1;
            self.changed_parents.push(FedKeyRef {
                slot: index,
                form: gone.number,
            });
        }
        Some(gone)
    }

    /// Tries the keys again that wait for others, as long as one comes in force.
    fn retry_waiting(&mut self, policy: &Policy, feed: &FeedPolicy) {
        while mem::take(&mut self.has_released) {
            let waiting: Vec<SlotIndex> = self.waiting.values().copied().collect();
            self.retry(waiting, policy, feed);
        }
    }

    /// Tries refused keys again, in this order.
    fn retry(&mut self, slots: Vec<SlotIndex>, policy: &Policy, feed: &FeedPolicy) {
        for index in slots {
            let Some(refused) = self.slot_mut(index).and_then(|slot| slot.refused.as_mut()) else {
                continue;
            };
            let Some(mut form) = refused.form.take() else { continue };
            let older = self.leave(index);
            let resolved = resolve_form(&mut form, &mut self.scope_sets, policy, feed).map_err(Conflict::from);
            match resolved.and_then(|()| self.make_way(index, &form)) {
                Ok(()) => {
                    self.forget_refused(index);
                    self.enter(index, *form);
                    if let Some(older) = older {
                        self.discard(&older.form);
                    }
                }
                Err(conflict) => {
                    if let Some(refused) = self.slot_mut(index).and_then(|slot| slot.refused.as_mut()) {
                        refused.form = Some(form);
                        refused.code = conflict.code;
                        let arrival = refused.arrival;
                        match conflict.with_other {
                            true => self.waiting.insert(arrival, index),
                            false => self.waiting.remove(&arrival),
                        };
                    }
                    if let Some(older) = older {
                        self.stay(index, older.form);
                    }
                }
            }
        }
    }
}

/// Compiles what a form takes from the policy, and looks whether one of the policy's own keys is in its way.
fn resolve_form(
    form: &mut Form,
    scope_sets: &mut ScopeSets,
    policy: &Policy,
    feed: &FeedPolicy,
) -> Result<(), RefusedCode> {
    if feed.has_id(&policy.keys, &form.key.id) {
        return Err(RefusedCode::DuplicateId);
    }
    if form.digests().any(|digest| policy.table.find(digest).is_some()) {
        return Err(RefusedCode::DuplicateApiKey);
    }
    if form
        .token_keys()
        .any(|(digest, is_secret)| feed.has_reverse(digest, *is_secret))
    {
        return Err(RefusedCode::PublicTokenSecret);
    }
    form.resolve(scope_sets, feed)
}

/// The keys without those that a later one of the same id replaces.
fn last_of_each_id(set: Vec<SetKey<'_>>) -> impl Iterator<Item = SetKey<'_>> {
    let mut last: hashbrown::HashTable<usize> = hashbrown::HashTable::with_capacity(set.len());
    let mut is_last = vec![true; set.len()];
    for (index, key) in set.iter().enumerate() {
        let id_of = |index: &usize| set.get(*index).map_or("", SetKey::id);
        let hash = id_hash(key.id());
        match last.find_mut(hash, |earlier| id_of(earlier) == key.id()) {
            Some(earlier) => {
                if let Some(is_last) = is_last.get_mut(*earlier) {
                    *is_last = false;
                }
                *earlier = index;
            }
            None => {
                last.insert_unique(hash, index, |index| id_hash(id_of(index)));
            }
        }
    }
    set.into_iter()
        .zip(is_last)
        .filter(|(_, is_last)| *is_last)
        .map(|(key, _)| key)
}
