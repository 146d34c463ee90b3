//! Policies without errors.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Generator;
use crate::spec::tokens;

const HOSTS: [&str; 10] = [
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "aa.test",
    "a.tes",
    "x_1.a.test",
    "a-b.test",
    "localhost",
    "127.0.0.1",
    "[::1]",
];
const SCHEMES: [&str; 6] = ["https", "https", "https", "http", "capacitor", "chrome-extension"];
/// What stands before a host, less often `*.` than a part of a label.
const STARS: [&str; 8] = ["*.", "*.", "*.", "b*.", "*b.", "b-*-b.", "b*-b.", "b-*."];
/// What programs send under schemes of their own, and any host of them.
const PROGRAMS: [&str; 12] = [
    "app://.",
    "app://*",
    "app://*:*",
    "app://*:8443",
    "app://a.test.",
    "qrc://",
    "file://",
    "file:///a",
    "Odd://A@b:070",
    "odd://*",
    "capacitor://localhost:0",
    "capacitor://localhost:65536",
];
pub const PORTS: [&str; 5] = ["", "", ":8443", ":3000", ":1"];
pub const RAW_KEYS: [&str; 8] = [
    "kEy-0",
    "kEy-1",
    "kEy-2",
    "kEy-3",
    "kEy +%",
    "kEy-\u{442}",
    "kEy:4",
    "kEy-5",
];
const SOURCES: [&str; 7] = [
    r#"{"header": "Authorization", "scheme": "Bearer"}"#,
    r#"{"header": "authorization", "scheme": "ApiKey"}"#,
    r#"{"header": "X-API-Key"}"#,
    r#"{"header": "X-Token", "scheme": "t"}"#,
    r#"{"query": "api_key"}"#,
    r#"{"query": "k y"}"#,
    r#"{"websocket_protocol": "api-key."}"#,
];
/// None of them reads as an identity header or a key's header of these policies.
const UPSTREAM_HEADERS: [&str; 3] = ["X-Plan", "x_tenant.Id", "Tier"];
const SEGMENTS: [&str; 6] = ["v1", "a", "b", "*", "{index}", "v1"];
pub const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PURGE", "OPTIONS"];
pub const INDEXES: [&str; 6] = ["p", "p-*", "products", "*", "a", "b*"];
const DATES: [(&str, u64); 4] = [
    ("2027-01-15T07:55:00Z", 0),
    ("2027-01-15T08:00:30Z", 1),
    ("2027-01-15T10:02:00+02:00", 2),
    ("2027-01-15T07:35:00-00:30", 3),
];

/// A policy, and the raw keys in it with the numbers of their keys.
pub struct Written {
    pub policy: Value,
    pub raw: Vec<(usize, String)>,
}

impl Written {
    /// What `anonymous` or the key of this number says.
    pub fn access(&self, number: Option<usize>) -> &Value {
        match number {
            Some(number) => &self.policy["keys"][number],
            None => &self.policy["anonymous"],
        }
    }
}

impl Generator {
    /// A policy without errors.
    pub fn policy(&mut self) -> Written {
        let mut raw: Vec<String> = RAW_KEYS.map(str::to_owned).into();
        raw.push("kEy".repeat(512 / 3) + "yy");
        // Too long where no key has scoped tokens.
        raw.push("kEy".repeat(512 / 3) + "yyy");
        self.0.shuffle(&mut raw);
        let scopes = self.scopes();
        let names: &[&str] = if self.one_in(2) { &UPSTREAM_HEADERS } else { &[] };
        let mut policy = Map::new();
        let mut used = Vec::new();
        let keys: Vec<Value> = (0..[0, 1, 2, 2, 3, 3, 4, 4][self.0.usize(..8)])
            .map(|number| self.key(number, &mut raw, &mut used, names))
            .collect();
        policy.insert("keys".into(), keys.into());
        policy.insert("scopes".into(), scopes);
        if self.one_in(2) {
            let mut access = Map::new();
            self.access(&mut access, true, names);
            policy.insert("anonymous".into(), access.into());
        }
        if !names.is_empty() || self.one_in(4) {
            policy.insert("upstream_header_names".into(), names.into());
        }
        let mut sources: Vec<Value> = SOURCES
            .iter()
            .map(|source| serde_json::from_str(source).unwrap())
            .collect();
        self.0.shuffle(&mut sources);
        if self.one_in(4) {
            sources.truncate(1);
        } else {
            sources.truncate(4);
        }
        if !self.one_in(8) {
            policy.insert("key_sources".into(), sources.into());
        }
        if self.one_in(2) {
            policy.insert("cors".into(), self.cors());
        }
        if self.one_in(2) {
            policy.insert("security_headers".into(), self.security_headers());
        }
        for (field, values, left_out) in [
            (
                "client_ip",
                vec![json!("peer"), json!("forwarded"), json!("forwarded_or_peer")],
                3,
            ),
            (
                "identity_header",
                vec![Value::Null, json!("X-Caller"), json!("X_Odd-Id"), json!("X.Key+Id")],
                2,
            ),
            ("forward_api_key", vec![json!(false), json!(true)], 2),
            (
                "enforcement",
                vec![json!("report"), json!("enforce"), json!("enforce")],
                2,
            ),
            ("docs_url", vec![json!("https://docs.test/errors")], 2),
        ] {
            if !self.one_in(left_out) {
                policy.insert(field.into(), values[self.0.usize(..values.len())].clone());
            }
        }
        let mut policy = Value::from(policy);
        if tokens::are_known(&policy) && policy["identity_header"].is_null() {
            // Nobody could tell whose token it was.
            policy.as_object_mut().unwrap().remove("identity_header");
        }
        Written { policy, raw: used }
    }

