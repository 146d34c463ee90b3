//! What the browser remembers: preflights, for as long as the gateway says, and answers, for the
//! origin that they were given to.

use crate::case::{Case, Change};
use crate::page::{Expect, from};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "cache: a preflight is asked once within max-age",
            &[Change::Set("Access-Control-Max-Age", "0")],
            |sites, gateway| {
                let ask = from("https://yourapp.com")
                    .key("ak_web")
                    .method("PUT")
                    .path("/preflight-once");
                let first = ask.send(sites, gateway)?;
                let second = ask.send_again(sites, gateway)?;
                Expect::Reads(200).check(&first)?;
                Expect::Reads(200).check(&second)?;
                match (first.preflights, second.preflights) {
                    (1, 0) => Ok(()),
                    preflights => Err(format!("preflights: {preflights:?}")),
                }
            },
        ),
        // Two origins of one site share the browser's cache.
        Case::new(
            "cache: one origin's answer is not given to another",
            &[Change::Remove("Vary")],
            |sites, gateway| {
                sites.upstream.answer(
                    "/cached",
                    &[("Cache-Control", "max-age=600"), ("Content-Type", "text/plain")],
                );
                for page in [
                    "https://one.wild.example",
                    "https://two.wild.example",
                    "https://one.wild.example",
                ] {
                    Expect::Reads(200).check(&from(page).query_key("ak_web").path("/cached").send(sites, gateway)?)?;
                }
                Ok(())
            },
        ),
        Case::new(
            "cache: an answer without an origin is not given to fetch",
            &[Change::Remove("Vary")],
            |sites, gateway| {
                sites.upstream.answer(
                    "/image",
                    &[("Cache-Control", "max-age=600"), ("Content-Type", "image/png")],
                );
                sites.browser.open("https://one.wild.example")?;
                // Without an Origin, so that the answer has no CORS headers.
                let script = "return fetch(arguments[0], { mode: 'no-cors' }).then((response) => response.text().then(() => response.type))";
                let url = format!("{gateway}/image?api_key=ak_cors_only");
                if sites.browser.run(script, &[url.into()])? != "opaque" {
                    return Err("no opaque answer".to_owned());
                }
                let ask = from("https://one.wild.example")
                    .query_key("ak_cors_only")
                    .path("/image");
                Expect::Reads(200).check(&ask.send_again(sites, gateway)?)
            },
        ),
        Case::new(
            "cache: an image's answer is given to fetch where every origin is allowed",
            &[Change::Remove("Access-Control-Allow-Origin")],
            |sites, gateway| {
                sites.upstream.answer(
                    "/picture",
                    &[("Cache-Control", "max-age=600"), ("Content-Type", "image/png")],
                );
                sites.browser.open("https://anyone.example")?;
                sites.upstream.take();
                // Without an Origin, and whether or not it can be shown.
                let script = "return new Promise((resolve) => {
                    const image = new Image();
                    image.onload = image.onerror = () => resolve(true);
                    image.src = arguments[0];
                })";
                let url = format!("{gateway}/picture?api_key=ak_star_cors_only");
                sites.browser.run(script, &[url.into()])?;
                let ask = from("https://anyone.example")
                    .query_key("ak_star_cors_only")
                    .path("/picture");
                Expect::Reads(200).check(&ask.send_again(sites, gateway)?)?;
                match sites.upstream.take().len() {
                    1 => Ok(()),
                    count => Err(format!("the upstream was asked {count} times")),
                }
            },
        )
        .at("star"),
    ]
}
