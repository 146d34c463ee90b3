//! Pages on the API's own site: a browser sends no `Origin` with their `GET`, and says by `Sec-Fetch-Site` that they are same-origin.

use serde_json::{Value, json};

use crate::case::{Case, Change};
use crate::sites::Sites;

const KEY: &str = "api_key=ak_own_page";
/// A page of the API that needs no origin, as navigations have none.
const PAGE: &str = "/page?api_key=ak_documents";

/// A script that resolves to what the page got of the URL in `arguments[0]`.
const ASKS: &[(&str, &str, &str)] = &[
    (
        "fetch",
        "/data",
        "return fetch(arguments[0]).then((response) => response.text())",
    ),
    (
        "fetch through a redirect",
        "/to-data",
        "return fetch(arguments[0]).then((response) => response.text())",
    ),
    (
        "fetch of a method with Origin",
        "/data",
        "return fetch(arguments[0], { method: 'POST' }).then((response) => response.text())",
    ),
    (
        "an image",
        "/image",
        "return new Promise((resolve) => {
            const image = new Image();
            image.onload = () => resolve('data');
            image.onerror = () => resolve('refused');
            image.src = arguments[0];
        })",
    ),
    (
        "a script",
        "/script",
        "return new Promise((resolve) => {
            const script = document.createElement('script');
            script.onload = () => resolve(window.loaded);
            script.onerror = () => resolve('refused');
            script.src = arguments[0];
            document.documentElement.append(script);
        })",
    ),
    (
        "a service worker",
        "/worker",
        "return navigator.serviceWorker.register(arguments[0], { scope: '/' }).then(async (registration) => {
            const worker = registration.installing || registration.waiting || registration.active;
            const answer = await new Promise((resolve) => {
                const { port1, port2 } = new MessageChannel();
                port1.onmessage = ({ data }) => resolve(data);
                worker.postMessage('', [port2]);
            });
            await registration.unregister();
            return answer;
        }, () => 'refused')",
    ),
    (
        "a form",
        "/shown",
        "const form = document.createElement('form');
        const url = new URL(arguments[0], location);
        form.action = url.pathname;
        for (const [name, value] of url.searchParams) {
            const input = document.createElement('input');
            [input.type, input.name, input.value] = ['hidden', name, value];
            form.append(input);
        }
        document.body.append(form);
        form.submit();
        return 'submitted'",
    ),
];

/// A page with `no-referrer` sends `Origin: null` with it.
const POST_WITHOUT_REFERRER: &str = "
    const meta = document.createElement('meta');
    [meta.name, meta.content] = ['referrer', 'no-referrer'];
    document.head.append(meta);
    const form = document.createElement('form');
    form.method = 'POST';
    form.action = arguments[0];
    document.body.append(form);
    form.submit();
    return 'submitted'";

const WORKER: &str = "addEventListener('message', async ({ ports }) => {
    const response = await fetch('/data?api_key=ak_own_page').catch(() => null);
    ports[0].postMessage(response ? await response.text() : 'refused');
});";

pub fn cases() -> Vec<Case> {
    let own = ASKS.iter().map(|&(name, path, script)| {
        let change = match name {
            "fetch of a method with Origin" => Change::Ask("Origin", "https://forbidden.example"),
            _ => Change::Ask("Sec-Fetch-Site", "cross-site"),
        };
        let case = Case::new(format!("own site: {name}"), &[change], move |sites, gateway| {
            answer_all(sites);
            sites.browser.open(&format!("{gateway}{PAGE}"))?;
            let url = format!("{path}?{KEY}");
            let mut got = sites.browser.run(script, &[json!(url)])?;
            if got == "submitted" {
                got = sites.browser.run(SHOWN, &[json!(path)])?;
            }
            expect(&got, "data")
        });
        case.at("own")
    });
    let foreign = Case::new(
        "own site: an image of it on another site is refused",
        &[Change::Ask("Sec-Fetch-Site", "same-origin")],
        |sites, gateway| {
            answer_all(sites);
            sites.browser.open("https://forbidden.example")?;
            let (.., script) = ASKS.iter().find(|(name, ..)| *name == "an image").unwrap();
            let got = sites.browser.run(script, &[json!(format!("{gateway}/image?{KEY}"))])?;
            expect(&got, "refused")
        },
    );
    let without_referrer = Case::new(
        "own site: a form that is posted without a referrer",
        &[Change::Ask("Sec-Fetch-Site", "cross-site")],
        |sites, gateway| {
            answer_all(sites);
            sites.browser.open(&format!("{gateway}{PAGE}"))?;
            sites
                .browser
                .run(POST_WITHOUT_REFERRER, &[json!(format!("/shown?{KEY}"))])?;
            expect(&sites.browser.run(SHOWN, &[json!("/shown")])?, "data")
        },
    );
    own.chain([foreign.at("own"), without_referrer.at("own")]).collect()
}

/// The text of the page that is there once the form has been submitted.
const SHOWN: &str = "return new Promise((resolve) => {
    const look = () => (location.pathname === arguments[0] && document.readyState === 'complete'
        ? resolve(document.body.innerText.trim().includes('problem') ? 'refused' : document.body.innerText.trim())
        : setTimeout(look, 20));
    look();
})";

fn answer_all(sites: &Sites) {
    for (path, kind, body) in [
        ("/page", "text/html", "<title>The API's own page</title><body>"),
        ("/data", "text/plain", "data"),
        ("/shown", "text/html", "data"),
        (
            "/image",
            "image/svg+xml",
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>"#,
        ),
        ("/script", "text/javascript", "window.loaded = 'data'"),
        ("/worker", "text/javascript", WORKER),
    ] {
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nService-Worker-Allowed: /\r\nCache-Control: no-store");
        let text = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        sites.upstream.answer_raw(path, text);
    }
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: /data?{KEY}\r\nContent-Length: 0\r\n\r\n");
    sites.upstream.answer_raw("/to-data", redirect);
}

fn expect(found: &Value, expected: &str) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("expected {expected}, but {found}"))
    }
}