    fn key(&mut self, number: usize, raw: &mut Vec<String>, used: &mut Vec<(usize, String)>, names: &[&str]) -> Value {
        let mut key = Map::new();
        key.insert("id".into(), format!("key.{number}").into());
        let count = if raw.len() > 4 && self.one_in(4) { 2 } else { 1 };
        let raw = raw.split_off(raw.len() - count);
        let mut dates: Vec<(&str, u64)> = DATES.into();
        self.0.shuffle(&mut dates);
        dates.truncate(2);
        dates.sort_by_key(|(_, order)| *order);
        let mut first_end = 0;
        for (field, (date, order)) in ["not_before", "expires_at"].into_iter().zip(dates) {
            if self.one_in(4) {
                key.insert(field.into(), date.into());
                // An entry ends after its key begins.
                first_end = if field == "not_before" { order + 1 } else { first_end };
            }
        }
        let keys: Vec<Value> = raw
            .iter()
            .zip(0..)
            .map(|(raw, index)| self.entry(raw, index, first_end))
            .collect();
        let has_tokens = self.one_in(2);
        if has_tokens {
            key.insert("scoped_tokens".into(), self.scoped_tokens());
        }
        if !has_tokens || !self.one_in(3) {
            used.extend(raw.into_iter().map(|raw| (number, raw)));
            key.insert("api_key".into(), if count == 1 { keys[0].clone() } else { keys.into() });
        }
        let is_secret = self.one_in(4);
        if is_secret || self.one_in(4) {
            key.insert("kind".into(), if is_secret { "secret" } else { "publishable" }.into());
        }
        self.access(&mut key, !is_secret, names);
        key.into()
    }

    fn entry(&mut self, raw: &str, index: usize, first_end: u64) -> Value {
        let written = self.written(raw);
        if self.one_in(2) {
            return written.into();
        }
        let mut entry = Map::new();
        entry.insert("key".into(), written.into());
        if self.0.bool() {
            entry.insert("label".into(), format!("2027-0{index}").into());
        }
        if self.0.bool() {
            let later: Vec<&str> = DATES
                .iter()
                .filter(|(_, order)| *order >= first_end)
                .map(|(date, _)| *date)
                .collect();
            if !later.is_empty() {
                entry.insert("expires_at".into(), self.pick(&later).into());
            }
        }
        entry.into()
    }

