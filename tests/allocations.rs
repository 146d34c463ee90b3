//! Memory: a decision allocates nothing, and a loaded policy takes no more than it must.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/token.rs"]
mod maker;
#[path = "bench/workload.rs"]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

use keyfence_core::config::Measure;
use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::client_table::{self, Place, StoredBucket};
use keyfence_core::decision::rate::{RateStatus, Slot, admit, peek};
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::scoped_token::{Unverified, Verdict};
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::{Outcome, Refusal, RequestContext, Unavailable, decide};
use keyfence_core::policy::footprint::Footprint;
use keyfence_core::policy::{Key, Policy};
use workload::NOW;

/// The system's allocator, and what each thread has asked of it. Tests run beside each other.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    allocations: u64,
    /// Bytes in use, less what was before the thread began to count.
    live: isize,
    /// The most that `live` has been.
    peak: isize,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { allocations: 0, live: 0, peak: 0 }) };
}

fn note(allocations: u64, taken: usize, given: usize) {
    // A thread that ends has no tally any more.
    let _ = TALLY.try_with(|tally| {
        let Tally {
            allocations: before,
            live,
            peak,
        } = tally.get();
        let live = live + taken.cast_signed() - given.cast_signed();
        tally.set(Tally {
            allocations: before + allocations,
            live,
            peak: peak.max(live),
        });
    });
}

/// Each call is the system's own, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() {
            // Both are there while one is copied to the other.
            note(1, size, 0);
            note(0, 0, layout.size());
        } else {
            note(1, size, layout.size());
        }
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `action` gives, and what it asked of the allocator.
fn tally<T>(action: impl FnOnce() -> T) -> (T, Tally) {
    TALLY.set(Tally::default());
    let outcome = action();
    (outcome, TALLY.get())
}

#[test]
fn the_allocator_counts() {
    let (kept, counted) = tally(|| {
        drop(vec![0_u8; 1_000]);
        let mut kept = Vec::with_capacity(100);
        kept.resize(300, 1_u8);
        kept
    });
    let live = kept.capacity().cast_signed();
    assert_eq!(
        counted,
        Tally {
            allocations: 3,
            live,
            peak: 1_000
        }
    );
}

/// One address, one time, and two slots of shared data.
#[derive(Default)]
struct World {
    slot: Cell<Option<Slot>>,
    bucket: Cell<Option<StoredBucket>>,
    tokens: RefCell<TokenCache>,
}

impl RequestContext for World {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        Ok(SourceAddress::parse(b"10.1.2.3:51234"))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(NOW)
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.tokens.borrow_mut().good(PolicyId(1), text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens.borrow_mut().bad(PolicyId(1), digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        self.tokens.borrow_mut().insert(PolicyId(1), text, digest, verdict);
    }

    fn admit(&self, _key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        let admission = admit(self.slot.get().as_ref().map(|slot| &slot[..]), limit, 1_000);
        self.slot.set(admission.store.or(self.slot.get()));
        if admission.admitted {
            Ok(admission.status)
        } else {
            Err(Refusal::UsedUp(admission.status))
        }
    }

    fn peek(&self, _key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(self.slot.get().as_ref().map(|slot| &slot[..]), limit, 1_000))
    }

    fn admit_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        let place = Place::new(b"secret", key.map(Key::id), client, 1);
        let admission = client_table::admit(
            self.bucket.get().as_ref().map(|bucket| &bucket[..]),
            &place,
            limit,
            1_000,
        );
        self.bucket.set(admission.store.or(self.bucket.get()));
        if admission.admitted {
            Ok(admission.status)
        } else {
            Err(Refusal::UsedUp(admission.status))
        }
    }

    fn peek_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        let place = Place::new(b"secret", key.map(Key::id), client, 1);
        let bucket = self.bucket.get();
        Ok(client_table::peek(
            bucket.as_ref().map(|bucket| &bucket[..]),
            &place,
            limit,
            1_000,
        ))
    }
}

const SITE: (&str, &str) = ("origin", "https://www.yourapp.com");
const EVIL: (&str, &str) = ("origin", "https://www.yourapp.com.evil.com");
const ASKS: (&str, &str) = ("access-control-request-method", "GET");

