//! Texts that are written where a raw key should be: a placeholder that a template should have replaced, a key in quotes, another hash.
//!
//! Such a text would work as a key, and many people know it. A random key must not be refused as one, so each form is narrow: no key of
//! base64, base62 or hex digits has it, and of random printable ASCII fewer than one in a million.

use super::diagnostic::{DiagnosticKind, Message};
use super::key_source::KeySource;

/// Why a text is not a raw key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// `${NAME}`, `{{ name }}`, `$secret://name`, `<your-key>`: nothing has replaced it.
    Placeholder,
    /// The text begins and ends with the same quotation mark.
    Quoted,
    /// A hash other than `sha256:` and 64 hex digits.
    OtherHash,
}

impl DiagnosticKind for Mistake {
    fn message(&self) -> Message {
        match self {
            Self::Placeholder => Message::error(
                "this is a placeholder that nothing has filled in, and its text would be the key",
                "fill it in before the policy is loaded, or write the key's sha256: form",
            ),
            Self::Quoted => Message::error("the quotes would be part of the key", "write the key without them"),
            Self::OtherHash => Message::error(
                "only sha256: marks a hash; the text of any other would itself be the key",
                "write the SHA-256 of the raw key as sha256: and 64 hex digits, as keyfence hash prints it",
            ),
        }
    }
}

/// A warning about a raw key that can be used.
#[derive(Debug, Clone, Copy)]
pub enum RawKeyWarning {
    /// The key itself is in the configuration.
    InConfiguration,
    /// The key may be a digest whose `sha256:` is missing.
    BareDigest,
    /// The key is short enough to be guessed.
    Short {
        /// Its length.
        bytes: usize,
    },
    /// The key changes when it is written into a query unencoded.
    EncodedInQuery,
}

impl DiagnosticKind for RawKeyWarning {
    fn message(&self) -> Message {
        match self {
            Self::InConfiguration => Message::warning(
                "anybody who reads this configuration, or Envoy's config_dump, can use the key",
                "write its sha256: form, as keyfence hash prints it",
            ),
            Self::BareDigest => Message::warning(
                "64 hex digits may be a digest without its sha256:, and would then be the key themselves",
                "write sha256: before a digest; for a key, write its sha256: form, as keyfence hash prints it",
            ),
            Self::Short { bytes } => Message::warning(
                format!("{bytes} bytes can be guessed"),
                "make a new key with keyfence keygen",
            ),
            Self::EncodedInQuery => Message::warning(
                "a URL's query has another meaning for +, %, &, # and spaces, so this key must be encoded there",
                "have clients encode it, + as %2B, or make a new key with keyfence keygen",
            ),
        }
    }
}

/// The warnings about a raw key, wherever it is written. `sources` are those in which requests carry it.
pub fn warnings(text: &str, sources: &[KeySource]) -> impl Iterator<Item = RawKeyWarning> {
    /// A raw key of fewer bytes is worth a warning.
    const SHORT: usize = 16;
    let bytes = text.len();
    let in_query = sources.iter().any(|source| matches!(source, KeySource::Query(_)));
    [
        (bytes < SHORT, RawKeyWarning::Short { bytes }),
        (in_query && changes_in_a_query(text), RawKeyWarning::EncodedInQuery),
    ]
    .into_iter()
    .filter_map(|(applies, warning)| applies.then_some(warning))
}

/// Tells whether a text has a certain form.
type Test = fn(&str) -> bool;

/// Why `text` is not a raw key, or `None` if it may be one.
pub fn mistake(text: &str) -> Option<Mistake> {
    const FORMS: [(Test, Mistake); 3] = [
        (is_placeholder, Mistake::Placeholder),
        (is_quoted, Mistake::Quoted),
        (is_other_hash, Mistake::OtherHash),
    ];
    FORMS
        .into_iter()
        .find(|(has_form, _)| has_form(text))
        .map(|(_, mistake)| mistake)
}

/// Whether `text` is a hex digest of 256 bits; a file name may follow it, as `sha256sum` prints one.
pub fn is_bare_digest(text: &str) -> bool {
    let (digest, rest) = text.split_at_checked(64).unwrap_or((text, ""));
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) && (rest.is_empty() || rest.starts_with(' '))
}

/// Whether `text` begins with `scheme`, in any case, and white space, as the value of an `Authorization` header does.
pub fn begins_with_scheme(text: &str, scheme: &str) -> bool {
    text.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(scheme) && rest.starts_with(|c: char| c.is_ascii_whitespace())
    })
}

/// Whether a query that has this text unencoded means another text (URL standard, `application/x-www-form-urlencoded`).
fn changes_in_a_query(text: &str) -> bool {
    text.contains(['+', '%', '&', '#', ' '])
}

/// Characters that placeholders have in them and around them.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/')
}

