//! Takes the compact form of a signed JSON Web Token apart (RFC 7519, RFC 7515), strictly: one token has one text.

use std::borrow::Cow;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::config::node::Node;
use crate::policy::sorted::sorted;

/// The decoded parts of a token. Nothing in them has been verified.
#[derive(Debug)]
pub struct Jwt<'t> {
    /// The JSON of the header (RFC 7515, section 4), to be parsed.
    pub header: Vec<u8>,
    /// The JSON of the claims (RFC 7519, section 4), to be parsed.
    pub claims: Vec<u8>,
    /// What is signed (RFC 7515, section 5.2): the text before the last dot.
    pub signed: &'t str,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The members of a JSON object, no two with the same name.
#[derive(Debug)]
pub struct Members<'j>(Vec<(Cow<'j, str>, Node<'j>)>);

/// Whether a text begins as the base64url of a JSON object does: with `{`, or with the white space that JSON allows before it. Nearly no key
/// does, so this cheap check comes first.
pub fn begins_as_token(text: &str) -> bool {
    let [first, second, ..] = text.as_bytes() else {
        return false;
    };
    let mut decoded = [0; 3];
    let decoded = Base64UrlUnpadded::decode([*first, *second, b'A', b'A'], &mut decoded).unwrap_or_default();
    matches!(decoded.first(), Some(b'{' | b' ' | b'\t' | b'\n' | b'\r'))
}

/// Whether a text has the form of a token, well-formed or not: three parts between dots, or five if it is encrypted (RFC 7516), the first of
/// which begins as the base64url of a JSON object does.
pub fn has_form(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'.');
    let dots = text.bytes().filter(|b| *b == b'.').count();
    begins_as_token(text) && matches!(dots, 2 | 4) && text.bytes().all(is_allowed)
}

impl<'t> Jwt<'t> {
    /// Takes a token apart. `None` if it has another number of parts, or one that is not canonical base64url: with padding, or with trailing bits
    /// that are not zero.
    pub fn parse(text: &'t str) -> Option<Jwt<'t>> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decoded = |part: &str| Base64UrlUnpadded::decode_vec(part).ok();
        Some(Jwt {
            header: decoded(header)?,
            claims: decoded(claims)?,
            signed,
            signature: decoded(signature)?,
        })
    }
}

impl<'j> Members<'j> {
    /// The members of a JSON object. `None` if the text is not one, or if it has a name twice.
    pub fn parse(json: &'j [u8]) -> Option<Members<'j>> {
        let Node::Object(members) = serde_json::from_slice(json).ok()? else {
            return None;
        };
        let names = sorted(members.iter().map(|(name, _)| &**name).collect());
        let is_repeated = names
            .windows(2)
            .any(|pair| matches!(pair, [one, other] if one == other));
        (!is_repeated).then_some(Members(members))
    }

    /// The value of this member.
    pub fn get(&self, name: &str) -> Option<&Node<'j>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The value of this member, if it is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token() {
        for (name, text, expected) in [
            ("{\"a\":1}.{}.x", "eyJhIjoxfQ.e30.eA", true),
            ("without a signature", "eyJhbGciOiJub25lIn0.e30.", true),
            ("padding", "eyJhIjoxfQ==.e30.eA", true),
            ("encrypted", "eyJhIjoxfQ.a.b.c.d", true),
            ("a space in the JSON", "eyAiYSI6MX0.e30.eA", true),
            ("a space before the JSON", "IHsiYSI6MX0.e30.eA", true),
            ("a line break before the JSON", "DQp7ImEiOjF9.e30.eA", true),
            ("two parts", "eyJhIjoxfQ.e30", false),
            ("four parts", "eyJhIjoxfQ.e30.eA.eA", false),
            ("one part", "eyJhIjoxfQ", false),
            ("no object", "WzFd.e30.eA", false),
            ("a key with dots", "ak.live.123", false),
            ("a key with dots that begins so by chance", "export.live.123", true),
            ("other characters", "eyJhIjoxfQ.e+0.eA", false),
            ("empty", "", false),
            ("one letter", "e", false),
        ] {
            assert_eq!(has_form(text), expected, "{name}");
        }
    }

    #[test]
    fn one_token_has_one_text() {
        for (name, text, expected) in [
            ("canonical", "eyJhIjoxfQ.e30.eA", true),
            ("an empty signature", "eyJhIjoxfQ.e30.", true),
            ("padding", "eyJhIjoxfQ==.e30.eA", false),
            ("padding of the signature", "eyJhIjoxfQ.e30.eA==", false),
            ("bits behind the header", "eyJhIjoxfR.e30.eA", false),
            ("bits behind the signature", "eyJhIjoxfQ.e30.eB", false),
            ("one character too many", "eyJhIjoxfQ.e30.eAAAA", false),
            ("two parts", "eyJhIjoxfQ.e30", false),
            ("four parts", "eyJhIjoxfQ.e30.eA.eA", false),
            ("a line break", "eyJhIjoxfQ.e30.eA\n", false),
        ] {
            assert_eq!(Jwt::parse(text).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn objects_without_duplicates() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
        for (name, json, expected) in [
            ("an object", r#"{"a": 1, "b": {"c": 1}}"#, true),
            ("white space", " {\n} ", true),
            ("a duplicate", r#"{"a": 1, "b": 2, "a": 1}"#, false),
            ("a duplicate that is escaped", r#"{"a": 1, "\u0061": 1}"#, false),
            ("a list", "[]", false),
            ("something behind it", "{} {}", false),
            ("a number that no double holds", r#"{"a": 1e400}"#, false),
            ("half a surrogate pair", r#"{"a": "\ud800"}"#, false),
            ("deep", &deep, false),
            ("nothing", "", false),
        ] {
            assert_eq!(Members::parse(json.as_bytes()).is_some(), expected, "{name}");
        }
        assert!(Members::parse(b"{\"a\": \"\xff\"}").is_none());
    }
}
