//! The decision (spec, sections 2, 3, 8 and 11), step after step as the table has them.

use serde_json::{Value, json};

use super::addresses;
use super::credentials::{self, Carried, Found};
use super::origins::{self, Match, Sent};
use super::paths::{self, Reach};
use super::window::{Ledger, Room};

pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug)]
pub struct Request {
    /// With `:method` and `:path`.
    pub headers: Headers,
    /// Envoy's `source.address`.
    pub source: Option<String>,
    /// Unix time in milliseconds.
    pub now: u64,
}

impl Request {
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(line, _)| line.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| &value[..])
    }

    pub fn last(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self
            .headers
            .iter()
            .rev()
            .filter(|(line, _)| line.eq_ignore_ascii_case(name.as_bytes()));
        lines.next().map(|(_, value)| &value[..])
    }

    pub fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Allow,
    Preflight,
    Deny(u16, &'static str),
}

#[derive(Clone, Debug)]
pub struct Decision {
    pub ruling: Ruling,
    pub reports: bool,
    pub key: Option<String>,
    /// The label of the key's entry.
    pub label: Option<String>,
    /// Whom a scoped token is for.
    pub subject: Option<String>,
    /// What a scoped token tells the upstream.
    pub filter: Option<String>,
    /// What the key or the anonymous policy sets for the upstream.
    pub upstream_headers: Value,
    pub is_preflight: bool,
    pub origin: Sent,
    pub match_: Match,
    /// The list that applies has `*` and nothing else.
    pub any_alone: bool,
    pub carried: Vec<Carried>,
    /// The `Content-Type` of answers, where the request speaks gRPC.
    pub grpc: Option<&'static str>,
    /// A rule of the key's scopes tells methods apart.
    pub names_methods: bool,
    /// The key's limit, and what was admitted before this request.
    pub limit: Option<(u64, Room)>,
    /// The same of each client's, and the name of this client's window.
    pub client_limit: ClientLimit,
}

/// The limit, what was admitted before, and the name of the window.
pub type ClientLimit = Option<(u64, Room, String)>;

