//! `scoped_tokens`: what verifies the tokens that a backend narrows from a key.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey;
use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::node::Node;
use super::read::{Fields, whole_number, wrong_type_unshown};
use super::timestamp::Timestamp;

/// What verifies the tokens of a key. At least one secret or public key.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = complete_schema)
)]
pub struct ScopedTokens {
    /// For tokens with `HS256`, each as base64url of 32 bytes or more. Several, so that they can be rotated.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub secrets: Vec<TokenSecret>,
    /// For tokens with `EdDSA`: JSON Web Keys of the curve Ed25519 (RFC 8037). Several, so that they can be rotated.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<JwkSchema>"))]
    pub public_keys: Vec<PublicKey>,
    /// The most seconds between a token's `iat` and its `exp`.
    pub max_lifetime_seconds: u32,
    /// Tokens that were issued earlier are refused.
    pub not_before: Option<Timestamp>,
}

/// A secret that signs and verifies tokens (RFC 7518, section 3.2). Its bytes are in no message.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(Box<[u8]>);

impl TokenSecret {
    /// The hash's size, the least that RFC 7518, section 3.2, allows.
    const SHORTEST: usize = 32;
    const LONGEST: usize = 1024;

    /// Decodes the base64url text of a secret.
    pub fn parse(text: &str) -> Result<TokenSecret, ScopedTokensError> {
        let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_| ScopedTokensError::NotBase64Url)?;
        match bytes.len() {
            Self::SHORTEST..=Self::LONGEST => Ok(TokenSecret(bytes.into())),
            bytes => Err(ScopedTokensError::SecretLength { bytes }),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// HMAC with this secret, which takes one of any length.
    pub fn hmac(&self) -> Option<Hmac<Sha256>> {
        Hmac::new_from_slice(&self.0).ok()
    }

    /// Whether a text of at most half the length, repeated, makes the secret. Such a secret can be guessed.
    fn is_guessable(&self) -> bool {
        let repeats = |length: usize| {
            self.0
                .iter()
                .zip(self.0.iter().skip(length))
                .all(|(one, other)| one == other)
        };
        (1..=self.0.len() / 2).any(repeats)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(_)")
    }
}

/// A public key that verifies tokens (RFC 8032, Ed25519).
#[derive(Debug, Clone, PartialEq)]
pub struct PublicKey(pub VerifyingKey);

impl PublicKey {
    /// Decodes the `x` of a JSON Web Key (RFC 8037, section 2).
    pub fn parse(x: &str) -> Result<PublicKey, ScopedTokensError> {
        let mut bytes = [0; 32];
        match Base64UrlUnpadded::decode(x, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => {}
            _ => return Err(ScopedTokensError::PublicKey),
        }
        // A point of small order verifies signatures that nobody made.
        let key = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak());
        key.map(PublicKey).ok_or(ScopedTokensError::PublicKey)
    }
}

/// The most secrets, and the most public keys, that a key may have. A rotation takes two, and a forged token costs the time of each.
const MAX_ENTRIES: usize = 3;

/// What is wrong with `scoped_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopedTokensError {
    /// It has neither secrets nor public keys.
    Nothing,
    /// There are more than [`MAX_ENTRIES`].
    TooMany,
    /// A secret is not base64url.
    NotBase64Url,
    /// A secret has too few or too many bytes.
    SecretLength {
        /// Its length.
        bytes: usize,
    },
    /// `kty`, `crv`, `use`, `alg` or `key_ops` says that the JSON Web Key is for something else.
    OtherKey,
    /// The JSON Web Key has the private part.
    PrivateKey,
    /// `x` is not a public key.
    PublicKey,
    /// `max_lifetime_seconds` is not a whole number in the range.
    Lifetime,
    /// `identity_header` is `null`.
    NoIdentityHeader,
    /// A secret is a public key.
    PublicSecret,
    /// A secret repeats itself.
    Guessable,
    /// A secret or a public key is in its list twice.
    Duplicate,
}

