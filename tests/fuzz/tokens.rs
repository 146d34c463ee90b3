//! Scoped tokens. Blocks, with an empty line between them, are requests to policies that share what is remembered. A block's lines:
//!
//! 1. up to seven characters, `0` where there are fewer: policy, who signs, where the token is carried, three for one change of the token (of
//!    which kind, where, to what), and the seconds that pass before
//! 2. the source address, the method and the path, with spaces between
//! 3. the header of the token in JSON, or only its `kid`; or `=` and the whole token as it is
//! 4. the claims in JSON, or what is to follow good times; not there for a whole token
//! 5. and further: headers as `name: value`

#![no_main]

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyfence_core::config::api_key::KeyDigest;
use keyfence_core::config::key::Enforcement;
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::address::SourceAddress;
use keyfence_core::decision::client::Client;
use keyfence_core::decision::cors::AllowOrigin;
use keyfence_core::decision::rate::{RateStatus, peek};
use keyfence_core::decision::request::Head;
use keyfence_core::decision::scoped_token::Verdict;
use keyfence_core::decision::token_cache::{PolicyId, TokenCache};
use keyfence_core::decision::token_error::TokenError;
use keyfence_core::decision::{
    Effect, HeaderMutation, Outcome, Refusal, RequestContext, Unavailable, decide, upstream,
};
use keyfence_core::policy::{Key, Policy};
use libfuzzer_sys::fuzz_target;
use reference::spec::upstreams::folded;
use reference::token::{OTHER_SECRET, OTHER_SEED, SECRET, SEED, Signer, base64url, jwk_x, public_key, token};
use serde_json::Value;
use sha2::{Digest, Sha256};

const NOW: i64 = 1_800_000_000;

/// A policy as it is written, and two that are compiled of it: as it is, and with a publishable key beside the tokens of each key.
struct Compiled {
    written: Value,
    policy: Policy,
    with_keys: Policy,
}

static POLICIES: OnceLock<Vec<Compiled>> = OnceLock::new();

fn policies() -> Vec<Compiled> {
    let load = |written: &Value| {
        let loaded = Policy::load(written.to_string().as_bytes(), Timestamp(NOW)).expect("the policies are right");
        loaded.policy
    };
    let compile = |mut written: Value| {
        for key in written["keys"].as_array_mut().unwrap() {
            if key.get("scoped_tokens").is_none() {
                key["api_key"] = raw_key(key["id"].as_str().unwrap()).into();
            }
        }
        let mut with_keys = written.clone();
        for key in with_keys["keys"].as_array_mut().unwrap() {
            key["api_key"] = raw_key(key["id"].as_str().unwrap()).into();
            key["kind"] = "publishable".into();
        }
        Compiled {
            policy: load(&written),
            with_keys: load(&with_keys),
            written,
        }
    };
    let written = reference::policies(include_str!("tokens.json"));
    written.into_iter().map(compile).collect()
}

fn raw_key(id: &str) -> String {
    format!("a-raw-key-of-{id}")
}

/// Who signs a token, and with what the policy verifies it.
#[derive(Clone, Copy)]
struct By {
    by: Signer,
    /// A secret, or the `x` of a public key. `None`: the policy has none.
    verified_with: Option<&'static str>,
}

const SIGNERS: u8 = 6;

/// The last takes the public key, which everybody knows, for a secret.
fn signer(number: u8) -> By {
    static SIGNED: OnceLock<[By; SIGNERS as usize]> = OnceLock::new();
    let leaked = |text: String| Some(&*text.leak());
    let signers = SIGNED.get_or_init(|| {
        [
            (Signer::Secret(SECRET), leaked(base64url(SECRET))),
            (Signer::Secret(OTHER_SECRET), leaked(base64url(OTHER_SECRET))),
            (Signer::Seed(SEED), leaked(jwk_x(SEED))),
            (Signer::Seed(OTHER_SEED), leaked(jwk_x(OTHER_SEED))),
            (Signer::Nobody, None),
            (Signer::Secret(public_key(SEED).leak()), None),
        ]
        .map(|(by, verified_with)| By { by, verified_with })
    });
    signers[usize::from(number % SIGNERS)]
}

impl By {
    fn alg(self) -> &'static str {
        match self.by {
            Signer::Secret(_) => "HS256",
            Signer::Seed(_) => "EdDSA",
            Signer::Nobody => "none",
        }
    }

    /// Whether a header's `alg` is this signer's.
    fn is_named(self, alg: &Value) -> bool {
        *alg == self.alg() || *alg == "Ed25519" && matches!(self.by, Signer::Seed(_))
    }

    /// Whether the tokens of the key `id` are verified with this signer's.
    fn signs_for(self, policy: &Value, id: &str) -> bool {
        let settings = settings(policy, id);
        self.verified_with
            .is_some_and(|text| settings.is_some_and(|settings| settings.to_string().contains(text)))
    }
}

