//! Legitimate requests, and the exact answer to each: every kind that is let through and every reason to refuse.

use serde_json::{Value, json};

use crate::harness::witness::number_seen;
use crate::harness::{Request, Response};

pub const SITE: &str = "https://yourapp.com";
pub const SITE_KEY: &str = "site-key-000000000";
const STAR_KEY: &str = "star-key-000000000";
const NULL_KEY: &str = "null-key-000000000";
const SERVER_KEY: &str = "server-key-0000000";
pub const SECRET_KEY: &str = "secret-key-0000000";
pub const OFFICE_KEY: &str = "office-key-0000000";
pub const SEARCH_KEY: &str = "search-key-0000000";
const BUSY_KEY: &str = "busy-key-000000000";
const LIMITED_KEY: &str = "limited-key-000000";

/// The id of the key whose limit is soon used up, and that limit.
pub const LIMITED: &str = "limited";
pub const LIMIT: u64 = 5;

/// What may come to the upstream as `X-Key-Id`.
pub const IDS: [&str; 11] = [
    "site", "present", "plain", "star", "null", "server", "secret", "office", "search", "busy", LIMITED,
];

#[rustfmt::skip]
pub fn policy() -> Value {
    json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
        "keys": [
            {"id": "site", "api_key": SITE_KEY, "allowed_origins": [SITE, "https://*.yourapp.com", "http://localhost:*", "https://app-*-team.preview.example"]},
            {"id": "present", "api_key": "present-key-000000", "allowed_origins": [SITE], "origin_check": "if_present"},
            {"id": "plain", "api_key": "plain-key-00000000", "allowed_origins": [SITE], "origin_check": "cors_only"},
            {"id": "star", "api_key": STAR_KEY, "allowed_origins": ["*"], "origin_check": "if_present"},
            {"id": "null", "api_key": NULL_KEY, "allowed_origins": ["null"]},
            {"id": "server", "api_key": SERVER_KEY},
            {"id": "secret", "api_key": SECRET_KEY, "kind": "secret"},
            {"id": "office", "api_key": OFFICE_KEY, "allowed_origins": [SITE], "allowed_ips": ["127.0.0.0/24"]},
            {"id": "off", "api_key": "off-key-0000000000", "enabled": false, "allowed_origins": ["https://off.example"]},
            {"id": "early", "api_key": "early-key-00000000", "not_before": "2999-01-01T00:00:00Z"},
            {"id": "late", "api_key": "late-key-000000000", "expires_at": "2001-01-01T00:00:00Z"},
            {"id": "search", "api_key": SEARCH_KEY, "scopes": ["search"], "indexes": ["products", "articles-*"]},
            {"id": "busy", "api_key": BUSY_KEY, "rate_limit_per_minute": 1_000_000_000},
            {"id": LIMITED, "api_key": LIMITED_KEY, "rate_limit_per_minute": LIMIT},
        ],
        "scopes": {"search": [{"methods": ["GET", "POST"], "path": "/v1/indexes/{index}/search"}]},
    })
}

/// Where a connection comes from: what the addresses of `office` are, or others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Office,
    Elsewhere,
}

impl Place {
    /// One of many addresses, for one has ports for no more than some ten thousand connections a minute.
    pub fn address(self, random: &mut fastrand::Rng) -> String {
        match self {
            Self::Office => format!("127.0.0.{}", random.u8(1..250)),
            Self::Elsewhere => format!("127.1.{}.{}", random.u8(1..250), random.u8(1..250)),
        }
    }
}

pub struct Case {
    pub name: &'static str,
    pub request: Request,
    /// Only from there.
    pub place: Option<Place>,
    /// Any of these.
    answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    code: &'static str,
    allow_origin: Option<&'static str>,
    /// The key that the upstream was told of, where it was asked.
    id: Option<&'static str>,
}

impl Case {
    /// Whether its request may come to the upstream.
    pub fn may_pass(&self) -> bool {
        self.answers.iter().any(|answer| answer.id.is_some())
    }

