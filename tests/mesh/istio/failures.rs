//! What can go wrong between the registry, istiod and the gateway, and what rings then.
//!
//! keyfence cannot change some of this bad behaviour: these tests check what the documentation says about it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::manifest::{FRONTEND, adapted, plugin, read, with_key};
use super::proxy::Pod;
use super::{ControlPlane, Proxy, route};
use crate::harness::prometheus::{Prometheus, expression_of};
use crate::harness::skipped::skip;
use crate::harness::{Request, Response, Upstream};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

/// A gateway with a plugin, and whether an alert rings.
struct Setting<'p> {
    plane: &'p ControlPlane,
    registry: Registry,
    proxy: Proxy,
    alerts: Option<Prometheus>,
    _upstream: Upstream,
}

impl<'p> Setting<'p> {
    fn new(plane: &'p ControlPlane, name: &str) -> Self {
        let upstream = Upstream::start();
        let proxy = Proxy::start(plane, Pod::gateway("istio-ingress", name));
        plane.apply(&route(&proxy, &upstream));
        // A scrape job as a mesh has it, not with keyfence in its name.
        let alerts = Prometheus::is_installed().then(|| Prometheus::scraping("istio-gateways", proxy.port(15_020)));
        if alerts.is_none() {
            skip("the alerts in the mesh: there is no Prometheus (Debian: apt-get install prometheus)");
        }
        Self {
            plane,
            registry: Registry::start(Format::Docker),
            proxy,
            alerts,
            _upstream: upstream,
        }
    }

    fn manifest(&self) -> Value {
        adapted(read("wasmplugin-gateway.yaml"), &self.proxy, &self.registry)
    }

    fn apply(&self, manifest: &Value) {
        self.plane.apply(&manifest.to_string());
    }

    /// Waits until a request without a key gets this answer: its status, and the `code` where it is an error of the filter's own.
    fn expect(&self, what: &str, status: u16, code: &str) -> Response {
        let mut answer = None;
        within(PATIENCE, &format!("{what}: {status} {code}"), || {
            answer = self
                .proxy
                .try_send(&Request::get("/").header("Origin", "https://yourapp.com"))
                .ok();
            answer
                .as_ref()
                .is_some_and(|answer| (answer.status, answer.code().as_str()) == (status, code))
        });
        answer.unwrap()
    }