/// Where requests come from, when, and what is remembered of tokens, if anything is.
struct Around<'t> {
    source: &'t str,
    now: i64,
    policy: PolicyId,
    tokens: Option<&'t RefCell<TokenCache>>,
}

impl RequestContext for Around<'_> {
    fn source_address(&self) -> Result<SourceAddress, Unavailable> {
        Ok(SourceAddress::parse(self.source.as_bytes()))
    }

    fn now(&self) -> Result<Timestamp, Unavailable> {
        Ok(Timestamp(self.now))
    }

    fn good_token(&self, text: &str, now: Timestamp) -> Option<Verdict> {
        self.tokens?.borrow_mut().good(self.policy, text, now)
    }

    fn bad_token(&self, digest: &KeyDigest, now: Timestamp) -> Option<Verdict> {
        self.tokens?.borrow_mut().bad(self.policy, digest, now)
    }

    fn remember_token(&self, text: &str, digest: KeyDigest, verdict: &Verdict) {
        if let Some(tokens) = self.tokens {
            tokens.borrow_mut().insert(self.policy, text, digest, verdict);
        }
    }

    fn admit(&self, _: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        Ok(peek(None, limit, 1_000))
    }

    fn peek(&self, _: Option<&Key>, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }

    fn admit_client(&self, _: Option<&Key>, _: &Client, limit: NonZeroU32) -> Result<RateStatus, Refusal> {
        Ok(peek(None, limit, 1_000))
    }

    fn peek_client(&self, _: Option<&Key>, _: &Client, limit: NonZeroU32) -> Result<RateStatus, Unavailable> {
        Ok(peek(None, limit, 1_000))
    }
}

/// What is decided, and what the upstream gets.
#[derive(Debug, PartialEq)]
struct Told {
    outcome: Outcome,
    enforcement: Enforcement,
    allow_origin: AllowOrigin,
    key: Option<String>,
    token_error: Option<TokenError>,
    /// `sub` and `filter`, where a token is good.
    claims: Option<[Option<String>; 2]>,
    /// Whom the limit of each client counts.
    client: Option<Client>,
    forwarded: Option<Lines>,
}

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// The request of one block, but for its credential.
struct Request<'b> {
    method: &'b str,
    path: &'b str,
    headers: Vec<(&'b str, &'b str)>,
    carrier: u8,
}

impl Request<'_> {
    /// All headers, with a credential where the policy looks for one.
    fn with(&self, policy: &Value, credential: &[u8]) -> Lines {
        let sources = policy["key_sources"].as_array().unwrap();
        let source = &sources[usize::from(self.carrier) % sources.len()];
        let mut path = self.path.as_bytes().to_vec();
        let carrier = match source["header"].as_str() {
            Some(name) => {
                let scheme = source["scheme"]
                    .as_str()
                    .map_or(String::new(), |scheme| format!("{scheme} "));
                Some((
                    name.to_ascii_lowercase().into_bytes(),
                    [scheme.as_bytes(), credential].concat(),
                ))
            }
            None => {
                let joint = if self.path.contains('?') { '&' } else { '?' };
                let name = source["query"].as_str().unwrap().replace(' ', "+");
                path.extend(format!("{joint}{name}=").bytes().chain(credential.iter().copied()));
                None
            }
        };
        let own = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        let pseudo = [
            own(":method", self.method.as_bytes()),
            own(":path", &path),
            own(":scheme", b"https"),
            own(":authority", b"api.test"),
        ];
        let further = self.headers.iter().map(|(name, value)| own(name, value.as_bytes()));
        pseudo.into_iter().chain(carrier).chain(further).collect()
    }

    fn is_preflight(&self) -> bool {
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| *name == wanted);
        self.method == "OPTIONS" && has("origin") && has("access-control-request-method")
    }
}

fn run(policy: &Policy, lines: &Lines, around: &Around<'_>) -> Told {
    let head = Head::read(policy, lines.iter().map(|(name, value)| (&name[..], &value[..])));
    let decision = decide(policy, &head, around);
    let forwarded = (decision.effect() == Effect::Forward).then(|| {
        let mut forwarded = lines.clone();
        upstream::apply(policy, &head, &decision, &mut |mutation| match mutation {
            HeaderMutation::Add(name, value) => forwarded.push((name.to_vec(), value.to_vec())),
            HeaderMutation::Replace(name, value) => {
                forwarded.retain(|(other, _)| other != name);
                forwarded.push((name.to_vec(), value.to_vec()));
            }
            HeaderMutation::Remove(name) => forwarded.retain(|(other, _)| other != name),
        });
        forwarded
    });
    let token = decision.token.as_deref();
    Told {
        outcome: decision.outcome,
        enforcement: decision.enforcement,
        allow_origin: decision.allow_origin,
        key: decision.key.map(|found| found.key().id().to_string()),
        token_error: decision.matched.token_error,
        claims: token.map(|token| [token.subject(), token.filter()].map(|claim| claim.map(str::to_owned))),
        client: decision.matched.client,
        forwarded,
    }
}

