//! Every row of the decision table, and what reaches the upstream: nothing of what is denied.
//! (Tables keep one case on a line, whatever its length: hence `rustfmt::skip`.)

use serde_json::{Value, json};

use crate::harness::{Gateway, Listener, Request, Upstream, Version};

pub struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    code: &'static str,
}

pub fn allowed(name: &'static str, request: Request) -> Case {
    Case {
        name,
        request,
        status: 200,
        code: "",
    }
}

pub fn denied(name: &'static str, status: u16, code: &'static str, request: Request) -> Case {
    Case {
        name,
        request,
        status,
        code,
    }
}

fn run(policy: &Value, cases: &[Case]) {
    run_with(1, policy, cases);
}

/// Sends each request with the policy in both of its forms over both versions of HTTP.
pub fn run_with(workers: u32, policy: &Value, cases: &[Case]) {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::new("string", policy))
        .listener(Listener::new("struct", policy).struct_form())
        .workers(workers)
        .start();
    for listener in ["string", "struct"] {
        for version in Version::BOTH {
            for Case {
                name,
                request,
                status,
                code,
            } in cases
            {
                let response = gateway.send_over(version, listener, request);
                let got = (response.status, response.code());
                assert_eq!(
                    got,
                    (*status, (*code).to_owned()),
                    "{name} ({listener}, {version:?}): {response:?}"
                );
                let reached = upstream.take().len();
                assert_eq!(
                    reached,
                    usize::from(code.is_empty()),
                    "{name} ({listener}, {version:?}) at the upstream"
                );
            }
        }
    }
}

const OPEN: &str = "key-without-any-list";
const LONGEST: [u8; 512] = [b'k'; 512];

#[rustfmt::skip]
fn policy() -> Value {
    let sites = ["https://yourapp.com", "https://*.yourapp.com", "http://localhost:3000", "capacitor://localhost"];
    json!({
        "key_sources": [
            {"header": "Authorization", "scheme": "Bearer"},
            {"header": "X-API-Key"},
            {"query": "api_key"},
            {"websocket_protocol": "api-key."},
        ],
        "keys": [
            {"id": "open", "api_key": OPEN},
            {"id": "longest", "api_key": String::from_utf8_lossy(&LONGEST)},
            {"id": "rotated", "api_key": [
                "rotated-key-yesterday",
                // printf rotated-key-tomorrow | sha256sum
                "sha256:d22e7a391406846af766e78b8f7ae3395d17777939f6267c1c027df621055664",
            ]},
            {"id": "disabled", "api_key": "disabled-key-000", "enabled": false, "allowed_ips": ["10.0.0.0/8"]},
            {"id": "early", "api_key": "early-key-000000", "not_before": "2999-01-01T00:00:00Z"},
            {"id": "expired", "api_key": "expired-key-0000", "expires_at": "2001-01-01T00:00:00+02:00"},
            {"id": "live", "api_key": "live-key-0000000", "not_before": "2001-01-01T00:00:00Z", "expires_at": "2999-01-01T00:00:00Z"},
            {"id": "secret", "api_key": "secret-key-00000", "kind": "secret", "allowed_ips": ["127.0.0.5"]},
            {"id": "office", "api_key": "office-key-00000", "allowed_ips": ["127.0.0.5", "127.0.1.0/24", "2001:db8::/32"], "allowed_origins": sites},
            {"id": "sites", "api_key": "sites-key-000000", "allowed_origins": sites},
            {"id": "own-page", "api_key": "own-page-key-000", "allowed_origins": ["http://api.test"], "origin_check": "required_or_same_origin"},
            {"id": "if-present", "api_key": "if-present-key-0", "allowed_origins": sites, "origin_check": "if_present"},
            {"id": "cors-only", "api_key": "cors-only-key-00", "allowed_origins": sites, "origin_check": "cors_only"},
            {"id": "star", "api_key": "star-key-0000000", "allowed_origins": ["*"]},
            {"id": "null", "api_key": "null-key-0000000", "allowed_origins": ["null"]},
            {"id": "any-port", "api_key": "any-port-key-000", "allowed_origins": ["http://localhost:*"]},
        ],
    })
}

