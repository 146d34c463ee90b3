//! Finds the API key in a request, and finds out whether there is more than one.

use std::borrow::Cow;
use std::str;

use percent_encoding::percent_decode;

use crate::config::api_key::{KeyDigest, MAX_LENGTH};
use crate::config::token::is_token_byte;
use crate::policy::Source;

use super::headers::Headers;

/// The result of looking for an API key in every key source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'r> {
    /// No source has a key.
    Missing,
    /// There is more than one key, or the same key twice. The upstream might read another one than the filter checks.
    Ambiguous,
    /// Exactly one source has a key, once.
    One(PresentedKey<'r>),
}

/// An API key as a request presents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey<'r> {
    /// The index of its source in the policy's key sources.
    pub source: usize,
    /// The name of the header that it is in. Empty if it is in the query.
    pub header: &'r [u8],
    value: Value<'r>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'r> {
    Plain(&'r [u8]),
    /// `application/x-www-form-urlencoded`.
    Encoded(&'r [u8]),
    /// Only the digest is known: see [`PresentedKey::with_digest`].
    Digest(KeyDigest),
}

impl<'r> Credential<'r> {
    /// The key, if it is the only one.
    pub fn one(self) -> Option<PresentedKey<'r>> {
        match self {
            Credential::One(presented) => Some(presented),
            Credential::Missing | Credential::Ambiguous => None,
        }
    }

    /// Looks in `headers` and in the query of `path`, the value of `:path`.
    pub fn find<H>(sources: &[Source], headers: &Headers<H>, path: &'r [u8]) -> Self
    where
        H: Iterator<Item = (&'r [u8], &'r [u8])> + Clone,
    {
        let mut found = Credential::Missing;
        for (index, source) in sources.iter().enumerate() {
            let presented = match source {
                Source::Header { name, scheme } => in_lines(headers.alike(name.as_bytes()), scheme.as_deref(), index),
                Source::Query(name) => in_query(path, name, index),
                Source::WebSocketProtocol(prefix) => {
                    in_protocols(headers.values(WEBSOCKET_PROTOCOL), prefix.as_bytes(), index)
                }
            };
            found = match (found, presented) {
                (found, Credential::Missing) => found,
                (Credential::Missing, presented) => presented,
                _ => Credential::Ambiguous,
            };
        }
        found
    }
}

/// The key in the lines of one header. `lines` includes other spellings of the header's name, because an upstream may read the key from
/// those. Envoy joins the lines of some headers with a comma, so a comma counts as a second line.
fn in_lines<'r>(
    mut lines: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    scheme: Option<&str>,
    source: usize,
) -> Credential<'r> {
    let Some((header, first)) = lines.next() else {
        return Credential::Missing;
    };
    let mut more = lines.peekable();
    let is_repeated = more.peek().is_some() || first.contains(&b',');
    let value = match scheme {
        None => Some(first),
        Some(scheme) => {
            if is_repeated && (has_scheme(first, scheme) || more.any(|(_, line)| has_scheme(line, scheme))) {
                return Credential::Ambiguous;
            }
            after_scheme(first, scheme)
        }
    };
    match value {
        None => Credential::Missing,
        Some(_) if is_repeated => Credential::Ambiguous,
        Some(value) => Credential::One(PresentedKey {
            source,
            header,
            value: Value::Plain(value),
        }),
    }
}

/// Whether a line has a key after `scheme`, alone or among values that Envoy joined with commas.
pub(super) fn has_scheme(line: &[u8], scheme: &str) -> bool {
    line.split(|b| *b == b',')
        .any(|part| after_scheme(part, scheme).is_some())
}

