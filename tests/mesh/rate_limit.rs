//! The example of one limit for a whole fleet with the reference service and Redis, both as its compose file starts them.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::rate_limit_example::{configuration, replace, sample_policy, shipped};
use crate::harness::{Gateway, Request, Response, Upstream, Version};
use crate::process::{PATIENCE, Process, folder, programs, within};

const SITE: &str = "https://shop.example.com";

/// The limit of `demo-search` in `limits.yaml`, and that of each other key.
const LIMIT: usize = 60;
const LIMIT_OF_OTHERS: usize = 600;

/// The example's `timeout`.
const TIMEOUT: Duration = Duration::from_millis(100);

/// How much longer than that a request may take on a machine that does other things as well.
const SLACK: Duration = Duration::from_millis(900);

/// Each fleet takes the next ports.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// What the example has in containers, as processes.
struct Fleet {
    gateways: Vec<Gateway>,
    upstream: Upstream,
    service: Option<Process>,
    redis: Option<Process>,
    ports: u16,
    folder: TempDir,
    programs: PathBuf,
    compose: Value,
}

impl Fleet {
    /// With Redis and service, and with as many gateways of the example, changed by `amend`.
    fn start(gateways: usize, amend: impl Fn(String) -> String) -> Self {
        let mut fleet = Self::without_programs();
        fleet.start_redis();
        fleet.start_service();
        for _ in 0..gateways {
            let (upstream, service) = (fleet.upstream.address(), fleet.grpc());
            let configuration = configuration(upstream, service, &sample_policy(), fleet.folder.path());
            fleet.gateways.push(Gateway::from_yaml(&amend(configuration)));
        }
        fleet
    }

    fn without_programs() -> Self {
        let fleet = Self {
            gateways: Vec::new(),
            upstream: Upstream::start(),
            service: None,
            redis: None,
            ports: 21_000 + 10 * NEXT.fetch_add(1, Ordering::Relaxed),
            folder: folder(),
            programs: programs("rate-limit"),
            compose: serde_saphyr::from_str(&shipped("ratelimit/docker-compose.yaml")).unwrap(),
        };
        fs::create_dir_all(fleet.limits().parent().unwrap()).unwrap();
        fs::write(fleet.limits(), shipped("ratelimit/config/limits.yaml")).unwrap();
        fleet
    }

    /// The folder that the compose file mounts, `ratelimit/config`, has this one file.
    fn limits(&self) -> PathBuf {
        self.folder.path().join("data/ratelimit/config/limits.yaml")
    }

    fn redis_port(&self) -> u16 {
        self.ports
    }