fuzz_target!(|data: &[u8]| {
    let policies = POLICIES.get_or_init(policies);
    let text = String::from_utf8_lossy(data);
    // Small, so that it forgets as well.
    let tokens = RefCell::new(TokenCache::with_limits(8_000, 2_000));
    let mut now = NOW;
    for block in text.split("\n\n").take(6) {
        let mut lines = block.split('\n');
        let control = lines.next().unwrap_or("").as_bytes();
        let control = |at: usize| control.get(at).map_or(0, |byte| byte.wrapping_sub(b'0'));
        let number = usize::from(control(0)) % policies.len();
        now += i64::from(control(6));
        let mut target = lines.next().unwrap_or("").splitn(3, ' ');
        let mut part = || target.next().unwrap_or("");
        let (source, method, path) = (part(), part(), part());
        let token = Made::of(signer(control(1)), now, &mut lines);
        let request = Request {
            method,
            path,
            headers: lines.filter_map(header).collect(),
            carrier: control(2),
        };
        let around = |tokens| Around {
            source,
            now,
            policy: PolicyId(number as u32),
            tokens,
        };
        let change = [control(3), control(4), control(5)];
        check(&policies[number], &request, &token, change, &around, &tokens);
    }
});

fn check<'t>(
    Compiled {
        written,
        policy,
        with_keys,
    }: &Compiled,
    request: &Request<'_>,
    token: &Made,
    change: [u8; 3],
    around: &dyn Fn(Option<&'t RefCell<TokenCache>>) -> Around<'t>,
    tokens: &'t RefCell<TokenCache>,
) {
    let lines = request.with(written, token.text.as_bytes());
    let told = run(policy, &lines, &around(None));
    // First with what earlier requests have left, then certainly remembered.
    for turn in ["from before", "from the same"] {
        let remembered = run(policy, &lines, &around(Some(tokens)));
        assert_eq!(remembered, told, "remembered {turn}: {}", token.text);
    }
    upstream_hears_the_token(&told);
    if let Some(id) = token
        .plain_for
        .as_deref()
        .filter(|id| token.signer.signs_for(written, id))
    {
        assert!(told.token_error.is_none(), "a good token for {id} is refused: {told:?}");
    }
    let Some(id) = told.key.as_deref() else { return };
    if let Some(claims) = &told.claims {
        is_right(written, id, &token.text, around(None).now, claims);
        let client = claims[0]
            .as_ref()
            .map(|sub| Client::Subject(Sha256::digest(sub).into()));
        assert!(client.is_none() || told.client.is_none() || told.client == client);
    } else if !request.is_preflight() || token.plain_for.is_none() {
        // It may be a key.
        return;
    }

    let of_key = run(with_keys, &request.with(written, raw_key(id).as_bytes()), &around(None));
    assert_eq!(of_key.key.as_deref(), Some(id));
    assert!(
        told.outcome != Outcome::Allow || of_key.outcome == Outcome::Allow,
        "what the key may not, its token may: {}\n{told:?}\n{of_key:?}",
        token.text
    );
    assert_eq!(told.allow_origin, of_key.allow_origin, "CORS is the key's");
    assert_eq!(told.enforcement, of_key.enforcement);
    if token.plain_for.is_some() {
        assert_eq!(
            told.outcome, of_key.outcome,
            "a token that narrows nothing is as its key"
        );
    }

    let other = changed(token.text.as_bytes(), change);
    if other.trim_ascii() != token.text.as_bytes() {
        let of_other = run(policy, &request.with(written, &other), &around(Some(tokens)));
        let is_refused = matches!(of_other.outcome, Outcome::Deny(reason) if reason.status() == 401);
        assert!(
            of_other.key.is_none() && of_other.claims.is_none() && (is_refused || request.is_preflight()),
            "changed: {}\n{}\n{of_other:?}",
            token.text,
            other.escape_ascii()
        );
    }
}

