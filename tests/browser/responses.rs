//! What a page may read of an answer, and of which errors.

use crate::case::{Case, Change};
use crate::page::{Ask, Expect, case, from};

const SITE: &str = "https://yourapp.com";
const ORIGIN: &str = "Access-Control-Allow-Origin";
const EXPOSE: &str = "Access-Control-Expose-Headers";

pub fn cases() -> Vec<Case> {
    let page = || from(SITE).key("ak_web");
    let hidden = &[Change::Remove(ORIGIN)];
    let problem = Expect::DiagnosticKind;
    let withheld = Expect::Withheld;
    #[rustfmt::skip]
    let cases = vec![
        reads_header("header: safelisted", page(), "content-type", Some("text/plain"), &[Change::Set("Content-Type", "text/html")]),
        reads_header("header: exposed, of the upstream", page(), "x-request-id", Some("42"), &[Change::Remove(EXPOSE)]),
        reads_header("header: hidden, of the upstream", page(), "x-internal", None, &[Change::Set(EXPOSE, "X-Internal")]),
        reads_header("header: hidden, for security", page(), "x-frame-options", None, &[Change::Set(EXPOSE, "X-Frame-Options")]),
        reads_header("header: exposed, of the filter", page().key("ak_fast"), "x-ratelimit-remaining", Some("999"), &[Change::Set(EXPOSE, "X-Request-Id")]),

        case("error: no key", from(SITE), problem(401, "missing_api_key"), hidden),
        case("error: unknown key", from(SITE).key("ak_unknown"), problem(401, "invalid_api_key"), hidden),
        case("error: two keys", page().query_key("ak_web").header("X-API-Key", "ak_web"), problem(401, "ambiguous_api_key"), hidden),
        case("error: disabled key", from(SITE).key("ak_disabled"), problem(401, "key_disabled"), hidden),
        case("error: expired key", from(SITE).key("ak_expired"), problem(401, "key_expired"), hidden),
        case("error: address", from(SITE).key("ak_office"), problem(403, "ip_not_allowed"), hidden),
        case("error: scope", from(SITE).key("ak_scoped").path("/elsewhere"), problem(403, "scope_not_allowed"), hidden),
        case("error: of Envoy, for a dead upstream", page().path("/dead"), Expect::Reads(503), hidden),
        case("a redirect followed", page().path("/redirect"), Expect::Reads(200), hidden),
        case("error: origin, withheld", from("https://other.example").key("ak_web"), withheld("MissingAllowOriginHeader"), &[Change::Set(ORIGIN, "https://other.example")]),
        case("error: secret key, withheld", from(SITE).key("ak_secret"), withheld("MissingAllowOriginHeader"), &[Change::Set(ORIGIN, SITE)]),
        Case::new("error: rate limit, with Retry-After", hidden, |sites, gateway| {
            let page = from(SITE).key("ak_slow");
            page.send(sites, gateway)?;
            let seen = page.send_again(sites, gateway)?;
            Expect::DiagnosticKind(429, "rate_limit_exceeded").check(&seen)?;
            let after = seen.read.as_ref().and_then(|read| read.headers["retry-after"].as_str()).and_then(|value| value.parse().ok());
            if matches!(after, Some(1..=61)) { Ok(()) } else { Err(format!("no Retry-After of 1 to 61: {seen:#?}")) }
        }),
        Case::new("error: rate limit, Retry-After exposed", &[Change::Remove(EXPOSE)], |sites, gateway| {
            let page = from(SITE).key("ak_slow");
            page.send(sites, gateway)?;
            let seen = page.send_again(sites, gateway)?;
            if seen.read.as_ref().is_some_and(|read| read.headers["retry-after"].is_string()) { Ok(()) } else { Err(format!("{seen:#?}")) }
        }),
    ];
    cases
}

/// The upstream answers `/headers` with more than a page may read.
fn reads_header(
    name: &str,
    ask: Ask,
    header: &'static str,
    expected: Option<&'static str>,
    changes: &[Change],
) -> Case {
    Case::new(name, changes, move |sites, gateway| {
        sites.upstream.answer(
            "/headers",
            &[
                ("Content-Type", "text/plain"),
                ("X-Request-Id", "42"),
                ("X-Internal", "secret"),
            ],
        );
        let seen = ask.clone().path("/headers").send(sites, gateway)?;
        let read = seen.read.as_ref().ok_or_else(|| format!("withheld: {seen:#?}"))?;
        if read.headers[header].as_str() == expected {
            Ok(())
        } else {
            Err(format!("{header} is not {expected:?}: {seen:#?}"))
        }
    })
}
