//! Scoped tokens: most are good, and the others miss that by one thing.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};

use super::Generator;
use crate::spec::decision::{strings, unix_seconds};

/// A token, and what it leaves of its key, for a request that keeps to it.
pub type Made = (Vec<u8>, Value);

/// Names and values of a JSON object, as they are written.
type Members = Vec<(String, String)>;

const DATES: [&str; 3] = [
    "2027-01-15T08:00:30Z",
    "2027-01-15T10:02:00+02:00",
    "2027-01-15T07:55:00Z",
];
const LIFETIMES: [f64; 7] = [1.0, 60.0, 61.0, 600.0, 3600.0, 86400.0, 2e9];
/// The last of them are wrong.
const SUBJECTS: [&str; 14] = [
    "u1",
    "u2",
    "u2",
    "10.0.0.1",
    "~!\\u0041\\/",
    "LONGEST",
    "",
    "TOO LONG",
    "a b",
    "\\u007f",
    "\\u0000",
    "\u{e4}",
    "a\\r\\nx-key-id: b",
    "\\ud800",
];
/// In place of what a claim is.
const NO_LISTS: [&str; 8] = ["[]", "[]", "null", "\"s0\"", "{}", "[null]", "[0]", "[[]]"];
const NO_ORIGINS: [&str; 15] = [
    "",
    "@x",
    "a.test",
    "https://a.test/",
    "https://a.test:443",
    "http://a.test:80",
    "https://a.test:0",
    "https://a.test:08443",
    "https://a.test:65536",
    "https://A.test",
    "https://a..test",
    "https://a.test.",
    "https://*",
    "https://a.*.test",
    "https://*.*.test",
];
const NO_NETWORKS: [&str; 11] = [
    "",
    "@x",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/",
    "010.0.0.0/8",
    "::1/64",
    "::ffff:10.0.0.0/104",
    "fe80::1%eth0",
    "a.test",
];
const NO_SCOPES: [&str; 4] = ["", "s9", "S0", "s0 "];
const NO_INDEXES: [&str; 7] = ["", "a*b", "**", "a/b", "p%2d1", "a b", "p*-"];
/// In place of a date.
const ODD_NUMBERS: [&str; 22] = [
    "null",
    "true",
    "[]",
    "\"1800000000\"",
    "0",
    "-0",
    "-1",
    "-1.5",
    "1e300",
    "-1e300",
    "1e400",
    "-1e400",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1800000000.",
    "01800000000",
    "+1800000000",
    "1800000000e",
    "0x6b49d200",
    "NaN",
];
/// Members that change nothing.
const UNKNOWN: [&str; 8] = [
    r#""aud":null"#,
    r#""jti":["a",{"b":1.5e3}]"#,
    r#""Sub":"a b""#,
    r#""limit":-1e999"#,
    r#""twice":{"a":1,"a":2}"#,
    r#""iss":"\ud83d\ude00""#,
    r#""":"""#,
    r#""orig\u0131ns":[]"#,
];
/// With one of these a part is not JSON, or has a name twice.
const BROKEN: [&[u8]; 10] = [
    b"\"a\":1,\"a\":1",
    b"\"a\":1,\"\\u0061\":1",
    b"\"a\":\"\xff\"",
    b"\"a\":\"\\ud800\"",
    b"\"a\":\"\n\"",
    b"\"a\":01",
    b"\"a\":1,",
    b"\"a\"",
    b"\"a\":1}",
    b"\"\xed\xa0\x80\":1",
];

/// The secrets of HS256: the shortest, ones around the block of SHA-256, the longest.
fn secrets() -> &'static [Vec<u8>] {
    static SECRETS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let secret = |(number, length): (u8, usize)| (0..length).map(|at| at as u8 ^ number).collect();
    SECRETS.get_or_init(|| {
        let numbered = (7..).zip([32, 33, 64, 65, 1024]);
        numbered.map(secret).collect()
    })
}

/// Each with its public key.
fn pairs() -> &'static [(Ed25519KeyPair, String)] {
    static PAIRS: OnceLock<Vec<(Ed25519KeyPair, String)>> = OnceLock::new();
    let pair = |number| {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key());
        (pair, public)
    };
    PAIRS.get_or_init(|| (0..4).map(pair).collect())
}

