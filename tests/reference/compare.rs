//! One request through both: what differs, and what must hold whatever the specification's details.

use keyfence_core::decision::rate::RateStatus;
use keyfence_core::policy::in_force::InForce;
use serde_json::Value;

use crate::spec::decision::{Decision, Headers, Request, Ruling, decide, key_id, strings};
use crate::spec::window::Ledger;
use crate::spec::{responses, tokens, upstreams};
use crate::subject::{self, Outcome, Slots};

/// A policy in both forms, with what each remembers of its requests.
pub struct Pair<'p> {
    /// [`SECRET`] is in its keys alone.
    has_secret: bool,
    written: &'p Value,
    policy: InForce<'p>,
    ledger: Ledger,
    slots: Slots,
}

impl<'p> Pair<'p> {
    pub fn new(written: &'p Value, policy: impl Into<InForce<'p>>) -> Pair<'p> {
        let mut public = written.clone();
        if let Some(keys) = public.get_mut("keys") {
            keys.take();
        }
        let has_secret = !public
            .to_string()
            .as_bytes()
            .windows(SECRET.len())
            .any(|part| part == SECRET);
        Pair {
            has_secret,
            written,
            policy: policy.into(),
            ledger: Ledger::default(),
            slots: Slots::default(),
        }
    }

    /// Runs one request through both; the error says what is wrong.
    pub fn check(&mut self, request: &Request, answer: &Headers) -> Result<Outcome, String> {
        let outcome = subject::run(self.policy, request, &self.slots, answer);
        let refused = match outcome.ruling {
            Ruling::Deny(429, code) => Some(code),
            _ => None,
        };
        let decision = decide(self.written, request, &self.ledger, refused);
        self.same_decision(&decision, &outcome)?;
        self.same_headers(&decision, request, answer, &outcome)?;
        if decision.ruling == Ruling::Allow && decision.limit.is_some() {
            self.ledger.admit(decision.key.as_deref().unwrap_or(""), request.now);
        }
        // A request that the key's limit refuses counts for its client.
        let is_of_client = matches!(
            decision.ruling,
            Ruling::Allow | Ruling::Deny(429, "rate_limit_exceeded")
        );
        if let Some((_, _, window)) = &decision.client_limit
            && is_of_client
        {
            self.ledger.admit(window, request.now);
        }
        self.rate_is_right(&decision, request, &outcome)?;
        self.holds(request, &outcome)?;
        no_credential_is_told(&decision, &outcome)?;
        Ok(outcome)
    }

    fn same_decision(&self, decision: &Decision, outcome: &Outcome) -> Result<(), String> {
        same("ruling", &decision.ruling, &outcome.ruling)?;
        same("report mode", &decision.reports, &outcome.reports)?;
        same("key", &decision.key, &outcome.key)?;
        same("label", &decision.label, &outcome.label)?;
        same("subject", &decision.subject, &outcome.subject)?;
        let answers = decision.ruling != Ruling::Allow && !decision.reports;
        same("answers", &answers, &outcome.reply.is_some())
    }

    fn same_headers(
        &self,
        decision: &Decision,
        request: &Request,
        answer: &Headers,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let expected = if outcome.reply.is_some() {
            responses::own(decision)
        } else {
            answer.clone()
        };
        let expected = responses::finish(self.written, decision, expected);
        same(
            "response",
            &comparable(&expected, &expected),
            &comparable(&outcome.response, &expected),
        )?;
        if let Some(forwarded) = &outcome.forwarded {
            let expected = upstreams::forwarded(self.written, decision, request);
            same("upstream", &sorted(expected), &sorted(forwarded.clone()))?;
        }
        let Some(reply) = &outcome.reply else { return Ok(()) };
        match decision.ruling {
            Ruling::Deny(..) if decision.grpc.is_some() => same("gRPC", &(200, &b""[..]), &(reply.status, &reply.body)),
            Ruling::Deny(status, code) => {
                same("status", &status, &reply.status)?;
                self.problem_is_right(status, code, request, &reply.body)
            }
            _ => same("preflight", &(204, &b""[..]), &(reply.status, &reply.body)),
        }
    }

    fn problem_is_right(&self, status: u16, code: &str, request: &Request, body: &[u8]) -> Result<(), String> {
        let problem: Value = serde_json::from_slice(body).map_err(|error| format!("body: {error}"))?;
        let kind = match self.written["docs_url"].as_str() {
            Some(url) => format!("{url}#{code}"),
            None => "about:blank".to_owned(),
        };
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            503 => "Service Unavailable",
            _ => "Too Many Requests",
        };
        same("type", &problem["type"], &kind.into())?;
        same("title", &problem["title"], &title.into())?;
        same("status", &problem["status"], &status.into())?;
        same("code", &problem["code"], &code.into())?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        holds(
            "the detail is a sentence",
            detail.ends_with('.') && detail.contains(' '),
        )?;
        // Taken: of several the last, and what is no text or over 128 bytes is not repeated.
        let id = request.last("x-request-id").filter(|id| id.len() <= 128);
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        same("request_id", &problem["request_id"].as_str(), &id)
    }

    fn rate_is_right(&self, decision: &Decision, request: &Request, outcome: &Outcome) -> Result<(), String> {
        let limits = limits(decision);
        if limits.is_empty() {
            return holds("no rate status without a limit", outcome.rate.is_none());
        };
        let rate = outcome.rate.ok_or("no rate status under a limit")?;
        let results: Vec<_> = limits
            .iter()
            .map(|limit| self.is_of(limit, &limits, rate, request, outcome))
            .collect();
        if results.iter().all(Result::is_err) {
            return results.into_iter().collect();
        }
        let limit = u64::from(rate.limit.get());
        let remaining = u64::from(rate.remaining);
        let shown = |name: &str| {
            outcome
                .response
                .iter()
                .rev()
                .find(|(other, _)| other == name.as_bytes())
                .map(|(_, value)| value)
        };
        if decision.reports {
            return Ok(());
        }
        for (name, value) in [
            ("x-ratelimit-limit", limit),
            ("x-ratelimit-remaining", remaining),
            ("x-ratelimit-reset", rate.reset),
        ] {
            same(name, &shown(name), &Some(&value.to_string().into_bytes()))?;
        }
        let retry = is_rate_denial(outcome).then(|| rate.retry_after.to_string().into_bytes());
        same(
            "retry-after",
            &shown("retry-after").filter(|_| outcome.reply.is_some()),
            &retry.as_ref(),
        )
    }

    /// Whether the status is that of this limit, of all that the response may tell of.
    fn is_of(
        &self,
        limit: &Limit<'_>,
        limits: &[Limit<'_>],
        rate: RateStatus,
        request: &Request,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let now = request.now / 1000;
        // After this request. What left between 60 seconds ago and the limit's own span may count or not.
        let most =
            |limit: &Limit<'_>| limit.requests - self.ledger.room(limit.window, request.now).in_60.min(limit.requests);
        let room = self.ledger.room(limit.window, request.now);
        let counted = if limit.seconds == 61 { room.in_61 } else { room.in_70 };
        same("limit", &limit.requests, &u64::from(rate.limit.get()))?;
        let remaining = u64::from(rate.remaining);
        holds("Remaining is what is left", remaining <= most(limit))?;
        holds(
            "Remaining is all that is left",
            remaining >= limit.requests - counted.min(limit.requests),
        )?;
        holds(
            "the limit with fewer remaining is told",
            limits.iter().all(|other| remaining <= most(other)),
        )?;
        holds(
            "a refused request has nothing remaining",
            !is_rate_denial(outcome) || remaining == 0,
        )?;
        holds(
            "Reset is now or within the window",
            (now..=now + limit.seconds).contains(&rate.reset),
        )?;
        holds(
            "Retry-After leads to Reset",
            rate.retry_after == rate.reset.saturating_sub(now).max(1),
        )?;
        if remaining < limit.requests {
            let later = self.ledger.room(limit.window, rate.reset * 1000 + 999);
            holds(
                "Remaining grows at Reset",
                limit.requests - later.in_60.min(limit.requests) > remaining,
            )?;
        }
        Ok(())
    }

    /// What must hold of every exchange under every policy.
    fn holds(&self, request: &Request, outcome: &Outcome) -> Result<(), String> {
        let lines = |name: &str| -> Vec<&[u8]> {
            let lines = outcome.response.iter().filter(|(other, _)| other == name.as_bytes());
            lines.map(|(_, value)| &value[..]).collect()
        };
        let (allow, credentials) = (
            lines("access-control-allow-origin"),
            lines("access-control-allow-credentials"),
        );
        if !outcome.reports {
            let origins: Vec<&[u8]> = request
                .headers
                .iter()
                .filter(|(name, _)| name == b"origin")
                .map(|(_, value)| &value[..])
                .collect();
            match allow[..] {
                [] | [b"*"] | [b"null"] => holds("no credentials without an origin", credentials.is_empty())?,
                [one] => holds("Allow-Origin is the one Origin sent", origins == [one])?,
                _ => return Err("two lines of Allow-Origin".to_owned()),
            }
            holds(
                "credentials are true or absent",
                matches!(credentials[..], [] | [b"true"]),
            )?;
            for name in SINGLE {
                holds(name, lines(name).len() <= 1)?;
            }
            let mut vary: Vec<String> = responses::vary_names(&outcome.response)
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect();
            vary.sort();
            let names = vary.len();
            vary.dedup();
            holds(
                "nothing twice in Vary",
                names == vary.len() || vary.contains(&"*".to_owned()),
            )?;
        }
        let denied = matches!(outcome.ruling, Ruling::Deny(..)) && !outcome.reports;
        holds(
            "denied never reaches the upstream",
            !(denied && outcome.forwarded.is_some()),
        )?;
        self.identity_is_the_policys(outcome)?;
        self.upstream_headers_are_the_policys(outcome)?;
        self.claims_are_a_tokens(outcome)?;
        if self.has_secret {
            no_key_is_told(request, outcome)
        } else {
            Ok(())
        }
    }

    /// Whatever a client sends, what the upstream may read as a header of the list is a value that the policy has for that header.
    fn upstream_headers_are_the_policys(&self, outcome: &Outcome) -> Result<(), String> {
        let keys = self.written["keys"].as_array().into_iter().flatten();
        let accesses: Vec<&Value> = keys.chain([&self.written["anonymous"]]).collect();
        for name in strings(&self.written["upstream_header_names"]) {
            let said = outcome.forwarded.iter().flatten();
            let said: Vec<_> = said
                .filter(|(other, _)| upstreams::folded(other) == upstreams::folded(name.as_bytes()))
                .collect();
            let is_the_policys = |value: &[u8]| {
                let mut set = accesses
                    .iter()
                    .filter_map(|access| access["upstream_headers"].as_object());
                set.any(|set| {
                    set.iter().any(|(set, known)| {
                        set.eq_ignore_ascii_case(name) && known.as_str().unwrap().as_bytes() == value
                    })
                })
            };
            holds("the upstream hears each header once", said.len() <= 1)?;
            for (header, value) in said {
                let is_exact = *header == name.to_ascii_lowercase().into_bytes();
                holds(
                    "the upstream hears the policy's headers",
                    is_exact && is_the_policys(value),
                )?;
            }
        }
        Ok(())
    }

    /// Whatever a client sends, what the upstream may read as a token's claim is of a token that named a key.
    fn claims_are_a_tokens(&self, outcome: &Outcome) -> Result<(), String> {
        if !tokens::are_known(self.written) && self.written.get("keys_from").is_none() {
            return Ok(());
        }
        for name in [upstreams::FILTER, upstreams::SUBJECT] {
            let said = outcome.forwarded.iter().flatten();
            let said: Vec<_> = said.filter(|(other, _)| upstreams::folded(other) == name).collect();
            holds("the upstream hears each claim once", said.len() <= 1)?;
            for (header, value) in said {
                let is_visible = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
                holds(
                    "the upstream hears a token's claims",
                    header == name.as_bytes() && is_visible && outcome.key.is_some(),
                )?;
            }
        }
        Ok(())
    }

    fn identity_is_the_policys(&self, outcome: &Outcome) -> Result<(), String> {
        let name = match self.written.get("identity_header") {
            None => "x-key-id".to_owned(),
            Some(Value::String(name)) => name.to_ascii_lowercase(),
            Some(_) => return Ok(()),
        };
        let said = outcome
            .forwarded
            .iter()
            .flatten()
            .filter(|(other, _)| upstreams::folded(other) == upstreams::folded(name.as_bytes()));
        let said: Vec<_> = said.collect();
        match said[..] {
            [] => Ok(()),
            [(header, id)] => {
                let is_known = self.written["keys"].as_array().is_some_and(|keys| {
                    keys.iter()
                        .any(|key| key_id(key).as_bytes() == id && outcome.key.as_deref() == Some(key_id(key)))
                });
                holds(
                    "the upstream hears the policy's identity",
                    is_known && header == name.as_bytes(),
                )
            }
            _ => Err("the upstream hears two identities".to_owned()),
        }
    }
}