/// The keys that the requests name, and so many more.
fn policy(more: usize) -> Policy {
    let more: String = (0..more)
        .map(|number| {
            format!(r#", {{"id": "more-{number}", "api_key": "more-{number}", "allowed_origins": ["https://more-{number}.example", "https://*.more-{number}.example"], "allowed_ips": ["192.0.2.{}"]}}"#, number % 256)
        })
        .collect();
    let text = format!(
        r#"{{
          "key_sources": [{{"header": "Authorization", "scheme": "Bearer"}}, {{"header": "X-API-Key"}}, {{"query": "api_key"}}],
          "keys": [
            {{"id": "site", "api_key": "site", "allowed_origins": ["https://yourapp.com", "https://*.yourapp.com", "null"]}},
            {{"id": "previews", "api_key": "previews", "allowed_origins": ["https://app-*-team.vercel.test", "moz-extension://*", "app://.", "http://*.localhost:*"]}},
            {{"id": "office", "api_key": "office", "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"]}},
            {{"id": "elsewhere", "api_key": "elsewhere", "allowed_ips": ["192.168.0.0/16", "172.16.0.0/12"]}},
            {{"id": "off", "api_key": "off", "enabled": false}},
            {{"id": "early", "api_key": "early", "not_before": "2036-01-01T00:00:00Z"}},
            {{"id": "late", "api_key": "late", "expires_at": "2026-01-01T00:00:00Z"}},
            {{"id": "server", "api_key": "server", "kind": "secret"}},
            {{"id": "rotated", "api_key": ["newest", {{"key": "older", "label": "2026-05", "expires_at": "2036-01-01T00:00:00Z"}},
                {{"key": "oldest", "label": "2025-11", "expires_at": "2026-01-01T00:00:00Z"}}], "upstream_headers": {{"X-Plan": "gold"}}}},
            {{"id": "search", "api_key": "search", "scopes": ["search", "files"], "indexes": ["products", "articles-*"]}},
            {{"id": "limited", "api_key": "limited", "rate_limit_per_minute": 3}},
            {{"id": "used-up", "api_key": "used-up", "rate_limit_per_minute": 1}},
            {{"id": "shared", "api_key": "shared", "rate_limit_per_minute": 9, "rate_limit_per_minute_per_client": 3}},
            {{"id": "used-up-by-client", "api_key": "used-up-by-client", "rate_limit_per_minute_per_client": 1}},
            {{"id": "watched", "api_key": "watched", "allowed_origins": ["https://yourapp.com"], "enforcement": "report"}}
            {more}
          ],
          "upstream_header_names": ["X-Plan", "X-Tier"],
          "scopes": {{
            "search": [{{"methods": ["GET", "POST"], "path": "/v1/indexes/{{index}}/search"}}, {{"methods": ["GET"], "path": "/v1/*/stats"}}],
            "files": [{{"methods": ["*"], "path": "/files/**"}}]
          }}
        }}"#
    );
    match Policy::load(text.as_bytes(), NOW) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{:?}", diagnostics.errors()),
    }
}

type Row<'r> = (&'static str, &'r str, &'r [(&'r str, &'r str)], Outcome);