impl DiagnosticKind for ScopedTokensError {
    fn message(&self) -> Message {
        match self {
            Self::Nothing => Message::error(
                "no token can be verified without a secret or a public key",
                "add secrets or public_keys, or take scoped_tokens out",
            ),
            Self::TooMany => Message::error(
                format!("there may be at most {MAX_ENTRIES}"),
                "take those out with which no token is signed any more",
            ),
            Self::NotBase64Url => Message::error(
                "a secret must be base64url without padding (RFC 4648, section 5)",
                "write - for +, _ for /, and no = at the end",
            ),
            Self::SecretLength { bytes } => Message::error(
                format!(
                    "a secret must have {} to {} bytes when it is decoded, and this has {bytes}",
                    TokenSecret::SHORTEST,
                    TokenSecret::LONGEST
                ),
                "make one of 32 random bytes, written as base64url",
            ),
            Self::OtherKey => Message::error(
                "it must be a JSON Web Key for Ed25519 signatures (RFC 8037)",
                r#"write it as {"kty": "OKP", "crv": "Ed25519", "x": "…"}; use, alg and key_ops may be left out"#,
            ),
            Self::PrivateKey => Message::error(
                "d is the private key: whoever has it can make tokens",
                "take d out; make a new pair if others have seen this configuration",
            ),
            Self::PublicKey => Message::error(
                "x must be the 32 bytes of an Ed25519 public key as base64url without padding",
                "copy x from the key's JSON Web Key",
            ),
            Self::Lifetime => Message::error(
                "must be a whole number from 1 to 4294967295",
                "write the most seconds that a token may be valid, as in 3600",
            ),
            Self::NoIdentityHeader => Message::error(
                "without identity_header the upstream cannot tell which key the filter and the subject of a token are for",
                "take identity_header: null out, or scoped_tokens",
            ),
            Self::PublicSecret => Message::error(
                "this is the x of a public key, which is no secret: whoever knows it could make tokens",
                "take it out; public_keys alone verify tokens with EdDSA",
            ),
            Self::Guessable => Message::warning(
                "a secret that repeats itself can be guessed",
                "make one of 32 random bytes, written as base64url",
            ),
            Self::Duplicate => Message::warning("it is in the list already", "take one of them out"),
        }
    }
}

/// Without `max_lifetime_seconds`, a token is valid for a day at most.
const DEFAULT_LIFETIME: u32 = 86_400;

