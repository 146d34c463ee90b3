//! The decision table, preflights and response headers, row by row and without a host.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::key::Enforcement;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::header_list::HeaderList;
use keyfence_core::decision::local_reply::{LocalReply, complete};
use keyfence_core::decision::rate::{RateStatus, peek};
use keyfence_core::decision::reason::Reason;
use keyfence_core::decision::request::Head;
use keyfence_core::decision::response::ResponseContext;
use keyfence_core::decision::{
    Decision, Effect, HeaderMutation, Outcome, Refusal, RequestContext, Unavailable, decide, upstream,
};
use keyfence_core::policy::expiry::UpcomingExpiries;
use keyfence_core::policy::{Key, Policy};

const NOW: &str = "2026-06-15T12:00:00Z";

/// A world with one address, one time, and a limit that is used up where the key says so.
struct World {
    address: &'static str,
    taken: Cell<u32>,
    clients: RefCell<Vec<Client>>,
}

impl RequestContext for World {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        if self.address == "fails" {
            return Err(Unavailable);
        }
        Ok(SourceAddress::parse(self.address.as_bytes()))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(Timestamp::parse(NOW).unwrap())
    }

    fn admit(&self, key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        self.taken.set(self.taken.get() + 1);
        match key {
            Some(key) if key.id().starts_with("used-up") => Err(Refusal::UsedUp(peek(None, limit, 1_000))),
            Some(key) if key.id().starts_with("host-fails") => Err(Refusal::Unavailable),
            _ => Ok(peek(None, limit, 1_000)),
        }
    }

    fn peek(&self, _key: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }

    fn admit_client(&self, key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        self.clients.borrow_mut().push(*client);
        match self.peek_client(key, client, limit) {
            Ok(status) if status.remaining == 0 => Err(Refusal::UsedUp(status)),
            status => status.map_err(|Unavailable| Refusal::Unavailable),
        }
    }

    /// The last byte of an address says how much of its limit remains; with 13 the host fails. The first says when more is admitted.
    fn peek_client(&self, _key: Option<&Key>, client: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        let (_, identity) = client.identity();
        match identity.last() {
            Some(13) => Err(Unavailable),
            last => Ok(RateStatus {
                remaining: last.map_or(limit.get(), |last| u32::from(*last)),
                reset: if identity.starts_with(&[9]) { 500 } else { 2_000 },
                ..peek(None, limit, 1_000)
            }),
        }
    }
}

fn policy(text: &str) -> Policy {
    match Policy::load(text.as_bytes(), Timestamp::parse(NOW).unwrap()) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{:?}", diagnostics.errors()),
    }
}

const POLICY: &str = r#"{
  "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
  "keys": [
    {"id": "site", "api_key": ["site-key-1", "site-key-2"], "allowed_origins": ["https://yourapp.com", "https://*.yourapp.com"]},
    {"id": "if-present", "api_key": "if-present-key", "allowed_origins": ["https://yourapp.com"], "origin_check": "if_present"},
    {"id": "cors-only", "api_key": "cors-only-key", "allowed_origins": ["https://yourapp.com"], "origin_check": "cors_only"},
    {"id": "star", "api_key": "star-key", "allowed_origins": ["*", "null", "https://yourapp.com"]},
    {"id": "open", "api_key": "open-key"},
    {"id": "off", "api_key": "off-key", "enabled": false, "allowed_origins": ["https://off.example"]},
    {"id": "early", "api_key": "early-key", "not_before": "2026-06-15T12:00:01Z"},
    {"id": "begun", "api_key": "begun-key", "not_before": "2026-06-15T12:00:00Z"},
    {"id": "rotated", "api_key": ["rotated-new", {"key": "rotated-old", "label": "2026-05", "expires_at": "2026-06-15T12:00:01Z"},
      {"key": "rotated-out", "expires_at": "2026-06-15T12:00:00Z"}]},
    {"id": "rotated-late", "api_key": {"key": "rotated-late-key", "expires_at": "2026-06-15T12:00:01Z"}, "expires_at": "2026-06-15T12:00:00Z"},
    {"id": "late", "api_key": "late-key", "expires_at": "2026-06-15T12:00:00Z", "allowed_origins": ["https://yourapp.com"]},
    {"id": "last-second", "api_key": "last-second-key", "expires_at": "2026-06-15T12:00:01Z"},
    {"id": "server", "api_key": "server-key", "kind": "secret"},
    {"id": "office", "api_key": "office-key", "allowed_ips": ["10.0.0.0/8", "2001:db8::/32"], "allowed_origins": ["https://yourapp.com"]},
    {"id": "search", "api_key": "search-key", "scopes": ["search"], "indexes": ["products"]},
    {"id": "limited", "api_key": "limited-key", "rate_limit_per_minute": 5, "allowed_origins": ["https://yourapp.com"]},
    {"id": "used-up", "api_key": "used-up-key", "rate_limit_per_minute": 5},
    {"id": "watched", "api_key": "watched-key", "allowed_origins": ["https://yourapp.com"], "enforcement": "report"},
    {"id": "all", "api_key": "all-key", "kind": "secret", "expires_at": "2026-01-01T00:00:00Z", "allowed_ips": ["10.0.0.0/8"],
     "scopes": [], "rate_limit_per_minute": 1}
  ],
  "scopes": {"search": [{"methods": ["GET"], "path": "/v1/{index}/search"}, {"methods": ["GET"], "path": "/v1/stats"}]}
}"#;

type Headers = &'static [(&'static str, &'static str)];

/// What became of a request, and what its response says of the origin.
fn outcome(decision: &Decision<'_, '_>) -> String {
    let report = if decision.enforcement == Enforcement::Report {
        "report "
    } else {
        ""
    };
    let outcome = match decision.outcome {
        Outcome::Allow => "allow".to_owned(),
        Outcome::Preflight => "preflight".to_owned(),
        Outcome::Deny(reason) => format!("{} {}", reason.status(), reason.code()),
    };
    format!("{report}{outcome}, {:?}", decision.allow_origin).to_lowercase()
}

fn head<'r>(policy: &Policy, method: &'r str, path: &'r str, headers: &'r [(&'r str, &'r str)]) -> Head<'r> {
    let pseudo = [(":method", method), (":path", path)];
    let all: Vec<(&[u8], &[u8])> = pseudo
        .into_iter()
        .chain(headers.iter().copied())
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    // A head borrows from the bytes, not from the list.
    Head::read(policy, all.iter().copied())
}