    fn grpc(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports + 1))
    }

    /// Where the service shows its limits, `/rlconfig`.
    fn debug(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports + 2))
    }

    fn start_redis(&mut self) {
        let command = self.compose["services"]["redis"]["command"].as_str().unwrap();
        let mut words = command.split(' ').map(|word| if word == "\"\"" { "" } else { word });
        let mut command = Command::new(self.programs.join(words.next().unwrap()));
        command
            .args(words)
            .args(["--port", &self.redis_port().to_string()])
            .args(["--bind", "127.0.0.1"])
            .current_dir(self.folder.path());
        let mut process = Process::start(self.folder.path(), "redis", &mut command);
        let address = SocketAddr::from(([127, 0, 0, 1], self.redis_port()));
        process.wait_for("Redis", || std::net::TcpStream::connect(address).is_ok());
        self.redis = Some(process);
    }

    fn start_service(&mut self) {
        let mut process = Process::start(self.folder.path(), "service", &mut self.service());
        let debug = self.debug();
        process.wait_for("the service", || {
            Request::get("/rlconfig").send(Version::Http1, debug).is_ok()
        });
        self.service = Some(process);
    }

    /// The service with the environment of the compose file, but for its addresses.
    fn service(&self) -> Command {
        let mut command = Command::new(self.programs.join("ratelimit"));
        for (name, value) in self.compose["services"]["ratelimit"]["environment"]
            .as_object()
            .unwrap()
        {
            command.env(name, value.as_str().unwrap());
        }
        command
            .env("REDIS_URL", format!("127.0.0.1:{}", self.redis_port()))
            .env("RUNTIME_ROOT", self.folder.path().join("data"))
            .env("GRPC_PORT", self.grpc().port().to_string())
            .env("DEBUG_PORT", self.debug().port().to_string())
            .env("PORT", (self.ports + 3).to_string());
        command
    }

    fn redis(&self) -> &Process {
        self.redis.as_ref().unwrap()
    }

    fn kill_redis(&mut self) {
        let redis = self.redis.take().unwrap();
        redis.signal("KILL");
    }

    /// As the kernel would: on SIGTERM it waits for requests, for those at a Redis that is dead without end.
    fn kill_service(&mut self) {
        let service = self.service.take().unwrap();
        service.signal("KILL");
    }

    fn send(&self, gateway: usize, request: &Request) -> Response {
        self.gateways[gateway].send("gateway", request)
    }

    /// What requests of a key get while nobody counts them: all pass, each after a wait that has a bound.
    fn passes_uncounted(&self, what: &str) {
        let metrics = ["error", "failure_mode_allowed"];
        let before = metrics.map(|metric| self.metric(metric));
        let mut waits: Vec<Duration> = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            let response = self.send(0, &search());
            waits.push(start.elapsed());
            assert_eq!((response.status, limit(&response)), (200, None), "{what}: {response:?}");
        }
        waits.sort();
        let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        report(&format!(
            "{what}: requests pass uncounted, after {median:.1?} in the median, {longest:.1?} at most"
        ));
        assert!(longest < TIMEOUT + SLACK, "{what}: {longest:?}");
        for (metric, before) in metrics.iter().zip(before) {
            assert_eq!(self.metric(metric) - before, waits.len() as u64, "{what}: {metric}");
        }
    }

    /// One of the counters of Envoy's rate limit filter, of all gateways together.
    fn metric(&self, metric: &str) -> u64 {
        let name = format!("envoy_cluster_ratelimit_{metric}{{envoy_cluster_name=\"upstream\"}} ");
        let of = |gateway: &Gateway| -> u64 {
            let stats = gateway.admin("/stats/prometheus");
            let value = stats.lines().find_map(|line| line.strip_prefix(&name));
            value.map_or(0, |value| value.parse().unwrap())
        };
        self.gateways.iter().map(of).sum()
    }

    /// Until requests are counted again.
    fn is_counted_again(&self, what: &str) {
        let start = Instant::now();
        within(PATIENCE, what, || {
            limit(&self.send(0, &server())) == Some(LIMIT_OF_OTHERS)
        });
        report(&format!("{what}: requests are counted after {:.1?}", start.elapsed()));
    }
}

fn search() -> Request {
    Request::get("/v1")
        .bearer("demo_search_0123456789")
        .header("Origin", SITE)
}

fn server() -> Request {
    Request::get("/v1").bearer("demo_server_0123456789")
}

/// Each request is counted, however busy the machine is.
fn patient(configuration: String) -> String {
    replace(&configuration, "timeout: 0.1s", "timeout: 10s")
}

/// The limit that the service names; none where Envoy had no answer from it.
fn limit(response: &Response) -> Option<usize> {
    response.header("ratelimit-limit").map(|limit| limit.parse().unwrap())
}

/// Says what was measured, also where the test succeeds.
fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "rate limit: {text}");
}

/// Seconds of the clock's minute, by which the service counts.
fn second_of_minute() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() % 60.0
}

#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
#[rustfmt::skip]
fn two_gateways_share_a_limit_to_the_request() {
    let fleet = Fleet::start(2, patient);
    // Enough of a minute for what follows, and little to wait for its end.
    within(PATIENCE + PATIENCE, "the right part of a minute", || (35.0..45.0).contains(&second_of_minute()));
    // What counts for the limit of demo-search; and, sent between these, what does not.
    let counted = [
        search(),
        search().header("X-Key-Id", "demo-server"),
        search().header("x-key-id", "demo-browser"),
        search().header("X_Key_Id", "demo-server"),
    ];
    let uncounted = [
        ("a preflight", Request::preflight("/v1", SITE, "GET", "authorization"), 204),
        ("no origin", Request::get("/v1").bearer("demo_search_0123456789"), 403),
        ("an unknown key", Request::get("/v1").bearer("demo_nobody_0123456789").header("X-Key-Id", "demo-search"), 401),
        ("no key", Request::get("/v1").header("X-Key-Id", "demo-search"), 401),
        ("another key", server().header("X-Key-Id", "demo-search"), 200),
        ("with an underscore", server().header("X_Key_Id", "demo-search"), 200),
    ];
    for count in 0..LIMIT + 20 {
        let response = fleet.send(count % 2, &counted[count / 2 % counted.len()]);
        let expected = if count < LIMIT { 200 } else { 429 };
        assert_eq!((response.status, limit(&response)), (expected, Some(LIMIT)), "request {count}: {response:?}");
        if expected == 429 {
            let left = 60.0 - second_of_minute();
            let retry_after: f64 = response.header("retry-after").unwrap().parse().unwrap();
            assert!((left - 1.0..left + 2.0).contains(&retry_after), "{left} s are left of the minute: {response:?}");
            assert_eq!(response.code(), "rate_limit_exceeded", "{response:?}");
            assert_eq!(response.header("access-control-allow-origin"), Some(SITE), "{response:?}");
        }
        let (name, request, status) = &uncounted[count % uncounted.len()];
        let response = fleet.send(count / 2 % 2, request);
        assert_eq!(response.status, *status, "{name}, with request {count}: {response:?}");
    }
    assert!(second_of_minute() > 35.0, "the machine was too slow for one minute");
    assert_eq!(fleet.metric("over_limit"), 20);
    let refused = fleet.send(0, &search());
    let retry_after = refused.header("retry-after").unwrap().parse().unwrap();
    thread::sleep(Duration::from_secs(retry_after));
    assert_eq!(fleet.send(1, &search()).status, 200, "after {retry_after} s, as Retry-After says");
    report(&format!("two gateways admit {LIMIT} together, and again after Retry-After"));
}

