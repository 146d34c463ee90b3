//! Policies and requests from a small alphabet, so that they meet often, and miss each other narrowly as often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::spec::decision::{Headers, Request, strings};

/// Every date of the policies lies within an hour of it.
const START: u64 = 1_800_000_000_000;

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
const LABELS: [&str; 8] = ["b", "c.b", "x_1", "-", "0", "b-", "a.test", "xn--nxa"];
const SCHEMES: [&str; 6] = ["https", "https", "https", "http", "capacitor", "chrome-extension"];
const PORTS: [&str; 5] = ["", "", ":8443", ":3000", ":1"];
const ODD_PORTS: [&str; 9] = [
    ":0",
    ":80",
    ":443",
    ":08443",
    ":65536",
    ":65535",
    ":",
    ":*",
    ":8443:3000",
];
const ODD_ORIGINS: [&[u8]; 14] = [
    b"",
    b"*",
    b"null",
    b"NULL",
    b"null, null",
    b"https://",
    b"://a.test",
    b"a.test",
    b"https:a.test",
    b"https://a.test/",
    b"https://*.a.test",
    b"https://a.test\xff",
    b"file://",
    b"https://[::1",
];

const RAW_KEYS: [&str; 8] = [
    "kEy-0",
    "kEy-1",
    "kEy-2",
    "kEy-3",
    "kEy +%",
    "kEy-\u{442}",
    "kEy:4",
    "kEy-5",
];
const SOURCES: [&str; 6] = [
    r#"{"header": "Authorization", "scheme": "Bearer"}"#,
    r#"{"header": "authorization", "scheme": "ApiKey"}"#,
    r#"{"header": "X-API-Key"}"#,
    r#"{"header": "X-Token", "scheme": "t"}"#,
    r#"{"query": "api_key"}"#,
    r#"{"query": "k y"}"#,
];

const SEGMENTS: [&str; 6] = ["v1", "a", "b", "*", "{index}", "v1"];
const FILLERS: [&str; 8] = ["v1", "a", "b", "p", "p-1", "products", "p%2d1", ""];
const ODD_SEGMENTS: [&str; 14] = [
    ".", "..", "%2F", "%2e%2E", "%252f", "%25255C", "%00", "a;b", "a\\b", "a b", "%", "%2", "a#b", "*",
];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PURGE", "OPTIONS"];
const INDEXES: [&str; 6] = ["p", "p-*", "products", "*", "a", "b*"];

const OCTETS: [u8; 6] = [0, 1, 10, 127, 128, 255];
const GROUPS: [u16; 5] = [0, 1, 0xff, 0x2001, 0xffff];

const DATES: [(&str, u64); 4] = [
    ("2027-01-15T07:55:00Z", 0),
    ("2027-01-15T08:00:30Z", 1),
    ("2027-01-15T10:02:00+02:00", 2),
    ("2027-01-15T07:35:00-00:30", 3),
];

/// A generator of one seed.
pub struct Generator(Rng);

/// A policy, and the raw keys in it with the numbers of their keys.
pub struct Written {
    pub policy: Value,
    raw: Vec<(usize, String)>,
}

impl Written {
    /// What `anonymous` or the key of this number says.
    fn access(&self, number: Option<usize>) -> &Value {
        match number {
            Some(number) => &self.policy["keys"][number],
            None => &self.policy["anonymous"],
        }
    }
}

impl Generator {
    pub fn of_seed(seed: u64) -> Generator {
        Generator(Rng::with_seed(seed))
    }

