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
mod maker;

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
use maker::{OTHER_SECRET, OTHER_SEED, SECRET, SEED, Signer, base64url, good, jwk_x, public_key, token};

/// 2026-06-15T12:00:00Z.
const NOW: i64 = 1_781_524_800;

const HS: Signer = Signer::Secret(SECRET);
const ED: Signer = Signer::Seed(SEED);

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

    fn remembered_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens.borrow_mut().get(self.policy, digest, now)
    }

    fn remember_token(&self, digest: KeyDigest, verdict: &Verdict) {
        self.verified.set(self.verified.get() + 1);
        self.tokens.borrow_mut().insert(self.policy, digest, verdict);
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

/// `{S}`: the secret, `{X}`: the public key.
const POLICY: &str = r#"{
  "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
  "keys": [
    {"id": "both", "api_key": "both-key-0000000", "allowed_origins": ["https://app.example", "https://*.app.example"],
     "scoped_tokens": {"secrets": ["{O}", "{S}"], "public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "{X}"}]}},
    {"id": "secrets", "allowed_origins": ["https://app.example"], "scoped_tokens": {"secrets": ["{S}"]}},
    {"id": "public", "allowed_origins": ["https://app.example"], "scoped_tokens": {"public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "{X}"}]}},
    {"id": "short", "scoped_tokens": {"secrets": ["{S}"], "max_lifetime_seconds": 60, "not_before": "2026-06-15T11:59:00Z"}},
    {"id": "plain", "api_key": "plain-key-000000", "allowed_origins": ["https://app.example"]},
    {"id": "off", "scoped_tokens": {"secrets": ["{S}"]}, "enabled": false},
    {"id": "late", "scoped_tokens": {"secrets": ["{S}"]}, "expires_at": "2026-06-15T12:00:00Z"},
    {"id": "server", "api_key": "server-key-00000", "kind": "secret", "scoped_tokens": {"secrets": ["{S}"]}},
    {"id": "office", "scoped_tokens": {"secrets": ["{S}"]}, "allowed_ips": ["192.0.2.0/24", "10.0.0.0/8"]},
    {"id": "free", "scoped_tokens": {"secrets": ["{S}"]}},
    {"id": "if-present", "scoped_tokens": {"secrets": ["{S}"]}, "allowed_origins": ["https://app.example"], "origin_check": "if_present"},
    {"id": "cors-only", "scoped_tokens": {"secrets": ["{S}"]}, "allowed_origins": ["https://app.example"], "origin_check": "cors_only"},
    {"id": "own", "scoped_tokens": {"secrets": ["{S}"]}, "allowed_origins": ["https://app.example", "https://api.example"], "origin_check": "required_or_same_origin"},
    {"id": "search", "scoped_tokens": {"secrets": ["{S}"]}, "scopes": ["search", "stats"], "indexes": ["products", "articles-*"]},
    {"id": "scoped", "scoped_tokens": {"secrets": ["{S}"]}, "scopes": ["search", "tenant"]},
    {"id": "limited", "scoped_tokens": {"secrets": ["{S}"]}, "rate_limit_per_minute_per_client": 5},
    {"id": "watched", "scoped_tokens": {"secrets": ["{S}"]}, "allowed_ips": ["10.0.0.0/8"], "enforcement": "report"}
  ],
  "scopes": {
    "search": [{"methods": ["GET"], "path": "/v1/{index}/search"}],
    "stats": [{"methods": ["GET"], "path": "/v1/stats"}],
    "tenant": [{"methods": ["GET"], "path": "/v1/*/{index}"}],
    "admin": [{"methods": ["*"], "path": "/admin/**"}]
  }
}"#;

fn policy() -> Policy {
    let text = POLICY
        .replace("{S}", &base64url(SECRET))
        .replace("{O}", &base64url(b"an old secret of thirty-two bytes"))
        .replace("{X}", &jwk_x(SEED));
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

const SITE: (&str, &str) = ("origin", "https://app.example");

const ALLOW: &str = "allow, echo";
const INVALID: &str = "401 invalid_scoped_token, echo";
const EXPIRED: &str = "401 scoped_token_expired, echo";
const UNKNOWN: &str = "401 invalid_api_key, echo";

/// The header of a good token, and its claims with others in place of `iat` and `exp`.
fn claims(text: &str) -> String {
    token(r#"{"alg":"HS256","kid":"both"}"#, text, HS)
}

fn header(text: &str, signer: Signer) -> String {
    token(text, &format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 60), signer)
}

fn times(iat: impl std::fmt::Display, exp: impl std::fmt::Display) -> String {
    claims(&format!(r#"{{"iat":{iat},"exp":{exp}}}"#))
}

/// A good token, with further claims.
fn with(further: &str) -> String {
    good("both", NOW, further, HS)
}

/// A good token of exactly this many bytes.
fn of_length(length: usize) -> String {
    (0..length)
        .map(|filler| with(&format!(r#""x":"{}""#, "x".repeat(filler))))
        .find(|text| text.len() >= length)
        .filter(|text| text.len() == length)
        .unwrap_or_else(|| {
            // Two of the three remainders cannot be reached with the one claim; a longer header reaches the others.
            let build = |filler: usize, typ: &str| {
                token(
                    &format!(r#"{{"alg":"HS256","kid":"both","typ":"{typ}"}}"#),
                    &format!(r#"{{"iat":{NOW},"exp":{},"x":"{}"}}"#, NOW + 60, "x".repeat(filler)),
                    HS,
                )
            };
            let mut texts = (0..length).flat_map(|filler| ["", "J", "JW"].map(|typ| build(filler, typ)));
            texts.find(|text| text.len() == length).unwrap()
        })
}

#[test]
#[rustfmt::skip]
fn good_and_bad_tokens() {
    let hs = with("");
    let (signed, signature) = hs.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    // 32 bytes leave the last two bits of 43 characters unused. The next letter has one of them set.
    let with_last_bit = |text: &str| format!("{}{}", &text[..42], char::from(text.as_bytes()[42] + 1));
    let public: &'static [u8] = Box::leak(public_key(SEED).into());
    let x: &'static [u8] = Box::leak(jwk_x(SEED).into_bytes().into());
    let deep = format!(r#""x":{}{}"#, "[".repeat(100), "]".repeat(100));
    let too_deep = format!(r#""x":{}{}"#, "[".repeat(130), "]".repeat(130));
    let rows: &[(&str, String, &str)] = &[
        // What makes a token.
        ("HS256", hs.clone(), ALLOW),
        ("EdDSA", good("both", NOW, "", ED), ALLOW),
        ("HS256 of a key without api_key", good("secrets", NOW, "", HS), ALLOW),
        ("EdDSA of a key without secrets", good("public", NOW, "", ED), ALLOW),
        ("typ and other parameters", header(r#"{"typ":"JWT","cty":"x","alg":"HS256","kid":"both","x5t":"y"}"#, HS), ALLOW),
        ("unknown claims", with(r#""aud":["x"],"iss":"y","jti":"z","a":{"b":[{}]}"#), ALLOW),
        ("white space in the JSON", token(" {\n\"alg\" : \"HS256\", \"kid\":\"both\"}", &format!(" {{ \"iat\":{NOW} ,\t\"exp\":{} }}\r\n", NOW + 60), HS), ALLOW),
        ("escapes in the JSON", header(r#"{"\u0061lg":"HS\u0032\u0035\u0036","kid":"bo\u0074h"}"#, HS), ALLOW),
        ("nested", with(&deep), ALLOW),
        // The algorithm.
        ("alg none", header(r#"{"alg":"none","kid":"both"}"#, Signer::Nobody), INVALID),
        ("alg None", header(r#"{"alg":"None","kid":"both"}"#, Signer::Nobody), INVALID),
        ("alg none, signed", header(r#"{"alg":"none","kid":"both"}"#, HS), INVALID),
        ("HS256 without a signature", header(r#"{"alg":"HS256","kid":"both"}"#, Signer::Nobody), INVALID),
        ("no alg", header(r#"{"kid":"both"}"#, HS), INVALID),
        ("alg is a list", header(r#"{"alg":["HS256"],"kid":"both"}"#, HS), INVALID),
        ("alg in lower case", header(r#"{"alg":"hs256","kid":"both"}"#, HS), INVALID),
        ("HS512", header(r#"{"alg":"HS512","kid":"both"}"#, HS), INVALID),
        ("RS256", header(r#"{"alg":"RS256","kid":"both"}"#, HS), INVALID),
        ("Ed25519, which is another name", header(r#"{"alg":"Ed25519","kid":"both"}"#, ED), INVALID),
        ("HS256 with the public key as the secret", header(r#"{"alg":"HS256","kid":"both"}"#, Signer::Secret(public)), INVALID),
        ("HS256 with its base64url as the secret", header(r#"{"alg":"HS256","kid":"both"}"#, Signer::Secret(x)), INVALID),
        ("HS256 of a key with public keys alone", good("public", NOW, "", Signer::Secret(public)), INVALID),
        ("EdDSA of a key with secrets alone", good("secrets", NOW, "", ED), INVALID),
        ("an HS256 signature under EdDSA", header(r#"{"alg":"EdDSA","kid":"both"}"#, HS), INVALID),
        ("an EdDSA signature under HS256", header(r#"{"alg":"HS256","kid":"both"}"#, ED), INVALID),
        // The key.
        ("no kid", header(r#"{"alg":"HS256"}"#, HS), INVALID),
        ("an unknown kid", good("nobody", NOW, "", HS), INVALID),
        ("kid is a number", header(r#"{"alg":"HS256","kid":1}"#, HS), INVALID),
        ("a key without scoped_tokens", good("plain", NOW, "", HS), INVALID),
        ("a token as kid", header(&format!(r#"{{"alg":"HS256","kid":"{hs}"}}"#), HS), INVALID),
        ("a jwk of the client's own", header(&format!(r#"{{"alg":"EdDSA","kid":"both","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{}"}}}}"#, jwk_x(OTHER_SEED)), Signer::Seed(OTHER_SEED)), INVALID),
        ("another's secret", good("both", NOW, "", Signer::Secret(OTHER_SECRET)), INVALID),
        ("another's key pair", good("both", NOW, "", Signer::Seed(OTHER_SEED)), INVALID),
        ("an empty secret", good("both", NOW, "", Signer::Secret(b"")), INVALID),
        ("a revoked key", good("off", NOW, "", HS), "401 key_disabled, omit"),
        ("an expired key", good("late", NOW, "", HS), "401 key_expired, omit"),
        // Critical extensions.
        ("crit", header(r#"{"alg":"HS256","kid":"both","crit":["b64"],"b64":false}"#, HS), INVALID),
        ("an empty crit", header(r#"{"alg":"HS256","kid":"both","crit":[]}"#, HS), INVALID),
        ("crit null", header(r#"{"alg":"HS256","kid":"both","crit":null}"#, HS), INVALID),
        // The JSON.
        ("alg twice", header(r#"{"alg":"HS256","alg":"HS256","kid":"both"}"#, HS), INVALID),
        ("alg none and HS256", header(r#"{"alg":"none","alg":"HS256","kid":"both"}"#, HS), INVALID),
        ("kid twice, once escaped", header(r#"{"alg":"HS256","kid":"both","\u006bid":"both"}"#, HS), INVALID),
        ("exp twice", claims(&format!(r#"{{"iat":{NOW},"exp":{},"exp":{}}}"#, NOW + 60, NOW + 60)), INVALID),
        ("an unknown claim twice", with(r#""x":1,"x":1"#), INVALID),
        ("nested too deep", with(&too_deep), INVALID),
        ("claims are a list", claims("[]"), INVALID),
        ("claims are a text", claims(r#""x""#), INVALID),
        ("no claims", claims(""), INVALID),
        ("something behind the claims", claims(&format!(r#"{{"iat":{NOW},"exp":{}}}{{}}"#, NOW + 60)), INVALID),
        ("a comment", claims(&format!(r#"{{"iat":{NOW},"exp":{}/**/}}"#, NOW + 60)), INVALID),
        ("not UTF-8", format!("{head}.{}.{signature}", base64url(b"{\"a\":\"\xff\"}")), INVALID),
        // Times.
        ("no exp", claims(&format!(r#"{{"iat":{NOW}}}"#)), INVALID),
        ("no iat", claims(&format!(r#"{{"exp":{}}}"#, NOW + 60)), INVALID),
        ("exp null", times(NOW, "null"), INVALID),
        ("exp is a text", times(NOW, format!("\"{}\"", NOW + 60)), INVALID),
        ("iat is a list", times("[1]", NOW + 60), INVALID),
        ("fractions", times(format!("{}.5", NOW - 1), format!("{}.5", NOW + 60)), ALLOW),
        ("in scientific notation", times(NOW, "1.78152486e9"), ALLOW),
        ("the last second", times(NOW - 60, NOW + 1), ALLOW),
        ("a fraction of the last second", times(NOW - 60, format!("{NOW}.9")), EXPIRED),
        ("expired now", times(NOW - 60, NOW), EXPIRED),
        ("expired long ago", times(5, 6), EXPIRED),
        ("expired before the epoch", times(-6, -5), EXPIRED),
        ("exp before iat", times(NOW, NOW - 1), EXPIRED),
        ("expired, and the signature is wrong", format!("{}AAAA", &times(5, 6)[..times(5, 6).len() - 4]), EXPIRED),
        ("a day", times(NOW, NOW + 86_400), ALLOW),
        ("a day and a second", times(NOW, NOW + 86_401), INVALID),
        ("a day and a fraction", times(NOW, format!("{}.1", NOW + 86_400)), INVALID),
        ("exp 2^63", times(NOW, "9223372036854775808"), INVALID),
        ("exp 2^64", times(NOW, "18446744073709551616"), INVALID),
        ("exp 1e308", times(NOW, "1e308"), INVALID),
        ("exp that no double holds", times(NOW, "1e400"), INVALID),
        ("iat and exp 2^63", times("9223372036854775808", "9223372036854775808"), INVALID),
        ("iat and exp 1e308", times("1e308", "1e308"), INVALID),
        ("iat and exp -1e308", times("-1e308", "-1e308"), EXPIRED),
        ("iat -1e308", times("-1e308", NOW + 60), INVALID),
        ("iat -2^63", times("-9223372036854775808", NOW + 60), INVALID),
        ("iat a minute ahead", times(NOW + 60, NOW + 120), ALLOW),
        ("iat over a minute ahead", times(NOW + 61, NOW + 120), INVALID),
        ("iat a minute and a fraction ahead", times(format!("{}.1", NOW + 60), NOW + 120), INVALID),
        ("nbf now", with(&format!(r#""nbf":{NOW}"#)), ALLOW),
        ("nbf ahead", with(&format!(r#""nbf":{}"#, NOW + 1)), INVALID),
        ("nbf a fraction ahead", with(&format!(r#""nbf":{NOW}.1"#)), INVALID),
        ("nbf long ago", with(r#""nbf":-5"#), ALLOW),
        ("nbf long ago, iat ahead", claims(&format!(r#"{{"iat":{},"exp":{},"nbf":5}}"#, NOW + 61, NOW + 120)), INVALID),
        ("nbf is a text", with(r#""nbf":"5""#), INVALID),
        ("nbf null", with(r#""nbf":null"#), INVALID),
        ("a short life", good("short", NOW, "", HS), "allow, omit"),
        ("too long for this key", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 61), HS), INVALID),
        ("issued at not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{},"exp":{}}}"#, NOW - 60, NOW), HS), EXPIRED),
        ("issued before not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{},"exp":{}}}"#, NOW - 61, NOW - 1), HS), INVALID),
        ("issued a fraction before not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{}.9,"exp":{}}}"#, NOW - 61, NOW - 2), HS), INVALID),
        // The text.
        ("padding", format!("{head}=.{body}.{signature}"), INVALID),
        ("padding of the signature", format!("{hs}="), INVALID),
        ("bits behind the signature", format!("{signed}.{}", with_last_bit(signature)), INVALID),
        ("one bit of the signature", format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]), INVALID),
        ("a short signature", format!("{signed}.{}", &signature[..42]), INVALID),
        ("a long signature", format!("{hs}AAAA"), INVALID),
        ("another's header", format!("{}.{body}.{signature}", base64url(r#"{"alg":"HS256","kid":"secrets"}"#)), INVALID),
        ("another's claims", format!("{head}.{}.{signature}", base64url(format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 61))), INVALID),
        ("two parts", signed.to_owned(), UNKNOWN),
        ("four parts", format!("{hs}.x"), UNKNOWN),
        ("five parts, as if encrypted", format!("{hs}.x.y"), INVALID),
        ("no header", format!(".{body}.{signature}"), UNKNOWN),
        ("other characters", hs.replacen('.', "!", 1), UNKNOWN),
        ("the secret itself", base64url(SECRET), UNKNOWN),
        ("a key's id", "both".into(), UNKNOWN),
        ("4,096 bytes", of_length(4096), ALLOW),
        ("4,097 bytes", of_length(4097), UNKNOWN),
        // What goes to the upstream.
        ("sub", with(r#""sub":"alice""#), ALLOW),
        ("the longest sub", with(&format!(r#""sub":"{}""#, "s".repeat(256))), ALLOW),
        ("a longer sub", with(&format!(r#""sub":"{}""#, "s".repeat(257))), INVALID),
        ("the longest filter", with(&format!(r#""filter":"{}""#, "f".repeat(1024))), ALLOW),
        ("a longer filter", with(&format!(r#""filter":"{}""#, "f".repeat(1025))), INVALID),
        ("every visible character", with(r##""filter":"!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~""##), ALLOW),
        ("an empty sub", with(r#""sub":"""#), INVALID),
        ("an empty filter", with(r#""filter":"""#), INVALID),
        ("a line break in sub", with(r#""sub":"a\r\nx-admin: 1""#), INVALID),
        ("a space in filter", with(r#""filter":"a b""#), INVALID),
        ("NUL in filter", with(r#""filter":"a\u0000""#), INVALID),
        ("DEL in sub", with(r#""sub":"a\u007f""#), INVALID),
        ("a letter outside ASCII", with(r#""sub":"ä""#), INVALID),
        ("sub is a number", with(r#""sub":1"#), INVALID),
        ("filter is an object", with(r#""filter":{"a":1}"#), INVALID),
        ("filter null", with(r#""filter":null"#), INVALID),
        // Lists.
        ("origins is a text", with(r#""origins":"https://app.example""#), INVALID),
        ("origins null", with(r#""origins":null"#), INVALID),
        ("no origins", with(r#""origins":[]"#), INVALID),
        ("an origin with a slash", with(r#""origins":["https://app.example/"]"#), INVALID),
        ("one wrong origin among good ones", with(r#""origins":["https://app.example","x"]"#), INVALID),
        ("an origin that is a number", with(r#""origins":["https://app.example",1]"#), INVALID),
        ("no ips", with(r#""ips":[]"#), INVALID),
        ("a network with host bits", with(r#""ips":["192.0.2.1/24"]"#), INVALID),
        ("an unknown scope", with(r#""scopes":["nothing"]"#), INVALID),
        ("an unknown scope beside a known", with(r#""scopes":["search","nothing"]"#), INVALID),
        ("an index that none can be", with(r#""indexes":["a/b"]"#), INVALID),
    ];
    let policy = policy();
    for (name, text, expected) in rows {
        let world = World::new();
        let value = format!("Bearer {text}");
        let headers = vec![("authorization", &*value), SITE];
        assert_eq!(check(&policy, &world, "GET /", &headers, outcome), *expected, "{name}: {text}");
        // Again, when its verdict is remembered.
        assert_eq!(check(&policy, &world, "GET /", &headers, outcome), *expected, "{name}, again");
        assert!(world.verified.get() <= 1, "{name} is verified twice");
        let in_query = format!("GET /?api_key={text}");
        assert_eq!(check(&policy, &world, &in_query, &vec![SITE], outcome), *expected, "{name} in the query");
        assert!(world.verified.get() <= 1, "{name} is verified once more in the query");
    }
}

#[test]
#[rustfmt::skip]
fn a_token_narrows_its_key() {
    const EVIL: (&str, &str) = ("origin", "https://evil.example");
    const SUB: (&str, &str) = ("origin", "https://a.app.example");
    const API: (&str, &str) = ("origin", "https://api.example");
    const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");
    type Row<'r> = (&'r str, &'r str, &'r str, &'r str, &'r [(&'r str, &'r str)], &'r str);
    let rows: &[Row] = &[
        // Origins: CORS follows the key's list, the token's decides on the 403.
        ("the key's origin", "both", "", "GET /", &[SITE], "allow, echo"),
        ("another", "both", "", "GET /", &[EVIL], "403 origin_not_allowed, omit"),
        ("none", "both", "", "GET /", &[], "403 origin_not_allowed, omit"),
        ("an origin of both", "both", r#""origins":["https://app.example"]"#, "GET /", &[SITE], "allow, echo"),
        ("an origin of the key alone", "both", r#""origins":["https://app.example"]"#, "GET /", &[SUB], "403 origin_not_allowed, echo"),
        ("an origin of the token alone", "both", r#""origins":["https://evil.example"]"#, "GET /", &[EVIL], "403 origin_not_allowed, omit"),
        ("a wildcard as wide as the web", "both", r#""origins":["*"]"#, "GET /", &[EVIL], "403 origin_not_allowed, omit"),
        ("a wildcard within the key's", "both", r#""origins":["*"]"#, "GET /", &[SUB], "allow, echo"),
        ("no origin, where the token lists some", "both", r#""origins":["https://app.example"]"#, "GET /", &[], "403 origin_not_allowed, omit"),
        ("a key without origins", "free", r#""origins":["https://app.example"]"#, "GET /", &[SITE], "allow, omit"),
        ("a key without origins, another", "free", r#""origins":["https://app.example"]"#, "GET /", &[EVIL], "403 origin_not_allowed, omit"),
        ("a key without origins, none", "free", r#""origins":["https://app.example"]"#, "GET /", &[], "403 origin_not_allowed, omit"),
        ("null", "free", r#""origins":["null"]"#, "GET /", &[("origin", "null")], "allow, omit"),
        ("if_present: none", "if-present", r#""origins":["https://app.example"]"#, "GET /", &[], "allow, omit"),
        ("if_present: the token's", "if-present", r#""origins":["https://b.example"]"#, "GET /", &[SITE], "403 origin_not_allowed, echo"),
        ("cors_only: without a list", "cors-only", "", "GET /", &[EVIL], "allow, omit"),
        ("cors_only: the token's", "cors-only", r#""origins":["https://app.example"]"#, "GET /", &[EVIL], "403 origin_not_allowed, omit"),
        ("cors_only: another", "cors-only", r#""origins":["https://b.example"]"#, "GET /", &[SITE], "403 origin_not_allowed, echo"),
        ("cors_only: none", "cors-only", r#""origins":["https://app.example"]"#, "GET /", &[], "allow, omit"),
        ("the own page", "own", r#""origins":["https://api.example"]"#, "GET /", &[OWN], "allow, omit"),
        ("the own page, which the token lacks", "own", r#""origins":["https://app.example"]"#, "GET /", &[OWN], "403 origin_not_allowed, omit"),
        ("the own page with its origin", "own", r#""origins":["https://api.example"]"#, "POST /", &[OWN, API], "allow, echo"),
        ("no page", "own", r#""origins":["https://api.example"]"#, "GET /", &[], "403 origin_not_allowed, omit"),
        // Addresses. The client is 192.0.2.1.
        ("an address of the key", "office", "", "GET /", &[], "allow, omit"),
        ("an address of both", "office", r#""ips":["192.0.2.1"]"#, "GET /", &[], "allow, omit"),
        ("an address of the key alone", "office", r#""ips":["10.0.0.0/8"]"#, "GET /", &[], "403 ip_not_allowed, omit"),
        ("wider than the key's", "office", r#""ips":["0.0.0.0/0"]"#, "GET /", &[], "allow, omit"),
        ("a key without addresses", "free", r#""ips":["192.0.2.0/24"]"#, "GET /", &[], "allow, omit"),
        ("a key without addresses, another", "free", r#""ips":["192.0.3.0/24","2001:db8::/32"]"#, "GET /", &[], "403 ip_not_allowed, omit"),
        // Scopes and indexes.
        ("the key's scope", "search", "", "GET /v1/products/search", &[], "allow, omit"),
        ("not the key's", "search", "", "GET /admin/x", &[], "403 scope_not_allowed, omit"),
        ("a scope of both", "search", r#""scopes":["search"]"#, "GET /v1/products/search", &[], "allow, omit"),
        ("a scope of the key alone", "scoped", r#""scopes":["search"]"#, "GET /v1/a/b", &[], "403 scope_not_allowed, omit"),
        ("wider than the key's", "search", r#""scopes":["admin"]"#, "GET /admin/x", &[], "403 scope_not_allowed, omit"),
        ("wider than the key's, within it", "search", r#""scopes":["search","admin"]"#, "GET /v1/products/search", &[], "allow, omit"),
        ("no scopes", "search", r#""scopes":[]"#, "GET /v1/products/search", &[], "403 scope_not_allowed, omit"),
        ("a key without scopes", "free", r#""scopes":["stats"]"#, "GET /v1/stats", &[], "allow, omit"),
        ("a key without scopes, another path", "free", r#""scopes":["stats"]"#, "GET /v1/other", &[], "403 scope_not_allowed, omit"),
        ("a key without scopes, another method", "free", r#""scopes":["stats"]"#, "POST /v1/stats", &[], "403 scope_not_allowed, omit"),
        ("a key without scopes, HEAD", "free", r#""scopes":["stats"]"#, "HEAD /v1/stats", &[], "allow, omit"),
        ("a key without scopes, an ambiguous path", "free", r#""scopes":["stats"]"#, "GET /v1/../v1/stats", &[], "400 ambiguous_path, omit"),
        ("without either, an ambiguous path", "free", "", "GET /v1/../v1/stats", &[], "allow, omit"),
        ("the first of two scopes", "free", r#""scopes":["stats","search"]"#, "GET /v1/stats", &[], "allow, omit"),
        ("the second of two scopes", "free", r#""scopes":["stats","search"]"#, "GET /v1/a/search", &[], "allow, omit"),
        ("an index of both", "search", r#""indexes":["products"]"#, "GET /v1/products/search", &[], "allow, omit"),
        ("a prefix within the key's", "search", r#""indexes":["articles-2026"]"#, "GET /v1/articles-2026/search", &[], "allow, omit"),
        ("an index of the key alone", "search", r#""indexes":["products"]"#, "GET /v1/articles-1/search", &[], "403 index_not_allowed, omit"),
        ("an index of the token alone", "search", r#""indexes":["orders"]"#, "GET /v1/orders/search", &[], "403 index_not_allowed, omit"),
        ("any index", "search", r#""indexes":["*"]"#, "GET /v1/orders/search", &[], "403 index_not_allowed, omit"),
        ("no indexes", "search", r#""indexes":[]"#, "GET /v1/products/search", &[], "403 index_not_allowed, omit"),
        ("a rule that names no index", "search", r#""indexes":["products"]"#, "GET /v1/stats", &[], "403 index_not_allowed, omit"),
        ("the scope comes first", "search", r#""indexes":["products"],"scopes":["stats"]"#, "GET /v1/products/search", &[], "403 scope_not_allowed, omit"),
        ("indexes with the token's own scopes", "free", r#""indexes":["products"],"scopes":["search"]"#, "GET /v1/products/search", &[], "allow, omit"),
        ("another index of the token's own scopes", "free", r#""indexes":["products"],"scopes":["search"]"#, "GET /v1/orders/search", &[], "403 index_not_allowed, omit"),
        ("indexes without any scope", "free", r#""indexes":["products"]"#, "GET /v1/products/search", &[], "403 index_not_allowed, omit"),
        ("indexes, an ambiguous path", "free", r#""indexes":["products"]"#, "GET /v1//search", &[], "400 ambiguous_path, omit"),
        // `tenant` reads `/v1/a/search` as the index `search`, and `search` as `a`: one rule has to find the index.
        ("an index by one rule", "scoped", r#""indexes":["search"]"#, "GET /v1/a/search", &[], "allow, omit"),
        ("an index by another rule", "scoped", r#""indexes":["a"]"#, "GET /v1/a/search", &[], "allow, omit"),
        ("an index by no rule", "scoped", r#""indexes":["v1"]"#, "GET /v1/a/search", &[], "403 index_not_allowed, omit"),
        // The kind.
        ("a secret key's token in a browser", "server", "", "GET /", &[SITE], "allow, omit"),
        ("a secret key's token with fetch metadata", "server", "", "GET /", &[("sec-fetch-site", "cross-site")], "allow, omit"),
        ("an open path", "free", "", "GET /any", &[], "allow, omit"),
    ];
    let policy = policy();
    for (name, kid, further, request, headers, expected) in rows {
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
    let without = |kid: &str| {
        let text = POLICY.replace(&format!(r#""id": "{kid}""#), r#""id": "gone""#);
        let text = text
            .replace("{S}", &base64url(OTHER_SECRET))
            .replace("{O}", &base64url(OTHER_SECRET));
        Policy::load(text.replace("{X}", &jwk_x(SEED)).as_bytes(), Timestamp(NOW))
            .unwrap()
            .policy
    };
    let (policy, other) = (policy(), without("both"));
    let mut world = World::new();
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    world.policy = PolicyId(2);
    assert_eq!(
        check(&other, &world, "GET /", &headers, outcome),
        INVALID,
        "its key is gone"
    );
    world.policy = PolicyId(1);
    assert_eq!(check(&policy, &world, "GET /", &headers, outcome), ALLOW);
    assert_eq!(world.verified.get(), 1);
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
    assert_eq!(world.verified.get(), 2);
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
