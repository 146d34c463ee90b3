//! Scoped tokens (spec, section 16): from a credential, the policy and the clock to the key and the claims, or to the code of the refusal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, signature};
use serde_json::{Map, Value};

use super::decision::{key_id, strings, unix_seconds};
use super::json::{self, Json};
use super::{addresses, origins, paths};

const INVALID: &str = "invalid_scoped_token";
const EXPIRED: &str = "scoped_token_expired";

/// Whether any key has `scoped_tokens`.
pub fn are_known(policy: &Value) -> bool {
    let mut keys = policy["keys"].as_array().into_iter().flatten();
    keys.any(|key| key["scoped_tokens"].is_object())
}

/// The form of a JWT: 3 parts, or the 5 of an encrypted one, the first of which is a JSON object's beginning. JSON may have white space before
/// it (RFC 8259, section 2).
pub fn has_form(credential: &[u8]) -> bool {
    let parts: Vec<&[u8]> = credential.split(|byte| *byte == b'.').collect();
    let is_of_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_=".contains(byte);
    let begins = |part: &[u8]| match part {
        [one, two, ..] => URL_SAFE_NO_PAD
            .decode([*one, *two, b'A', b'A'])
            .is_ok_and(|bytes| b"{ \t\n\r".contains(&bytes[0])),
        _ => false,
    };
    [3, 5].contains(&parts.len()) && parts.iter().all(|part| part.iter().all(is_of_part)) && begins(parts[0])
}

/// The key that the token is narrowed from, and those of its claims that narrow or tell something. `now` is in seconds.
pub fn verified<'p>(policy: &'p Value, token: &str, now: i64) -> Result<(&'p Value, Value), &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or(INVALID)?;
    let (header, claims) = signed.split_once('.').ok_or(INVALID)?;
    let header = object(header).ok_or(INVALID)?;
    let claims = object(claims).ok_or(INVALID)?;
    let signature = decoded(signature).ok_or(INVALID)?;

    let (Some(Json::Text(alg)), None) = (get(&header, "alg"), get(&header, "crit")) else {
        return Err(INVALID);
    };
    if !["HS256", "EdDSA", "Ed25519"].contains(&&alg[..]) {
        return Err(INVALID);
    }
    let exp = seconds(&claims, "exp")?.ok_or(INVALID)?;
    let iat = seconds(&claims, "iat")?.ok_or(INVALID)?;
    let nbf = seconds(&claims, "nbf")?;
    // Half a second is cut so that the token is valid rather shorter. Taken: what has expired has, whatever the policy says of the rest.
    let now = now as f64;
    if exp.floor() <= now {
        return Err(EXPIRED);
    }

    let Some(Json::Text(kid)) = get(&header, "kid") else {
        return Err(INVALID);
    };
    let mut keys = policy["keys"].as_array().into_iter().flatten();
    let key = keys.find(|key| key_id(key) == kid && key["scoped_tokens"].is_object());
    let key = key.ok_or(INVALID)?;
    let settings = &key["scoped_tokens"];
    if exp.floor() - iat > settings["max_lifetime_seconds"].as_f64().unwrap_or(86400.0) {
        return Err(INVALID);
    }
    // Taken: of the number as it is written, for what was issued half a second earlier was issued earlier.
    let revoked = settings["not_before"].as_str().map(unix_seconds);
    if revoked.is_some_and(|date| iat < date as f64) {
        return Err(INVALID);
    }
    // Taken: a clock that is a minute ahead is ahead with both dates.
    if [Some(iat), nbf]
        .into_iter()
        .flatten()
        .any(|date| date.ceil() > now + 60.0)
    {
        return Err(INVALID);
    }
    let is_right = match &alg[..] {
        "HS256" => strings(&settings["secrets"])
            .iter()
            .any(|secret| hs256(&decoded(secret).unwrap(), signed.as_bytes(), &signature)),
        _ => settings["public_keys"].as_array().into_iter().flatten().any(|jwk| {
            ed25519(
                &decoded(jwk["x"].as_str().unwrap()).unwrap(),
                signed.as_bytes(),
                &signature,
            )
        }),
    };
    if !is_right {
        return Err(INVALID);
    }
    narrowing(policy, &claims).map(|claims| (key, claims)).ok_or(INVALID)
}