/// Whether the text has only words and placeholders, and at least one placeholder.
fn is_placeholder(text: &str) -> bool {
    if is_reference(text) {
        return true;
    }
    let (mut rest, mut before, mut found) = (text, None, false);
    while let Some(first) = rest.chars().next() {
        let after = after_variable(rest).or_else(|| after_name(before, rest));
        found |= after.is_some();
        rest = match after {
            Some(after) => after,
            None if is_word(first) => rest.get(first.len_utf8()..).unwrap_or_default(),
            None => return false,
        };
        before = Some(first);
    }
    found
}

/// Whether the text refers to a key in a secret store: `$secret://name`, `{vault://name}`, `op://vault/item`.
fn is_reference(text: &str) -> bool {
    let inner = match text.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}').unwrap_or_default(),
        None => text.strip_prefix('$').unwrap_or(text),
    };
    inner.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-'))
            && !rest.is_empty()
    })
}

/// If `text` begins with a variable, returns the rest after it.
fn after_variable(text: &str) -> Option<&str> {
    /// How a variable begins and ends, and which names it takes.
    const FORMS: [(&str, &str, Test); 4] = [
        ("${{", "}}", is_expression),
        ("{{", "}}", is_expression),
        ("${", "}", is_variable),
        ("$(", ")", is_variable),
    ];
    for (open, close, fits) in FORMS {
        if let Some((name, after)) = text.strip_prefix(open).and_then(|rest| rest.split_once(close))
            && fits(name)
        {
            return Some(after);
        }
    }
    // A variable of a shell.
    let name = text.strip_prefix('$')?;
    let end = name
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .unwrap_or(name.len());
    let (name, after) = name.split_at_checked(end)?;
    (name.len() > 2 && name.contains('_') && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(after)
}

/// As in `{{ .Values.apiKey | quote }}`.
fn is_expression(text: &str) -> bool {
    !text.contains(['{', '}']) && text.contains(|c: char| c.is_ascii_alphabetic())
}

/// As in `${API_KEY:-none}` and `${env:API_KEY}`.
fn is_variable(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| is_word(c) || matches!(c, '?' | '='))
}

/// If `text` begins with a name in angle brackets, as in `<your-api-key>`, returns the rest after it. The characters on both sides must
/// be separators; `before` is the one on the left.
fn after_name(before: Option<char>, text: &str) -> Option<&str> {
    let is_separator = |neighbour: Option<char>| neighbour.is_none_or(|c| matches!(c, '_' | '-' | '.' | ' '));
    let (name, after) = text.strip_prefix('<')?.split_once('>')?;
    let is_name = name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.' | ' '));
    (is_name && is_separator(before) && is_separator(after.chars().next())).then_some(after)
}

/// Between straight quotation marks only characters of common key alphabets count: random printable keys may have such a mark at both
/// ends.
fn is_quoted(text: &str) -> bool {
    let inner = |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let is_key = |inner: &str| inner.chars().all(|c| is_word(c) || matches!(c, '+' | '=' | '~'));
    ['"', '\'', '`']
        .into_iter()
        .any(|mark| inner(mark, mark).is_some_and(is_key))
        || [('\u{201C}', '\u{201D}'), ('\u{2018}', '\u{2019}')]
            .into_iter()
            .any(|(open, close)| inner(open, close).is_some())
}

/// Names of hashes and key derivations, in lower case and without `-` and `_`.
const HASHES: [&str; 31] = [
    "md4",
    "md5",
    "sha",
    "sha1",
    "sha2",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha512256",
    "sha3",
    "sha3224",
    "sha3256",
    "sha3384",
    "sha3512",
    "ssha",
    "ssha256",
    "ssha512",
    "hmacsha256",
    "blake2b",
    "blake2s",
    "blake3",
    "bcrypt",
    "bcryptsha256",
    "scrypt",
    "argon2",
    "argon2i",
    "argon2d",
    "argon2id",
    "pbkdf2",
    "pbkdf2sha256",
];

/// Whether the text is `sha512:…`, `md5=…`, `pbkdf2_sha256$…`, `{SSHA}…`, or of the form of crypt(5): `$2y$10$…`.
fn is_other_hash(text: &str) -> bool {
    let is_hash = |name: &str| {
        let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        HASHES.iter().any(|hash| plain.eq_ignore_ascii_case(hash))
    };
    let named = text.split_once([':', '=', '$']).is_some_and(|(name, _)| is_hash(name));
    let of_ldap = text
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
        .is_some_and(|(name, _)| is_hash(name) || name.eq_ignore_ascii_case("crypt"));
    named || of_ldap || is_crypt(text, is_hash)
}

