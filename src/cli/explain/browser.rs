//! What a browser makes of the answers to a page (Fetch standard): whether it asks before it sends a request, whether it sends it, and
//! whether the page may read what comes back.

use super::explanation::{Header, StepResult};

/// A request that a page makes with `fetch`, to another origin than its own.
#[derive(Debug, Clone, Copy)]
pub struct Page<'p> {
    pub origin: &'p str,
    pub method: &'p str,
    /// What the page sets itself; names in lower case.
    pub headers: &'p [(String, String)],
    /// `credentials: "include"`.
    pub credentials: bool,
}

impl Page<'_> {
    /// The names of headers that a server has to allow, sorted (Fetch, "CORS-unsafe request-header names").
    pub fn unsafe_headers(&self) -> Vec<&str> {
        let is_unsafe = |(name, value): &&(String, String)| !is_forbidden(name) && !is_safelisted(name, value);
        let mut names: Vec<&str> = self.headers.iter().filter(is_unsafe).map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the browser asks first.
    pub fn needs_preflight(&self) -> bool {
        !SAFELISTED_METHODS.contains(&self.method) || !self.unsafe_headers().is_empty()
    }

    /// What the browser compares in the answer to its preflight (Fetch, "CORS-preflight fetch"). The first that fails is the last, for
    /// the request is not sent then.
    pub fn after_preflight(&self, status: u16, headers: &[Header]) -> Vec<StepResult> {
        let checks = [Self::preflight_step, Self::method_step, Self::headers_step];
        let mut steps: Vec<StepResult> = Vec::new();
        for check in checks {
            steps.extend(check(self, status, headers));
            if steps.iter().any(|step| !step.passed) {
                break;
            }
        }
        steps
    }

    fn preflight_step(&self, status: u16, headers: &[Header]) -> Option<StepResult> {
        let before = "Response to preflight request doesn't pass access control check: ";
        let may_ask = self.may_use("preflight", headers, before);
        Some(match may_ask.passed && !(200..300).contains(&status) {
            true => failed("preflight", "console: It does not have HTTP ok status."),
            false => may_ask,
        })
    }

    /// Whether the page may read a response (Fetch, "CORS check").
    pub fn may_read(&self, headers: &[Header]) -> StepResult {
        self.may_use("read", headers, "")
    }

    fn may_use(&self, step: &'static str, headers: &[Header], before: &str) -> StepResult {
        let allowed = values(headers, "access-control-allow-origin");
        let credentials = values(headers, "access-control-allow-credentials");
        let problem = match (&allowed[..], self.credentials) {
            ([], _) => "No 'Access-Control-Allow-Origin' header is present on the requested resource.".to_owned(),
            ([one], true) if one == "*" => {
                "The value of the 'Access-Control-Allow-Origin' header in the response must not be the wildcard '*' when the request's \
                 credentials mode is 'include'."
                    .to_owned()
            }
            ([one], false) if one == "*" => return passed(step, "Access-Control-Allow-Origin is *, for requests without credentials".into()),
            ([one], true) if one == self.origin && credentials != ["true"] => {
                "The value of the 'Access-Control-Allow-Credentials' header in the response is '' which must be 'true' when the \
                 request's credentials mode is 'include'."
                    .to_owned()
            }
            ([one], _) if one == self.origin => return passed(step, format!("Access-Control-Allow-Origin is {one}")),
            (several, _) => format!(
                "The 'Access-Control-Allow-Origin' header has a value '{}' that is not equal to the supplied origin.",
                several.join(", ")
            ),
        };
        failed(step, &format!("console: {before}{problem}"))
    }

    fn method_step(&self, _: u16, headers: &[Header]) -> Option<StepResult> {
        let allowed = values(headers, "access-control-allow-methods");
        let list = allowed.join(", ");
        let is_listed = |wanted: &str| items(&allowed).any(|method| method == wanted);
        if SAFELISTED_METHODS.contains(&self.method) {
            return Some(passed("method", format!("{} needs no permission", self.method)));
        }
        if is_listed(self.method) || !self.credentials && is_listed("*") {
            return Some(passed("method", format!("{} is one of {list}", self.method)));
        }
        let console = format!(
            "Method {} is not allowed by Access-Control-Allow-Methods in preflight response.",
            self.method
        );
        Some(failed(
            "method",
            &format!("{} is none of {list}; console: {console}", self.method),
        ))
    }

    fn headers_step(&self, _: u16, headers: &[Header]) -> Option<StepResult> {
        let names = self.unsafe_headers();
        let allowed = values(headers, "access-control-allow-headers");
        let list = allowed.join(", ");
        let is_listed = |wanted: &str| items(&allowed).any(|name| name.eq_ignore_ascii_case(wanted));
        // `*` never covers `Authorization`.
        let is_allowed =
            |name: &&str| is_listed(name) || !self.credentials && *name != "authorization" && is_listed("*");
        if names.is_empty() {
            return None;
        }
        Some(match names.iter().find(|name| !is_allowed(name)) {
            None => passed("headers", format!("{} among {list}", names.join(", "))),
            Some(name) => {
                let console = format!(
                    "Request header field {name} is not allowed by Access-Control-Allow-Headers in preflight response."
                );
                failed("headers", &format!("{name} is none of {list}; console: {console}"))
            }
        })
    }
}