fn no_key_is_told(request: &Request, outcome: &Outcome) -> Result<(), String> {
    let tells = |text: &[u8]| text.windows(SECRET.len()).any(|part| part == SECRET);
    let is_clients = request.last("x-request-id").is_some_and(tells);
    let Some(reply) = outcome.reply.as_ref().filter(|_| !is_clients) else {
        return Ok(());
    };
    let told = tells(&reply.body) || reply.headers.iter().any(|(_, value)| tells(value));
    holds("no key is told", !told)
}

/// Nor a token, nor its signature. Short ones may come up by chance.
fn no_credential_is_told(decision: &Decision, outcome: &Outcome) -> Result<(), String> {
    let Some(reply) = &outcome.reply else { return Ok(()) };
    let parts = decision
        .carried
        .iter()
        .flat_map(|one| one.bytes.split(|byte| *byte == b'.'));
    // A fuzzer copies sentences of the filter's into what it sends; nothing else of an answer is of base64url at this length.
    let is_of_part = |part: &&[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte))
    };
    for part in parts.filter(|part| part.len() > 32).filter(is_of_part) {
        let tells = |text: &[u8]| text.windows(part.len()).any(|other| other == part);
        let told = tells(&reply.body) || reply.headers.iter().any(|(_, value)| tells(value));
        holds("no part of a token is told", !told)?;
    }
    Ok(())
}

