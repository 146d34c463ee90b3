//! What the containers may do, and who reaches the metrics.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Request, Version};
use crate::operation::{GatewayFiles, within};
use crate::wait_for;

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn prometheus_reaches_the_metrics_and_no_client_does() {
    let files = GatewayFiles::of_the_demo();
    let compose = files.up(&["gateway", "upstream", "near", "monitor"]);
    wait_for(compose.address("near", 10004));
    let monitor = compose.address("monitor", 10014);
    let scrape = || Request::get("/stats/prometheus");
    within(Duration::from_secs(20), "the metrics", || {
        let answer = scrape().send(Version::Http1, monitor);
        answer.is_ok_and(|answer| answer.status == 200 && answer.text().contains("\nkeyfence_keys"))
    });
    for path in ["/", "/stats", "/config_dump", "/logging?level=debug", "/quitquitquit"] {
        for method in ["GET", "POST"] {
            let answer = Request::new(method, path).send(Version::Http1, monitor).unwrap();
            assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        }
    }
    for (route, port) in [("IPv4", 10014), ("IPv6", 10016), ("its address there", 10018)] {
        let answer = scrape().send(Version::Http1, compose.address("near", port));
        assert!(answer.is_err(), "{route}: {answer:?}");
    }
}

#[test]
#[ignore = "takes a Docker engine: make test-compose"]
fn the_gateway_runs_without_privileges_and_writes_its_access_log() {
    let files = GatewayFiles::of_the_demo();
    let compose = files.up(&["gateway", "upstream"]);
    wait_for(compose.address("gateway", 10000));
    for service in ["gateway", "upstream"] {
        let container = compose.run(&["ps", "--quiet", service]);
        let format =
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}";
        let output = Command::new("docker")
            .args(["inspect", "--format", format, container.trim()])
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&output.stdout);
        assert_eq!(found.trim(), "101:101 true [ALL] [no-new-privileges:true]", "{service}");
    }
    within(Duration::from_secs(20), "the access log", || {
        compose.run(&["logs", "gateway"]).contains("\"key_id\":\"demo-server\"")
    });
}