/// What is told of a token is its claims, in one line each, and nothing that a client says in any spelling.
fn upstream_hears_the_token(told: &Told) {
    let claims = told.claims.clone().unwrap_or_default();
    for (name, claim) in ["x-key-subject", "x-key-filter"].into_iter().zip(claims) {
        assert!(
            claim
                .iter()
                .all(|claim| !claim.is_empty() && claim.bytes().all(|b| b.is_ascii_graphic()))
        );
        let heard = told.forwarded.iter().flatten();
        let heard = heard.filter(|(other, _)| folded(other) == folded(name.as_bytes()));
        let heard: Vec<(&[u8], &[u8])> = heard.map(|(name, value)| (&name[..], &value[..])).collect();
        let expected = claim.iter().map(|claim| (name.as_bytes(), claim.as_bytes()));
        let expected: Vec<_> = expected.filter(|_| told.forwarded.is_some()).collect();
        assert_eq!(heard, expected, "{told:?}");
    }
}

/// Another library, and another reading of its parts, find that a token which was taken for good is good.
fn is_right(policy: &Value, id: &str, text: &str, now: i64, [subject, filter]: &[Option<String>; 2]) {
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let [header, claims] = [header, claims].map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).expect("it is base64url");
        serde_json::from_slice::<Value>(&json).expect("it is JSON")
    });
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("it is base64url");
    assert_eq!(header["kid"], id);
    assert!(header.get("crit").is_none());
    let is_signers = |number: &u8| {
        let signer = signer(*number);
        signer.is_named(&header["alg"])
            && signer.signs_for(policy, id)
            && signer.by.sign(signed.as_bytes()) == signature
    };
    assert!(
        (0..SIGNERS).any(|number| is_signers(&number)),
        "nobody has signed {text}"
    );
    let settings = settings(policy, id).expect("the key has tokens");
    let time = |name: &str| claims[name].as_f64();
    let (iat, exp) = (time("iat").unwrap(), time("exp").unwrap());
    assert!(exp - iat <= settings["max_lifetime_seconds"].as_f64().unwrap_or(86_400.0));
    assert!(exp > now as f64 && iat <= now as f64 + 60.0 && time("nbf").is_none_or(|nbf| nbf <= now as f64 + 60.0));
    assert!(claims.get("nbf").is_none_or(Value::is_number));
    for (name, told) in [("sub", subject), ("filter", filter)] {
        assert_eq!(
            claims.get(name),
            told.clone().map(Value::from).as_ref(),
            "{name} of {text}"
        );
    }
    for name in ["origins", "ips", "scopes", "indexes"] {
        assert!(claims.get(name).is_none_or(Value::is_array), "{name} of {text}");
    }
}

fn settings<'p>(policy: &'p Value, id: &str) -> Option<&'p Value> {
    let mut keys = policy["keys"].as_array()?.iter();
    keys.find(|key| key["id"] == id)?.get("scoped_tokens")
}

/// One byte less, one more, or another one.
fn changed(token: &[u8], [kind, at, byte]: [u8; 3]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    let mut other = token.to_vec();
    // From both ends, so that one number is the same place whatever the length.
    let at = if at % 2 == 0 {
        usize::from(at / 2)
    } else {
        token.len() - 1 - usize::from(at / 2) % token.len()
    };
    let at = at % token.len();
    match kind % 4 {
        0 => drop(other.remove(at)),
        // Nothing that ends a parameter of a query.
        1 => other.insert(at, ALPHABET[usize::from(byte) % ALPHABET.len()]),
        2 => other[at] = byte,
        _ => other[at] ^= 1 << (byte % 8),
    }
    other
}

/// The token of a block.
struct Made {
    text: String,
    signer: By,
    /// The `kid`, if the token has good times and no other claims.
    plain_for: Option<String>,
}

impl Made {
    fn of<'l>(signer: By, now: i64, lines: &mut impl Iterator<Item = &'l str>) -> Made {
        let header = lines.next().unwrap_or("");
        if let Some(whole) = header.strip_prefix('=') {
            return Made {
                text: whole.to_owned(),
                signer,
                plain_for: None,
            };
        }
        let claims = lines.next().unwrap_or("");
        let is_plain = !header.contains(['{', '"', '\\']) && claims.is_empty();
        let plain_for = is_plain.then(|| header.to_owned());
        let header = match header.strip_prefix('{') {
            Some(_) => header.to_owned(),
            None => format!(r#"{{"alg":"{}","kid":"{header}"}}"#, signer.alg()),
        };
        let claims = match claims.strip_prefix('{') {
            Some(_) => claims.to_owned(),
            None if claims.is_empty() => format!(r#"{{"iat":{now},"exp":{}}}"#, now + 60),
            None => format!(r#"{{"iat":{now},"exp":{},{claims}}}"#, now + 60),
        };
        Made {
            text: token(&header, &claims, signer.by),
            signer,
            plain_for,
        }
    }
}

/// As Envoy lets it through: a token in lower case as the name, and no line breaks in the value.
fn header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!name.is_empty() && name.bytes().all(is_token)).then_some((name, value))
}