/// In every raw key of the generated requests and policies, and nowhere else.
pub const SECRET: &[u8] = b"kEy";

/// Headers that the filter writes, and that have one line.
const SINGLE: [&str; 10] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
];

/// A limit that a response may tell of.
struct Limit<'d> {
    requests: u64,
    window: &'d str,
    /// So old are requests at most that count.
    seconds: u64,
}

/// All limits; where one has refused the request, that one.
fn limits(decision: &Decision) -> Vec<Limit<'_>> {
    if decision.is_preflight {
        // It counts for none.
        return Vec::new();
    }
    let of_key = decision.limit.map(|(requests, _)| Limit {
        requests,
        window: decision.key.as_deref().unwrap_or(""),
        seconds: 61,
    });
    let of_client = decision.client_limit.as_ref().map(|(requests, _, window)| Limit {
        requests: *requests,
        window,
        seconds: 70,
    });
    match decision.ruling {
        Ruling::Deny(429, "rate_limit_exceeded") => of_key.into_iter().collect(),
        Ruling::Deny(429, _) => of_client.into_iter().collect(),
        _ => of_client.into_iter().chain(of_key).collect(),
    }
}

fn is_rate_denial(outcome: &Outcome) -> bool {
    matches!(outcome.ruling, Ruling::Deny(429, _))
}