    /// True once in `n`.
    fn one_in(&mut self, n: u32) -> bool {
        self.0.u32(..n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.0.usize(..list.len())]
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.0.usize(..=most)).map(|_| make(self)).collect()
    }

    /// A policy without errors.
    pub fn policy(&mut self) -> Written {
        let mut raw: Vec<String> = RAW_KEYS.map(str::to_owned).into();
        raw.push("kEy".repeat(512 / 3) + "yy");
        self.0.shuffle(&mut raw);
        let scopes = self.scopes();
        let mut policy = Map::new();
        let mut used = Vec::new();
        let keys: Vec<Value> = (0..[0, 1, 2, 2, 3, 3, 4, 4][self.0.usize(..8)])
            .map(|number| self.key(number, &mut raw, &mut used))
            .collect();
        policy.insert("keys".into(), keys.into());
        policy.insert("scopes".into(), scopes);
        if self.one_in(2) {
            let mut access = Map::new();
            self.access(&mut access, true);
            policy.insert("anonymous".into(), access.into());
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
            ("client_ip", vec![json!("peer"), json!("forwarded")], 3),
            (
                "identity_header",
                vec![Value::Null, json!("X-Caller"), json!("X_Odd-Id")],
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
        Written {
            policy: policy.into(),
            raw: used,
        }
    }

    fn key(&mut self, number: usize, raw: &mut Vec<String>, used: &mut Vec<(usize, String)>) -> Value {
        let mut key = Map::new();
        key.insert("id".into(), format!("key.{number}").into());
        let count = if raw.len() > 4 && self.one_in(4) { 2 } else { 1 };
        let raw = raw.split_off(raw.len() - count);
        let keys: Vec<Value> = raw.iter().map(|raw| self.written(raw).into()).collect();
        used.extend(raw.into_iter().map(|raw| (number, raw)));
        key.insert("api_key".into(), if count == 1 { keys[0].clone() } else { keys.into() });
        let is_secret = self.one_in(4);
        if is_secret || self.one_in(4) {
            key.insert("kind".into(), if is_secret { "secret" } else { "publishable" }.into());
        }
        self.access(&mut key, !is_secret);
        let mut dates: Vec<(&str, u64)> = DATES.into();
        self.0.shuffle(&mut dates);
        dates.truncate(2);
        dates.sort_by_key(|(_, order)| *order);
        for (field, (date, _)) in ["not_before", "expires_at"].into_iter().zip(dates) {
            if self.one_in(4) {
                key.insert(field.into(), date.into());
            }
        }
        key.into()
    }

    fn written(&mut self, raw: &str) -> String {
        if self.one_in(2) {
            return raw.to_owned();
        }
        let hex: String = Sha256::digest(raw.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("sha256:{}", if self.one_in(4) { hex.to_uppercase() } else { hex })
    }

    /// What keys and `anonymous` have in common.
    fn access(&mut self, access: &mut Map<String, Value>, has_origins: bool) {
        if self.one_in(6) {
            access.insert("enabled".into(), self.0.bool().into());
        }
        if has_origins && !self.one_in(4) {
            access.insert("allowed_origins".into(), self.some(4, Self::pattern).into());
        }
        if self.one_in(2) {
            access.insert(
                "origin_check".into(),
                self.pick(&["required", "if_present", "cors_only"]).into(),
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
        if self.one_in(6) {
            access.insert("enforcement".into(), self.pick(&["report", "enforce"]).into());
        }
    }

    fn pattern(&mut self) -> String {
        match self.0.u32(..12) {
            0 => return "*".to_owned(),
            1 => return "null".to_owned(),
            _ => {}
        }
        let (scheme, host) = (self.pick(&SCHEMES), self.pick(&HOSTS));
        let takes_wildcard = host.ends_with(".test") || host.ends_with(".tes");
        let star = if takes_wildcard && self.one_in(2) { "*." } else { "" };
        let port = if self.one_in(4) { ":*" } else { self.pick(&PORTS) };
        format!("{scheme}://{star}{host}{port}")
    }

    fn origin(&mut self, access: &Value) -> Vec<u8> {
        if self.one_in(12) {
            return self.pick(&ODD_ORIGINS).to_vec();
        }
        let listed = strings(&access["allowed_origins"]);
        let pattern = if listed.is_empty() || self.one_in(6) {
            self.pattern()
        } else {
            self.pick(&listed).to_owned()
        };
        let labels = self.pick(&LABELS);
        let port = if self.one_in(6) {
            self.pick(&ODD_PORTS)
        } else {
            self.pick(&PORTS)
        };
        let mut origin = pattern
            .replace(":*", port)
            .replace("*.", &format!("{labels}."))
            .into_bytes();
        if self.one_in(6) {
            self.spoil(&mut origin);
        }
        origin
    }

    /// One small change.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[u8] = b"./:*@-_,%\\ a1A~\0\x80\xff#?[]";
        let at = self.0.usize(..=bytes.len());
        let odd = ODD[self.0.usize(..ODD.len())];
        match self.0.u32(..6) {
            0 | 1 => bytes.insert(at, odd),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] = odd,
            4 if at < bytes.len() => bytes[at] = bytes[at].to_ascii_uppercase(),
            _ => match self.0.u32(..5) {
                0 => bytes.extend(b".evil.test"),
                1 => bytes.extend(b"@evil.test"),
                2 => bytes.truncate(at),
                3 => bytes.extend(std::iter::repeat_n(b'a', 500)),
                _ => bytes.extend(bytes.clone()),
            },
        }
    }

    fn v4(&mut self) -> [u8; 4] {
        std::array::from_fn(|_| OCTETS[self.0.usize(..OCTETS.len())])
    }

    fn v6(&mut self) -> [u16; 8] {
        std::array::from_fn(|at| {
            if at == 0 || at > 5 || self.one_in(4) {
                GROUPS[self.0.usize(..GROUPS.len())]
            } else {
                0
            }
        })
    }

    /// Some address, mapped ones included.
    pub fn address(&mut self) -> IpAddr {
        match self.0.u32(..5) {
            0 => Ipv4Addr::from(self.v4()).to_ipv6_mapped().into(),
            1 => Ipv6Addr::from(self.v6()).into(),
            _ => Ipv4Addr::from(self.v4()).into(),
        }
    }

    /// A network without host bits, and not in the mapped form.
    pub fn network(&mut self) -> String {
        if self.one_in(4) {
            let bits = self.0.u32(..=128);
            let address = u128::from(Ipv6Addr::from(self.v6()));
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let first = Ipv6Addr::from(address & mask);
            if first.to_ipv4_mapped().is_none() {
                return format!("{first}/{bits}");
            }
        }
        let bits = self.0.u32(..=32);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let first = Ipv4Addr::from(u32::from_be_bytes(self.v4()) & mask);
        if bits == 32 && self.0.bool() {
            first.to_string()
        } else {
            format!("{first}/{bits}")
        }
    }

    fn source(&mut self, access: &Value) -> Option<String> {
        let port = self.pick(&["0", "1", "50000"]);
        let networks = strings(&access["allowed_ips"]);
        let address = match networks.is_empty() || self.one_in(4) {
            true => self.address(),
            // The first address of a network, or one that is near it.
            false => self.pick(&networks).split('/').next().unwrap().parse().unwrap(),
        };
        let address = match address {
            IpAddr::V4(address) if self.one_in(4) => {
                Ipv4Addr::from_bits(address.to_bits() ^ 1 << self.0.u32(..32)).into()
            }
            IpAddr::V6(address) if self.one_in(4) => {
                Ipv6Addr::from_bits(address.to_bits() ^ 1 << self.0.u32(..128)).into()
            }
            address => address,
        };
        match address {
            _ if self.one_in(16) => None,
            address if self.one_in(16) => Some(address.to_string()),
            _ if self.one_in(32) => Some("/run/client.sock".to_owned()),
            IpAddr::V4(address) if self.one_in(8) => Some(format!("[{}]:{port}", address.to_ipv6_mapped())),
            IpAddr::V4(address) => Some(format!("{address}:{port}")),
            IpAddr::V6(address) => Some(format!("[{address}]:{port}")),
        }
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

    /// Method and path, near a rule of the key's scopes if it has any.
    fn target(&mut self, policy: &Value, access: &Value) -> (String, Vec<u8>) {
        let rules: Vec<&Value> = strings(&access["scopes"])
            .into_iter()
            .flat_map(|name| policy["scopes"][name].as_array().unwrap())
            .collect();
        let mut method = self.pick(&METHODS);
        let mut indexes: Vec<&str> = strings(&access["indexes"])
            .iter()
            .map(|index| index.trim_end_matches('*'))
            .collect();
        indexes.extend(FILLERS);
        let mut segments: Vec<String> = Vec::new();
        if rules.is_empty() || self.one_in(8) {
            segments = self.some(4, |g| g.pick(&FILLERS).to_owned());
        } else {
            let rule = rules[self.0.usize(..rules.len())];
            let methods = strings(&rule["methods"]);
            if methods != ["*"] && !self.one_in(8) {
                method = self.pick(&methods);
            }
            for segment in rule["path"].as_str().unwrap().split('/').skip(1) {
                match segment {
                    "{index}" if self.0.bool() => segments.push(indexes[0].to_owned()),
                    "*" | "{index}" => segments.push(self.pick(&indexes).to_owned()),
                    "**" => segments.extend(self.some(2, |g| g.pick(&FILLERS).to_owned())),
                    literal => segments.push(literal.to_owned()),
                }
            }
        }
        if self.one_in(8) {
            let at = self.0.usize(..=segments.len());
            segments.insert(at, self.pick(&ODD_SEGMENTS).to_owned());
        }
        let mut path = format!("/{}", segments.join("/")).into_bytes();
        if self.one_in(16) {
            self.spoil(&mut path);
        }
        (method.to_owned(), path)
    }

    fn raw_key(&mut self) -> Vec<u8> {
        match self.0.u32(..24) {
            0 => Vec::new(),
            1 => b"\xff\xfe".to_vec(),
            2 => "kEy".repeat(512 / 3).into_bytes(),
            3 => ("kEy".repeat(512 / 3) + "yy").into_bytes(),
            4 => ("kEy".repeat(512 / 3) + "yyy").into_bytes(),
            5 => b"kEy-0,kEy-1".to_vec(),
            6 => {
                let mut key = self.pick(&RAW_KEYS).as_bytes().to_vec();
                self.spoil(&mut key);
                key
            }
            _ => self.pick(&RAW_KEYS).as_bytes().to_vec(),
        }
    }

    /// For a query: some bytes as escapes, the rest as they are.
    fn encoded(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for byte in bytes {
            match byte {
                b' ' if self.0.bool() => encoded.push(b'+'),
                b'&' | b'+' | b'%' | b'#' | b' ' => encoded.extend(format!("%{byte:02x}").bytes()),
                _ if self.one_in(12) => encoded.extend(format!("%{byte:02X}").bytes()),
                _ => encoded.push(*byte),
            }
        }
        encoded
    }

    fn parameter(&mut self, name: &str, key: &[u8]) -> Vec<u8> {
        let mut parameter = self.encoded(name.as_bytes());
        if !self.one_in(32) {
            parameter.push(b'=');
            let value = self.encoded(key);
            parameter.extend(value);
        }
        parameter
    }

    /// Puts `key` where `source` looks for it.
    fn carry(&mut self, source: &Value, key: &[u8], headers: &mut Headers, parameters: &mut Vec<Vec<u8>>) {
        if let Some(name) = source["query"].as_str() {
            let parameter = self.parameter(name, key);
            let at = self.0.usize(..=parameters.len());
            return parameters.insert(at, parameter);
        }
        let mut value = Vec::new();
        if let Some(scheme) = source["scheme"].as_str() {
            value.extend(scheme.bytes());
            if self.one_in(4) {
                value.make_ascii_uppercase();
            }
            value.extend(self.pick(&[b" " as &[u8], b" ", b" ", b"  ", b"\t", b""]));
        }
        value.extend(key);
        let name = source["header"].as_str().unwrap().to_ascii_lowercase();
        headers.push((name.into(), value));
    }

    /// Anything that looks like a key, anywhere.
    fn stray_key(&mut self, headers: &mut Headers, parameters: &mut Vec<Vec<u8>>) {
        let key = self.raw_key();
        match self.0.u32(..3) {
            0 => {
                let value: &[u8] = self.pick(&[
                    b"" as &[u8],
                    b"Basic ",
                    b"Bearer",
                    b"BearerX ",
                    b"Basic x, Bearer ",
                    b"Bearer ",
                ]);
                headers.push((b"authorization".into(), [value, &key].concat()));
            }
            1 => {
                let name = self.pick(&["x-api-key", "x-token", "x_api_key", "authorization"]);
                headers.push((name.into(), key));
            }
            _ => {
                let name = self.pick(&["api_key", "k y", "api-key", "API_KEY"]);
                let parameter = self.parameter(name, &key);
                parameters.push(parameter);
            }
        }
    }

    /// A request that a key of the policy was meant for, more or less.
    pub fn request(&mut self, written: &Written, now: u64) -> Request {
        let policy = &written.policy;
        let meant = match written.raw.len() {
            0 => None,
            count => Some(&written.raw[self.0.usize(..count)]).filter(|_| !self.one_in(6)),
        };
        let access = written.access(meant.map(|(number, _)| *number));

        let mut headers: Headers = Vec::new();
        let mut parameters = vec![
            b"x=1".to_vec(),
            b"".to_vec(),
            b"api_key2=kEy-0".to_vec(),
            b"a=b=c&%".to_vec(),
        ];
        self.0.shuffle(&mut parameters);
        let count = self.0.usize(..8).saturating_sub(5);
        parameters.truncate(count);
        let sources = crate::spec::credentials::sources(policy);
        if let Some((_, raw)) = meant {
            let mut key = raw.as_bytes().to_vec();
            if self.one_in(16) {
                self.spoil(&mut key);
            }
            let source = &sources[self.0.usize(..sources.len())];
            self.carry(source, &key, &mut headers, &mut parameters);
        }
        while self.one_in(8) {
            self.stray_key(&mut headers, &mut parameters);
        }

        let is_preflight = self.one_in(8);
        let (mut method, mut path) = self.target(policy, access);
        if is_preflight {
            method = "OPTIONS".to_owned();
        }
        if !parameters.is_empty() || self.one_in(8) {
            path.push(b'?');
            path.extend(parameters.join(&b'&'));
        }
        if is_preflight || self.one_in(12) {
            headers.push((b"access-control-request-method".into(), b"PUT".into()));
        }
        let is_secret = access["kind"] == "secret" && !self.one_in(4);
        let origins = if is_secret {
            0
        } else {
            [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2][self.0.usize(..16)]
        };
        for _ in 0..origins {
            headers.push((b"origin".into(), self.origin(access)));
        }
        if !is_secret && self.one_in(4) {
            headers.push((b"sec-fetch-mode".into(), b"cors".into()));
        }
        if self.0.bool() {
            headers.push((b"x-request-id".into(), self.odd_value()));
        }
        for name in [
            "x-key-id",
            "x_key_id",
            "x-key_id",
            "x-key-ids",
            "x-caller",
            "x-odd-id",
            "x_odd_id",
            "x-http-method-override",
            "x_http_method",
            "x-method-override",
            "x-http-method-overrides",
            "x-forwarded-for",
        ] {
            while self.one_in(10) {
                headers.push((name.into(), self.odd_value()));
            }
        }
        self.0.shuffle(&mut headers);
        headers.splice(0..0, [(b":method".into(), method.into()), (b":path".into(), path)]);
        Request {
            headers,
            source: self.source(access),
            now,
        }
    }

    fn odd_value(&mut self) -> Vec<u8> {
        self.pick(&[
            b"key.0" as &[u8],
            b"10.0.0.1",
            b"",
            b"\xc3\xa4 \"\\",
            b"\xff",
            &[b'a'; 129],
        ])
        .to_vec()
    }

    /// Moments of one policy's requests, in their order.
    pub fn moments(&mut self, count: usize) -> Vec<u64> {
        let step = [10, 2_000, 30_000][self.0.usize(..3)];
        let mut now = START + self.0.u64(..60_000);
        (0..count)
            .map(|_| {
                now += self.0.u64(..step);
                now
            })
            .collect()
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

    /// What an upstream answers.
    pub fn answer(&mut self) -> Headers {
        let mut headers: Headers = vec![
            (b":status".into(), b"200".into()),
            (b"content-type".into(), b"application/json".into()),
        ];
        for (name, value) in [
            ("vary", "Accept"),
            ("vary", "accept, Origin"),
            ("vary", "x-api-key,, Accept-Encoding "),
            ("vary", "*"),
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://a.test"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET"),
            ("access-control-expose-headers", "ETag"),
            ("access-control-private-network", "true"),
            ("x-frame-options", "SAMEORIGIN"),
            ("referrer-policy", "origin"),
            ("x-extra", "own"),
            ("server", "own"),
            ("cache-control", "max-age=60"),
            ("x-ratelimit-limit", "7"),
            ("x-ratelimit-reset", "7"),
            ("set-cookie", "a=b"),
            ("set-cookie", "c=d"),
        ] {
            if self.one_in(6) {
                headers.push((name.into(), value.into()));
            }
        }
        headers
    }
}
