//! The answers of the filter's own: errors (RFC 9457) and preflights (Fetch, "CORS-preflight fetch").

use crate::policy::Policy;

use super::reason::Reason;
use super::request::Head;
use super::response::{Edit, Exchange};
use super::{AllowOrigin, Ruling, Verdict};

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Empty for a preflight.
    pub body: Vec<u8>,
}

/// Longer ones are not repeated in an error.
const MAX_REQUEST_ID: usize = 128;

impl Reply {
    /// The answer to a request that the verdict does not let through; `None` for one that it does.
    pub fn new(policy: &Policy, head: &Head<'_>, verdict: &Verdict<'_, '_>) -> Option<Reply> {
        let (status, body) = match verdict.ruling {
            Ruling::Allow => return None,
            Ruling::Preflight => (204, Vec::new()),
            Ruling::Deny(reason) => (
                reason.status(),
                problem(reason, policy.docs_url.as_deref(), head.request_id),
            ),
        };
        let mut reply = Reply {
            status,
            headers: Vec::with_capacity(20),
            body,
        };
        if let Ruling::Deny(reason) = verdict.ruling {
            reply.describe_error(policy, reason, verdict);
        }
        if verdict.is_preflight {
            reply.describe_preflight(policy, verdict.allow_origin);
        }
        let own = reply.headers.clone();
        let own = own.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        Exchange::new(head.origin, verdict).edit(policy, own, &mut |edit| match edit {
            Edit::Add(name, value) => reply.set(name, value),
            // What a reply says of itself stands: an error must not be cached whatever the policy says of other responses.
            Edit::Replace(..) | Edit::Remove(_) => {}
        });
        Some(reply)
    }

    /// The answer where no policy is in force. There is nothing to take CORS or security headers from.
    pub fn without_policy() -> Reply {
        let mut reply = Reply {
            status: Reason::PolicyUnavailable.status(),
            headers: Vec::new(),
            body: problem(Reason::PolicyUnavailable, None, None),
        };
        reply.set(b"content-type", PROBLEM_JSON);
        reply.set(b"cache-control", b"no-store");
        reply
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        self.headers.push((name.to_vec(), value.to_vec()));
    }

    fn describe_error(&mut self, policy: &Policy, reason: Reason, verdict: &Verdict<'_, '_>) {
        self.set(b"content-type", PROBLEM_JSON);
        self.set(b"cache-control", b"no-store");
        if reason.status() == 401 {
            self.set(b"www-authenticate", policy.challenge.as_bytes());
        }
        if let (Reason::RateLimitExceeded, Some(rate)) = (reason, verdict.rate) {
            self.set(b"retry-after", rate.retry_after.to_string().as_bytes());
        }
    }

    /// What the preflight asks for is not read: the browser compares, and names what is missing.
    fn describe_preflight(&mut self, policy: &Policy, allow_origin: AllowOrigin) {
        self.set(
            b"vary",
            b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        );
        if allow_origin == AllowOrigin::Omit {
            return;
        }
        let cors = &policy.cors;
        for (name, value) in [
            (&b"access-control-allow-methods"[..], cors.allow_methods.as_deref()),
            (b"access-control-allow-headers", cors.allow_headers.as_deref()),
            (b"access-control-max-age", Some(&*cors.max_age)),
        ] {
            if let Some(value) = value {
                self.set(name, value.as_bytes());
            }
        }
    }
}

const PROBLEM_JSON: &[u8] = b"application/problem+json";

/// The body of an error. Everything in it but the request's id is the filter's own text.
fn problem(reason: Reason, docs_url: Option<&str>, request_id: Option<&[u8]>) -> Vec<u8> {
    let kind = match docs_url {
        Some(url) => format!("{url}#{}", reason.code()),
        None => "about:blank".to_owned(),
    };
    let mut members = vec![
        format!(r#""type":"{kind}""#),
        format!(r#""title":"{}""#, reason.title()),
        format!(r#""status":{}"#, reason.status()),
        format!(r#""code":"{}""#, reason.code()),
        format!(r#""detail":"{}""#, reason.detail()),
    ];
    let id = request_id.filter(|id| id.len() <= MAX_REQUEST_ID);
    let id = id.and_then(|id| std::str::from_utf8(id).ok());
    if let Some(id) = id.and_then(|id| serde_json::to_string(id).ok()) {
        members.push(format!(r#""request_id":{id}"#));
    }
    format!("{{{}}}\n", members.join(",")).into_bytes()
}