#[test]
fn a_decision_allocates_nothing() {
    use Outcome::{Allow, Deny, Preflight};
    use Reason::*;
    let long = "k".repeat(100_000);
    let long_query = format!("GET /?api_key={}&{}", "%6b".repeat(1_000), "a=b&".repeat(10_000));
    let deep_host = format!("https://{}yourapp.com", "a.".repeat(240));
    let deep_path = format!("GET {}/search", "/v1/indexes/products".repeat(1_000));
    let commas = ",Bearer site".repeat(1_000);
    let escapes = format!("GET /{}%2f", "%20".repeat(10_000));
    let nested_escapes = format!("GET /{}%2525e9", "%25".repeat(10_000));
    let many = vec![("x-api-key", "site"); 1_000];
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        ("allowed", "GET /", &[("authorization", "Bearer office")], Allow),
        ("allowed, its key in a header of its own", "GET /", &[("x-api-key", "office")], Allow),
        ("allowed, its key in the query", "GET /?api_key=%6fffice", &[], Allow),
        ("allowed with an origin", "GET /", &[("x-api-key", "site"), ("origin", "https://yourapp.com")], Allow),
        ("allowed by a wildcard", "GET /", &[("x-api-key", "site"), SITE], Allow),
        ("allowed by a wildcard in a label", "GET /", &[("x-api-key", "previews"), ("origin", "https://app-git-main-team.vercel.test")], Allow),
        ("allowed by any host", "GET /", &[("x-api-key", "previews"), ("origin", "moz-extension://0d2a3b4c")], Allow),
        ("allowed as a program's origin", "GET /", &[("x-api-key", "previews"), ("origin", "app://.")], Allow),
        ("allowed by a wildcard of this machine", "GET /", &[("x-api-key", "previews"), ("origin", "http://a.localhost:3000")], Allow),
        ("another label", "GET /", &[("x-api-key", "previews"), ("origin", "https://app-git-main-teams.vercel.test")], Deny(OriginNotAllowed)),
        ("allowed with the origin null", "GET /", &[("x-api-key", "site"), ("origin", "null")], Allow),
        ("allowed by a scope", "GET /v1/indexes/articles-7/search?q=1", &[("x-api-key", "search")], Allow),
        ("allowed within a limit", "GET /", &[("x-api-key", "limited")], Allow),
        ("allowed with the newest entry", "GET /", &[("x-api-key", "newest")], Allow),
        ("allowed with an old entry", "GET /", &[("x-api-key", "older"), ("x-plans", "gold")], Allow),
        ("an expired entry", "GET /", &[("x-api-key", "oldest")], Deny(KeyExpired)),
        ("OPTIONS that is no preflight", "OPTIONS /", &[("x-api-key", "office"), SITE], Allow),

        ("missing", "GET /", &[SITE], Deny(MissingApiKey)),
        ("another scheme", "GET /", &[("authorization", "Basic c2l0ZQ==")], Deny(MissingApiKey)),
        ("two keys", "GET /?api_key=site", &[("x-api-key", "site")], Deny(AmbiguousApiKey)),
        ("unknown", "GET /", &[("x-api-key", "nobody"), EVIL], Deny(InvalidApiKey)),
        ("disabled", "GET /", &[("x-api-key", "off")], Deny(KeyDisabled)),
        ("not yet valid", "GET /", &[("x-api-key", "early")], Deny(KeyNotYetValid)),
        ("expired", "GET /", &[("x-api-key", "late")], Deny(KeyExpired)),
        ("secret, from a page", "GET /", &[("x-api-key", "server"), SITE], Deny(SecretKeyInBrowser)),
        ("another network", "GET /", &[("x-api-key", "elsewhere")], Deny(IpNotAllowed)),
        ("no origin", "GET /", &[("x-api-key", "site")], Deny(OriginNotAllowed)),
        ("another origin", "GET /", &[("x-api-key", "site"), EVIL], Deny(OriginNotAllowed)),
        ("another origin, only watched", "GET /", &[("x-api-key", "watched"), EVIL], Deny(OriginNotAllowed)),
        ("a path with two readings", "GET /v1/indexes/products%2Fsearch", &[("x-api-key", "search")], Deny(AmbiguousPath)),
        ("another path", "GET /v1/indexes/products", &[("x-api-key", "search")], Deny(ScopeNotAllowed)),
        ("another index", "POST /v1/indexes/orders/search", &[("x-api-key", "search")], Deny(IndexNotAllowed)),
        ("allowed within the client's limit", "GET /", &[("x-api-key", "shared")], Allow),
        ("used up", "GET /", &[("x-api-key", "used-up")], Deny(RateLimitExceeded)),
        ("used up by the client", "GET /", &[("x-api-key", "used-up-by-client")], Deny(ClientRateLimitExceeded)),

        ("preflight", "OPTIONS /", &[SITE, ASKS], Preflight),
        ("preflight of one key", "OPTIONS /?api_key=site", &[SITE, ASKS], Preflight),
        ("preflight from elsewhere", "OPTIONS /", &[EVIL, ASKS], Deny(OriginNotAllowed)),

        ("a long key", "GET /", &[("x-api-key", &long)], Deny(InvalidApiKey)),
        ("a key that is not text", "GET /?api_key=%ff%fe", &[], Deny(InvalidApiKey)),
        ("a long query", &long_query, &[], Deny(InvalidApiKey)),
        ("a thousand keys", "GET /", &many, Deny(AmbiguousApiKey)),
        ("a thousand schemes", "GET /", &[("authorization", &commas)], Deny(AmbiguousApiKey)),
        ("a long origin", "GET /", &[("x-api-key", "site"), ("origin", &long)], Deny(OriginNotAllowed)),
        ("an origin of many labels", "GET /", &[("x-api-key", "site"), ("origin", &deep_host)], Allow),
        ("two origins", "GET /", &[("x-api-key", "site"), SITE, SITE], Deny(OriginNotAllowed)),
        ("a deep path", &deep_path, &[("x-api-key", "search")], Deny(ScopeNotAllowed)),
        ("a path of escapes", &escapes, &[("x-api-key", "search")], Deny(AmbiguousPath)),
        ("a path of nested escapes", &nested_escapes, &[("x-api-key", "search")], Deny(AmbiguousPath)),
        ("a path of UTF-8", "GET /files/caf%C3%A9/100%25%20off", &[("x-api-key", "search")], Deny(IndexNotAllowed)),
        ("no path", "GET", &[("x-api-key", "search")], Deny(ScopeNotAllowed)),
    ];
    for keys in [0, 1_000] {
        let policy = policy(keys);
        for (name, target, headers, outcome) in rows {
            let (method, path) = target.split_once(' ').unwrap_or((target, ""));
            let pseudo = [(":method", method), (":path", path)];
            let headers: Vec<(&[u8], &[u8])> = pseudo
                .iter()
                .chain(*headers)
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            let world = World::default();
            match *name {
                "used up" => drop(world.admit(None, NonZeroU32::MIN).unwrap()),
                "used up by the client" => {
                    let client = Client::new(Some([10, 1, 2, 3].into()));
                    let key = policy.keys().iter().find(|key| key.id() == "used-up-by-client");
                    world.admit_client(key, &client, NonZeroU32::MIN).unwrap();
                }
                _ => {}
            }
            let (decided, counted) = tally(|| {
                let head = Head::read(&policy, headers.iter().copied());
                decide(&policy, &head, &world).outcome
            });
            assert_eq!(decided, *outcome, "{name}");
            assert_eq!(counted.allocations, 0, "{name}, with {keys} keys more");
        }
    }
    let denied: BTreeSet<Reason> = rows
        .iter()
        .filter_map(|row| if let Deny(reason) = row.3 { Some(reason) } else { None })
        .collect();
    // Without a policy nothing is decided, and tokens come below.
    let others = Reason::ALL.into_iter().filter(|reason| !denied.contains(reason));
    assert_eq!(
        others.collect::<Vec<_>>(),
        [PolicyUnavailable, InvalidScopedToken, ScopedTokenExpired]
    );
}

