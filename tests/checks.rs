//! What loading a policy finds wrong with it: each check of the specification's section 13 is a row, and nothing else is found there.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use std::time::{Duration, Instant};

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::config::{Diagnostic, Diagnostics, Severity};
use keyfence_core::policy::Policy;
use serde_json::{Value, json};

/// 2026-07-01.
const NOW: Timestamp = Timestamp(1_782_864_000);

/// SHA-256 of `one` and of `two`.
const ONE: &str = r#""sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed""#;
const TWO: &str = r#""sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3""#;

fn load(text: &str) -> Diagnostics {
    match Policy::load(text.as_bytes(), NOW) {
        Ok(loaded) => loaded.diagnostics,
        Err(diagnostics) => diagnostics,
    }
}

/// One key, which is in order but for what `more` says.
fn key(more: &str) -> String {
    format!(r#"{{"keys": [{{"id": "one", "api_key": {ONE}, {more}}}]}}"#)
}

/// A key without origins, for rows that are about something else.
fn server_key(more: &str) -> String {
    key(&format!(r#""kind": "secret", {more}"#))
}

fn origin(pattern: &str) -> String {
    key(&format!(r#""allowed_origins": ["https://yourapp.com", "{pattern}"]"#))
}

fn network(text: &str) -> String {
    server_key(&format!(r#""allowed_ips": ["192.0.2.7", "{text}"]"#))
}

/// Two keys with these `id` and `api_key`.
fn keys(first: (&str, &str), second: (&str, &str)) -> String {
    let key = |(id, api_key)| format!(r#"{{"id": {id}, "api_key": {api_key}, "kind": "secret"}}"#);
    format!(r#"{{"keys": [{}, {}]}}"#, key(first), key(second))
}

/// One key in the clear.
fn raw(api_key: &str) -> String {
    format!(r#"{{"keys": [{{"id": "one", "api_key": "{api_key}", "kind": "secret"}}]}}"#)
}

/// A key that sets these headers, where X-Plan and X-Tier are listed.
fn upstream(headers: &str) -> String {
    let key = server_key(&format!(r#""upstream_headers": {{{headers}}}"#));
    key.replacen('{', r#"{"upstream_header_names": ["X-Tier", "X-Plan"], "#, 1)
}

/// A base64url text of 32 bytes.
const SECRET: &str = "BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ";

/// The `x` of RFC 8037, appendix A.2, and its `d`.
const JWK_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const JWK_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

/// A key with these fields of `scoped_tokens`.
fn tokens(fields: &str) -> String {
    server_key(&format!(r#""scoped_tokens": {{{fields}}}"#))
}

/// A key with one public key, of these members.
fn jwk(members: &str) -> String {
    tokens(&format!(r#""public_keys": [{{{members}}}]"#))
}

/// A feed with a token, and with these fields.
fn feed(fields: &str) -> String {
    format!(r#"{{"keys_from": {{"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN", {fields}}}}}"#)
}

/// A feed that gets its token in this way.
fn feed_token(field: &str) -> String {
    format!(r#"{{"keys_from": {{"cluster": "keyfence_control", {field}}}}}"#)
}

/// A feed of this cluster.
fn feed_cluster(cluster: &str) -> String {
    format!(r#"{{"keys_from": {{"cluster": "{cluster}", "token_env": "KEYFENCE_FEED_TOKEN"}}}}"#)
}

/// One key with this `api_key`.
fn entry(api_key: &str) -> String {
    format!(r#"{{"keys": [{{"id": "one", "kind": "secret", "api_key": {api_key}}}]}}"#)
}

fn rule(rule: &str) -> String {
    format!(r#"{{"anonymous": {{}}, "scopes": {{"search": [{rule}]}}}}"#)
}

fn cors(more: &str) -> String {
    format!(r#"{{"anonymous": {{}}, "cors": {{{more}}}}}"#)
}

fn headers(more: &str) -> String {
    format!(r#"{{"anonymous": {{}}, "security_headers": {{{more}}}}}"#)
}

fn csp(directives: &str) -> String {
    headers(&format!(r#""content_security_policy": {{{directives}}}"#))
}

/// Patterns whose number of ways to match doubles with each segment.
fn exploding_rules() -> String {
    let path = |at| format!("/{}x{}", "*/".repeat(at), "/*".repeat(16 - at));
    let rules: Vec<String> = (0..16)
        .map(|at| format!(r#"{{"methods": ["GET"], "path": "{}"}}"#, path(at)))
        .collect();
    rules.join(",")
}

/// What the configuration is wrong in, the configuration, and the place, reason and help of the one diagnostic.
type Row = (&'static str, String, &'static str, &'static str, &'static str);

#[rustfmt::skip]
fn errors() -> Vec<Row> {
    let more = |text: &str| format!("{{{text}}}");
    vec![
        ("unknown field", more(r#""key_source": []"#), "key_source", "unknown field", "key_sources"),
        ("unknown field of a key", key(r#""allowed_origin": ["https://yourapp.com"]"#), "keys[0].allowed_origin", "unknown field", "allowed_origins"),
        ("unknown field of anonymous", more(r#""anonymous": {"kind": "secret"}"#), "anonymous.kind", "unknown field", "take it out"),
        ("unknown field of cors", cors(r#""allowed_methods": []"#), "cors.allowed_methods", "unknown field", "allow_methods"),
        ("unknown field of a source", more(r#""key_sources": [{"headers": "X-API-Key"}]"#), "key_sources[0].headers", "unknown field", "header"),
        ("unknown field of a rule", rule(r#"{"methods": ["GET"], "path": "/", "paths": []}"#), "scopes.search[0].paths", "unknown field", "path"),
        ("unknown field of security_headers", headers(r#""presets": "api""#), "security_headers.presets", "unknown field", "preset"),
        ("unknown field of a header", headers(r#""set": {"X-A": {"value": "b", "Mode": "if_absent"}}"#), "security_headers.set.X-A.Mode", "unknown field", "mode"),
        ("field twice", more(r#""client_ip": "peer", "client_ip": "peer""#), "client_ip", "duplicate field", "keep one"),
        ("scope twice", more(r#""scopes": {"a": [], "a": []}"#), "scopes.a", "duplicate field", "keep one"),

        ("no object", "[]".into(), "", "expected an object, found a list", "write an object"),
        ("keys: an object", more(r#""keys": {}"#), "keys", "expected a list, found an object", "write a list"),
        ("key: a string", more(r#""keys": ["one"]"#), "keys[0]", "expected an object, found a string", "write an object"),
        ("id: a boolean, as YAML makes of on", keys(("true", ONE), (r#""two""#, TWO)), "keys[0].id", "expected a string, found a boolean", "in quotes: YAML"),
        ("id: a number", keys(("7", ONE), (r#""two""#, TWO)), "keys[0].id", "expected a string, found a number", "in quotes"),
        ("api_key: a number", keys((r#""one""#, "7"), (r#""two""#, TWO)), "keys[0].api_key", "expected a string or a list of strings, found a number", "write a string"),
        ("api_key: a list with a number", keys((r#""one""#, "[7]"), (r#""two""#, TWO)), "keys[0].api_key[0]", "expected a string, found a number", "in quotes"),
        ("enabled: a string", server_key(r#""enabled": "yes""#), "keys[0].enabled", "expected true or false, found a string", "write true or false"),
        ("allowed_origins: a string", key(r#""allowed_origins": "https://yourapp.com""#), "keys[0].allowed_origins", "expected a list, found a string", "write a list"),
        ("allowed_ips: null", server_key(r#""allowed_ips": null"#), "keys[0].allowed_ips", "expected a list, found null", "leave the field out"),
        ("expires_at: a number", server_key(r#""expires_at": 1798761600"#), "keys[0].expires_at", "expected a string, found a number", "in quotes"),
        ("kind: neither", key(r#""kind": "publishible""#), "keys[0].kind", "publishable, secret", "did you mean \"publishable\"?"),
        ("origin_check: none of the four", server_key(r#""origin_check": "strict""#), "keys[0].origin_check", "required, required_or_same_origin, if_present, cors_only", "write one of these"),
        ("enforcement: neither", more(r#""enforcement": "Report""#), "enforcement", "enforce, report", "did you mean \"report\"?"),
        ("client_ip: neither", more(r#""client_ip": "forward""#), "client_ip", "peer, forwarded, forwarded_or_peer", "did you mean \"forwarded\"?"),
        ("preset: none of the four", headers(r#""preset": "OWASP""#), "security_headers.preset", "default, owasp, api, none", "did you mean \"owasp\"?"),
        ("mode: neither", headers(r#""set": {"X-A": {"value": "b", "mode": "append"}}"#), "security_headers.set.X-A.mode", "overwrite, if_absent", "write one of these"),
        ("header: no value", headers(r#""set": {"X-A": {"mode": "if_absent"}}"#), "security_headers.set.X-A", "value is missing", "add value"),
        ("header: a list", headers(r#""set": {"X-A": ["b"]}"#), "security_headers.set.X-A", "expected a string, an object with value and mode, or null", "write a string"),
        ("name: a line break", key(r#""allowed_origins": ["https://yourapp.com"], "name": "a\r\nb""#), "keys[0].name", "must not contain control characters", "on one line"),
        ("name: NUL", key(r#""allowed_origins": ["https://yourapp.com"], "name": "\u0000""#), "keys[0].name", "must not contain control characters", "on one line"),
        ("name: DEL", server_key("\"name\": \"a\u{7F}\""), "keys[0].name", "must not contain control characters", "on one line"),
        ("name: U+0085", server_key("\"name\": \"a\u{85}b\""), "keys[0].name", "or line breaks", "on one line"),
        ("name: U+2028", server_key("\"name\": \"a\u{2028}b\""), "keys[0].name", "or line breaks", "on one line"),
        ("name of anonymous: U+2029", more(r#""anonymous": {"name": "\u2029"}"#), "anonymous.name", "or line breaks", "on one line"),

        ("scopes: a list", more(r#""scopes": []"#), "scopes", "expected an object, found a list", "write an object"),
        ("docs_url: relative", more(r#""docs_url": "docs.example.com/errors""#), "docs_url", "absolute http or https URL", "https://docs.example.com/errors"),
        ("docs_url: no host", more(r#""docs_url": "https://""#), "docs_url", "absolute http or https URL", "https://docs.example.com/errors"),
        ("docs_url: a path for its host", more(r#""docs_url": "https:///errors""#), "docs_url", "absolute http or https URL", "https://docs.example.com/errors"),
        ("docs_url: a fragment", more(r#""docs_url": "https://docs.example.com/#errors""#), "docs_url", "without a fragment", "https://docs.example.com/errors"),
        ("docs_url: a space", more(r#""docs_url": "https://docs.example.com/all errors""#), "docs_url", "absolute http or https URL", "https://docs.example.com/errors"),

        ("id: missing", more(&format!(r#""keys": [{{"api_key": {ONE}, "kind": "secret"}}]"#)), "keys[0]", "id is missing", "add id"),
        ("id: a space", keys((r#""key one""#, ONE), (r#""two""#, TWO)), "keys[0].id", "1 to 64 characters of A-Z a-z 0-9 . _ -", "only these characters"),
        ("id: empty", keys((r#""""#, ONE), (r#""two""#, TWO)), "keys[0].id", "1 to 64", "only these characters"),
        ("id: 65 characters", keys((&format!("\"{}\"", "a".repeat(65)), ONE), (r#""two""#, TWO)), "keys[0].id", "1 to 64", "only these characters"),
        ("id: twice", keys((r#""one""#, ONE), (r#""one""#, TWO)), "keys[1].id", "keys[0] has this id already", "an id of its own"),

        ("api_key: missing", more(r#""keys": [{"id": "one", "kind": "secret"}]"#), "keys[0]", "api_key is missing", "add api_key"),
        ("api_key: empty", keys((r#""one""#, r#""""#), (r#""two""#, TWO)), "keys[0].api_key", "must not be empty", "sha256: form"),
        ("api_key: an empty list", keys((r#""one""#, "[]"), (r#""two""#, TWO)), "keys[0].api_key", "must not be empty", "sha256: form"),
        ("api_key: twice", keys((r#""one""#, ONE), (r#""two""#, ONE)), "keys[1].api_key", "keys[0] has this API key already", "of its own"),
        ("api_key: twice in one list", keys((r#""one""#, &format!("[{ONE}, {ONE}]")), (r#""two""#, TWO)), "keys[0].api_key", "keys[0] has this API key already", "of its own"),
        ("api_key: a short sha256:", keys((r#""one""#, r#""sha256:7692c3ad""#), (r#""two""#, TWO)), "keys[0].api_key", "64 hex digits", "keyfence hash"),
        ("api_key: no hex", keys((r#""one""#, &ONE.replace("7692", "769g")), (r#""two""#, TWO)), "keys[0].api_key", "64 hex digits", "keyfence hash"),
        ("api_key: a comma", keys((r#""one""#, r#""key,number,one""#), (r#""two""#, TWO)), "keys[0].api_key", "no request can carry it", "keyfence hash"),

        ("api_key: a variable", raw("${KEYFENCE_API_KEY}"), "keys[0].api_key", "placeholder that nothing has filled in", "fill it in"),
        ("api_key: a scheme and a variable", raw("Bearer ${KEYFENCE_BACKEND_API_KEY}"), "keys[0].api_key", "placeholder", "sha256: form"),
        ("api_key: a chart's template", raw("{{ .Values.apiKey }}"), "keys[0].api_key", "placeholder", "fill it in"),
        ("api_key: a workflow's expression", raw("${{ secrets.API_KEY }}"), "keys[0].api_key", "placeholder", "fill it in"),
        ("api_key: a reference with $", raw("$secret://vault/1/keyfence/key"), "keys[0].api_key", "placeholder", "fill it in"),
        ("api_key: a reference in braces", raw("{vault://env/api-key}"), "keys[0].api_key", "placeholder", "fill it in"),
        ("api_key: a word in angle brackets", raw("<your-api-key>"), "keys[0].api_key", "placeholder", "fill it in"),
        ("api_key: a placeholder in a list", keys((r#""one""#, &format!(r#"[{ONE}, "ak_live_${{KEY}}"]"#)), (r#""two""#, TWO)), "keys[0].api_key[1]", "placeholder", "fill it in"),
        ("api_key: the scheme of the default source", raw("Bearer ak_live_0123456789"), "keys[0].api_key", "the scheme of a key source", "without the scheme"),
        ("api_key: the scheme of a source", more(r#""key_sources": [{"header": "X-API-Key"}, {"header": "X-Auth", "scheme": "Key"}], "keys": [{"id": "one", "api_key": "key ak_live_0123456789", "kind": "secret"}]"#), "keys[0].api_key", "the scheme of a key source", "without the scheme"),
        ("api_key: in quotes", raw(r#"\"ak_live_0123456789\""#), "keys[0].api_key", "quotes would be part", "without them"),
        ("api_key: in single quotes", raw("'ak_live_0123456789'"), "keys[0].api_key", "quotes would be part", "without them"),
        ("api_key: sha512:", raw("sha512:ddaf35a193617abacc417349ae204131"), "keys[0].api_key", "only sha256: marks a hash", "keyfence hash"),
        ("api_key: sha-256:", raw("sha-256:ba7816bf8f01cfea414140de5dae2223"), "keys[0].api_key", "only sha256: marks a hash", "keyfence hash"),
        ("api_key: md5:", raw("md5:900150983cd24fb0d6963f7d28e17f72"), "keys[0].api_key", "only sha256: marks a hash", "keyfence hash"),
        ("api_key: bcrypt", raw("$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"), "keys[0].api_key", "only sha256: marks a hash", "keyfence hash"),
        ("api_key: Argon2", raw("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"), "keys[0].api_key", "only sha256: marks a hash", "keyfence hash"),

        ("key_sources: empty", more(r#""key_sources": []"#), "key_sources", "no request can carry a key", "leave the field out"),
        ("key_sources: header and query", more(r#""key_sources": [{"header": "X-API-Key", "query": "api_key"}]"#), "key_sources[0]", "either a header", r#"{"query": "api_key"}"#),
        ("key_sources: twice", more(r#""key_sources": [{"header": "X-API-Key"}, {"header": "x-api-key"}]"#), "key_sources[1]", "listed already", "keep one"),
        ("key_sources: a header that CGI reads as another", more(r#""key_sources": [{"header": "X-API-Key"}, {"header": "X_API_Key"}]"#), "key_sources[1]", "listed already", "keep one"),
        ("key_sources: a parameter twice", more(r#""key_sources": [{"query": "api_key"}, {"query": "key"}, {"query": "api_key"}]"#), "key_sources[2]", "listed already", "keep one"),
        ("key_sources: a nameless parameter", more(r#""key_sources": [{"query": ""}]"#), "key_sources[0].query", "must have a name", "api_key"),
        ("key_sources: none of the two", more(r#""key_sources": [{}]"#), "key_sources[0]", "either a header", r#"{"query": "api_key"}"#),
        ("key_sources: a scheme twice", more(r#""key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "authorization", "scheme": "BEARER"}]"#), "key_sources[1]", "listed already", "keep one"),
        ("key_sources: a whole header, and a scheme in it", more(r#""key_sources": [{"header": "Authorization"}, {"header": "authorization", "scheme": "Bearer"}]"#), "key_sources[1]", "listed already", "keep one"),
        ("key_sources: a scheme, and the whole header", more(r#""key_sources": [{"header": "X-API-Key", "scheme": "Key"}, {"query": "key"}, {"header": "X-API-Key"}]"#), "key_sources[2]", "listed already", "keep one"),
        ("key_sources: a protocol and a query", more(r#""key_sources": [{"websocket_protocol": "api-key.", "query": "api_key"}]"#), "key_sources[0]", "either a header", r#"{"websocket_protocol": "api-key."}"#),
        ("key_sources: a protocol that is no token", more(r#""key_sources": [{"websocket_protocol": "api key,"}]"#), "key_sources[0].websocket_protocol", "not a token", "letters, digits"),
        ("key_sources: a protocol without a beginning", more(r#""key_sources": [{"websocket_protocol": ""}]"#), "key_sources[0].websocket_protocol", "not a token", "letters, digits"),
        ("key_sources: a protocol that begins as another", more(r#""key_sources": [{"websocket_protocol": "api-key."}, {"websocket_protocol": "api-"}]"#), "key_sources[1]", "listed already", "keep one"),
        ("key_sources: a protocol, and the whole header", more(r#""key_sources": [{"header": "sec-websocket-protocol"}, {"websocket_protocol": "api-key."}]"#), "key_sources[1]", "listed already", "keep one"),
        ("identity_header: the protocols", more(r#""identity_header": "Sec_WebSocket_Protocol""#), "identity_header", "itself", "take it out"),
        ("key_sources: a number", more(r#""key_sources": [{"header": 7}]"#), "key_sources[0].header", "expected a string", "in quotes"),
        ("key_sources: a header with a space", more(r#""key_sources": [{"header": "X API Key"}]"#), "key_sources[0].header", "not a token", "letters, digits"),
        ("key_sources: a scheme with a space", more(r#""key_sources": [{"header": "Authorization", "scheme": "Bearer "}]"#), "key_sources[0].scheme", "not a token", "letters, digits"),

        ("limit: zero", server_key(r#""rate_limit_per_minute": 0"#), "keys[0].rate_limit_per_minute", "whole number from 1", "no limit"),
        ("limit: a fraction", server_key(r#""rate_limit_per_minute": 1.5"#), "keys[0].rate_limit_per_minute", "whole number from 1", "no limit"),
        ("limit: negative", server_key(r#""rate_limit_per_minute": -1"#), "keys[0].rate_limit_per_minute", "whole number from 1", "no limit"),
        ("limit: a string", server_key(r#""rate_limit_per_minute": "600""#), "keys[0].rate_limit_per_minute", "whole number from 1", "no limit"),
        ("limit: over 32 bits", server_key(r#""rate_limit_per_minute": 4294967296"#), "keys[0].rate_limit_per_minute", "whole number from 1", "no limit"),
        ("limit of each client: zero", server_key(r#""rate_limit_per_minute_per_client": 0"#), "keys[0].rate_limit_per_minute_per_client", "whole number from 1", "no limit"),
        ("limit of each client: a string", more(r#""anonymous": {"rate_limit_per_minute_per_client": "6"}"#), "anonymous.rate_limit_per_minute_per_client", "whole number from 1", "no limit"),

        ("not_before: a date alone", server_key(r#""not_before": "2026-01-01""#), "keys[0].not_before", "RFC 3339", "2027-01-01T00:00:00Z"),
        ("expires_at: no such day", server_key(r#""expires_at": "2027-02-29T00:00:00Z""#), "keys[0].expires_at", "RFC 3339", "2027-01-01T00:00:00Z"),
        ("expires_at: as not_before", server_key(r#""not_before": "2027-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z""#), "keys[0].expires_at", "never valid", "later"),

        ("scope: unknown", more(&format!(r#""keys": [{{"id": "one", "api_key": {ONE}, "kind": "secret", "scopes": ["serach"]}}], "scopes": {{"search": []}}"#)), "keys[0].scopes[0]", "no scope of this name", "did you mean \"search\"?"),
        ("scope: of anonymous, unknown", more(r#""anonymous": {"scopes": ["search"]}"#), "anonymous.scopes[0]", "no scope of this name", "define it"),
        ("rule: no methods", rule(r#"{"path": "/"}"#), "scopes.search[0]", "methods is missing", "add methods"),
        ("rule: no path", rule(r#"{"methods": ["GET"]}"#), "scopes.search[0]", "path is missing", "add path"),
        ("rule: methods empty", rule(r#"{"methods": [], "path": "/"}"#), "scopes.search[0].methods", "fits no request", r#"["*"]"#),
        ("rule: a path without its slash", rule(r#"{"methods": ["GET"], "path": "v1/**"}"#), "scopes.search[0].path", "begins with /", "/v1/**"),
        ("rule: ** within", rule(r#"{"methods": ["GET"], "path": "/**/search"}"#), "scopes.search[0].path", "** stands at the end only", "/v1/**"),
        ("rule: .. in its path", rule(r#"{"methods": ["GET"], "path": "/v1/../search"}"#), "scopes.search[0].path", "with . or ..", "/v1/**"),
        ("rule: // in its path", rule(r#"{"methods": ["GET"], "path": "/v1//search"}"#), "scopes.search[0].path", "with //", "/v1/**"),
        ("rule: braces", rule(r#"{"methods": ["GET"], "path": "/v1/{id}"}"#), "scopes.search[0].path", "the one name in braces", "/v1/**"),
        ("rule: * in a segment", rule(r#"{"methods": ["GET"], "path": "/v1/a*"}"#), "scopes.search[0].path", "a whole segment", "/v1/**"),
        ("rule: two indexes", rule(r#"{"methods": ["GET"], "path": "/{index}/{index}"}"#), "scopes.search[0].path", "one {index}", "/v1/**"),
        ("rule: a query", rule(r#"{"methods": ["GET"], "path": "/v1?a=b"}"#), "scopes.search[0].path", "no query", "/v1/**"),
        ("rule: an encoded slash", rule(r#"{"methods": ["GET"], "path": "/v1/a%252fb"}"#), "scopes.search[0].path", "encodes one of /", "/v1/**"),
        ("rule: not UTF-8", rule(r#"{"methods": ["GET"], "path": "/v1/caf%E9"}"#), "scopes.search[0].path", "what is not UTF-8", "/v1/**"),
        ("rule: not ASCII", rule(r#"{"methods": ["GET"], "path": "/bücher"}"#), "scopes.search[0].path", "printable ASCII", "/v1/**"),
        ("rules that no memory holds", more(&format!(r#""anonymous": {{"scopes": ["a"]}}, "scopes": {{"a": [{}]}}"#, exploding_rules())), "anonymous.scopes", "too much memory", "literal segments"),
        ("index: a slash", server_key(r#""scopes": [], "indexes": ["a/b"]"#), "keys[0].indexes[0]", "matches no index", "articles-*"),

        ("origin: empty", origin(""), "keys[0].allowed_origins[1]", "must not be empty", "https://yourapp.com"),
        ("origin: a trailing slash", origin("https://shop.yourapp.com/"), "keys[0].allowed_origins[1]", "must not end in a slash", "write \"https://shop.yourapp.com\""),
        ("origin: a path", origin("https://shop.yourapp.com/cart"), "keys[0].allowed_origins[1]", "must not have a path", "write \"https://shop.yourapp.com\""),
        ("origin: a query", origin("https://shop.yourapp.com?a=b"), "keys[0].allowed_origins[1]", "must not have a query", "write \"https://shop.yourapp.com\""),
        ("origin: a fragment", origin("https://shop.yourapp.com#a"), "keys[0].allowed_origins[1]", "must not have a fragment", "write \"https://shop.yourapp.com\""),
        ("origin: user info", origin("https://me@shop.yourapp.com"), "keys[0].allowed_origins[1]", "must not contain user info", "write \"https://shop.yourapp.com\""),
        ("origin: no scheme", origin("shop.yourapp.com"), "keys[0].allowed_origins[1]", "must begin with its scheme", "write \"https://shop.yourapp.com\""),
        ("origin: no scheme's characters", origin("ht_tps://shop.yourapp.com"), "keys[0].allowed_origins[1]", "a scheme is a letter", "https://yourapp.com"),
        ("origin: no host", origin("https://"), "keys[0].allowed_origins[1]", "must have a host", "https://yourapp.com"),
        ("origin: upper case", origin("https://Shop.yourapp.com"), "keys[0].allowed_origins[1]", "lower case", "write \"https://shop.yourapp.com\""),
        ("origin: the default port", origin("https://shop.yourapp.com:443"), "keys[0].allowed_origins[1]", "default port", "write \"https://shop.yourapp.com\""),
        ("origin: port 0", origin("https://shop.yourapp.com:0"), "keys[0].allowed_origins[1]", "1 to 65535", "http://localhost:*"),
        ("origin: a port over 65535", origin("https://shop.yourapp.com:65536"), "keys[0].allowed_origins[1]", "1 to 65535", "http://localhost:*"),
        ("origin: a port with a leading zero", origin("https://shop.yourapp.com:08443"), "keys[0].allowed_origins[1]", "without leading zeros", "write \"https://shop.yourapp.com:8443\""),
        ("origin: a trailing dot", origin("https://shop.yourapp.com."), "keys[0].allowed_origins[1]", "trailing dot", "write \"https://shop.yourapp.com\""),
        ("origin: an empty label", origin("https://shop..yourapp.com"), "keys[0].allowed_origins[1]", "empty label", "https://yourapp.com"),
        ("origin: a long label", origin(&format!("https://{}.com", "a".repeat(64))), "keys[0].allowed_origins[1]", "at most 63", "https://yourapp.com"),
        ("a long string", more(&format!(r#""x": "\u0041{}""#, "a".repeat(70_000))), "", "a string has more than 65536 bytes", "cut it down"),
        ("origin: a long scheme", origin(&format!("{}://yourapp.com", "a".repeat(60_000))), "keys[0].allowed_origins[1]", "a scheme 200", "https://yourapp.com"),
        ("origin: another character", origin("https://shop$.yourapp.com"), "keys[0].allowed_origins[1]", "letters, digits", "https://yourapp.com"),
        ("origin: alternatives", origin("https://(a|b).example.com"), "keys[0].allowed_origins[1]", "no regular expressions", "https://*.yourapp.com"),
        ("origin: white space", origin(" https://shop.yourapp.com"), "keys[0].allowed_origins[1]", "white space", "write \"https://shop.yourapp.com\""),
        ("origin: not ASCII", origin("https://bücher.example"), "keys[0].allowed_origins[1]", "punycode", "write \"https://xn--bcher-kva.example\""),
        ("origin: file: without a host", origin("file:"), "keys[0].allowed_origins[1]", "must begin with its scheme and ://", "write \"file://\""),
        ("origin: any host of file:", origin("file://*"), "keys[0].allowed_origins[1]", "not for http, https, ws, wss and file", "https://yourapp.com"),
        ("origin: any host of the web", origin("https://*"), "keys[0].allowed_origins[1]", "not for http, https, ws, wss and file", "https://*.yourapp.com"),
        ("origin: any host of WebSockets", origin("wss://*"), "keys[0].allowed_origins[1]", "not for http, https, ws, wss and file", "https://*.yourapp.com"),
        ("origin: a match pattern of Chrome", origin("chrome-extension://*/*"), "keys[0].allowed_origins[1]", "must not have a path", "write \"chrome-extension://*\""),
        ("origin: two of a program", origin("app://a,app://b"), "keys[0].allowed_origins[1]", "printable ASCII without commas", "as the program sends it"),
        ("origin: *. before one label of a program", origin("app://*.main"), "keys[0].allowed_origins[1]", "two labels or more, or localhost", "https://*.yourapp.com"),
        ("origin: a regular expression", origin(r"^https://.*\\.yourapp\\.com$"), "keys[0].allowed_origins[1]", "no regular expressions", "write \"https://*.yourapp.com\""),
        ("origin: a regular expression without anchors", origin(r"https://app-[a-z0-9-]+\\.yourapp\\.com"), "keys[0].allowed_origins[1]", "no regular expressions", "write \"https://app-*.yourapp.com\""),
        ("origin: a regular expression that no pattern is", origin(r"https://(www|app)\\.yourapp\\.com"), "keys[0].allowed_origins[1]", "no regular expressions", "https://*.yourapp.com"),
        ("origin: a bad IPv4", origin("http://127.1"), "keys[0].allowed_origins[1]", "four decimal numbers", "https://yourapp.com"),
        ("origin: an IPv6 with zeros", origin("http://[0:0:0:0:0:0:0:1]:3000"), "keys[0].allowed_origins[1]", "shortest form", "write \"http://[::1]:3000\""),
        ("origin: * within a label that is not the leftmost", origin("https://a.shop-*.yourapp.com"), "keys[0].allowed_origins[1]", "once in the leftmost label", "https://*.yourapp.com"),
        ("origin: two * within a label", origin("https://a-*-*.yourapp.com"), "keys[0].allowed_origins[1]", "once in the leftmost label", "https://*.yourapp.com"),
        ("origin: * within the name that is registered", origin("https://shop-*.com"), "keys[0].allowed_origins[1]", "whoever registers a name that fits", "https://*.yourapp.com"),
        ("origin: * within the only label", origin("http://shop-*:8080"), "keys[0].allowed_origins[1]", "two labels or more, or localhost", "https://*.yourapp.com"),
        ("origin: * within the port", origin("https://shop.yourapp.com:80*"), "keys[0].allowed_origins[1]", "or *", "http://localhost:*"),
        ("origin: *. before one label", origin("https://*.com"), "keys[0].allowed_origins[1]", "top-level domain", "https://*.yourapp.com"),

        ("network: a host name", network("office.example.com"), "keys[0].allowed_ips[1]", "IPv4 or IPv6", "192.168.1.0/24"),
        ("network: host bits", network("192.168.1.7/24"), "keys[0].allowed_ips[1]", "after the prefix", "write \"192.168.1.7/32\" for that address, or \"192.168.1.0/24\" for the whole network"),
        ("network: an address with a short prefix", network("::1/32"), "keys[0].allowed_ips[1]", "after the prefix", "write \"::1/128\" for that address, or \"::/32\""),
        ("network: a range", network("10.0.0.1-10.0.0.9"), "keys[0].allowed_ips[1]", "a range of addresses", "write \"10.0.0.1/32\", \"10.0.0.2/31\", \"10.0.0.4/30\", \"10.0.0.8/31\""),
        ("network: a range of IPv6", network("2001:db8::2 - 2001:db8::4"), "keys[0].allowed_ips[1]", "a range of addresses", "write \"2001:db8::2/127\", \"2001:db8::4/128\""),
        ("network: a range from its end", network("10.0.0.9-10.0.0.1"), "keys[0].allowed_ips[1]", "a range of addresses", "192.168.1.0/24"),
        ("network: a zone", network("fe80::1%eth0"), "keys[0].allowed_ips[1]", "one machine only", "write \"fe80::1\""),
        ("network: leading zeros", network("010.0.0.0/8"), "keys[0].allowed_ips[1]", "octal", "write \"10.0.0.0/8\""),
        ("network: IPv4-mapped", network("::ffff:10.0.0.0/104"), "keys[0].allowed_ips[1]", "IPv4-mapped", "write \"10.0.0.0/8\""),
        ("network: a long prefix", network("10.0.0.0/33"), "keys[0].allowed_ips[1]", "0 to 32", "192.168.1.0/24"),

        ("* in allow_headers", cors(r#""allow_headers": ["Content-Type", "*"]"#), "cors.allow_headers[1]", "* literally", "allow_credentials to false"),
        ("* in allow_methods", cors(r#""allow_methods": ["*"]"#), "cors.allow_methods[0]", "* literally", "allow_credentials to false"),
        ("* in expose_headers", cors(r#""expose_headers": ["*"]"#), "cors.expose_headers[0]", "* literally", "allow_credentials to false"),
        ("a header that is no token", cors(r#""allow_headers": ["X-Request-Id, X-Trace"]"#), "cors.allow_headers[0]", "not a token", "letters, digits"),
        ("a method that is no token", cors(r#""allow_methods": ["GET POST"]"#), "cors.allow_methods[0]", "not a token", "letters, digits"),
        ("a method in lower case", cors(r#""allow_methods": ["get"]"#), "cors.allow_methods[0]", "case-sensitive", "upper case"),
        ("CONNECT", cors(r#""allow_methods": ["CONNECT"]"#), "cors.allow_methods[0]", "never send", "take it out"),
        ("TRACE", cors(r#""allow_methods": ["TRACE"]"#), "cors.allow_methods[0]", "never send", "take it out"),
        ("TRACK", cors(r#""allow_methods": ["TRACK"]"#), "cors.allow_methods[0]", "never send", "take it out"),
        ("max_age: negative", cors(r#""max_age": -1"#), "cors.max_age", "0 to 86400", "no longer than a day"),
        ("max_age: over a day", cors(r#""max_age": 86401"#), "cors.max_age", "0 to 86400", "no longer than a day"),

        ("a header value with a line break", headers(r#""set": {"X-A": "b\r\nX-C: d"}"#), "security_headers.set.X-A", "line breaks", "one line"),
        ("a header value with a space at its end", headers(r#""set": {"X-A": "b "}"#), "security_headers.set.X-A", "white space at an end", "one line"),
        ("a header value that is not ASCII", headers(r#""set": {"X-A": "bücher"}"#), "security_headers.set.X-A", "outside ASCII", "one line"),
        ("a header that the protocol needs", headers(r#""set": {"Content-Length": "0"}"#), "security_headers.set.Content-Length", "writes this header itself", "take it out"),
        ("a CORS header", headers(r#""remove": ["Access-Control-Allow-Origin"]"#), "security_headers.remove[0]", "writes this header itself", "under cors"),
        ("a header name that is no token", headers(r#""set": {"X A": "b"}"#), "security_headers.set[\"X A\"]", "not a token", "letters, digits"),
        ("a header set twice", headers(r#""set": {"X-A": "b", "x-a": "c"}"#), "security_headers.set.x-a", "set here already", "keep one"),
        ("a header set and removed", headers(r#""set": {"X-A": "b"}, "remove": ["x-a"]"#), "security_headers.remove[0]", "both set and removed", "one of them"),
        ("CSP: set twice", headers(r#""set": {"Content-Security-Policy": "default-src 'self'"}, "content_security_policy": {"default-src": ["'self'"]}"#), "security_headers.content_security_policy", "set here already", "keep one"),
        ("CSP: a keyword without quotes", csp(r#""default-src": ["'self'"], "script-src": ["https://cdn.example.com", "self"]"#), "security_headers.content_security_policy.script-src[1]", "host name", "'self'"),
        ("CSP: a nonce without quotes", csp(r#""script-src": ["nonce-abc"]"#), "security_headers.content_security_policy.script-src[0]", "host name", "single quotes"),
        ("CSP: two sources in one", csp(r#""script-src": ["'self' https://cdn.example.com"]"#), "security_headers.content_security_policy.script-src[0]", "white space", "entry of its own"),
        ("CSP: no directive's name", csp(r#""script src": []"#), "security_headers.content_security_policy[\"script src\"]", "letters and -", "script-src"),
        ("CSP: a nameless directive", csp(r#""": []"#), "security_headers.content_security_policy[\"\"]", "letters and -", "script-src"),
        ("CSP: a directive twice", csp(r#""default-src": ["'self'"], "Default-Src": ["'none'"]"#), "security_headers.content_security_policy.Default-Src", "twice", "keep one"),
        ("CSP: an empty source", csp(r#""default-src": [""]"#), "security_headers.content_security_policy.default-src[0]", "white space", "entry of its own"),
        ("CSP: a source with a semicolon", csp(r#""default-src": ["a.example;"]"#), "security_headers.content_security_policy.default-src[0]", "white space", "entry of its own"),
        ("CSP: 'none' beside others", csp(r#""script-src": ["https://cdn.example.com", "'none'"]"#), "security_headers.content_security_policy.script-src[1]", "ignore 'none'", "take it out"),
        ("CSP as a whole: a keyword without quotes", headers(r#""set": {"Content-Security-Policy": "default-src 'self'; script-src https://cdn.example.com self"}"#), "security_headers.set.Content-Security-Policy", "host name", "'self'"),
        ("CSP as a whole: none without quotes", headers(r#""set": {"content-security-policy": {"value": "default-src NONE", "mode": "if_absent"}}"#), "security_headers.set.content-security-policy", "host name", "single quotes"),
        ("CSP as a whole: 'none' beside others", headers(r#""set": {"Content-Security-Policy": "default-src 'none' https://cdn.example.com"}"#), "security_headers.set.Content-Security-Policy", "ignore 'none'", "take it out"),
        ("CSP as a whole: a nonce without quotes, in the second policy", headers(r#""set": {"Content-Security-Policy": "default-src 'self', script-src nonce-abc"}"#), "security_headers.set.Content-Security-Policy", "host name", "single quotes"),
        ("CSP as a whole: a directive twice", headers(r#""set": {"Content-Security-Policy": "img-src a.example; IMG-SRC b.example"}"#), "security_headers.set.Content-Security-Policy", "read only the first", "keep one"),
        ("CSP as a whole: no directive's name", headers(r#""set": {"Content-Security-Policy": "default-src: 'self'"}"#), "security_headers.set.Content-Security-Policy", "letters and -", "script-src"),
        ("CSP as a whole: a comma between sources", headers(r#""set": {"Content-Security-Policy": "img-src https://a.example, https://b.example"}"#), "security_headers.set.Content-Security-Policy", "letters and -", "script-src"),
        ("CSP that reports only: a keyword without quotes", headers(r#""set": {"Content-Security-Policy-Report-Only": "default-src self"}"#), "security_headers.set.Content-Security-Policy-Report-Only", "host name", "single quotes"),
        ("identity_header: no token", more(r#""identity_header": "X Key Id""#), "identity_header", "not a token", "letters, digits"),
        ("identity_header: the protocol's", more(r#""identity_header": "Host""#), "identity_header", "uses this header itself", "take it out"),
        ("identity_header: what tells gRPC", more(r#""identity_header": "Content-Type""#), "identity_header", "itself", "take it out"),
        ("identity_header: what the filter decides by", more(r#""identity_header": "Origin""#), "identity_header", "itself", "take it out"),
        ("identity_header: what errors name", more(r#""identity_header": "X_Request_Id""#), "identity_header", "itself", "take it out"),
        ("identity_header: read as another that errors name", more(r#""identity_header": "X.Request+Id""#), "identity_header", "itself", "take it out"),
        ("identity_header: read as the method", more(r#""identity_header": "_method""#), "identity_header", "itself", "take it out"),
        ("identity_header: read as the key's", more(r#""identity_header": "X_API_Key", "key_sources": [{"header": "X-API-Key"}]"#), "identity_header", "itself", "take it out"),
        ("identity_header: the key's", more(r#""identity_header": "authorization""#), "identity_header", "itself", "take it out"),

        ("upstream_header_names: no token", more(r#""upstream_header_names": ["X Plan"]"#), "upstream_header_names[0]", "not a token", "letters, digits"),
        ("upstream_header_names: a pseudo-header", more(r#""upstream_header_names": [":path"]"#), "upstream_header_names[0]", "not a token", "letters, digits"),
        ("upstream_header_names: read as a pseudo-header", more(r#""upstream_header_names": ["X-Plan", "_path"]"#), "upstream_header_names[1]", "a meaning of its own", "X-Plan"),
        ("upstream_header_names: a string", more(r#""upstream_header_names": "X-Plan""#), "upstream_header_names", "expected a list", "write a list"),
        ("upstream_header_names: the key's", more(r#""upstream_header_names": ["x_api_key"], "key_sources": [{"header": "X-API-Key"}]"#), "upstream_header_names[0]", "carry their key", "choose a name"),
        ("upstream_header_names: the identity header", more(r#""upstream_header_names": ["X_Key_Id"]"#), "upstream_header_names[0]", "identity header", "choose a name"),
        ("upstream_header_names: another identity header", more(r#""upstream_header_names": ["x-caller"], "identity_header": "X-Caller""#), "upstream_header_names[0]", "identity header", "choose a name"),
        ("upstream_header_names: twice", more(r#""upstream_header_names": ["X-Plan", "X-Tier", "x-plan"]"#), "upstream_header_names[2]", "upstream_header_names[0] is this name", "keep one"),
        ("upstream_header_names: read as another", more(r#""upstream_header_names": ["X-Plan", "X.Plan"]"#), "upstream_header_names[1]", "reads as it", "keep one"),
        ("upstream_header_names: too many", more(&format!(r#""upstream_header_names": [{}]"#, (0..33).map(|n| format!(r#""X-{n}""#)).collect::<Vec<_>>().join(","))), "upstream_header_names", "at most 32", "one header"),
        ("upstream_headers: not listed", server_key(r#""upstream_headers": {"X-Plan": "gold"}"#), "keys[0].upstream_headers.X-Plan", "a client's own would pass", "list it"),
        ("upstream_headers: nearly listed", upstream(r#""X_Plan": "gold""#), "keys[0].upstream_headers.X_Plan", "does not list", "did you mean \"X-Plan\"?"),
        ("upstream_headers: the identity header", upstream(r#""X-Key-Id": "admin""#), "keys[0].upstream_headers.X-Key-Id", "does not list", "list it"),
        ("upstream_headers of anonymous: not listed", more(r#""anonymous": {"upstream_headers": {"X-Plan": "gold"}}"#), "anonymous.upstream_headers.X-Plan", "does not list", "list it"),
        ("upstream_headers: twice", upstream(r#""X-Plan": "gold", "x-plan": "free""#), "keys[0].upstream_headers.x-plan", "already", "keep one"),
        ("upstream_headers: a line break", upstream(r#""X-Plan": "gold\nX-Key-Id: admin""#), "keys[0].upstream_headers.X-Plan", "line breaks", "one line"),
        ("upstream_headers: white space at an end", upstream(r#""X-Plan": "gold ""#), "keys[0].upstream_headers.X-Plan", "white space at an end", "one line"),
        ("upstream_headers: no ASCII", upstream(r#""X-Plan": "g\u00f6ld""#), "keys[0].upstream_headers.X-Plan", "outside ASCII", "one line"),
        ("upstream_headers: a number", upstream(r#""X-Plan": 1"#), "keys[0].upstream_headers.X-Plan", "expected a string, found a number", "in quotes"),
        ("upstream_headers: a list", server_key(r#""upstream_headers": ["X-Plan"]"#), "keys[0].upstream_headers", "expected an object", "write an object"),

        ("entry: no key", entry(r#"{"label": "2026-11"}"#), "keys[0].api_key", "key is missing", "add key"),
        ("entry: an unknown field", entry(&format!(r#"[{TWO}, {{"key": {ONE}, "lable": "a"}}]"#)), "keys[0].api_key[1].lable", "unknown field", "did you mean label?"),
        ("entry: a list of keys", entry(&format!(r#"{{"key": [{ONE}]}}"#)), "keys[0].api_key.key", "expected a string, found a list", "write a string"),
        ("entry: a placeholder", entry(r#"{"key": "${API_KEY}"}"#), "keys[0].api_key.key", "placeholder", "fill it in"),
        ("entry: its label empty", entry(&format!(r#"{{"key": {ONE}, "label": ""}}"#)), "keys[0].api_key.label", "1 to 64 characters", "only these"),
        ("entry: its label with a space", entry(&format!(r#"[{{"key": {ONE}, "label": "November 2026"}}]"#)), "keys[0].api_key[0].label", "1 to 64 characters", "only these"),
        ("entry: its label too long", entry(&format!(r#"{{"key": {ONE}, "label": "{}"}}"#, "l".repeat(65))), "keys[0].api_key.label", "1 to 64 characters", "only these"),
        ("entry: its label a number", entry(&format!(r#"{{"key": {ONE}, "label": 2026}}"#)), "keys[0].api_key.label", "expected a string, found a number", "in quotes"),
        ("entry: a label twice", entry(&format!(r#"[{{"key": {ONE}, "label": "a"}}, {{"key": {TWO}, "label": "a"}}]"#)), "keys[0].api_key", "two entries of the key have this label", "of its own"),
        ("entry: the same key twice", entry(&format!(r#"[{{"key": {ONE}, "label": "a"}}, {ONE}]"#)), "keys[0].api_key", "keys[0] has this API key already", "of its own"),
        ("entry: no date", entry(&format!(r#"{{"key": {ONE}, "expires_at": "2027"}}"#)), "keys[0].api_key.expires_at", "RFC 3339", "2027-01-01T00:00:00Z"),
        ("entry: never valid", entry(&format!(r#"{{"key": {ONE}, "expires_at": "2027-01-01T00:00:00Z"}}, "not_before": "2027-01-01T00:00:00Z""#)), "keys[0].api_key.expires_at", "not after the key's not_before", "later"),

        ("scoped_tokens: nothing", tokens(""), "keys[0].scoped_tokens", "no token can be verified", "add secrets or public_keys"),
        ("scoped_tokens: empty lists", tokens(r#""secrets": [], "public_keys": []"#), "keys[0].scoped_tokens", "no token can be verified", "add secrets or public_keys"),
        ("scoped_tokens: an unknown field", tokens(&format!(r#""secret": ["{SECRET}"]"#)), "keys[0].scoped_tokens.secret", "unknown field", "did you mean secrets?"),
        ("scoped_tokens: not an object", server_key(r#""scoped_tokens": true"#), "keys[0].scoped_tokens", "expected an object, found a boolean", "write an object"),
        ("scoped_tokens without api_key and id", format!(r#"{{"keys": [{{"scoped_tokens": {{"secrets": ["{SECRET}"]}}}}]}}"#), "keys[0]", "id is missing", "add id"),
        ("scoped_tokens of anonymous", format!(r#"{{"anonymous": {{"scoped_tokens": {{"secrets": ["{SECRET}"]}}}}}}"#), "anonymous.scoped_tokens", "unknown field", ""),
        ("scoped_tokens without identity_header", more(&format!(r#""identity_header": null, "keys": [{{"id": "one", "kind": "secret", "scoped_tokens": {{"secrets": ["{SECRET}"]}}}}]"#)), "keys[0].scoped_tokens", "without identity_header", "take identity_header: null out"),
        ("secrets: a single one", tokens(&format!(r#""secrets": "{SECRET}""#)), "keys[0].scoped_tokens.secrets", "expected a list, found a string", "write a list"),
        ("secrets: four", tokens(&format!(r#""secrets": ["{SECRET}", "{SECRET}", "{SECRET}", "{SECRET}"]"#)), "keys[0].scoped_tokens.secrets", "at most 3", "take those out"),
        ("secrets: base64", tokens(r#""secrets": ["+QYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQ="]"#), "keys[0].scoped_tokens.secrets[0]", "base64url without padding", "write - for +"),
        ("secrets: a placeholder", tokens(&format!(r#""secrets": ["{SECRET}", "${{TOKEN_SECRET}}"]"#)), "keys[0].scoped_tokens.secrets[1]", "base64url without padding", "write - for +"),
        ("secrets: 31 bytes", tokens(r#""secrets": ["BQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIw"]"#), "keys[0].scoped_tokens.secrets[0]", "32 to 1024 bytes when it is decoded, and this has 31", "32 random bytes"),
        ("secrets: a number", tokens(r#""secrets": [1]"#), "keys[0].scoped_tokens.secrets[0]", "expected a string, found a number", "in quotes"),
        ("secrets: a public key", tokens(&format!(r#""secrets": ["{JWK_X}"], "public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}]"#)), "keys[0].scoped_tokens.secrets", "which is no secret", "take it out"),
        ("secrets: a public key of another key", format!(r#"{{"keys": [{{"id": "one", "kind": "secret", "scoped_tokens": {{"public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}]}}}}, {{"id": "two", "kind": "secret", "scoped_tokens": {{"secrets": ["{JWK_X}"]}}}}]}}"#), "keys[1].scoped_tokens", "is a public key of the other", "32 random bytes"),
        ("public_keys: four", tokens(r#""public_keys": [1, 2, 3, 4]"#), "keys[0].scoped_tokens.public_keys", "at most 3", "take those out"),
        ("public_keys: a text", tokens(&format!(r#""public_keys": ["{JWK_X}"]"#)), "keys[0].scoped_tokens.public_keys[0]", "expected an object, found a string", "write an object"),
        ("public_keys: of RSA", jwk(r#""kty": "RSA", "n": "x", "e": "AQAB""#), "keys[0].scoped_tokens.public_keys[0].kty", "for Ed25519 signatures", "OKP"),
        ("public_keys: without kty", jwk(&format!(r#""crv": "Ed25519", "x": "{JWK_X}""#)), "keys[0].scoped_tokens.public_keys[0].kty", "for Ed25519 signatures", "OKP"),
        ("public_keys: of another curve", jwk(&format!(r#""kty": "OKP", "crv": "X25519", "x": "{JWK_X}""#)), "keys[0].scoped_tokens.public_keys[0].crv", "for Ed25519 signatures", "Ed25519"),
        ("public_keys: for encryption", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}", "use": "enc""#)), "keys[0].scoped_tokens.public_keys[0].use", "for Ed25519 signatures", "may be left out"),
        ("public_keys: of another algorithm", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}", "alg": "ES256""#)), "keys[0].scoped_tokens.public_keys[0].alg", "for Ed25519 signatures", "may be left out"),
        ("public_keys: for signing only", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}", "key_ops": ["sign"]"#)), "keys[0].scoped_tokens.public_keys[0].key_ops", "for Ed25519 signatures", "may be left out"),
        ("public_keys: the private key", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}", "d": "{JWK_D}""#)), "keys[0].scoped_tokens.public_keys[0].d", "d is the private key", "take d out"),
        ("public_keys: without x", jwk(r#""kty": "OKP", "crv": "Ed25519""#), "keys[0].scoped_tokens.public_keys[0]", "x is missing", "add x"),
        ("public_keys: x is a number", jwk(r#""kty": "OKP", "crv": "Ed25519", "x": 1"#), "keys[0].scoped_tokens.public_keys[0].x", "32 bytes", "copy x"),
        ("public_keys: x is cut", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{}""#, JWK_X.trim_start_matches('1'))), "keys[0].scoped_tokens.public_keys[0].x", "32 bytes", "copy x"),
        ("public_keys: x of small order", jwk(&format!(r#""kty": "OKP", "crv": "Ed25519", "x": "{}""#, "A".repeat(43))), "keys[0].scoped_tokens.public_keys[0].x", "32 bytes", "copy x"),
        ("max_lifetime_seconds: 0", tokens(&format!(r#""secrets": ["{SECRET}"], "max_lifetime_seconds": 0"#)), "keys[0].scoped_tokens.max_lifetime_seconds", "whole number from 1", "as in 3600"),
        ("max_lifetime_seconds: a fraction", tokens(&format!(r#""secrets": ["{SECRET}"], "max_lifetime_seconds": 0.5"#)), "keys[0].scoped_tokens.max_lifetime_seconds", "whole number from 1", "as in 3600"),
        ("scoped_tokens.not_before: no date", tokens(&format!(r#""secrets": ["{SECRET}"], "not_before": "now""#)), "keys[0].scoped_tokens.not_before", "RFC 3339", "2027-01-01T00:00:00Z"),
        ("identity_header: what tokens set", more(r#""anonymous": {}, "identity_header": "X-Key-Subject""#), "identity_header", "uses this header itself", "another name"),
        ("key_sources: what tokens set", more(r#""anonymous": {}, "key_sources": [{"header": "X_Key_Filter"}]"#), "key_sources", "uses this header itself", "another name"),

        ("keys_from: a string", more(r#""keys_from": "keyfence_control""#), "keys_from", "expected an object, found a string", "write an object"),
        ("keys_from: null", more(r#""keys_from": null"#), "keys_from", "expected an object, found null", "leave the field out"),
        ("keys_from: an unknown field", feed(r#""wait_second": 5"#), "keys_from.wait_second", "unknown field", "did you mean wait_seconds?"),
        ("keys_from: no cluster", more(r#""keys_from": {"token_env": "KEYFENCE_FEED_TOKEN"}"#), "keys_from", "cluster is missing", "add cluster"),
        ("keys_from: cluster: a number", more(r#""keys_from": {"cluster": 7, "token_env": "KEYFENCE_FEED_TOKEN"}"#), "keys_from.cluster", "expected a string, found a number", "in quotes"),
        ("keys_from: cluster: empty", feed_cluster(""), "keys_from.cluster", "1 to 255 visible ASCII", "outbound|8080||keyfence-control.ns.svc.cluster.local"),
        ("keys_from: cluster: a space", feed_cluster("keyfence control"), "keys_from.cluster", "1 to 255 visible ASCII", "keyfence_control"),
        ("keys_from: cluster: DEL", feed_cluster("keyfence\u{7F}"), "keys_from.cluster", "1 to 255 visible ASCII", "keyfence_control"),
        ("keys_from: cluster: beyond ASCII", feed_cluster("schlüssel"), "keys_from.cluster", "1 to 255 visible ASCII", "keyfence_control"),
        ("keys_from: cluster: too long", feed_cluster(&"c".repeat(256)), "keys_from.cluster", "1 to 255 visible ASCII", "keyfence_control"),
        ("keys_from: authority: empty", feed(r#""authority": """#), "keys_from.authority", "a host, or a host and a port", "keyfence-control:8080"),
        ("keys_from: authority: a URL", feed(r#""authority": "http://keyfence-control""#), "keys_from.authority", "a host, or a host and a port", "keyfence-control:8080"),
        ("keys_from: authority: a user", feed(r#""authority": "me@keyfence-control""#), "keys_from.authority", "a host, or a host and a port", "keyfence-control:8080"),
        ("keys_from: authority: too long", feed(&format!(r#""authority": "{}""#, "a".repeat(256))), "keys_from.authority", "a host, or a host and a port", "keyfence-control:8080"),
        ("keys_from: path: relative", feed(r#""path": "v1/feed""#), "keys_from.path", "must begin with /", "/v1/feed"),
        ("keys_from: path: empty", feed(r#""path": """#), "keys_from.path", "must begin with /", "/v1/feed"),
        ("keys_from: path: a query", feed(r#""path": "/v1/feed?a=b""#), "keys_from.path", "only characters of a URL's path", "/v1/feed"),
        ("keys_from: path: a space", feed(r#""path": "/v1/the feed""#), "keys_from.path", "only characters of a URL's path", "/v1/feed"),
        ("keys_from: path: too long", feed(&format!(r#""path": "/{}""#, "a".repeat(1_024))), "keys_from.path", "only characters of a URL's path", "/v1/feed"),
        ("keys_from: wait_seconds: 0", feed(r#""wait_seconds": 0"#), "keys_from.wait_seconds", "whole number from 1 to 50", "leave the field out for 10"),
        ("keys_from: wait_seconds: 51", feed(r#""wait_seconds": 51"#), "keys_from.wait_seconds", "whole number from 1 to 50", "leave the field out for 10"),
        ("keys_from: wait_seconds: a fraction", feed(r#""wait_seconds": 1.5"#), "keys_from.wait_seconds", "whole number from 1 to 50", "leave the field out for 10"),
        ("keys_from: wait_seconds: a string", feed(r#""wait_seconds": "10s""#), "keys_from.wait_seconds", "whole number from 1 to 50", "leave the field out for 10"),
        ("keys_from: max_stale_seconds: less than an answer takes", feed(r#""max_stale_seconds": 14"#), "keys_from.max_stale_seconds", "whole number from 15", "write more seconds"),
        ("keys_from: max_stale_seconds: less than a longer wait", feed(r#""max_stale_seconds": 54, "wait_seconds": 50"#), "keys_from.max_stale_seconds", "whole number from 55", "write more seconds"),
        ("keys_from: max_stale_seconds: more than the field holds", feed(r#""max_stale_seconds": 4294967296"#), "keys_from.max_stale_seconds", "to 4294967295", "leave the field out"),
        ("keys_from: token: empty", feed_token(r#""token": """#), "keys_from.token", "only letters, digits and -._~+/=", "write the token"),
        ("keys_from: token: a space", feed_token(r#""token": "kf cp""#), "keys_from.token", "only letters, digits and -._~+/=", "write the token"),
        ("keys_from: token: = before the end", feed_token(r#""token": "kf=cp""#), "keys_from.token", "only letters, digits and -._~+/=", "write the token"),
        ("keys_from: token: = alone", feed_token(r#""token": "==""#), "keys_from.token", "only letters, digits and -._~+/=", "write the token"),
        ("keys_from: token: a line feed", feed_token(r#""token": "kfcp\n""#), "keys_from.token", "only letters, digits and -._~+/=", "write the token"),
        ("keys_from: token: too long", feed_token(&format!(r#""token": "{}""#, "a".repeat(4_097))), "keys_from.token", "at most 4096", "write the token"),
        ("keys_from: token: a number", feed_token(r#""token": 7"#), "keys_from.token", "expected a string, found a number", "in quotes"),
        ("keys_from: token_env: empty", feed_token(r#""token_env": """#), "keys_from.token_env", "the name of an environment variable", "KEYFENCE_FEED_TOKEN"),
        ("keys_from: token_env: begins with a digit", feed_token(r#""token_env": "1TOKEN""#), "keys_from.token_env", "begins with no digit", "KEYFENCE_FEED_TOKEN"),
        ("keys_from: token_env: as a shell writes it", feed_token(r#""token_env": "${TOKEN}""#), "keys_from.token_env", "the name of an environment variable", "KEYFENCE_FEED_TOKEN"),
        ("keys_from: token_env: too long", feed_token(&format!(r#""token_env": "{}""#, "A".repeat(256))), "keys_from.token_env", "the name of an environment variable", "KEYFENCE_FEED_TOKEN"),
        ("keys_from: token_env: a list", feed_token(r#""token_env": ["TOKEN"]"#), "keys_from.token_env", "expected a string, found a list", "write a string"),
        ("keys_from: token and token_env", feed(r#""token": "kfcp""#), "keys_from.token", "token and token_env", "keep token_env"),
        ("keys_from without identity_header", more(r#""identity_header": null, "keys_from": {"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN"}"#), "keys_from", "identity_header is null", "leave it out"),

        ("secret with allowed_origins", server_key(r#""allowed_origins": ["https://yourapp.com"]"#), "keys[0].allowed_origins", "never used from a browser", "publishable"),
    ]
}

#[rustfmt::skip]
fn warnings() -> Vec<Row> {
    let more = |text: &str| format!("{{{text}}}");
    vec![
        ("origin: *", origin("*"), "keys[0].allowed_origins[1]", "every web page", "list the origins"),
        ("origin: null", origin("null"), "keys[0].allowed_origins[1]", "sandboxed frame", "an origin of its own"),
        ("origin: of a WebSocket's URL", origin("wss://yourapp.com"), "keys[0].allowed_origins[1]", "has the origin of the page", "write the page's origin"),
        ("origin: file://", origin("file://"), "keys[0].allowed_origins[1]", "every file that a WebView opens", "WebViewAssetLoader"),
        ("origin: a file", origin("file:///index.html"), "keys[0].allowed_origins[1]", "every file that a WebView opens", "WebViewAssetLoader"),
        ("origin: any extension", origin("moz-extension://*"), "keys[0].allowed_origins[1]", "every extension or app", "list the hosts"),
        ("origin: a program's, with a slash", origin("chrome-extension://abcdefgh/"), "keys[0].allowed_origins[1]", "nothing behind host and port", "unless the program sends it"),
        ("origin: http:", origin("http://yourapp.com"), "keys[0].allowed_origins[1]", "on the network", "https:"),
        ("origin: http:, a part of a label", origin("http://app-*.yourapp.com"), "keys[0].allowed_origins[1]", "on the network", "https:"),
        ("origin of anonymous: *", r#"{"anonymous": {"allowed_origins": ["*"]}}"#.into(), "anonymous.allowed_origins[0]", "every web page", "list the origins"),
        ("network: all of IPv4", network("0.0.0.0/0"), "keys[0].allowed_ips[1]", "every address", "take allowed_ips out"),
        ("network: all of IPv6", network("::/0"), "keys[0].allowed_ips[1]", "every address", "take allowed_ips out"),
        ("api_key: raw", raw("a-raw-key-of-some-length"), "keys[0].api_key", "config_dump", "sha256: form"),
        ("api_key: raw, 16 bytes", raw("sixteen-bytes-ky"), "keys[0].api_key", "config_dump", "sha256: form"),
        ("api_key: a digest without sha256:", raw(ONE.trim_matches('"').trim_start_matches("sha256:")), "keys[0].api_key", "64 hex digits may be a digest", "write sha256: before a digest"),
        ("api_key: what sha256sum prints", raw(&format!("{}  -", ONE.trim_matches('"').trim_start_matches("sha256:"))), "keys[0].api_key", "64 hex digits may be a digest", "write sha256: before a digest"),
        ("neither keys nor anonymous", "{}".into(), "", "every request is refused", "list keys"),
        ("publishable without allowed_origins", key(r#""enabled": true"#), "keys[0]", "requests of every page are let through", "\"secret\""),
        ("key_sources: a query parameter", r#"{"anonymous": {}, "key_sources": [{"query": "api_key"}]}"#.into(), "key_sources[0].query", "trace spans, mirrored requests, x-envoy-original-path and the Location", "forward_api_key to false"),
        ("key_sources: a query parameter that is not forwarded", r#"{"anonymous": {}, "forward_api_key": false, "key_sources": [{"header": "X-API-Key"}, {"query": "api_key"}]}"#.into(), "key_sources[1].query", "redirects lose the key", "in a header"),
        ("key_sources: Cookie", r#"{"anonymous": {}, "key_sources": [{"header": "cookie"}]}"#.into(), "key_sources[0].header", "all cookies together", "X-API-Key"),
        ("key_sources: Cookie with a scheme", r#"{"anonymous": {}, "key_sources": [{"header": "Cookie", "scheme": "Key"}]}"#.into(), "key_sources[0].header", "all cookies together", "X-API-Key"),
        ("key_sources: Basic", r#"{"anonymous": {}, "key_sources": [{"header": "Authorization", "scheme": "basic"}]}"#.into(), "key_sources[0].scheme", "base64 of a name and a password", "Bearer"),
        ("expires_at: passed", server_key(r#""expires_at": "2026-06-30T00:00:00Z""#), "keys[0].expires_at", "has expired", "later"),
        ("expires_at: this second", server_key(r#""expires_at": "2026-07-01T00:00:00Z""#), "keys[0].expires_at", "has expired", "later"),
        ("expires_at: in a second", server_key(r#""expires_at": "2026-07-01T00:00:01Z""#), "keys[0].expires_at", "within two weeks", "next key"),
        ("expires_at: in two weeks", server_key(r#""expires_at": "2026-07-15T00:00:00Z""#), "keys[0].expires_at", "within two weeks", "next key"),
        ("entry: expired", entry(&format!(r#"[{ONE}, {{"key": {TWO}, "expires_at": "2026-07-01T00:00:00Z"}}]"#)), "keys[0].api_key[1].expires_at", "the entry has expired", "take the entry out"),
        ("entry: expires soon", entry(&format!(r#"{{"key": {ONE}, "expires_at": "2026-07-15T00:00:00Z"}}"#)), "keys[0].api_key.expires_at", "the entry expires within two weeks", "another entry"),
        ("entry: raw", entry(r#"{"key": "sixteen-bytes-ky"}"#), "keys[0].api_key.key", "config_dump", "sha256: form"),
        ("secrets: the same byte", tokens(&format!(r#""secrets": ["{}"]"#, "A".repeat(43))), "keys[0].scoped_tokens.secrets", "can be guessed", "32 random bytes"),
        ("secrets: a text again and again", tokens(r#""secrets": ["Y2hhbmdlbWVjaGFuZ2VtZWNoYW5nZW1lY2hhbmdlbWVjaGFuZ2VtZQ"]"#), "keys[0].scoped_tokens.secrets", "can be guessed", "32 random bytes"),
        ("secrets: twice", tokens(&format!(r#""secrets": ["{SECRET}", "{SECRET}"]"#)), "keys[0].scoped_tokens.secrets", "in the list already", "take one"),
        ("secrets: of two keys", format!(r#"{{"keys": [{{"id": "one", "kind": "secret", "scoped_tokens": {{"secrets": ["{SECRET}"]}}}}, {{"id": "two", "kind": "secret", "scoped_tokens": {{"secrets": ["{SECRET}"]}}}}]}}"#), "keys[1].scoped_tokens", "keys[0] has one of these too", "of its own"),
        ("public_keys: of two keys", format!(r#"{{"keys": [{{"id": "one", "kind": "secret", "scoped_tokens": {{"public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}]}}}}, {{"id": "two", "kind": "secret", "scoped_tokens": {{"secrets": ["{SECRET}"], "public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}]}}}}]}}"#), "keys[1].scoped_tokens", "keys[0] has one of these too", "of its own"),
        ("public_keys: twice", tokens(&format!(r#""public_keys": [{{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}, {{"kty": "OKP", "crv": "Ed25519", "x": "{JWK_X}"}}]"#)), "keys[0].scoped_tokens.public_keys", "in the list already", "take one"),
        ("keys_from: a token in the configuration", feed_token(r#""token": "kfcp_0a/b+c.d_e~f==""#), "keys_from.token", "can get all keys of the feed", "token_env"),
        ("keys_from: no token", more(r#""keys_from": {"cluster": "keyfence_control"}"#), "keys_from", "without a token", "token_env"),
        ("a loopback origin beside a public one", origin("http://localhost:3000"), "keys[0].allowed_origins[1]", "anybody's own machine", "a key of its own"),
        ("a loopback address beside a public origin", origin("https://127.0.0.1:8443"), "keys[0].allowed_origins[1]", "anybody's own machine", "a key of its own"),
        ("a loopback origin beside a public one, in anonymous", r#"{"anonymous": {"allowed_origins": ["http://shop.localhost", "https://yourapp.com"]}}"#.into(), "anonymous.allowed_origins[0]", "anybody's own machine", "a key of its own"),
        ("a limit of each client as high as the key's", server_key(r#""rate_limit_per_minute": 60, "rate_limit_per_minute_per_client": 60"#), "keys[0].rate_limit_per_minute_per_client", "before rate_limit_per_minute is used up", "write less"),
        ("a limit of each client above that of all, in anonymous", r#"{"anonymous": {"rate_limit_per_minute": 1, "rate_limit_per_minute_per_client": 2}}"#.into(), "anonymous.rate_limit_per_minute_per_client", "before rate_limit_per_minute is used up", "write less"),
        ("indexes without scopes", server_key(r#""indexes": ["products"]"#), "keys[0].indexes", "every request is refused", "{index}"),
        ("indexes beside a rule without {index}", more(&format!(r#""keys": [{{"id": "one", "api_key": {ONE}, "kind": "secret", "scopes": ["search"], "indexes": ["products"]}}], "scopes": {{"other": [{{"methods": ["GET"], "path": "/other"}}], "search": [{{"methods": ["GET"], "path": "/{{index}}"}}, {{"methods": ["POST", "PUT"], "path": "/multi_search"}}]}}"#)), "keys[0].indexes", "the rule POST, PUT /multi_search of \"search\" names no {index}", "write {index} into its path"),
        ("indexes of anonymous beside a rule without {index}", more(r#""anonymous": {"scopes": ["search"], "indexes": ["*"]}, "scopes": {"search": [{"methods": ["*"], "path": "/**"}]}"#), "anonymous.indexes", "the rule * /** of \"search\"", "write {index}"),
        ("X-Frame-Options", headers(r#""set": {"X-Frame-Options": "ALLOWALL"}"#), "security_headers.set.X-Frame-Options", "but for DENY or SAMEORIGIN", "frame-ancestors"),
        ("Referrer-Policy", headers(r#""set": {"Referrer-Policy": "none"}"#), "security_headers.set.Referrer-Policy", "do not know", "no-referrer,"),
        ("Referrer-Policy: nearly one", headers(r#""set": {"referrer-policy": {"value": "no-referrer, strict-orgin", "mode": "if_absent"}}"#), "security_headers.set.referrer-policy", "do not know", "did you mean strict-origin?"),
        ("Strict-Transport-Security", headers(r#""set": {"Strict-Transport-Security": "includeSubDomains; preload"}"#), "security_headers.set.Strict-Transport-Security", "without max-age", "max-age=31536000"),
        ("Strict-Transport-Security: another directive", headers(r#""set": {"Strict-Transport-Security": "max-age=31536000; includeSubDomain"}"#), "security_headers.set.Strict-Transport-Security", "do not know", "includeSubDomains"),
        ("X-Content-Type-Options", headers(r#""set": {"X-Content-Type-Options": "no-sniff"}"#), "security_headers.set.X-Content-Type-Options", "but for nosniff", "write nosniff"),
        ("Permissions-Policy", headers(r#""set": {"Permissions-Policy": "camera 'none'; microphone 'none'"}"#), "security_headers.set.Permissions-Policy", "structured fields", "camera=()"),
        ("Permissions-Policy: an origin without quotes", headers(r#""set": {"Permissions-Policy": "camera=(self https://a.example)"}"#), "security_headers.set.Permissions-Policy", "double quotes", "camera=()"),
        ("Cross-Origin-Resource-Policy", headers(r#""set": {"Cross-Origin-Resource-Policy": "Cross-Origin"}"#), "security_headers.set.Cross-Origin-Resource-Policy", "in lower case", "cross-origin"),
        ("Cross-Origin-Opener-Policy", headers(r#""set": {"Cross-Origin-Opener-Policy": "same-site"}"#), "security_headers.set.Cross-Origin-Opener-Policy", "do not know", "same-origin-allow-popups"),
        ("Cross-Origin-Embedder-Policy", headers(r#""set": {"Cross-Origin-Embedder-Policy-Report-Only": "true"}"#), "security_headers.set.Cross-Origin-Embedder-Policy-Report-Only", "do not know", "require-corp"),
        ("a misspelt header", headers(r#""set": {"Referer-Policy": "no-referrer"}"#), "security_headers.set.Referer-Policy", "no header of this name", "did you mean Referrer-Policy?"),
        ("CSP as a whole: an unknown directive", headers(r#""set": {"Content-Security-Policy": "default-src 'self'; scripts-src 'none'"}"#), "security_headers.set.Content-Security-Policy", "do not know", "did you mean script-src?"),
        ("Cross-Origin-Resource-Policy of a preset beside origins", more(&format!(r#""keys": [{{"id": "one", "api_key": {ONE}, "allowed_origins": ["https://yourapp.com"]}}], "security_headers": {{"preset": "owasp"}}"#)), "security_headers", "those in allowed_origins too", r#"set "Cross-Origin-Resource-Policy" to "cross-origin""#),
        ("Cross-Origin-Resource-Policy beside the origins of anonymous", r#"{"anonymous": {"allowed_origins": ["https://yourapp.com"]}, "security_headers": {"set": {"cross-origin-resource-policy": "same-origin"}}}"#.into(), "security_headers", "those in allowed_origins too", "cross-origin"),
        ("CSP: an unknown directive", csp(r#""scripts-src": ["'self'"]"#), "security_headers.content_security_policy.scripts-src", "do not know", "did you mean script-src?"),
    ]
}

fn assert_row(row: &Row, found: &[Diagnostic], severity: Severity) {
    let (name, json, place, reason, help) = row;
    let [diagnostic] = found else {
        panic!("{name}: {found:#?} in {json}");
    };
    assert_eq!(diagnostic.message.severity, severity, "{name}: {diagnostic}");
    assert_eq!(diagnostic.path, *place, "{name}: {diagnostic}");
    assert!(diagnostic.message.reason.contains(reason), "{name}: {diagnostic}");
    assert!(diagnostic.message.help.contains(help), "{name}: {diagnostic}");
}

#[test]
fn each_error_is_found_with_place_reason_and_help() {
    for row in errors() {
        let diagnostics = load(&row.1);
        assert_row(&row, diagnostics.errors(), Severity::Error);
    }
}

/// Every string and every name of a policy that has all there is, one after the other.
fn replace_each(value: &Value, with: &str, found: &mut dyn FnMut(Value)) {
    match value {
        Value::String(text) => found(format!("{text}{with}").into()),
        Value::Array(items) => {
            for index in 0..items.len() {
                replace_each(&items[index], with, &mut |changed| {
                    let mut items = items.clone();
                    items[index] = changed;
                    found(items.into());
                });
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                replace_each(value, with, &mut |changed| {
                    let mut members = members.clone();
                    members.insert(name.clone(), changed);
                    found(members.into());
                });
                let mut members = members.clone();
                members.remove(name);
                members.insert(format!("{name}{with}"), value.clone());
                found(members.into());
            }
        }
        _ => {}
    }
}

/// Wherever a value or a name with line breaks stands, what is said of it is one line of the log.
#[test]
fn no_value_ends_the_line_of_a_finding() {
    let policy = json!({
        "$schema": "a", "client_ip": "peer", "identity_header": "X-Id", "enforcement": "report", "docs_url": "https://a.example",
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [{"id": "one", "api_key": "a raw key of some bytes", "name": "One", "kind": "publishable", "not_before": "2026-01-01T00:00:00Z",
            "allowed_origins": ["https://yourapp.com", "yourapp.com", "https://b\u{fc}cher.example", "HTTPS://yourapp.com", "https://a@b.example",
                "https://yourapp.com/a", "https://yourapp.com:443", "https://[::1]", "null"],
            "origin_check": "if_present", "allowed_ips": ["192.0.2.0/24", "::1", "192.0.2.7/24"], "scopes": ["search", "searches"],
            "indexes": ["products"], "enforcement": "report", "upstream_headers": {"X-Plan": "gold"}},
            {"id": "three", "scoped_tokens": {"secrets": [SECRET], "public_keys": [{"kty": "OKP", "crv": "Ed25519", "x": JWK_X}], "not_before": "2026-01-01T00:00:00Z"}},
            {"id": "two", "api_key": [{"key": "another raw key", "label": "2026-11", "expires_at": "2036-01-01T00:00:00Z"}]}],
        "keys_from": {"cluster": "keyfence_control", "authority": "keyfence-control", "path": "/v1/feed", "token_env": "KEYFENCE_FEED_TOKEN"},
        "upstream_header_names": ["X-Plan", "X-Tier"],
        "anonymous": {"name": "Anybody"},
        "scopes": {"search": [{"methods": ["GET"], "path": "/v1/{index}"}]},
        "cors": {"allow_methods": ["GET"], "allow_headers": ["X-A"], "expose_headers": ["X-B"]},
        "security_headers": {"preset": "api", "set": {"X-C": "c", "X-D": {"value": "d", "mode": "if_absent"}},
            "content_security_policy": {"script-src": ["'self'"]}, "remove": ["Server"]},
    });
    let special = "\n\r\t\u{1B}[31m\u{7F}\u{85}\u{2028}\u{2029}\u{202E}\u{FEFF}";
    let breaks = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202E}\u{FEFF}".contains(c);
    let (mut tried, mut shown) = (0, 0);
    replace_each(&policy, special, &mut |policy| {
        tried += 1;
        for (_, line) in load(&policy.to_string()).lines() {
            shown += usize::from(line.contains("\\u{2028}"));
            assert!(!line.contains(breaks), "{line:?} of {policy}");
        }
    });
    assert!(tried > 80 && shown > 60, "{tried}, {shown}");
}

#[test]
fn each_warning_is_found_and_the_policy_is_used() {
    for row in warnings() {
        let loaded = Policy::load(row.1.as_bytes(), NOW).unwrap_or_else(|found| panic!("{}: {found:#?}", row.0));
        assert_row(&row, loaded.diagnostics.warnings(), Severity::Warning);
    }
}

/// The names that nobody may list, each as HTTP writes it and as CGI's heirs read it.
#[test]
fn keys_do_not_set_headers_that_mean_something_else() {
    let names = "Host Connection Keep-Alive Proxy-Connection TE Trailer Transfer-Encoding Upgrade HTTP2-Settings Authorization \
        Proxy-Authorization Cookie Content-Type Content-Length Content-Anything X-Forwarded-For X-Forwarded-Proto Forwarded \
        X-Envoy-Internal X-Envoy-Original-Path X-Key-Filter X-Key-Subject X-Key-Id X-Request-Id Origin Sec-Fetch-Site \
        Sec-WebSocket-Protocol Access-Control-Request-Method X-HTTP-Method-Override X-HTTP-Method X-Method-Override Expect";
    for name in names.split_whitespace() {
        for name in [name.to_owned(), name.to_lowercase(), name.replace('-', "_")] {
            let found = load(&json!({"anonymous": {}, "upstream_header_names": ["X-Plan", name]}).to_string());
            let [error] = found.errors() else {
                panic!("{name}: {:?}", found.errors());
            };
            assert_eq!(error.path, "upstream_header_names[1]", "{name}");
        }
    }
    for name in [
        "X-Plan",
        "X-Forwarded",
        "Contents",
        "Plan",
        "X-Envoys",
        "X-Keys",
        "X_Key_Label",
        "X-Host",
    ] {
        let found = load(&json!({"anonymous": {}, "upstream_header_names": [name]}).to_string());
        assert_eq!(found.error_count(), 0, "{name}");
    }
}

/// Neither a value for the upstream nor a label, in whose place somebody may have written a key, is shown.
#[test]
fn values_and_labels_are_not_shown() {
    for text in [
        upstream(r#""X-Plan": "sEcret\n""#),
        entry(&format!(r#"{{"key": {ONE}, "label": "sEcret!"}}"#)),
        entry(&format!(r#"{{"key": {ONE}, "label": ["sEcret"]}}"#)),
        entry(r#"{"key": {"sEcret": "sEcret"}}"#),
    ] {
        let found = load(&text);
        assert_eq!(found.error_count(), 1, "{text}");
        assert!(found.lines().all(|(_, line)| !line.contains("sEcret")), "{text}");
    }
}

#[test]
fn a_short_raw_key_is_two_warnings() {
    let diagnostics = load(r#"{"keys": [{"id": "one", "api_key": "fifteen-bytes-k", "kind": "secret"}]}"#);
    let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!((diagnostics.warning_count(), diagnostics.error_count()), (2, 0));
    assert!(lines[1].contains("15 bytes can be guessed"), "{lines:#?}");
}

#[test]
fn what_is_doubtful_about_a_raw_key_is_a_warning_beside_the_first() {
    let digest = ONE.trim_matches('"').trim_start_matches("sha256:");
    let in_query = |key: &str| raw(key).replace("{\"keys\"", "{\"key_sources\": [{\"query\": \"api_key\"}], \"keys\"");
    for (json, expected) in [
        (raw(&format!("keyfence_{digest}")), None),
        (in_query("dGhlIGtleSB+aGVyZQ=="), Some("must be encoded")),
        (in_query("a key of some bytes"), Some("must be encoded")),
        (in_query("dGhlIGtleSB-aGVyZQ=="), None),
        (raw("dGhlIGtleSB+aGVyZQ=="), None),
    ] {
        let diagnostics = load(&json);
        let found = diagnostics
            .warnings()
            .iter()
            .filter(|diagnostic| diagnostic.path == "keys[0].api_key");
        let reasons: Vec<String> = found
            .map(|diagnostic| diagnostic.message.reason.clone().into_owned())
            .collect();
        assert!(reasons[0].contains("config_dump"), "{json}: {reasons:#?}");
        assert_eq!(
            reasons.len(),
            1 + usize::from(expected.is_some()),
            "{json}: {reasons:#?}"
        );
        assert!(
            expected.is_none_or(|expected| reasons[1].contains(expected)),
            "{json}: {reasons:#?}"
        );
        assert_eq!(diagnostics.error_count(), 0, "{json}");
    }
}

/// Its list is not empty, but wrong.
#[test]
fn a_key_with_a_wrong_origin_is_not_told_to_list_origins() {
    let diagnostics = load(&key(r#""allowed_origins": ["https://yourapp.com/"]"#));
    assert_eq!(
        (diagnostics.errors().len(), diagnostics.warnings()),
        (1, &[][..]),
        "{diagnostics:#?}"
    );
}

/// What an operator may well write is not complained of.
#[test]
#[rustfmt::skip]
fn nothing_is_found_where_nothing_is_wrong() {
    for (name, json) in [
        ("a schema for editors", r#"{"$schema": "policy.schema.json", "anonymous": {}}"#.to_owned()),
        ("a secret key", server_key(r#""name": "Indexer", "allowed_ips": ["2001:db8::/32"], "rate_limit_per_minute": 1"#)),
        ("a limit of each client below the key's", server_key(r#""rate_limit_per_minute": 61, "rate_limit_per_minute_per_client": 60"#)),
        ("a limit of each client alone", r#"{"anonymous": {"rate_limit_per_minute_per_client": 60}}"#.into()),
        ("origins", origin("https://*.yourapp.com\", \"capacitor://localhost\", \"https://localhost")),
        ("origins of programs", origin("app://.\", \"qrc://\", \"chrome-extension://abcdefgh\", \"safari-web-extension://0D2A3B4C\", \"odd://127.1:0")),
        ("origins of previews", origin("https://app-*-team.yourapp.com\", \"https://*-app.yourapp.com:8443\", \"https://app-*.yourapp.com:*")),
        ("a rotated key", keys((r#""one""#, &format!("[{ONE}]")), (r#""two""#, TWO))),
        ("the longest id", keys((&format!("\"{}\"", "Az09._-a".repeat(8)), ONE), (r#""two""#, TWO))),
        ("origins of this machine", key(r#""allowed_origins": ["http://127.0.0.1:8080", "http://*.localhost:3000", "http://a-*.localhost", "http://shop.localhost", "http://localhost:3000", "http://[::1]:*", "http://[::1]", "capacitor://localhost"]"#)),
        ("the key's life", server_key(r#""not_before": "2026-01-01T00:00:00Z", "expires_at": "2026-07-15T00:00:01Z""#)),
        ("where errors are explained", r#"{"anonymous": {}, "docs_url": "http://docs.example.com/a?b=c"}"#.into()),
        ("two schemes of one header", r#"{"anonymous": {}, "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "Authorization", "scheme": "ApiKey"}]}"#.into()),
        ("one scheme in two headers", r#"{"anonymous": {}, "key_sources": [{"header": "Authorization", "scheme": "Key"}, {"header": "X-Auth", "scheme": "Key"}]}"#.into()),
        ("a rule of its own method", rule(r#"{"methods": ["purge", "*"], "path": "/"}"#)),
        ("anonymous without a list", r#"{"anonymous": {}}"#.into()),
        ("no identity header", r#"{"anonymous": {}, "identity_header": null}"#.into()),
        ("a feed in place of keys", feed_cluster("keyfence_control")),
        ("a feed with all fields", feed(r#""authority": "[2001:db8::1]:8080", "path": "/a%20b/-._~!$&'()*+,;=:@", "wait_seconds": 50, "max_stale_seconds": 55"#)),
        ("a feed with the shortest times", feed(r#""wait_seconds": 1, "max_stale_seconds": 6"#)),
        ("a feed of a mesh's cluster", feed_cluster("outbound|8080||keyfence-control.keyfence.svc.cluster.local")),
        ("* without credentials", cors(r#""allow_credentials": false, "allow_headers": ["*"], "allow_methods": ["*"], "expose_headers": ["*"]"#)),
        ("max_age at its beginning", cors(r#""max_age": 0"#)),
        ("max_age at its end", cors(r#""max_age": 86400"#)),
        ("a header value with spaces", headers(r#""set": {"X-A": "b c\td"}"#)),
        ("a header taken away", headers(r#""set": {"X-Frame-Options": null}"#)),
        ("headers that browsers know", headers(r#""set": {"X-Frame-Options": "sameorigin", "Referrer-Policy": "no-referrer, strict-origin", "Strict-Transport-Security": "max-age=0",
            "Permissions-Policy": "camera=(), geolocation=(self)", "Content-Security-Policy": "default-src 'none'; report-to self; sandbox; upgrade-insecure-requests, script-src 'self'"}"#)),
        ("owasp without origins", headers(r#""preset": "owasp""#)),
        ("owasp with origins", r#"{"anonymous": {"allowed_origins": ["https://yourapp.com"]}, "security_headers": {"preset": "owasp", "set": {"Cross-Origin-Resource-Policy": "same-site"}}}"#.into()),
        ("owasp with origins, without the header", r#"{"anonymous": {"allowed_origins": ["https://yourapp.com"]}, "security_headers": {"preset": "owasp", "remove": ["Cross-Origin-Resource-Policy"]}}"#.into()),
        ("CSP", csp(r#""default-src": ["'self'"], "report-to": ["self"], "upgrade-insecure-requests": []"#)),
    ] {
        let lines: Vec<String> = load(&json).lines().map(|(_, line)| line).collect();
        assert_eq!(lines, [""; 0], "{name}");
    }
}

#[test]
fn all_that_is_wrong_is_found_in_one_pass() {
    let diagnostics = load(&format!(
        r#"{{
            "keys": [
                {{"id": "one", "api_key": {ONE}, "allowed_origins": ["https://a.com:443", "https://A.com", "*"], "colour": "red"}},
                {{"id": "one", "api_key": {TWO}, "kind": "secret", "allowed_ips": ["::ffff:10.0.0.1"], "scopes": ["search"]}},
                "three",
                {{"api_key": {ONE}, "kind": "secret", "enabled": 1}}
            ],
            "client_ip": "header",
            "cors": {{"allow_methods": ["CONNECT"], "allow_headers": ["*"], "max_age": 1e9}},
            "security_headers": {{"preset": "strict", "set": {{"X-A": 1}}}}
        }}"#
    ));
    let places: Vec<&str> = diagnostics
        .errors()
        .iter()
        .map(|diagnostic| diagnostic.path.as_str())
        .collect();
    let expected = [
        "cors.max_age",
        "cors.allow_methods[0]",
        "cors.allow_headers[0]",
        "security_headers.preset",
        "security_headers.set.X-A",
        "client_ip",
        "keys[0].allowed_origins[0]",
        "keys[0].allowed_origins[1]",
        "keys[0].colour",
        "keys[1].allowed_ips[0]",
        "keys[1].id",
        "keys[1].scopes[0]",
        "keys[2]",
        "keys[3]",
        "keys[3].enabled",
    ];
    let missing: Vec<&&str> = expected.iter().filter(|place| !places.contains(place)).collect();
    assert_eq!(missing, [&""; 0], "{places:#?}");
    assert_eq!(places.len(), expected.len(), "{places:#?}");
    assert_eq!(diagnostics.warnings().len(), 1);
}

#[test]
fn an_unknown_name_comes_with_the_nearest_known_one() {
    for (written, meant) in [
        ("allowed_origin", Some("allowed_origins")),
        ("allowed-origins", Some("allowed_origins")),
        ("Allowed_Origins", Some("allowed_origins")),
        ("allowedOrigins", Some("allowed_origins")),
        ("alowed_ips", Some("allowed_ips")),
        ("rate_limit", Some("rate_limit_per_minute")),
        ("expire_at", Some("expires_at")),
        ("rate_limit_per_minute_client", Some("rate_limit_per_minute_per_client")),
        ("ids", Some("id")),
        ("apikey", Some("api_key")),
        ("colour", None),
        ("", None),
    ] {
        let diagnostics = load(&server_key(&format!(r#""{written}": []"#)));
        let help = diagnostics.errors()[0].message.help.clone();
        match meant {
            Some(name) => assert_eq!(help, format!("did you mean {name}?"), "{written}"),
            None => assert_eq!(help, "take it out", "{written}"),
        }
    }
}

#[test]
fn a_syntax_error_has_line_and_column() {
    for (name, json, at) in [
        ("nothing", "", "line 1, column 0"),
        (
            "a trailing comma",
            "{\n  \"keys\": [\n    {\"id\": \"one\",}\n  ]\n}",
            "line 3, column 18",
        ),
        ("no end", "{\n  \"keys\": [", "line 2, column 11"),
        ("two documents", "{}\n{}", "line 2, column 1"),
        ("a comment", "{\n  // keys\n}", "line 2, column 3"),
        ("within keys", "{\"keys\": [{\"id\": tru}]}", "line 1, column 21"),
    ] {
        let diagnostics = load(json);
        let [diagnostic] = diagnostics.errors() else {
            panic!("{name}: {diagnostics:#?}");
        };
        assert!(diagnostic.message.reason.contains("not JSON"), "{name}: {diagnostic}");
        assert!(diagnostic.message.help.contains(at), "{name}: {diagnostic}");
    }
}

/// PowerShell and some editors write it.
#[test]
fn a_byte_order_mark_is_not_part_of_the_policy() {
    let json = server_key(r#""enabled": true"#);
    let [plain, marked] = [json.clone(), format!("\u{FEFF}{json}")]
        .map(|text| Policy::load(text.as_bytes(), NOW).unwrap_or_else(|found| panic!("{found:#?}")));
    assert_eq!(
        (plain.hash, plain.policy.keys().len()),
        (marked.hash, marked.policy.keys().len())
    );

    let twice = load(&format!("\u{FEFF}\u{FEFF}{json}"));
    assert!(twice.errors()[0].message.reason.contains("not JSON"), "{twice:#?}");
    let utf16: Vec<u8> = [0xFEFF]
        .into_iter()
        .chain(json.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let diagnostics = Policy::load(&utf16, NOW).unwrap_err();
    assert!(
        diagnostics.errors()[0]
            .message
            .reason
            .contains("it is UTF-16; save it as UTF-8"),
        "{diagnostics:#?}"
    );
}

#[test]
fn a_thousand_errors_in_ten_megabytes_are_a_hundred_and_a_count() {
    let key = |number: usize| {
        let name = "n".repeat(10_000);
        format!(r#"{{"id": "key {number}", "api_key": "sha256:{number:064x}", "name": "{name}", "kind": "secret"}}"#)
    };
    let keys: Vec<String> = (0..1_000).map(key).collect();
    let text = format!(r#"{{"keys": [{}]}}"#, keys.join(","));
    assert!(text.len() > 10_000_000);
    let begin = Instant::now();
    let diagnostics = load(&text);
    let took = begin.elapsed();
    assert_eq!(diagnostics.error_count(), 1_000);
    let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 101);
    assert_eq!(lines[100], "and 900 more errors");
    assert!(lines.iter().all(|line| line.len() < 300), "{lines:#?}");
    // Half a second without optimization.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_long_value_is_cut() {
    let diagnostics = load(&origin(&format!("https://{}é", "a".repeat(60_000))));
    let line = diagnostics.errors()[0].to_string();
    assert!(line.len() < 300 && line.contains('…'), "{line}");
    // 80 bytes are shown, the quotes among them.
    for (bytes, cut) in [(79, false), (80, false), (81, true), (82, true)] {
        let diagnostics = load(&origin(&"a".repeat(bytes - 2)));
        let value = &diagnostics.errors()[0].value;
        assert_eq!(
            (value.len(), value.contains('…')),
            if cut { (83, true) } else { (bytes, false) }
        );
    }
}

/// Wherever a key was written by mistake.
#[test]
fn no_finding_shows_a_key() {
    const RAW: &str = "ak_live_do_not_show_me";
    #[rustfmt::skip]
    let cases = [
        ("in its place", keys((r#""one""#, "RAW"), (r#""two""#, "RAW"))),
        ("too long", keys((r#""one""#, &format!("{:?}", RAW.repeat(40))), (r#""two""#, TWO))),
        ("with a comma", keys((r#""one""#, r#""ak_live_do_not_show_me,""#), (r#""two""#, TWO))),
        ("after sha256:", keys((r#""one""#, r#""sha256:ak_live_do_not_show_me""#), (r#""two""#, TWO))),
        ("in a list", keys((r#""one""#, "[RAW, RAW, 1]"), (r#""two""#, TWO))),
        ("in a list of lists", keys((r#""one""#, "[[RAW]]"), (r#""two""#, TWO))),
        ("in an object", keys((r#""one""#, r#"{"raw": RAW}"#), (r#""two""#, TWO))),
        ("under a wrong name", server_key(r#""apikey": RAW"#)),
        ("under an unknown name", server_key(r#""value": RAW"#)),
        ("at the top", r#"{"api_key": RAW}"#.into()),
        ("twice", server_key(r#""api_key": RAW"#)),
        ("for a key", r#"{"keys": [RAW]}"#.into()),
        ("for all keys", r#"{"keys": RAW}"#.into()),
        ("for a token secret", tokens(r#""secrets": [RAW]"#)),
        ("for a list of token secrets", tokens(r#""secrets": RAW"#)),
        ("for a token secret, in an object", tokens(r#""secrets": [{"secret": RAW}]"#)),
        ("for a public key", jwk(r#""kty": "OKP", "crv": "Ed25519", "x": RAW"#)),
        ("for the type of a public key", jwk(r#""kty": RAW"#)),
        ("for a private key", jwk(r#""d": RAW"#)),
        ("for scoped tokens", server_key(r#""scoped_tokens": RAW"#)),
        ("for the token of a feed", feed_token(r#""token": "ak_live_do_not_show_me!""#)),
        ("for the token of a feed, beside a variable", feed(r#""token": RAW"#)),
        ("for the token of a feed, in a list", feed_token(r#""token": [RAW]"#)),
        ("for the variable of a feed", feed_token(r#""token_env": "ak-live-do_not_show_me""#)),
        ("for a feed", r#"{"keys_from": [RAW]}"#.into()),
        ("before a syntax error", r#"{"keys": [{"api_key": RAW, }]}"#.into()),
        ("within a syntax error", r#"{"keys": [{"api_key": ak_live_do_not_show_me}]}"#.into()),
    ];
    for (name, json) in cases {
        let json = json.replace("RAW", &format!("\"{RAW}\""));
        let lines: Vec<String> = load(&json).lines().map(|(_, line)| line).collect();
        assert_ne!(lines, [""; 0], "{name}: {json}");
        assert!(!lines.concat().contains("do_not_show_me"), "{name}: {lines:#?}");
    }
    let diagnostics = load(&keys(
        (r#""one""#, "[3141592653589793]"),
        (r#""two""#, "2718281828459045"),
    ));
    let lines: String = diagnostics.lines().map(|(_, line)| line).collect();
    assert!(!lines.contains("314159") && !lines.contains("271828"), "{lines}");
}

/// Envoy's `Struct` makes every number a double.
#[test]
fn whole_numbers_may_be_written_as_doubles() {
    for number in ["600", "600.0", "6e2", "6.0E+2"] {
        let json = format!(
            r#"{{"keys": [{{"id": "one", "api_key": {ONE}, "kind": "secret", "rate_limit_per_minute": {number}}}], "cors": {{"max_age": {number}}}}}"#
        );
        let loaded = Policy::load(json.as_bytes(), NOW).unwrap_or_else(|found| panic!("{number}: {found:#?}"));
        let limit = loaded.policy.keys()[0].restrictions().limit().map(|limit| limit.get());
        assert_eq!(limit, Some(600), "{number}");
        assert_eq!(&*loaded.policy.response().cors.max_age, "600", "{number}");
    }
}

/// As JSON, but for what is long.
#[test]
fn a_finding_shows_the_value() {
    for (json, shown) in [
        ("true", "true"),
        ("7", "7"),
        ("7.0", "7"),
        ("-7", "-7"),
        ("1.5", "1.5"),
        ("1e14", "100000000000000"),
        ("1e15", "1000000000000000.0"),
        ("1e300", "1e+300"),
        ("null", "null"),
        ("[1, 2]", "[2 items]"),
        (r#"{"a": 1}"#, "{1 fields}"),
    ] {
        let diagnostics = load(&server_key(&format!(r#""expires_at": {json}"#)));
        assert_eq!(diagnostics.errors()[0].value, shown, "{json}");
    }
}

#[test]
fn a_hundred_findings_are_kept_and_the_rest_is_counted() {
    for (count, last) in [
        (99, "keys[98].id"),
        (100, "keys[99].id"),
        (101, "and 1 more errors"),
        (102, "and 2 more errors"),
    ] {
        let key =
            |number: usize| format!(r#"{{"id": "key {number}", "api_key": "sha256:{number:064x}", "kind": "secret"}}"#);
        let keys: Vec<String> = (0..count).map(key).collect();
        let diagnostics = load(&format!(r#"{{"keys": [{}]}}"#, keys.join(",")));
        assert_eq!(
            (diagnostics.error_count(), diagnostics.errors().len()),
            (count, count.min(100))
        );
        let lines: Vec<String> = diagnostics.lines().map(|(_, line)| line).collect();
        assert_eq!(lines.len(), count.min(101));
        assert!(lines[lines.len() - 1].starts_with(last), "{lines:#?}");
    }
}

#[test]
fn a_second_key_of_one_id_is_found_among_many() {
    let key = |id: usize, number: usize| {
        format!(r#"{{"id": "key-{id}", "api_key": "sha256:{number:064x}", "kind": "secret"}}"#)
    };
    let mut keys: Vec<String> = (0..1_000).map(|number| key(number, number)).collect();
    for first in [0, 1, 500, 999] {
        keys.push(key(first, 1_000));
        let diagnostics = load(&format!(r#"{{"keys": [{}]}}"#, keys.join(",")));
        let [diagnostic] = diagnostics.errors() else {
            panic!("{first}: {diagnostics:#?}");
        };
        assert_eq!(diagnostic.message.reason, format!("keys[{first}] has this id already"));
        keys.pop();
    }
}