#[test]
fn the_decision_table() {
    const SITE: (&str, &str) = ("origin", "https://yourapp.com");
    const EVIL: (&str, &str) = ("origin", "https://evil.com");
    let policy = policy(POLICY);
    let rows: &[(&str, &str, &str, Headers, &str)] = &[
        ("no key", "GET /", "192.0.2.1:9", &[], "401 missing_api_key, omit"),
        (
            "no key, a listed origin",
            "GET /",
            "192.0.2.1:9",
            &[SITE],
            "401 missing_api_key, echo",
        ),
        (
            "no key, a disabled key's origin",
            "GET /",
            "192.0.2.1:9",
            &[("origin", "https://off.example")],
            "401 missing_api_key, any",
        ),
        (
            "unknown key",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "nope"), SITE],
            "401 invalid_api_key, echo",
        ),
        (
            "two keys",
            "GET /?api_key=site-key-1",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1"), SITE],
            "401 ambiguous_api_key, echo",
        ),
        (
            "a key",
            "GET /",
            "192.0.2.1:9",
            &[("authorization", "Bearer site-key-1"), SITE],
            "allow, echo",
        ),
        (
            "its successor",
            "GET /",
            "192.0.2.1:9",
            &[("authorization", "Bearer site-key-2"), SITE],
            "allow, echo",
        ),
        (
            "in the query",
            "GET /?api_key=site-key-1",
            "192.0.2.1:9",
            &[SITE],
            "allow, echo",
        ),
        (
            "a subdomain",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1"), ("origin", "https://a.b.yourapp.com")],
            "allow, echo",
        ),
        (
            "another origin",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1"), EVIL],
            "403 origin_not_allowed, omit",
        ),
        (
            "no origin",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1")],
            "403 origin_not_allowed, omit",
        ),
        (
            "two origins",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1"), SITE, SITE],
            "403 origin_not_allowed, omit",
        ),
        (
            "an empty origin",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "site-key-1"), ("origin", "")],
            "403 origin_not_allowed, omit",
        ),
        (
            "if_present: none",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "if-present-key")],
            "allow, omit",
        ),
        (
            "if_present: listed",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "if-present-key"), SITE],
            "allow, echo",
        ),
        (
            "if_present: another",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "if-present-key"), EVIL],
            "403 origin_not_allowed, omit",
        ),
        (
            "cors_only: another",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "cors-only-key"), EVIL],
            "allow, omit",
        ),
        (
            "cors_only: listed",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "cors-only-key"), SITE],
            "allow, echo",
        ),
        (
            "star",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), EVIL],
            "allow, any",
        ),
        (
            "star: null",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "null")],
            "allow, null",
        ),
        (
            "star: listed",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), SITE],
            "allow, echo",
        ),
        (
            "star: two in one line",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "a, b")],
            "403 origin_not_allowed, omit",
        ),
        (
            "star: an app of Electron",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "app://.")],
            "allow, any",
        ),
        (
            "star: a WebView's file",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "file://")],
            "allow, any",
        ),
        (
            "star: a host with a trailing dot",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "https://a.example.")],
            "allow, any",
        ),
        (
            "star: nonsense",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "star-key"), ("origin", "nonsense")],
            "allow, any",
        ),
        (
            "no list",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "open-key"), EVIL],
            "allow, omit",
        ),
        (
            "disabled",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "off-key"), ("origin", "https://off.example")],
            "401 key_disabled, echo",
        ),
        (
            "not yet valid",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "early-key")],
            "401 key_not_yet_valid, omit",
        ),
        (
            "valid from now on",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "begun-key")],
            "allow, omit",
        ),
        (
            "expired now",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "late-key"), SITE],
            "401 key_expired, echo",
        ),
        (
            "the newest entry",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "rotated-new")],
            "allow, omit",
        ),
        (
            "the last second of an old entry",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "rotated-old")],
            "allow, omit",
        ),
        (
            "an entry that has expired, beside others",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "rotated-out")],
            "401 key_expired, omit",
        ),
        (
            "an entry that outlives its key",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "rotated-late-key")],
            "401 key_expired, omit",
        ),
        (
            "the last second",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "last-second-key")],
            "allow, omit",
        ),
        (
            "secret",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "server-key")],
            "allow, omit",
        ),
        (
            "secret with an origin",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "server-key"), SITE],
            "403 secret_key_in_browser, omit",
        ),
        (
            "secret from a page",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "server-key"), ("sec-fetch-site", "cross-site")],
            "403 secret_key_in_browser, omit",
        ),
        (
            "secret from Node's fetch",
            "GET /",
            "192.0.2.1:9",
            &[
                ("x-api-key", "server-key"),
                ("sec-fetch-mode", "cors"),
                ("accept-language", "*"),
            ],
            "allow, omit",
        ),
        (
            "address",
            "GET /",
            "10.1.2.3:9",
            &[("x-api-key", "office-key"), SITE],
            "allow, echo",
        ),
        (
            "IPv6 address",
            "GET /",
            "[2001:db8::7]:9",
            &[("x-api-key", "office-key"), SITE],
            "allow, echo",
        ),
        (
            "mapped address",
            "GET /",
            "[::ffff:10.1.2.3]:9",
            &[("x-api-key", "office-key"), SITE],
            "allow, echo",
        ),
        (
            "another address",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "office-key"), SITE],
            "403 ip_not_allowed, echo",
        ),
        (
            "an address from a header",
            "GET /",
            "10.1.2.3:0",
            &[("x-api-key", "office-key"), SITE],
            "403 ip_not_allowed, echo",
        ),
        (
            "no address",
            "GET /",
            "",
            &[("x-api-key", "office-key"), SITE],
            "403 ip_not_allowed, echo",
        ),
        (
            "address before origin",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "office-key"), EVIL],
            "403 ip_not_allowed, omit",
        ),
        (
            "scope and index",
            "GET /v1/products/search?q=..",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "allow, omit",
        ),
        (
            "another index",
            "GET /v1/orders/search",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "403 index_not_allowed, omit",
        ),
        (
            "a rule without index",
            "GET /v1/stats",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "403 index_not_allowed, omit",
        ),
        (
            "another method",
            "POST /v1/products/search",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "403 scope_not_allowed, omit",
        ),
        (
            "another path",
            "GET /v1/products",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "403 scope_not_allowed, omit",
        ),
        (
            "ambiguous path",
            "GET /v1//products/search",
            "192.0.2.1:9",
            &[("x-api-key", "search-key")],
            "400 ambiguous_path, omit",
        ),
        (
            "ambiguous path without scopes",
            "GET /v1//x",
            "192.0.2.1:9",
            &[("x-api-key", "open-key")],
            "allow, omit",
        ),
        (
            "within the limit",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "limited-key"), SITE],
            "allow, echo",
        ),
        (
            "over the limit",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "used-up-key")],
            "429 rate_limit_exceeded, omit",
        ),
        (
            "reported",
            "GET /",
            "192.0.2.1:9",
            &[("x-api-key", "watched-key"), EVIL],
            "report 403 origin_not_allowed, omit",
        ),
        (
            "life is first",
            "GET //",
            "192.0.2.1:9",
            &[("x-api-key", "all-key"), EVIL],
            "401 key_expired, omit",
        ),
        (
            "OPTIONS alone",
            "OPTIONS /",
            "192.0.2.1:9",
            &[SITE],
            "401 missing_api_key, echo",
        ),
        (
            "OPTIONS without origin",
            "OPTIONS /",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET")],
            "401 missing_api_key, omit",
        ),
        (
            "a preflight's header on a GET",
            "GET /",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), SITE],
            "401 missing_api_key, echo",
        ),
        (
            "preflight",
            "OPTIONS /",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), SITE],
            "preflight, echo",
        ),
        (
            "preflight of any origin",
            "OPTIONS /",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), EVIL],
            "preflight, any",
        ),
        (
            "preflight with a key",
            "OPTIONS /?api_key=site-key-1",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), EVIL],
            "403 origin_not_allowed, omit",
        ),
        (
            "preflight with an unknown key",
            "OPTIONS /?api_key=nope",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), SITE],
            "preflight, echo",
        ),
        (
            "preflight with a reported key",
            "OPTIONS /?api_key=watched-key",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), EVIL],
            "report 403 origin_not_allowed, omit",
        ),
        (
            "preflight with a key in a header, as no browser sends it",
            "OPTIONS /",
            "192.0.2.1:9",
            &[
                ("access-control-request-method", "GET"),
                EVIL,
                ("x-api-key", "site-key-1"),
            ],
            "preflight, any",
        ),
        (
            "preflight of two origins",
            "OPTIONS /",
            "192.0.2.1:9",
            &[("access-control-request-method", "GET"), SITE, SITE],
            "403 origin_not_allowed, omit",
        ),
    ];
    for (name, request, address, headers, expected) in rows {
        let (method, path) = request.split_once(' ').unwrap();
        let head = head(&policy, method, path, headers);
        let world = World {
            address,
            taken: Cell::new(0),
            clients: RefCell::default(),
        };
        let decision = decide(&policy, &head, &world);
        assert_eq!(outcome(&decision), *expected, "{name}");
        let passes = expected.starts_with("report") || expected.starts_with("allow");
        assert_eq!(decision.effect() == Effect::Forward, passes, "{name}");
        let counts = matches!(decision.key, Some(found) if found.key().restrictions().limit().is_some())
            && !matches!(decision.outcome, Outcome::Deny(reason) if reason.status() != 429);
        assert_eq!(world.taken.get(), u32::from(counts), "{name}: taken from the limit");
    }
}

