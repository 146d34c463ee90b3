//! Which origins a browser lets read the gateway's answers: each kind of pattern against each kind
//! of page.

use crate::case::{Case, Change, Scheme};
use crate::page::{Expect, case, from, origin_of};

const ALLOW: &str = "Access-Control-Allow-Origin";
const CREDENTIALS: &str = "Access-Control-Allow-Credentials";

#[rustfmt::skip]
const PAGES: &[(&str, &str, bool)] = &[
    // The pattern, the page, whether it is allowed.
    ("exact", "https://yourapp.com", true),
    ("exact, another scheme", "http://exact.example", false),
    ("exact, another port", "https://yourapp.com:8443", false),
    ("exact, with a prefix", "https://evil-yourapp.com", false),
    ("exact, with a suffix", "https://yourapp.com.evil.com", false),
    ("exact, a subdomain of it", "https://www.exact.example", false),
    ("wildcard, a subdomain", "https://eu.wild.example", true),
    ("wildcard, a deep subdomain", "https://a.b.c.wild.example", true),
    ("wildcard, its apex", "https://wild.example", false),
    ("wildcard, a lookalike", "https://evilwild.example", false),
    ("wildcard, another scheme", "http://eu.wild.example", false),
    ("wildcard, another port", "https://eu.wild.example:8443", false),
    ("a part of a label", "https://app-git-main-team.label.example", true),
    ("a part of a label, which is empty", "https://app--team.label.example", false),
    ("a part of a label, with a dot", "https://app-a.b-team.label.example", false),
    ("a part of a label, with another before it", "https://a.app-b-team.label.example", false),
    ("a part of a label, another end", "https://app-main-evil.label.example", false),
    ("a part of a label, another parent", "https://app-main-team.evil.example", false),
    ("below localhost", "http://shop.localhost:3000", true),
    ("below localhost, another port", "http://shop.localhost:3001", false),
    ("a port", "https://port.example:8443", true),
    ("a port, the default one", "https://port.example", false),
    ("localhost with its port", "http://localhost:3000", true),
    ("localhost, another port", "http://localhost:3001", false),
    ("any port, the default one", "http://anyport.example", true),
    ("any port, another one", "http://anyport.example:3001", true),
    ("punycode", "https://bücher.example", true),
    ("punycode, a lookalike", "https://bucher.example", false),
    ("null", "null", true),
];

/// The patterns that [`PAGES`] is about.
#[rustfmt::skip]
pub const PATTERNS: &[&str] = &[
    "https://yourapp.com", "https://exact.example", "https://*.wild.example", "https://port.example:8443",
    "http://localhost:3000", "http://*.localhost:3000", "https://app-*-team.label.example", "http://anyport.example:*", "https://xn--bcher-kva.example", "null",
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(name, page, allowed) in PAGES {
        let origin = origin_of(page);
        // A page that came by https asks no gateway by http.
        let schemes: &[Scheme] = if page.starts_with("http:") {
            &[Scheme::Https, Scheme::Http]
        } else {
            &[Scheme::Https]
        };
        for &scheme in schemes {
            let name = |what: &str| format!("origin: {name} ({what}, {scheme:?})");
            let open = [Change::Set(ALLOW, origin), Change::Set(CREDENTIALS, "true")];
            let (simple, asked, changes): (_, _, &[Change]) = if allowed {
                (Expect::Reads(200), Expect::Reads(200), &[Change::Remove(ALLOW)])
            } else {
                (
                    Expect::Withheld("MissingAllowOriginHeader"),
                    Expect::Withheld("PreflightMissingAllowOriginHeader"),
                    &open,
                )
            };
            cases.push(case(name("simple"), from(page).query_key("ak_web"), simple, changes).over(scheme));
            cases.push(case(name("preflight"), from(page).key("ak_web"), asked, changes).over(scheme));
        }
    }
    // The preflight knows no key and is answered for all; the answer is for the key's own list.
    cases.push(case(
        "origin: another key's",
        from("https://other.example").key("ak_web"),
        Expect::Withheld("MissingAllowOriginHeader"),
        &[Change::Set(ALLOW, "https://other.example")],
    ));
    cases.push(case(
        "origin: of no key, though cors_only serves the request",
        from("https://forbidden.example").query_key("ak_cors_only"),
        Expect::Withheld("MissingAllowOriginHeader"),
        &[Change::Set(ALLOW, "https://forbidden.example")],
    ));
    cases.push(
        case(
            "origin: any",
            from("https://anywhere.example").key("ak_star"),
            Expect::Reads(200),
            &[Change::Remove(ALLOW)],
        )
        .at("star"),
    );
    cases.push(
        case(
            "origin: any, null",
            from("null").key("ak_star"),
            Expect::Reads(200),
            &[Change::Remove(ALLOW)],
        )
        .at("star"),
    );
    cases
}
