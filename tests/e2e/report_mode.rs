//! Report mode: nothing changes for clients and upstreams, and what would have been done can be counted and read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::upstream::Received;
use crate::harness::{Gateway, Listener, Request, Response, Upstream, Version};

const SITE: &str = "https://yourapp.com";
const EVIL: &str = "https://evil.com";

fn raw_key(id: &str) -> String {
    format!("key-of-{id}-00000")
}

#[rustfmt::skip]
fn policy(more: Value) -> Value {
    let mut policy = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
        "keys": [
            {"id": "site", "api_key": raw_key("site"), "allowed_origins": [SITE], "allowed_ips": ["127.0.0.1", "127.0.1.0/24"]},
            {"id": "search", "api_key": raw_key("search"), "scopes": ["search"], "indexes": ["products"]},
            {"id": "secret", "api_key": raw_key("secret"), "kind": "secret"},
            {"id": "off", "api_key": raw_key("off"), "enabled": false},
            {"id": "early", "api_key": raw_key("early"), "not_before": "2999-01-01T00:00:00Z"},
            {"id": "expired", "api_key": raw_key("expired"), "expires_at": "2001-01-01T00:00:00Z"},
            {"id": "two", "api_key": raw_key("two"), "rate_limit_per_minute": 2},
        ],
        "scopes": {"search": [{"methods": ["GET", "POST"], "path": "/v1/indexes/{index}/search"}, {"methods": ["GET"], "path": "/v1/stats"}]},
        "forward_api_key": false,
        "security_headers": {"preset": "none"},
    });
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    policy
}

/// In their order, for a limit is among them.
#[rustfmt::skip]
fn requests() -> [(&'static str, Request, Option<&'static str>); 30] {
    let get = |path: &str| Request::get(path);
    let with = |id: &str| get("/v1").bearer(&raw_key(id));
    let site = |origin: &str| with("site").header("Origin", origin);
    let search = |method: &str, path: &str| Request::new(method, path).header("X-API-Key", raw_key("search"));
    [
        ("allowed", site(SITE), None),
        ("allowed, with a body", Request::new("POST", "/v1").bearer(&raw_key("site")).header("Origin", SITE).body("{\"a\": 1}"), None),
        ("allowed, the key in the query", get(&format!("/v1?a=%20+&api_key={}&b", raw_key("search"))), Some("deny:scope_not_allowed")),
        ("no key", get("/v1").header("Origin", SITE), Some("deny:missing_api_key")),
        ("two keys", with("site").header("X-API-Key", raw_key("site")), Some("deny:ambiguous_api_key")),
        ("unknown", with("nobody").header("Origin", EVIL), Some("deny:invalid_api_key")),
        ("not text", get("/v1").header("X-API-Key", b"\xff\x80"), Some("deny:invalid_api_key")),
        ("disabled", with("off"), Some("deny:key_disabled")),
        ("not yet valid", with("early"), Some("deny:key_not_yet_valid")),
        ("expired", with("expired"), Some("deny:key_expired")),
        ("secret from a server", with("secret"), None),
        ("secret from a browser", with("secret").header("Sec-Fetch-Site", "cross-site").header("Origin", SITE), Some("deny:secret_key_in_browser")),
        ("another address", site(SITE).from("127.0.0.9"), Some("deny:ip_not_allowed")),
        ("an address of the network", site(SITE).from("127.0.1.9").header("X-Forwarded-For", "1.2.3.4"), None),
        ("another origin", site(EVIL), Some("deny:origin_not_allowed")),
        ("no origin", with("site"), Some("deny:origin_not_allowed")),
        ("two origins", site(SITE).header("Origin", EVIL), Some("deny:origin_not_allowed")),
        ("a preflight", Request::preflight("/v1", SITE, "PUT", "authorization"), Some("preflight")),
        ("a preflight from elsewhere", Request::preflight("/v1", EVIL, "PUT", "authorization"), Some("deny:origin_not_allowed")),
        ("an OPTIONS that is none", Request::new("OPTIONS", "/v1").header("Origin", SITE), Some("deny:missing_api_key")),
        ("an ambiguous path", search("GET", "/v1//indexes/..%2F"), Some("deny:ambiguous_path")),
        ("another method", search("DELETE", "/v1/indexes/products/search"), Some("deny:scope_not_allowed")),
        ("another index", search("GET", "/v1/indexes/users/search"), Some("deny:index_not_allowed")),
        ("an index, and a method to be overridden", search("POST", "/v1/indexes/products/search").header("X-HTTP-Method-Override", "DELETE"), None),
        ("the first of two", with("two"), None),
        ("a redirect, the second of two", get("/redirect").bearer(&raw_key("two")), None),
        ("one too many", with("two"), Some("deny:rate_limit_exceeded")),
        ("another too many, of Envoy's own", get("/direct").bearer(&raw_key("two")), Some("deny:rate_limit_exceeded")),
        ("to a dead upstream", get("/dead").bearer(&raw_key("nobody")), Some("deny:invalid_api_key")),
        ("with CORS of the upstream's own", get("/cors").bearer(&raw_key("site")).header("Origin", SITE), None),
    ]
}