    fn rings(&self, alert: &str) {
        let Some(prometheus) = &self.alerts else { return };
        // Envoy keeps the filters, and their metrics, of a listener that it drains for 45 seconds.
        let deadline = Instant::now() + Duration::from_secs(90);
        while !prometheus.has(&expression_of(alert)) {
            assert!(
                Instant::now() < deadline,
                "{alert} does not ring:\n{}",
                watched(&self.proxy.metrics())
            );
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_scraped(&self, series: &str) {
        if let Some(prometheus) = &self.alerts {
            prometheus.wait_for(series, series);
        }
    }

    fn is_silent(&self, alert: &str) {
        if let Some(prometheus) = &self.alerts {
            // It must have seen what there is now.
            thread::sleep(Duration::from_secs(1));
            within(PATIENCE, &format!("{alert} is silent"), || {
                !prometheus.has(&expression_of(alert))
            });
        }
    }
}

/// The series that alerts ask for.
fn watched(metrics: &str) -> String {
    let names = [
        "keyfence_keys",
        "keyfence_policy",
        "envoy_wasm",
        "istio_agent_wasm",
        "istio_agent_istiod",
    ];
    let lines = metrics
        .lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_refused_policy() {
    let plane = ControlPlane::shared();
    let mut setting = Setting::new(&plane, "refused");
    let good = setting.manifest();
    let mut bad = good.clone();
    plugin(&mut bad)["pluginConfig"]["keys"][1]["allowed_ip"] = json!(["192.0.2.0/24"]);
    setting.apply(&good);
    setting.expect("the good policy", 401, "missing_api_key");
    setting.is_scraped("keyfence_policy_load_failures_total == 0");
    setting.is_silent("KeyfenceNotLoaded");
    setting.is_silent("KeyfencePolicyLoadFailed");

    setting.apply(&bad);
    within(PATIENCE, "the reason in the log", || {
        setting
            .proxy
            .log()
            .contains("keys[1].allowed_ip: unknown field; did you mean allowed_ips?")
    });
    setting.expect("the good policy stays", 401, "missing_api_key");
    setting.rings("KeyfencePolicyLoadFailed");
    setting.is_silent("KeyfenceNotLoaded");

    // The pod is ready, and its gateway answers nothing but 500.
    setting.proxy.start_again(&plane);
    let answer = setting.expect("a new pod", 500, "");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(!setting.proxy.metrics().contains("\nkeyfence_"));
    setting.rings("KeyfenceNotLoaded");

    setting.apply(&good);
    setting.expect("the good policy again", 401, "missing_api_key");
    setting.is_silent("KeyfenceNotLoaded");
}

/// The agent tells Envoy to do without a module that it cannot fetch, in place of the policy that was there.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn an_image_that_is_missing() {
    let plane = ControlPlane::shared();
    let setting = Setting::new(&plane, "missing");
    let good = setting.manifest();
    for (strategy, tag, status) in [
        ("FAIL_CLOSE", "missing", 403),
        ("FAIL_RELOAD", "missing", 403),
        ("FAIL_RELOAD", "no-module", 403),
        // Open for everybody, and only the metrics show it.
        ("FAIL_OPEN", "missing", 200),
    ] {
        setting.apply(&good);
        setting.expect("the good policy", 401, "missing_api_key");
        setting.is_silent("KeyfenceModuleNotFetched");
        setting.is_silent("KeyfenceNotLoaded");
        let mut missing = good.clone();
        plugin(&mut missing)["failStrategy"] = json!(strategy);
        plugin(&mut missing)["url"] = json!(format!("oci://{}", setting.registry.image(tag)));
        setting.apply(&missing);
        let answer = setting.expect(&format!("{strategy}, {tag}"), status, "");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        setting.rings("KeyfenceModuleNotFetched");
        setting.rings("KeyfenceNotLoaded");
    }
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_registry_that_is_down_when_a_gateway_starts() {
    // Alone, because any other change in the mesh makes istiod send the plugin again, and then the agent asks the registry again.
    let plane = ControlPlane::alone();
    let mut setting = Setting::new(&plane, "registry");
    setting.registry.set_down(true);
    let manifest = setting.manifest();
    setting.apply(&manifest);
    setting.expect("the registry is down", 403, "");
    setting.rings("KeyfenceModuleNotFetched");
    setting.registry.set_down(false);
    setting.registry.take_asked();
    thread::sleep(Duration::from_secs(5));
    setting.expect("the registry is back", 403, "");
    assert_eq!(setting.registry.take_asked(), [""; 0], "the agent does not ask again");
    // Until anything of the resource changes: an annotation is enough.
    let annotate = [
        "annotate",
        "wasmplugin",
        "registry",
        "-n",
        "istio-system",
        "example.com/again=1",
    ];
    plane.kubectl(&annotate, "").unwrap();
    setting.expect("an annotated plugin", 401, "missing_api_key");
    setting.is_silent("KeyfenceModuleNotFetched");
    // A running gateway has the module in its cache; a pod that starts does not.
    setting.registry.set_down(true);
    setting.expect("with the registry down again", 401, "missing_api_key");
    setting.proxy.start_again(&plane);
    setting.expect("a new pod", 403, "");
    setting.rings("KeyfenceModuleNotFetched");
}

#[test]
#[ignore = "takes istiod: make test-mesh"]
fn a_plugin_that_is_deleted() {
    let plane = ControlPlane::shared();
    let setting = Setting::new(&plane, "deleted");
    setting.apply(&setting.manifest());
    setting.expect("the policy", 401, "missing_api_key");
    setting.is_scraped("keyfence_keys == 2");
    plane
        .kubectl(&["delete", "wasmplugin", "deleted", "-n", "istio-system"], "")
        .unwrap();
    setting.expect("without the plugin", 200, "");
    setting.rings("KeyfenceNotLoaded");
}

/// The gateway keeps its policy, and has the next one as soon as there is an istiod again.
#[test]
#[ignore = "takes istiod: make test-mesh"]
fn an_istiod_that_dies_and_comes_back() {
    const NEXT: &str = "next-key-0123456789";
    let plane = ControlPlane::alone();
    let setting = Setting::new(&plane, "istiod");
    let page = |raw: &str| {
        Request::get("/v1/indexes/products/search")
            .bearer(raw)
            .header("Origin", "https://yourapp.com")
    };
    setting.apply(&with_key(&setting.proxy, &setting.registry, FRONTEND));
    setting.expect("the policy", 401, "missing_api_key");
    setting.is_silent("KeyfenceUpdatesFail");
    let killed = plane.without_istiod();
    setting.apply(&with_key(&setting.proxy, &setting.registry, NEXT));
    for _ in 0..20 {
        let statuses = [FRONTEND, NEXT].map(|raw| setting.proxy.send(&page(raw)).status);
        assert_eq!(statuses, [200, 401]);
        thread::sleep(Duration::from_millis(50));
    }
    setting.rings("KeyfenceUpdatesFail");
    drop(killed);
    within(PATIENCE, "the next policy", || {
        setting.proxy.send(&page(NEXT)).status == 200
    });
    assert_eq!(setting.proxy.send(&page(FRONTEND)).status, 401);
}