/// `refused`: for which limit the other implementation refused, if it did. It counts in the seconds that the spec leaves open, and nowhere
/// else.
pub fn decide(policy: &Value, request: &Request, ledger: &Ledger, refused: Option<&str>) -> Decision {
    let origin = origins::sent(&request.headers);
    let is_preflight = request.first(":method") == Some(b"OPTIONS")
        && request.has("origin")
        && request.has("access-control-request-method");
    let carried = match is_preflight {
        true => credentials::in_query(policy, &request.headers),
        false => credentials::carried(policy, &request.headers),
    };
    let now = (request.now / 1000) as i64;
    let (found, refusal) = match &carried[..] {
        [] => (None, None),
        [one] => match credentials::find(policy, &one.bytes, now) {
            Ok(found) => (Some(found), None),
            Err(code) => (None, Some(code)),
        },
        _ => (None, Some("ambiguous_api_key")),
    };
    let key = found.as_ref().map(|found| found.key);
    let claims = found.as_ref().and_then(|found| found.claims.as_ref());
    let claim = |name: &str| claims.and_then(|claims| claims[name].as_str()).map(str::to_owned);
    let access = match (&carried[..], key) {
        (_, Some(key)) => Some(key),
        ([], None) if !is_preflight => anonymous(policy).filter(|anonymous| fits_scopes(policy, anonymous, request)),
        _ => None,
    };
    let applies = access.map_or_else(|| union(policy), list);
    // Taken: the union changes with a feed, and its answers say so with `Vary`.
    let may_change = access.is_none() && policy.get("keys_from").is_some();
    let any_alone = !may_change && !applies.is_empty() && applies.iter().all(|origin| *origin == "*");
    let match_ = origins::best(applies, &origin);
    let enforcement = [
        access.map(|access| &access["enforcement"]),
        Some(&policy["enforcement"]),
    ];
    let reports = enforcement.into_iter().flatten().find_map(Value::as_str) == Some("report");
    let limit = access.and_then(|access| {
        let limit = access["rate_limit_per_minute"].as_f64()? as u64;
        Some((limit, ledger.room(key_id(access), request.now)))
    });
    let client_limit = access.and_then(|access| {
        let limit = access["rate_limit_per_minute_per_client"].as_f64()? as u64;
        let client_ip = policy["client_ip"].as_str().unwrap_or("peer");
        let client = match claim("sub") {
            Some(subject) => format!("sub:{subject}"),
            None => addresses::limited(request.source.as_deref(), client_ip),
        };
        let window = format!("{}/{client}", key_id(access));
        Some((limit, ledger.room(&window, request.now), window))
    });
    // Taken: what cannot be a key is none of the feed's.
    let is_unknown = policy["keys_from"]["unknown"] == json!(true);
    let may_be_fed = is_unknown && refusal == Some("invalid_api_key") && carried[0].bytes.len() <= 4096;
    let ruling = if is_preflight {
        if match_ == Match::None && is_unknown && key.is_none() {
            Ruling::Deny(503, "policy_unavailable")
        } else if match_ == Match::None {
            Ruling::Deny(403, "origin_not_allowed")
        } else {
            Ruling::Preflight
        }
    } else {
        match denied(
            policy,
            request,
            refusal,
            found.as_ref(),
            access,
            &origin,
            (limit, &client_limit),
            refused,
        ) {
            Some((401, _)) if may_be_fed => Ruling::Deny(503, "policy_unavailable"),
            Some((status, code)) => Ruling::Deny(status, code),
            None => Ruling::Allow,
        }
    };
    Decision {
        ruling,
        reports,
        key: key.map(|key| key_id(key).to_owned()),
        label: found
            .as_ref()
            .and_then(|found| found.entry?["label"].as_str())
            .map(str::to_owned),
        subject: claim("sub"),
        filter: claim("filter"),
        upstream_headers: access.map_or(Value::Null, |access| access["upstream_headers"].clone()),
        is_preflight,
        origin,
        match_,
        any_alone,
        grpc: request.last("content-type").and_then(super::responses::grpc),
        carried,
        names_methods: [access, claims]
            .into_iter()
            .flatten()
            .any(|list| paths::names_methods(&list["scopes"], &policy["scopes"])),
        limit,
        client_limit,
    }
}

/// Taken: switched off, it is as if it were not there.
fn anonymous(policy: &Value) -> Option<&Value> {
    policy
        .get("anonymous")
        .filter(|anonymous| anonymous["enabled"] != json!(false))
}

/// Whether the scopes of the anonymous policy, if it has any, are for this method and path, whatever the index.
fn fits_scopes(policy: &Value, anonymous: &Value, request: &Request) -> bool {
    let method = request.first(":method").unwrap_or_default();
    let path = request.first(":path").unwrap_or_default();
    paths::reach(&anonymous["scopes"], &Value::Null, &policy["scopes"], method, path) == Reach::Fits
}

/// The slot of a key's limit; the anonymous policy has one of its own.
pub fn key_id(access: &Value) -> &str {
    access["id"].as_str().unwrap_or("")
}