/// The key after `scheme` and its spaces. `None` if `value` has another scheme. A scheme alone presents an empty key. If the scheme ends in
/// something other than white space, the value is invalid (RFC 9110, section 11.4), but a careless upstream may still read the rest as a
/// key: so it counts as a key, and no policy has it.
fn after_scheme<'r>(value: &'r [u8], scheme: &str) -> Option<&'r [u8]> {
    let value = value.trim_ascii();
    let (start, rest) = value.split_at_checked(scheme.len())?;
    let ends = rest.first().is_none_or(|byte| !is_token_byte(*byte));
    (ends && start.eq_ignore_ascii_case(scheme.as_bytes())).then(|| rest.trim_ascii_start())
}

fn in_query<'r>(path: &'r [u8], name: &str, source: usize) -> Credential<'r> {
    let mut values = parameters(path).filter(|(encoded, _)| is_named(encoded, name));
    match (values.next(), values.next()) {
        (None, _) => Credential::Missing,
        (Some((_, value)), None) => Credential::One(PresentedKey {
            source,
            header: b"",
            value: Value::Encoded(value),
        }),
        (Some(_), Some(_)) => Credential::Ambiguous,
    }
}

/// The header in which the handshake of a WebSocket lists subprotocols (RFC 6455, section 11.3.4).
pub const WEBSOCKET_PROTOCOL: &[u8] = b"sec-websocket-protocol";

fn in_protocols<'r>(lines: impl Iterator<Item = &'r [u8]>, prefix: &[u8], source: usize) -> Credential<'r> {
    let mut keys = lines.flat_map(protocols).filter_map(|item| item.strip_prefix(prefix));
    match (keys.next(), keys.next()) {
        (None, _) => Credential::Missing,
        (Some(key), None) => Credential::One(PresentedKey {
            source,
            header: WEBSOCKET_PROTOCOL,
            value: Value::Plain(key),
        }),
        (Some(_), Some(_)) => Credential::Ambiguous,
    }
}

/// The items of one line of `Sec-WebSocket-Protocol`.
pub(super) fn protocols(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// The items of `lines` that do not begin with `prefix`, as one line. `None` if every item does.
pub fn other_protocols(lines: &[&[u8]], prefix: &str) -> Option<Vec<u8>> {
    let items = lines.iter().flat_map(|line| protocols(line));
    let kept: Vec<&[u8]> = items
        .filter(|item| !item.is_empty() && !item.starts_with(prefix.as_bytes()))
        .collect();
    (!kept.is_empty()).then(|| kept.join(&b", "[..]))
}

/// The query of a request target, without the question mark. `None` if it has no query.
pub fn query_of(path: &[u8]) -> Option<&[u8]> {
    let at = path.iter().position(|b| *b == b'?')?;
    path.get(at + 1..)
}

/// The names and values of a query, still encoded (URL standard, `application/x-www-form-urlencoded` parsing).
fn parameters(path: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = query_of(path).unwrap_or_default().split(|b| *b == b'&');
    pairs.map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        (
            pair.get(..equals).unwrap_or_default(),
            pair.get(equals + 1..).unwrap_or_default(),
        )
    })
}

/// Whether an upstream may read the encoded name of a parameter as `name`. PHP turns dots and spaces into `_`, so `+` as well.
fn is_named(encoded: &[u8], name: &str) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'_' };
    percent_decode(encoded).map(folded).eq(name.bytes().map(folded))
}

impl<'r> PresentedKey<'r> {
    /// Replaces the key by the one with this digest, so that a policy can be tried without the key itself.
    pub fn with_digest(self, digest: KeyDigest) -> Self {
        PresentedKey {
            value: Value::Digest(digest),
            ..self
        }
    }

    /// The SHA-256 of the key or token. `None` if no policy can have it: it is longer than `longest` bytes, or not UTF-8.
    pub fn digest(&self, longest: usize) -> Option<KeyDigest> {
        match self.value {
            Value::Digest(digest) => Some(digest),
            Value::Plain(text) => digest_of(text, longest),
            Value::Encoded(encoded) => {
                // Keys fit into this, and are decoded without an allocation.
                let mut key = [0; MAX_LENGTH];
                let mut bytes = decoded(encoded, longest)?;
                let length = key.iter_mut().zip(&mut bytes).map(|(slot, byte)| *slot = byte).count();
                match bytes.next() {
                    None => digest_of(key.get(..length)?, longest),
                    Some(_) if longest == MAX_LENGTH => None,
                    Some(_) => digest_of(&decoded(encoded, longest)?.collect::<Vec<u8>>(), longest),
                }
            }
        }
    }

