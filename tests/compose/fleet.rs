//! The example of one limit for a whole fleet, `envoy/ratelimit`, in containers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::gateway::repository;
use crate::harness::skipped::skip;
use crate::harness::{Request, Version};
use crate::operation::{GatewayFiles, readable_by_all, within};
use crate::{More, compose, wait_for};

#[test]
#[ignore = "takes docker compose: make test-compose"]
fn the_example_is_in_order() {
    let files = ["envoy/docker-compose.yaml", "envoy/ratelimit/docker-compose.yaml"];
    let output = compose()
        .args(files.iter().flat_map(|file| ["--file", file]))
        .args(["config", "--services"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let services: Vec<&str> = text.lines().collect();
    for service in ["gateway", "ratelimit", "redis", "upstream"] {
        assert!(services.contains(&service), "{service} is not in {services:?}");
    }
}

/// What fails how is tested in tests/mesh, here that the containers find each other and may do what they must.
#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn the_service_counts_and_takes_up_edited_limits() {
    let Some(images) = images() else {
        skip("the rate limit service under compose: it is not built (make test-rate-limit)");
        return;
    };
    let example = fs::read_to_string(repository().join("envoy/ratelimit/config/limits.yaml")).unwrap();
    let limits = TempDir::new().unwrap();
    readable_by_all(limits.path());
    let file = limits.path().join("limits.yaml");
    fs::write(&file, &example).unwrap();
    let [ratelimit, redis] = images;
    let more = More {
        files: &["envoy/ratelimit/docker-compose.yaml", "tests/compose/limits.yaml"],
        variables: vec![
            ("RATELIMIT_IMAGE", ratelimit),
            ("REDIS_IMAGE", redis),
            ("LIMITS", limits.path().to_str().unwrap().to_owned()),
        ],
    };
    let gateway_files = GatewayFiles::of_the_demo();
    let compose = gateway_files.up_with(more, &["gateway", "upstream", "ratelimit", "redis"]);
    let gateway = compose.address("gateway", 10000);
    wait_for(gateway);
    let search = Request::get("/")
        .bearer("demo_search_0123456789")
        .header("Origin", "https://shop.example.com");
    let limit_is = |expected: &str| {
        let answer = search.send(Version::Http1, gateway);
        answer.is_ok_and(|answer| answer.header("ratelimit-limit") == Some(expected))
    };
    // The service starts until Redis is there.
    within(Duration::from_secs(40), "the example's limit", || limit_is("60"));
    fs::write(&file, example.replace(": 60 }", ": 5 }")).unwrap();
    within(Duration::from_secs(20), "the limit written in place", || limit_is("5"));
    let next = limits.path().join(".next");
    fs::write(&next, example.replace(": 60 }", ": 4 }")).unwrap();
    fs::rename(next, &file).unwrap();
    within(Duration::from_secs(20), "the limit moved into place", || limit_is("4"));
    within(Duration::from_secs(20), "a refusal", || {
        let answer = search.send(Version::Http1, gateway);
        answer.is_ok_and(|answer| answer.code() == "rate_limit_exceeded")
    });
}

/// Of the service and of Redis: those that the environment names, else made of what tests/mesh has built.
fn images() -> Option<[String; 2]> {
    if let (Ok(service), Ok(redis)) = (std::env::var("RATELIMIT_IMAGE"), std::env::var("REDIS_IMAGE")) {
        return Some([service, redis]);
    }
    let built = Command::new(repository().join("tests/mesh/programs"))
        .args(["--built", "rate-limit"])
        .output()
        .unwrap();
    let folder = String::from_utf8(built.stdout).unwrap();
    let folder = built.status.success().then(|| Path::new(folder.trim()))?;
    let debian = folder.join("debian");
    let redis = if debian.exists() {
        debian.join("redis-server")
    } else {
        folder.join("redis-server")
    };
    Some([image(&folder.join("ratelimit"), &debian), image(&redis, &debian)])
}

fn image(program: &Path, debian: &Path) -> String {
    let libraries = debian
        .join("usr/lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let output = Command::new(repository().join("envoy/image"))
        .arg(program)
        .env("LD_LIBRARY_PATH", libraries)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