/// The bytes as they came, less the one line that Envoy makes up anew for each request.
fn as_sent(received: &Received) -> (String, Vec<u8>) {
    let head = String::from_utf8_lossy(&received.head).into_owned();
    let lines = head
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("x-request-id: "));
    (lines.collect(), received.body.clone())
}

/// All that a client gets, less what differs from one moment to the next.
fn as_read(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let is_steady = |(name, _): &&(String, String)| !["date", "x-envoy-upstream-service-time"].contains(&name.as_str());
    let headers = response.headers.iter().filter(is_steady).cloned().collect();
    (response.status, headers, response.body.clone())
}

/// Key id and decision of each request of a listener, from the access log.
fn logged(gateway: &Gateway, listener: &str) -> Vec<(Value, Value)> {
    let log = gateway.access_log();
    let lines = log.iter().filter(|line| line["listener"] == listener);
    lines
        .map(|line| (line["key_id"].clone(), line["decision"].clone()))
        .collect()
}

/// The filter's counters that are not 0, by name.
fn counters(gateway: &Gateway) -> BTreeMap<String, u64> {
    let stats = gateway.admin("/stats?usedonly&filter=keyfence_(requests|preflights)_total");
    let lines = stats.lines().filter_map(|line| line.split_once(": "));
    let count = |(name, count): (&str, &str)| {
        (
            name.trim_start_matches("wasmcustom.").to_owned(),
            count.parse().unwrap(),
        )
    };
    lines.map(count).collect()
}

fn upstream_with_cors() -> Upstream {
    let upstream = Upstream::start();
    upstream.answer(
        "/cors",
        &[
            ("Access-Control-Allow-Origin", "*"),
            ("Access-Control-Max-Age", "5"),
            ("Vary", "Accept"),
            ("X-RateLimit-Limit", "9"),
            ("X-Powered-By", "a"),
        ],
    );
    upstream
}