/// Sorted, with `Vary` as a set, and with `expected` empty where the value is open.
fn comparable(headers: &Headers, expected: &Headers) -> Vec<String> {
    let is_open = |name: &[u8]| expected.iter().any(|(other, value)| other == name && value.is_empty());
    let mut compared: Headers = headers
        .iter()
        .filter(|(name, _)| name != b"vary")
        .map(|(name, value)| {
            let text = String::from_utf8_lossy(value);
            let value = match &name[..] {
                name if is_open(name) => Vec::new(),
                b"permissions-policy" if responses::is_every_feature_off(&text) => {
                    responses::EVERY_FEATURE_OFF.as_bytes().to_vec()
                }
                _ => value.clone(),
            };
            (name.clone(), value)
        })
        .collect();
    let mut vary: Vec<String> = responses::vary_names(headers)
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    vary.sort();
    vary.dedup();
    if vary.iter().any(|name| name == "*") {
        vary = vec!["*".to_owned()];
    }
    compared.extend(vary.into_iter().map(|name| (b"vary".to_vec(), name.into_bytes())));
    sorted(compared)
}

/// Sorted lines of text.
fn sorted(headers: Headers) -> Vec<String> {
    let line = |(name, value): (Vec<u8>, Vec<u8>)| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    let mut lines: Vec<String> = headers.into_iter().map(line).collect();
    lines.sort();
    lines
}

fn same<T: std::fmt::Debug + PartialEq>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        Ok(())
    } else {
        Err(format!("{what}:\n  spec:   {expected:?}\n  filter: {got:?}"))
    }
}

fn holds(what: &str, does: bool) -> Result<(), String> {
    if does {
        Ok(())
    } else {
        Err(format!("does not hold: {what}"))
    }
}