fn policy_with_tokens() -> Policy {
    let text = format!(
        r#"{{"keys": [{{"id": "parent", "scoped_tokens": {{"secrets": ["{}"]}}}}],
            "scopes": {{"search": [{{"methods": ["GET"], "path": "/{{index}}"}}]}}}}"#,
        maker::base64url(maker::SECRET)
    );
    Policy::load(text.as_bytes(), NOW).unwrap().policy
}

fn token(further: &str) -> String {
    maker::good("parent", NOW.0, further, maker::Signer::Secret(maker::SECRET))
}

#[test]
fn a_remembered_token_allocates_nothing() {
    let policy = policy_with_tokens();
    let world = World::default();
    let good = token(
        r#""sub":"alice","filter":"f","scopes":["search"],"indexes":["a"],"ips":["10.0.0.0/8"],"origins":["https://a.example"]"#,
    );
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(43));
    for (text, expected) in [
        (&good, Outcome::Allow),
        (&forged, Outcome::Deny(Reason::InvalidScopedToken)),
    ] {
        let bearer = format!("Bearer {text}");
        let headers: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":path", b"/a"),
            (b"authorization", bearer.as_bytes()),
            (b"origin", b"https://a.example"),
        ];
        for is_first in [true, false] {
            let (outcome, counted) = tally(|| {
                let head = Head::read(&policy, headers.into_iter());
                decide(&policy, &head, &world).outcome
            });
            assert_eq!(outcome, expected);
            assert_eq!(counted.allocations > 0, is_first, "{expected:?}: {counted:?}");
        }
    }
}