/// Of the first pair, for the key `key.0` and half an hour from 1,800,000,000 on, with a point of order 1 as R.
const WEAK: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImtleS4wIn0.eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMTgwMH0.AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABvJJ3FTX3zncQwlRB_dLCTFbXhJ9tKokISghpDtmk0BA";
/// The same with a good R and an S that is not below the order.
const NOT_CANONICAL: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImtleS4wIn0.eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMTgwMH0.LiqVxRCIXx843ByyB05MjBiODPD51O1Sx8D4Uec_PaACPp3gz9HuPfplUBGP44eIQR6pzXmTNKsFGP24_LpuGw";

enum Signer {
    Secret(Vec<u8>),
    Pair(&'static Ed25519KeyPair),
}

impl Signer {
    fn alg(&self) -> &'static str {
        match self {
            Signer::Secret(_) => "\"HS256\"",
            Signer::Pair(_) => "\"EdDSA\"",
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Signer::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text)
                .as_ref()
                .to_vec(),
            Signer::Pair(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }
}

/// What is wrong with a token, each as often as the others.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    Alg,
    Kid,
    Crit,
    NoMember,
    NoObject,
    Number,
    Subject,
    List,
    Entry,
    Broken,
    Depth,
    BitOfSignature,
    LengthOfSignature,
    OtherSigner,
    PublicKeyAsSecret,
    Padding,
    LastBits,
    Alphabet,
    Parts,
    Length,
    Spoilt,
    Fixed,
}

const FLAWS: [Flaw; 22] = [
    Flaw::Alg,
    Flaw::Kid,
    Flaw::Crit,
    Flaw::NoMember,
    Flaw::NoObject,
    Flaw::Number,
    Flaw::Subject,
    Flaw::List,
    Flaw::Entry,
    Flaw::Broken,
    Flaw::Depth,
    Flaw::BitOfSignature,
    Flaw::LengthOfSignature,
    Flaw::OtherSigner,
    Flaw::PublicKeyAsSecret,
    Flaw::Padding,
    Flaw::LastBits,
    Flaw::Alphabet,
    Flaw::Parts,
    Flaw::Length,
    Flaw::Spoilt,
    Flaw::Fixed,
];

impl Generator {
    /// What a key has under `scoped_tokens`.
    pub fn scoped_tokens(&mut self) -> Value {
        let mut settings = Map::new();
        let kinds = self.0.u32(1..4);
        if kinds & 1 == 1 {
            let mut texts: Vec<String> = secrets().iter().map(|secret| URL_SAFE_NO_PAD.encode(secret)).collect();
            self.0.shuffle(&mut texts);
            let count = self.0.usize(1..3);
            texts.truncate(count);
            settings.insert("secrets".into(), texts.into());
        }
        if kinds & 2 == 2 {
            let mut keys: Vec<Value> = pairs().iter().map(|(_, public)| self.jwk(public)).collect();
            self.0.shuffle(&mut keys);
            let count = self.0.usize(1..3);
            keys.truncate(count);
            settings.insert("public_keys".into(), keys.into());
        }
        if self.one_in(2) {
            let lifetime = LIFETIMES[self.0.usize(..LIFETIMES.len())];
            // The same number in the forms that a Struct or a person gives it.
            let number = if self.0.bool() {
                json!(lifetime)
            } else {
                json!(lifetime as u64)
            };
            settings.insert("max_lifetime_seconds".into(), number);
        }
        if self.one_in(4) {
            settings.insert("not_before".into(), self.pick(&DATES).into());
        }
        settings.into()
    }

    fn jwk(&mut self, public: &str) -> Value {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": public});
        for (name, value) in [
            ("use", json!("sig")),
            ("alg", json!("EdDSA")),
            ("alg", json!("Ed25519")),
            ("key_ops", json!(["verify"])),
            ("kid", json!("of the operator's own")),
        ] {
            if self.one_in(6) {
                jwk[name] = value;
            }
        }
        jwk
    }