const SAFELISTED_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// Which no page can use.
const FORBIDDEN_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// The method that a page's `fetch` sends for the one that it names; `None`: it throws.
pub fn normalized(method: &str) -> Option<String> {
    const NORMALIZED: [&str; 6] = ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"];
    let is_one_of = |list: &[&str]| list.iter().any(|one| one.eq_ignore_ascii_case(method));
    if is_one_of(&FORBIDDEN_METHODS) {
        None
    } else if is_one_of(&NORMALIZED) {
        Some(method.to_ascii_uppercase())
    } else {
        Some(method.to_owned())
    }
}

/// Headers that the browser sets and no page (Fetch, "forbidden request-header").
fn is_forbidden(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "accept-charset",
        "accept-encoding",
        "access-control-request-headers",
        "access-control-request-method",
        "access-control-request-private-network",
        "connection",
        "content-length",
        "cookie",
        "cookie2",
        "date",
        "dnt",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "referer",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    NAMES.contains(&name) || name.starts_with("proxy-") || name.starts_with("sec-")
}

/// Fetch, "CORS-safelisted request-header".
fn is_safelisted(name: &str, value: &str) -> bool {
    const CONTENT_TYPES: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
    let is_plain = |value: &str| {
        let is_unsafe = |b: u8| b < 0x20 && b != b'\t' || b == 0x7f || b"\"():<>?@[\\]{}".contains(&b);
        !value.bytes().any(is_unsafe)
    };
    let is_language = |b: u8| b.is_ascii_alphanumeric() || b" *,-.;=".contains(&b);
    value.len() <= 128
        && match name {
            "accept" => is_plain(value),
            "accept-language" | "content-language" => value.bytes().all(is_language),
            "content-type" => {
                let essence = value.split(';').next().unwrap_or_default().trim();
                is_plain(value) && CONTENT_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence))
            }
            "range" => value.strip_prefix("bytes=").is_some_and(is_simple_range),
            _ => false,
        }
}

fn is_simple_range(range: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    range
        .split_once('-')
        .is_some_and(|(first, last)| !first.is_empty() && is_number(first) && is_number(last))
}