type Members = Vec<(String, Json)>;

/// A part of the token that is a JSON object with no name twice.
fn object(part: &str) -> Option<Members> {
    let Some(Json::Object(members)) = json::parse(&decoded(part)?) else {
        return None;
    };
    let is_once = |name: &String| members.iter().filter(|(other, _)| other == name).count() == 1;
    members.iter().all(|(name, _)| is_once(name)).then_some(members)
}

fn get<'m>(members: &'m Members, name: &str) -> Option<&'m Json> {
    members.iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Base64url without padding, in the one way that these bytes are written.
pub fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A date among the claims.
fn seconds(claims: &Members, name: &str) -> Result<Option<f64>, &'static str> {
    match get(claims, name) {
        None => Ok(None),
        Some(Json::Number(number)) => Ok(Some(*number)),
        Some(_) => Err(INVALID),
    }
}

fn hs256(secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed, signature).is_ok()
}

fn ed25519(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let verifies = || {
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
        key.verify(signed, signature).is_ok()
    };
    signature.len() == 64 && !is_of_small_order(key) && !is_of_small_order(&signature[..32]) && verifies()
}

/// The points of order 1, 2, 4 and 8 in all their encodings, less the bit for the sign of x: a signature under one fits any text.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn is_of_small_order(point: &[u8]) -> bool {
    let mut point = point.to_vec();
    if let Some(last) = point.last_mut() {
        *last &= 0x7f;
    }
    let hex: String = point.iter().map(|byte| format!("{byte:02x}")).collect();
    SMALL_ORDER.contains(&&hex[..])
}

/// Whether a key's list takes the entry.
type IsEntry<'a> = &'a dyn Fn(&str) -> bool;

