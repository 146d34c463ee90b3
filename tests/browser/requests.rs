//! What a page may ask for: methods, headers, credentials; and what takes a preflight.

use crate::case::{Case, Change};
use crate::page::{Ask, Expect, case, from};

const SITE: &str = "https://yourapp.com";
const ORIGIN: &str = "Access-Control-Allow-Origin";
const METHODS: &str = "Access-Control-Allow-Methods";
const HEADERS: &str = "Access-Control-Allow-Headers";
const CREDENTIALS: &str = "Access-Control-Allow-Credentials";

pub fn cases() -> Vec<Case> {
    let page = || from(SITE);
    let simple = || page().query_key("ak_web");
    let nullable = || from("null").query_key("ak_web");
    let star = || from("https://anywhere.example").query_key("ak_star");
    let reads = Expect::Reads(200);
    let withheld = Expect::Withheld;
    let no_method = withheld("MethodDisallowedByPreflightResponse");
    let no_header = withheld("HeaderDisallowedByPreflightResponse");
    #[rustfmt::skip]
    let mut cases = vec![
        asked("method: GET", simple(), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("method: HEAD", simple().method("HEAD"), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("method: POST", simple().method("POST"), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("method: PUT", simple().method("PUT"), 1, reads, &[Change::Set(METHODS, "GET, POST")]),
        asked("method: DELETE", simple().method("DELETE"), 1, reads, &[Change::Remove(METHODS)]),
        asked("method: OPTIONS of the page's own", simple().method("OPTIONS"), 1, reads, &[Change::Set(METHODS, "GET")]),
        asked("method: PATCH, not in the list", simple().method("PATCH"), 1, no_method, &[Change::Set(METHODS, "PATCH")]),

        asked("headers: none", simple(), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("headers: safelisted ones", simple().header("Accept-Language", "de").header("Content-Language", "de"), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("headers: Authorization", page().key("ak_web"), 1, reads, &[Change::Remove(HEADERS)]),
        asked("headers: Authorization, with credentials, when * covers nothing", page().key("ak_web").with_credentials(), 1, reads, &[Change::Set(HEADERS, "*")]),
        asked("headers: X-Request-Id", simple().header("X-Request-Id", "1"), 1, reads, &[Change::Set(HEADERS, "Authorization")]),
        asked("headers: X-Idempotency-Key", simple().method("POST").header("X-Idempotency-Key", "1"), 1, reads, &[Change::Remove(HEADERS)]),
        asked("headers: the key's own", simple_in_header(), 1, reads, &[Change::Set(HEADERS, "Authorization")]),
        asked("headers: Content-Type, text", simple().method("POST").header("Content-Type", "text/plain"), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("headers: Content-Type, JSON", simple().method("POST").header("Content-Type", "application/json"), 1, reads, &[Change::Set(HEADERS, "Authorization")]),
        asked("headers: all at once", page().key("ak_web").method("PUT").header("Content-Type", "application/json").header("X-Request-Id", "1").header("X-Idempotency-Key", "1"), 1, reads, &[Change::Set(HEADERS, "Authorization, Content-Type, X-Request-Id")]),
        asked("headers: X-Trace, not in the list", simple().header("X-Trace", "1"), 1, no_header, &[Change::Set(HEADERS, "X-Trace")]),
        asked("headers: one of two not in the list", page().key("ak_web").header("X-Trace", "1"), 1, no_header, &[Change::Set(HEADERS, "Authorization, X-Trace")]),

        asked("credentials: included", simple().with_credentials(), 0, reads, &[Change::Remove(CREDENTIALS)]),
        asked("credentials: included, preflight", page().key("ak_web").with_credentials(), 1, reads, &[Change::Remove(CREDENTIALS)]),
        asked("credentials: included, must be true to the letter", page().key("ak_web").with_credentials(), 1, reads, &[Change::Set(CREDENTIALS, "True")]),
        asked("credentials: omitted", simple(), 0, reads, &[Change::Remove(ORIGIN)]),
        asked("credentials: omitted, *", star(), 0, reads, &[Change::Remove(ORIGIN)]).at("star"),
        asked("credentials: included, *", star().with_credentials(), 0, withheld("WildcardOriginNotAllowed"), &[Change::Set(ORIGIN, "https://anywhere.example"), Change::Set(CREDENTIALS, "true")]).at("star"),
        asked("credentials: included, * and preflight", star().method("PUT").with_credentials(), 1, withheld("PreflightWildcardOriginNotAllowed"), &[Change::Set(ORIGIN, "https://anywhere.example"), Change::Set(CREDENTIALS, "true")]).at("star"),
        asked("credentials: not allowed by the policy", simple().with_credentials(), 0, withheld("InvalidAllowCredentials"), &[Change::Set(CREDENTIALS, "true")]).at("no-credentials"),
    ];
    cases.push(Case::new(
        "gRPC-Web: an error's status is read",
        &[Change::Set("Access-Control-Expose-Headers", "X-Request-Id")],
        |sites, gateway| {
            let call = from(SITE).query_key("ak_nobody").method("POST");
            let call = call.header("Content-Type", "application/grpc-web+proto");
            let seen = call.path("/shop.v1.Search/Find").send(sites, gateway)?;
            let read = seen.read.ok_or(seen.withheld)?;
            match (&read.headers["grpc-status"], &read.headers["grpc-message"]) {
                (status, message) if status == "16" && message.as_str().is_some_and(|text| text.ends_with('.')) => {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        },
    ));
    cases.push(case(
        "credentials: included, null",
        nullable().with_credentials(),
        withheld("InvalidAllowCredentials"),
        &[Change::Set(CREDENTIALS, "true")],
    ));
    cases
}

fn simple_in_header() -> Ask {
    from(SITE).header("X-API-Key", "ak_web")
}

/// A case of one request that takes so many preflights.
fn asked(name: &str, ask: Ask, preflights: usize, expect: Expect, changes: &[Change]) -> Case {
    let ask = ask.path_for(name);
    Case::new(name, changes, move |sites, gateway| {
        let seen = ask.send(sites, gateway)?;
        expect.check(&seen)?;
        if seen.preflights == preflights {
            Ok(())
        } else {
            Err(format!("expected {preflights} preflights, but {seen:#?}"))
        }
    })
}
