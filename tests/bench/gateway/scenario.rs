//! What is asked, and of whom.

use serde_json::Value;

use crate::contender::Algorithm::{EdDsa, Hs256};
use crate::contender::Contender::{self, *};
use crate::contender::{Credential, Limit};
use crate::harness::Gateway;
use crate::harness::client::Request;
use crate::policy::{self, KEY_HEADER};

/// One kind of request.
pub struct Scenario {
    pub name: &'static str,
    pub method: &'static str,
    pub contenders: Vec<Contender>,
    /// The status that a contender with a policy gives.
    pub status: u16,
    headers: fn(usize) -> Headers,
}

/// The number of keys that requests are spread over, where there are as many. They are taken from all over the policy.
const KEYS_ASKED: usize = 5_000;

/// So many tokens, or unknown keys, come up before one comes up again: more than are remembered.
const CREDENTIALS: usize = 20_000;

impl Scenario {
    /// The listener that has the contender's filters.
    pub fn listener(&self, contender: &Contender) -> Value {
        contender.listener(&self.listener_name(contender))
    }

    pub fn listener_name(&self, contender: &Contender) -> String {
        format!("{}: {}", self.name, contender.name()).replace([' ', ',', ':'], "-")
    }

    /// One request is answered as it should be: what is fast must be right.
    pub fn check(&self, gateway: &Gateway, contender: &Contender) {
        let headers = self.requests(contender).next().unwrap_or_default();
        let response = gateway.send(&self.listener_name(contender), &self.request(headers));
        let expected = match contender {
            NoFilter | Empty | Floor => 200,
            Keyfence(_) if self.method == "OPTIONS" => 204,
            // Envoy's own filter for origins lets a request pass whose origin is not listed; rbac refuses it.
            _ => self.status,
        };
        assert_eq!(response.status, expected, "{}: {}", self.name, contender.name());
    }

