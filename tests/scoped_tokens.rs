//! Scoped tokens, row by row and without a host: what makes one good, how one is attacked, and how it narrows its key.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/token.rs"]
mod token;
#[path = "harness/token_cases.rs"]
mod token_cases;

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::rate::{RateStatus, peek};
use keyfence_core::decision::request::Head;
use keyfence_core::decision::scoped_token::Verdict;
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::{
    Decision, HeaderMutation, Outcome, Refusal, RequestContext, Unavailable, decide, upstream,
};
use keyfence_core::policy::{Key, Policy};
use token::{OTHER_SECRET, SECRET, Signer, base64url, good};
use token_cases::{Clock, HS, NARROWING, SITE, good_and_bad, policy_text};

/// 2026-06-15T12:00:00Z.
const NOW: i64 = 1_781_524_800;

struct World {
    address: &'static str,
    now: Option<i64>,
    tokens: RefCell<TokenCache>,
    policy: PolicyId,
    verified: Cell<usize>,
    clients: RefCell<Vec<Client>>,
}

impl World {
    fn new() -> World {
        World {
            address: "192.0.2.1:9",
            now: Some(NOW),
            tokens: RefCell::default(),
            policy: PolicyId(1),
            verified: Cell::new(0),
            clients: RefCell::default(),
        }
    }
}

impl RequestContext for World {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        Ok(SourceAddress::parse(self.address.as_bytes()))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        self.now.map(Timestamp).ok_or(Unavailable)
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.tokens.borrow_mut().good(self.policy, text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens.borrow_mut().bad(self.policy, digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        self.verified.set(self.verified.get() + 1);
        self.tokens.borrow_mut().insert(self.policy, text, digest, verdict);
    }

    fn admit(&self, _: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        Ok(peek(None, limit, 1_000))
    }

    fn peek(&self, _: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }

    fn admit_client(&self, _: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        self.clients.borrow_mut().push(*client);
        Ok(peek(None, limit, 1_000))
    }

    fn peek_client(&self, _: Option<&Key>, _: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }
}

const CLOCK: Clock = Clock { now: NOW, second: 1 };

fn policy() -> Policy {
    policy_of(&policy_text(CLOCK, SECRET))
}

fn policy_of(text: &str) -> Policy {
    match Policy::load(text.as_bytes(), Timestamp(NOW)) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{:?}", diagnostics.errors()),
    }
}

type Lines<'l> = Vec<(&'l str, &'l str)>;

