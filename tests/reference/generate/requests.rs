//! Requests that a key of the policy was meant for, more or less, and what the upstream answers.

use serde_json::Value;

use super::Generator;
use super::policies::{METHODS, PORTS, RAW_KEYS, Written};
use crate::spec::credentials;
use crate::spec::decision::{Headers, Request, strings};
use crate::spec::tokens;

/// Every date of the policies lies within an hour of it.
const START: u64 = 1_800_000_000_000;
const LABELS: [&str; 8] = ["b", "c.b", "x_1", "-", "0", "b-", "a.test", "xn--nxa"];
/// What a `*` inside a label, or for any host, is replaced with.
const PARTS: [&str; 16] = [
    "", "a", "b", "-", "b-b", "-b", "x_1", "0", "a.b", "B", ".", "a.", "a@", "%60", "a:1", "a*",
];
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
const ODD_ORIGINS: [&[u8]; 22] = [
    b"nonsense",
    b"app://.",
    b"app://",
    b"qrc://",
    b"https://a.test.",
    b"https://a.test https://a.test",
    b"https://a.test\t",
    b"!~",
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
const FILLERS: [&str; 11] = [
    "v1", "a", "b", "p", "p-1", "products", "p%2d1", "", "p-1,b", "p-*", "p-~1.a_",
];
const ODD_SEGMENTS: [&str; 51] = [
    ".",
    "..",
    "%2F",
    "%2e%2E",
    "%252f",
    "%25255C",
    "%25%32%65",
    "%2%65",
    "%%32F",
    "%252525b",
    "%25252525b",
    "%00",
    "a;b",
    "a\\b",
    "a b",
    "%",
    "%2",
    "a#b",
    "*",
    "..%3B",
    "%253b",
    "%3F",
    "%25%33%46",
    "%23",
    "%2523",
    "%0d%0A",
    "%09",
    "%250a",
    "%7F",
    "%C2%85",
    "..%20",
    ".%2520",
    "..%C2%a0",
    "...%20",
    "..%20a",
    "%20..",
    "caf%C3%A9",
    "caf%25c3%25A9",
    "%C3%25A9",
    "caf%E9",
    "%C3",
    "%e2%82%AC%F0%9f%98%80",
    "%c0%ae%c0%ae",
    "%25C0%25AE",
    "%ED%A0%80",
    "%F4%90%80%80",
    "%u002e",
    "%25U002E",
    "100%25up",
    "100%25%20off",
    "%25u00%32e",
];

impl Generator {
    /// A request that a key of the policy was meant for, more or less.
    pub fn request(&mut self, written: &Written, now: u64) -> Request {
        let policy = &written.policy;
        let meant = match written.raw.len() {
            0 => None,
            count => Some(&written.raw[self.0.usize(..count)]).filter(|_| !self.one_in(6)),
        };
        let mut access = written.access(meant.map(|(number, _)| *number)).clone();
        let mut credential = meant.map(|(_, raw)| raw.as_bytes().to_vec());
        let often = if tokens::are_known(policy) { 2 } else { 12 };
        if self.one_in(often) {
            let (token, leaves) = self.token(policy, now);
            (credential, access) = (Some(token), leaves);
        }
        let access = &access;

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
        let sources = credentials::sources(policy);
        if let Some(mut key) = credential {
            if self.one_in(16) {
                self.spoil(&mut key);
            }
            let source = &sources[self.0.usize(..sources.len())];
            self.carry(source, &key, &mut headers, &mut parameters);
            if self.one_in(32) {
                let source = &sources[self.0.usize(..sources.len())];
                self.carry(source, &key, &mut headers, &mut parameters);
            }
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
        // Node's fetch sends this, and is no browser.
        if self.one_in(4) {
            headers.push((b"sec-fetch-mode".into(), b"cors".into()));
        }
        while !is_secret && self.one_in(3) {
            let site = self.pick(&[
                "same-origin",
                "same-origin",
                "same-site",
                "cross-site",
                "none",
                "Same-Origin",
                "",
            ]);
            headers.push((b"sec-fetch-site".into(), site.into()));
        }
        if self.one_in(3) {
            let content_type = self.pick(&[
                "application/json",
                "application/grpc",
                "application/grpc+proto",
                "application/grpc-web+proto",
                "application/grpc-web-text",
                "application/grpc-webs",
                "APPLICATION/GRPC-WEB;a=b",
            ]);
            headers.push((b"content-type".into(), content_type.into()));
        }
        if self.0.bool() {
            headers.push((b"x-request-id".into(), self.odd_value()));
        }
        for name in [
            "x-key-id",
            "x_key_id",
            "x-key_id",
            "x.key+id",
            "x~key!id",
            "x-key-ids",
            "x-key-i.",
            "x-caller",
            "x-odd-id",
            "x-plan",
            "x_plan",
            "x.plan",
            "x-plans",
            "x-tenant-id",
            "x_tenant.id",
            "tier",
            "tiers",
            "x_odd_id",
            "x#odd|id",
            "x-key-filter",
            "x_key_filter",
            "x-key.filter",
            "x-key-filters",
            "x-key-subject",
            "x.key_subject",
            "x-key-subjec",
            "x-http-method-override",
            "x_http_method",
            "x-method-override",
            "x.http-method'override",
            "x-method.override",
            "x-http-method-overrides",
            "x-forwarded-for",
        ] {
            while self.one_in(10) {
                headers.push((name.into(), self.odd_value()));
            }
        }
        if self.one_in(8) {
            let mut options = [
                "upgrade",
                "x-key-id",
                "X-Caller",
                "x_key_id",
                " te",
                "",
                "x-key-id ",
                "X-Plan",
                "tier",
                "X-Key-Filter",
                "x_key-subject",
            ];
            self.0.shuffle(&mut options);
            let connection = options[..self.0.usize(1..4)].join(",");
            headers.push((b"connection".into(), connection.into()));
        }
        self.0.shuffle(&mut headers);
        let (scheme, authority) = self.own_site(access);
        let pseudo = [
            (b":method".into(), method.into()),
            (b":path".into(), path),
            (b":scheme".into(), scheme),
            (b":authority".into(), authority),
        ];
        headers.splice(0..0, pseudo);
        Request {
            headers,
            source: self.source(access),
            now,
        }
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
        if pattern == "*" && !self.one_in(4) {
            return self.pick(&["https://a.test", "app://.", "file://", "x"]).into();
        }
        let labels = self.pick(&LABELS);
        let port = if self.one_in(6) {
            self.pick(&ODD_PORTS)
        } else {
            self.pick(&PORTS)
        };
        let mut origin = pattern
            .replace(":*", port)
            .replace("//*.", &format!("//{labels}."))
            .replace('*', self.pick(&PARTS))
            .into_bytes();
        if self.one_in(6) {
            self.spoil(&mut origin);
        }
        origin
    }

    /// Scheme and authority of the request's own URL, often those of an origin that is listed.
    fn own_site(&mut self, access: &Value) -> (Vec<u8>, Vec<u8>) {
        let origin = self.origin(access);
        let colon = origin.windows(3).position(|three| three == b"://");
        match colon {
            Some(at) => (origin[..at].to_vec(), origin[at + 3..].to_vec()),
            None => (b"https".to_vec(), origin),
        }
    }

    /// Method and path, near a rule of the key's scopes if it has any.
    fn target(&mut self, policy: &Value, access: &Value) -> (String, Vec<u8>) {
        let rules: Vec<&Value> = strings(&access["scopes"])
            .into_iter()
            // A token may name a scope that a policy of the fuzzer's does not have.
            .filter_map(|name| policy["scopes"][name].as_array())
            .flatten()
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
            7 if !self.1.made.is_empty() => self.1.made[self.0.usize(..self.1.made.len())].0.clone(),
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
        if let Some(prefix) = source["websocket_protocol"].as_str() {
            let list = self.pick(&[
                "KEY",
                "chat, KEY",
                "KEY,chat",
                "chat ,\tKEY , superchat",
                ",KEY",
                "API-KEY.x, KEY",
            ]);
            let item = [prefix.as_bytes(), key].concat();
            let value = list.split("KEY").map(str::as_bytes).collect::<Vec<_>>().join(&item[..]);
            headers.push((b"sec-websocket-protocol".into(), value));
            return;
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
        match self.0.u32(..4) {
            3 => {
                let prefix = self.pick(&["api-key.", "API-KEY.", "api-ke", "chat", ""]);
                headers.push((b"sec-websocket-protocol".into(), [prefix.as_bytes(), &key].concat()));
            }
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
                let name = self.pick(&[
                    "x-api-key",
                    "x-token",
                    "x_api_key",
                    "x.token",
                    "x-api-keys",
                    "authorization",
                ]);
                headers.push((name.into(), key));
            }
            _ => {
                let name = self.pick(&["api_key", "k y", "api-key", "api.key", "k_y", "API_KEY"]);
                let parameter = self.parameter(name, &key);
                parameters.push(parameter);
            }
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
            ("vary", "ETag, etag"),
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