#[allow(clippy::too_many_arguments)]
fn denied(
    policy: &Value,
    request: &Request,
    refusal: Option<&'static str>,
    found: Option<&Found<'_>>,
    access: Option<&Value>,
    origin: &Sent,
    (limit, client_limit): (Option<(u64, Room)>, &ClientLimit),
    refused: Option<&str>,
) -> Option<(u16, &'static str)> {
    if let Some(code) = refusal {
        return Some((401, code));
    }
    let Some(access) = access else {
        return Some((401, "missing_api_key"));
    };

    let now = (request.now / 1000) as i64;
    if access["enabled"] == json!(false) {
        return Some((401, "key_disabled"));
    }
    if access["not_before"]
        .as_str()
        .is_some_and(|date| now < unix_seconds(date))
    {
        return Some((401, "key_not_yet_valid"));
    }
    let entry = found.and_then(|found| found.entry);
    for dated in [Some(access), entry].into_iter().flatten() {
        if dated["expires_at"]
            .as_str()
            .is_some_and(|date| now >= unix_seconds(date))
        {
            return Some((401, "key_expired"));
        }
    }

    // A token is made for browsers, whatever its key is made for.
    let claims = found.and_then(|found| found.claims.as_ref());
    if claims.is_none() && access["kind"] == "secret" && (request.has("origin") || request.has("sec-fetch-site")) {
        return Some((403, "secret_key_in_browser"));
    }

    let claims = claims.unwrap_or(&Value::Null);
    for networks in [strings(&access["allowed_ips"]), strings(&claims["ips"])] {
        if networks.is_empty() {
            continue;
        }
        let client = addresses::client(
            request.source.as_deref(),
            policy["client_ip"].as_str().unwrap_or("peer"),
        );
        if !client.is_some_and(|client| networks.iter().any(|network| addresses::contains(network, &client))) {
            return Some((403, "ip_not_allowed"));
        }
    }

    let check = access["origin_check"].as_str().unwrap_or("required");
    // A token's list is there for this check alone.
    let of_token = if check == "cors_only" { "if_present" } else { check };
    for (list, check) in [(list(access), check), (strings(&claims["origins"]), of_token)] {
        if list.is_empty() || origins::best(list.clone(), origin) != Match::None {
            continue;
        }
        let fails = match check {
            "required" => true,
            "required_or_same_origin" => {
                // Taken: pages with the referrer policy no-referrer send "null" to their own site.
                let own =
                    own_origin(request).filter(|_| *origin == Sent::Nothing || *origin == Sent::One("null".into()));
                own.is_none_or(|own| origins::best(list, &own) == Match::None)
            }
            "if_present" => *origin != Sent::Nothing,
            _ => false,
        };
        if fails {
            return Some((403, "origin_not_allowed"));
        }
    }

    let method = request.first(":method").unwrap_or_default();
    let path = request.first(":path").unwrap_or_default();
    match paths::reach_of_both(access, claims, &policy["scopes"], method, path) {
        Reach::Ambiguous => return Some((400, "ambiguous_path")),
        Reach::NoRule => return Some((403, "scope_not_allowed")),
        Reach::NoIndex => return Some((403, "index_not_allowed")),
        Reach::Fits => {}
    }

    const OF_CLIENT: &str = "client_rate_limit_exceeded";
    if let Some((limit, room, _)) = client_limit
        && (room.in_60 >= *limit || (room.in_70 >= *limit && refused == Some(OF_CLIENT)))
    {
        return Some((429, OF_CLIENT));
    }
    const OF_KEY: &str = "rate_limit_exceeded";
    if let Some((limit, room)) = limit
        && (room.in_60 >= limit || (room.in_61 >= limit && refused == Some(OF_KEY)))
    {
        return Some((429, OF_KEY));
    }
    None
}

/// The origin of the request's own URL, where the one line of `Sec-Fetch-Site` says that the page has it too.
fn own_origin(request: &Request) -> Option<Sent> {
    let site: Vec<&[u8]> = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"sec-fetch-site"))
        .map(|(_, value)| &value[..])
        .collect();
    if site != [b"same-origin"] {
        return None;
    }
    let part = |name| request.first(name).unwrap_or_default();
    let mut own = [part(":scheme"), b"://", part(":authority")].concat();
    // Taken: a proxy may write the default port, and no origin has it.
    for (scheme, port) in [(&b"https://"[..], &b":443"[..]), (b"http://", b":80")] {
        if own.starts_with(scheme) && own.ends_with(port) {
            own.truncate(own.len() - port.len());
        }
    }
    Some(origins::sent(&[(b"origin".to_vec(), own)]))
}

pub fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .map(|list| list.iter().map(|one| one.as_str().unwrap()).collect())
        .unwrap_or_default()
}

