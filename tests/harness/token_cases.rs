//! Scoped tokens with their expected results, for tests with and without an Envoy: a line for each way in which one is good, bad or narrower than
//! its key.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::fmt::Display;

use super::token::{OTHER_SECRET, OTHER_SEED, SECRET, SEED, Signer, base64url, good, jwk_x, public_key, token};

pub const HS: Signer = Signer::Secret(SECRET);
pub const ED: Signer = Signer::Seed(SEED);

/// When tokens are made, and how far the clock may go on until they are sent.
#[derive(Clone, Copy)]
pub struct Clock {
    pub now: i64,
    /// 1 where the clock stands still.
    pub second: i64,
}

/// `{S}`: the secret, `{O}` an old one, `{X}`: the public key.
pub const POLICY: &str = r#"{
  "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
  "keys": [
    {"id": "both", "api_key": "both-key-0000000", "allowed_origins": ["https://app.example", "https://*.app.example"],
     "scoped_tokens": {"secrets": ["{O}", "{S}"], "public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "{X}"}]}},
    {"id": "secrets", "allowed_origins": ["https://app.example"], "scoped_tokens": {"secrets": ["{S}"]}},
    {"id": "public", "allowed_origins": ["https://app.example"], "scoped_tokens": {"public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "{X}"}]}},
    {"id": "short", "scoped_tokens": {"secrets": ["{S}"], "max_lifetime_seconds": 60, "not_before": "{HALF A MINUTE AGO}"}},
    {"id": "plain", "api_key": "plain-key-000000", "allowed_origins": ["https://app.example"]},
    {"id": "off", "scoped_tokens": {"secrets": ["{S}"]}, "enabled": false},
    {"id": "late", "scoped_tokens": {"secrets": ["{S}"]}, "expires_at": "{NOW}"},
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

/// The JSON text of the policy, with this secret.
pub fn policy_text(clock: Clock, secret: &[u8]) -> String {
    let time = |seconds| keyfence_core::config::timestamp::Timestamp(seconds).to_string();
    POLICY
        .replace("{S}", &base64url(secret))
        .replace("{O}", &base64url(b"an old secret of thirty-two bytes"))
        .replace("{X}", &jwk_x(SEED))
        .replace("{NOW}", &time(clock.now))
        .replace("{HALF A MINUTE AGO}", &time(clock.now - 30))
}

const ALLOW: &str = "allow";
const INVALID: &str = "401 invalid_scoped_token";
const EXPIRED: &str = "401 scoped_token_expired";
const UNKNOWN: &str = "401 invalid_api_key";

/// A token with these claims.
fn claims(text: &str) -> String {
    token(r#"{"alg":"HS256","kid":"both"}"#, text, HS)
}

/// A token with this header.
fn header(clock: Clock, text: &str, signer: Signer) -> String {
    let now = clock.now;
    token(text, &format!(r#"{{"iat":{now},"exp":{}}}"#, now + 60), signer)
}

fn times(iat: impl Display, exp: impl Display) -> String {
    claims(&format!(r#"{{"iat":{iat},"exp":{exp}}}"#))
}

/// A good token, with further claims.
fn with(clock: Clock, further: &str) -> String {
    good("both", clock.now, further, HS)
}

/// A good token of exactly this many bytes. Three bytes of a claim are four of the token, and `typ` reaches the lengths between.
fn of_length(clock: Clock, length: usize) -> String {
    let now = clock.now;
    let build = |filler: usize, typ: &str| {
        token(
            &format!(r#"{{"alg":"HS256","kid":"both","typ":"{typ}"}}"#),
            &format!(r#"{{"iat":{now},"exp":{},"x":"{}"}}"#, now + 60, "x".repeat(filler)),
            HS,
        )
    };
    let mut texts = (length / 2..length).flat_map(|filler| ["", "J", "JW"].map(|typ| build(filler, typ)));
    texts.find(|text| text.len() == length).unwrap()
}

/// A name, a token, and the status and code that it gets, or `allow`.
pub type Case = (&'static str, String, &'static str);

/// What makes a token good or bad.
#[rustfmt::skip]
pub fn good_and_bad(clock: Clock) -> Vec<Case> {
    let Clock { now, second } = clock;
    let with = |further: &str| with(clock, further);
    let header = |text: &str, signer| header(clock, text, signer);
    let of_length = |length| of_length(clock, length);
    let hs = with("");
    let (signed, signature) = hs.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    // 32 bytes leave the last two bits of 43 characters unused. The next letter has one of them set.
    let with_last_bit = |text: &str| format!("{}{}", &text[..42], char::from(text.as_bytes()[42] + 1));
    let public: &'static [u8] = Box::leak(public_key(SEED).into());
    let x: &'static [u8] = Box::leak(jwk_x(SEED).into_bytes().into());
    let deep = format!(r#""x":{}{}"#, "[".repeat(100), "]".repeat(100));
    let too_deep = format!(r#""x":{}{}"#, "[".repeat(130), "]".repeat(130));
    vec![
        // What makes a token.
        ("HS256", hs.clone(), ALLOW),
        ("EdDSA", good("both", now, "", ED), ALLOW),
        ("HS256 of a key without api_key", good("secrets", now, "", HS), ALLOW),
        ("EdDSA of a key without secrets", good("public", now, "", ED), ALLOW),
        ("typ and other parameters", header(r#"{"typ":"JWT","cty":"x","alg":"HS256","kid":"both","x5t":"y"}"#, HS), ALLOW),
        ("unknown claims", with(r#""aud":["x"],"iss":"y","jti":"z","a":{"b":[{}]}"#), ALLOW),
        ("white space in the JSON", token(" {\n\"alg\" : \"HS256\", \"kid\":\"both\"}", &format!(" {{ \"iat\":{now} ,\t\"exp\":{} }}\r\n", now + 60), HS), ALLOW),
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
        ("Ed25519, the newer name", header(r#"{"alg":"Ed25519","kid":"both"}"#, ED), ALLOW),
        ("an HS256 signature under Ed25519", header(r#"{"alg":"Ed25519","kid":"both"}"#, HS), INVALID),
        ("Ed25519 in lower case", header(r#"{"alg":"ed25519","kid":"both"}"#, ED), INVALID),
        ("HS256 with the public key as the secret", header(r#"{"alg":"HS256","kid":"both"}"#, Signer::Secret(public)), INVALID),
        ("HS256 with its base64url as the secret", header(r#"{"alg":"HS256","kid":"both"}"#, Signer::Secret(x)), INVALID),
        ("HS256 of a key with public keys alone", good("public", now, "", Signer::Secret(public)), INVALID),
        ("EdDSA of a key with secrets alone", good("secrets", now, "", ED), INVALID),
        ("an HS256 signature under EdDSA", header(r#"{"alg":"EdDSA","kid":"both"}"#, HS), INVALID),
        ("an EdDSA signature under HS256", header(r#"{"alg":"HS256","kid":"both"}"#, ED), INVALID),
        // The key.
        ("no kid", header(r#"{"alg":"HS256"}"#, HS), INVALID),
        ("an unknown kid", good("nobody", now, "", HS), INVALID),
        ("kid is a number", header(r#"{"alg":"HS256","kid":1}"#, HS), INVALID),
        ("a key without scoped_tokens", good("plain", now, "", HS), INVALID),
        ("a token as kid", header(&format!(r#"{{"alg":"HS256","kid":"{hs}"}}"#), HS), INVALID),
        ("a jwk of the client's own", header(&format!(r#"{{"alg":"EdDSA","kid":"both","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{}"}}}}"#, jwk_x(OTHER_SEED)), Signer::Seed(OTHER_SEED)), INVALID),
        ("another's secret", good("both", now, "", Signer::Secret(OTHER_SECRET)), INVALID),
        ("another's key pair", good("both", now, "", Signer::Seed(OTHER_SEED)), INVALID),
        ("an empty secret", good("both", now, "", Signer::Secret(b"")), INVALID),
        ("a revoked key", good("off", now, "", HS), "401 key_disabled"),
        ("an expired key", good("late", now, "", HS), "401 key_expired"),
        // Critical extensions.
        ("crit", header(r#"{"alg":"HS256","kid":"both","crit":["b64"],"b64":false}"#, HS), INVALID),
        ("an empty crit", header(r#"{"alg":"HS256","kid":"both","crit":[]}"#, HS), INVALID),
        ("crit null", header(r#"{"alg":"HS256","kid":"both","crit":null}"#, HS), INVALID),
        // The JSON.
        ("alg twice", header(r#"{"alg":"HS256","alg":"HS256","kid":"both"}"#, HS), INVALID),
        ("alg none and HS256", header(r#"{"alg":"none","alg":"HS256","kid":"both"}"#, HS), INVALID),
        ("kid twice, once escaped", header(r#"{"alg":"HS256","kid":"both","\u006bid":"both"}"#, HS), INVALID),
        ("exp twice", claims(&format!(r#"{{"iat":{now},"exp":{},"exp":{}}}"#, now + 60, now + 60)), INVALID),
        ("an unknown claim twice", with(r#""x":1,"x":1"#), INVALID),
        ("nested too deep", with(&too_deep), INVALID),
        ("claims are a list", claims("[]"), INVALID),
        ("claims are a text", claims(r#""x""#), INVALID),
        ("no claims", claims(""), INVALID),
        ("something behind the claims", claims(&format!(r#"{{"iat":{now},"exp":{}}}{{}}"#, now + 60)), INVALID),
        ("a comment", claims(&format!(r#"{{"iat":{now},"exp":{}/**/}}"#, now + 60)), INVALID),
        ("not UTF-8", format!("{head}.{}.{signature}", base64url(b"{\"a\":\"\xff\"}")), INVALID),
        // Times.
        ("no exp", claims(&format!(r#"{{"iat":{now}}}"#)), INVALID),
        ("no iat", claims(&format!(r#"{{"exp":{}}}"#, now + 60)), INVALID),
        ("exp null", times(now, "null"), INVALID),
        ("exp is a text", times(now, format!("\"{}\"", now + 60)), INVALID),
        ("iat is a list", times("[1]", now + 60), INVALID),
        ("fractions", times(format!("{}.5", now - 1), format!("{}.5", now + 60)), ALLOW),
        ("in scientific notation", times(now, format!("{:e}", (now + 60) as f64)), ALLOW),
        ("the last second", times(now - 60, now + second), ALLOW),
        ("a fraction of the last second", times(now - 60, format!("{now}.9")), EXPIRED),
        ("expired now", times(now - 60, now), EXPIRED),
        ("expired long ago", times(5, 6), EXPIRED),
        ("expired before the epoch", times(-6, -5), EXPIRED),
        // Without a signature nobody learns what the policy has.
        ("expired, of an unknown key", token(r#"{"alg":"HS256","kid":"nobody"}"#, r#"{"iat":5,"exp":6}"#, HS), EXPIRED),
        ("expired, of a key without tokens", token(r#"{"alg":"HS256","kid":"plain"}"#, r#"{"iat":5,"exp":6}"#, HS), EXPIRED),
        ("expired, under an algorithm that the key does not have", token(r#"{"alg":"EdDSA","kid":"secrets"}"#, r#"{"iat":5,"exp":6}"#, ED), EXPIRED),
        ("expired, after too long a life", times(5, 1_000_000), EXPIRED),
        ("expired, without a signature", token(r#"{"alg":"HS256","kid":"both"}"#, r#"{"iat":5,"exp":6}"#, Signer::Nobody), EXPIRED),
        ("exp before iat", times(now, now - 1), EXPIRED),
        ("expired, and the signature is wrong", format!("{}AAAA", &times(5, 6)[..times(5, 6).len() - 4]), EXPIRED),
        ("a day", times(now, now + 86_400), ALLOW),
        ("a day and a second", times(now, now + 86_401), INVALID),
        ("a day and a fraction, which is cut off", times(now, format!("{}.9", now + 86_400)), ALLOW),
        ("exp 2^63", times(now, "9223372036854775808"), INVALID),
        ("exp 2^64", times(now, "18446744073709551616"), INVALID),
        ("exp 1e308", times(now, "1e308"), INVALID),
        ("exp that no double holds", times(now, "1e400"), INVALID),
        ("iat and exp 2^63", times("9223372036854775808", "9223372036854775808"), INVALID),
        ("iat and exp 1e308", times("1e308", "1e308"), INVALID),
        ("iat and exp -1e308", times("-1e308", "-1e308"), EXPIRED),
        ("iat -1e308", times("-1e308", now + 60), INVALID),
        ("iat -2^63", times("-9223372036854775808", now + 60), INVALID),
        ("iat a minute ahead", times(now + 60, now + 120), ALLOW),
        ("iat over a minute ahead", times(now + 60 + second, now + 120), INVALID),
        ("iat a minute and a fraction ahead", times(format!("{}.1", now + 59 + second), now + 120), INVALID),
        ("nbf now", with(&format!(r#""nbf":{now}"#)), ALLOW),
        ("nbf a minute ahead", with(&format!(r#""nbf":{}"#, now + 60)), ALLOW),
        ("nbf over a minute ahead", with(&format!(r#""nbf":{}"#, now + 60 + second)), INVALID),
        ("nbf a minute and a fraction ahead", with(&format!(r#""nbf":{}.1"#, now + 59 + second)), INVALID),
        ("nbf long ago", with(r#""nbf":-5"#), ALLOW),
        ("nbf long ago, iat ahead", claims(&format!(r#"{{"iat":{},"exp":{},"nbf":5}}"#, now + 60 + second, now + 120)), INVALID),
        ("nbf is a text", with(r#""nbf":"5""#), INVALID),
        ("nbf null", with(r#""nbf":null"#), INVALID),
        ("a short life", good("short", now, "", HS), ALLOW),
        ("too long for this key", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{now},"exp":{}}}"#, now + 61), HS), INVALID),
        ("issued at not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{},"exp":{}}}"#, now - 30, now + 30), HS), ALLOW),
        ("issued before not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{},"exp":{}}}"#, now - 31, now + 29), HS), INVALID),
        ("issued a fraction before not_before", token(r#"{"alg":"HS256","kid":"short"}"#, &format!(r#"{{"iat":{}.9,"exp":{}}}"#, now - 31, now + 29), HS), INVALID),
        // The text.
        ("padding", format!("{head}=.{body}.{signature}"), INVALID),
        ("padding of the signature", format!("{hs}="), INVALID),
        ("bits behind the signature", format!("{signed}.{}", with_last_bit(signature)), INVALID),
        ("one bit of the signature", format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]), INVALID),
        ("a short signature", format!("{signed}.{}", &signature[..42]), INVALID),
        ("a long signature", format!("{hs}AAAA"), INVALID),
        ("another's header", format!("{}.{body}.{signature}", base64url(r#"{"alg":"HS256","kid":"secrets"}"#)), INVALID),
        ("another's claims", format!("{head}.{}.{signature}", base64url(format!(r#"{{"iat":{now},"exp":{}}}"#, now + 61))), INVALID),
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
    ]
}

/// What a token with further claims of a key allows: name, the key's id, claims, request, headers, and the expected result.
pub type Narrowing = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// The origin of the page.
pub const SITE: (&str, &str) = ("origin", "https://app.example");
const EVIL: (&str, &str) = ("origin", "https://evil.example");
const SUB: (&str, &str) = ("origin", "https://a.app.example");
const API: (&str, &str) = ("origin", "https://api.example");
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// The client's address is 192.0.2.1, and the API is at `https://api.example`.
#[rustfmt::skip]
pub const NARROWING: &[Narrowing] = &[
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
