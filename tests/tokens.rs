//! The command line with scoped tokens: `token create`, `token inspect`, `explain` and `find`.

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
#[path = "harness/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use maker::{OTHER_SECRET, SECRET, SEED, Signer, base64url, good, jwk_x, token};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Standard output, standard error, and the exit code.
fn keyfence(folder: &Path, arguments: &[&str], stdin: &str) -> (String, String, i32) {
    let output = program::keyfence(folder, arguments, stdin);
    (output.stdout, output.stderr, output.code)
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A policy, and private keys beside it.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let policy = json!({
        "keys": [
            {"id": "site", "api_key": "sha256:".to_owned() + &"0".repeat(64), "allowed_origins": ["https://app.example"],
             "scoped_tokens": {"secrets": [base64url(SECRET), base64url(OTHER_SECRET)], "max_lifetime_seconds": 600}},
            {"id": "pair", "kind": "secret", "scoped_tokens": {"public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": jwk_x(SEED)}]}},
            {"id": "off", "kind": "secret", "enabled": false, "scoped_tokens": {"secrets": [base64url(SECRET)]}},
            {"id": "plain", "kind": "secret", "api_key": "sha256:".to_owned() + &"1".repeat(64)},
        ],
        "scopes": {"search": [{"methods": ["GET"], "path": "/v1/{index}/search"}]},
    });
    write("policy.json", &policy.to_string());
    write("wrong.json", r#"{"keys": 1}"#);
    // PKCS #8 (RFC 8410, section 7) has this before the 32 bytes.
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8 = |seed: &[u8]| {
        let text = STANDARD.encode([&prefix, seed].concat());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    write("pair.pem", &pkcs8(SEED));
    write("other.pem", &pkcs8(maker::OTHER_SEED));
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": jwk_x(SEED), "d": base64url(SEED)});
    write("pair.jwk", &jwk.to_string());
    folder
}

fn part(token: &str, index: usize) -> Value {
    let part = token.trim_end().split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
#[rustfmt::skip]
fn what_is_made_is_what_was_asked_for() {
    let folder = folder();
    for (arguments, header, claims, lifetime) in [
        ("--key-id site", json!({"alg": "HS256", "typ": "JWT", "kid": "site"}), json!({}), 600),
        ("--key-id site --expires-in 60 --sub alice --filter user=alice", json!({"alg": "HS256", "typ": "JWT", "kid": "site"}), json!({"sub": "alice", "filter": "user=alice"}), 60),
        ("--key-id site --origin https://app.example --origin null --ip 10.0.0.0/8 --scope search --index a --index b-*", json!({"alg": "HS256", "typ": "JWT", "kid": "site"}),
            json!({"origins": ["https://app.example", "null"], "ips": ["10.0.0.0/8"], "scopes": ["search"], "indexes": ["a", "b-*"]}), 600),
        ("--key-id site --not-before 2020-01-01T00:00:00Z", json!({"alg": "HS256", "typ": "JWT", "kid": "site"}), json!({"nbf": 1_577_836_800}), 600),
        ("--key-id pair --private-key pair.pem", json!({"alg": "EdDSA", "typ": "JWT", "kid": "pair"}), json!({}), 3600),
        ("--key-id pair --private-key pair.jwk --expires-in 86400", json!({"alg": "EdDSA", "typ": "JWT", "kid": "pair"}), json!({}), 86_400),
    ] {
        let arguments: Vec<&str> = ["token", "create", "policy.json"].into_iter().chain(arguments.split(' ')).collect();
        let (token, error, code) = keyfence(folder.path(), &arguments, "");
        assert_eq!((error.as_str(), code), ("", 0), "{arguments:?}");
        assert_eq!(part(&token, 0), header, "{arguments:?}");
        let mut found = part(&token, 1);
        let issued = found["iat"].as_i64().unwrap();
        assert!((now() - 5..=now()).contains(&issued), "{found}");
        assert_eq!(found["exp"].as_i64().unwrap() - issued, lifetime, "{arguments:?}");
        let members = found.as_object_mut().unwrap();
        members.retain(|name, _| name != "iat" && name != "exp");
        assert_eq!(found, claims, "{arguments:?}");
        let (shown, error, code) = keyfence(folder.path(), &["token", "inspect", "policy.json", "--format", "json"], &token);
        assert_eq!((error.as_str(), code), ("", 0), "{shown}");
        assert!(!shown.contains(token.trim_end()), "{shown}");
    }
}

#[test]
#[rustfmt::skip]
fn what_the_filter_would_refuse_is_not_made() {
    let folder = folder();
    for (arguments, expected, code) in [
        ("policy.json --key-id sit", "no key of the policy has the id \"sit\"; did you mean \"site\"?", 2),
        ("policy.json --key-id plain", "the key \"plain\" has no scoped_tokens", 2),
        ("policy.json --key-id pair", "has public keys only; give the private key of one with --private-key", 2),
        ("policy.json --key-id pair --private-key policy.json", "policy.json: this is not an Ed25519 private key", 2),
        ("policy.json --key-id pair --private-key nothing.pem", "nothing.pem: ", 2),
        ("policy.json --key-id pair --private-key other.pem", "the policy refuses such a token: no secret or public key of the key verifies its signature", 1),
        ("policy.json --key-id site --private-key pair.pem", "the policy refuses such a token: the key has no secret or public key for its alg", 1),
        ("policy.json --key-id site --expires-in 601", "the policy refuses such a token: exp is more than max_lifetime_seconds after iat", 1),
        ("policy.json --key-id site --scope serach", "the policy refuses such a token: its claim scopes is missing, or has a value that it cannot have", 1),
        ("policy.json --key-id site --expires-in 0", "0 is not in 1..", 2),
        ("policy.json --key-id site --not-before 2099-01-01T00:00:00Z", "the policy refuses such a token: exp is past", 1),
        ("policy.json --key-id off", "the policy refuses such a token: its key is disabled", 1),
        ("policy.json --key-id site --filter LONG --index LONG --index LONG --index LONG --index LONG", "the policy refuses such a token: it is longer than 4096 bytes", 1),
        ("policy.json --key-id site --sub a,b\u{e9}", "its claim sub", 1),
        ("policy.json --key-id site --origin https://app.example/", "a slash", 2),
        ("policy.json --key-id site --ip 10.0.0.1/8", "10.0.0.0/8", 2),
        ("wrong.json --key-id site", "keys: expected a list", 1),
    ] {
        let arguments = arguments.replace("LONG", &"l".repeat(1000));
        let arguments: Vec<&str> = ["token", "create"].into_iter().chain(arguments.split(' ')).collect();
        let (shown, error, found) = keyfence(folder.path(), &arguments, "");
        assert_eq!((shown.as_str(), found), ("", code), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
#[rustfmt::skip]
fn a_token_is_inspected() {
    let folder = folder();
    let hs = |further: &str| good("site", now(), further, Signer::Secret(SECRET));
    let at = |iat: i64, exp: i64| token(r#"{"alg":"HS256","kid":"site"}"#, &format!(r#"{{"iat":{iat},"exp":{exp}}}"#), Signer::Secret(SECRET));
    for (name, text, code, expected) in [
        ("valid", hs(r#""sub":"alice""#), 0, &["  alg  HS256\n", "  sub  alice\n", "valid for "][..]),
        ("with white space around it", format!("  {}\r\n\n", hs("")), 0, &["valid for "]),
        ("of the older secret", good("site", now(), "", Signer::Secret(OTHER_SECRET)), 0, &["valid for "]),
        ("expired", at(1_700_000_000, 1_700_000_060), 1, &["  iat  1700000000 (2023-11-14T22:13:20Z)\n", "refused with 401 scoped_token_expired: exp is past\n"]),
        ("forged", good("site", now(), "", Signer::Secret(b"x")), 1, &["refused with 401 invalid_scoped_token: no secret or public key of the key verifies its signature\n"]),
        ("with a line break in a claim", hs(r#""x":"a\nb\u001b[31m""#), 0, &["valid for "]),
        ("of a time that no calendar has", at(i64::MAX - 5, i64::MAX), 1, &["refused with 401 invalid_scoped_token: iat or nbf is over 60 seconds ahead"]),
        ("of a disabled key", good("off", now(), "", Signer::Secret(SECRET)), 1, &["refused with 401 key_disabled: its key is disabled\n"]),
        ("not a token", "something".into(), 1, &["refused with 401 invalid_api_key: it does not have the form of a token: three parts between dots\n"]),
    ] {
        let (shown, error, found) = keyfence(folder.path(), &["token", "inspect", "policy.json"], &text);
        assert_eq!((error.as_str(), found), ("", code), "{name}: {shown}");
        for part in expected {
            assert!(shown.contains(part), "{name}: {shown}");
        }
        assert!(!shown.contains('\u{1b}') && !shown.contains(text.trim()), "{name}: {shown}");
    }
    let (shown, _, code) = keyfence(folder.path(), &["token", "inspect", "policy.json", "--format", "json", "--now", "2023-11-14T22:13:30Z"], &at(1_700_000_000, 1_700_000_060));
    assert_eq!(code, 0);
    let expected = json!({"key_id": "site", "header": {"alg": "HS256", "kid": "site"}, "claims": {"iat": 1_700_000_000, "exp": 1_700_000_060},
        "valid": true, "code": null, "why": null, "expires_at": "2023-11-14T22:14:20Z"});
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), expected);
    for (file, code, expected) in [("wrong.json", 1, "keys: expected a list"), ("nothing.json", 2, "nothing.json"), ("-", 2, "standard input is the token")] {
        let (shown, error, found) = keyfence(folder.path(), &["token", "inspect", file], &hs(""));
        assert_eq!(found, code, "{file}");
        assert!((shown + &error).contains(expected), "{file}: {error}");
    }
}

#[test]
#[rustfmt::skip]
fn explain_tells_what_a_token_narrows() {
    let folder = folder();
    let of = |kid: &str, further: &str| good(kid, now(), further, Signer::Secret(SECRET));
    for (text, arguments, code, expected) in [
        (of("site", r#""sub":"alice","filter":"f""#), "--origin https://app.example", 0, &["a scoped token of site for alice in", "a scoped token: from browsers and elsewhere", "x-key-subject: alice", "x-key-filter: f"][..]),
        (of("site", r#""origins":["https://b.example"]"#), "--origin https://app.example", 1, &["https://app.example matches https://app.example; the token's origins: it is none of them", "403 origin_not_allowed"]),
        (of("site", r#""origins":["https://*.example"]"#), "--origin https://app.example", 1, &["the scoped token in Authorization: Bearer is refused: its claim origins"]),
        (of("site", r#""ips":["10.0.0.0/8"]"#), "--origin https://app.example --ip 10.1.2.3", 0, &["the token's ips: 10.1.2.3 is in 10.0.0.0/8"]),
        (of("site", r#""ips":["10.0.0.0/8"]"#), "--origin https://app.example --ip 192.0.2.1", 1, &["the token's ips: 192.0.2.1 is in none of them", "403 ip_not_allowed"]),
        (of("site", r#""scopes":["search"]"#), "--origin https://app.example --path /v1/a/search", 0, &["the token's scopes: it fits GET /v1/{index}/search of search"]),
        (of("site", r#""scopes":["search"]"#), "--origin https://app.example --path /v1/a", 1, &["the token's scopes: it fits no rule", "403 scope_not_allowed"]),
        (of("off", ""), "", 1, &["enabled is false", "401 key_disabled"]),
        (good("site", now() - 60, "", Signer::Secret(SECRET)), "", 1, &["is refused: exp is past", "401 scoped_token_expired"]),
        (good("plain", now(), "", Signer::Secret(SECRET)), "", 1, &["is refused: its kid is not the id of a key with scoped_tokens", "401 invalid_scoped_token"]),
    ] {
        let arguments: Vec<&str> = ["explain", "policy.json", "--key-file", "-"].into_iter().chain(arguments.split(' ').filter(|word| !word.is_empty())).collect();
        let (shown, error, found) = keyfence(folder.path(), &arguments, &text);
        assert_eq!((error.as_str(), found), ("", code), "{arguments:?}: {shown}");
        for part in expected {
            assert!(shown.contains(part), "{part:?} is not in\n{shown}");
        }
        assert!(!shown.contains(&text), "{shown}");
    }
    let (_, error, code) = keyfence(folder.path(), &["explain", "policy.json", "--key-id", "pair"], "");
    assert_eq!(code, 2);
    assert!(error.contains("the key \"pair\" has no api_key; give a token"), "{error}");
}

#[test]
#[rustfmt::skip]
fn find_names_the_key_of_a_token() {
    let folder = folder();
    let good = |kid, at, secret| good(kid, at, r#""sub":"alice""#, Signer::Secret(secret));
    for (text, expected) in [
        (good("site", now(), SECRET), "site, scoped tokens: enabled; the text has a token of it, which has not expired\n"),
        (format!("curl -H 'Authorization: Bearer {}' https://api.example", good("site", now(), SECRET)), "site, scoped tokens: enabled; the text has a token of it, which has not expired\n"),
        (format!("GET /v1?api_key={}&q=1 HTTP/1.1", good("off", now(), SECRET)), "off, scoped tokens: disabled; the text has a token of it, which has not expired\n"),
        (good("site", 1, SECRET), "site, scoped tokens: enabled; the token is refused: keyfence token inspect says why\n"),
        (good("site", now(), b"forged"), "site, scoped tokens: enabled; the token is refused: keyfence token inspect says why\n"),
        (good("nobody", now(), SECRET), ""),
        (format!("SECRET={}", base64url(OTHER_SECRET)), "site, scoped tokens: enabled; the text has a secret with which anybody makes tokens: take it out of secrets\n"),
    ] {
        let (shown, error, code) = keyfence(folder.path(), &["find", "policy.json"], &text);
        assert_eq!(code, i32::from(expected.is_empty()), "{text}: {error}");
        assert_eq!(shown.split_once(": ").map_or("", |(_, rest)| rest), expected, "{text}");
    }
}