/// Reads the value of `scoped_tokens`.
pub fn read_scoped_tokens(
    node: Node<'_>,
    has_identity_header: bool,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ScopedTokens> {
    if !has_identity_header {
        diagnostics.add_bare(path, &ScopedTokensError::NoIdentityHeader);
    }
    let errors_before = diagnostics.error_count();
    let mut fields = Fields::of(node, path, diagnostics)?;
    let secrets = read_list("secrets", &mut fields, path, diagnostics, read_secret);
    let public_keys = read_list("public_keys", &mut fields, path, diagnostics, read_public_key);
    let lifetime = fields.node("max_lifetime_seconds", diagnostics);
    let not_before = fields.take("not_before", diagnostics);
    fields.finish(diagnostics);
    let max_lifetime_seconds = lifetime.map_or(DEFAULT_LIFETIME, |node| {
        let lifetime = whole_number(&node).filter(|&seconds| seconds > 0);
        lifetime.unwrap_or_else(|| {
            diagnostics.add(&path.field("max_lifetime_seconds"), &node, &ScopedTokensError::Lifetime);
            DEFAULT_LIFETIME
        })
    });
    for (index, secret) in secrets.iter().enumerate() {
        let at = path.field("secrets");
        if public_keys
            .iter()
            .any(|key| key.0.as_bytes().as_slice() == secret.bytes())
        {
            diagnostics.add_bare(&at, &ScopedTokensError::PublicSecret);
        }
        if secret.is_guessable() {
            diagnostics.add_bare(&at, &ScopedTokensError::Guessable);
        }
        if secrets.iter().take(index).any(|earlier| earlier == secret) {
            diagnostics.add_bare(&at, &ScopedTokensError::Duplicate);
        }
    }
    for (index, key) in public_keys.iter().enumerate() {
        if public_keys.iter().take(index).any(|earlier| earlier == key) {
            diagnostics.add_bare(&path.field("public_keys"), &ScopedTokensError::Duplicate);
        }
    }
    // After an error a list may be empty because it could not be read.
    if secrets.is_empty() && public_keys.is_empty() && diagnostics.error_count() == errors_before {
        diagnostics.add_bare(path, &ScopedTokensError::Nothing);
    }
    Some(ScopedTokens {
        secrets,
        public_keys,
        max_lifetime_seconds,
        not_before,
    })
}

/// Reads one item of a list, which is at the path.
type ReadItem<T> = fn(Node<'_>, &ConfigPath<'_>, &mut Diagnostics) -> Option<T>;

fn read_list<T>(
    name: &'static str,
    fields: &mut Fields<'_, '_>,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
    read_item: ReadItem<T>,
) -> Vec<T> {
    let path = path.field(name);
    match fields.node(name, diagnostics) {
        None => Vec::new(),
        Some(Node::List(items)) if items.len() > MAX_ENTRIES => {
            diagnostics.add_bare(&path, &ScopedTokensError::TooMany);
            Vec::new()
        }
        Some(Node::List(items)) => {
            let items = items.into_iter().enumerate();
            items
                .filter_map(|(index, item)| read_item(item, &path.item(index), diagnostics))
                .collect()
        }
        Some(other) => wrong_type_unshown(&other, "a list", &path, diagnostics).unwrap_or_default(),
    }
}

/// Diagnostics do not show the secret.
fn read_secret(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<TokenSecret> {
    let Node::Text(text) = node else {
        return wrong_type_unshown(&node, "a string", path, diagnostics);
    };
    let secret = TokenSecret::parse(&text);
    secret.map_err(|error| diagnostics.add_bare(path, &error)).ok()
}

/// Whether a member of a JSON Web Key, `None` if there is none, is that of an Ed25519 signature key.
type IsExpected = fn(Option<&Node<'_>>) -> bool;

fn is_text(node: Option<&Node<'_>>, values: &[&str]) -> bool {
    matches!(node, Some(Node::Text(value)) if values.contains(&&**value))
}

/// Reads a JSON Web Key. Members that are not for the curve or the use are ignored (RFC 7517, section 4).
fn read_public_key(node: Node<'_>, path: &ConfigPath<'_>, diagnostics: &mut Diagnostics) -> Option<PublicKey> {
    let mut fields = Fields::of(node, path, diagnostics)?;
    if fields.node("d", diagnostics).is_some() {
        diagnostics.add_bare(&path.field("d"), &ScopedTokensError::PrivateKey);
        return None;
    }
    const EXPECTED: [(&str, IsExpected); 5] = [
        ("kty", |node| is_text(node, &["OKP"])),
        ("crv", |node| is_text(node, &["Ed25519"])),
        ("use", |node| node.is_none() || is_text(node, &["sig"])),
        ("alg", |node| node.is_none() || is_text(node, &["EdDSA", "Ed25519"])),
        ("key_ops", |node| match node {
            None => true,
            Some(Node::List(items)) => items.iter().any(|item| is_text(Some(item), &["verify"])),
            Some(_) => false,
        }),
    ];
    for (name, is_expected) in EXPECTED {
        if !is_expected(fields.node(name, diagnostics).as_ref()) {
            diagnostics.add_bare(&path.field(name), &ScopedTokensError::OtherKey);
            return None;
        }
    }
    // It is not shown: somebody may have written d for x.
    let at = path.field("x");
    let Node::Text(x) = fields.require("x", diagnostics)? else {
        diagnostics.add_bare(&at, &ScopedTokensError::PublicKey);
        return None;
    };
    let key = PublicKey::parse(&x);
    key.map_err(|error| diagnostics.add_bare(&at, &error)).ok()
}

/// Completes the derived schema of `scoped_tokens`.
#[cfg(feature = "schema")]
fn complete_schema(schema: &mut schemars::Schema) {
    super::json_schema::optional_fields(schema);
    schema.insert(
        "anyOf".into(),
        serde_json::json!([
            {"required": ["secrets"], "properties": {"secrets": {"minItems": 1}}},
            {"required": ["public_keys"], "properties": {"public_keys": {"minItems": 1}}},
        ]),
    );
    if let Some(properties) = super::json_schema::properties(schema) {
        if let Some(secrets) = properties.get_mut("secrets") {
            secrets["maxItems"] = MAX_ENTRIES.into();
            // 32 bytes are 43 characters, and 1,024 are 1,366.
            secrets["items"] = serde_json::json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{43,1366}$"});
        }
        if let Some(keys) = properties.get_mut("public_keys") {
            keys["maxItems"] = MAX_ENTRIES.into();
        }
        if let Some(lifetime) = properties.get_mut("max_lifetime_seconds") {
            lifetime["minimum"] = 1.into();
            lifetime["default"] = DEFAULT_LIFETIME.into();
        }
    }
}

/// The schema of a public key.
#[cfg(feature = "schema")]
struct JwkSchema;

#[cfg(feature = "schema")]
super::json_schema::impl_schema!(JwkSchema, "PublicKey", _generator => schemars::json_schema!({
    "type": "object",
    "description": "A JSON Web Key (RFC 8037). Members that are not listed here are ignored.",
    "properties": {
        "kty": {"const": "OKP"},
        "crv": {"const": "Ed25519"},
        "x": {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$"},
        "use": {"const": "sig"},
        "alg": {"enum": ["EdDSA", "Ed25519"]},
        "key_ops": {"type": "array", "contains": {"const": "verify"}},
        "d": false,
    },
    "required": ["kty", "crv", "x"],
}));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets() {
        use ScopedTokensError::*;
        let a = "A".repeat(43);
        for (name, text, expected) in [
            ("32 zero bytes", a.clone(), Ok(32)),
            ("33 bytes", "A".repeat(44), Ok(33)),
            ("1,024 bytes", "A".repeat(1366), Ok(1024)),
            ("1,025 bytes", "A".repeat(1367), Err(SecretLength { bytes: 1025 })),
            ("24 bytes", "A".repeat(32), Err(SecretLength { bytes: 24 })),
            ("empty", String::new(), Err(SecretLength { bytes: 0 })),
            ("padding", format!("{a}="), Err(NotBase64Url)),
            ("base64 with +", format!("+{}", &a[1..]), Err(NotBase64Url)),
            ("base64 with /", format!("/{}", &a[1..]), Err(NotBase64Url)),
            ("bits behind the last byte", format!("{}B", &a[1..]), Err(NotBase64Url)),
            ("a placeholder", format!("${{{a}}}"), Err(NotBase64Url)),
            ("white space", format!("{a}\n"), Err(NotBase64Url)),
        ] {
            let found = TokenSecret::parse(&text).map(|secret| secret.bytes().len());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn public_keys() {
        for (name, x, expected) in [
            // RFC 8037, appendix A.2.
            ("a public key", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", true),
            ("31 bytes", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ", false),
            ("33 bytes", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURoA", false),
            ("padding", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=", false),
            (
                "the neutral element",
                "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                false,
            ),
            ("small order", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false),
            ("not on the curve", "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false),
        ] {
            assert_eq!(PublicKey::parse(x).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = TokenSecret::parse(&"Q".repeat(43 - 1).chars().chain(['A']).collect::<String>()).unwrap();
        assert_eq!(format!("{secret:?}"), "TokenSecret(_)");
    }
}