    /// A token for one of the policy's keys, more or less. Some were sent before, when it was earlier. `now` is in milliseconds.
    pub fn token(&mut self, policy: &Value, now: u64) -> Made {
        if !self.1.made.is_empty() && self.one_in(3) {
            return self.1.made[self.0.usize(..self.1.made.len())].clone();
        }
        let keys: Vec<&Value> = policy["keys"].as_array().into_iter().flatten().collect();
        let with_tokens: Vec<&Value> = keys
            .iter()
            .copied()
            .filter(|key| key["scoped_tokens"].is_object())
            .collect();
        let none = json!({"id": "key.0"});
        let key = match with_tokens.len() {
            0 => keys.first().copied().unwrap_or(&none),
            count => with_tokens[self.0.usize(..count)],
        };
        let made = self.token_of(key, (now / 1000) as i64);
        self.1.made.push(made.clone());
        made
    }

    fn token_of(&mut self, key: &Value, now: i64) -> Made {
        let flaw = Some(FLAWS[self.0.usize(..FLAWS.len())]).filter(|_| self.one_in(3));
        let signer = self.signer(key, flaw);
        let id = serde_json::to_string(&key["id"]).unwrap();
        let mut header = member("alg", signer.alg());
        header.extend(member("kid", &id));
        if self.0.bool() {
            header.extend(member("typ", self.pick(&["\"JWT\"", "\"at+jwt\"", "7", "null"])));
        }
        let mut claims = self.dates(&key["scoped_tokens"], now);
        let mut leaves = key.clone();
        // A token is sent by browsers, whatever the kind of its key.
        leaves["kind"] = "publishable".into();
        self.narrow(&mut claims, &mut leaves);
        for (name, _) in [("cty", 0), ("jwk", 1)] {
            if self.one_in(8) {
                header.extend(member(name, r#"{"kty":"oct","k":"AA"}"#));
            }
        }
        let mut more: Vec<Vec<u8>> = Vec::new();
        if self.one_in(4) {
            more.push(self.pick(&UNKNOWN).into());
        }
        match flaw {
            Some(Flaw::Alg) => {
                header[0].1 = self
                    .pick(&[
                        "\"none\"",
                        "\"None\"",
                        "\"hs256\"",
                        "\"HS384\"",
                        "\"RS256\"",
                        "\"ES256\"",
                        "\"Ed25519\"",
                        "\"eddsa\"",
                        "\"\"",
                        "null",
                        "256",
                        "[\"HS256\"]",
                    ])
                    .to_owned();
            }
            Some(Flaw::Kid) => {
                header[1].1 = self
                    .pick(&[
                        "\"key.0\"",
                        "\"key.1\"",
                        "\"key.2\"",
                        "\"key.9\"",
                        "\"KEY.0\"",
                        "\"\"",
                        "null",
                        "0",
                    ])
                    .to_owned();
            }
            Some(Flaw::Crit) => header.extend(member("crit", self.pick(&["[\"exp\"]", "[]", "null", "\"b64\""]))),
            Some(Flaw::NoMember) => {
                let list = if self.0.bool() { &mut header } else { &mut claims };
                list.remove(self.0.usize(..2));
            }
            Some(Flaw::Number) => {
                let number = self.pick(&ODD_NUMBERS);
                let name = self.pick(&["exp", "iat", "nbf"]);
                claims.retain(|(other, _)| *other != quoted(name));
                claims.extend(member(name, number));
            }
            Some(Flaw::Subject) => {
                let (name, longest) = [("sub", 256), ("filter", 1024)][self.0.usize(..2)];
                let text = match self.pick(&SUBJECTS) {
                    "LONGEST" => "s".repeat(longest),
                    "TOO LONG" => "s".repeat(longest + 1),
                    text => text.to_owned(),
                };
                let value = if self.one_in(6) {
                    self.pick(&NO_LISTS).to_owned()
                } else {
                    format!("\"{text}\"")
                };
                claims.retain(|(other, _)| *other != quoted(name));
                claims.extend(member(name, &value));
            }
            Some(Flaw::List) => {
                let name = self.pick(&["origins", "ips", "scopes", "indexes"]);
                let value = self.pick(&NO_LISTS);
                claims.retain(|(other, _)| *other != quoted(name));
                claims.extend(member(name, value));
            }
            Some(Flaw::Entry) => {
                let (name, entry) = match self.0.u32(..5) {
                    0 => ("scopes", self.pick(&NO_SCOPES).to_owned()),
                    _ => match self.list_entry() {
                        ("allowed_origins", entry) => ("origins", entry),
                        ("allowed_ips", entry) => ("ips", entry),
                        other => other,
                    },
                };
                claims.retain(|(other, _)| *other != quoted(name));
                claims.extend(member(name, &serde_json::to_string(&[entry]).unwrap()));
            }
            Some(Flaw::Depth) => {
                let depth = [125, 126, 127, 128, 200][self.0.usize(..5)];
                more.push(format!("\"deep\":{}{}", "[".repeat(depth), "]".repeat(depth)).into());
            }
            _ => {}
        }
        if flaw == Some(Flaw::Length) {
            return (self.token_of_length(&header, claims, &signer), leaves);
        }
        self.0.shuffle(&mut header);
        self.0.shuffle(&mut claims);
        let mut header = self.object(&header, &[]);
        let mut claims = self.object(&claims, &more);
        if matches!(flaw, Some(Flaw::Broken | Flaw::NoObject)) {
            let part = if self.0.bool() { &mut header } else { &mut claims };
            if flaw == Some(Flaw::Broken) {
                part.pop();
                part.extend([b"," as &[u8], self.pick(&BROKEN), b"}"].concat());
            } else {
                match self.0.u32(..4) {
                    0 => part.extend(b" {}"),
                    1 => *part = [b"[", &part[..], b"]"].concat(),
                    2 => *part = [b"\n", &part[..]].concat(),
                    _ => *part = self.pick(&[b"{}" as &[u8], b"null", b"", b"{", b"\"{}\""]).to_vec(),
                }
            }
        }
        let token = self.compact(header, claims, &signer, flaw);
        (token, leaves)
    }

    /// Something that the key has, where it has something.
    fn signer(&mut self, key: &Value, flaw: Option<Flaw>) -> Signer {
        let settings = &key["scoped_tokens"];
        let own = strings(&settings["secrets"]);
        let public_keys = settings["public_keys"].as_array().into_iter().flatten();
        let public: Vec<&str> = public_keys.filter_map(|jwk| jwk["x"].as_str()).collect();
        if flaw == Some(Flaw::PublicKeyAsSecret) && !public.is_empty() {
            let public = self.pick(&public);
            let bytes = URL_SAFE_NO_PAD.decode(public).unwrap_or_default();
            return Signer::Secret(if self.0.bool() { bytes } else { public.into() });
        }
        let known = pairs().iter().filter(|(_, x)| public.contains(&&x[..]));
        let mut signers: Vec<Signer> = known.map(|(pair, _)| Signer::Pair(pair)).collect();
        signers.extend(
            own.iter()
                .filter_map(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .map(Signer::Secret),
        );
        if signers.is_empty() || flaw == Some(Flaw::OtherSigner) {
            signers = pairs().iter().map(|(pair, _)| Signer::Pair(pair)).collect();
            signers.extend(secrets().iter().cloned().map(Signer::Secret));
        }
        signers.swap_remove(self.0.usize(..signers.len()))
    }

    /// `exp` and `iat`, and perhaps `nbf`, near what the key takes. `now` is in seconds.
    fn dates(&mut self, settings: &Value, now: i64) -> Members {
        let most = settings["max_lifetime_seconds"].as_f64().unwrap_or(86400.0) as i64;
        let mut lifetime = [1, 20, 60, 300, most, most][self.0.usize(..6)].min(most);
        let mut iat = now - self.0.i64(0..=lifetime.min(600));
        let mut half = "";
        match self.0.u32(..16) {
            // Expired, some just now.
            0 | 1 => iat = now - lifetime - self.0.i64(0..3),
            2 => iat = now + self.0.i64(58..63),
            3 => lifetime = most + 1,
            // It ends before it was issued, and after now.
            4 => (iat, lifetime) = (now + 30, -20),
            // Around the date before which nothing counts, or half a second off.
            5 | 6 => {
                let revoked = settings["not_before"].as_str().unwrap_or(DATES[0]);
                iat = unix_seconds(revoked) + self.0.i64(-1..2);
                half = self.pick(&["", ".5"]);
            }
            _ => {}
        }
        let mut dates = Vec::new();
        dates.extend(member("exp", &self.date(iat + lifetime)));
        let iat = if half.is_empty() {
            self.date(iat)
        } else {
            format!("{iat}{half}")
        };
        dates.extend(member("iat", &iat));
        if self.one_in(4) {
            let nbf = now + self.0.i64(-20..5);
            dates.extend(member("nbf", &self.date(nbf)));
        }
        dates
    }

    /// A number in one of its forms, or half a second off.
    fn date(&mut self, seconds: i64) -> String {
        match self.0.u32(..16) {
            0 => format!("{seconds}.0"),
            1 => format!("{}.5", seconds - i64::from(self.0.bool())),
            2 => format!("{seconds}E0"),
            3 if seconds > 0 => format!("{}.{}e1", seconds / 10, seconds % 10),
            _ => seconds.to_string(),
        }
    }

    /// Claims that narrow the key or are wider than it, and what is left of it.
    fn narrow(&mut self, claims: &mut Members, leaves: &mut Value) {
        if self.0.bool() {
            claims.extend(member(
                "sub",
                &quoted(self.pick(&["u1", "u2", "u-3@a.test", "10.0.0.1"])),
            ));
        }
        if self.one_in(3) {
            claims.extend(member(
                "filter",
                &quoted(self.pick(&["tenant=7", "a;b,c:d", "{\\\"a\\\":1}"])),
            ));
        }
        for (claim, field) in [
            ("origins", "allowed_origins"),
            ("ips", "allowed_ips"),
            ("scopes", "scopes"),
            ("indexes", "indexes"),
        ] {
            if !self.one_in(4) {
                continue;
            }
            let own: Vec<String> = strings(&leaves[field]).iter().map(|one| one.to_string()).collect();
            let least = usize::from(["origins", "ips"].contains(&claim));
            let count = self.0.usize(least..4);
            let entries: Vec<String> = (0..count)
                .map(|_| match own.len() {
                    0 => self.entry_of(claim),
                    _ if self.one_in(3) => self.entry_of(claim),
                    count => own[self.0.usize(..count)].clone(),
                })
                .collect();
            claims.extend(member(claim, &serde_json::to_string(&entries).unwrap()));
            if self.0.bool() || own.is_empty() {
                leaves[field] = entries.into();
            }
        }
    }

    /// An entry of a key's list, or what one might take for it, and the list.
    pub fn list_entry(&mut self) -> (&'static str, String) {
        let (field, claim, wrong) = [
            ("allowed_origins", "origins", &NO_ORIGINS[..]),
            ("allowed_ips", "ips", &NO_NETWORKS),
            ("indexes", "indexes", &NO_INDEXES),
        ][self.0.usize(..3)];
        let mut entry = match self.0.u32(..4) {
            0 => self.pick(wrong).into(),
            _ => self.entry_of(claim).into_bytes(),
        };
        if self.one_in(2) {
            self.spoil(&mut entry);
        }
        (field, String::from_utf8_lossy(&entry).into_owned())
    }

    fn entry_of(&mut self, claim: &str) -> String {
        match claim {
            "origins" => self.pattern(),
            "ips" => self.network(),
            "scopes" => self.pick(&["s0", "s1", "s2"]).to_owned(),
            _ => self.pick(&super::policies::INDEXES).to_owned(),
        }
    }

    /// The members, sometimes with white space, and the others behind them.
    fn object(&mut self, members: &Members, more: &[Vec<u8>]) -> Vec<u8> {
        let space = if self.one_in(8) { " \t\r\n" } else { "" };
        let members = members
            .iter()
            .map(|(name, value)| format!("{space}{name}{space}:{space}{value}{space}"));
        let parts: Vec<Vec<u8>> = members.map(String::into_bytes).chain(more.iter().cloned()).collect();
        [b"{", &parts.join(&b","[..])[..], b"}"].concat()
    }

    /// Signed, and in its compact form.
    fn compact(&mut self, header: Vec<u8>, claims: Vec<u8>, signer: &Signer, flaw: Option<Flaw>) -> Vec<u8> {
        let spoilt = self.0.usize(..3);
        let mut part = |at: usize, bytes: &[u8]| {
            let mut text = URL_SAFE_NO_PAD.encode(bytes).into_bytes();
            match flaw.filter(|_| at == spoilt) {
                Some(Flaw::Padding) => text.extend(self.pick(&[b"=" as &[u8], b"==", b"A", b"AA"])),
                Some(Flaw::LastBits) => {
                    // Whether these bits say something depends on the length.
                    if let Some(last) = text.last_mut() {
                        *last = next_in_alphabet(*last);
                    }
                }
                Some(Flaw::Alphabet) => {
                    for byte in &mut text {
                        *byte = match *byte {
                            b'-' => b'+',
                            b'_' => b'/',
                            other => other,
                        };
                    }
                }
                _ => {}
            }
            text
        };
        let (header, claims) = (part(0, &header), part(1, &claims));
        let mut token = [header, claims].join(&b'.');
        let mut signature = signer.sign(&token);
        if flaw == Some(Flaw::BitOfSignature) {
            let at = part_of(&token, signature.len());
            signature[at] ^= 1 << (token.len() % 8);
        }
        if flaw == Some(Flaw::LengthOfSignature) {
            match token.len() % 4 {
                0 => signature.clear(),
                1 => signature.push(0),
                2 => signature.extend(signature.clone()),
                _ => drop(signature.pop()),
            }
        }
        let signature = part(2, &signature);
        token.extend([b".", &signature[..]].concat());
        match flaw {
            Some(Flaw::Alg) if self.0.bool() => {
                // As tokens without a signature are written.
                let signed = token.iter().rposition(|byte| *byte == b'.').unwrap();
                token.truncate(signed + 1);
            }
            Some(Flaw::Parts) => match self.0.u32(..5) {
                0 => token.extend(b"."),
                1 => token.extend(b".."),
                2 => token.extend(b".AA.AA"),
                3 => {
                    token = token
                        .split(|byte| *byte == b'.')
                        .take(2)
                        .collect::<Vec<_>>()
                        .join(&b'.')
                }
                _ => token = [b".", &token[..]].concat(),
            },
            Some(Flaw::Spoilt) => self.spoil(&mut token),
            Some(Flaw::Fixed) => token = self.pick(&[WEAK, NOT_CANONICAL]).into(),
            _ => {}
        }
        token
    }

    /// The longest token, or the longest key of a policy without tokens, or one byte more.
    fn token_of_length(&mut self, header: &Members, claims: Members, signer: &Signer) -> Vec<u8> {
        let wanted = [4096, 4096, 4097, 512, 513][self.0.usize(..5)];
        let mut longest = Vec::new();
        // Base64 has three of four lengths, so the header may have to help.
        for spaces in 0..4 {
            let mut header = header.clone();
            header.extend(member("x", &quoted(&"x".repeat(spaces))));
            let header = self.object(&header, &[]);
            let mut filler = 0;
            loop {
                let mut claims = claims.clone();
                claims.extend(member("x", &quoted(&"x".repeat(filler))));
                let claims = self.object(&claims, &[]);
                let parts = [&header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
                let of_signature = if signer.alg() == "\"HS256\"" { 43 } else { 86 };
                let length = parts[0].len() + parts[1].len() + of_signature + 2;
                if length >= wanted {
                    longest = self.compact(header.clone(), claims, signer, None);
                    break;
                }
                filler += ((wanted - length) / 2).max(1);
            }
            if longest.len() == wanted {
                break;
            }
        }
        longest
    }
}

fn member(name: &str, value: &str) -> Members {
    vec![(quoted(name), value.to_owned())]
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// Somewhere in the signature.
fn part_of(token: &[u8], length: usize) -> usize {
    token.iter().map(|byte| usize::from(*byte)).sum::<usize>() % length
}

fn next_in_alphabet(byte: u8) -> u8 {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = ALPHABET.iter().position(|other| *other == byte).unwrap_or(0);
    ALPHABET[(at + 1) % ALPHABET.len()]
}
