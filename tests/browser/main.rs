//! What a real Chromium makes of the filter's headers. Skipped where there is none.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod caches;
mod case;
mod chromium;
mod documents;
mod explained;
mod mistakes;
mod origins;
mod own_site;
mod page;
mod playground;
mod requests;
mod responses;
mod sites;
mod websockets;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

use case::Case;
use harness::skipped::skip;
use sites::{Sites, changed_url, gateway_url};

type Check = Box<dyn Fn(&Sites) -> Result<(), String> + Send>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // There is one browser, and it shows one page at a time.
    arguments.test_threads = Some(1);
    let Some(driver) = chromium::find_driver() else {
        skip("browser tests: there is no Chromium with its driver (Debian: apt-get install chromium chromium-driver)");
        return ExitCode::SUCCESS;
    };
    let cases: Vec<Case> = [
        origins::cases(),
        requests::cases(),
        responses::cases(),
        caches::cases(),
        websockets::cases(),
        own_site::cases(),
        documents::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let sites = Arc::new(Sites::start(&driver, &policies(), &cases));
    let trial = |name: String, check: Check| {
        let sites = Arc::clone(&sites);
        Trial::test(name, move || Ok(sites.browser.undisturbed(|| check(&sites))?))
    };
    let mut trials = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        trials.push(trial(
            case.name.clone(),
            Box::new(move |sites| both(sites, number, &case)),
        ));
    }
    for explained in explained::EXPLAINED {
        let name = format!("explained: {}", explained.name);
        let policy = policies()
            .into_iter()
            .find(|(gateway, _)| *gateway == explained.gateway());
        let (_, policy) = policy.unwrap();
        trials.push(trial(name, Box::new(move |sites| explained.check(sites, &policy))));
    }
    for mistake in mistakes::MISTAKES {
        let name = format!("mistake: {}", mistake.name);
        trials.push(trial(name, Box::new(|sites| mistake.check(sites))));
    }
    for scene in playground::SCENES {
        let name = format!("playground: {}", scene.name);
        trials.push(trial(name, Box::new(|sites| scene.check(sites))));
    }
    for (name, check) in playground::WHOLE {
        trials.push(trial(format!("playground: {name}"), Box::new(check)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(sites);
    conclusion.exit_code()
}

/// Holds as it is, and does not when its header is changed.
fn both(sites: &Sites, number: usize, case: &Case) -> Result<(), String> {
    (case.check)(sites, &gateway_url(case.gateway, case.over))?;
    match (case.check)(sites, &changed_url(number, case.over)) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("holds even with {:?}: it is not about that", case.changes)),
    }
}

fn policies() -> [(&'static str, Value); 8] {
    let key_sources =
        json!([{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}]);
    let web = |origins: &[&str]| json!({"id": "web", "api_key": "ak_web", "allowed_origins": origins});
    let documents = json!({"id": "documents", "api_key": "ak_documents"});
    let site = json!(["https://yourapp.com"]);
    let main = json!({
        "key_sources": key_sources,
        "keys": [
            web(origins::PATTERNS),
            documents,
            {"id": "other", "api_key": "ak_other", "allowed_origins": ["https://other.example"]},
            {"id": "cors-only", "api_key": "ak_cors_only", "allowed_origins": ["https://*.wild.example"], "origin_check": "cors_only"},
            {"id": "office", "api_key": "ak_office", "allowed_origins": site, "allowed_ips": ["203.0.113.0/24"]},
            {"id": "disabled", "api_key": "ak_disabled", "allowed_origins": site, "enabled": false},
            {"id": "expired", "api_key": "ak_expired", "allowed_origins": site, "expires_at": "2020-01-01T00:00:00Z"},
            {"id": "scoped", "api_key": "ak_scoped", "allowed_origins": site, "scopes": ["search"]},
            {"id": "secret", "api_key": "ak_secret", "kind": "secret"},
            {"id": "slow", "api_key": "ak_slow", "allowed_origins": site, "rate_limit_per_minute": 1},
            {"id": "fast", "api_key": "ak_fast", "allowed_origins": site, "rate_limit_per_minute": 1000},
        ],
        "scopes": {"search": [{"methods": ["GET"], "path": "/search"}]},
        "cors": {"expose_headers": ["X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"]},
    });
    let star = json!({
        "key_sources": key_sources,
        "keys": [
            {"id": "star", "api_key": "ak_star", "allowed_origins": ["*"]},
            {"id": "star-cors-only", "api_key": "ak_star_cors_only", "allowed_origins": ["*"], "origin_check": "cors_only"},
            documents,
        ],
    });
    let forgotten_origin = json!({"key_sources": key_sources, "keys": [web(&["https://www.yourapp.com"])]});
    let no_credentials = json!({
        "key_sources": key_sources,
        "keys": [web(&["https://yourapp.com", "http://localhost:10002"])],
        "cors": {"allow_credentials": false},
    });
    let anonymous = json!({
        "key_sources": key_sources,
        "keys": [web(&["http://localhost:10002"])],
        "anonymous": {"allowed_origins": ["https://other.example"]},
    });
    let own = json!({
        "key_sources": key_sources,
        "keys": [
            documents,
            {"id": "own-page", "api_key": "ak_own_page", "allowed_origins": ["https://own.gate.test", "http://*.changed.test"],
             "origin_check": "required_or_same_origin"},
        ],
    });
    let sockets = json!({
        "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"websocket_protocol": "api-key."}],
        "keys": [web(&["https://yourapp.com"]), {"id": "other", "api_key": "ak_other", "allowed_origins": site}],
        "forward_api_key": false,
    });
    let demo = std::fs::read_to_string(harness::gateway::repository().join("envoy/policy.json")).unwrap();
    [
        ("main", main),
        ("star", star),
        ("forgotten-origin", forgotten_origin),
        ("no-credentials", no_credentials),
        ("anonymous", anonymous),
        ("own", own),
        ("sockets", sockets),
        ("demo", serde_json::from_str(&demo).unwrap()),
    ]
}