fn values(headers: &[Header], wanted: &str) -> Vec<String> {
    let lines = headers.iter().filter(|(name, _)| name == wanted.as_bytes());
    lines
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

fn items(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().flat_map(|line| line.split(',')).map(str::trim)
}

fn passed(step: &'static str, compared: String) -> StepResult {
    StepResult {
        step,
        passed: true,
        compared,
    }
}

fn failed(step: &'static str, compared: &str) -> StepResult {
    StepResult {
        step,
        passed: false,
        compared: compared.to_owned(),
    }
}

/// A page that names a method which no page can use.
pub fn forbidden_method(method: &str) -> StepResult {
    let console = format!("Failed to execute 'fetch': '{method}' HTTP method is unsupported.");
    failed("method", &format!("no page can use {method}; console: {console}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[(&str, &str)]) -> Vec<Header> {
        lines
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn headers_that_need_permission() {
        let long = "a".repeat(129);
        for (name, value, is_unsafe) in [
            ("accept", "text/html", false),
            ("accept", "a(b)", true),
            ("accept", &*long, true),
            ("accept-language", "de;q=0.5", false),
            ("accept-language", "de/ch", true),
            ("content-type", "Text/Plain; charset=utf-8", false),
            ("content-type", "multipart/form-data; boundary=a", false),
            ("content-type", "application/json", true),
            ("content-type", "text/plain; a=\"b\"", true),
            ("range", "bytes=0-99", false),
            ("range", "bytes=-99", true),
            ("range", "bytes=0-1,3-4", true),
            ("authorization", "Bearer k", true),
            ("user-agent", "a", true),
            ("x-a", "", true),
            ("cookie", "a=b", false),
            ("sec-fetch-site", "same-origin", false),
            ("proxy-authorization", "a", false),
            ("via", "a", false),
        ] {
            let headers = [(name.to_owned(), value.to_owned())];
            let page = Page {
                origin: "https://a.example",
                method: "GET",
                headers: &headers,
                credentials: false,
            };
            assert_eq!(page.needs_preflight(), is_unsafe, "{name}: {value}");
        }
    }

    #[test]
    fn methods_as_fetch_sends_them() {
        for (named, sent) in [
            ("get", Some("GET")),
            ("Delete", Some("DELETE")),
            ("patch", Some("patch")),
            ("BREW", Some("BREW")),
            ("trace", None),
            ("CONNECT", None),
        ] {
            assert_eq!(normalized(named).as_deref(), sent, "{named}");
        }
    }

    /// Origin, credentials and method of the page, the answer, and the step that fails.
    #[test]
    #[rustfmt::skip]
    fn answers_to_a_preflight() {
        const ORIGIN: (&str, &str) = ("access-control-allow-origin", "https://a.example");
        const STAR: (&str, &str) = ("access-control-allow-origin", "*");
        const CREDENTIALS: (&str, &str) = ("access-control-allow-credentials", "true");
        const HEADERS: (&str, &str) = ("access-control-allow-headers", "X-A, Authorization");
        const METHODS: (&str, &str) = ("access-control-allow-methods", "PUT,PATCH");
        const ANY: [(&str, &str); 2] = [("access-control-allow-headers", "*"), ("access-control-allow-methods", "*")];
        for (credentials, method, names, answer, fails) in [
            (false, "PUT", &["x-a"][..], &[ORIGIN, METHODS, HEADERS][..], None),
            (false, "put", &[], &[ORIGIN, METHODS], Some("method")),
            (false, "PATCH", &[], &[STAR, METHODS], None),
            (false, "DELETE", &[], &[STAR, METHODS], Some("method")),
            (false, "POST", &["x-a"], &[STAR, HEADERS], None),
            (false, "POST", &["x-b"], &[STAR, HEADERS], Some("headers")),
            (false, "DELETE", &["x-b"], &[STAR, ANY[0], ANY[1]], None),
            (false, "DELETE", &["authorization"], &[STAR, ANY[0], ANY[1]], Some("headers")),
            (true, "DELETE", &[], &[ORIGIN, CREDENTIALS, ANY[0], ANY[1]], Some("method")),
            (true, "GET", &["x-b"], &[ORIGIN, CREDENTIALS, ANY[0], ANY[1]], Some("headers")),
            (true, "PUT", &[], &[ORIGIN, CREDENTIALS, METHODS], None),
            (true, "PUT", &[], &[ORIGIN, METHODS], Some("preflight")),
            (true, "PUT", &[], &[STAR, CREDENTIALS, METHODS], Some("preflight")),
            (false, "PUT", &[], &[METHODS], Some("preflight")),
            (false, "PUT", &[], &[("access-control-allow-origin", "https://b.example"), METHODS], Some("preflight")),
            (false, "PUT", &[], &[ORIGIN, ORIGIN, METHODS], Some("preflight")),
        ] {
            let headers: Vec<(String, String)> = names.iter().map(|name| ((*name).to_owned(), String::new())).collect();
            let page = Page { origin: "https://a.example", method, headers: &headers, credentials };
            let steps = page.after_preflight(204, &lines(answer));
            let failed = steps.iter().find(|step| !step.passed).map(|step| step.step);
            assert_eq!(failed, fails, "{method}, {names:?}, {answer:?}");
            assert!(page.after_preflight(403, &lines(answer)).iter().any(|step| !step.passed));
        }
    }
}