#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
fn without_redis_requests_pass_uncounted() {
    let mut fleet = Fleet::start(1, std::convert::identity);
    fleet.is_counted_again("at the start");
    fleet.redis().signal("STOP");
    fleet.passes_uncounted("Redis hangs");
    fleet.redis().signal("CONT");
    fleet.is_counted_again("Redis is back from hanging");
    fleet.kill_redis();
    fleet.passes_uncounted("Redis is dead");
    fleet.start_redis();
    fleet.is_counted_again("Redis is started again");
}

#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
fn without_the_service_requests_pass_uncounted() {
    let mut fleet = Fleet::start(1, std::convert::identity);
    fleet.is_counted_again("at the start");
    fleet.service.as_ref().unwrap().signal("STOP");
    fleet.passes_uncounted("the service hangs");
    fleet.service.as_ref().unwrap().signal("CONT");
    fleet.is_counted_again("the service is back from hanging");
    fleet.kill_service();
    fleet.passes_uncounted("the service is dead");
    fleet.start_service();
    fleet.is_counted_again("the service is started again");
}

#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
fn failure_mode_deny_refuses_what_nobody_counts() {
    let mut fleet = Fleet::start(1, |configuration| {
        replace(&configuration, "failure_mode_deny: false", "failure_mode_deny: true")
    });
    fleet.is_counted_again("at the start");
    fleet.kill_service();
    fleet.upstream.take();
    let response = fleet.send(0, &search());
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some(SITE),
        "{response:?}"
    );
    assert_eq!(fleet.upstream.take().len(), 0);
    fleet.start_service();
    fleet.is_counted_again("the service is started again");
}

/// Compose starts it again and again (`restart: on-failure`).
#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
fn the_service_starts_with_redis_only() {
    let mut fleet = Fleet::without_programs();
    let output = fleet.service().output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{log}");
    assert!(log.contains("connection refused"), "{log}");
    fleet.start_redis();
    fleet.start_service();
}

#[test]
#[ignore = "takes the reference rate limit service: make test-rate-limit"]
fn edited_limits_are_taken_up() {
    let fleet = Fleet::start(1, patient);
    let text = fs::read_to_string(fleet.limits()).unwrap();
    let with_limit = |limit: &str| {
        replace(
            &text,
            "requests_per_unit: 60 }",
            &format!("requests_per_unit: {limit} }}"),
        )
    };
    let is_in_force = |expected: usize| {
        let start = Instant::now();
        within(PATIENCE, "the new limit", || {
            limit(&fleet.send(0, &search())) == Some(expected)
        });
        start.elapsed()
    };
    is_in_force(LIMIT);
    fs::write(fleet.limits(), with_limit("50")).unwrap();
    report(&format!(
        "limits written in place: in force after {:.1?}",
        is_in_force(50)
    ));
    let other = fleet.folder.path().join("limits.yaml");
    fs::write(&other, with_limit("40")).unwrap();
    fs::rename(other, fleet.limits()).unwrap();
    report(&format!(
        "limits moved into place: in force after {:.1?}",
        is_in_force(40)
    ));
    fs::write(fleet.limits(), with_limit("many")).unwrap();
    let log = fleet.service.as_ref().unwrap();
    within(PATIENCE, "what the service says of a mistake", || {
        log.log().contains("Error loading new configuration")
    });
    // The old limits stay.
    is_in_force(40);
    fs::write(fleet.limits(), with_limit("30")).unwrap();
    is_in_force(30);
}
