//! A browser's part of CORS (Fetch standard): whether it sends a preflight, whether it then sends the request, and whether the page may
//! read the response.

use super::explanation::{Header, StepResult};

/// A cross-origin request that a page makes with `fetch`.
#[derive(Debug, Clone, Copy)]
pub struct Page<'p> {
    pub origin: &'p str,
    pub method: &'p str,
    /// Headers that the page sets; names in lower case.
    pub headers: &'p [(String, String)],
    /// Whether the credentials mode is `include`.
    pub credentials: bool,
}

impl Page<'_> {
    /// The sorted names of headers that the server must allow (Fetch, "CORS-unsafe request-header names").
    pub fn unsafe_headers(&self) -> Vec<&str> {
        const MAX_SAFELISTED_BYTES: usize = 1_024;
        let own = self.headers.iter().filter(|(name, value)| !is_forbidden(name, value));
        let (safelisted, mut names): (Vec<_>, Vec<_>) = own.partition(|(name, value)| is_safelisted(name, value));
        if safelisted.iter().map(|(_, value)| value.len()).sum::<usize>() > MAX_SAFELISTED_BYTES {
            names.extend(safelisted);
        }
        let mut names: Vec<&str> = names.into_iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the browser sends a preflight (Fetch, "HTTP fetch").
    pub fn needs_preflight(&self) -> bool {
        !SAFELISTED_METHODS.contains(&self.method) || !self.unsafe_headers().is_empty()
    }

    /// The browser's checks of the response to its preflight (Fetch, "CORS-preflight fetch"). They end with the first that fails, because
    /// the browser does not send the request then.
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
        let prefix = "Response to preflight request doesn't pass access control check: ";
        let cors_check = self.cors_check("preflight", headers, prefix);
        Some(match cors_check.passed && !(200..300).contains(&status) {
            true => failed("preflight", "console: It does not have HTTP ok status."),
            false => cors_check,
        })
    }

    /// Whether the page may read a response (Fetch, "CORS check").
    pub fn may_read(&self, headers: &[Header]) -> StepResult {
        self.cors_check("read", headers, "")
    }

    /// Fetch, "CORS check". A failure is the message of Chromium's console after `prefix`.
    fn cors_check(&self, step: &'static str, headers: &[Header], prefix: &str) -> StepResult {
        let allowed = values(headers, "access-control-allow-origin");
        let credentials = values(headers, "access-control-allow-credentials");
        let message = match (&allowed[..], self.credentials) {
            ([], _) => "No 'Access-Control-Allow-Origin' header is present on the requested resource.".to_owned(),
            ([one], true) if one == "*" => {
                "The value of the 'Access-Control-Allow-Origin' header in the response must not be the wildcard '*' when the request's \
                 credentials mode is 'include'."
                    .to_owned()
            }
            ([one], false) if one == "*" => return passed(step, "Access-Control-Allow-Origin is *, for requests without credentials".into()),
            ([one], true) if one == self.origin && credentials != ["true"] => format!(
                "The value of the 'Access-Control-Allow-Credentials' header in the response is '{}' which must be 'true' when the \
                 request's credentials mode is 'include'.",
                credentials.join(", ")
            ),
            ([one], _) if one == self.origin => return passed(step, format!("Access-Control-Allow-Origin is {one}")),
            (several, _) => format!(
                "The 'Access-Control-Allow-Origin' header has a value '{}' that is not equal to the supplied origin.",
                several.join(", ")
            ),
        };
        failed(step, &format!("console: {prefix}{message}"))
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
        // `*` does not include `Authorization` (Fetch, "CORS non-wildcard request-header name").
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

/// Fetch, "CORS-safelisted method".
const SAFELISTED_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// Fetch, "forbidden method".
const FORBIDDEN_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// The method that `fetch` sends if a page names this one (Fetch, "normalize"); `None` if `fetch` throws.
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

/// Whether only the browser may set this header (Fetch, "forbidden request-header").
fn is_forbidden(name: &str, value: &str) -> bool {
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
    const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];
    let is_forbidden_method = |method: &str| normalized(method.trim()).is_none();
    NAMES.contains(&name)
        || name.starts_with("proxy-")
        || name.starts_with("sec-")
        || METHOD_OVERRIDES.contains(&name) && value.split(',').any(is_forbidden_method)
}

/// Whether the header needs no preflight (Fetch, "CORS-safelisted request-header").
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

/// Fetch, "simple range header value", after `bytes=`.
fn is_simple_range(range: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    range
        .split_once('-')
        .is_some_and(|(first, last)| !first.is_empty() && is_number(first) && is_number(last))
}

/// The value of each line of a header.
fn values(headers: &[Header], wanted: &str) -> Vec<String> {
    let lines = headers.iter().filter(|(name, _)| name == wanted.as_bytes());
    lines
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// The items of comma-separated lists.
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

/// The failed step for a method that `fetch` refuses.
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
            ("x-http-method-override", "PUT", true),
            ("x-http-method-override", "PUT, trace", false),
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

    /// Credentials, method and headers of the page, the response to its preflight, and the step that fails.
    #[test]
    #[rustfmt::skip]
    fn responses_to_a_preflight() {
        const ORIGIN: (&str, &str) = ("access-control-allow-origin", "https://a.example");
        const STAR: (&str, &str) = ("access-control-allow-origin", "*");
        const CREDENTIALS: (&str, &str) = ("access-control-allow-credentials", "true");
        const HEADERS: (&str, &str) = ("access-control-allow-headers", "X-A, Authorization");
        const METHODS: (&str, &str) = ("access-control-allow-methods", "PUT,PATCH");
        const ANY: [(&str, &str); 2] = [("access-control-allow-headers", "*"), ("access-control-allow-methods", "*")];
        for (credentials, method, names, response, fails) in [
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
            let steps = page.after_preflight(204, &lines(response));
            let failed = steps.iter().find(|step| !step.passed).map(|step| step.step);
            assert_eq!(failed, fails, "{method}, {names:?}, {response:?}");
            assert!(page.after_preflight(403, &lines(response)).iter().any(|step| !step.passed));
        }
    }
}
