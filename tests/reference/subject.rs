//! One request through the filter's own core, as the host hands it over, told in the terms of the [specification](crate::spec).

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::key::Enforcement;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::client_table::{self, Place, StoredBucket};
use keyfence_core::decision::local_reply::LocalReply;
use keyfence_core::decision::rate::{self, RateStatus, Slot};
use keyfence_core::decision::request::Head;
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::scoped_token::Verdict;
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::{self, Effect, HeaderMutation, Refusal, RequestContext, Unavailable, upstream};
use keyfence_core::policy::Key;
use keyfence_core::policy::in_force::InForce;
use keyfence_filter::pairs::{Pairs, encode};

use crate::spec::decision::{Headers, Request, Ruling};

/// All that the filter does with a request.
#[derive(Debug)]
pub struct Outcome {
    pub ruling: Ruling,
    pub reports: bool,
    pub key: Option<String>,
    pub label: Option<String>,
    /// Whom a scoped token is for.
    pub subject: Option<String>,
    pub rate: Option<RateStatus>,
    /// In place of the upstream's.
    pub reply: Option<LocalReply>,
    /// What the upstream gets; `None`: nothing.
    pub forwarded: Option<Headers>,
    /// What the client gets.
    pub response: Headers,
}

/// The slots that Envoy keeps between requests.
#[derive(Default)]
pub struct Slots {
    keys: RefCell<HashMap<String, Slot>>,
    buckets: RefCell<HashMap<u32, StoredBucket>>,
    tokens: RefCell<TokenCache>,
}

fn place(key: Option<&Key>, client: &Client) -> Place {
    Place::new(b"a secret", key.map(Key::id), client, 1_000)
}

struct Around<'a> {
    request: &'a Request,
    slots: &'a Slots,
}

impl Around<'_> {
    fn slot(&self, key: Option<&Key>) -> (String, Option<Slot>) {
        let name = key.map(|key| key.id().to_string()).unwrap_or_default();
        let slot = self.slots.keys.borrow().get(&name).copied();
        (name, slot)
    }

    fn seconds(&self) -> u64 {
        self.request.now / 1000
    }
}

impl RequestContext for Around<'_> {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        let source = self.request.source.as_deref();
        Ok(source.map_or(SourceAddress::Unknown, |source| SourceAddress::parse(source.as_bytes())))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(Timestamp(self.seconds().try_into().unwrap()))
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.slots.tokens.borrow_mut().good(PolicyId(1), text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.slots.tokens.borrow_mut().bad(PolicyId(1), digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        self.slots
            .tokens
            .borrow_mut()
            .insert(PolicyId(1), text, digest, verdict);
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        let (name, slot) = self.slot(key);
        let admission = rate::admit(slot.as_ref().map(|slot| &slot[..]), limit, self.seconds());
        if let Some(slot) = admission.store {
            self.slots.keys.borrow_mut().insert(name, slot);
        }
        if admission.admitted {
            Ok(admission.status)
        } else {
            Err(Refusal::UsedUp(admission.status))
        }
    }

    fn peek(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        let (_, slot) = self.slot(key);
        Ok(rate::peek(slot.as_ref().map(|slot| &slot[..]), limit, self.seconds()))
    }

    fn admit_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        let place = place(key, client);
        let mut buckets = self.slots.buckets.borrow_mut();
        let bucket = buckets.get(&place.bucket()).map(|bucket| &bucket[..]);
        let admission = client_table::admit(bucket, &place, limit, self.seconds());
        if let Some(bucket) = admission.store {
            buckets.insert(place.bucket(), bucket);
        }
        if admission.admitted {
            Ok(admission.status)
        } else {
            Err(Refusal::UsedUp(admission.status))
        }
    }

    fn peek_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        let place = place(key, client);
        let buckets = self.slots.buckets.borrow();
        let bucket = buckets.get(&place.bucket()).map(|bucket| &bucket[..]);
        Ok(client_table::peek(bucket, &place, limit, self.seconds()))
    }
}

/// `answer` is what the upstream sends, if it is asked.
pub fn run(in_force: InForce<'_>, request: &Request, slots: &Slots, answer: &Headers) -> Outcome {
    let policy = in_force.policy;
    let map = encode(&lines(&request.headers));
    let head = Head::read(policy, Pairs::of(&map).unwrap());
    let decision = decision::decide(in_force, &head, &Around { request, slots });
    let reply = match decision.effect() {
        Effect::Respond(kind) => Some(LocalReply::new(policy, &head, &decision, kind)),
        Effect::Forward => None,
    };
    let (forwarded, response) = match &reply {
        Some(reply) => (
            None,
            reply.headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect(),
        ),
        None => {
            let mut forwarded = request.headers.clone();
            upstream::apply(policy, &head, &decision, &mut |mutation| {
                apply(&mut forwarded, mutation)
            });
            let mut response = answer.clone();
            let context = ResponseContext::new(&head, &decision);
            context.apply(
                policy.response(),
                Pairs::of(&encode(&lines(answer))).unwrap(),
                &mut |mutation| apply(&mut response, mutation),
            );
            (Some(forwarded), response)
        }
    };
    Outcome {
        ruling: match decision.outcome {
            decision::Outcome::Allow => Ruling::Allow,
            decision::Outcome::Preflight => Ruling::Preflight,
            decision::Outcome::Deny(reason) => Ruling::Deny(reason.status(), reason.code()),
        },
        reports: decision.enforcement == Enforcement::Report,
        key: decision.key.map(|found| found.key().id().to_string()),
        label: decision.key.and_then(|found| found.label()).map(str::to_owned),
        subject: decision
            .token
            .as_ref()
            .and_then(|token| token.subject())
            .map(str::to_owned),
        rate: decision.rate,
        reply,
        forwarded,
        response,
    }
}

/// As Envoy does: a header that is replaced has one line, whatever it had before.
fn apply(headers: &mut Headers, edit: HeaderMutation<'_>) {
    match edit {
        HeaderMutation::Add(name, value) => headers.push((name.to_vec(), value.to_vec())),
        HeaderMutation::Replace(name, value) => {
            headers.retain(|(other, _)| other != name);
            headers.push((name.to_vec(), value.to_vec()));
        }
        HeaderMutation::Remove(name) => headers.retain(|(other, _)| other != name),
    }
}

fn lines(headers: &Headers) -> Vec<(&[u8], &[u8])> {
    let lines = headers.iter();
    lines.map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
}