/// However many come, and whatever is in them. The newest is there.
#[test]
fn what_is_remembered_of_tokens_keeps_to_its_limit() {
    const GOOD: usize = 256 << 10;
    const BAD: usize = 32 << 10;
    let policy = policy_with_tokens();
    let (mut last, counted) = tally(|| {
        let mut cache = TokenCache::with_limits(GOOD, BAD);
        for number in 0..2_000 {
            let further = match number % 3 {
                0 => format!(r#""sub":"user-{number}""#),
                1 => format!(r#""filter":"{}","jti":{number}"#, "f".repeat(900)),
                _ => format!(r#""origins":["https://{number}.example","https://*-{number}.a.example"]"#),
            };
            let good = token(&further);
            let bad = maker::good("parent", NOW.0, &further, maker::Signer::Secret(maker::OTHER_SECRET));
            for text in [good, bad] {
                let verdict = Unverified::read((&policy).into(), &text, NOW).unwrap().verdict();
                let digest = KeyDigest::of(text.as_bytes());
                cache.insert(PolicyId(1), &text, digest, &verdict);
                let found = [
                    cache.good(PolicyId(1), &text, NOW),
                    cache.bad(PolicyId(1), &digest, NOW),
                ];
                assert_eq!(
                    found.map(|found| found.is_some()),
                    [verdict.is_good(), !verdict.is_good()]
                );
                let elsewhere = cache
                    .good(PolicyId(2), &text, NOW)
                    .or(cache.bad(PolicyId(2), &digest, NOW));
                assert!(elsewhere.is_none());
            }
        }
        cache
    });
    println!("{} of {} bytes", counted.live, GOOD + BAD);
    assert!(counted.live.unsigned_abs() <= GOOD + BAD, "{counted:?}");
    last.forget(PolicyId(1));
}

/// The memory for remembered tokens is counted by what they say of themselves.
#[test]
fn a_token_takes_no_more_than_it_says() {
    let policy = policy_with_tokens();
    let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    #[rustfmt::skip]
    let rows = [
        ("nothing", String::new()),
        ("a user", r#""sub":"alice","filter":"user=alice""#.into()),
        ("a long filter", format!(r#""filter":"{}""#, "f".repeat(1024))),
        ("unknown claims", format!(r#""x":[{}]"#, list(1000, &|_| "{}".into()))),
        ("origins", format!(r#""origins":[{}]"#, list(100, &|n| format!(r#""https://{n}.example""#)))),
        ("one origin", r#""origins":["a://b"]"#.into()),
        ("short origins", format!(r#""origins":[{}]"#, list(250, &|n| format!(r#""a{n:x}://b""#)))),
        ("wildcards", format!(r#""origins":[{}]"#, list(100, &|n| format!(r#""https://*-{n}.o{n}.example:*""#)))),
        ("networks", format!(r#""ips":[{}]"#, list(200, &|n| format!(r#""10.0.{n}.0/24""#)))),
        ("networks of IPv6", format!(r#""ips":[{}]"#, list(200, &|n| format!(r#""{n:x}::/16""#).replace("\"0::", "\"::")))),
        ("indexes", format!(r#""indexes":[{}]"#, list(500, &|_| r#""a""#.into()))),
        ("scopes", format!(r#""scopes":[{}]"#, list(250, &|_| r#""search""#.into()))),
    ];
    for (name, further) in rows {
        let text = token(&further);
        let (verdict, counted) = tally(|| Unverified::read((&policy).into(), &text, NOW).and_then(Unverified::verify));
        let token = verdict.unwrap_or_else(|error| panic!("{name}: {error}"));
        println!(
            "{name}: {} of {} bytes, text {}",
            counted.live,
            token.bytes(),
            text.len()
        );
        assert!(
            counted.live.unsigned_abs() <= token.bytes(),
            "{name}: {counted:?}, {}",
            token.bytes()
        );
    }
}

/// However often it is encoded.
#[test]
fn a_path_is_decoded_without_memory() {
    let policy = policy(0);
    let world = World::default();
    for path in [
        format!("/{}", "%20".repeat(10_000)),
        format!("/{}", "%25%20".repeat(10_000)),
        format!("/{}2f", "%25".repeat(10_000)),
        format!("/%{}2f", "25".repeat(10_000)),
    ] {
        let headers: [(&[u8], &[u8]); 3] = [
            (b":method", b"GET"),
            (b":path", path.as_bytes()),
            (b"x-api-key", b"search"),
        ];
        let (outcome, counted) = tally(|| {
            let head = Head::read(&policy, headers.into_iter());
            decide(&policy, &head, &world).outcome
        });
        assert!(matches!(outcome, Outcome::Deny(_)));
        assert_eq!(counted.allocations, 0, "{path:.12}");
    }
}

/// Bytes beside the text of the configuration, 29 MB, with three origins and two networks a key. They hold for 64 bits; in the wasm
/// pointers are half as long.
#[test]
fn a_policy_of_100_000_keys_fits() {
    let text = workload::policy_text(100_000);
    let (loaded, counted) = tally(|| Policy::load(text.as_bytes(), NOW));
    let policy = loaded.unwrap().policy;
    assert_eq!(policy.keys().len(), 100_000);
    assert!(counted.live <= 43_900_000, "{counted:?}");
    assert!(counted.peak <= 57_000_000, "{counted:?}");
}

/// Whether a policy fits is asked before it is compiled, so what is asked for must be enough, whatever is in it; and not much more than
/// enough for one that people write.
#[test]
fn a_policy_takes_no_more_than_its_footprint() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let keys = |count: usize, rest: &dyn Fn(usize) -> String| {
        let key = |number: usize| {
            format!(
                r#"{{"id": "k{number}", "api_key": "key-{number}-0123456789", {}}}"#,
                rest(number)
            )
        };
        list(count, &key)
    };
    let origins = |count: usize| {
        format!(
            r#""allowed_origins": [{}]"#,
            list(count, &|n| format!(r#""https://o{n}.example""#))
        )
    };
    let scopes = r#""scopes": {"a": [{"methods": ["GET", "POST"], "path": "/a/{index}"}], "b": [{"methods": ["PUT"], "path": "/*/b/**"}],
        "c": [{"methods": ["*"], "path": "/c"}]}"#;
    let odd = |number: usize| {
        ["a", "b", "c"]
            .iter()
            .enumerate()
            .filter(|(at, _)| number >> at & 1 == 1)
            .map(|(_, s)| format!("{s:?}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let subset = |number: usize| {
        (0..12)
            .filter(|at| number >> at & 1 == 1)
            .map(|at| format!(r#""s{at}""#))
            .collect::<Vec<_>>()
            .join(",")
    };
    let many_scopes = list(12, &|n| {
        format!(
            r#""s{n}": [{{"methods": ["GET"], "path": "/v1/{n}/{{index}}/x"}}, {{"methods": ["PUT"], "path": "/v1/*/{n}"}}]"#
        )
    });
    #[rustfmt::skip]
    let rows: Vec<(&str, String)> = vec![
        ("nothing", "{}".into()),
        ("one key", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| origins(2)))),
        ("keys, each with its own", workload::policy_text(20_000)),
        ("keys that share their origins", format!(r#"{{"keys": [{}]}}"#, keys(5_000, &|_| origins(20)))),
        ("a key with many origins", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| origins(100_000)))),
        ("keys with a wildcard in a label", format!(r#"{{"keys": [{}]}}"#, keys(20_000, &|n| format!(r#""allowed_origins": ["https://app-{n}-*-team.vercel.app"]"#)))),
        ("a key with many wildcards in labels", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| format!(r#""allowed_origins": [{}]"#, list(70_000, &|n| format!(r#""https://*-{n}.o{n}.example:*""#)))))),
        ("a key with many origins of programs", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| format!(r#""allowed_origins": [{}]"#, list(70_000, &|n| format!(r#""a{n}://""#)))))),
        ("a key with many networks", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| format!(r#""allowed_ips": [{}]"#, list(50_000, &|n| format!(r#""10.{}.{}.0/24""#, n >> 8, n & 255)))))),
        ("keys with IPv6 networks", format!(r#"{{"keys": [{}]}}"#, keys(5_000, &|n| format!(r#""allowed_ips": ["2001:db8:{n:x}::/48"]"#)))),
        ("digests of one key", format!(r#"{{"keys": [{{"id": "a", "api_key": [{}]}}]}}"#, list(50_000, &|n| format!(r#""key-{n}-0123456789""#)))),
        ("keys with entries", format!(r#"{{"keys": [{}]}}"#, list(20_000, &|n| format!(
            r#"{{"id": "k{n}", "api_key": [{{"key": "key-{n}-0123456789", "label": "new-{n}"}}, "old-{n}-0123456789", {{"key": "older-{n}-0123456789", "label": "{n}", "expires_at": "2036-01-01T00:00:00Z"}}]}}"#)))),
        ("a key with many entries", format!(r#"{{"keys": [{{"id": "a", "api_key": [{}]}}]}}"#, list(50_000, &|n| format!(r#"{{"key": "key-{n}-0123456789", "label": "{n}"}}"#)))),
        ("keys that set headers", format!(r#"{{"upstream_header_names": ["X-Plan", "X-Tier"], "keys": [{}]}}"#, keys(20_000, &|n| format!(r#""upstream_headers": {{"X-Plan": "{n:0>300}", "x-tier": ""}}"#)))),
        ("a key that sets headers not listed", format!(r#"{{"keys": [{}]}}"#, keys(1, &|_| format!(r#""upstream_headers": {{{}}}"#, list(50_000, &|n| format!(r#""X-{n}": "value""#)))))),
        ("keys with tokens", format!(r#"{{{scopes}, "keys": [{}]}}"#, keys(5_000, &|n| format!(r#""scoped_tokens": {{"secrets": ["{n:A>43}A"], "public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{}"}}]}}"#, maker::jwk_x(maker::SEED))))),
        ("a key with tokens and many scopes", format!(r#"{{"scopes": {{{}}}, "keys": [{}]}}"#, list(2_000, &|n| format!(r#""s{n}": [{{"methods": ["GET"], "path": "/v1/{n}/{{index}}/x"}}]"#)), keys(1, &|_| format!(r#""scoped_tokens": {{"secrets": ["{}"]}}"#, "A".repeat(43))))),
        ("a key with long secrets", format!(r#"{{"keys": [{}]}}"#, keys(2_000, &|_| format!(r#""scoped_tokens": {{"secrets": [{}]}}"#, list(3, &|_| format!(r#""{}""#, "A".repeat(1366))))))),
        ("keys with scopes", format!(r#"{{{scopes}, "keys": [{}]}}"#, keys(5_000, &|n| format!(r#""scopes": [{}], "indexes": ["i{n}", "p{n}-*"]"#, odd(n))))),
        ("keys with scopes of their own", format!(r#"{{"scopes": {{{many_scopes}}}, "keys": [{}]}}"#, keys(4_000, &|n| format!(r#""scopes": [{}]"#, subset(n))))),
        ("long names", format!(r#"{{"keys": [{}]}}"#, keys(100, &|n| format!(r#""name": "{}""#, "n".repeat(10_000 + n))))),
        ("headers", format!(r#"{{"security_headers": {{"set": {{{}}}}}}}"#, list(10_000, &|n| format!(r#""X-{n}": "value""#)))),
        ("an unknown field that is large", format!(r#"{{"x": [{}]}}"#, list(300_000, &|_| "0".into()))),
        ("a key that is large and wrong", format!(r#"{{"keys": [[{}]]}}"#, list(300_000, &|_| "[]".into()))),
        ("keys that are no keys", format!(r#"{{"keys": [{}]}}"#, list(300_000, &|_| "1".into()))),
        ("names with escapes", format!(r#"{{{}}}"#, list(50_000, &|n| format!(r#""\u0061{n}": "\u0062""#)))),
        ("mistakes", format!(r#"{{"keys": [{}]}}"#, keys(5_000, &|_| r#""allowed_origins": ["https://A.example/"]"#.into()))),
    ];
    for (name, text) in rows {
        let measure = Measure::of(text.as_bytes());
        let footprint = Footprint::of(&measure);
        let (loaded, counted) = tally(|| Policy::compile(text.as_bytes(), &measure, NOW));
        println!(
            "{name}: {} of {} bytes, at the most {} of {}",
            counted.live, footprint.compiled, counted.peak, footprint.peak
        );
        assert!(
            counted.peak.unsigned_abs() <= footprint.peak,
            "{name}: {counted:?}, {footprint:?}"
        );
        if loaded.is_ok() {
            assert!(
                counted.live.unsigned_abs() <= footprint.compiled,
                "{name}: {counted:?}, {footprint:?}"
            );
        }
        if name == "keys, each with its own" {
            assert!(
                footprint.peak < 2 * counted.peak.unsigned_abs(),
                "{counted:?}, {footprint:?}"
            );
        }
    }
}