#[test]
fn the_same_requests_in_both_modes() {
    let upstream = upstream_with_cors();
    for version in Version::BOTH {
        for workers in [1, 2] {
            let gateway = Gateway::in_front_of(&upstream)
                .listener(Listener::without_filter("plain"))
                .listener(Listener::new("enforce", &policy(json!({}))).vm_id("enforce"))
                .listener(Listener::new("report", &policy(json!({"enforcement": "report"}))).vm_id("report"))
                .workers(workers)
                .start();
            let requests = requests();
            for (name, request, decision) in &requests {
                let name = format!("{name} ({version:?}, {workers} workers)");
                let plain = gateway.send_over(version, "plain", request);
                let plain_received = upstream.take();
                let reported = gateway.send_over(version, "report", request);
                let received = upstream.take();
                assert_eq!(as_read(&reported), as_read(&plain), "{name}");
                assert_eq!(
                    received.iter().map(as_sent).collect::<Vec<_>>(),
                    plain_received.iter().map(as_sent).collect::<Vec<_>>(),
                    "{name}"
                );
                let enforced = gateway.send_over(version, "enforce", request);
                upstream.take();
                let code = decision.and_then(|decision| decision.strip_prefix("deny:"));
                assert_eq!(enforced.code(), code.unwrap_or_default(), "{name}: {enforced:?}");
            }
            // Two workers may log out of order.
            if workers == 1 {
                gateway.wait_for("the access log", |gateway| {
                    gateway.access_log().len() == 3 * requests.len()
                });
                let in_both = logged(&gateway, "enforce").into_iter().zip(logged(&gateway, "report"));
                for ((name, _, decision), (enforced, reported)) in requests.iter().zip(in_both) {
                    assert_eq!(enforced.1, json!(decision), "{name}");
                    let expected = decision.map(|decision| decision.replace("deny:", "report:"));
                    assert_eq!(reported, (enforced.0, json!(expected)), "{name}");
                }
            }
            let counters = counters(&gateway);
            for (counter, count) in &counters {
                // Of each pair one is the enforcing listener's, the other the reporting one's.
                let twin = match counter.as_str() {
                    "decision=.=allow;.;keyfence_preflights_total" => {
                        "decision=.=report;.;keyfence_preflights_total".into()
                    }
                    "decision=.=report;.;keyfence_preflights_total" => {
                        "decision=.=allow;.;keyfence_preflights_total".into()
                    }
                    name if name.contains("=deny;") => name.replace("=deny;", "=report;"),
                    name => name.replace("=report;", "=deny;"),
                };
                assert_eq!(
                    counters.get(&twin),
                    Some(count),
                    "{counter} and {twin} in {counters:#?}"
                );
            }
            let total: u64 = counters.values().sum();
            assert_eq!(total as usize, 2 * requests.len(), "{counters:#?}");
        }
    }
}

/// The one deviation: an upstream would take a name that a client gives itself for the filter's word.
#[test]
fn what_a_client_says_of_its_identity_does_not_pass_in_report_mode_either() {
    let upstream = Upstream::start();
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .listener(Listener::new("report", &policy(json!({"enforcement": "report"}))))
        .start();
    for version in Version::BOTH {
        for request in [Request::get("/"), Request::get("/").bearer(&raw_key("search"))] {
            for name in ["X-Key-Id", "X_Key_Id", "x-key_id", "X.Key.Id", "X+Key!Id"] {
                gateway.send_over(version, "plain", &request);
                let plain = as_sent(&upstream.take_one());
                let forged = request.clone().header(name, "admin");
                gateway.send_over(version, "report", &forged);
                assert_eq!(as_sent(&upstream.take_one()), plain, "{name} ({version:?})");
            }
        }
    }
}