fn is_crypt(text: &str, is_hash: impl Fn(&str) -> bool) -> bool {
    let Some((id, rest)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
        return false;
    };
    match id {
        "2" | "2a" | "2b" | "2x" | "2y" => {
            let cost = rest.split('$').next().unwrap_or_default();
            cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit())
        }
        "1" | "5" | "6" | "7" | "y" | "gy" | "apr1" => {
            rest.len() >= 20
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'$' | b'='))
        }
        _ => is_hash(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_place_of_a_key() {
        use Mistake::*;
        for (text, expected) in [
            ("${KEYFENCE_API_KEY}", Some(Placeholder)),
            ("${apiKey}", Some(Placeholder)),
            ("${env:API_KEY}", Some(Placeholder)),
            ("${var.api_key}", Some(Placeholder)),
            ("${API_KEY:-none}", Some(Placeholder)),
            ("Bearer ${KEYFENCE_BACKEND_API_KEY}", Some(Placeholder)),
            ("ak_live_${API_KEY}", Some(Placeholder)),
            ("${PREFIX}_${API_KEY}", Some(Placeholder)),
            ("$(API_KEY)", Some(Placeholder)),
            ("$API_KEY", Some(Placeholder)),
            ("${{ secrets.API_KEY }}", Some(Placeholder)),
            ("{{ .Values.apiKey }}", Some(Placeholder)),
            ("{{- .Values.apiKey | quote -}}", Some(Placeholder)),
            ("{{ lookup('env', \"KEY\") }}", Some(Placeholder)),
            ("ak_{{key}}", Some(Placeholder)),
            ("$secret://vault/1/keyfence/key", Some(Placeholder)),
            ("$env://API_KEY", Some(Placeholder)),
            ("{vault://secret/data/keyfence#key}", Some(Placeholder)),
            ("op://vault/keyfence/key", Some(Placeholder)),
            ("ref+vault://secret/keyfence#/key", Some(Placeholder)),
            ("<your-api-key>", Some(Placeholder)),
            ("<YOUR_API_KEY>", Some(Placeholder)),
            ("<api key>", Some(Placeholder)),
            ("ak_live_<your key>", Some(Placeholder)),
            ("\"ak_live_0123456789\"", Some(Quoted)),
            ("'ak_live_0123456789'", Some(Quoted)),
            ("`dGhlIGtleQ+/==`", Some(Quoted)),
            ("\u{201C}ak_live_0123456789\u{201D}", Some(Quoted)),
            ("sha512:0123", Some(OtherHash)),
            ("SHA-512:0123", Some(OtherHash)),
            ("sha-256:0123", Some(OtherHash)),
            ("sha256=0123", Some(OtherHash)),
            ("md5:0123", Some(OtherHash)),
            ("pbkdf2_sha256$600000$salt$hash", Some(OtherHash)),
            (
                "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
                Some(OtherHash),
            ),
            (
                "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
                Some(OtherHash),
            ),
            ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", Some(OtherHash)),
            ("$6$saltsalt$0123456789abcdef0123456789", Some(OtherHash)),
            ("$apr1$saltsalt$0123456789abcdef0123456789", Some(OtherHash)),
            ("$pbkdf2-sha256$29000$salt$hash", Some(OtherHash)),
            ("{SSHA}0123456789", Some(OtherHash)),
            ("{CRYPT}0123456789", Some(OtherHash)),
        ] {
            assert_eq!(mistake(text), expected, "{text}");
        }
    }

    #[test]
    fn a_key_is_not_taken_for_anything_else() {
        for key in [
            "ak_live_0123456789abcdef",
            "keyfence_5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5",
            "dGhlIGtleSBpcyB/bm90+aGVyZQ==",
            "a<b>c",
            "k<3wDq8}Zx$mP1{vT",
            "$a7Kq9{Lm2}Xp4<Rt>",
            "p$2y$10$k",
            "$5$short",
            "$abc$def$ghi",
            "$Key9",
            "${}",
            "{}",
            "{{}}",
            "<>",
            "<a9b8c7>",
            "x<ab>y",
            "eU6macaF<dYxzoMsTsiZ>",
            "$1a{b}",
            "a://b",
            "Qz://k7",
            "\"half",
            "'it's",
            "'p4$$w!rd'",
            "\"",
            "shark:one",
            "one two three four",
            "ключ-ключ-ключ",
            "",
        ] {
            assert_eq!(mistake(key), None, "{key}");
        }
    }

    /// Keys of every printable character, of bases that generators use, and of the lengths that keys have.
    #[test]
    fn no_random_key_is_taken_for_anything_else() {
        let all: Vec<char> = (' '..='~').filter(|c| *c != ' ' && *c != ',').collect();
        let base64: Vec<char> = ('A'..='Z')
            .chain('a'..='z')
            .chain('0'..='9')
            .chain(['+', '/', '='])
            .collect();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % below
        };
        for _ in 0..200_000 {
            let alphabet = if random(2) == 0 { &all } else { &base64 };
            let length = 20 + random(45);
            let key: String = (0..length).map(|_| alphabet[random(alphabet.len())]).collect();
            assert_eq!(mistake(&key), None, "{key}");
        }
    }

    #[test]
    fn a_digest_without_its_prefix() {
        let digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
        for (text, expected) in [
            (digest.to_owned(), true),
            (digest.to_uppercase(), true),
            (format!("{digest}  -"), true),
            (format!("{digest}0"), false),
            (format!("keyfence_{digest}"), false),
            (digest[1..].to_owned(), false),
            ("g".repeat(64), false),
        ] {
            assert_eq!(is_bare_digest(&text), expected, "{text}");
        }
    }
}