    /// What became of the request with this number; the error says what is wrong with it.
    pub fn check(&self, number: u64, response: &Response) -> Result<String, String> {
        let id = response.header("x-seen-key-id");
        let got = (
            response.status,
            response.code(),
            response.header("access-control-allow-origin"),
            id,
        );
        let answer = self
            .answers
            .iter()
            .find(|answer| got == (answer.status, answer.code.to_owned(), answer.allow_origin, answer.id))
            .ok_or_else(|| format!("{}: expected {:?}", self.name, self.answers))?;
        let credentials = answer
            .allow_origin
            .is_some_and(|origin| !["*", "null"].contains(&origin));
        let expected = [
            ("access-control-allow-credentials", credentials.then_some("true")),
            ("vary", Some(answer.vary(self.is_preflight()))),
            ("x-frame-options", Some("DENY")),
        ];
        for (header, value) in expected {
            if response.header(header) != value {
                return Err(format!("{}: expected {header}: {value:?}", self.name));
            }
        }
        if number_seen(response) != id.map(|_| number) {
            return Err(format!("{}: the answer to another request", self.name));
        }
        Ok(match (id, answer.code) {
            (Some(id), _) => format!("200 {id}"),
            (None, code) => format!("{} {code}", answer.status),
        })
    }

    fn is_preflight(&self) -> bool {
        self.request
            .headers
            .iter()
            .any(|(name, _)| name == b"Access-Control-Request-Method")
    }
}

impl Answer {
    fn vary(&self, is_preflight: bool) -> &'static str {
        match (is_preflight, self.id) {
            (true, _) => "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            (false, Some(_)) => "Accept-Encoding, Origin, Authorization, X-API-Key",
            (false, None) => "Origin, Authorization, X-API-Key",
        }
    }
}

fn passes(name: &'static str, request: Request, id: &'static str, allow_origin: Option<&'static str>) -> Case {
    let answer = Answer {
        status: 200,
        code: "",
        allow_origin,
        id: Some(id),
    };
    Case {
        name,
        request,
        place: None,
        answers: vec![answer],
    }
}

fn refused(
    name: &'static str,
    request: Request,
    status: u16,
    code: &'static str,
    allow_origin: Option<&'static str>,
) -> Case {
    let answer = Answer {
        status,
        code,
        allow_origin,
        id: None,
    };
    Case {
        name,
        request,
        place: None,
        answers: vec![answer],
    }
}

