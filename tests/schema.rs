//! The JSON Schema that is committed is that of the types, lets every policy through that is in order, and none with a wrong type or
//! name.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use serde_json::Value;

const SCHEMA: &str = include_str!("../envoy/policy.schema.json");

fn faults(policy: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let policy: Value = serde_json::from_str(policy).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator
        .iter_errors(&policy)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let current = format!("{:#}\n", keyfence_core::config::schema::policy());
    assert!(SCHEMA == current, "keyfence schema >envoy/policy.schema.json");
}

/// The policies under `envoy`: files named for it.
fn examples(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            found.extend(examples(&path));
        } else if name.starts_with("policy") && name.ends_with(".json") && !name.ends_with(".schema.json") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_example_policy_validates() {
    for path in examples(&Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy")) {
        let policy = fs::read_to_string(&path).unwrap();
        assert_eq!(faults(&policy), [""; 0], "{}", path.display());
    }
}

const KEY: &str =
    r#""id": "one", "api_key": "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed""#;

/// What the filter takes.
#[rustfmt::skip]
const RIGHT: &[(&str, &str)] = &[
    ("nothing", "{}"),
    ("a schema", r#"{"$schema": "policy.schema.json"}"#),
    ("sources", r#"{"key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}, {"websocket_protocol": "api-key."}]}"#),
    ("a key with all", r#"{"keys": [{KEY, "name": "One", "kind": "publishable", "enabled": true, "not_before": "2026-01-01T00:00:00Z",
        "expires_at": "2099-01-01T00:00:00Z", "allowed_origins": ["https://yourapp.com", "https://*.yourapp.com:*", "http://[::1]:3000", "*", "null"],
        "origin_check": "if_present", "allowed_ips": ["192.168.1.0/24", "::1", "2001:db8::/32"], "scopes": ["search"], "indexes": ["products", "a-*"],
        "rate_limit_per_minute": 600, "rate_limit_per_minute_per_client": 60, "enforcement": "report"}], "scopes": {"search": [{"methods": ["GET", "*"], "path": "/v1/{index}/**"}]}}"#),
    ("a rotated key", r#"{"keys": [{"id": "one", "api_key": ["a raw key of some bytes", "another raw key of some"]}]}"#),
    ("entries", r#"{"keys": [{"id": "one", "api_key": {"key": "a raw key of some bytes"}}, {"id": "two", "api_key": ["another raw key of some",
        {"key": "yet another raw key of", "label": "2026-11", "expires_at": "2099-01-01T00:00:00Z"}]}]}"#),
    ("scoped tokens", r#"{"keys": [{"id": "one", "scoped_tokens": {"secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ"], "max_lifetime_seconds": 60,
        "not_before": "2026-01-01T00:00:00Z", "public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "use": "sig", "alg": "EdDSA", "key_ops": ["verify"], "kid": "a", "ext": true}]}}]}"#),
    ("scoped tokens beside a key", r#"{"keys": [{KEY, "scoped_tokens": {"secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ"]}}]}"#),
    ("headers for the upstream", r#"{"upstream_header_names": ["X-Plan", "X-Tier"], "keys": [{KEY, "upstream_headers": {"X-Plan": "gold, \t1", "x-tier": ""}}],
        "anonymous": {"upstream_headers": {}}}"#),
    ("origins", r#"{"keys": [{KEY, "allowed_origins": ["https://app-*-team.yourapp.com", "http://*.localhost:3000", "capacitor://localhost", "app://.", "qrc://",
        "file:///a", "moz-extension://*", "safari-web-extension://0D2A3B4C"]}]}"#),
    ("a readable name", r#"{"keys": [{KEY, "name": "お店 # 1: \"a\" \u202e \u200d 😀"}], "anonymous": {"name": ""}}"#),
    ("a double", r#"{"keys": [{KEY, "rate_limit_per_minute": 6e2}]}"#),
    ("anonymous", r#"{"anonymous": {"allowed_origins": [], "name": "Anybody", "rate_limit_per_minute": 2, "rate_limit_per_minute_per_client": 1}}"#),
    ("cors", r#"{"cors": {"allow_methods": ["GET"], "allow_headers": [], "expose_headers": ["X-A"], "allow_credentials": false, "max_age": 0}}"#),
    ("security headers", r#"{"security_headers": {"preset": "owasp", "set": {"X-A": "b", "X-B": null, "X-C": {"value": "d", "mode": "if_absent"}},
        "content_security_policy": {"default-src": ["'self'"], "upgrade-insecure-requests": []}, "remove": ["Server"]}}"#),
    ("the rest", r#"{"client_ip": "forwarded", "identity_header": "X-Id", "forward_api_key": false, "enforcement": "report", "docs_url": "https://a.example"}"#),
    ("no identity header", r#"{"identity_header": null}"#),
    ("a feed", r#"{"keys_from": {"cluster": "keyfence_control"}}"#),
    ("a feed with all", r#"{"keys_from": {"cluster": "outbound|8080||keyfence-control.ns.svc.cluster.local", "authority": "[2001:db8::1]:8080",
        "path": "/a%20b/-._~!$&'()*+,;=:@", "token_env": "FEED_TOKEN", "wait_seconds": 50, "max_stale_seconds": 4294967295}}"#),
    ("a feed with the least", r#"{"keys_from": {"cluster": "!", "authority": "a", "path": "/", "token": "aZ09-._~+/==", "wait_seconds": 1, "max_stale_seconds": 6}}"#),
];

/// What the filter refuses for its type or name.
#[rustfmt::skip]
const WRONG: &[(&str, &str)] = &[
    ("a list", "[]"),
    ("unknown field", r#"{"key": []}"#),
    ("unknown field of a key", r#"{"keys": [{KEY, "allowed_origin": []}]}"#),
    ("neither a key nor tokens", r#"{"keys": [{"id": "one"}]}"#),
    ("tokens without anything that verifies", r#"{"keys": [{"id": "one", "scoped_tokens": {"max_lifetime_seconds": 60}}]}"#),
    ("tokens with empty lists", r#"{"keys": [{"id": "one", "scoped_tokens": {"secrets": [], "public_keys": []}}]}"#),
    ("a short secret", r#"{"keys": [{"id": "one", "scoped_tokens": {"secrets": ["abc"]}}]}"#),
    ("a secret with padding", r#"{"keys": [{"id": "one", "scoped_tokens": {"secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ="]}}]}"#),
    ("a private key", r#"{"keys": [{"id": "one", "scoped_tokens": {"public_keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}}]}"#),
    ("a public key of another type", r#"{"keys": [{"id": "one", "scoped_tokens": {"public_keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}]}}]}"#),
    ("key_ops as a text", r#"{"keys": [{"id": "one", "scoped_tokens": {"public_keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "key_ops": "verify"}]}}]}"#),
    ("no lifetime", r#"{"keys": [{"id": "one", "scoped_tokens": {"secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ"], "max_lifetime_seconds": 0}}]}"#),
    ("tokens of anonymous", r#"{"anonymous": {"scoped_tokens": {"secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ"]}}}"#),
    ("unknown field of anonymous", r#"{"anonymous": {"kind": "secret"}}"#),
    ("unknown field of a source", r#"{"key_sources": [{"headers": "X-API-Key"}]}"#),
    ("unknown field of a rule", r#"{"scopes": {"search": [{"methods": ["GET"], "path": "/", "paths": []}]}}"#),
    ("unknown field of cors", r#"{"cors": {"allowed_methods": []}}"#),
    ("unknown field of security_headers", r#"{"security_headers": {"presets": "api"}}"#),
    ("unknown field of a header", r#"{"security_headers": {"set": {"X-A": {"value": "b", "Mode": "if_absent"}}}}"#),
    ("keys: an object", r#"{"keys": {}}"#),
    ("keys: null", r#"{"keys": null}"#),
    ("key: a string", r#"{"keys": ["one"]}"#),
    ("no id", r#"{"keys": [{"api_key": "a raw key of some bytes"}]}"#),
    ("no api_key", r#"{"keys": [{"id": "one"}]}"#),
    ("id: a boolean", r#"{"keys": [{"id": true, "api_key": "a raw key of some bytes"}]}"#),
    ("id: ill-formed", r#"{"keys": [{"id": "a b", "api_key": "a raw key of some bytes"}]}"#),
    ("api_key: a number", r#"{"keys": [{"id": "one", "api_key": 7}]}"#),
    ("api_key: empty", r#"{"keys": [{"id": "one", "api_key": ""}]}"#),
    ("api_key: an empty list", r#"{"keys": [{"id": "one", "api_key": []}]}"#),
    ("name: a number", r#"{"keys": [{KEY, "name": 1}]}"#),
    ("name: a line feed", r#"{"keys": [{KEY, "name": "a\n"}]}"#),
    ("name: a tab", r#"{"anonymous": {"name": "a\tb"}}"#),
    ("name: DEL", r#"{"keys": [{KEY, "name": "a\u007Fb"}]}"#),
    ("name: a next line", r#"{"keys": [{KEY, "name": "a\u0085b"}]}"#),
    ("name: C1", r#"{"keys": [{KEY, "name": "\u009F"}]}"#),
    ("name: a line separator", r#"{"keys": [{KEY, "name": "a\u2028b"}]}"#),
    ("name: a paragraph separator", r#"{"anonymous": {"name": "a\u2029b"}}"#),
    ("enabled: a string", r#"{"keys": [{KEY, "enabled": "yes"}]}"#),
    ("kind: neither", r#"{"keys": [{KEY, "kind": "public"}]}"#),
    ("kind: null", r#"{"keys": [{KEY, "kind": null}]}"#),
    ("origin_check: none of the three", r#"{"keys": [{KEY, "origin_check": "strict"}]}"#),
    ("allowed_origins: a string", r#"{"keys": [{KEY, "allowed_origins": "https://yourapp.com"}]}"#),
    ("allowed_origins: a slash", r#"{"keys": [{KEY, "allowed_origins": ["https://yourapp.com/"]}]}"#),
    ("allowed_origins: upper case", r#"{"keys": [{KEY, "allowed_origins": ["https://YourApp.com"]}]}"#),
    ("allowed_origins: two in one", r#"{"keys": [{KEY, "allowed_origins": ["app://a,app://b"]}]}"#),
    ("allowed_origins: no scheme", r#"{"keys": [{KEY, "allowed_origins": ["yourapp.com"]}]}"#),
    ("allowed_ips: null", r#"{"keys": [{KEY, "allowed_ips": null}]}"#),
    ("allowed_ips: a number", r#"{"keys": [{KEY, "allowed_ips": [10]}]}"#),
    ("expires_at: a number", r#"{"keys": [{KEY, "expires_at": 1798761600}]}"#),
    ("scopes of a key: a string", r#"{"keys": [{KEY, "scopes": "search"}]}"#),
    ("indexes: null", r#"{"keys": [{KEY, "indexes": null}]}"#),
    ("limit: a string", r#"{"keys": [{KEY, "rate_limit_per_minute": "600"}]}"#),
    ("limit: a fraction", r#"{"keys": [{KEY, "rate_limit_per_minute": 1.5}]}"#),
    ("limit: zero", r#"{"keys": [{KEY, "rate_limit_per_minute": 0}]}"#),
    ("limit of each client: zero", r#"{"keys": [{KEY, "rate_limit_per_minute_per_client": 0}]}"#),
    ("limit of each client: a fraction", r#"{"anonymous": {"rate_limit_per_minute_per_client": 0.5}}"#),
    ("limit: null", r#"{"keys": [{KEY, "rate_limit_per_minute": null}]}"#),
    ("enforcement: neither", r#"{"enforcement": "log"}"#),
    ("anonymous: null", r#"{"anonymous": null}"#),
    ("key_sources: empty", r#"{"key_sources": []}"#),
    ("key_sources: header and query", r#"{"key_sources": [{"header": "X-API-Key", "query": "api_key"}]}"#),
    ("key_sources: a scheme alone", r#"{"key_sources": [{"scheme": "Bearer"}]}"#),
    ("key_sources: nothing", r#"{"key_sources": [{}]}"#),
    ("scopes: a list", r#"{"scopes": []}"#),
    ("rule: no methods", r#"{"scopes": {"search": [{"methods": [], "path": "/"}]}}"#),
    ("rule: no path", r#"{"scopes": {"search": [{"methods": ["GET"]}]}}"#),
    ("a header that is no token", r#"{"cors": {"allow_headers": ["X A"]}}"#),
    ("max_age: over a day", r#"{"cors": {"max_age": 86401}}"#),
    ("allow_credentials: a string", r#"{"cors": {"allow_credentials": "true"}}"#),
    ("preset: none of the four", r#"{"security_headers": {"preset": "strict"}}"#),
    ("header: a list", r#"{"security_headers": {"set": {"X-A": ["b"]}}}"#),
    ("header: no value", r#"{"security_headers": {"set": {"X-A": {"mode": "if_absent"}}}}"#),
    ("mode: neither", r#"{"security_headers": {"set": {"X-A": {"value": "b", "mode": "append"}}}}"#),
    ("CSP: a string", r#"{"security_headers": {"content_security_policy": "default-src 'self'"}}"#),
    ("CSP: a directive that is a string", r#"{"security_headers": {"content_security_policy": {"default-src": "'self'"}}}"#),
    ("remove: a string", r#"{"security_headers": {"remove": "Server"}}"#),
    ("client_ip: neither", r#"{"client_ip": "header"}"#),
    ("forward_api_key: a string", r#"{"forward_api_key": "no"}"#),
    ("identity_header: false", r#"{"identity_header": false}"#),
    ("upstream_header_names: a string", r#"{"upstream_header_names": "X-Plan"}"#),
    ("upstream_header_names: no token", r#"{"upstream_header_names": [":path"]}"#),
    ("upstream_headers: a list", r#"{"anonymous": {"upstream_headers": []}}"#),
    ("upstream_headers: a number", r#"{"upstream_header_names": ["X-Plan"], "anonymous": {"upstream_headers": {"X-Plan": 1}}}"#),
    ("upstream_headers: a line break", r#"{"upstream_header_names": ["X-Plan"], "anonymous": {"upstream_headers": {"X-Plan": "a\nb"}}}"#),
    ("upstream_headers: a space behind", r#"{"upstream_header_names": ["X-Plan"], "anonymous": {"upstream_headers": {"X-Plan": "a "}}}"#),
    ("entry: no key", r#"{"keys": [{"id": "one", "api_key": {"label": "a"}}]}"#),
    ("entry: unknown field", r#"{"keys": [{"id": "one", "api_key": [{"key": "a raw key of some bytes", "lable": "a"}]}]}"#),
    ("entry: a label with a space", r#"{"keys": [{"id": "one", "api_key": {"key": "a raw key of some bytes", "label": "a b"}}]}"#),
    ("entry: no date", r#"{"keys": [{"id": "one", "api_key": {"key": "a raw key of some bytes", "expires_at": 1}}]}"#),
    ("keys_from: a list", r#"{"keys_from": ["keyfence_control"]}"#),
    ("keys_from: null", r#"{"keys_from": null}"#),
    ("keys_from: no cluster", r#"{"keys_from": {"token_env": "A"}}"#),
    ("keys_from: unknown field", r#"{"keys_from": {"cluster": "a", "wait": 5}}"#),
    ("keys_from: two tokens", r#"{"keys_from": {"cluster": "a", "token": "a", "token_env": "A"}}"#),
    ("keys_from: cluster: null", r#"{"keys_from": {"cluster": null}}"#),
    ("keys_from: authority: a number", r#"{"keys_from": {"cluster": "a", "authority": 8080}}"#),
    ("keys_from: path: null", r#"{"keys_from": {"cluster": "a", "path": null}}"#),
    ("keys_from: token: a number", r#"{"keys_from": {"cluster": "a", "token": 1}}"#),
    ("keys_from: token: null", r#"{"keys_from": {"cluster": "a", "token": null}}"#),
    ("keys_from: token_env: a boolean", r#"{"keys_from": {"cluster": "a", "token_env": true}}"#),
    ("keys_from: wait_seconds: a fraction", r#"{"keys_from": {"cluster": "a", "wait_seconds": 1.5}}"#),
    ("keys_from: wait_seconds: a string", r#"{"keys_from": {"cluster": "a", "wait_seconds": "10"}}"#),
    ("keys_from: wait_seconds: 0", r#"{"keys_from": {"cluster": "a", "wait_seconds": 0}}"#),
    ("keys_from: wait_seconds: 51", r#"{"keys_from": {"cluster": "a", "wait_seconds": 51}}"#),
    ("keys_from: max_stale_seconds: less than any answer takes", r#"{"keys_from": {"cluster": "a", "wait_seconds": 1, "max_stale_seconds": 5}}"#),
    ("keys_from: max_stale_seconds: too large", r#"{"keys_from": {"cluster": "a", "max_stale_seconds": 4294967296}}"#),
    ("keys_from: max_stale_seconds: null", r#"{"keys_from": {"cluster": "a", "max_stale_seconds": null}}"#),
    ("docs_url: a number", r#"{"docs_url": 1}"#),
    ("docs_url: null", r#"{"docs_url": null}"#),
    ("$schema: a number", r#"{"$schema": 1}"#),
];

/// The filter has the last word on each row, so that schema and filter cannot part.
fn is_refused(policy: &str) -> bool {
    Policy::load(policy.as_bytes(), Timestamp(0)).is_err()
}

#[test]
fn the_schema_lets_through_what_the_filter_takes() {
    for (name, policy) in RIGHT {
        let policy = policy.replace("KEY", KEY);
        assert!(!is_refused(&policy), "{name}");
        assert_eq!(faults(&policy), [""; 0], "{name}");
    }
}

#[test]
fn the_schema_refuses_wrong_types_and_names() {
    for (name, policy) in WRONG {
        let policy = policy.replace("KEY", KEY);
        assert!(is_refused(&policy), "{name}");
        assert_ne!(faults(&policy), [""; 0], "{name}");
    }
}

/// Of every character up to the end of the general punctuation, which has the last of those in question.
#[test]
fn the_schema_refuses_the_same_characters_in_a_name() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut refused = String::new();
    for c in '\0'..='\u{206F}' {
        let policy = serde_json::json!({"anonymous": {"name": format!("a{c}b")}});
        assert_eq!(is_refused(&policy.to_string()), !validator.is_valid(&policy), "{c:?}");
        refused.extend((!validator.is_valid(&policy)).then_some(c));
    }
    let expected = ('\0'..='\u{1F}')
        .chain('\u{7F}'..='\u{9F}')
        .chain(['\u{2028}', '\u{2029}']);
    assert_eq!(refused, String::from_iter(expected));
}

/// Each text of `keys_from` at its limits: every ASCII character, alone, first, in the middle and last, one beyond ASCII, and the lengths.
#[test]
fn the_schema_takes_the_same_texts_of_a_feed() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (field, first, longest) in [
        ("cluster", "a", 255),
        ("authority", "a", 255),
        ("path", "/", 1_024),
        ("token", "a", 4_096),
        ("token_env", "A", 255),
    ] {
        let characters = ('\0'..='\u{80}').chain(['é', '\u{2028}', '😀']);
        let mut texts: Vec<String> = characters
            .flat_map(|c| {
                [
                    c.into(),
                    format!("{first}{c}"),
                    format!("{first}{c}a"),
                    format!("{c}{first}"),
                ]
            })
            .collect();
        for length in [0, 1, longest - 1, longest, longest + 1] {
            texts.push(first.chars().cycle().take(length).collect());
        }
        let (mut taken, count) = (0, texts.len());
        for text in texts {
            let mut policy = serde_json::json!({"keys_from": {"cluster": "a"}});
            policy["keys_from"][field] = text.clone().into();
            let is_valid = validator.is_valid(&policy);
            assert_eq!(is_refused(&policy.to_string()), !is_valid, "{field}: {text:?}");
            taken += usize::from(is_valid);
        }
        assert!((100..count - 100).contains(&taken), "{field}: {taken} of {count}");
    }
}
