//! Keys of a feed (spec, section 17) in a real Envoy: the plain way first, then a server that lies, that is not there, and that has a lot.

mod changes;
mod lies;
mod outages;
mod size;
mod token;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::feed_server::Reply;
use crate::harness::gateway::Setup;
use crate::harness::{FeedServer, Gateway, Listener, Request, Response, Upstream};
use crate::observability::{series, with_labels};

/// The token of the feed's requests. Nothing may show it.
pub const TOKEN: &str = "kft_feed-token.4c1d~e0b7/9+a==";

/// The raw key of the policy's own key.
pub const STATIC: &str = "ak_test_static_2f4d6b8a0c";

const SITE: &str = "https://shop.example";
const STATIC_SITE: &str = "https://static.example";

/// The raw key of a fed key's id.
pub fn raw(id: &str) -> String {
    format!("ak_test_fed_{id}_0123456789")
}

pub fn digest(raw: &str) -> String {
    let hex: String = Sha256::digest(raw).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A fed key without any restriction.
pub fn key(id: &str) -> Value {
    json!({"id": id, "api_key": digest(&raw(id))})
}

pub fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

/// A policy with one key of its own, and a feed that is asked once a second.
pub fn policy() -> Value {
    json!({
        "keys": [{"id": "static", "api_key": digest(STATIC)}],
        "keys_from": {"cluster": "control", "token": TOKEN, "wait_seconds": 1},
        "scopes": {"read": [{"methods": ["GET"], "path": "/v1/**"}]},
    })
}

/// A gateway whose keys come from a feed.
pub struct Fed {
    pub feed: FeedServer,
    pub gateway: Gateway,
    pub upstream: Upstream,
    workers: usize,
}

impl Fed {
    /// With one worker.
    pub fn start(policy: &Value) -> Fed {
        Self::with(policy, 1, FeedServer::start(), |setup| setup)
    }

    /// `further` has the last word on the gateway.
    pub fn with(policy: &Value, workers: u32, feed: FeedServer, further: impl FnOnce(Setup) -> Setup) -> Fed {
        let upstream = Upstream::start();
        let setup = Gateway::in_front_of(&upstream)
            .listener(Listener::new("main", policy).updatable())
            .workers(workers)
            .cluster("control", feed.address())
            .amend(with_labels);
        let gateway = further(setup).start();
        let fed = Fed {
            feed,
            gateway,
            upstream,
            workers: workers as usize,
        };
        // With ECDS there is no filter at first.
        fed.gateway.wait_for("the filter", |gateway| {
            fed.all(|| gateway.send("main", &Request::get("/")).code() == "missing_api_key")
        });
        fed
    }

    /// The policy is replaced, and in force when this returns: its own key is another one from now on.
    pub fn update(&mut self, policy: &Value, marker: &str) {
        let mut policy = policy.clone();
        policy["keys"].as_array_mut().unwrap().push(key(marker));
        self.gateway.update("main", &policy);
        self.wait_for_all(marker, 200);
    }

    /// Whether it holds on every worker: connections are spread over them.
    pub fn all(&self, mut holds: impl FnMut() -> bool) -> bool {
        (0..if self.workers == 1 { 1 } else { 24 }).all(|_| holds())
    }

    pub fn get(&self, id: &str) -> Response {
        self.gateway.send("main", &get(id))
    }

    /// Until requests with the key of this id get this status from every worker.
    pub fn wait_for_all(&self, id: &str, status: u16) {
        self.gateway.wait_for(&format!("{status} for {id}"), |_| {
            self.all(|| self.get(id).status == status)
        });
    }

    /// Sets a key that is new, and waits until it is in force everywhere: then everything before it is, too.
    pub fn wait_for_marker(&self, id: &str) {
        self.feed.set([key(id)]);
        self.wait_for_all(id, 200);
    }

    /// Until all VMs, those of the workers and that of the main thread, have asked for what is behind the newest revision.
    pub fn settle(&self) {
        self.gateway.wait_for("all VMs", |_| {
            self.feed.instances_at(self.feed.epoch_and_revision().1).len() > self.workers
        });
    }

    /// `200`, or the error's code, from every worker.
    #[track_caller]
    pub fn assert_outcome(&self, request: &Request, expected: &str) {
        for _ in 0..if self.workers == 1 { 1 } else { 24 } {
            let response = self.gateway.send("main", request);
            assert_eq!(outcome(&response), expected, "{request:?}");
        }
    }

    /// The sum of the filter's series of this name, with this code where one is given.
    pub fn metric(&self, name: &str, code: Option<&str>) -> f64 {
        metric(&self.gateway, name, code)
    }

    /// The refused keys, as some VM's poll of now tells them.
    pub fn reported(&self) -> Value {
        self.feed.take();
        let mut found = Value::Null;
        self.gateway.wait_for("a poll", |_| {
            let polls = self.feed.take();
            found = polls.last().map_or(Value::Null, |poll| poll.body["refused"].clone());
            !polls.is_empty()
        });
        found
    }
}

pub fn metric(gateway: &Gateway, name: &str, code: Option<&str>) -> f64 {
    let series = series(gateway);
    let of_name = series
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(name));
    let label = code.map(|code| format!(r#"code="{code}""#));
    of_name
        .filter(|(series, _)| label.as_ref().is_none_or(|label| series.contains(label)))
        .map(|(_, value)| value)
        .sum()
}

/// Ends what other threads do until this is set, also where the test fails.
pub struct End<'d>(pub &'d AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

pub fn get(id: &str) -> Request {
    let raw = if id == "static" { STATIC.to_owned() } else { raw(id) };
    Request::get("/v1/x").bearer(&raw)
}

pub fn outcome(response: &Response) -> String {
    match response.status {
        status @ 200..300 => status.to_string(),
        status => format!("{status} {}", response.code()),
    }
}

const UNAVAILABLE: &str = "503 policy_unavailable";

#[test]
fn keys_work_as_those_of_the_policy_do() {
    let mut own = policy();
    own["keys"][0]["allowed_origins"] = json!([STATIC_SITE]);
    own["upstream_header_names"] = json!(["X-Plan"]);
    let fed = Fed::start(&own);
    fed.feed.set([
        key("plain"),
        with(
            with(key("shop"), "allowed_origins", json!([SITE])),
            "upstream_headers",
            json!({"X-Plan": "gold"}),
        ),
        with(key("off"), "enabled", json!(false)),
        with(
            with(key("off-site"), "enabled", json!(false)),
            "allowed_origins",
            json!(["https://off.example"]),
        ),
        with(key("late"), "expires_at", json!("2020-01-01T00:00:00Z")),
        with(key("office"), "allowed_ips", json!(["192.0.2.0/24"])),
        with(key("reader"), "scopes", json!(["read"])),
        with(key("few"), "rate_limit_per_minute", json!(1)),
        with(
            with(key("backend"), "kind", json!("secret")),
            "api_key",
            json!([digest(&raw("backend")), digest(&raw("old"))]),
        ),
        with(
            with(key("trial"), "allowed_origins", json!([SITE])),
            "enforcement",
            json!("report"),
        ),
    ]);
    fed.wait_for_all("plain", 200);
    let post = |id: &str| Request::new("POST", "/v1/x").bearer(&raw(id));
    let cases = [
        ("a key", get("plain"), "200"),
        ("an unknown one", get("nobody"), "401 invalid_api_key"),
        ("none", Request::get("/"), "401 missing_api_key"),
        ("from its site", get("shop").header("Origin", SITE), "200"),
        (
            "from elsewhere",
            get("shop").header("Origin", "https://evil.example"),
            "403 origin_not_allowed",
        ),
        ("from nowhere", get("shop"), "403 origin_not_allowed"),
        ("disabled", get("off"), "401 key_disabled"),
        ("expired", get("late"), "401 key_expired"),
        ("from another network", get("office"), "403 ip_not_allowed"),
        ("in its scope", get("reader"), "200"),
        ("outside of its scope", post("reader"), "403 scope_not_allowed"),
        ("within the limit", get("few"), "200"),
        ("over the limit", get("few"), "429 rate_limit_exceeded"),
        ("a secret key", get("backend"), "200"),
        ("its other entry", get("old"), "200"),
        (
            "a secret key in a browser",
            get("backend").header("Sec-Fetch-Site", "none"),
            "403 secret_key_in_browser",
        ),
        (
            "in report mode",
            get("trial").header("Origin", "https://evil.example"),
            "200",
        ),
        (
            "a preflight of a fed key's site",
            Request::preflight("/v1/x", SITE, "GET", ""),
            "204",
        ),
        (
            "of the policy's own",
            Request::preflight("/v1/x", STATIC_SITE, "GET", ""),
            "204",
        ),
        (
            "of a disabled key's site",
            Request::preflight("/v1/x", "https://off.example", "GET", ""),
            "403 origin_not_allowed",
        ),
        (
            "of nobody's site",
            Request::preflight("/v1/x", "https://evil.example", "GET", ""),
            "403 origin_not_allowed",
        ),
        (
            "the policy's own key",
            get("static").header("Origin", STATIC_SITE),
            "200",
        ),
    ];
    for (name, request, expected) in &cases {
        let response = fed.gateway.send("main", request);
        assert_eq!(outcome(&response), *expected, "{name}");
        let vary = response.all("vary").join(", ");
        // In report mode no CORS header is touched.
        assert!(vary.contains("Origin") || *name == "in report mode", "{name}: {vary}");
    }
    // CORS is the fed key's own, and the identity headers are set and taken away as for other keys.
    fed.upstream.take();
    let request = get("shop")
        .header("Origin", SITE)
        .header("X-Plan", "forged")
        .header("X-Key-Id", "forged");
    let request = request
        .header("X-Key-Filter", "forged")
        .header("X_Key_Subject", "forged");
    let response = fed.gateway.send("main", &request);
    assert_eq!(response.header("access-control-allow-origin"), Some(SITE));
    let received = fed.upstream.take_one();
    let told = ["x-key-id", "x-plan", "x-key-filter", "x_key_subject"].map(|name| received.all(name));
    assert_eq!(told, [vec!["shop".to_owned()], vec!["gold".to_owned()], vec![], vec![]]);
    // The access log names them.
    fed.gateway.wait_for("the access log", |gateway| {
        gateway.access_log().iter().any(|line| line["key_id"] == "shop")
    });
    assert_eq!(fed.metric("keyfence_feed_keys", None), 10.0);
    assert_eq!(fed.metric("keyfence_feed_refused_keys", None), 0.0);
    assert_eq!(fed.metric("keyfence_feed_revision", None), 2.0);
    let answered = fed.metric("keyfence_feed_last_answer_timestamp_seconds", None);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!((now - answered).abs() < 30.0, "{answered} at {now}");
    // An origin is allowed as long as an enabled key in force lists it.
    fed.feed.remove(["shop"]);
    fed.wait_for_all("shop", 401);
    fed.assert_outcome(&Request::preflight("/v1/x", SITE, "GET", ""), "204");
    fed.feed.set([with(
        with(key("trial"), "allowed_origins", json!([SITE])),
        "enabled",
        json!(false),
    )]);
    let preflight = Request::preflight("/v1/x", SITE, "GET", "");
    fed.gateway.wait_for("the origin to go", |gateway| {
        gateway.send("main", &preflight).status == 403
    });
    fed.assert_outcome(&Request::preflight("/v1/x", STATIC_SITE, "GET", ""), "204");
}

#[test]
fn vary_is_there_without_any_origin() {
    let fed = Fed::start(&policy());
    fed.wait_for_marker("a");
    for request in [
        get("a"),
        get("static"),
        get("nobody"),
        Request::get("/"),
        Request::get("/direct").bearer(STATIC),
    ] {
        let response = fed.gateway.send("main", &request);
        assert!(
            response.all("vary").join(", ").contains("Origin"),
            "{request:?}: {response:?}"
        );
    }
}

#[test]
fn before_the_first_answer_only_the_policys_own_keys_are_known() {
    let mut own = policy();
    own["keys"][0]["allowed_origins"] = json!([STATIC_SITE]);
    own["keys"]
        .as_array_mut()
        .unwrap()
        .push(with(key("off"), "enabled", json!(false)));
    let feed = FeedServer::start();
    feed.lie(|_| {
        Some(Reply::Later(
            Duration::from_secs(20),
            Box::new(Reply::Close(Vec::new())),
        ))
    });
    let fed = Fed::with(&own, 2, feed, |setup| setup);
    let at_static = |request: Request| request.header("Origin", STATIC_SITE);
    let cases = [
        ("the policy's own", at_static(get("static")), "200"),
        ("a fed key", get("a"), UNAVAILABLE),
        ("garbage", Request::get("/").bearer("garbage"), UNAVAILABLE),
        ("none", Request::get("/"), "401 missing_api_key"),
        ("the policy's own, disabled", get("off"), "401 key_disabled"),
        (
            "the policy's own, from elsewhere",
            get("static"),
            "403 origin_not_allowed",
        ),
        (
            "a preflight of the policy's own",
            Request::preflight("/", STATIC_SITE, "GET", ""),
            "204",
        ),
        (
            "another preflight",
            Request::preflight("/", SITE, "GET", ""),
            UNAVAILABLE,
        ),
    ];
    for (name, request, expected) in &cases {
        fed.assert_outcome(request, expected);
        let response = fed.gateway.send("main", request);
        assert!(
            response.all("vary").join(", ").contains("Origin"),
            "{name}: {response:?}"
        );
    }
    // A page can read why it got the 503, if it may read anything.
    let response = fed.gateway.send("main", &at_static(get("a")));
    assert_eq!(response.header("access-control-allow-origin"), Some(STATIC_SITE));
    assert_eq!(
        fed.gateway
            .send("main", &get("a").header("Origin", SITE))
            .header("access-control-allow-origin"),
        None
    );
    assert_eq!(fed.metric("keyfence_feed_last_answer_timestamp_seconds", None), 0.0);
}

#[test]
fn an_incomplete_answer_is_none_before_a_complete_one() {
    let feed = FeedServer::start();
    feed.lie(|poll| {
        let (epoch, revision) = ("epoch-1", 7);
        poll.body["after"]
            .is_null()
            .then(|| Reply::json(&json!({"epoch": epoch, "revision": revision, "complete": false, "set": [key("a")]})))
    });
    let fed = Fed::with(&policy(), 1, feed, |setup| setup);
    fed.gateway.wait_for("the failure", |_| {
        fed.metric("keyfence_feed_failures_total", Some("malformed")) > 0.0
    });
    fed.assert_outcome(&get("a"), UNAVAILABLE);
    fed.feed.be_honest();
    fed.wait_for_marker("b");
    fed.assert_outcome(&get("a"), "401 invalid_api_key");
}

#[test]
fn every_worker_gets_every_change() {
    let fed = Fed::with(&policy(), 2, FeedServer::start(), |setup| setup);
    fed.wait_for_marker("first");
    for round in 0..5 {
        let id = format!("key-{round}");
        let changed = Instant::now();
        fed.feed.set([key(&id)]);
        fed.wait_for_all(&id, 200);
        let there = changed.elapsed();
        let changed = Instant::now();
        fed.feed.remove([&*id]);
        fed.wait_for_all(&id, 401);
        println!("in force after {there:?}, gone after {:?}", changed.elapsed());
        assert!(there < Duration::from_secs(1) && changed.elapsed() < Duration::from_secs(1));
    }
    // Each VM has a name of its own, and keeps it.
    fed.feed.take();
    thread::sleep(Duration::from_secs(3));
    let polls = fed.feed.take();
    let instances: std::collections::BTreeSet<&str> = polls.iter().map(|poll| poll.instance()).collect();
    assert!((2..=3).contains(&instances.len()), "{instances:?}");
    for poll in &polls {
        let instance = poll.instance();
        assert!(
            instance.len() == 32 && instance.bytes().all(|b| b.is_ascii_hexdigit()),
            "{instance}"
        );
        let expected = json!({
            "node": "test",
            "instance": instance,
            "after": {"epoch": "epoch-1", "revision": 12},
            "cursor": null,
            "wait_seconds": 1,
            "refused": {"count": 0, "first": []},
        });
        assert_eq!(poll.body, expected);
        assert_eq!(poll.received.request_line(), "POST /v1/feed HTTP/1.1");
        let header = |name: &str| poll.received.all(name).join("|");
        assert_eq!(header("host"), "keyfence-control");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("authorization"), format!("Bearer {TOKEN}"));
    }
    // Nothing new: one poll a second and instance.
    assert!(polls.len() <= instances.len() * 5, "{} polls in 3 s", polls.len());
}
