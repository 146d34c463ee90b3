//! The playground, used as a person would: fill in, send, read.

use std::fs;

use serde_json::{Value, json};

use crate::harness::gateway::{demo_token, repository};
use crate::sites::{EXPIRED, Sites};

const PAGE: &str = "http://localhost:10002/";

pub struct Scene {
    pub name: &'static str,
    page: &'static str,
    enter: Enter,
    /// What stands in the verdict, in this order.
    verdict: &'static [&'static str],
    picture: Option<&'static str>,
}

enum Enter {
    /// The button with this text.
    Example(&'static str),
    /// Fields of the form, as JSON; then Send.
    Form(&'static str),
}

use Enter::{Example, Form};

#[rustfmt::skip]
pub const SCENES: &[Scene] = &[
    scene("an allowed page", Example("an allowed page"), &["Allowed: 200 OK"]).picture("allowed"),
    scene("a page not in the list", Example("a page not in the list"), &["Withheld", "This origin is not in the list", "origin_not_allowed", "never left the browser", r#"Add "http://forbidden.localhost:10002""#]).picture("denied"),
    scene("a missing method", Example("a missing method"), &["Withheld", "The method PATCH is not in the list", r#"Add "PATCH" to cors.allow_methods"#]),
    scene("a missing header", Example("a missing header"), &["Withheld", "The header X-Trace is not in the list", r#"Add "X-Trace" to cors.allow_headers"#]),
    scene("another page's key", Example("another page’s key"), &["Withheld", "This key is not for this origin", "did reach the gateway"]),
    scene("an unknown key", Example("an unknown key"), &["Refused: 401 Unauthorized", "invalid_api_key — Check the API key"]),
    scene("no key", Form(r#"{"key": ""}"#), &["Refused: 401", "missing_api_key — "]),
    scene("signed in as alice", Example("signed in as alice"), &["Allowed: 200 OK", "The upstream was told: alice, filter owner=alice."]).picture("signed-in"),
    scene("signed in as bob", Form(r#"{"user": "bob"}"#), &["Allowed: 200 OK", "The upstream was told: bob, filter owner=bob."]),
    scene("alice writes", Form(r#"{"user": "alice", "method": "POST"}"#), &["Allowed: 200 OK", "alice, filter owner=alice"]),
    scene("bob may only read", Example("bob, who may only read"), &["Refused: 403 Forbidden", "scope_not_allowed — "]),
    scene("signed in, and another key chosen before", Form(r#"{"key": "demo_unknown_0123456789", "user": "alice", "place": "x-api-key"}"#), &["Allowed: 200 OK", "alice, filter owner=alice"]),
    scene("signed in on a page not in the list", Form(r#"{"user": "alice", "origin": "http://forbidden.localhost:10002"}"#), &["Withheld", "This origin is not in the list"]),
    scene("an expired token", Form(r#"{"user": "alice"}"#), &["Refused: 401 Unauthorized", "scoped_token_expired — ", "Start it again with make run"]).on(EXPIRED),
    scene("a subdomain for a wildcard", Form(r#"{"origin": "http://shop.app.localhost:10002"}"#), &["Allowed: 200 OK"]),
    scene("the wildcard's own domain", Form(r#"{"origin": "http://app.localhost:10002"}"#), &["This origin is not in the list"]),
    scene("another port", Form(r#"{"origin": "http://localhost:10003"}"#), &["This origin is not in the list"]),
    scene("a sandboxed frame", Form(r#"{"origin": "null"}"#), &["This origin is not in the list", "Serve the page from an origin of its own"]),
    scene("a secret key", Form(r#"{"key": "demo_server_0123456789"}"#), &["This key is not for this origin", "secret"]),
    scene("method and headers missing", Form(r#"{"method": "PATCH", "headers": "X-Trace: 1\nX-Request-Id: 2\nX-Span: 3"}"#), &["The method PATCH is not in the list", "The headers X-Trace, X-Span are not in the list"]),
    scene("a write", Form(r#"{"method": "PUT", "headers": "Content-Type: application/json"}"#), &["Allowed: 200 OK"]),
    scene("a write with another page's key", Form(r#"{"method": "PUT", "key": "demo_search_0123456789"}"#), &["This key is not for this origin", "A page cannot be sure"]),
    scene("credentials", Form(r#"{"credentials": "include"}"#), &["Allowed: 200 OK"]),
    scene("credentials that the policy forbids", Form(r#"{"credentials": "include", "gateway": "https://no-credentials.gate.test", "key": "other", "otherKey": "ak_web"}"#), &["Credentials are not allowed from this origin"]),
    scene("a gateway that asks preflights for a key", Form(r#"{"gateway": "https://asks-preflights-for-a-key.changed.test"}"#), &["The gateway does not answer the preflight", "A page cannot be sure"]),
    scene("no key where anonymous is for others", Form(r#"{"gateway": "https://anonymous.gate.test", "key": ""}"#), &["This origin is not in the list for requests without a key"]),
    scene("a redirect to elsewhere", Form(r#"{"gateway": "https://anonymous.gate.test", "key": "other", "otherKey": "ak_web", "path": "/leads-away"}"#), &["The answer is a redirect to where this origin may not read"]),
    scene("no gateway", Form(r#"{"gateway": "https://nowhere.test:4444"}"#), &["No answer from https://nowhere.test:4444", "A page cannot be sure"]),
    scene("a path elsewhere", Form(r#"{"origin": "http://localhost:10003", "path": "http://elsewhere.test/"}"#), &["Not sent", "The path leads away from the gateway"]),
    scene("not a header", Form(r#"{"headers": "what is this"}"#), &["Not sent", "is not a header"]),
];

const fn scene(name: &'static str, enter: Enter, verdict: &'static [&'static str]) -> Scene {
    Scene {
        name,
        page: PAGE,
        enter,
        verdict,
        picture: None,
    }
}

const SEND: &str = r#"
const [example, fields] = arguments;
const form = document.getElementById("request");
for (const [name, value] of Object.entries(fields)) {
  form.elements[name].value = value;
  (form.elements[name].length ? form : form.elements[name]).dispatchEvent(new Event("input", { bubbles: true }));
}
const buttons = [...form.querySelectorAll("button")];
buttons.find((button) => button.textContent === example).click();
return new Promise((resolve) => {
  const look = () => {
    if (form.hasAttribute("aria-busy")) return setTimeout(look, 20);
    const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.innerText);
    resolve({ verdict: texts('#verdict')[0], details: texts('#details')[0], outcomes: texts(".origins output") });
  };
  look();
});
"#;

impl Scene {
    const fn on(mut self, page: &'static str) -> Self {
        self.page = page;
        self
    }

    const fn picture(mut self, name: &'static str) -> Self {
        self.picture = Some(name);
        self
    }

    pub fn check(&self, sites: &Sites) -> Result<(), String> {
        sites.browser.open(self.page)?;
        let (button, fields) = match self.enter {
            Example(text) => (text, json!({})),
            Form(fields) => ("Send", serde_json::from_str(fields).unwrap()),
        };
        let shown = sites.browser.run(SEND, &[json!(button), fields])?;
        let verdict = shown["verdict"].as_str().unwrap();
        let mut rest = verdict;
        for text in self.verdict {
            let at = rest
                .find(text)
                .ok_or_else(|| format!("no {text:?} in:\n{verdict}\n{}", shown["details"]))?;
            rest = &rest[at + text.len()..];
        }
        if let Some(name) = self.picture {
            take_pictures(sites, name)?;
        }
        Ok(())
    }
}

type Check = fn(&Sites) -> Result<(), String>;

pub const WHOLE: &[(&str, Check)] = &[
    ("from every page", from_every_page),
    ("fits a phone", fits_a_phone),
    ("a token is shown as what it says", a_token_is_shown_as_what_it_says),
    (
        "an expired token is noticed before it is sent",
        an_expired_token_is_noticed_before_it_is_sent,
    ),
    ("no other origin reads a token", no_other_origin_reads_a_token),
];

/// The same request from every page, side by side.
fn from_every_page(sites: &Sites) -> Result<(), String> {
    sites.browser.open(PAGE)?;
    let shown: Value = sites.browser.run(SEND, &[json!("Send from every page"), json!({})])?;
    let expected = json!(["200", "200", "withheld", "withheld", "withheld", "withheld"]);
    if shown["outcomes"] == expected {
        Ok(())
    } else {
        Err(format!("{shown:#}"))
    }
}

/// Nothing scrolls sideways on the narrowest of phones.
fn fits_a_phone(sites: &Sites) -> Result<(), String> {
    sites.browser.open(PAGE)?;
    sites.browser.resize(320, 640, false)?;
    for example in ["a page not in the list", "signed in as alice"] {
        sites.browser.run(SEND, &[json!(example), json!({})])?;
        let width = sites.browser.run("return document.documentElement.scrollWidth", &[])?;
        if width.as_u64() > Some(320) {
            return Err(format!("{example}: the page is {width} wide on a screen of 320"));
        }
    }
    Ok(())
}

/// Chooses each of these users, one right after the other. The token of the first comes last.
const SIGN_IN: &str = r#"
const { user, key } = document.getElementById("request").elements;
const { fetch } = window;
const fetched = [];
window.fetch = (...asked) => {
  const wait = fetched.length ? 0 : 200;
  const answer = new Promise((resolve) => setTimeout(resolve, wait)).then(() => fetch(...asked));
  fetched.push(answer);
  return answer;
};
for (const name of arguments[0]) {
  user.value = name;
  user.dispatchEvent(new Event("input", { bubbles: true }));
}
const textOf = (id) => document.getElementById(id).innerText;
return Promise.all(fetched).then(() => new Promise((resolve) => {
  const look = () => {
    if (textOf("signed-in").startsWith("Signing in")) return setTimeout(look, 20);
    resolve({ status: textOf("signed-in"), token: textOf("token"), keyed: !key.disabled, page: document.body.innerText });
  };
  setTimeout(look, 50);
}));
"#;

fn sign_in(sites: &Sites, page: &str, users: &[&str]) -> Result<Value, String> {
    sites.browser.open(page)?;
    sites.browser.run(SIGN_IN, &[json!(users)])
}

/// The claims, and neither the token itself nor what signed it.
fn a_token_is_shown_as_what_it_says(sites: &Sites) -> Result<(), String> {
    const CLAIMS: [&str; 5] = [
        "What bob’s token says",
        "demo-users",
        "owner=bob",
        r#"["read"]"#,
        "X-Key-Filter",
    ];
    let token = demo_token("bob");
    let bob = sign_in(sites, PAGE, &["alice", "bob"])?;
    let text = |name: &str| bob[name].as_str().unwrap();
    let is_shown = text("status").starts_with("Signed in as bob, until ")
        && CLAIMS.iter().all(|claim| text("token").contains(claim))
        && !text("page").contains("demo_token_secret")
        && token.split('.').all(|part| !text("page").contains(part))
        && bob["keyed"] == false;
    if !is_shown {
        return Err(format!("{bob:#}"));
    }
    let nobody = sign_in(sites, PAGE, &["alice", ""])?;
    if nobody["status"] == "" && nobody["token"] == "" && nobody["keyed"] == true {
        Ok(())
    } else {
        Err(format!("{nobody:#}"))
    }
}

fn an_expired_token_is_noticed_before_it_is_sent(sites: &Sites) -> Result<(), String> {
    let alice = sign_in(sites, EXPIRED, &["alice"])?;
    let status = alice["status"].as_str().unwrap();
    if status.starts_with("alice’s token has ended.") && status.contains("Start it again with make run") {
        Ok(())
    } else {
        Err(format!("{alice:#}"))
    }
}

const FETCH_TOKEN: &str = r#"
return fetch(arguments[0]).then(
  async (response) => ({ headers: Object.fromEntries(response.headers), body: await response.text() }),
  (error) => ({ error: error.name }));
"#;

fn no_other_origin_reads_a_token(sites: &Sites) -> Result<(), String> {
    let fetch = |page: &str| {
        sites.browser.open(page)?;
        let address = format!("{PAGE}sign-in/alice");
        sites.browser.run(FETCH_TOKEN, &[json!(address)])
    };
    let own = fetch(PAGE)?;
    let headers = &own["headers"];
    let is_given = headers["cache-control"] == "no-store"
        && headers["content-type"] == "text/plain; charset=utf-8"
        && own["body"].as_str().map(str::trim_end) == Some(demo_token("alice").as_str());
    if !is_given {
        return Err(format!("{own:#}"));
    }
    for page in ["http://localhost:10003/", "http://shop.app.localhost:10002/"] {
        let other = fetch(page)?;
        if other != json!({"error": "TypeError"}) {
            return Err(format!("{page}: {other:#}"));
        }
    }
    Ok(())
}

/// For people to look at: `target/playground/<name>-<variant>.png`.
fn take_pictures(sites: &Sites, name: &str) -> Result<(), String> {
    const WIDE: &str = "scrollTo(0, 0)";
    const NARROW: &str = "document.getElementById('verdict').scrollIntoView()";
    let directory = repository().join("target/playground");
    fs::create_dir_all(&directory).unwrap();
    for (variant, width, height, dark, scroll) in [
        ("light", 1200, 900, false, WIDE),
        ("dark", 1200, 900, true, WIDE),
        ("phone", 390, 844, false, NARROW),
    ] {
        sites.browser.resize(width, height, dark)?;
        sites.browser.run(scroll, &[])?;
        let picture = sites.browser.screenshot()?;
        fs::write(directory.join(format!("{name}-{variant}.png")), picture).unwrap();
    }
    Ok(())
}