impl Case {
    fn from(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    fn or(mut self, other: Self) -> Self {
        self.answers.extend(other.answers);
        self
    }
}

#[rustfmt::skip]
pub fn cast() -> Vec<Case> {
    let get = || Request::get("/v1/things?a=b");
    let site = || get().bearer(SITE_KEY);
    let at = |request: Request, origin| request.header("Origin", origin);
    let search = |method, path| Request::new(method, path).bearer(SEARCH_KEY);
    let ask = |origin| Request::preflight("/v1/things", origin, "PUT", "authorization");
    let limited = || get().bearer(LIMITED_KEY);
    vec![
        passes("its site", at(site(), SITE), "site", Some(SITE)),
        passes("a subdomain", at(site(), "https://a.b.yourapp.com"), "site", Some("https://a.b.yourapp.com")),
        passes("any port", at(site(), "http://localhost:5173"), "site", Some("http://localhost:5173")),
        passes("a preview", at(site(), "https://app-git-a_1-team.preview.example"), "site", Some("https://app-git-a_1-team.preview.example")),
        passes("any program", at(get().bearer(STAR_KEY), "app://."), "star", Some("*")),
        passes("the key in a header", at(get().header("X-API-Key", SITE_KEY), SITE), "site", Some(SITE)),
        passes("the key in the query", at(Request::get(format!("/v1?x=y&api_key={SITE_KEY}")), SITE), "site", Some(SITE)),
        passes("a body", at(Request::new("POST", "/v1").bearer(SITE_KEY).body("x".repeat(3000)), SITE), "site", Some(SITE)),
        passes("HEAD", at(Request::new("HEAD", "/v1").bearer(SITE_KEY), SITE), "site", Some(SITE)),
        passes("a forged id", at(site(), SITE).header("X-Key-Id", "secret").header("x_key_id", "secret"), "site", Some(SITE)),
        passes("no origin", get().bearer("present-key-000000"), "present", None),
        passes("plain CORS, another site", at(get().bearer("plain-key-00000000"), "https://evil.example"), "plain", None),
        passes("plain CORS, its site", at(get().bearer("plain-key-00000000"), SITE), "plain", Some(SITE)),
        passes("any site", at(get().bearer(STAR_KEY), "https://anywhere.example"), "star", Some("*")),
        passes("null", at(get().bearer(NULL_KEY), "null"), "null", Some("null")),
        passes("no list", at(get().bearer(SERVER_KEY), "https://evil.example"), "server", None),
        passes("a secret key from a server", get().bearer(SECRET_KEY), "secret", None),
        passes("from the office", at(get().bearer(OFFICE_KEY), SITE), "office", Some(SITE)).from(Place::Office),
        passes("a scope", search("GET", "/v1/indexes/products/search?q=a"), "search", None),
        passes("a prefix of an index", search("POST", "/v1/indexes/articles-2/search").body("{}"), "search", None),
        passes("within the limit", get().bearer(BUSY_KEY), "busy", None),
        passes("OPTIONS that is no preflight", at(Request::new("OPTIONS", "/v1").bearer(SITE_KEY), SITE), "site", Some(SITE)),
        passes("the limit", limited(), LIMITED, None).or(refused("", limited(), 429, "rate_limit_exceeded", None)),
        refused("a preflight", ask(SITE), 204, "", Some(SITE)),
        refused("a preflight from anywhere", ask("https://anywhere.example"), 204, "", Some("*")),
        refused("a preflight from null", ask("null"), 204, "", Some("null")),
        refused("a preflight with the key", Request::preflight(format!("/?api_key={SITE_KEY}"), SITE, "PUT", ""), 204, "", Some(SITE)),
        refused("a preflight to another key", Request::preflight(format!("/?api_key={SITE_KEY}"), "https://evil.example", "PUT", ""), 403, "origin_not_allowed", None),
        refused("a preflight from nowhere", ask("https://a, https://b"), 403, "origin_not_allowed", None),
        refused("no key", get(), 401, "missing_api_key", None),
        refused("no key at a site", at(get(), SITE), 401, "missing_api_key", Some(SITE)),
        refused("two keys", at(site().header("X-API-Key", SITE_KEY), SITE), 401, "ambiguous_api_key", Some(SITE)),
        refused("an unknown key", at(get().bearer("nobodys-key-000000"), SITE), 401, "invalid_api_key", Some(SITE)),
        refused("a disabled key", at(get().bearer("off-key-0000000000"), "https://off.example"), 401, "key_disabled", Some("https://off.example")),
        refused("too early", get().bearer("early-key-00000000"), 401, "key_not_yet_valid", None),
        refused("too late", get().bearer("late-key-000000000"), 401, "key_expired", None),
        refused("a secret key in a page", at(get().bearer(SECRET_KEY), SITE), 403, "secret_key_in_browser", None),
        refused("from elsewhere", at(get().bearer(OFFICE_KEY), SITE), 403, "ip_not_allowed", Some(SITE)).from(Place::Elsewhere),
        refused("another site", at(site(), "https://evil.example"), 403, "origin_not_allowed", None),
        refused("a required origin", site(), 403, "origin_not_allowed", None),
        refused("two readings of a path", search("GET", "/v1/indexes/products/..%2fsearch"), 400, "ambiguous_path", None),
        refused("another path", search("GET", "/v1/admin"), 403, "scope_not_allowed", None),
        refused("another method", search("DELETE", "/v1/indexes/products/search"), 403, "scope_not_allowed", None),
        refused("another index", search("GET", "/v1/indexes/users/search"), 403, "index_not_allowed", None),
    ]
}
