//! What a gateway promises whose keys come from a feed, however the policy reaches it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Request, Response, Upstream};
use crate::key_server::{KeyServer, TOKEN_ENV};
use crate::process::{PATIENCE, within};
use crate::registry::digest;

const SITE: &str = "https://yourapp.com";
const OTHER_SITE: &str = "https://evil.example";
const PATH: &str = "/v1/indexes/products/search";

/// Connections are spread over the workers, each of which has keys of its own: so many requests ask all of them.
const REQUESTS: usize = 24;

/// A gateway whose policy is [`policy`].
pub trait Gateway: Sync {
    fn try_send(&self, request: &Request) -> io::Result<Response>;

    /// What Prometheus sees.
    fn metrics(&self) -> String;

    /// What Envoy's admin interface shows.
    fn config_dump(&self) -> String;

    /// Brings it the policy with this `docs_url`.
    fn apply(&self, docs_url: &str);
}

/// A policy without keys of its own.
pub fn policy(cluster: &str, docs_url: &str) -> Value {
    json!({"keys_from": {"cluster": cluster, "token_env": TOKEN_ENV}, "docs_url": docs_url})
}

/// A key of the feed, for pages of [`SITE`]; [`raw`] has its raw form.
fn key(id: &str) -> Value {
    json!({"id": id, "api_key": digest(raw(id).as_bytes()), "allowed_origins": [SITE]})
}

fn raw(id: &str) -> String {
    format!("{id}-key-0123456789")
}

/// A request of a page with this key.
fn page(id: &str) -> Request {
    Request::get(PATH).bearer(&raw(id)).header("Origin", SITE)
}

/// All of it, in a gateway that has no policy yet. `node` is in the name that the gateway has for its control plane.
pub fn assert_kept(
    name: &str,
    gateway: &impl Gateway,
    server: &mut KeyServer,
    cluster: &str,
    node: &str,
    upstream: &Upstream,
) {
    println!("{name}");
    bring_keys(gateway, server);
    assert_answers(name, gateway, upstream);
    assert_connection_is_watched(name, gateway, cluster);
    assert_changes_come(gateway, server);
    assert_server_sees(server, node);
    assert_policies_keep_keys(name, gateway);
    assert_server_may_go(name, gateway, server);
}

/// Afterwards `shop` and `app` are in force.
pub fn bring_keys(gateway: &impl Gateway, server: &KeyServer) {
    server.write(&[key("shop"), key("app")]);
    apply(gateway, "https://docs.example.com/0");
    until(gateway, "the keys", "shop", 200);
}

/// Brings a policy, and waits until it is in force on every worker. Without any policy all requests pass.
pub fn apply(gateway: &impl Gateway, docs_url: &str) {
    gateway.apply(docs_url);
    within(PATIENCE, docs_url, || {
        (0..REQUESTS).all(|_| {
            let answer = gateway.try_send(&Request::get(PATH));
            answer.is_ok_and(|answer| answer.text().contains(docs_url))
        })
    });
}

/// Until pages with this key get this status from every worker; how long that took.
fn until(gateway: &impl Gateway, what: &str, id: &str, status: u16) -> Duration {
    let begun = Instant::now();
    within(PATIENCE, &format!("{what}: {status} for {id}"), || {
        (0..REQUESTS).all(|_| gateway.try_send(&page(id)).is_ok_and(|answer| answer.status == status))
    });
    begun.elapsed()
}

fn assert_answers(name: &str, gateway: &impl Gateway, upstream: &Upstream) {
    upstream.take();
    let elsewhere = Request::get(PATH).bearer(&raw("shop")).header("Origin", OTHER_SITE);
    let preflight = |origin| Request::preflight(PATH, origin, "GET", "authorization");
    for (case, request, status, code, key_ids) in [
        ("a key and its origin", page("shop"), 200, "", &["shop"][..]),
        ("another key", page("app"), 200, "", &["app"]),
        ("another origin", elsewhere, 403, "origin_not_allowed", &[]),
        ("no key", Request::get(PATH), 401, "missing_api_key", &[]),
        ("an unknown key", page("unknown"), 401, "invalid_api_key", &[]),
        ("a preflight", preflight(SITE), 204, "", &[]),
        (
            "a preflight of another origin",
            preflight(OTHER_SITE),
            403,
            "origin_not_allowed",
            &[],
        ),
    ] {
        let response = gateway.try_send(&request).unwrap();
        let found = (response.status, response.code());
        assert_eq!(found, (status, code.to_owned()), "{name}: {case}: {response:?}");
        let received = upstream.take();
        let found: Vec<String> = received.iter().flat_map(|request| request.all("x-key-id")).collect();
        assert_eq!(found, key_ids, "{name}: {case}");
    }
}

/// A poll waits without traffic, so only the keepalive that `render` writes notices a server that fails silently.
fn assert_connection_is_watched(name: &str, gateway: &impl Gateway, cluster: &str) {
    let dump: Value = serde_json::from_str(&gateway.config_dump()).unwrap();
    let found = find_cluster(&dump, cluster).unwrap_or_else(|| panic!("{name}: {cluster} in {dump:#}"));
    let keepalive = json!({"keepalive_probes": 3, "keepalive_time": 5, "keepalive_interval": 2});
    assert_eq!(
        found["upstream_connection_options"]["tcp_keepalive"], keepalive,
        "{name}: {found:#}"
    );
    assert_eq!(found["connect_timeout"], "1s", "{name}: {found:#}");
}