/// `origin_check` with requests from pages on the API's own site, which is `https://api.example:8443`.
#[test]
#[rustfmt::skip]
fn a_page_on_the_apis_own_site() {
    const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
    let rows: &[(&str, &str, Headers, &str)] = &[
        ("required_or_same_origin", "https://api.example:8443", &[SAME], "allow, omit"),
        ("required_or_same_origin", "https://*.example.com", &[SAME, (":authority", "docs.example.com")], "allow, omit"),
        ("required_or_same_origin", "https://api.example", &[SAME], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example", &[SAME, (":authority", "api.example:443")], "allow, omit"),
        ("required_or_same_origin", "http://api.example", &[SAME, (":scheme", "http"), (":authority", "api.example:80")], "allow, omit"),
        ("required_or_same_origin", "https://api.example", &[SAME, (":authority", "api.example:80")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example", &[SAME, (":authority", "api.example:4430")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "http://api.example:8443", &[SAME], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[SAME, (":authority", "evil.example")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[("sec-fetch-site", "same-site")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[("sec-fetch-site", "cross-site")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[("sec-fetch-site", "none")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[("sec-fetch-site", "Same-Origin")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[SAME, SAME], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[SAME, ("origin", "https://api.example:8443")], "allow, echo"),
        ("required_or_same_origin", "https://api.example:8443", &[SAME, ("origin", "https://evil.example")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[SAME, ("origin", "null")], "allow, omit"),
        ("required_or_same_origin", "https://api.example:8443", &[("sec-fetch-site", "cross-site"), ("origin", "null")], "403 origin_not_allowed, omit"),
        ("required_or_same_origin", "https://api.example", &[SAME, ("origin", "null")], "403 origin_not_allowed, omit"),
        ("required", "https://api.example:8443", &[SAME], "403 origin_not_allowed, omit"),
        ("if_present", "https://api.example:8443", &[SAME], "allow, omit"),
    ];
    for (check, listed, headers, expected) in rows {
        let policy = policy(&format!(
            r#"{{"anonymous": {{"allowed_origins": ["{listed}"], "origin_check": "{check}"}}}}"#
        ));
        let site = [(":scheme", "https"), (":authority", "api.example:8443")];
        let all: Vec<(&str, &str)> = site.into_iter().chain(headers.iter().copied()).collect();
        let head = head(&policy, "GET", "/", &all);
        let world = World { address: "192.0.2.1:9", taken: Cell::new(0), clients: RefCell::default() };
        assert_eq!(outcome(&decide(&policy, &head, &world)), *expected, "{check}, {listed}, {headers:?}");
    }
}

/// Public paths, with a key for the rest. Method and path, origin, and the outcome.
#[test]
#[rustfmt::skip]
fn public_paths() {
    let policy = policy(
        r#"{"anonymous": {"scopes": ["public"]}, "scopes": {"public": [{"methods": ["GET"], "path": "/healthz"}]},
            "keys": [{"id": "k", "api_key": "k", "allowed_origins": ["https://key.example"]}]}"#,
    );
    for (method, path, origin, expected) in [
        ("GET", "/healthz", "https://evil.example", "allow, omit"),
        ("HEAD", "/healthz", "https://evil.example", "allow, omit"),
        ("POST", "/healthz", "https://key.example", "401 missing_api_key, echo"),
        ("GET", "/v1/x", "https://key.example", "401 missing_api_key, echo"),
        ("GET", "/v1/x", "https://evil.example", "401 missing_api_key, omit"),
        ("GET", "/v1//x", "https://key.example", "401 missing_api_key, echo"),
        ("GET", "/healthz/%2e%2e", "https://key.example", "401 missing_api_key, echo"),
    ] {
        let headers = [("origin", origin)];
        let head = head(&policy, method, path, &headers);
        let world = World { address: "192.0.2.1:9", taken: Cell::new(0), clients: RefCell::default() };
        assert_eq!(outcome(&decide(&policy, &head, &world)), expected, "{method} {path} from {origin}");
    }
}

#[test]
fn anonymous_requests_have_a_policy_of_their_own() {
    for (anonymous, request, origin, expected) in [
        (
            r#"{"allowed_origins": ["https://yourapp.com"]}"#,
            "GET /",
            "https://yourapp.com",
            "allow, echo",
        ),
        (
            r#"{"allowed_origins": ["https://yourapp.com"]}"#,
            "GET /",
            "https://evil.com",
            "403 origin_not_allowed, omit",
        ),
        (
            r#"{"allowed_origins": ["https://yourapp.com"]}"#,
            "OPTIONS /",
            "https://yourapp.com",
            "preflight, echo",
        ),
        (
            r#"{"allowed_origins": ["https://yourapp.com"]}"#,
            "OPTIONS /",
            "https://key.example",
            "preflight, echo",
        ),
        (
            r#"{"allowed_origins": ["https://yourapp.com"], "enabled": false}"#,
            "GET /",
            "https://yourapp.com",
            "401 missing_api_key, omit",
        ),
        (
            r#"{"allowed_ips": ["10.0.0.0/8"]}"#,
            "GET /",
            "https://yourapp.com",
            "403 ip_not_allowed, omit",
        ),
        ("{}", "GET /", "https://evil.com", "allow, omit"),
    ] {
        let policy = policy(&format!(
            r#"{{"anonymous": {anonymous}, "keys": [{{"id": "k", "api_key": "k", "allowed_origins": ["https://key.example"]}}]}}"#
        ));
        let (method, path) = request.split_once(' ').unwrap();
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        let head = head(&policy, method, path, &headers);
        let world = World {
            address: "192.0.2.1:9",
            taken: Cell::new(0),
            clients: RefCell::default(),
        };
        assert_eq!(
            outcome(&decide(&policy, &head, &world)),
            expected,
            "{anonymous} {request} from {origin}"
        );
    }
}

/// Applies the edits of a response to what the upstream sent.
fn edited(policy: &Policy, exchange: &ResponseContext, upstream: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in upstream {
        headers.entry((*name).into()).or_default().push((*value).into());
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let present = upstream.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    exchange.apply(policy.response(), present, &mut |edit| match edit {
        HeaderMutation::Add(name, value) => {
            let earlier = headers.insert(text(name), vec![text(value)]);
            assert_eq!(earlier, None, "{} is there already", text(name));
        }
        HeaderMutation::Replace(name, value) => {
            let earlier = headers.insert(text(name), vec![text(value)]);
            assert!(earlier.is_some(), "{} is not there", text(name));
        }
        HeaderMutation::Remove(name) => assert!(headers.remove(&text(name)).is_some(), "{} is not there", text(name)),
    });
    headers
}

fn exchange(policy: &Policy, headers: &[(&str, &str)]) -> ResponseContext {
    let head = head(policy, "GET", "/", headers);
    let world = World {
        address: "192.0.2.1:9",
        taken: Cell::new(0),
        clients: RefCell::default(),
    };
    ResponseContext::new(&head, &decide(policy, &head, &world))
}

#[test]
fn vary_is_added_to_and_nothing_stands_twice() {
    let all_keys = |origins: &str, source: &str| {
        policy(&format!(
            r#"{{"key_sources": [{source}], "keys": [{{"id": "k", "api_key": "k", "allowed_origins": {origins}}}]}}"#
        ))
    };
    let bearer = r#"{"header": "Authorization", "scheme": "Bearer"}"#;
    let header = r#"{"header": "X-API-Key"}"#;
    let query = r#"{"query": "api_key"}"#;
    let both = format!("{bearer}, {header}");
    let site = r#"["https://yourapp.com"]"#;
    for (origins, source, upstream, expected) in [
        (site, bearer, &[][..], Some("Origin, Authorization")),
        (site, header, &[], Some("Origin, X-API-Key")),
        (site, both.as_str(), &[], Some("Origin, Authorization, X-API-Key")),
        (site, query, &[], Some("Origin")),
        (r#"["null"]"#, query, &[], Some("Origin")),
        (r#"["*"]"#, bearer, &[], Some("Authorization")),
        (r#"["*"]"#, header, &[], Some("X-API-Key")),
        (r#"["*"]"#, query, &[], None),
        (r#"["*", "https://yourapp.com"]"#, query, &[], Some("Origin")),
        ("[]", bearer, &[], Some("Authorization")),
        ("[]", query, &[], None),
        (site, bearer, &["authorization"], Some("authorization, Origin")),
        (site, query, &["Accept-Encoding"], Some("Accept-Encoding, Origin")),
        (site, query, &["origin"], Some("origin")),
        (site, query, &["Origin, Accept"], Some("Origin, Accept")),
        (site, query, &["Accept,Origin ,accept"], Some("Accept, Origin")),
        (
            site,
            query,
            &["Accept", "Accept-Encoding"],
            Some("Accept, Accept-Encoding, Origin"),
        ),
        (site, query, &["Origin", "ORIGIN"], Some("Origin")),
        (site, query, &["Origin", "Accept"], Some("Origin, Accept")),
        (site, query, &["Accept,Origin"], Some("Accept,Origin")),
        (site, query, &["*"], Some("*")),
        (site, query, &[""], Some("Origin")),
        (site, query, &["X-Origin"], Some("X-Origin, Origin")),
        ("[]", query, &["Accept"], Some("Accept")),
    ] {
        let policy = all_keys(origins, source);
        let upstream: Vec<(&str, &str)> = upstream.iter().map(|value| ("vary", *value)).collect();
        let headers = edited(&policy, &exchange(&policy, &[]), &upstream);
        let vary: Option<Vec<&str>> = headers
            .get("vary")
            .map(|lines| lines.iter().map(String::as_str).collect());
        assert_eq!(
            vary.as_deref(),
            expected.as_ref().map(std::slice::from_ref),
            "{origins} {source} {upstream:?}"
        );
    }
}

#[test]
fn the_filter_owns_cors() {
    let policy = policy(POLICY);
    let upstream = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "false"),
        ("access-control-allow-methods", "DELETE"),
        ("access-control-made-up", "x"),
        ("content-type", "text/plain"),
    ];
    let site = ("origin", "https://yourapp.com");
    let expose = "X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset";
    for (name, request, origin, credentials) in [
        (
            "listed",
            &[("x-api-key", "site-key-1"), site][..],
            Some("https://yourapp.com"),
            true,
        ),
        (
            "any",
            &[("x-api-key", "star-key"), ("origin", "https://x.example")],
            Some("*"),
            false,
        ),
        (
            "null",
            &[("x-api-key", "star-key"), ("origin", "null")],
            Some("null"),
            false,
        ),
        (
            "another",
            &[("x-api-key", "cors-only-key"), ("origin", "https://evil.com")],
            None,
            false,
        ),
        ("no list", &[("x-api-key", "open-key"), site], None, false),
        ("no origin", &[("x-api-key", "if-present-key")], None, false),
    ] {
        for upstream in [&upstream[..], &[("content-type", "text/plain")]] {
            let headers = edited(&policy, &exchange(&policy, request), upstream);
            let cors: Vec<(&str, &str)> = headers
                .iter()
                .filter(|(name, _)| name.starts_with("access-control-"))
                .map(|(name, lines)| (name.as_str(), lines[0].as_str()))
                .collect();
            let mut expected = Vec::new();
            expected.extend(credentials.then_some(("access-control-allow-credentials", "true")));
            expected.extend(origin.map(|origin| ("access-control-allow-origin", origin)));
            expected.extend(origin.map(|_| ("access-control-expose-headers", expose)));
            assert_eq!(cors, expected, "{name}");
            assert_eq!(headers["content-type"], ["text/plain"], "{name}");
        }
    }
}

#[test]
fn report_mode_leaves_all_but_security_headers() {
    let policy = policy(POLICY);
    let request = [("x-api-key", "watched-key"), ("origin", "https://yourapp.com")];
    let headers = edited(
        &policy,
        &exchange(&policy, &request),
        &[("access-control-allow-origin", "*"), ("vary", "Accept")],
    );
    assert_eq!(headers["access-control-allow-origin"], ["*"]);
    assert_eq!(headers["vary"], ["Accept"]);
    assert_eq!(headers["x-frame-options"], ["DENY"]);
    assert!(!headers.contains_key("access-control-expose-headers"));
}

#[test]
fn a_response_whose_request_never_came_is_still_ours() {
    let policy = policy(POLICY);
    let headers = edited(
        &policy,
        &ResponseContext::unseen(policy.response()),
        &[("access-control-allow-origin", "*")],
    );
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert_eq!(headers["vary"], ["Origin, Authorization, X-API-Key"]);
    assert_eq!(headers["x-content-type-options"], ["nosniff"]);
}

/// A cache gives what one request filled it with to the next, so nothing in it may depend on `Origin`.
#[test]
#[rustfmt::skip]
fn a_list_of_a_star_alone_answers_every_request() {
    let star = r#"{"id": "star", "api_key": "star", "allowed_origins": ["*"], "origin_check": "if_present", "allowed_ips": ["192.0.2.1"]}"#;
    let far = r#"{"id": "far", "api_key": "far", "allowed_origins": ["*"], "allowed_ips": ["10.0.0.0/8"]}"#;
    let open = r#"{"id": "open", "api_key": "open"}"#;
    let site = r#"{"id": "site", "api_key": "site", "allowed_origins": ["https://yourapp.com", "*"], "origin_check": "if_present"}"#;
    let null = r#"{"id": "null", "api_key": "null", "allowed_origins": ["null"]}"#;
    let off = r#"{"id": "off", "api_key": "off", "allowed_origins": ["https://yourapp.com"], "enabled": false}"#;
    let watched = r#"{"id": "watched", "api_key": "watched", "allowed_origins": ["*"], "enforcement": "report"}"#;
    let origins = [&[][..], &[("origin", "https://a.example")], &[("origin", "null")], &[("origin", "")], &[("origin", "a, b")]];
    // Keys of the policy, more of it, the key that is sent, and whether every response has the star.
    for (keys, more, sent, expected) in [
        (&[star][..], "", "star", true),
        (&[star, site], "", "star", true),
        (&[star, far, open], "", "far", true),
        (&[star, open], "", "nobody", true),
        (&[star, open], "", "", true),
        (&[star, off], "", "", true),
        (&[star, off], "", "off", false),
        (&[star, site], "", "site", false),
        (&[star, site], "", "nobody", false),
        (&[star, null], "", "", false),
        (&[star, open], "", "open", false),
        (&[open], "", "", false),
        (&[star], r#", "anonymous": {"allowed_origins": ["https://yourapp.com"]}"#, "", false),
        (&[star], r#", "anonymous": {"allowed_origins": ["https://yourapp.com"]}"#, "nobody", false),
        (&[site], r#", "anonymous": {"allowed_origins": ["*"]}"#, "", true),
        (&[site], r#", "anonymous": {}"#, "", false),
        (&[star, watched], "", "watched", false),
        (&[star], r#", "enforcement": "report""#, "star", false),
    ] {
        let policy = policy(&format!(r#"{{"key_sources": [{{"header": "X-API-Key"}}], "keys": [{}] {more}}}"#, keys.join(",")));
        let mut found = Vec::new();
        for origin in origins {
            let mut request = origin.to_vec();
            if !sent.is_empty() {
                request.push(("x-api-key", sent));
            }
            let headers = edited(&policy, &exchange(&policy, &request), &[]);
            let value = |name: &str| headers.get(name).map(|lines| lines[0].as_str());
            let (allowed, exposed) = (value("access-control-allow-origin"), value("access-control-expose-headers"));
            assert_eq!(allowed.is_some(), exposed.is_some(), "{sent} {request:?}");
            found.push(allowed == Some("*") && value("access-control-allow-credentials").is_none());
        }
        let is_star = found.iter().all(|is_star| *is_star);
        assert_eq!(is_star, expected, "{keys:?} {more} {sent}: {found:?}");
        assert!(expected || !found[0], "without an origin: {keys:?} {more} {sent}");
    }
    for (keys, expected) in [(&[star, open][..], Some("*")), (&[star, off], Some("*")), (&[star, site], None), (&[star, null], None), (&[open], None)] {
        let policy = policy(&format!(r#"{{"keys": [{}]}}"#, keys.join(",")));
        let headers = edited(&policy, &ResponseContext::unseen(policy.response()), &[("access-control-allow-origin", "https://a.example")]);
        let allowed = headers.get("access-control-allow-origin").map(|lines| lines[0].as_str());
        assert_eq!(allowed, expected, "unseen: {keys:?}");
        assert_eq!(headers.contains_key("access-control-expose-headers"), expected.is_some(), "unseen: {keys:?}");
    }
    let any = policy(&format!(r#"{{"keys": [{star}]}}"#));
    let headers = [("origin", "a, b"), ("access-control-request-method", "GET")];
    let (status, lines, _) = reply(&any, "OPTIONS", &headers);
    assert_eq!(status, 403);
    assert!(lines.iter().all(|(name, _)| !name.starts_with("access-control-")), "{lines:?}");
}

#[test]
fn security_headers_are_set_once() {
    let policy = policy(
        r#"{"security_headers": {
            "preset": "default",
            "set": {"Referrer-Policy": "no-referrer", "X-Frame-Options": null, "x-xss-protection": {"value": "0", "mode": "if_absent"}, "X-New": "1", "X-Absent": {"value": "2", "mode": "if_absent"}},
            "content_security_policy": {"default-src": ["'self'"], "script-src": ["'self'", "https://cdn.justkalm.com"], "upgrade-insecure-requests": []},
            "remove": ["X-Powered-By", "Strict-Transport-Security"]
        }}"#,
    );
    let upstream = [
        ("x-powered-by", "PHP"),
        ("referrer-policy", "unsafe-url"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-xss-protection", "1"),
        ("content-security-policy", "default-src *"),
        ("strict-transport-security", "max-age=1"),
    ];
    let headers = edited(&policy, &ResponseContext::unseen(policy.response()), &upstream);
    for (name, expected) in [
        ("x-powered-by", None),
        ("strict-transport-security", None),
        ("referrer-policy", Some("no-referrer")),
        ("x-frame-options", Some("SAMEORIGIN")),
        ("x-xss-protection", Some("1")),
        ("x-content-type-options", Some("nosniff")),
        ("x-new", Some("1")),
        ("x-absent", Some("2")),
        (
            "content-security-policy",
            Some("default-src 'self'; script-src 'self' https://cdn.justkalm.com; upgrade-insecure-requests"),
        ),
    ] {
        let lines: Option<Vec<&str>> = headers
            .get(name)
            .map(|lines| lines.iter().map(String::as_str).collect());
        assert_eq!(lines.as_deref(), expected.as_ref().map(std::slice::from_ref), "{name}");
    }
}

#[test]
fn errors_explain_themselves() {
    let policy = policy(
        r#"{"docs_url": "https://docs.example.com/errors", "security_headers": {"preset": "owasp"},
            "keys": [{"id": "used-up", "api_key": "used-up-key", "rate_limit_per_minute": 5}]}"#,
    );
    for (name, headers, status, code, extra) in [
        (
            "401",
            &[("x-request-id", "an\"id")][..],
            401,
            "missing_api_key",
            ("www-authenticate", "Bearer realm=\"keyfence\""),
        ),
        (
            "429",
            &[("authorization", "Bearer used-up-key")],
            429,
            "rate_limit_exceeded",
            ("retry-after", "1"),
        ),
    ] {
        let head = head(&policy, "GET", "/", headers);
        let world = World {
            address: "192.0.2.1:9",
            taken: Cell::new(0),
            clients: RefCell::default(),
        };
        let decision = decide(&policy, &head, &world);
        let reply = local_reply(&policy, &head, &decision);
        assert_eq!(reply.status, status);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["type"], format!("https://docs.example.com/errors#{code}"));
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()));
        assert_eq!(
            body["request_id"].as_str(),
            head.request_id.map(|id| std::str::from_utf8(id).unwrap())
        );
        let all: Vec<(&str, &str)> = reply
            .headers
            .iter()
            .map(|(name, value)| (std::str::from_utf8(name).unwrap(), std::str::from_utf8(value).unwrap()))
            .collect();
        for expected in [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("x-frame-options", "deny"),
            extra,
        ] {
            let same_name: Vec<_> = all.iter().filter(|(name, _)| *name == expected.0).collect();
            assert_eq!(same_name, [&expected], "{name}");
        }
    }
}

#[test]
fn a_key_is_found_with_its_entry() {
    let policy = policy(
        r#"{"keys": [{"id": "plain", "api_key": "plain"},
            {"id": "rotated", "api_key": [{"key": "new", "label": "2026-06"}, "unnamed", {"key": "old", "label": "2026-01", "expires_at": "2026-07-01T00:00:00Z"}]},
            {"id": "one", "api_key": {"key": "only", "expires_at": "2026-07-01T00:00:00Z"}}]}"#,
    );
    let end = Timestamp::parse("2026-07-01T00:00:00Z");
    for (key, id, index, label, expires_at) in [
        ("plain", "plain", 0, None, None),
        ("new", "rotated", 0, Some("2026-06"), None),
        ("unnamed", "rotated", 1, None, None),
        ("old", "rotated", 2, Some("2026-01"), end),
        ("only", "one", 0, None, end),
    ] {
        let found = policy.find_key(&KeyDigest::of(key.as_bytes())).unwrap();
        let entry = (
            found.key().id(),
            found.entry_index(),
            found.label(),
            found.entry_expires_at(),
        );
        assert_eq!(entry, (id, index, label, expires_at), "{key}");
    }
    assert!(policy.find_key(&KeyDigest::of(b"other")).is_none());
}

/// As the metrics have them.
#[test]
fn which_expiries_are_to_come() {
    let now = Timestamp::parse(NOW).unwrap();
    let dated = |id: &str, key_end: &str, entry_end: &str, more: &str| {
        format!(r#"{{"id": "{id}", "api_key": {{"key": "{id}"{entry_end}}}{key_end}{more}}}"#)
    };
    let at = |date: &str| format!(r#", "expires_at": "{date}""#);
    let second = |seconds| Some(Timestamp(now.0 + seconds));
    const WEEK: i64 = 7 * 86_400;
    for (name, keys, within_week, next) in [
        ("none", vec![dated("a", "", "", "")], 0, None),
        (
            "a week",
            vec![dated("a", &at("2026-06-22T12:00:00Z"), "", "")],
            1,
            second(WEEK),
        ),
        (
            "a second more",
            vec![dated("a", "", &at("2026-06-22T12:00:01Z"), "")],
            0,
            second(WEEK + 1),
        ),
        ("now", vec![dated("a", "", &at(NOW), "")], 0, None),
        (
            "a second",
            vec![dated("a", "", &at("2026-06-15T12:00:01Z"), "")],
            1,
            second(1),
        ),
        (
            "both",
            vec![dated("a", &at("2026-06-15T12:00:02Z"), &at("2026-06-15T12:00:01Z"), "")],
            2,
            second(1),
        ),
        (
            "disabled",
            vec![dated("a", "", &at("2026-06-15T12:00:01Z"), r#", "enabled": false"#)],
            0,
            None,
        ),
        (
            "an entry of an expired key",
            vec![dated("a", &at(NOW), &at("2026-06-15T12:00:01Z"), "")],
            0,
            None,
        ),
        (
            "several keys",
            vec![
                dated("a", &at("2026-06-15T12:00:09Z"), "", ""),
                dated("b", "", &at("2026-06-15T12:00:05Z"), ""),
                dated("c", &at("2027-06-15T12:00:09Z"), "", ""),
            ],
            2,
            second(5),
        ),
    ] {
        let expiries = policy(&format!(r#"{{"keys": [{}]}}"#, keys.join(","))).upcoming_expiries(now);
        assert_eq!(expiries, UpcomingExpiries { within_week, next }, "{name}");
    }
}

#[test]
fn what_reaches_the_upstream() {
    let plans = r#", "upstream_header_names": ["X-Plan", "X-Tier"]"#;
    let with = |more: &str| {
        let keys = match more == plans {
            true => {
                r#", {"id": "p", "api_key": "p", "upstream_headers": {"x-plan": "gold, 1", "X-Tier": "2"}},
                    {"id": "q", "api_key": "q", "upstream_headers": {"X-Plan": ""}},
                    {"id": "pr", "api_key": "pr", "upstream_headers": {"X-Plan": "gold"}, "enforcement": "report"}"#
            }
            false => "",
        };
        let anonymous = match more.contains("\"anonymous\"") {
            true => "",
            false => r#""anonymous": {}, "#,
        };
        policy(&format!(
            r#"{{"key_sources": [{{"header": "X-API-Key"}}, {{"query": "api_key"}}, {{"websocket_protocol": "api-key."}}], {anonymous}
                "keys": [{{"id": "k", "api_key": "k"}}, {{"id": "s", "api_key": "s", "scopes": ["get"]}},
                         {{"id": "a", "api_key": "a", "scopes": ["any"]}}, {{"id": "r", "api_key": "r", "enforcement": "report"}}{keys}],
                "scopes": {{"get": [{{"methods": ["GET"], "path": "/**"}}], "any": [{{"methods": ["*"], "path": "/**"}}]}} {more}}}"#
        ))
    };
    let claims = [
        ("x-key-id", "root"),
        ("x_key_id", "root"),
        ("x-key_id", "root"),
        ("x.key.id", "root"),
        ("x+key!id", "root"),
        ("x~key~id", "root"),
        ("x-key-id2", "fine"),
        ("x-key-i.", "fine"),
        ("xkeyid", "fine"),
        ("-x-key-id", "fine"),
    ];
    let overrides = [
        ("x-http-method-override", "DELETE"),
        ("x_method_override", "DELETE"),
        ("x.http|method", "DELETE"),
        ("x-http-method-", "fine"),
    ];
    let cut = r#", "forward_api_key": false"#;
    for (name, more, path, headers, expected) in [
        ("a key", "", "/?a=1", vec![("x-api-key", "k")], vec!["+x-key-id: k"]),
        ("anonymous", "", "/", vec![], vec![]),
        (
            "claims",
            "",
            "/",
            claims.to_vec(),
            vec![
                "-x-key-id",
                "-x_key_id",
                "-x-key_id",
                "-x.key.id",
                "-x+key!id",
                "-x~key~id",
            ],
        ),
        (
            "a key and claims",
            "",
            "/",
            [&claims[..1], &[("x-api-key", "k")]].concat(),
            vec!["-x-key-id", "+x-key-id: k"],
        ),
        (
            "hop by hop",
            "",
            "/",
            vec![("x-api-key", "k"), ("connection", "upgrade, X-Key-Id,te")],
            vec!["+x-key-id: k", "=connection: upgrade, te"],
        ),
        (
            "hop by hop alone",
            "",
            "/",
            vec![("x-api-key", "k"), ("connection", " x-key-id")],
            vec!["+x-key-id: k", "-connection"],
        ),
        (
            "an upgrade",
            "",
            "/",
            vec![("x-api-key", "k"), ("connection", "upgrade")],
            vec!["+x-key-id: k"],
        ),
        (
            "report",
            cut,
            "/",
            [&claims[..1], &[("x-api-key", "r")]].concat(),
            vec!["-x-key-id"],
        ),
        (
            "another name",
            r#", "identity_header": "X-Client""#,
            "/",
            vec![("x-api-key", "k"), ("x_client", "z"), ("x'client", "z")],
            vec!["-x_client", "-x'client", "+x-client: k"],
        ),
        (
            "headers of a key",
            plans,
            "/",
            vec![
                ("x-api-key", "p"),
                ("x-plan", "z"),
                ("x_tier", "z"),
                ("x-plans", "kept"),
            ],
            vec!["-x-plan", "-x_tier", "+x-key-id: p", "+x-plan: gold, 1", "+x-tier: 2"],
        ),
        (
            "headers of a key that sets one",
            plans,
            "/",
            vec![("x-api-key", "q"), ("x.tier", "z")],
            vec!["-x.tier", "+x-key-id: q", "+x-plan: "],
        ),
        (
            "a key that sets none",
            plans,
            "/",
            vec![("x-api-key", "k"), ("x-plan", "z")],
            vec!["-x-plan", "+x-key-id: k"],
        ),
        (
            "headers of anonymous requests",
            r#", "upstream_header_names": ["X-Plan"], "anonymous": {"upstream_headers": {"x-plan": "free"}}"#,
            "/",
            vec![("x-plan", "z"), ("x+plan", "z"), ("connection", "x-plan, te")],
            vec!["-x-plan", "-x+plan", "+x-plan: free", "=connection: te"],
        ),
        (
            "no headers of anonymous requests",
            r#", "upstream_header_names": ["X-Plan"]"#,
            "/",
            vec![("x-plan", "z"), ("connection", "x-plan")],
            vec!["-x-plan"],
        ),
        (
            "headers and hop by hop",
            plans,
            "/",
            vec![("x-api-key", "p"), ("connection", "X-Tier, upgrade, x-key-id,x_plan")],
            vec!["+x-key-id: p", "+x-plan: gold, 1", "+x-tier: 2", "=connection: upgrade"],
        ),
        (
            "headers, in report mode",
            plans,
            "/",
            vec![("x-api-key", "pr"), ("x_plan", "z")],
            vec!["-x_plan"],
        ),
        (
            "headers without an identity",
            r#", "identity_header": null, "upstream_header_names": ["X-Plan"], "anonymous": {"upstream_headers": {"X-Plan": "free"}}"#,
            "/",
            vec![("x-key-id", "kept"), ("x-plan", "z")],
            vec!["-x-plan", "+x-plan: free"],
        ),
        (
            "no identity",
            r#", "identity_header": null"#,
            "/",
            vec![("x-api-key", "k"), ("x-key-id", "z")],
            vec![],
        ),
        (
            "header cut",
            cut,
            "/",
            vec![("x-api-key", "k")],
            vec!["+x-key-id: k", "-x-api-key"],
        ),
        (
            "header cut, under another name",
            cut,
            "/",
            vec![("x_api_key", "k")],
            vec!["+x-key-id: k", "-x_api_key"],
        ),
        (
            "query cut",
            cut,
            "/p?a=1&api_key=k",
            vec![],
            vec!["+x-key-id: k", "=:path: /p?a=1"],
        ),
        (
            "protocol cut",
            cut,
            "/",
            vec![
                ("sec-websocket-protocol", "chat, api-key.k"),
                ("sec-websocket-protocol", "x"),
            ],
            vec!["+x-key-id: k", "=sec-websocket-protocol: chat, x"],
        ),
        (
            "the only protocol cut",
            cut,
            "/",
            vec![("sec-websocket-protocol", "api-key.k,")],
            vec!["+x-key-id: k", "-sec-websocket-protocol"],
        ),
        (
            "overrides of a scope with methods",
            "",
            "/",
            [&overrides[..], &[("x-api-key", "s")]].concat(),
            vec![
                "+x-key-id: s",
                "-x-http-method-override",
                "-x_method_override",
                "-x.http|method",
            ],
        ),
        (
            "overrides of a scope for any method",
            "",
            "/",
            [&overrides[..], &[("x-api-key", "a")]].concat(),
            vec!["+x-key-id: a"],
        ),
        (
            "overrides without scopes",
            "",
            "/",
            [&overrides[..], &[("x-api-key", "k")]].concat(),
            vec!["+x-key-id: k"],
        ),
    ] {
        let policy = with(more);
        let head = head(&policy, "GET", path, &headers);
        let world = World {
            address: "192.0.2.1:9",
            taken: Cell::new(0),
            clients: RefCell::default(),
        };
        let decision = decide(&policy, &head, &world);
        let mut edits = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        upstream::apply(&policy, &head, &decision, &mut |edit| {
            edits.push(match edit {
                HeaderMutation::Add(name, value) => format!("+{}: {}", text(name), text(value)),
                HeaderMutation::Replace(name, value) => format!("={}: {}", text(name), text(value)),
                HeaderMutation::Remove(name) => format!("-{}", text(name)),
            });
        });
        assert_eq!(edits, expected, "{name}");
    }
}

fn local_reply(policy: &Policy, head: &Head<'_>, decision: &Decision<'_, '_>) -> LocalReply {
    match decision.effect() {
        Effect::Respond(kind) => LocalReply::new(policy, head, decision, kind),
        Effect::Forward => panic!("the request is forwarded"),
    }
}

/// The reply to a request without a key and its headers, in their order.
fn reply(policy: &Policy, method: &str, headers: &[(&str, &str)]) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let head = head(policy, method, "/", headers);
    let world = World {
        address: "192.0.2.1:9",
        taken: Cell::new(0),
        clients: RefCell::default(),
    };
    let decision = decide(policy, &head, &world);
    let reply = local_reply(policy, &head, &decision);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lines = reply.headers.iter().map(|(name, value)| (text(name), text(value)));
    (reply.status, lines.collect(), reply.body)
}

/// Each kind of pattern, what matches it and what does not, and what the response says of the origin, on requests and preflights.
#[test]
#[rustfmt::skip]
fn origins_by_pattern() {
    let previews = "https://app-*-team.example.com";
    let local = "http://*.localhost:3000";
    for (pattern, origin, expected) in [
        (previews, "https://app-git-main-team.example.com", Some("echo")),
        (previews, "https://app-7f_3-team.example.com", Some("echo")),
        (previews, "https://app-team.example.com", None),
        (previews, "https://app--team.example.com", None),
        (previews, "https://app-x.y-team.example.com", None),
        (previews, "https://app-x-team.y.example.com", None),
        (previews, "https://evilapp-x-team.example.com", None),
        (previews, "https://app-x-team.example.com.evil.com", None),
        (previews, "https://app-x-team.evil-example.com", None),
        (previews, "https://app-x@-team.example.com", None),
        (previews, "https://app-%60-team.example.com", None),
        (previews, "https://app-X-team.example.com", None),
        (previews, "https://app-x-team.example.com:8443", None),
        (previews, "https://app-x:1-team.example.com:2", None),
        (previews, "http://app-x-team.example.com", None),
        ("https://app-*.example.com:*", "https://app-x.example.com:8443", Some("echo")),
        ("https://app-*.example.com:*", "https://app-x.example.com", Some("echo")),
        ("https://app-*.example.com:*", "https://app-x.example.com:0", None),
        (local, "http://shop.localhost:3000", Some("echo")),
        (local, "http://a.shop.localhost:3000", Some("echo")),
        (local, "http://localhost:3000", None),
        (local, "http://shop.localhost", None),
        (local, "http://evil-localhost:3000", None),
        ("moz-extension://*", "moz-extension://0d2a3b4c-aaaa-4bbb-8ccc-0123456789ab", Some("echo")),
        ("moz-extension://*", "chrome-extension://abcdefgh", None),
        ("moz-extension://*", "moz-extension://", None),
        ("moz-extension://*", "moz-extension://a/b", None),
        ("capacitor://localhost", "capacitor://localhost", Some("echo")),
        ("capacitor://localhost", "capacitor://localhost.", None),
        ("app://.", "app://.", Some("echo")),
        ("app://.", "app://", None),
        ("file://", "file://", Some("echo")),
        ("file://", "file:///", None),
        ("file://", "null", None),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", Some("echo")),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefghi", None),
        ("*", "app://.", Some("any")),
        ("*", "file://", Some("any")),
        ("*", "qrc://", Some("any")),
        ("*", "https://a.example.", Some("any")),
        ("*", "nonsense", Some("any")),
        ("*", "null", Some("any")),
        ("*", "https://a.example,https://b.example", None),
        ("*", "https://a.example https://b.example", None),
        ("*", "https://\u{e4}.example", None),
        ("*", "", None),
    ] {
        let policy = policy(&format!(r#"{{"anonymous": {{"allowed_origins": ["{pattern}"]}}}}"#));
        // Where `*` is alone it is on every response; a preflight is refused without.
        let omitted = if pattern == "*" { "any" } else { "omit" };
        let refused = |omitted| format!("403 origin_not_allowed, {omitted}");
        let asks = [("origin", origin), ("access-control-request-method", "GET")];
        for (method, expected) in [
            ("GET", expected.map_or_else(|| refused(omitted), |allow| format!("allow, {allow}"))),
            ("OPTIONS", expected.map_or_else(|| refused("omit"), |allow| format!("preflight, {allow}"))),
        ] {
            let world = World { address: "192.0.2.1:9", taken: Cell::new(0), clients: RefCell::default() };
            let head = head(&policy, method, "/", &asks);
            assert_eq!(outcome(&decide(&policy, &head, &world)), expected, "{method} from {origin} against {pattern}");
        }
    }
}

#[test]
fn a_preflight_is_answered_with_the_whole_lists() {
    let policy = |cors: &str| {
        policy(&format!(
            r#"{{"anonymous": {{"allowed_origins": ["https://yourapp.com", "null", "*"]}}, "security_headers": {{"preset": "none"}}, "cors": {cors}}}"#
        ))
    };
    let vary = (
        "vary",
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    );
    let methods = ("access-control-allow-methods", "GET, PUT");
    let names = ("access-control-allow-headers", "X-A, Authorization");
    let age = ("access-control-max-age", "600");
    let expose = ("access-control-expose-headers", "X-B");
    let credentials = ("access-control-allow-credentials", "true");
    let full =
        r#"{"allow_methods": ["GET", "PUT"], "allow_headers": ["X-A"], "expose_headers": ["X-B"], "max_age": 600}"#;
    let bare =
        r#"{"allow_methods": [], "allow_headers": [], "expose_headers": [], "max_age": 0, "allow_credentials": false}"#;
    let allow = |origin| ("access-control-allow-origin", origin);
    for (cors, origin, status, expected) in [
        (
            full,
            "https://yourapp.com",
            204,
            vec![
                vary,
                methods,
                names,
                age,
                allow("https://yourapp.com"),
                credentials,
                expose,
            ],
        ),
        (
            full,
            "null",
            204,
            vec![vary, methods, names, age, allow("null"), expose],
        ),
        (
            full,
            "https://x.example",
            204,
            vec![vary, methods, names, age, allow("*"), expose],
        ),
        (
            bare,
            "https://yourapp.com",
            204,
            vec![
                vary,
                ("access-control-allow-headers", "Authorization"),
                ("access-control-max-age", "0"),
                allow("https://yourapp.com"),
            ],
        ),
        (
            full,
            "nonsense",
            204,
            vec![vary, methods, names, age, allow("*"), expose],
        ),
        (
            full,
            "file://",
            204,
            vec![vary, methods, names, age, allow("*"), expose],
        ),
        (
            full,
            "a, b",
            403,
            vec![
                ("content-type", "application/problem+json"),
                ("cache-control", "no-store"),
                vary,
            ],
        ),
    ] {
        let headers = [("origin", origin), ("access-control-request-method", "PUT")];
        let (found, mut lines, body) = reply(&policy(cors), "OPTIONS", &headers);
        let mut expected: Vec<(String, String)> = expected.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        lines.sort();
        expected.sort();
        assert_eq!((found, lines), (status, expected), "{origin} with {cors}");
        assert_eq!(body.is_empty(), status == 204, "{origin} with {cors}");
    }
}

#[test]
fn a_title_is_the_status_in_words() {
    for reason in Reason::ALL {
        let title = match reason.status() {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            other => panic!("{other}"),
        };
        assert_eq!(reason.title(), title, "{reason:?}");
        let detail = reason.detail(Some(b"https://yourapp.com"));
        assert!(detail.ends_with('.') && detail.contains(' '), "{reason:?}");
    }
}

/// The status and the headers that gRPC's clients read, in their order.
#[test]
#[rustfmt::skip]
fn errors_speak_grpc_to_its_clients() {
    let policy = policy(
        r#"{"keys": [{"id": "used-up", "api_key": "used-up-key", "rate_limit_per_minute": 5}, {"id": "site", "api_key": "site-key", "allowed_origins": ["https://yourapp.com"]},
                     {"id": "search", "api_key": "search-key", "scopes": ["s"]}],
            "scopes": {"s": [{"methods": ["POST"], "path": "/s"}]}, "cors": {"expose_headers": ["X-A", "grpc-status"]}}"#,
    );
    for (content_type, key, status, begin) in [
        ("application/grpc", "", "16", "Send an API key"),
        ("application/grpc+proto", "unknown", "16", "Check the API key"),
        ("application/grpc-web", "used-up-key", "8", "Wait as many seconds"),
        ("application/grpc-web-text", "site-key", "7", "The request has no Origin"),
        ("application/grpc-web+proto", "search-key", "3", "Send a path that has one reading"),
    ] {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("content-type", content_type), ("authorization", &bearer)];
        headers.truncate(if key.is_empty() { 1 } else { 2 });
        let head = head(&policy, "POST", "/s/%2e", &headers);
        let world = World { address: "192.0.2.1:9", taken: Cell::new(0), clients: RefCell::default() };
        let decision = decide(&policy, &head, &world);
        let reply = local_reply(&policy, &head, &decision);
        let value = |wanted: &str| {
            let mut lines = reply.headers.iter().filter(|(name, _)| *name == wanted.as_bytes());
            let value = lines.next().map(|(_, value)| std::str::from_utf8(value).unwrap().to_owned());
            assert!(lines.next().is_none(), "{wanted}");
            value.unwrap_or_default()
        };
        assert_eq!((reply.status, reply.grpc_status.map(|status| status.to_string())), (200, Some(status.to_owned())));
        assert_eq!(reply.body, b"");
        assert_eq!(value("grpc-status"), status);
        assert_eq!(value("content-type"), content_type.split('+').next().unwrap());
        assert_eq!(value("cache-control"), "no-store");
        let message = value("grpc-message");
        assert!(message.starts_with(begin), "{message}");
        // Percent-encoded: "%u" is in one of the sentences.
        assert!(message.split('%').skip(1).all(|after| after.starts_with("25")), "{message}");
    }
    for (content_type, expected) in [("application/grpc-web", "X-A, grpc-status, Grpc-Message, Grpc-Status-Details-Bin"), ("text/plain", "X-A, grpc-status")] {
        let headers = [("content-type", content_type), ("authorization", "Bearer site-key"), ("origin", "https://yourapp.com")];
        let edited = edited(&policy, &exchange(&policy, &headers), &[]);
        assert_eq!(edited["access-control-expose-headers"], [expected], "{content_type}");
    }
}

#[test]
fn an_error_tells_a_missing_a_null_and_an_unlisted_origin_apart() {
    let policy = policy(r#"{"anonymous": {"allowed_origins": ["https://yourapp.com"]}}"#);
    for (headers, part) in [
        (&[][..], "crossorigin"),
        (&[("origin", "null")], "sandbox"),
        (&[("origin", "https://evil.com")], "scheme, host and port"),
        (&[("origin", "")], "scheme, host and port"),
    ] {
        let (_, _, body) = reply(&policy, "GET", headers);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "origin_not_allowed");
        assert!(body["detail"].as_str().unwrap().contains(part), "{headers:?}: {body}");
    }
}

#[test]
fn a_long_request_id_is_not_repeated() {
    for (length, shown) in [(1, true), (127, true), (128, true), (129, false), (10_000, false)] {
        let id = "i".repeat(length);
        let (_, _, body) = reply(&policy("{}"), "GET", &[("x-request-id", &id)]);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["request_id"].as_str(), shown.then_some(&*id), "{length}");
    }
}

#[test]
fn without_a_policy_every_request_is_refused() {
    let reply = LocalReply::without_policy(None);
    let lines: Vec<_> = reply.headers.iter().collect();
    let expected: [(&[u8], &[u8]); 2] = [
        (b"content-type", b"application/problem+json"),
        (b"cache-control", b"no-store"),
    ];
    assert_eq!((reply.status, lines), (503, expected.to_vec()));
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (&body["type"], &body["code"]),
        (&"about:blank".into(), &"policy_unavailable".into())
    );
}

#[test]
#[rustfmt::skip]
fn an_answer_keeps_what_envoy_gives_it_and_it_does_not_say_itself() {
    let removing = policy(r#"{"security_headers": {"remove": ["X-Powered-By"]}}"#);
    let mut answer = HeaderList::default();
    for (name, value) in [("content-type", "application/problem+json"), ("cache-control", "no-store"), ("x-frame-options", "DENY")] {
        answer.push(name.as_bytes(), value.as_bytes());
    }
    // The first is left to Envoy where it has one.
    let own = ["content-type: application/problem+json", "cache-control: no-store", "x-frame-options: DENY"];
    for (policy, present, others) in [
        (Some(&**removing.response()), &[] as &[(&str, &str)], &[] as &[&str]),
        (Some(&**removing.response()), &[(":status", "403"), ("content-length", "2")], &[":status: 403", "content-length: 2"]),
        (Some(&**removing.response()), &[("content-type", "application/grpc")], &["content-type: application/grpc"]),
        (Some(&**removing.response()), &[("x-team", "a"), ("x-team", "b")], &["x-team: a", "x-team: b"]),
        (Some(&**removing.response()), &[("cache-control", "public"), ("x-frame-options", "SAMEORIGIN")], &[]),
        (Some(&**removing.response()), &[("access-control-allow-origin", "*"), ("access-control-max-age", "1")], &[]),
        (Some(&**removing.response()), &[("x-powered-by", "Envoy"), ("server", "envoy")], &["server: envoy"]),
        (None, &[("x-powered-by", "Envoy"), ("access-control-allow-origin", "*")], &["x-powered-by: Envoy"]),
    ] {
        let present = present.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let all = complete(policy, &answer, present.clone());
        let all: Vec<String> = all.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
        let has_type = present.clone().any(|(name, _)| name == b"content-type");
        assert_eq!(all, [others, &own[usize::from(has_type)..]].concat(), "{:?}", present.map(|(name, _)| text(name)).collect::<Vec<_>>());
    }
}

/// The status and `code`, whose requests were counted against the clients' limit, how often the key's was asked, and what the response says
/// of the limit.
#[test]
#[rustfmt::skip]
fn the_limit_of_each_client_comes_before_the_key_s() {
    let text = r#"{"keys": [
        {"id": "both", "api_key": "both", "rate_limit_per_minute": 9, "rate_limit_per_minute_per_client": 5},
        {"id": "clients", "api_key": "clients", "rate_limit_per_minute_per_client": 5, "enforcement": "MODE"},
        {"id": "used-up", "api_key": "used-up", "rate_limit_per_minute": 9, "rate_limit_per_minute_per_client": 5},
        {"id": "host-fails", "api_key": "host-fails", "rate_limit_per_minute": 9, "rate_limit_per_minute_per_client": 5},
        {"id": "office", "api_key": "office", "rate_limit_per_minute_per_client": 5, "allowed_ips": ["10.0.0.0/8"]},
        {"id": "site", "api_key": "site", "rate_limit_per_minute": 4, "rate_limit_per_minute_per_client": 5, "allowed_origins": ["https://a.example"]},
        {"id": "free", "api_key": "free"}
      ], "anonymous": {"rate_limit_per_minute_per_client": 3}, "client_ip": "CLIENT_IP"}"#;
    let v4 = |last| Some(Client::V4([10, 0, 0, last]));
    let v6 = Some(Client::V6Network([0x20, 1, 0xd, 0xb8, 0, 0, 0, 2]));
    let unknown = Some(Client::Unknown);
    // Key, client_ip, address: the limit of the client has as many requests remaining as the last byte of its identity says.
    for (name, key, client_ip, address, outcome, counted, of_key, limit_and_remaining) in [
        ("within both, fewer of the client's remain", "both", "peer", "10.0.0.2:1", "allow", v4(2), 1, "5 2"),
        ("within both, fewer of the key's remain", "both", "peer", "10.0.0.20:1", "allow", v4(20), 1, "9 9"),
        ("the client's is used up", "both", "peer", "10.0.0.0:1", "429 client_rate_limit_exceeded", v4(0), 0, "5 0"),
        ("the key's is used up", "used-up", "peer", "10.0.0.2:1", "429 rate_limit_exceeded", v4(2), 1, "9 9"),
        ("both are used up", "used-up", "peer", "10.0.0.0:1", "429 client_rate_limit_exceeded", v4(0), 0, "5 0"),
        ("of the client alone", "clients", "peer", "10.0.0.1:1", "allow", v4(1), 0, "5 1"),
        ("IPv6 by its network", "clients", "peer", "[2001:db8:0:2::7]:1", "allow", v6, 0, "5 2"),
        ("the mapped form", "clients", "peer", "[::ffff:10.0.0.1]:1", "allow", v4(1), 0, "5 1"),
        ("not known", "clients", "peer", "/run/client.sock", "allow", unknown, 0, "5 5"),
        ("from a header, not believed", "clients", "peer", "10.0.0.1:0", "allow", unknown, 0, "5 5"),
        ("from a header, believed", "clients", "forwarded", "10.0.0.1:0", "allow", v4(1), 0, "5 1"),
        ("of the connection, not believed", "clients", "forwarded", "10.0.0.1:1", "allow", unknown, 0, "5 5"),
        ("without a key", "", "peer", "10.0.0.1:1", "allow", v4(1), 0, "3 1"),
        ("without a key, used up", "", "peer", "10.0.0.0:1", "429 client_rate_limit_exceeded", v4(0), 0, "3 0"),
        ("denied by address", "office", "peer", "11.0.0.1:1", "403 ip_not_allowed", None, 0, "5 1"),
        ("denied by address, not known", "office", "peer", "", "403 ip_not_allowed", None, 0, "5 5"),
        ("allowed by address", "office", "peer", "10.0.0.4:1", "allow", v4(4), 0, "5 4"),
        ("denied by origin, fewer of the client's remain", "site", "peer", "10.0.0.3:1", "403 origin_not_allowed", None, 0, "5 3"),
        ("denied by origin, fewer of the key's remain", "site", "peer", "10.0.0.6:1", "403 origin_not_allowed", None, 0, "4 4"),
        ("denied by origin, as few, and the client's come later", "site", "peer", "10.0.0.4:1", "403 origin_not_allowed", None, 0, "5 4"),
        ("denied by origin, as few, and the key's come later", "site", "peer", "9.0.0.4:1", "403 origin_not_allowed", None, 0, "4 4"),
        ("no limit", "free", "peer", "fails", "allow", None, 0, ""),
        ("the address cannot be had", "clients", "peer", "fails", "503 policy_unavailable", None, 0, ""),
        ("nor to compare it", "office", "peer", "fails", "503 policy_unavailable", None, 0, ""),
        ("the client's cannot be had", "both", "peer", "10.0.0.13:1", "503 policy_unavailable", v4(13), 0, ""),
        ("the key's cannot be had", "host-fails", "peer", "10.0.0.2:1", "503 policy_unavailable", v4(2), 1, ""),
    ] {
        for mode in ["enforce", "report"] {
            let policy = policy(&text.replace("CLIENT_IP", client_ip).replace("MODE", mode));
            let headers = [("authorization", &*format!("Bearer {key}"))];
            let head = head(&policy, "GET", "/", if key.is_empty() { &[] } else { &headers });
            let world = World { address, taken: Cell::new(0), clients: RefCell::default() };
            let decision = decide(&policy, &head, &world);
            let report = if mode == "report" && key == "clients" { "report " } else { "" };
            assert_eq!(self::outcome(&decision), format!("{report}{outcome}, omit"), "{name}");
            assert_eq!(*world.clients.borrow(), counted.as_slice(), "{name}");
            assert_eq!(decision.matched.client, counted, "{name}");
            assert_eq!(world.taken.get(), of_key, "{name}");
            let shown = decision.rate.map(|rate| format!("{} {}", rate.limit, rate.remaining));
            assert_eq!(shown.unwrap_or_default(), limit_and_remaining, "{name}");
            if report.is_empty() && outcome.starts_with("429") {
                let reply = local_reply(&policy, &head, &decision);
                let retry_after = reply.headers.iter().find(|(name, _)| *name == b"retry-after");
                assert!(retry_after.is_some(), "{name}");
            }
        }
    }
}

#[test]
fn a_limited_keys_responses_tell_of_its_limit() {
    let policy = policy(POLICY);
    let site = ("origin", "https://yourapp.com");
    for (key, expected) in [
        ("limited-key", [Some("5"), Some("5"), Some("1000")]),
        ("site-key-1", [None; 3]),
    ] {
        let headers = edited(&policy, &exchange(&policy, &[("x-api-key", key), site]), &[]);
        let names = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
        let found = names.map(|name| headers.get(name).map(|lines| lines[0].as_str()));
        assert_eq!(found, expected, "{key}");
    }
}
