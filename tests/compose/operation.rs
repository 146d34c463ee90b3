//! A gateway in operation: scraped, given a new policy, killed, and one of two.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::gateway::repository;
use crate::harness::{Request, Response, Version};
use crate::{Compose, More, wait_for};

/// The key that [`wait_for`] asks with.
const SERVER: &str = "demo_server_0123456789";

#[test]
#[ignore = "takes a Docker engine and prometheus: make test-compose"]
fn prometheus_scrapes_the_gateway() {
    let files = GatewayFiles::of_the_demo();
    let compose = files.up(&["gateway", "upstream", "prometheus"]);
    let gateway = compose.address("gateway", 10000);
    wait_for(gateway);
    assert_eq!(get("demo_nobody_0123456789", gateway).code(), "invalid_api_key");
    let prometheus = compose.address("prometheus", 9090);
    let policy: Value = serde_json::from_str(include_str!("../../envoy/policy.json")).unwrap();
    let keys = policy["keys"].as_array().unwrap().len();
    for query in [
        r#"up{job="keyfence"} == 1"#,
        &format!("keyfence_keys == {keys}"),
        r#"keyfence_requests_total{decision="deny", code="invalid_api_key"} == 1"#,
    ] {
        within(Duration::from_secs(40), query, || {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let answer = Request::get(format!("/api/v1/query?query={encoded}")).send(Version::Http1, prometheus);
            answer.is_ok_and(|answer| {
                answer.status == 200
                    && answer.json()["data"]["result"]
                        .as_array()
                        .is_some_and(|found| !found.is_empty())
            })
        });
    }
    let rules = Request::get("/api/v1/rules")
        .send(Version::Http1, prometheus)
        .unwrap()
        .json();
    assert_eq!(rules["data"]["groups"][0]["name"], "keyfence", "{rules}");
}

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn a_policy_moved_into_place_is_in_force_without_a_wrong_answer() {
    let files = GatewayFiles::of_the_demo();
    let compose = files.up(&["gateway", "upstream"]);
    let gateway = compose.address("gateway", 10000);
    wait_for(gateway);
    let (old, new) = (SERVER, "the_next_key_0123456789");
    let seen = under_load(
        || [old, new].map(|key| get(key, gateway).status),
        |still_loading| {
            thread::sleep(Duration::from_secs(1));
            files.put(&json!({"keys": [{"id": "next", "api_key": new}]}));
            within(Duration::from_secs(10), "the new policy", || {
                get(new, gateway).status == 200
            });
            thread::sleep(Duration::from_secs(1));
            still_loading.store(false, Ordering::Relaxed);
        },
    );
    // Each is right under the old policy or the new one; a worker may have it a little before another.
    assert!(
        seen.iter().flatten().all(|status| [200, 401].contains(status)),
        "{seen:?}"
    );
    assert_eq!(seen.first(), Some(&[200, 401]));
    assert_eq!(seen.last(), Some(&[401, 200]));
}

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn a_killed_gateway_lets_nothing_pass_and_comes_back() {
    let files = GatewayFiles::of_the_demo();
    let compose = files.up(&["gateway", "upstream", "near"]);
    let near = compose.address("near", 10004);
    wait_for(near);
    let ask = || {
        let answer = |key: &str| {
            Request::get("/")
                .bearer(key)
                .send(Version::Http1, near)
                .ok()
                .map(|answer| answer.status)
        };
        [answer(SERVER), answer("demo_nobody_0123456789")]
    };
    let seen = under_load(ask, |still_loading| {
        thread::sleep(Duration::from_secs(1));
        compose.run(&["kill", "-s", "SIGKILL", "gateway"]);
        thread::sleep(Duration::from_secs(1));
        compose.run(&["up", "--detach", "gateway"]);
        wait_for(near);
        thread::sleep(Duration::from_secs(1));
        still_loading.store(false, Ordering::Relaxed);
    });
    let right = [Some(200), Some(401)];
    for pair in &seen {
        for (answer, right) in pair.iter().zip(right) {
            assert!(answer.is_none() || *answer == right, "{seen:?}");
        }
    }
    assert!(seen.contains(&[None, None]), "it was not dead: {seen:?}");
    assert_eq!((seen.first(), seen.last()), (Some(&right), Some(&right)));
}

/// A fleet of N gateways admits N times a key's limit.
#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn two_gateways_share_the_policy_and_no_limit() {
    let files = GatewayFiles::of_the_demo();
    files.add_second_gateway();
    let compose = files.up(&["gateway", "second", "upstream", "near"]);
    let near = compose.address("near", 10004);
    wait_for(near);
    files.put(&json!({"keys": [{"id": "limited", "api_key": SERVER, "rate_limit_per_minute": 5}]}));
    // No key of the demo is known where the new policy is in force. Twenty connections meet both.
    let refused = || {
        let answer = Request::get("/")
            .bearer("demo_search_0123456789")
            .send(Version::Http1, near);
        answer.is_ok_and(|answer| answer.code() == "invalid_api_key")
    };
    within(Duration::from_secs(20), "both gateways' new policy", || {
        (0..20).all(|_| refused())
    });
    let statuses: Vec<u16> = (0..40).map(|_| get(SERVER, near).status).collect();
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(admitted, 10, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 429].contains(status)),
        "{statuses:?}"
    );
}

/// A copy of `target/gateway`, whose policy a test may replace.
pub struct GatewayFiles(TempDir);

impl GatewayFiles {
    pub fn of_the_demo() -> Self {
        let directory = TempDir::new().unwrap();
        for file in fs::read_dir(repository().join("target/gateway")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        readable_by_all(directory.path());
        Self(directory)
    }

    pub fn up(&self, arguments: &[&str]) -> Compose {
        self.up_with(More::default(), arguments)
    }

    pub fn up_with(&self, more: More, arguments: &[&str]) -> Compose {
        Compose::start(more, self.0.path().to_owned(), arguments)
    }

    /// Of the service `second`, which has no address where the metrics of the first one are.
    fn add_second_gateway(&self) {
        let first = fs::read_to_string(self.0.path().join("envoy.yaml")).unwrap();
        let second = first.replace("10.253.122.100", "127.0.0.1");
        assert_ne!(first, second);
        fs::write(self.0.path().join("second.yaml"), second).unwrap();
    }

    fn put(&self, policy: &Value) {
        let path = self.0.path().join("filter.json");
        let mut filter: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        filter["resources"][0]["typed_config"]["config"]["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": policy.to_string(),
        });
        let new = self.0.path().join("filter.json.new");
        fs::write(&new, filter.to_string()).unwrap();
        fs::rename(new, path).unwrap();
    }
}

/// Envoy's own image does not run as root.
pub fn readable_by_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

fn get(key: &str, address: SocketAddr) -> Response {
    Request::get("/").bearer(key).send(Version::Http1, address).unwrap()
}

/// What `ask` saw, again and again, while `meanwhile` ran, which says when to stop.
fn under_load<T: Send>(ask: impl Fn() -> T + Sync, meanwhile: impl FnOnce(&AtomicBool)) -> Vec<T> {
    /// Puts an end to the load also where the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let loading = AtomicBool::new(true);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut seen = Vec::new();
            while loading.load(Ordering::Relaxed) {
                seen.push(ask());
                thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        let stop = Stop(&loading);
        meanwhile(stop.0);
        drop(stop);
        load.join().unwrap()
    })
}

pub fn within(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(100));
    }
}