#[test]
fn security_headers_stay_as_configured() {
    let upstream = upstream_with_cors();
    let reporting = |more: Value| {
        let mut policy = policy(json!({"enforcement": "report"}));
        policy["security_headers"] = more;
        policy
    };
    let gateway = Gateway::in_front_of(&upstream)
        .listener(Listener::without_filter("plain"))
        .listener(Listener::new("default", &reporting(json!({}))))
        .listener(Listener::new(
            "own",
            &reporting(json!({"preset": "none", "set": {"X-Own": "a"}, "remove": ["X-Powered-By"]})),
        ))
        .start();
    for version in Version::BOTH {
        for path in ["/cors", "/direct", "/dead"] {
            let request = Request::get(path).header("Origin", EVIL);
            let plain = gateway.send_over(version, "plain", &request);
            let with_default = gateway.send_over(version, "default", &request);
            assert_eq!(with_default.header("x-frame-options"), Some("DENY"), "{path}");
            assert_eq!(with_default.all("vary"), plain.all("vary"), "{path}");
            let (status, mut headers, body) = as_read(&gateway.send_over(version, "own", &request));
            let own = headers.iter().position(|header| header.0 == "x-own").unwrap();
            assert_eq!(headers.remove(own).1, "a");
            let (_, mut expected, _) = as_read(&plain);
            expected.retain(|(name, _)| name != "x-powered-by");
            assert_eq!((status, headers, body), (plain.status, expected, plain.body), "{path}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn for_one_key_and_for_all_but_one() {
    let upstream = upstream_with_cors();
    let key = |id: &str, enforcement: &str| json!({"id": id, "api_key": raw_key(id), "allowed_origins": [SITE], "rate_limit_per_minute": 1, "enforcement": enforcement});
    let policy = |enforcement: &str| json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"query": "api_key"}],
        "keys": [key("enforced", "enforce"), key("reported", "report")],
        "anonymous": {"allowed_ips": ["127.0.0.5"], "enforcement": "report"},
        "enforcement": enforcement,
    });
    for version in Version::BOTH {
        let gateway = Gateway::in_front_of(&upstream)
            .listener(Listener::new("enforce", &policy("enforce")).vm_id("enforce"))
            .listener(Listener::new("report", &policy("report")).vm_id("report"))
            .start();
        let with = |id: &str, origin: &str| Request::get("/cors").bearer(&raw_key(id)).header("Origin", origin);
        let preflight = |query: &str, origin: &str| Request::preflight(format!("/cors{query}"), origin, "GET", "authorization");
        let own = |id: &str| format!("?api_key={}", raw_key(id));
        // Status, decision in the access log, and whether the filter does CORS.
        let steps = [
            ("enforce", with("enforced", SITE), 200, None, true),
            ("enforce", with("enforced", SITE), 429, Some("deny:rate_limit_exceeded"), true),
            ("enforce", with("reported", EVIL), 200, Some("report:origin_not_allowed"), false),
            ("enforce", with("reported", SITE), 200, None, false),
            ("enforce", with("reported", SITE), 200, Some("report:rate_limit_exceeded"), false),
            ("enforce", Request::get("/cors"), 200, Some("report:ip_not_allowed"), false),
            ("enforce", with("nobody", EVIL), 401, Some("deny:invalid_api_key"), true),
            ("enforce", preflight("", SITE), 204, Some("preflight"), true),
            ("enforce", preflight("", EVIL), 403, Some("deny:origin_not_allowed"), true),
            ("enforce", preflight(&own("reported"), SITE), 200, Some("preflight"), false),
            ("enforce", preflight(&own("reported"), EVIL), 200, Some("report:origin_not_allowed"), false),
            ("report", with("enforced", SITE), 200, None, true),
            ("report", with("enforced", EVIL), 403, Some("deny:origin_not_allowed"), true),
            ("report", with("nobody", SITE), 200, Some("report:invalid_api_key"), false),
            ("report", Request::get("/cors"), 200, Some("report:ip_not_allowed"), false),
            ("report", preflight("", SITE), 200, Some("preflight"), false),
            ("report", preflight("", EVIL), 200, Some("report:origin_not_allowed"), false),
            ("report", preflight(&own("enforced"), SITE), 204, Some("preflight"), true),
        ];
        for (listener, request, status, _, own_cors) in &steps {
            let response = gateway.send_over(version, listener, request);
            assert_eq!(response.status, *status, "{listener}, {request:?}: {response:?}");
            assert_eq!(upstream.take().len(), usize::from(*status == 200), "{listener}, {request:?}");
            let allowed = response.header("access-control-allow-origin");
            assert_eq!(allowed != Some("*"), *own_cors, "{listener}, {request:?}: {response:?}");
            let is_limited = *own_cors && request.method == "GET" && response.status != 401;
            assert_eq!(response.header("x-ratelimit-remaining").is_some(), is_limited, "{listener}, {request:?}: {response:?}");
        }
        gateway.wait_for("the access log", |gateway| gateway.access_log().len() == steps.len());
        for ((listener, request, _, decision, _), line) in steps.iter().zip(gateway.access_log()) {
            assert_eq!(line["decision"], json!(decision), "{listener}, {request:?}: {line}");
        }
    }
}
