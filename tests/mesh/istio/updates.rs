//! A policy that changes while requests come in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::manifest::{FRONTEND, adapted, read, with_key};
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route};
use crate::harness::{Request, Upstream};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

const SEARCH: &str = "/v1/indexes/products/search";

fn page(raw: &str) -> Request {
    Request::get(SEARCH).bearer(raw).header("Origin", "https://yourapp.com")
}

/// Each answer is by the old policy or by the new one, on every worker and at every moment.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_new_policy_comes_into_force_without_a_wrong_answer() {
    const NEXT: &str = "next-key-0123456789";
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "updates"));
    plane.apply(&route(&proxy, &upstream));
    plane.apply(&with_key(&proxy, &registry, FRONTEND).to_string());
    // With a route and without the plugin, every key gets 200.
    proxy.wait_for_code("the first policy", "missing_api_key");
    for (old, new) in [(FRONTEND, NEXT), (NEXT, FRONTEND), (FRONTEND, NEXT)] {
        let is_over = AtomicBool::new(false);
        let begin = Instant::now();
        let (seen, applied) = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut seen = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let answers = [old, new].map(|raw| proxy.send(&page(raw)).status);
                    seen.push((begin.elapsed(), answers));
                    thread::sleep(Duration::from_millis(1));
                }
                seen
            });
            thread::sleep(Duration::from_millis(300));
            plane.apply(&with_key(&proxy, &registry, new).to_string());
            let applied = begin.elapsed();
            within(PATIENCE, "the new policy", || proxy.send(&page(new)).status == 200);
            thread::sleep(Duration::from_millis(500));
            is_over.store(true, Ordering::Relaxed);
            (client.join().unwrap(), applied)
        });
        let (_, first) = seen.first().unwrap();
        let (_, last) = seen.last().unwrap();
        assert_eq!((first, last), (&[200, 401], &[401, 200]));
        let wrong: Vec<_> = seen
            .iter()
            .filter(|(_, answers)| !answers.iter().all(|status| [200, 401].contains(status)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let in_force = seen.iter().find(|(_, answers)| answers[1] == 200).unwrap().0;
        println!(
            "in force {:?} after kubectl had ended, {} answers",
            in_force.saturating_sub(applied),
            2 * seen.len()
        );
    }
}

/// ECDS replaces the policy in place, and the windows are in Envoy's shared data, which outlives it.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn the_window_of_a_limit_survives_a_new_policy() {
    let plane = ControlPlane::shared();
    let registry = Registry::start(Format::Docker);
    let upstream = Upstream::start();
    let proxy = Proxy::start(&plane, Pod::gateway("istio-ingress", "window"));
    plane.apply(&route(&proxy, &upstream));
    let mut manifest = adapted(read("wasmplugin-gateway.yaml"), &proxy, &registry);
    manifest["spec"]["pluginConfig"]["keys"][0]["rate_limit_per_minute"] = json!(3);
    plane.apply(&manifest.to_string());
    proxy.wait_for_code("the policy", "missing_api_key");
    let used: Vec<u16> = (0..2).map(|_| proxy.send(&page(FRONTEND)).status).collect();
    assert_eq!(used, [200, 200]);
    manifest["spec"]["pluginConfig"]["docs_url"] = json!("https://docs.example.com/");
    plane.apply(&manifest.to_string());
    within(PATIENCE, "the next policy", || {
        proxy.send(&Request::get("/")).text().contains("docs.example.com")
    });
    let after: Vec<u16> = (0..2).map(|_| proxy.send(&page(FRONTEND)).status).collect();
    assert_eq!(after, [200, 429]);
}