    /// The text of the key or token. `None` as for [`PresentedKey::digest`], or if only the digest is known.
    pub fn text(&self, longest: usize) -> Option<Cow<'r, str>> {
        match self.value {
            Value::Digest(_) => None,
            Value::Plain(text) if text.len() > longest => None,
            Value::Plain(text) => str::from_utf8(text).ok().map(Cow::Borrowed),
            Value::Encoded(encoded) => {
                let text: Vec<u8> = decoded(encoded, longest)?.collect();
                String::from_utf8(text)
                    .ok()
                    .filter(|text| text.len() <= longest)
                    .map(Cow::Owned)
            }
        }
    }
}

fn digest_of(text: &[u8], longest: usize) -> Option<KeyDigest> {
    (text.len() <= longest && str::from_utf8(text).is_ok()).then(|| KeyDigest::of(text))
}

/// The bytes of a value that is encoded as `application/x-www-form-urlencoded`. `None` if it is too long for `longest` bytes, however it is
/// encoded: a byte takes at most three.
fn decoded(encoded: &[u8], longest: usize) -> Option<impl Iterator<Item = u8> + '_> {
    let parts = encoded.split(|b| *b == b'+').enumerate();
    let decoded = parts.flat_map(|(at, part)| (at > 0).then_some(b' ').into_iter().chain(percent_decode(part)));
    (encoded.len() <= 3 * longest).then_some(decoded)
}

/// Whether an upstream may read this part of a query as the parameter `name`.
pub(super) fn is_parameter(pair: &[u8], name: &str) -> bool {
    let encoded = pair.split(|b| *b == b'=').next().unwrap_or_default();
    is_named(encoded, name)
}