/// The claims that the decision reads. `None`: one of them is wrong.
fn narrowing(policy: &Value, claims: &Members) -> Option<Value> {
    let mut narrowing = Map::new();
    for (name, longest) in [("sub", 256), ("filter", 1024)] {
        let Some(claim) = get(claims, name) else { continue };
        let Json::Text(text) = claim else { return None };
        let is_visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if text.is_empty() || text.len() > longest || !is_visible {
            return None;
        }
        narrowing.insert(name.to_owned(), text.clone().into());
    }
    let is_scope = |name: &str| policy["scopes"].get(name).is_some();
    let lists: [(&str, IsEntry<'_>, bool); 4] = [
        ("origins", &origins::is_pattern, false),
        ("ips", &addresses::is_network, false),
        ("scopes", &is_scope, true),
        ("indexes", &paths::is_index, true),
    ];
    for (name, is_entry, may_be_empty) in lists {
        let Some(claim) = get(claims, name) else { continue };
        let Json::List(items) = claim else { return None };
        let entry = |item: &Json| match item {
            Json::Text(text) if is_entry(text) => Some(Value::from(text.clone())),
            _ => None,
        };
        let entries: Vec<Value> = items.iter().map(entry).collect::<Option<_>>()?;
        if entries.is_empty() && !may_be_empty {
            return None;
        }
        narrowing.insert(name.to_owned(), entries.into());
    }
    Some(narrowing.into())
}

#[cfg(test)]
pub mod tests {
    use super::{URL_SAFE_NO_PAD, decoded, ed25519, has_form, hs256, verified};
    use base64::Engine;
    use ring::hmac;
    use serde_json::{Value, json};

    /// The bytes from 0 to 31, and from 0 to 99.
    pub const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const LONG: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5fYGFiYw";
    /// Of the private key of 32 zeros.
    const PUBLIC: &str = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik";
    const IDENTITY: &str = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const NOW: i64 = 1_800_000_100;

    fn policy() -> Value {
        let jwk = |x: &str| json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        json!({
            "scopes": {"s0": []},
            "keys": [
                {"id": "key.0", "scoped_tokens": {"secrets": [LONG, SECRET], "public_keys": [jwk(PUBLIC)]}},
                {"id": "minute", "scoped_tokens": {"secrets": [SECRET], "max_lifetime_seconds": 60}},
                {"id": "new", "scoped_tokens": {"secrets": [SECRET], "not_before": "2027-01-15T08:01:00Z"}},
                {"id": "public", "scoped_tokens": {"public_keys": [jwk(PUBLIC)]}},
                {"id": "weak", "scoped_tokens": {"public_keys": [jwk(IDENTITY)]}},
                {"id": "plain", "api_key": "k"},
            ],
        })
    }

    fn result(token: &str) -> String {
        match verified(&policy(), token, NOW) {
            Ok((key, claims)) => format!("{} {claims}", key["id"].as_str().unwrap()),
            Err("invalid_scoped_token") => "invalid".to_owned(),
            Err("scoped_token_expired") => "expired".to_owned(),
            Err(code) => code.to_owned(),
        }
    }

    /// Made by Python's hmac and its package cryptography, with 30 minutes from 1,800,000,000.
    #[test]
    fn others_tokens() {
        let header = "eyJhbGciOiJFZERTQSIsImtpZCI6ImtleS4wIn0";
        let claims = "eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMTgwMH0";
        let eddsa = |signature: &str| format!("{header}.{claims}.{signature}");
        let cases = [
            (
                "HS256",
                "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtleS4wIiwidHlwIjoiSldUIn0.eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMTgwMCwic3ViIjoidTEiLCJmaWx0ZXIiOiJ0ZW5hbnQ9NyJ9.NkD6fmFre_I-OFN9Qtl6sZ-8Cc_VY2fLZA0dxk_b8AY".to_owned(),
                r#"key.0 {"filter":"tenant=7","sub":"u1"}"#,
            ),
            (
                "a secret longer than a block",
                "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtleS4wIn0.eyJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMTgwMH0.qeSNslt0pjfHFuwtajKI8LPE98Io0N2vTXJEkplA2zM".to_owned(),
                "key.0 {}",
            ),
            ("EdDSA", eddsa("LiqVxRCIXx843ByyB05MjBiODPD51O1Sx8D4Uec_PaAVaqeDtW7c5SPJWG6w6ahzQR6pzXmTNKsFGP24_LpuCw"), "key.0 {}"),
            ("S is not below the order", eddsa("LiqVxRCIXx843ByyB05MjBiODPD51O1Sx8D4Uec_PaACPp3gz9HuPfplUBGP44eIQR6pzXmTNKsFGP24_LpuGw"), "invalid"),
            ("R is the neutral element", eddsa("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABvJJ3FTX3zncQwlRB_dLCTFbXhJ9tKokISghpDtmk0BA"), "invalid"),
        ];
        for (name, token, expected) in cases {
            assert_eq!(result(&token), expected, "{name}");
        }
        // Under the neutral element as the key, this signature fits any text.
        let weak = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"weak"}"#);
        let zeros = "A".repeat(43);
        assert_eq!(
            result(&format!("{weak}.{claims}.{}{zeros}", &IDENTITY[..43])),
            "invalid"
        );
    }

    /// RFC 8037, appendix A.4.
    #[test]
    fn ed25519_of_the_rfc() {
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let key = decoded("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert!(ed25519(&key, signed.as_bytes(), &decoded(signature).unwrap()));
        assert!(!ed25519(&key, &signed.as_bytes()[1..], &decoded(signature).unwrap()));
    }

    /// RFC 7515, appendix A.1.
    #[test]
    fn hs256_of_the_rfc() {
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let signature = decoded("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert!(hs256(&decoded(key).unwrap(), signed.as_bytes(), &signature));
        assert!(!hs256(&decoded(key).unwrap(), signed.as_bytes(), &signature[..31]));
    }

    #[test]
    fn form() {
        for (credential, has) in [
            ("ey.a.b", true),
            ("ew..", true),
            ("e_.a=.b==", true),
            ("e0....", true),
            ("ey.a.b.c", false),
            ("ey.a", false),
            ("ey", false),
            ("e.a.b", false),
            ("ev.a.b", false),
            ("Iy.a.b", false),
            (".ey.a", false),
            ("ey.a+.b", false),
            ("ey.a/.b", false),
            ("ey.a .b", false),
            ("ey.a.b ", false),
            ("ey.a.\u{e9}", false),
            ("", false),
        ] {
            assert_eq!(has_form(credential.as_bytes()), has, "{credential}");
        }
    }

    pub fn signed(secret: &str, header: &str, claims: &str) -> String {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = parts.join(".");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &decoded(secret).unwrap());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        format!("{text}.{signature}")
    }

    #[test]
    fn headers() {
        const CLAIMS: &str = r#"{"iat":1800000000,"exp":1800000300}"#;
        for (header, expected) in [
            (r#"{"alg":"HS256","kid":"key.0"}"#, "key.0 {}"),
            (
                r#"{"kid":"key.0","typ":7,"cty":null,"jwk":{"a":1,"a":2},"alg":"HS256"}  "#,
                "key.0 {}",
            ),
            (r#"{"alg":"HS256","kid":"plain"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"public"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.9"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"KEY.0"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":0}"#, "invalid"),
            (r#"{"alg":"HS256"}"#, "invalid"),
            (r#"{"kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"EdDSA","kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"Ed25519","kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"none","kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"hs256","kid":"key.0"}"#, "invalid"),
            (r#"{"alg":["HS256"],"kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0","crit":["exp"]}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0","crit":[]}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0","crit":null}"#, "invalid"),
            (r#"{"alg":"HS256","alg":"HS256","kid":"key.0"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0","\u006bid":"key.0"}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0","x":1,"x":1}"#, "invalid"),
            (r#"{"alg":"HS256","kid":"key.0"}}"#, "invalid"),
            (r#"["alg","HS256"]"#, "invalid"),
        ] {
            assert_eq!(result(&signed(SECRET, header, CLAIMS)), expected, "{header}");
        }
    }

    #[test]
    fn claims() {
        let long = |count: usize| "s".repeat(count);
        let nested = |depth: usize| {
            format!(
                r#""iat":1800000000,"exp":1800000300,"x":{}{}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        let of_good = |more: &str| format!(r#""iat":1800000000,"exp":1800000300,{more}"#);
        let subject = of_good(&format!(r#""sub":"{}""#, long(256)));
        let cases: Vec<(&str, String, String)> = vec![
            // Dates. Now is 1,800,000,100.
            (
                "key.0",
                r#""iat":1800000000,"exp":1800000101"#.into(),
                "key.0 {}".into(),
            ),
            ("key.0", r#""iat":1800000000,"exp":1800000100"#.into(), "expired".into()),
            (
                "key.0",
                r#""iat":1800000000,"exp":1800000100.9"#.into(),
                "expired".into(),
            ),
            (
                "key.0",
                r#""iat":1800000000,"exp":1.800000101e9"#.into(),
                "key.0 {}".into(),
            ),
            (
                "key.0",
                r#""iat":1800000160,"exp":1800000161"#.into(),
                "key.0 {}".into(),
            ),
            (
                "key.0",
                r#""iat":1800000160.1,"exp":1800000161"#.into(),
                "invalid".into(),
            ),
            ("key.0", r#""iat":1800000161,"exp":1800000162"#.into(), "invalid".into()),
            ("key.0", r#""iat":1800000161,"exp":1800000000"#.into(), "expired".into()),
            (
                "key.0",
                r#""iat":1800000150,"exp":1800000120"#.into(),
                "key.0 {}".into(),
            ),
            (
                "key.0",
                r#""iat":1800000000,"exp":1800086400"#.into(),
                "key.0 {}".into(),
            ),
            (
                "key.0",
                r#""iat":1800000000,"exp":1800086400.5"#.into(),
                "key.0 {}".into(),
            ),
            ("key.0", r#""iat":1799913600,"exp":1800000000"#.into(), "expired".into()),
            ("key.0", r#""iat":1799913599,"exp":1800000000"#.into(), "expired".into()),
            ("key.0", r#""iat":-1,"exp":0"#.into(), "expired".into()),
            (
                "key.0",
                r#""iat":1800000000,"exp":9223372036854775808"#.into(),
                "invalid".into(),
            ),
            ("key.0", r#""iat":1800000000,"exp":1e400"#.into(), "invalid".into()),
            ("key.0", r#""iat":1800000000"#.into(), "invalid".into()),
            ("key.0", r#""exp":1800000300"#.into(), "invalid".into()),
            (
                "key.0",
                r#""iat":"1800000000","exp":1800000300"#.into(),
                "invalid".into(),
            ),
            ("key.0", r#""iat":null,"exp":1800000300"#.into(), "invalid".into()),
            ("key.0", of_good(r#""nbf":1800000100"#), "key.0 {}".into()),
            ("key.0", of_good(r#""nbf":1800000160"#), "key.0 {}".into()),
            ("key.0", of_good(r#""nbf":1800000160.5"#), "invalid".into()),
            ("key.0", of_good(r#""nbf":1800000161"#), "invalid".into()),
            ("key.0", of_good(r#""nbf":-1e300"#), "key.0 {}".into()),
            ("key.0", of_good(r#""nbf":-1e400"#), "invalid".into()),
            ("key.0", of_good(r#""nbf":null"#), "invalid".into()),
            (
                "key.0",
                r#""iat":1800000000,"exp":1800000050,"nbf":1800000161"#.into(),
                "expired".into(),
            ),
            (
                "minute",
                r#""iat":1800000099.5,"exp":1800000159.5"#.into(),
                "minute {}".into(),
            ),
            (
                "minute",
                r#""iat":1800000099.5,"exp":1800000159.75"#.into(),
                "minute {}".into(),
            ),
            ("new", r#""iat":1800000060,"exp":1800000300"#.into(), "new {}".into()),
            ("new", r#""iat":1800000059,"exp":1800000300"#.into(), "invalid".into()),
            ("new", r#""iat":1800000059.5,"exp":1800000300"#.into(), "invalid".into()),
            // Names.
            ("key.0", of_good(r#""exp":1800000300"#), "invalid".into()),
            ("key.0", of_good(r#""\u0065xp":1800000300"#), "invalid".into()),
            ("key.0", of_good(r#""x":1,"x":1"#), "invalid".into()),
            (
                "key.0",
                of_good(r#""x":{"y":1,"y":1},"aud":null,"jti":7,"Sub":"a b""#),
                "key.0 {}".into(),
            ),
            ("key.0", nested(126), "key.0 {}".into()),
            ("key.0", nested(127), "invalid".into()),
            // What is told.
            (
                "key.0",
                of_good(r#""sub":"u\u0031~!","filter":"a=1;b"#.to_owned().as_str()) + "\"",
                r#"key.0 {"filter":"a=1;b","sub":"u1~!"}"#.into(),
            ),
            ("key.0", subject.clone(), format!(r#"key.0 {{"sub":"{}"}}"#, long(256))),
            ("key.0", subject.replace("ss\"", "sss\""), "invalid".into()),
            ("key.0", of_good(r#""sub":"""#), "invalid".into()),
            ("key.0", of_good(r#""sub":"a b""#), "invalid".into()),
            ("key.0", of_good(r#""sub":"\u007f""#), "invalid".into()),
            ("key.0", of_good(r#""sub":"ä""#), "invalid".into()),
            ("key.0", of_good(r#""sub":7"#), "invalid".into()),
            ("key.0", of_good(r#""sub":null"#), "invalid".into()),
            (
                "key.0",
                of_good(&format!(r#""filter":"{}""#, long(1025))),
                "invalid".into(),
            ),
            ("key.0", of_good(r#""filter":"""#), "invalid".into()),
            ("key.0", of_good(r#""filter":["a"]"#), "invalid".into()),
            // A wrong claim of an expired token.
            (
                "key.0",
                r#""iat":1800000000,"exp":1800000050,"sub":7"#.into(),
                "expired".into(),
            ),
            // What is narrowed.
            (
                "key.0",
                of_good(r#""origins":["https://a.test","null","*"]"#),
                r#"key.0 {"origins":["https://a.test","null","*"]}"#.into(),
            ),
            ("key.0", of_good(r#""origins":[]"#), "invalid".into()),
            ("key.0", of_good(r#""origins":"https://a.test""#), "invalid".into()),
            ("key.0", of_good(r#""origins":["https://a.test/"]"#), "invalid".into()),
            ("key.0", of_good(r#""origins":["https://a.test",1]"#), "invalid".into()),
            ("key.0", of_good(r#""origins":null"#), "invalid".into()),
            (
                "key.0",
                of_good(r#""ips":["10.0.0.0/8","::1"]"#),
                r#"key.0 {"ips":["10.0.0.0/8","::1"]}"#.into(),
            ),
            ("key.0", of_good(r#""ips":[]"#), "invalid".into()),
            ("key.0", of_good(r#""ips":["10.0.0.1/8"]"#), "invalid".into()),
            (
                "key.0",
                of_good(r#""scopes":["s0","s0"]"#),
                r#"key.0 {"scopes":["s0","s0"]}"#.into(),
            ),
            (
                "key.0",
                of_good(r#""scopes":[],"indexes":[]"#),
                r#"key.0 {"indexes":[],"scopes":[]}"#.into(),
            ),
            ("key.0", of_good(r#""scopes":["s1"]"#), "invalid".into()),
            (
                "key.0",
                of_good(r#""indexes":["p","p-*","*"]"#),
                r#"key.0 {"indexes":["p","p-*","*"]}"#.into(),
            ),
            ("key.0", of_good(r#""indexes":[""]"#), "invalid".into()),
            ("key.0", of_good(r#""indexes":["a*b"]"#), "invalid".into()),
        ];
        for (kid, members, expected) in cases {
            let header = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
            let token = signed(SECRET, &header, &format!("\t{{{members}}}\n"));
            assert_eq!(result(&token), expected, "{members}");
        }
        for claims in [
            "",
            "[]",
            "null",
            "{",
            "{}",
            "\u{feff}{\"iat\":1800000000,\"exp\":1800000300}",
        ] {
            let token = signed(SECRET, r#"{"alg":"HS256","kid":"key.0"}"#, claims);
            assert_eq!(result(&token), "invalid", "{claims}");
        }
    }

    #[test]
    fn text() {
        const HEADER: &str = r#"{"alg":"HS256","kid":"key.0"}"#;
        let good = signed(SECRET, HEADER, r#"{"iat":1800000000,"exp":1800000300}"#);
        let old = signed(SECRET, HEADER, r#"{"iat":1800000000,"exp":1800000050}"#);
        let (signed_text, _) = good.rsplit_once('.').unwrap();
        // 32 bytes end in four bits of their last character, two of which say nothing.
        let last = good.chars().last().unwrap();
        let bits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let next = bits.chars().nth(bits.find(last).unwrap() + 1).unwrap();
        let not_canonical = format!("{}{next}", &good[..good.len() - 1]);
        for (name, token, expected) in [
            ("good", good.clone(), "key.0 {}"),
            (
                "of the other secret",
                signed(LONG, HEADER, r#"{"iat":1800000000,"exp":1800000300}"#),
                "key.0 {}",
            ),
            (
                "of no secret of the key",
                signed(PUBLIC, HEADER, r#"{"iat":1800000000,"exp":1800000300}"#),
                "invalid",
            ),
            ("padded", format!("{good}="), "invalid"),
            ("other bits", not_canonical, "invalid"),
            ("no signature", format!("{signed_text}."), "invalid"),
            ("two parts", signed_text.to_owned(), "invalid"),
            ("four parts", format!("{good}.AA"), "invalid"),
            ("five parts", format!("{good}.AA.AA"), "invalid"),
            ("a line behind it", format!("{good}\n"), "invalid"),
            ("expired", old.clone(), "expired"),
            (
                "expired, no signature",
                format!("{}.", old.rsplit_once('.').unwrap().0),
                "expired",
            ),
            ("expired, padded", format!("{old}="), "invalid"),
        ] {
            assert_eq!(result(&token), expected, "{name}");
        }
    }
}
