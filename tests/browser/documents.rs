//! The security headers, on documents of the gateway that a browser shows or embeds.

use serde_json::json;

use crate::case::{Case, Change};

const HTML: (&str, &str) = ("Content-Type", "text/html");
/// Takes requests without an `Origin`, as navigations are.
const KEY: &str = "?api_key=ak_documents";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "document: an inline script is blocked",
            &[Change::Remove("Content-Security-Policy")],
            |sites, gateway| {
                answer(
                    sites,
                    "/inline",
                    HTML,
                    "<title>safe</title><script>document.title = 'ran'</script>",
                );
                sites.browser.open(&format!("{gateway}/inline{KEY}"))?;
                expect("title", &sites.browser.run("return document.title", &[])?, "safe")
            },
        ),
        Case::new(
            "document: a script of another site is blocked",
            &[Change::Set("Content-Security-Policy", "default-src https:")],
            |sites, gateway| {
                sites.browser.open(&format!("{gateway}/{KEY}"))?;
                let script = r#"return new Promise((resolve) => {
                const script = document.createElement("script");
                script.onload = () => resolve("loaded");
                script.onerror = () => resolve("blocked");
                script.src = arguments[0];
                document.documentElement.append(script);
            })"#;
                answer(sites, "/script.js", ("Content-Type", "text/javascript"), "");
                let url = "https://star.gate.test/script.js?api_key=ak_documents";
                expect("script", &sites.browser.run(script, &[json!(url)])?, "blocked")
            },
        ),
        Case::new(
            "document: a frame is refused",
            &[
                Change::Remove("X-Frame-Options"),
                Change::Remove("Content-Security-Policy"),
            ],
            |sites, gateway| {
                // Of a frame of another origin a page may read how many frames are in it.
                answer(sites, "/framed", HTML, "<iframe></iframe>");
                sites.browser.open("https://yourapp.com")?;
                let script = r#"return new Promise((resolve) => {
                const frame = document.createElement("iframe");
                frame.onload = () => resolve(frame.contentWindow.length === 1 ? "shown" : "refused");
                frame.src = arguments[0];
                document.body.append(frame);
            })"#;
                expect(
                    "frame",
                    &sites.browser.run(script, &[json!(format!("{gateway}/framed{KEY}"))])?,
                    "refused",
                )
            },
        ),
        Case::new(
            "document: text is not taken for a script",
            &[Change::Remove("X-Content-Type-Options")],
            |sites, gateway| {
                answer(sites, "/text", ("Content-Type", "text/plain"), "window.ran = true;");
                sites.browser.open("https://yourapp.com")?;
                let script = r#"return new Promise((resolve) => {
                const script = document.createElement("script");
                script.onload = script.onerror = () => resolve(window.ran ? "ran" : "refused");
                script.src = arguments[0];
                document.body.append(script);
            })"#;
                expect(
                    "script",
                    &sites.browser.run(script, &[json!(format!("{gateway}/text{KEY}"))])?,
                    "refused",
                )
            },
        ),
        Case::new(
            "document: http becomes https",
            &[Change::Remove("Strict-Transport-Security")],
            |sites, gateway| {
                sites.browser.open(&format!("{gateway}/{KEY}"))?;
                sites
                    .browser
                    .open(&format!("{}/", gateway.replacen("https", "http", 1)))?;
                expect("scheme", &sites.browser.run("return location.protocol", &[])?, "https:")
            },
        ),
        Case::new(
            "document: another site is not told the path",
            &[Change::Set("Referrer-Policy", "unsafe-url")],
            |sites, gateway| {
                answer(sites, "/link", HTML, "<a href='https://yourapp.com/'>link</a>");
                sites.browser.open(&format!("{gateway}/link{KEY}"))?;
                // Opening a link is left to the browser: the page's own policy lets no script run.
                sites.browser.run("document.querySelector('a').click()", &[])?;
                let script = r#"return new Promise((resolve) => {
                const look = () => (document.referrer ? resolve(document.referrer) : setTimeout(look, 20));
                look();
            })"#;
                expect("referrer", &sites.browser.run(script, &[])?, &format!("{gateway}/"))
            },
        ),
    ]
}

fn answer(sites: &crate::sites::Sites, path: &str, (name, value): (&str, &str), body: &str) {
    let length = body.len();
    sites.upstream.answer_raw(
        path,
        format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
}

fn expect(what: &str, found: &serde_json::Value, expected: &str) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, but {found}"))
    }
}