fn with_key(key: &str) -> Request {
    Request::get("/v1/things").bearer(key)
}

#[test]
#[rustfmt::skip]
fn key() {
    let get = |path: &str| Request::get(path);
    run(
        &policy(),
        &[
            allowed("as a bearer token", with_key(OPEN)),
            allowed("the scheme in any case", get("/").header("Authorization", format!("bearer {OPEN}"))),
            allowed("in a header", get("/").header("X-API-Key", OPEN)),
            allowed("in the query", get(&format!("/?a=b&api_key={OPEN}&c"))),
            allowed("of the greatest length", with_key(&"k".repeat(512))),
            allowed("rotated: the old one", with_key("rotated-key-yesterday")),
            allowed("rotated: the new one, hashed", with_key("rotated-key-tomorrow")),
            denied("none", 401, "missing_api_key", get("/")),
            denied("another scheme", 401, "missing_api_key", get("/").header("Authorization", format!("Basic {OPEN}"))),
            denied("OPTIONS that is no preflight", 401, "missing_api_key", Request::new("OPTIONS", "/").header("Origin", "https://yourapp.com")),
            denied("two sources", 401, "ambiguous_api_key", with_key(OPEN).header("X-API-Key", "live-key-0000000")),
            denied("two sources, the same key", 401, "ambiguous_api_key", with_key(OPEN).header("X-API-Key", OPEN)),
            denied("header and query", 401, "ambiguous_api_key", get(&format!("/?api_key={OPEN}")).bearer(OPEN)),
            denied("two Authorization lines", 401, "ambiguous_api_key", with_key(OPEN).bearer("unknown-key-0000")),
            denied("two equal Authorization lines", 401, "ambiguous_api_key", with_key(OPEN).bearer(OPEN)),
            // Envoy drops an empty line of this header beside another before any filter sees it: the upstream gets the one.
            allowed("two Authorization lines, one of them empty", with_key(OPEN).header("Authorization", "")),
            denied("two header lines, one of them empty", 401, "ambiguous_api_key", get("/").header("X-API-Key", OPEN).header("x-api-key", "")),
            denied("two header lines", 401, "ambiguous_api_key", get("/").header("X-API-Key", OPEN).header("x-api-key", OPEN)),
            denied("two query parameters", 401, "ambiguous_api_key", get(&format!("/?api_key={OPEN}&api_key={OPEN}"))),
            denied("unknown", 401, "invalid_api_key", with_key("unknown-key-0000")),
            denied("one byte more", 401, "invalid_api_key", with_key(&format!("{OPEN}x"))),
            denied("one byte less", 401, "invalid_api_key", with_key(&OPEN[1..])),
            denied("another case", 401, "invalid_api_key", with_key(&OPEN.to_uppercase())),
            denied("longer than 512 bytes", 401, "invalid_api_key", with_key(&"k".repeat(513))),
            denied("not text", 401, "invalid_api_key", get("/").header("X-API-Key", b"key-\xff\xfe")),
            denied("not text, as a bearer token", 401, "invalid_api_key", get("/").header("Authorization", b"Bearer \x80\xff")),
            denied("the digest instead of the key", 401, "invalid_api_key", with_key("sha256:d22e7a391406846af766e78b8f7ae3395d17777939f6267c1c027df621055664")),
            denied("the id instead of the key", 401, "invalid_api_key", with_key("open")),
            allowed("under a name that CGI reads as the header's", get("/").header("X_API_Key", OPEN)),
            denied("under two such names", 401, "ambiguous_api_key", get("/").header("X_API_Key", OPEN).header("X-API-Key", OPEN)),
            denied("another key under such a name", 401, "ambiguous_api_key", with_key(OPEN).header("X.API.Key", "secret-key-00000")),
            denied("a parameter that PHP reads as the key's", 401, "ambiguous_api_key", Request::get(format!("/?api.key=secret-key-00000&api_key={OPEN}"))),
            allowed("as a WebSocket protocol", get("/").header("Sec-WebSocket-Protocol", format!("chat, api-key.{OPEN}"))),
            denied("two WebSocket protocols", 401, "ambiguous_api_key", get("/").header("Sec-WebSocket-Protocol", format!("api-key.{OPEN}")).header("Sec-WebSocket-Protocol", "api-key.x")),
            denied("a WebSocket protocol and a header", 401, "ambiguous_api_key", with_key(OPEN).header("Sec-WebSocket-Protocol", format!("api-key.{OPEN}"))),
            denied("a cookie is no source", 401, "missing_api_key", get("/").header("Cookie", format!("api_key={OPEN}"))),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn life_and_kind() {
    let secret = || with_key("secret-key-00000").from("127.0.0.5");
    run(
        &policy(),
        &[
            allowed("between the dates", with_key("live-key-0000000")),
            denied("disabled", 401, "key_disabled", with_key("disabled-key-000")),
            denied("not yet valid", 401, "key_not_yet_valid", with_key("early-key-000000")),
            denied("expired", 401, "key_expired", with_key("expired-key-0000")),
            allowed("secret from a server", secret()),
            denied("secret with Origin", 403, "secret_key_in_browser", secret().header("Origin", "https://yourapp.com")),
            denied("secret with Origin: null", 403, "secret_key_in_browser", secret().header("Origin", "null")),
            denied("secret with Sec-Fetch-Site", 403, "secret_key_in_browser", secret().header("Sec-Fetch-Site", "same-origin")),
            denied("secret of a typed address", 403, "secret_key_in_browser", secret().header("Sec-Fetch-Site", "none")),
            allowed("secret with Sec-Fetch-Mode alone, as Node's fetch sends it", secret().header("Sec-Fetch-Mode", "cors")),
            denied("kind comes before address", 403, "secret_key_in_browser", with_key("secret-key-00000").header("Sec-Fetch-Site", "cross-site")),
            denied("life comes before address", 401, "key_disabled", with_key("disabled-key-000").from("127.0.0.9")),
            denied("secret from elsewhere", 403, "ip_not_allowed", with_key("secret-key-00000")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn address() {
    let office = |from: &str| with_key("office-key-00000").from(from).header("Origin", "https://yourapp.com");
    run(
        &policy(),
        &[
            allowed("single address", office("127.0.0.5")),
            allowed("first of a network", office("127.0.1.0")),
            allowed("last of a network", office("127.0.1.255")),
            denied("the address before", 403, "ip_not_allowed", office("127.0.0.4")),
            denied("the address after", 403, "ip_not_allowed", office("127.0.0.6")),
            denied("beyond the network", 403, "ip_not_allowed", office("127.0.2.0")),
            denied("address comes before origin", 403, "ip_not_allowed", with_key("office-key-00000").from("127.0.0.6").header("Origin", "https://evil.com")),
            denied("a spoofed X-Forwarded-For", 403, "ip_not_allowed", office("127.0.0.6").header("X-Forwarded-For", "127.0.0.5")),
            denied("a spoofed X-Real-IP", 403, "ip_not_allowed", office("127.0.0.6").header("X-Real-IP", "127.0.0.5")),
            denied("a spoofed Forwarded", 403, "ip_not_allowed", office("127.0.0.6").header("Forwarded", "for=127.0.0.5")),
            denied("a spoofed Envoy header", 403, "ip_not_allowed", office("127.0.0.6").header("X-Envoy-External-Address", "127.0.0.5")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn origin() {
    let sites = |origin: &str| with_key("sites-key-000000").header("Origin", origin);
    let own_page = |site: &str| with_key("own-page-key-000").header("Sec-Fetch-Site", site);
    let if_present = || with_key("if-present-key-0");
    let cors_only = || with_key("cors-only-key-00");
    let star = || with_key("star-key-0000000");
    let denied = |name, request| denied(name, 403, "origin_not_allowed", request);
    run(
        &policy(),
        &[
            allowed("exact", sites("https://yourapp.com")),
            allowed("subdomain", sites("https://app.yourapp.com")),
            allowed("deep subdomain", sites("https://a.b-c.d_e.yourapp.com")),
            allowed("with its port", sites("http://localhost:3000")),
            allowed("another scheme", sites("capacitor://localhost")),
            denied("required and missing", with_key("sites-key-000000")),
            denied("required, from the API's own site", with_key("sites-key-000000").header("Sec-Fetch-Site", "same-origin")),
            allowed("from the API's own site", own_page("same-origin")),
            allowed("from the API's own site, without a referrer", own_page("same-origin").header("Origin", "null")),
            denied("from a sandboxed frame", own_page("cross-site").header("Origin", "null")),
            denied("from the same site, another host", own_page("same-site")),
            denied("from another site, without Origin", own_page("cross-site")),
            denied("a typed address", own_page("none")),
            denied("the API under another name", own_page("same-origin").header("Host", "evil.test")),
            denied("two Sec-Fetch-Site", own_page("same-origin").header("Sec-Fetch-Site", "same-origin")),
            denied("the API's own site, and another Origin", own_page("same-origin").header("Origin", "https://evil.com")),
            denied("required and unmatched", sites("https://evil.com")),
            denied("null", sites("null")),
            denied("another scheme of the same host", sites("http://yourapp.com")),
            denied("another port", sites("https://yourapp.com:8443")),
            denied("the default port", sites("https://yourapp.com:443")),
            denied("no port", sites("http://localhost")),
            denied("upper case", sites("https://YOURAPP.com")),
            denied("a prefix of the host", sites("https://evil-yourapp.com")),
            denied("a prefix without a dot", sites("https://evilyourapp.com")),
            denied("a suffix", sites("https://yourapp.com.evil.com")),
            denied("user info", sites("https://yourapp.com@evil.com")),
            denied("user info before a subdomain", sites("https://evil.com@a.yourapp.com")),
            denied("a trailing slash", sites("https://yourapp.com/")),
            denied("a path", sites("https://evil.com/.yourapp.com")),
            denied("a query", sites("https://evil.com?.yourapp.com")),
            denied("a fragment", sites("https://evil.com#.yourapp.com")),
            denied("a backslash", sites("https://evil.com\\.yourapp.com")),
            denied("a trailing dot", sites("https://yourapp.com.")),
            denied("an empty label", sites("https://a..yourapp.com")),
            denied("a leading dot", sites("https://.yourapp.com")),
            denied("a port within", sites("https://evil.com:80.yourapp.com")),
            denied("another scheme within", sites("https://evil.com://a.yourapp.com")),
            denied("percent within", sites("https://evil.com%60.yourapp.com")),
            denied("odd characters within", sites("https://evil.com$~.yourapp.com")),
            denied("white space within", sites("https://evil.com .yourapp.com")),
            denied("the pattern itself", sites("https://*.yourapp.com")),
            denied("a list in one line", sites("https://evil.com,https://a.yourapp.com")),
            denied("a list of allowed ones", sites("https://yourapp.com, https://yourapp.com")),
            denied("two lines", sites("https://yourapp.com").header("Origin", "https://evil.com")),
            denied("two lines, the other way round", sites("https://evil.com").header("Origin", "https://yourapp.com")),
            denied("two equal lines", sites("https://yourapp.com").header("Origin", "https://yourapp.com")),
            // Envoy drops an empty line beside another before any filter sees it: the upstream gets the one.
            allowed("two lines, one of them empty", sites("https://yourapp.com").header("Origin", "")),
            denied("two lines, both empty", sites("").header("Origin", "")),
            denied("empty", sites("")),
            denied("longer than 512 bytes", sites(&format!("https://{}.yourapp.com", "a.".repeat(260)))),
            denied("not ASCII", with_key("sites-key-000000").header("Origin", b"https://\xff.yourapp.com")),
            denied("UTF-8", sites("https://é.yourapp.com")),
            denied("an OPTIONS without Access-Control-Request-Method", {
                let mut options = sites("https://evil.com");
                options.method = "OPTIONS".to_owned();
                options
            }),
            allowed("if present: missing", if_present()),
            allowed("if present: matched", if_present().header("Origin", "https://yourapp.com")),
            denied("if present: unmatched", if_present().header("Origin", "https://evil.com")),
            denied("if present: null", if_present().header("Origin", "null")),
            denied("if present: empty", if_present().header("Origin", "")),
            denied("if present: two lines", if_present().header("Origin", "https://yourapp.com").header("Origin", "https://yourapp.com")),
            allowed("cors only: missing", cors_only()),
            allowed("cors only: unmatched", cors_only().header("Origin", "https://evil.com")),
            allowed("cors only: two lines", cors_only().header("Origin", "https://a.com").header("Origin", "https://b.com")),
            allowed("star: any", star().header("Origin", "https://anything.example")),
            denied("star: a list in one line", star().header("Origin", "https://a.com,https://b.com")),
            denied("star: missing", star()),
            denied("star: two lines", star().header("Origin", "https://a.com").header("Origin", "https://b.com")),
            denied("star: empty", star().header("Origin", "")),
            denied("star: longer than 512 bytes", star().header("Origin", format!("https://{}.com", "a".repeat(510)))),
            denied("star: not ASCII", star().header("Origin", b"https://\xff.com")),
            allowed("null: null", with_key("null-key-0000000").header("Origin", "null")),
            denied("null: another", with_key("null-key-0000000").header("Origin", "https://yourapp.com")),
            allowed("any port: none", with_key("any-port-key-000").header("Origin", "http://localhost")),
            allowed("any port: one", with_key("any-port-key-000").header("Origin", "http://localhost:65535")),
            denied("any port: not a port", with_key("any-port-key-000").header("Origin", "http://localhost:evil.com")),
            denied("any port: too great", with_key("any-port-key-000").header("Origin", "http://localhost:65536")),
            denied("any port: empty", with_key("any-port-key-000").header("Origin", "http://localhost:")),
            denied("any port: another host", with_key("any-port-key-000").header("Origin", "http://localhost.evil.com:80")),
            allowed("no list, no check", with_key(OPEN).header("Origin", "https://evil.com")),
            allowed("no list, no check of null", with_key(OPEN).header("Origin", "null")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn an_empty_policy_knows_no_key() {
    run(
        &json!({}),
        &[
            denied("without a key", 401, "missing_api_key", Request::get("/")),
            denied("with any key", 401, "invalid_api_key", with_key(OPEN)),
            denied("any preflight", 403, "origin_not_allowed", Request::preflight("/", "https://yourapp.com", "GET", "")),
        ],
    );
}

#[test]
#[rustfmt::skip]
fn anonymous_requests_have_a_policy_of_their_own() {
    let policy = json!({
        "keys": [{"id": "open", "api_key": OPEN}],
        "anonymous": {"allowed_origins": ["https://yourapp.com"], "origin_check": "if_present", "allowed_ips": ["127.0.0.5"]},
    });
    let anonymous = || Request::get("/").from("127.0.0.5");
    run(
        &policy,
        &[
            allowed("without a key", anonymous()),
            allowed("without a key from a site", anonymous().header("Origin", "https://yourapp.com")),
            denied("from another site", 403, "origin_not_allowed", anonymous().header("Origin", "https://evil.com")),
            denied("from another address", 403, "ip_not_allowed", Request::get("/").from("127.0.0.6")),
            denied("a wrong key is not anonymous", 401, "invalid_api_key", anonymous().bearer("unknown-key-0000")),
            denied("nor are two", 401, "ambiguous_api_key", anonymous().bearer(OPEN).bearer(OPEN)),
            allowed("a key has its own", with_key(OPEN)),
        ],
    );
}
