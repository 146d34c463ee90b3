//! Keys as the policy holds them: only ever as the SHA-256 of the raw key's bytes.

use sha2::{Digest, Sha256};

use super::key_source::KeySource;
use super::raw_key::{self, Mistake};

/// A key longer than this, in bytes, is never looked up.
pub const MAX_LENGTH: usize = 512;

/// SHA-256 of a raw key. Keys are found by it, so that comparing takes the same time however much of a guess is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub [u8; 32]);

/// One entry of `api_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKey {
    /// What the raw key's bytes hash to.
    pub digest: KeyDigest,
    /// The length in bytes of a raw key that stood in the configuration; `None` where only its hash did.
    pub raw_length: Option<usize>,
}

/// Why an entry of `api_key` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKeyError {
    /// Nothing is written.
    Empty,
    /// `sha256:` is not followed by 64 hex digits.
    BadSha256,
    /// No request could carry it: too long, control characters, white space at an end, or a comma, with which Envoy joins repeated
    /// lines.
    NotSendable,
    /// It is not a key, but what was written in its place.
    Mistake(Mistake),
    /// A key source's scheme stands before the key.
    Scheme,
}

impl KeyDigest {
    /// Of a raw key's bytes.
    pub fn of(raw: &[u8]) -> KeyDigest {
        KeyDigest(Sha256::digest(raw).into())
    }
}

impl ApiKey {
    /// Reads `sha256:<64 hex digits>`, or a raw key, which begins with the scheme of none of `sources`.
    pub fn parse(text: &str, sources: &[KeySource]) -> Result<ApiKey, ApiKeyError> {
        if text.is_empty() {
            return Err(ApiKeyError::Empty);
        }
        if let Some((prefix, hex)) = text.split_at_checked("sha256:".len())
            && prefix.eq_ignore_ascii_case("sha256:")
        {
            return Ok(ApiKey {
                digest: KeyDigest(from_hex(hex).ok_or(ApiKeyError::BadSha256)?),
                raw_length: None,
            });
        }
        if let Some(mistake) = raw_key::mistake(text) {
            return Err(ApiKeyError::Mistake(mistake));
        }
        let mut schemes = sources.iter().filter_map(KeySource::scheme);
        if schemes.any(|scheme| raw_key::begins_with_scheme(text, scheme)) {
            return Err(ApiKeyError::Scheme);
        }
        if text.len() > MAX_LENGTH || text.trim() != text || text.chars().any(|c| c.is_control() || c == ',') {
            return Err(ApiKeyError::NotSendable);
        }
        Ok(ApiKey {
            digest: KeyDigest::of(text.as_bytes()),
            raw_length: Some(text.len()),
        })
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let nibble = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let pairs: &[_; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(bytes)
}

/// `sha256:<64 hex digits>`.
impl std::fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_raw_key_and_its_hash_are_the_same_key() {
        let raw = ApiKey::parse("abc", &[]).unwrap();
        assert_eq!(raw.digest.to_string(), ABC);
        for text in [ABC.to_owned(), format!("sha256:{}", ABC[7..].to_uppercase())] {
            let hashed = ApiKey::parse(&text, &[]).unwrap();
            assert_eq!((hashed.digest, hashed.raw_length), (raw.digest, None), "{text}");
        }
    }

    #[test]
    fn the_longest_key_is_one() {
        assert_eq!(ApiKey::parse(&"k".repeat(512), &[]).unwrap().raw_length, Some(512));
    }

    #[test]
    fn keys_that_could_never_match_are_refused() {
        let long = "k".repeat(513);
        for (text, fault) in [
            ("", ApiKeyError::Empty),
            ("${API_KEY}", ApiKeyError::Mistake(Mistake::Placeholder)),
            ("Bearer abc", ApiKeyError::Scheme),
            ("bearer\tabc", ApiKeyError::Scheme),
            ("\"a key\"", ApiKeyError::Mistake(Mistake::Quoted)),
            (
                "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
                ApiKeyError::Mistake(Mistake::OtherHash),
            ),
            ("sha256:", ApiKeyError::BadSha256),
            (&ABC[..70], ApiKeyError::BadSha256),
            (&format!("{ABC}0"), ApiKeyError::BadSha256),
            (&format!("{}zz", &ABC[..69]), ApiKeyError::BadSha256),
            (&format!("{}+1", &ABC[..69]), ApiKeyError::BadSha256),
            (" key", ApiKeyError::NotSendable),
            ("key\n", ApiKeyError::NotSendable),
            ("k,ey", ApiKeyError::NotSendable),
            ("k\0ey", ApiKeyError::NotSendable),
            (&long, ApiKeyError::NotSendable),
        ] {
            assert_eq!(ApiKey::parse(text, &KeySource::by_default()), Err(fault), "{text:?}");
        }
    }
}
