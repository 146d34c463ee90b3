//! The programs of `envoy/scoped-tokens/README.md` make tokens that are accepted. A language is skipped where it or its library is missing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

mod document;
mod language;
#[path = "../harness/skipped.rs"]
mod skipped;
mod token;

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tempfile::tempdir;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use language::{GO, JAVASCRIPT, Language, PHP, PYTHON};
use skipped::skip;
use token::{Verifier, accept};

const SEED: [u8; 32] = [7; 32];

/// Its base64url has both characters that base64 has not.
fn secret() -> Vec<u8> {
    let secret: Vec<u8> = (0..32).map(|index| 0xFB_u8.wrapping_add(index * 4)).collect();
    let text = BASE64_URL_SAFE_NO_PAD.encode(&secret);
    assert!(text.contains('-') && text.contains('_'), "{text}");
    secret
}

/// The PEM file of [`SEED`] (RFC 8410, section 7).
fn private_key() -> String {
    let head = b"\x30\x2E\x02\x01\x00\x30\x05\x06\x03\x2B\x65\x70\x04\x22\x04\x20";
    let body = BASE64_STANDARD.encode([&head[..], &SEED].concat());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

fn make_tokens(language: &Language) {
    if let Err(missing) = language.find() {
        skip(&format!("tokens made with {}: {missing}", language.name));
        return;
    }
    let secret = secret();
    let public_key = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let public_key = public_key.public_key().as_ref();
    for (verifier, program) in [
        (Verifier::Secret(&secret), document::block(language.fence)),
        (
            Verifier::PublicKey(public_key),
            document::ed25519_program(language.fence),
        ),
    ] {
        let printed = language.run(
            &program,
            &[
                ("KEYFENCE_TOKEN_SECRET", &BASE64_URL_SAFE_NO_PAD.encode(&secret)),
                ("KEYFENCE_TOKEN_KEY", &private_key()),
            ],
        );
        let claims = accept(printed.trim_end(), "shop", verifier)
            .unwrap_or_else(|error| panic!("{}: {error}: {printed}\n{program}", language.name));
        assert_eq!(claims["sub"], "user-42", "{claims}");
        assert_eq!(claims["filter"], "tenant=acme", "{claims}");
        assert_eq!(claims["indexes"], serde_json::json!(["products"]), "{claims}");
        let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(lifetime, 900, "{claims}");
    }
}

#[test]
fn javascript() {
    make_tokens(&JAVASCRIPT);
}

#[test]
fn python() {
    make_tokens(&PYTHON);
}

#[test]
fn go() {
    make_tokens(&GO);
}

#[test]
fn php() {
    make_tokens(&PHP);
}

#[test]
fn the_commands_make_keys() {
    if Command::new("openssl").arg("version").output().is_err() {
        skip("making keys for tokens: there is no openssl (Debian: apt-get install openssl)");
        return;
    }
    let folder = tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-euc", &document::block("sh")])
        .current_dir(&folder)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<u8>> = printed
        .lines()
        .map(|line| BASE64_URL_SAFE_NO_PAD.decode(line).unwrap())
        .collect();
    let pem = fs::read_to_string(folder.path().join("token-key.pem")).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&BASE64_STANDARD.decode(body).unwrap()).unwrap();
    let [secret, public_key] = &lines[..] else {
        panic!("{printed}");
    };
    assert_eq!(secret.len(), 32, "{printed}");
    assert_eq!(public_key, key.public_key().as_ref(), "{printed}");
}

/// With a secret in place of the text that stands for one.
#[test]
fn the_policy_loads_without_a_warning() {
    let secret = BASE64_URL_SAFE_NO_PAD.encode(secret());
    let policy = document::block("json").replace("<43 or more characters of base64url>", &secret);
    let loaded = Policy::load(policy.as_bytes(), Timestamp(0)).unwrap_or_else(|e| panic!("{:?}", e.errors()));
    assert_eq!(loaded.diagnostics.warnings(), []);
}

/// The check that the others rely on refuses what the gateway refuses.
#[test]
#[rustfmt::skip]
fn what_is_wrong_is_not_accepted() {
    let secret = secret();
    let now = token::now();
    let claims = |iat: i64, exp: i64| serde_json::json!({"iat": iat, "exp": exp});
    let header = serde_json::json!({"alg": "HS256", "kid": "shop"});
    for (name, header, claims, signed_with, is_accepted) in [
        ("right", header.clone(), claims(now, now + 9), &secret[..], true),
        (
            "another key",
            serde_json::json!({"alg": "HS256", "kid": "other"}),
            claims(now, now + 9),
            &secret[..],
            false,
        ),
        (
            "no key",
            serde_json::json!({"alg": "HS256"}),
            claims(now, now + 9),
            &secret[..],
            false,
        ),
        (
            "another algorithm",
            serde_json::json!({"alg": "EdDSA", "kid": "shop"}),
            claims(now, now + 9),
            &secret[..],
            false,
        ),
        ("another secret", header.clone(), claims(now, now + 9), b"secret", false),
        (
            "the text of the secret",
            header.clone(),
            claims(now, now + 9),
            BASE64_URL_SAFE_NO_PAD.encode(&secret).as_bytes(),
            false,
        ),
        (
            "milliseconds",
            header.clone(),
            claims(now * 1_000, now * 1_000 + 9),
            &secret[..],
            false,
        ),
        ("expired", header.clone(), claims(now - 9, now - 1), &secret[..], false),
        (
            "longer than a day",
            header.clone(),
            claims(now, now + 86_401),
            &secret[..],
            false,
        ),
        ("no dates", header, serde_json::json!({}), &secret[..], false),
    ] {
        let token = token::signed(&header, &claims, signed_with);
        let accepted = accept(&token, "shop", Verifier::Secret(&secret));
        assert_eq!(accepted.is_ok(), is_accepted, "{name}: {accepted:?}");
    }
}