pub fn list(access: &Value) -> Vec<&str> {
    strings(&access["allowed_origins"])
}

/// All enabled keys' lists and the anonymous one.
fn union(policy: &Value) -> Vec<&str> {
    let keys = policy["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|key| key["enabled"] != json!(false));
    keys.chain(anonymous(policy)).flat_map(list).collect()
}

/// Any list at all, those of disabled keys too.
pub fn any_list_names_an_origin(policy: &Value) -> bool {
    let keys = policy["keys"].as_array().into_iter().flatten();
    keys.chain([&policy["anonymous"]])
        .flat_map(list)
        .any(|origin| origin != "*")
}

/// RFC 3339, counted year by year. Fractions are cut off.
pub fn unix_seconds(date: &str) -> i64 {
    let number = |from: usize, to: usize| date[from..to].parse::<i64>().unwrap();
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days_of = |year: i64| if leap(year) { 366 } else { 365 };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let mut days = day - 1;
    days += (1970..year).map(days_of).sum::<i64>();
    days -= (year..1970).map(days_of).sum::<i64>();
    for month in 1..month {
        days += match month {
            2 => days_of(year) - 337,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
    }
    let seconds = days * 86400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    let zone = date[19..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let minutes = zone[1..3].parse::<i64>().unwrap() * 60 + zone[4..6].parse::<i64>().unwrap();
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    seconds - offset * 60
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Decision, Headers, Request, Ruling, decide};
    use crate::spec::tokens::tests::{SECRET, signed};
    use crate::spec::upstreams;
    use crate::spec::window::Ledger;

    fn policy(key: Value) -> Value {
        let mut key = key;
        key["id"] = "k".into();
        key["scoped_tokens"] = json!({"secrets": [SECRET]});
        json!({
            "scopes": {
                "read": [{"methods": ["GET"], "path": "/i/{index}"}, {"methods": ["*"], "path": "/*/{index}"}],
                "either": [{"methods": ["*"], "path": "/{index}/*"}, {"methods": ["*"], "path": "/*/{index}"}],
                "stars": [{"methods": ["*"], "path": "/**"}],
            },
            "keys": [key],
        })
    }

    fn request(claims: &str, path: &str, more: &[(&str, &str)]) -> Request {
        let claims = format!(r#"{{"iat":1800000000,"exp":1800000300{claims}}}"#);
        let token = signed(SECRET, r#"{"alg":"HS256","kid":"k"}"#, &claims);
        let token = format!("Bearer {token}");
        let all = [(":method", "GET"), (":path", path), ("authorization", &token)];
        let headers = all.iter().chain(more);
        Request {
            headers: headers.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            source: Some("10.0.0.1:5000".to_owned()),
            now: 1_800_000_100_000,
        }
    }

    fn decided(key: Value, claims: &str, path: &str, more: &[(&str, &str)]) -> Decision {
        decide(&policy(key), &request(claims, path, more), &Ledger::default(), None)
    }

    /// Name, key, claims, path, more headers, what is decided.
    type Case<'a> = (&'a str, Value, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

    #[test]
    fn a_token_keeps_to_its_key_and_to_itself() {
        const A: (&str, &str) = ("origin", "https://a.test");
        const OWN: [(&str, &str); 3] = [
            ("sec-fetch-site", "same-origin"),
            (":scheme", "https"),
            (":authority", "a.test"),
        ];
        let same_origin = |list: &[&str]| json!({"origin_check": "required_or_same_origin", "allowed_origins": list});
        let read = |indexes: Value| json!({"scopes": ["read"], "indexes": indexes});
        let cases: Vec<Case<'_>> = vec![
            ("nothing narrowed", json!({}), "", "/", &[], "allow"),
            (
                "a secret key's in a browser",
                json!({"kind": "secret"}),
                "",
                "/",
                &[A],
                "allow",
            ),
            (
                "a disabled key's",
                json!({"enabled": false}),
                "",
                "/",
                &[],
                "key_disabled",
            ),
            (
                "address in both",
                json!({"allowed_ips": ["10.0.0.0/8"]}),
                r#","ips":["10.0.0.1"]"#,
                "/",
                &[],
                "allow",
            ),
            (
                "address not the token's",
                json!({"allowed_ips": ["10.0.0.0/8"]}),
                r#","ips":["10.0.0.2"]"#,
                "/",
                &[],
                "ip_not_allowed",
            ),
            (
                "address not the key's",
                json!({"allowed_ips": ["10.0.0.2"]}),
                r#","ips":["10.0.0.0/8"]"#,
                "/",
                &[],
                "ip_not_allowed",
            ),
            (
                "origin in both",
                json!({"allowed_origins": ["https://a.test"]}),
                r#","origins":["*"]"#,
                "/",
                &[A],
                "allow",
            ),
            (
                "origin not the token's",
                json!({"allowed_origins": ["*"]}),
                r#","origins":["https://b.test"]"#,
                "/",
                &[A],
                "origin_not_allowed",
            ),
            (
                "origin not the key's",
                json!({"allowed_origins": ["https://b.test"]}),
                r#","origins":["*"]"#,
                "/",
                &[A],
                "origin_not_allowed",
            ),
            (
                "no origin, and the token's are required",
                json!({}),
                r#","origins":["*"]"#,
                "/",
                &[],
                "origin_not_allowed",
            ),
            (
                "no origin, if present",
                json!({"origin_check": "if_present"}),
                r#","origins":["https://b.test"]"#,
                "/",
                &[],
                "allow",
            ),
            (
                "no origin, CORS alone",
                json!({"origin_check": "cors_only"}),
                r#","origins":["https://b.test"]"#,
                "/",
                &[],
                "allow",
            ),
            (
                "another origin, CORS alone",
                json!({"origin_check": "cors_only"}),
                r#","origins":["https://b.test"]"#,
                "/",
                &[A],
                "origin_not_allowed",
            ),
            (
                "own page in both",
                same_origin(&["https://a.test"]),
                r#","origins":["https://a.test"]"#,
                "/",
                &OWN,
                "allow",
            ),
            (
                "own page not the token's",
                same_origin(&["https://a.test"]),
                r#","origins":["https://b.test"]"#,
                "/",
                &OWN,
                "origin_not_allowed",
            ),
            ("ambiguous, no scopes at all", json!({}), "", "/i//x", &[], "allow"),
            (
                "ambiguous, the token's scopes",
                json!({}),
                r#","scopes":["stars"]"#,
                "/i//x",
                &[],
                "ambiguous_path",
            ),
            (
                "ambiguous, the token's indexes",
                json!({}),
                r#","indexes":["x"]"#,
                "/i//x",
                &[],
                "ambiguous_path",
            ),
            (
                "scope not the token's",
                json!({"scopes": ["stars"]}),
                r#","scopes":["read"]"#,
                "/i/x/y",
                &[],
                "scope_not_allowed",
            ),
            (
                "scope not the key's",
                json!({"scopes": ["read"]}),
                r#","scopes":["stars"]"#,
                "/i/x/y",
                &[],
                "scope_not_allowed",
            ),
            (
                "scope of none",
                json!({}),
                r#","scopes":[]"#,
                "/i/x",
                &[],
                "scope_not_allowed",
            ),
            (
                "index in both",
                read(json!(["x", "y"])),
                r#","indexes":["y","z"]"#,
                "/i/y",
                &[],
                "allow",
            ),
            (
                "index not the token's",
                read(json!(["x", "y"])),
                r#","indexes":["y","z"]"#,
                "/i/x",
                &[],
                "index_not_allowed",
            ),
            (
                "index not the key's",
                read(json!(["x", "y"])),
                r#","indexes":["y","z"]"#,
                "/i/z",
                &[],
                "index_not_allowed",
            ),
            (
                "index of none",
                read(json!(["*"])),
                r#","indexes":[]"#,
                "/i/z",
                &[],
                "index_not_allowed",
            ),
            (
                "two rules, an index each",
                json!({"scopes": ["either"], "indexes": ["x"]}),
                r#","indexes":["y"]"#,
                "/x/y",
                &[],
                "index_not_allowed",
            ),
            (
                "the key's rules, any index",
                json!({"scopes": ["read"]}),
                r#","indexes":["y"]"#,
                "/i/y",
                &[],
                "allow",
            ),
            (
                "no rules",
                json!({}),
                r#","indexes":["y"]"#,
                "/i/y",
                &[],
                "index_not_allowed",
            ),
            (
                "the token's rules",
                json!({}),
                r#","scopes":["read"],"indexes":["y"]"#,
                "/i/y",
                &[],
                "allow",
            ),
            (
                "the key's index needs the key's rules",
                json!({"indexes": ["y"]}),
                r#","scopes":["read"]"#,
                "/i/y",
                &[],
                "index_not_allowed",
            ),
            (
                "no rule, before the index",
                json!({"scopes": ["read"], "indexes": ["y"]}),
                r#","scopes":[]"#,
                "/i/x",
                &[],
                "scope_not_allowed",
            ),
        ];
        for (name, key, claims, path, more, expected) in cases {
            let code = match decided(key, claims, path, more).ruling {
                Ruling::Deny(_, code) => code,
                Ruling::Allow => "allow",
                Ruling::Preflight => "preflight",
            };
            assert_eq!(code, expected, "{name}");
        }
    }

    #[test]
    fn the_upstream_hears_a_tokens_claims() {
        const CLAIMS: &str = r#","sub":"u1","filter":"t=1""#;
        const SENT: [(&str, &str); 3] = [
            ("x_key-filter", "t=2"),
            ("X-Key.Subject", "u2"),
            ("connection", "x-key-subject, te"),
        ];
        let names = ["connection", "x-key-filter", "x-key-id", "x-key-subject"];
        for (name, key, expected) in [
            ("enforce", json!({}), ["te", "t=1", "k", "u1"]),
            ("report", json!({"enforcement": "report"}), ["te", "t=1", "-", "u1"]),
            (
                "report, and denied",
                json!({"enforcement": "report", "enabled": false}),
                ["te", "t=1", "-", "u1"],
            ),
        ] {
            let (policy, request) = (policy(key), request(CLAIMS, "/", &SENT));
            let decision = decide(&policy, &request, &Ledger::default(), None);
            let sent: Headers = upstreams::forwarded(&policy, &decision, &request);
            let folded = names.map(|name| {
                let lines: Vec<_> = sent
                    .iter()
                    .filter(|(other, _)| upstreams::folded(other) == name)
                    .map(|(_, value)| String::from_utf8_lossy(value))
                    .collect();
                if lines.is_empty() {
                    "-".to_owned()
                } else {
                    lines.join("|")
                }
            });
            assert_eq!(folded, expected, "{name}");
        }
        // A token that is not good tells nothing.
        let mut late = request(CLAIMS, "/", &SENT);
        late.now += 1_000_000;
        let policy = policy(json!({}));
        let decision = decide(&policy, &late, &Ledger::default(), None);
        assert_eq!(decision.ruling, Ruling::Deny(401, "scoped_token_expired"));
        assert_eq!((decision.key, decision.subject, decision.filter), (None, None, None));
    }

    #[test]
    fn a_client_is_the_subject_of_its_token() {
        let key = || json!({"rate_limit_per_minute_per_client": 3});
        for (claims, window) in [
            ("", format!("k/{:032b}", 0x0a00_0001)),
            (r#","sub":"10.0.0.1""#, "k/sub:10.0.0.1".to_owned()),
        ] {
            let (limit, _, own) = decided(key(), claims, "/", &[]).client_limit.unwrap();
            assert_eq!((limit, own), (3, window), "{claims}");
        }
    }
}