/// Removes the query parameter `name` from `path`. Every other byte stays.
pub fn without_parameter(path: &[u8], name: &str) -> Vec<u8> {
    let Some(query) = query_of(path) else {
        return path.to_vec();
    };
    let pairs = query.split(|b| *b == b'&');
    let kept: Vec<&[u8]> = pairs.filter(|pair| !is_parameter(pair, name)).collect();
    let end = path.len() - query.len();
    let target = path.get(..end - usize::from(kept.is_empty())).unwrap_or(path);
    [target, &kept.join(&b'&')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEARER: fn() -> Source = || header("authorization", Some("Bearer"));

    fn header(name: &str, scheme: Option<&str>) -> Source {
        Source::Header {
            name: name.into(),
            scheme: scheme.map(Into::into),
        }
    }

    #[derive(Debug, PartialEq)]
    enum Found {
        Missing,
        Ambiguous,
        Key(usize, &'static str),
        Invalid(usize),
    }

    #[test]
    fn one_key_once_or_none_at_all() {
        use Found::*;
        let protocol = || Source::WebSocketProtocol("api-key.".into());
        let all = || vec![BEARER(), header("x-api-key", None), Source::Query("api_key".into())];
        for (name, sources, headers, path, expected) in [
            ("no header", vec![BEARER()], &[][..], "/", Missing),
            (
                "bearer",
                vec![BEARER()],
                &[("authorization", "Bearer k")][..],
                "/",
                Key(0, "k"),
            ),
            (
                "any case, more spaces",
                vec![BEARER()],
                &[("authorization", "bEARER   k")],
                "/",
                Key(0, "k"),
            ),
            (
                "another scheme",
                vec![BEARER()],
                &[("authorization", "Basic k")],
                "/",
                Missing,
            ),
            (
                "a longer scheme",
                vec![BEARER()],
                &[("authorization", "BearerX k")],
                "/",
                Missing,
            ),
            ("no scheme", vec![BEARER()], &[("authorization", "k")], "/", Missing),
            (
                "something else than a space behind the scheme",
                vec![BEARER()],
                &[("authorization", "Bearer\u{a0}k")],
                "/",
                Key(0, "\u{a0}k"),
            ),
            (
                "a colon behind the scheme",
                vec![BEARER()],
                &[("authorization", "Bearer:k")],
                "/",
                Key(0, ":k"),
            ),
            (
                "a scheme alone",
                vec![BEARER()],
                &[("authorization", "Bearer")],
                "/",
                Key(0, ""),
            ),
            (
                "another header",
                vec![BEARER()],
                &[("x-authorization", "Bearer k")],
                "/",
                Missing,
            ),
            (
                "two lines",
                vec![BEARER()],
                &[("authorization", "Bearer k"), ("authorization", "Bearer k")],
                "/",
                Ambiguous,
            ),
            (
                "two schemes",
                vec![BEARER()],
                &[("authorization", "Basic k"), ("authorization", "Bearer k")],
                "/",
                Ambiguous,
            ),
            (
                "joined lines",
                vec![BEARER()],
                &[("authorization", "Bearer k,Bearer l")],
                "/",
                Ambiguous,
            ),
            (
                "joined with another scheme",
                vec![BEARER()],
                &[("authorization", "Basic k, Bearer l")],
                "/",
                Ambiguous,
            ),
            (
                "another scheme's commas",
                vec![BEARER()],
                &[("authorization", "Digest a=1, b=2")],
                "/",
                Missing,
            ),
            (
                "two lines of another scheme",
                vec![BEARER()],
                &[("authorization", "Basic a"), ("authorization", "Basic b")],
                "/",
                Missing,
            ),
            (
                "a protocol",
                vec![protocol()],
                &[("sec-websocket-protocol", "api-key.k")],
                "/",
                Key(0, "k"),
            ),
            (
                "a protocol among others",
                vec![protocol()],
                &[("sec-websocket-protocol", "chat,\tapi-key.k , superchat")],
                "/",
                Key(0, "k"),
            ),
            (
                "a protocol in another line",
                vec![protocol()],
                &[
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-protocol", "api-key.k"),
                ],
                "/",
                Key(0, "k"),
            ),
            (
                "other protocols",
                vec![protocol()],
                &[("sec-websocket-protocol", "chat, API-KEY.k, xapi-key.k, api-key")],
                "/",
                Missing,
            ),
            (
                "two protocols",
                vec![protocol()],
                &[("sec-websocket-protocol", "api-key.k, api-key.k")],
                "/",
                Ambiguous,
            ),
            (
                "a protocol in two lines",
                vec![protocol()],
                &[
                    ("sec-websocket-protocol", "api-key.k"),
                    ("sec-websocket-protocol", "api-key.l"),
                ],
                "/",
                Ambiguous,
            ),
            (
                "a protocol without a key",
                vec![protocol()],
                &[("sec-websocket-protocol", "api-key.")],
                "/",
                Key(0, ""),
            ),
            (
                "a protocol and a header",
                vec![BEARER(), protocol()],
                &[("authorization", "Bearer k"), ("sec-websocket-protocol", "api-key.k")],
                "/",
                Ambiguous,
            ),
            ("a whole header", all(), &[("x-api-key", "k")], "/", Key(1, "k")),
            ("an empty header", all(), &[("x-api-key", "")], "/", Key(1, "")),
            (
                "a name that CGI reads as the header's",
                all(),
                &[("x_api.key", "k")],
                "/",
                Key(1, "k"),
            ),
            (
                "a header under two names",
                all(),
                &[("x-api-key", "k"), ("x_api_key", "l")],
                "/",
                Ambiguous,
            ),
            (
                "a name that PHP reads as the parameter's",
                all(),
                &[],
                "/?api.key=k",
                Key(2, "k"),
            ),
            (
                "a parameter under two names",
                all(),
                &[],
                "/?api_key=k&api+key=k",
                Ambiguous,
            ),
            ("a parameter in other letters", all(), &[], "/?API_KEY=k", Missing),
            (
                "a header twice",
                all(),
                &[("x-api-key", "k"), ("x-api-key", "k")],
                "/",
                Ambiguous,
            ),
            ("a joined header", all(), &[("x-api-key", "k,k")], "/", Ambiguous),
            ("a parameter", all(), &[], "/?a=1&api_key=k&b", Key(2, "k")),
            ("escapes", all(), &[], "/?api%5Fkey=a%2Bb+c%", Key(2, "a+b c%")),
            ("no value", all(), &[], "/?api_key", Key(2, "")),
            ("in the path", all(), &[], "/api_key=k", Missing),
            ("another case", all(), &[], "/?API_KEY=k", Missing),
            ("a parameter twice", all(), &[], "/?api_key=k&api_key=k", Ambiguous),
            (
                "a parameter twice, hidden",
                all(),
                &[],
                "/?api_key=k&api%5fkey=l",
                Ambiguous,
            ),
            ("two sources", all(), &[("x-api-key", "k")], "/?api_key=k", Ambiguous),
            (
                "two headers",
                all(),
                &[("x-api-key", "k"), ("authorization", "Bearer k")],
                "/",
                Ambiguous,
            ),
            ("not text", all(), &[], "/?api_key=%ff", Invalid(2)),
        ] {
            let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let found = match Credential::find(&sources, &Headers::new(headers, u64::MAX), path.as_bytes()) {
                Credential::Missing => Missing,
                Credential::Ambiguous => Ambiguous,
                Credential::One(presented) => match (presented.digest(MAX_LENGTH), &expected) {
                    (None, _) => Invalid(presented.source),
                    (Some(digest), Key(_, key)) if digest == KeyDigest::of(key.as_bytes()) => {
                        Key(presented.source, key)
                    }
                    (Some(_), _) => Key(presented.source, "another key"),
                },
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_key_has_512_bytes_at_most_and_a_token_4096() {
        for (longest, length, valid) in [
            (512, 512, true),
            (512, 513, false),
            (512, 60_000, false),
            (4_096, 512, true),
            (4_096, 513, true),
            (4_096, 4_096, true),
            (4_096, 4_097, false),
            (4_096, 60_000, false),
        ] {
            let key = "%6b".repeat(length);
            let path = format!("/?k={key}");
            for (source, headers, path) in [
                (header("k", None), vec![("k", "k".repeat(length))], "/"),
                (Source::Query("k".into()), vec![], path.as_str()),
            ] {
                let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                let Credential::One(presented) =
                    Credential::find(&[source], &Headers::new(headers, u64::MAX), path.as_bytes())
                else {
                    panic!("{length}");
                };
                let expected = valid.then(|| "k".repeat(length));
                assert_eq!(presented.text(longest).as_deref(), expected.as_deref(), "{length}");
                let digest = expected.map(|text| KeyDigest::of(text.as_bytes()));
                assert_eq!(presented.digest(longest), digest, "{length} of {longest}");
            }
        }
    }

    #[test]
    fn a_parameter_is_taken_out_alone() {
        for (path, without) in [
            ("/", "/"),
            ("/?api_key=k", "/"),
            ("/a?api_key=k&b=%20+&c", "/a?b=%20+&c"),
            ("/a?b&api_key=k", "/a?b"),
            ("/a?b&api_key", "/a?b"),
            ("/a?b&api%5Fkey=k&&c=", "/a?b&&c="),
            ("/a?b?api_key=k", "/a?b?api_key=k"),
            ("/a?b&api.key=k", "/a?b"),
            ("/a?", "/a?"),
        ] {
            let result = without_parameter(path.as_bytes(), "api_key");
            assert_eq!(String::from_utf8(result).unwrap(), without, "{path}");
        }
    }
}