    fn written(&mut self, raw: &str) -> String {
        if raw.len() <= 512 && self.one_in(2) {
            return raw.to_owned();
        }
        let hex: String = Sha256::digest(raw.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("sha256:{}", if self.one_in(4) { hex.to_uppercase() } else { hex })
    }

    /// What keys and `anonymous` have in common.
    pub fn access(&mut self, access: &mut Map<String, Value>, has_origins: bool, names: &[&str]) {
        let mut set = Map::new();
        for name in names {
            if self.0.bool() {
                let name = if self.one_in(4) {
                    name.to_ascii_uppercase()
                } else {
                    (*name).to_owned()
                };
                set.insert(name, self.pick(&["gold", "", "a, b;c=\"d\"", "0"]).into());
            }
        }
        if !set.is_empty() || self.one_in(8) {
            access.insert("upstream_headers".into(), set.into());
        }
        if self.one_in(4) {
            access.insert("enabled".into(), self.0.bool().into());
        }
        if has_origins && !self.one_in(4) {
            access.insert("allowed_origins".into(), self.some(4, Self::pattern).into());
        }
        if self.one_in(2) {
            access.insert(
                "origin_check".into(),
                self.pick(&["required", "required_or_same_origin", "if_present", "cors_only"])
                    .into(),
            );
        }
        if self.one_in(3) {
            access.insert("allowed_ips".into(), self.some(4, Self::network).into());
        }
        if self.one_in(2) {
            let mut scopes: Vec<Value> = vec!["s0".into(), "s1".into(), "s2".into()];
            self.0.shuffle(&mut scopes);
            let count = self.0.usize(..=3);
            scopes.truncate(count);
            access.insert("scopes".into(), scopes.into());
        }
        if self.one_in(3) {
            access.insert("indexes".into(), self.some(3, |g| g.pick(&INDEXES)).into());
        }
        if self.one_in(4) {
            // The same number in the forms that a Struct or a person gives it.
            let limits = [json!(1), json!(2), json!(3.0), json!(2e0), json!(5)];
            access.insert(
                "rate_limit_per_minute".into(),
                limits[self.0.usize(..limits.len())].clone(),
            );
        }
        if self.one_in(4) {
            let limit = self.0.u32(1..4);
            access.insert("rate_limit_per_minute_per_client".into(), limit.into());
        }
        if self.one_in(6) {
            access.insert("enforcement".into(), self.pick(&["report", "enforce"]).into());
        }
    }

    pub fn pattern(&mut self) -> String {
        match self.0.u32(..12) {
            0 => return "*".to_owned(),
            1 => return "null".to_owned(),
            _ => {}
        }
        if self.one_in(3) {
            // Lists of several keys name the same.
            return self
                .pick(&[
                    "https://a.test",
                    "https://*.a.test",
                    "https://b.a.test:*",
                    "https://b*.a.test",
                    "https://b-*-b.a.test",
                ])
                .to_owned();
        }
        if self.one_in(6) {
            return self.pick(&PROGRAMS).to_owned();
        }
        let (scheme, host) = (self.pick(&SCHEMES), self.pick(&HOSTS));
        let takes_wildcard = host.ends_with(".test") || host.ends_with(".tes") || host == "localhost";
        let star = if takes_wildcard && self.one_in(2) {
            self.pick(&STARS)
        } else {
            ""
        };
        let port = if self.one_in(4) { ":*" } else { self.pick(&PORTS) };
        format!("{scheme}://{star}{host}{port}")
    }

    fn scopes(&mut self) -> Value {
        let mut scopes = Map::new();
        for name in ["s0", "s1", "s2"] {
            scopes.insert(name.into(), self.some(3, Self::rule).into());
        }
        scopes.into()
    }

    fn rule(&mut self) -> Value {
        let methods: Vec<&str> = if self.one_in(3) {
            vec!["*"]
        } else {
            (0..self.0.usize(1..3)).map(|_| self.pick(&METHODS)).collect()
        };
        let mut segments: Vec<&str> = Vec::new();
        for _ in 0..self.0.usize(1..4) {
            let segment = self.pick(&SEGMENTS);
            segments.push(if segment == "{index}" && segments.contains(&segment) {
                "*"
            } else {
                segment
            });
        }
        match self.0.u32(..6) {
            0 => segments.push(""),
            1 | 2 => segments.push("**"),
            _ => {}
        }
        json!({"methods": methods, "path": format!("/{}", segments.join("/"))})
    }

    fn cors(&mut self) -> Value {
        let mut cors = Map::new();
        let with_credentials = self.0.bool();
        for (field, names) in [
            ("allow_methods", ["GET", "POST", "PATCH", "*"]),
            ("allow_headers", ["Authorization", "x-api-key", "X-Other", "*"]),
            ("expose_headers", ["X-Request-Id", "X-RateLimit-Reset", "ETag", "*"]),
        ] {
            let names = if with_credentials { &names[..3] } else { &names[..] };
            if self.one_in(2) {
                let mut listed = names.to_vec();
                self.0.shuffle(&mut listed);
                let count = self.0.usize(..=listed.len());
                listed.truncate(count);
                cors.insert(field.into(), listed.into());
            }
        }
        if !with_credentials || self.0.bool() {
            cors.insert("allow_credentials".into(), with_credentials.into());
        }
        if self.one_in(2) {
            cors.insert(
                "max_age".into(),
                [json!(0), json!(600.0), json!(86400)][self.0.usize(..3)].clone(),
            );
        }
        cors.into()
    }

    fn security_headers(&mut self) -> Value {
        let mut security = Map::new();
        if !self.one_in(3) {
            security.insert("preset".into(), self.pick(&["default", "owasp", "api", "none"]).into());
        }
        let has_csp = self.one_in(3);
        if has_csp {
            security.insert(
                "content_security_policy".into(),
                json!({"default-src": ["'self'"], "script-src": ["'self'", "https://cdn.test"], "upgrade-insecure-requests": []}),
            );
        }
        let mut set = Map::new();
        let mut free = vec![
            "X-Frame-Options",
            "referrer-policy",
            "Cache-Control",
            "X-Extra",
            "Server",
            "Content-Type",
        ];
        if !has_csp {
            free.push("Content-Security-Policy");
        }
        self.0.shuffle(&mut free);
        for _ in 0..self.0.usize(..3) {
            let value = match self.0.u32(..4) {
                0 => Value::Null,
                1 => json!({"value": "set", "mode": "if_absent"}),
                2 => json!({"value": "set", "mode": "overwrite"}),
                _ => json!("set"),
            };
            set.insert(free.pop().unwrap().into(), value);
        }
        security.insert("set".into(), set.into());
        let count = self.0.usize(..=2);
        free.truncate(count);
        security.insert("remove".into(), free.into());
        security.into()
    }
}