fn check<T>(
    policy: &Policy,
    world: &World,
    request: &str,
    headers: &Lines<'_>,
    see: impl FnOnce(&Head<'_>, &Decision<'_, '_>) -> T,
) -> T {
    let (method, path) = request.split_once(' ').unwrap();
    let pseudo = [
        (":method", method),
        (":path", path),
        (":scheme", "https"),
        (":authority", "api.example"),
    ];
    let all: Vec<(&[u8], &[u8])> = pseudo
        .into_iter()
        .chain(headers.iter().copied())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let head = Head::read(policy, all.iter().copied());
    let decision = decide(policy, &head, world);
    see(&head, &decision)
}

fn outcome(_: &Head<'_>, decision: &Decision<'_, '_>) -> String {
    let outcome = match decision.outcome {
        Outcome::Allow => "allow".to_owned(),
        Outcome::Preflight => "preflight".to_owned(),
        Outcome::Deny(reason) => format!("{} {}", reason.status(), reason.code()),
    };
    format!("{outcome}, {:?}", decision.allow_origin).to_lowercase()
}

const ALLOW: &str = "allow, echo";
const INVALID: &str = "401 invalid_scoped_token, echo";
const EXPIRED: &str = "401 scoped_token_expired, echo";

/// A good token, with further claims.
fn with(further: &str) -> String {
    good("both", NOW, further, HS)
}

#[test]
#[rustfmt::skip]
fn good_and_bad_tokens() {
    let policy = policy();
    for (name, text, expected) in good_and_bad(CLOCK) {
        let world = World::new();
        let value = format!("Bearer {text}");
        let headers = vec![("authorization", &*value), SITE];
        let outcome = |head: &Head<'_>, decision: &Decision<'_, '_>| outcome(head, decision).split(',').next().unwrap().to_owned();
        assert_eq!(check(&policy, &world, "GET /", &headers, outcome), expected, "{name}: {text}");
        // Again, when its verdict is remembered.
        assert_eq!(check(&policy, &world, "GET /", &headers, outcome), expected, "{name}, again");
        assert!(world.verified.get() <= 1, "{name} is verified twice");
        let in_query = format!("GET /?api_key={text}");
        assert_eq!(check(&policy, &world, &in_query, &vec![SITE], outcome), expected, "{name} in the query");
        assert!(world.verified.get() <= 1, "{name} is verified once more in the query");
    }
}

#[test]
#[rustfmt::skip]
fn a_token_narrows_its_key() {
    let policy = policy();
    for (name, kid, further, request, headers, expected) in NARROWING {
        let bearer = format!("Bearer {}", good(kid, NOW, further, HS));
        let mut lines = vec![("authorization", &*bearer)];
        lines.extend(headers.iter());
        let world = World::new();
        assert_eq!(check(&policy, &world, request, &lines, outcome), *expected, "{name}");
        assert_eq!(world.verified.get(), 1, "{name}");
    }
    // The secret key itself is none for browsers.
    let lines = vec![("authorization", "Bearer server-key-00000"), SITE];
    let found = check(&policy, &World::new(), "GET /", &lines, outcome);
    assert_eq!(found, "403 secret_key_in_browser, omit");
}

/// What is not about one token alone.
#[test]
#[rustfmt::skip]
fn where_tokens_are_carried() {
    let text = with("");
    let (bearer, query) = (format!("Bearer {text}"), format!("GET /?api_key={text}"));
    let preflight = |kid: &str, signer| format!("OPTIONS /?api_key={}", good(kid, NOW, "", signer));
    let asks = ("access-control-request-method", "GET");
    let forged = Signer::Secret(OTHER_SECRET);
    for (name, request, headers, expected) in [
        ("in a header", "GET /", vec![("x-api-key", &*text), SITE], ALLOW),
        ("in the query", &*query, vec![SITE], ALLOW),
        ("in both", &*query, vec![("x-api-key", &*text), SITE], "401 ambiguous_api_key, echo"),
        ("beside its key", "GET /", vec![("authorization", &*bearer), ("x-api-key", "both-key-0000000"), SITE], "401 ambiguous_api_key, echo"),
        ("beside a key in the query", &*query, vec![("authorization", "Bearer both-key-0000000"), SITE], "401 ambiguous_api_key, echo"),
        ("its key", "GET /", vec![("x-api-key", "both-key-0000000"), SITE], ALLOW),
        ("a preflight", &*preflight("secrets", HS), vec![SITE, asks], "preflight, echo"),
        ("a preflight of another page", &*preflight("secrets", HS), vec![("origin", "https://a.app.example"), asks], "403 origin_not_allowed, omit"),
        ("a preflight with a forged token", &*preflight("secrets", forged), vec![("origin", "https://a.app.example"), asks], "preflight, echo"),
        ("a preflight with a forged token of a key that reports", &*preflight("watched", forged), vec![("origin", "https://evil.example"), asks], "403 origin_not_allowed, omit"),
    ] {
        assert_eq!(check(&policy(), &World::new(), request, &headers, outcome), expected, "{name}");
    }
    let blind = World { now: None, ..World::new() };
    let found = check(&policy(), &blind, "GET /", &vec![("x-api-key", &*text), SITE], outcome);
    assert_eq!(found, "503 policy_unavailable, echo", "without a clock");
    let found = check(&policy(), &blind, &preflight("secrets", HS), &vec![SITE, asks], outcome);
    assert_eq!(found, "503 policy_unavailable, omit", "a preflight without a clock");
}

#[test]
fn a_verdict_is_remembered_under_its_policy_and_until_the_token_expires() {
    let text = with(r#""sub":"alice""#);
    let headers = vec![("x-api-key", &*text), SITE];
    let (policy, other) = (policy(), policy_of(&policy_text(CLOCK, OTHER_SECRET)));
    let mut world = World::new();
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    world.policy = PolicyId(2);
    assert_eq!(
        check(&other, &world, "GET /", &headers, outcome),
        INVALID,
        "another secret"
    );
    world.policy = PolicyId(1);
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    assert_eq!(world.verified.get(), 2, "once under each policy");
    for (now, expected) in [
        (NOW + 59, ALLOW),
        (NOW + 60, EXPIRED),
        (NOW + 61, EXPIRED),
        // A clock that was set back.
        (NOW - 61, INVALID),
        (NOW, ALLOW),
    ] {
        world.now = Some(now);
        assert_eq!(check(&policy, &world, "GET /", &headers, outcome), expected, "{now}");
    }
    // What has expired was forgotten, and was verified again when the clock was right.
    assert_eq!(world.verified.get(), 3);
}

#[test]
fn a_flood_of_forged_tokens_does_not_displace_a_good_one() {
    let policy = policy();
    let world = World {
        tokens: RefCell::new(TokenCache::with_limits(64 << 10, 16 << 10)),
        ..World::new()
    };
    let text = with("");
    let headers = vec![("x-api-key", &*text), SITE];
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    let (signed, _) = text.rsplit_once('.').unwrap();
    for number in 0_u64..2_000 {
        let signature = [&number.to_le_bytes()[..], &[0; 24]].concat();
        let forged = format!("{signed}.{}", base64url(signature));
        assert_eq!(
            check(&policy, &world, "GET /", &vec![("x-api-key", &*forged), SITE], outcome),
            INVALID
        );
    }
    let before = world.verified.get();
    assert_eq!(before, 2_001);
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    assert_eq!(world.verified.get(), before, "the good one is remembered");
}

#[test]
fn clients_are_counted_by_their_sub() {
    let policy = policy();
    let client = |further: &str, address: &'static str| {
        let world = World {
            address,
            ..World::new()
        };
        let text = good("limited", NOW, further, HS);
        assert_eq!(
            check(&policy, &world, "GET /", &vec![("x-api-key", &*text)], outcome),
            "allow, omit"
        );
        world.clients.take()[0]
    };
    let (here, there) = ("192.0.2.1:9", "192.0.2.2:9");
    let alice = client(r#""sub":"alice""#, here);
    assert_eq!(
        alice,
        client(r#""sub":"alice","x":1"#, there),
        "one user, two tokens and places"
    );
    assert_ne!(alice, client(r#""sub":"bob""#, here), "two users");
    assert_eq!(client("", here), client(r#""filter":"f""#, here), "one address");
    assert_ne!(client("", here), client("", there), "two addresses");
}

#[test]
#[rustfmt::skip]
fn what_the_upstream_gets() {
    type Row<'r> = (&'r str, String, Vec<(&'r str, &'r str)>, &'r [&'r str]);
    let token = |kid: &str, further: &str| good(kid, NOW, further, HS);
    let both = r#""sub":"alice","filter":"user=alice""#;
    let rows: Vec<Row> = vec![
        ("neither", token("free", ""), vec![], &["+x-key-id: free"]),
        ("both", token("free", both), vec![], &["+x-key-id: free", "+x-key-filter: user=alice", "+x-key-subject: alice"]),
        ("a filter", token("free", r#""filter":"f""#), vec![], &["+x-key-id: free", "+x-key-filter: f"]),
        ("a client's own", token("free", both),
            vec![("x-key-filter", "*"), ("x_key_subject", "root"), ("x.key.filter", "a"), ("x-key-filters", "b")],
            &["-x-key-filter", "-x_key_subject", "-x.key.filter", "+x-key-id: free", "+x-key-filter: user=alice", "+x-key-subject: alice"]),
        ("a client's own with a key", "both-key-0000000".into(), vec![("x-key-filter", "*"), SITE], &["-x-key-filter", "+x-key-id: both"]),
        ("a client's own in Connection", token("free", both), vec![("connection", "upgrade, x-key-filter")],
            &["+x-key-id: free", "+x-key-filter: user=alice", "+x-key-subject: alice", "=connection: upgrade"]),
        ("report mode, although the address is refused", token("watched", both), vec![("x-key-subject", "root"), ("connection", "x-key-filter")],
            &["-x-key-subject", "+x-key-filter: user=alice", "+x-key-subject: alice", "-connection"]),
        ("report mode, expired", good("watched", NOW - 60, both, HS), vec![], &[]),
        ("scopes of the token that name methods", token("free", r#""scopes":["stats"]"#), vec![("x-http-method-override", "DELETE")],
            &["+x-key-id: free", "-x-http-method-override"]),
        ("scopes that name none", token("free", ""), vec![("x-http-method-override", "DELETE")], &["+x-key-id: free"]),
    ];
    let policy = policy();
    for (name, text, headers, expected) in rows {
        let mut lines = vec![("x-api-key", &*text)];
        lines.extend(headers);
        let changes = check(&policy, &World::new(), "GET /v1/stats", &lines, |head, decision| {
            let mut changes = Vec::new();
            upstream::apply(&policy, head, decision, &mut |mutation| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                changes.push(match mutation {
                    HeaderMutation::Add(name, value) => format!("+{}: {}", text(name), text(value)),
                    HeaderMutation::Replace(name, value) => format!("={}: {}", text(name), text(value)),
                    HeaderMutation::Remove(name) => format!("-{}", text(name)),
                });
            });
            changes
        });
        assert_eq!(changes, expected, "{name}");
    }
}