fn find_cluster<'d>(dump: &'d Value, name: &str) -> Option<&'d Value> {
    match dump {
        Value::Object(members) if dump["name"] == name && members.contains_key("connect_timeout") => Some(dump),
        Value::Object(members) => members.values().find_map(|value| find_cluster(value, name)),
        Value::Array(items) => items.iter().find_map(|value| find_cluster(value, name)),
        _ => None,
    }
}

/// Afterwards `app` and `added` are in force, and `shop` is revoked.
fn assert_changes_come(gateway: &impl Gateway, server: &KeyServer) {
    server.write(&[key("shop"), key("app"), key("added")]);
    let added = until(gateway, "a new key", "added", 200);
    server.write(&[key("app"), key("added")]);
    let revoked = until(gateway, "a revoked key", "shop", 401);
    println!("a new key is in force after {added:?}, a revoked one is refused after {revoked:?}");
    assert_eq!(gateway.try_send(&page("shop")).unwrap().code(), "invalid_api_key");
}

/// The server knows by the next poll of a worker what that has.
fn assert_server_sees(server: &KeyServer, node: &str) {
    within(PATIENCE, "all workers have the keys", || {
        let newest = server.revision();
        let vms = server.gateways();
        // What has not asked for so long is not there any more.
        let mut vms = vms.iter().filter(|vm| vm["age_seconds"].as_u64() < Some(15));
        vms.all(|vm| vm["revision"] == newest && vm["refused"]["count"] == 0)
    });
    for vm in server.gateways() {
        assert!(vm["node"].as_str().unwrap().contains(node), "{vm}");
    }
}

/// Policies that come while requests do: each answer is as if nothing had changed.
fn assert_policies_keep_keys(name: &str, gateway: &impl Gateway) {
    let [fed, revoked] = answers_during(gateway, ["app", "shop"], || {
        for turn in 1..=3 {
            apply(gateway, &format!("https://docs.example.com/{turn}"));
        }
    });
    println!("with three policies: {fed:?}, {revoked:?}");
    assert_eq!(fed.keys().collect::<Vec<_>>(), ["200 "], "{name}");
    assert_eq!(revoked.keys().collect::<Vec<_>>(), ["401 invalid_api_key"], "{name}");
}

/// How often pages with these keys got each answer, status and code, from shortly before a change until shortly after it.
pub fn answers_during<const N: usize>(
    gateway: &impl Gateway,
    ids: [&str; N],
    change: impl FnOnce(),
) -> [BTreeMap<String, usize>; N] {
    let is_over = AtomicBool::new(false);
    let begun = Instant::now();
    let answers = |id| {
        let mut answers = BTreeMap::new();
        // It ends where the change fails, too.
        while !is_over.load(Ordering::Relaxed) && begun.elapsed() < 4 * PATIENCE {
            let answer = gateway.try_send(&page(id));
            let answer = answer.map_or_else(
                |error| error.to_string(),
                |answer| format!("{} {}", answer.status, answer.code()),
            );
            *answers.entry(answer).or_insert(0) += 1;
        }
        answers
    };
    thread::scope(|scope| {
        let clients = ids.map(|id| scope.spawn(move || answers(id)));
        thread::sleep(Duration::from_millis(300));
        change();
        thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        clients.map(|client| client.join().unwrap())
    })
}

/// Without the server the last keys stay in force, with a new policy too, and the metrics show it.
fn assert_server_may_go(name: &str, gateway: &impl Gateway, server: &mut KeyServer) {
    const KEYS: &str = "keyfence_feed_keys{";
    const LAST_ANSWER: &str = "keyfence_feed_last_answer_timestamp_seconds{";
    const UNREACHABLE: &str = "keyfence_feed_failures_total{code=\"unreachable\",";
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    for (series, expected) in [
        ("keyfence_policy_has_feed{", 1.0),
        (KEYS, 2.0),
        ("keyfence_feed_refused_keys{", 0.0),
        ("keyfence_feed_revision{", server.revision() as f64),
    ] {
        until_metric(gateway, series, |value| value == expected);
    }
    until_metric(gateway, LAST_ANSWER, |value| (now() - value).abs() < 20.0);

    server.stop();
    let stopped = now();
    until_metric(gateway, UNREACHABLE, |value| value > 3.0);
    apply(gateway, "https://docs.example.com/without-server");
    for _ in 0..REQUESTS {
        let statuses = ["app", "added", "shop"].map(|id| gateway.try_send(&page(id)).unwrap().status);
        assert_eq!(statuses, [200, 200, 401], "{name}: without the server");
    }
    until_metric(gateway, KEYS, |value| value == 2.0);
    until_metric(gateway, LAST_ANSWER, |value| value < stopped);

    server.write(&[key("shop"), key("added")]);
    server.start_again();
    until(gateway, "the server is back", "shop", 200);
    until(gateway, "the server is back", "app", 401);
}

/// Until the series that begins so has such a value.
fn until_metric(gateway: &impl Gateway, series: &str, condition: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = gateway.metrics();
        if value(&metrics, series).is_some_and(&condition) {
            return;
        }
        let feed: Vec<&str> = metrics.lines().filter(|line| line.contains("_feed_")).collect();
        assert!(Instant::now() < deadline, "{series}: {feed:#?}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