    /// One of them.
    pub fn request(&self, headers: Headers) -> Request {
        let request = Request::new(self.method, "/v1/items");
        headers
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The headers of the requests that `contender` is sent, one after the other.
    pub fn requests(&self, contender: &Contender) -> impl Iterator<Item = Headers> {
        let (keys, count) = match contender {
            Native(keys) | Keyfence(keys) => (*keys, (*keys).min(KEYS_ASKED)),
            Scoped(Credential::Key | Credential::Token(_)) => (1, 1),
            Scoped(_) => (1, CREDENTIALS),
            _ => (1, 1),
        };
        // A stride that has no factor in common with the count comes by every key.
        (0..count).map(move |n| {
            let mut headers = (self.headers)(n * 7_919 % keys);
            if let Scoped(credential) = contender {
                let key = headers.iter_mut().find(|(name, _)| *name == KEY_HEADER);
                key.unwrap().1 = policy::credential(*credential, n);
            }
            headers
        })
    }
}

/// All that is measured.
pub fn all() -> Vec<Scenario> {
    let everyone = || vec![NoFilter, Empty, Floor, Native(1), Lua, Keyfence(1)];
    vec![
        Scenario {
            name: "allowed, with Origin, 6 headers",
            method: "GET",
            contenders: everyone(),
            status: 200,
            headers: with_origin,
        },
        Scenario {
            name: "allowed, with Origin, 20 headers",
            method: "GET",
            contenders: everyone(),
            status: 200,
            headers: with_more_headers,
        },
        Scenario {
            name: "allowed, without Origin",
            method: "GET",
            contenders: vec![NoFilter, Empty, Lean],
            status: 200,
            headers: without_origin,
        },
        Scenario {
            name: "preflight",
            method: "OPTIONS",
            contenders: vec![NoFilter, NativeCors, Keyfence(1)],
            status: 200,
            headers: preflight,
        },
        Scenario {
            name: "denied, origin",
            method: "GET",
            contenders: vec![NoFilter, Native(1), Lua, Keyfence(1)],
            status: 403,
            headers: from_elsewhere,
        },
        Scenario {
            name: "denied, unknown key",
            method: "GET",
            contenders: vec![NoFilter, Native(1), Lua, Keyfence(1)],
            status: 401,
            headers: with_unknown_key,
        },
        Scenario {
            name: "scoped token",
            method: "GET",
            contenders: vec![
                NoFilter,
                Scoped(Credential::Key),
                Scoped(Credential::Token(Hs256)),
                Scoped(Credential::Token(EdDsa)),
                Scoped(Credential::NewToken(Hs256)),
                Scoped(Credential::NewToken(EdDsa)),
            ],
            status: 200,
            headers: with_origin,
        },
        Scenario {
            name: "denied, a flood",
            method: "GET",
            contenders: vec![
                NoFilter,
                Scoped(Credential::UnknownKey),
                Scoped(Credential::ForgedToken(Hs256)),
                Scoped(Credential::ForgedToken(EdDsa)),
            ],
            status: 401,
            headers: with_origin,
        },
        Scenario {
            name: "limit",
            method: "GET",
            contenders: vec![
                NoFilter,
                Limited(Limit::None),
                Limited(Limit::Whole),
                Limited(Limit::PerClient),
            ],
            status: 200,
            headers: with_origin,
        },
        Scenario {
            name: "growth",
            method: "GET",
            contenders: vec![
                NoFilter,
                Keyfence(1),
                Keyfence(10),
                Keyfence(100),
                Keyfence(1_000),
                Keyfence(10_000),
                Keyfence(100_000),
                Native(1),
                Native(10),
                Native(100),
                Native(1_000),
            ],
            status: 200,
            headers: with_origin,
        },
    ]
}

/// Names and values.
pub type Headers = Vec<(&'static str, String)>;

/// What every request has, `Host` included.
fn plain() -> Headers {
    vec![
        ("Host", "api.example".into()),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".into(),
        ),
        ("Accept", "application/json".into()),
    ]
}

fn without_origin(number: usize) -> Headers {
    let mut headers = plain();
    headers.push((KEY_HEADER, policy::key(number)));
    headers
}

fn with_origin(number: usize) -> Headers {
    let mut headers = without_origin(number);
    headers.push(("Origin", format!("https://app{number}.example")));
    headers.push(("Accept-Language", "en-GB,en;q=0.9".into()));
    headers
}

fn with_more_headers(number: usize) -> Headers {
    let mut headers = with_origin(number);
    let more = [
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Cache-Control", "no-cache"),
        ("Content-Type", "application/json"),
        ("Cookie", "session=0123456789abcdef0123456789abcdef"),
        ("Priority", "u=1, i"),
        ("Referer", "https://app0.example/"),
        ("Sec-Ch-Ua", "\"Chromium\";v=\"142\""),
        ("Sec-Ch-Ua-Mobile", "?0"),
        ("Sec-Ch-Ua-Platform", "\"Linux\""),
        ("Sec-Fetch-Dest", "empty"),
        ("Sec-Fetch-Mode", "cors"),
        ("Sec-Fetch-Site", "cross-site"),
        ("X-Request-Id", "7d0c1f34-9f0e-4f0a-8f6e-2f6f4b8c9d10"),
        ("X-Client-Version", "2026.11.0"),
    ];
    headers.extend(more.map(|(name, value)| (name, value.to_owned())));
    headers
}

fn preflight(_: usize) -> Headers {
    let mut headers = plain();
    headers.push(("Origin", "https://app0.example".into()));
    headers.push(("Access-Control-Request-Method", "POST".into()));
    headers.push(("Access-Control-Request-Headers", "content-type,x-api-key".into()));
    headers
}

fn from_elsewhere(number: usize) -> Headers {
    let mut headers = without_origin(number);
    headers.push(("Origin", "https://elsewhere.example".into()));
    headers.push(("Accept-Language", "en-GB,en;q=0.9".into()));
    headers
}

fn with_unknown_key(_: usize) -> Headers {
    with_origin(1)
}
