//! A page that asks the gateway with `fetch`, and what it came to read.

use serde_json::{Value, json};

use crate::case::{Case, Change};
use crate::sites::Sites;

/// What a page asks for. The default is a `GET` that needs no preflight.
#[derive(Clone, Debug)]
pub struct Ask {
    pub from: &'static str,
    path: String,
    method: &'static str,
    key: Option<(Place, &'static str)>,
    headers: Vec<(&'static str, &'static str)>,
    credentials: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Authorization,
    Query,
}

/// From a page of this origin; `null` is a sandboxed frame in one.
pub fn from(origin: &'static str) -> Ask {
    Ask {
        from: origin,
        path: "/".to_owned(),
        method: "GET",
        key: None,
        headers: Vec::new(),
        credentials: "omit",
    }
}

/// What a page there sends as its `Origin`.
pub fn origin_of(page: &'static str) -> &'static str {
    match page {
        "https://bücher.example" => "https://xn--bcher-kva.example",
        page => page,
    }
}

impl Ask {
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// A path of its own: preflights are remembered by URL.
    pub fn path_for(mut self, name: &str) -> Self {
        if self.path == "/" {
            self.path
                .extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }));
        }
        self
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// In `Authorization`, which takes a preflight.
    pub fn key(mut self, key: &'static str) -> Self {
        self.key = Some((Place::Authorization, key));
        self
    }

    /// In the query, which takes none.
    pub fn query_key(mut self, key: &'static str) -> Self {
        self.key = Some((Place::Query, key));
        self
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn with_credentials(mut self) -> Self {
        self.credentials = "include";
        self
    }
}

/// What the page, and we in the network log, came to see.
#[derive(Debug)]
pub struct Seen {
    /// None where the browser withheld the answer.
    pub read: Option<Read>,
    /// Chromium's own name for why it withheld it.
    pub withheld: String,
    pub preflights: usize,
    pub console: Vec<String>,
}

#[derive(Debug)]
pub struct Read {
    pub status: u16,
    pub headers: Value,
    pub body: String,
}

impl Read {
    /// The code of an error of the filter's own.
    pub fn code(&self) -> String {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

const FETCH: &str = r#"
const [url, init, sandboxed] = arguments;
const ask = async (url, init) => {
  try {
    const response = await fetch(url, init);
    return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
  } catch (error) {
    return { error: String(error) };
  }
};
if (!sandboxed) return ask(url, init);
return new Promise((resolve) => {
  addEventListener("message", ({ data }) => resolve(data), { once: true });
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = `<script>(${ask})(${JSON.stringify(url)}, ${JSON.stringify(init)}).then((read) => parent.postMessage(read, "*"))<` + "/script>";
  document.body.append(frame);
});
"#;

impl Ask {
    /// Opens a page and has it ask.
    pub fn send(&self, sites: &Sites, gateway: &str) -> Result<Seen, String> {
        let sandboxed = self.from == "null";
        let page = if sandboxed { "https://frames.example" } else { self.from };
        sites.browser.open(page)?;
        let origin = sites.browser.run("return origin", &[])?;
        if origin != origin_of(page) {
            return Err(format!("the browser went from {page} to {origin}"));
        }
        self.send_again(sites, gateway)
    }

    /// Has the page that is open ask.
    pub fn send_again(&self, sites: &Sites, gateway: &str) -> Result<Seen, String> {
        let mut url = format!("{gateway}{}", self.path);
        let mut headers: Vec<(&str, String)> = self
            .headers
            .iter()
            .map(|&(name, value)| (name, value.to_owned()))
            .collect();
        match self.key {
            Some((Place::Authorization, key)) => headers.push(("Authorization", format!("Bearer {key}"))),
            Some((Place::Query, key)) => url.push_str(&format!("?api_key={key}")),
            None => {}
        }
        let body = matches!(self.method, "POST" | "PUT" | "PATCH").then_some("{}");
        let init = json!({"method": self.method, "headers": headers, "credentials": self.credentials, "body": body});
        sites.browser.network();
        sites.browser.console();
        let read = sites
            .browser
            .run(FETCH, &[json!(url), init, json!(self.from == "null")])?;
        let events = sites.browser.network();
        let console = sites.browser.console();
        let withheld = events
            .iter()
            .rev()
            .find_map(|event| event["params"]["corsErrorStatus"]["corsError"].as_str())
            .unwrap_or_default();
        Ok(Seen {
            read: read["status"].as_u64().map(|status| Read {
                status: status.try_into().unwrap(),
                headers: read["headers"].clone(),
                body: read["body"].as_str().unwrap_or_default().to_owned(),
            }),
            withheld: withheld.to_owned(),
            preflights: events
                .iter()
                .filter(|event| {
                    event["method"] == "Network.requestWillBeSent"
                        && event["params"]["request"]["method"] == "OPTIONS"
                        && event["params"]["type"] != "Fetch"
                })
                .count(),
            console,
        })
    }
}

/// What is expected of one request.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// The page reads an answer with this status.
    Reads(u16),
    /// The page reads an error of the filter's own.
    DiagnosticKind(u16, &'static str),
    /// The browser keeps the answer from the page, for Chromium's reason of this name.
    Withheld(&'static str),
}

impl Expect {
    pub fn check(self, seen: &Seen) -> Result<(), String> {
        let holds = match (self, &seen.read) {
            (Self::Reads(status), Some(read)) => read.status == status,
            (Self::DiagnosticKind(status, code), Some(read)) => read.status == status && read.code() == code,
            // A sandboxed frame's failures do not come to the log of the page.
            (Self::Withheld(reason), None) => seen.withheld == reason || seen.withheld.is_empty(),
            _ => false,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("expected {self:?}, but {seen:#?}"))
        }
    }
}

/// A case of one request.
pub fn case(name: impl Into<String>, ask: Ask, expect: Expect, changes: &[Change]) -> Case {
    let name = name.into();
    let ask = ask.path_for(&name);
    Case::new(name, changes, move |sites, gateway| {
        expect.check(&ask.send(sites, gateway)?)
    })
}
