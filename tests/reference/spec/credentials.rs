//! Which key a request carries, and which of the policy's it is (spec, section 2, "key").

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tokens;
use super::upstreams::folded;

/// Where a key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The header's name, in lower case, and the number of its line among all headers.
    Header(String, usize),
    /// The number of the parameter in the query.
    Parameter(usize),
    /// The number of the item among those of `Sec-WebSocket-Protocol`.
    Protocol(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub from: From,
    pub bytes: Vec<u8>,
}

pub fn sources(policy: &Value) -> Vec<Value> {
    match policy["key_sources"].as_array() {
        Some(list) => list.clone(),
        None => vec![serde_json::json!({"header": "Authorization", "scheme": "Bearer"})],
    }
}

pub fn carried(policy: &Value, headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<Carried> {
    sources(policy)
        .iter()
        .flat_map(|source| from_source(source, headers))
        .collect()
}

/// The keys in the query alone: all that a preflight can carry.
pub fn in_query(policy: &Value, headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<Carried> {
    carried(policy, headers)
        .into_iter()
        .filter(|key| matches!(key.from, From::Parameter(_)))
        .collect()
}

fn from_source(source: &Value, headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<Carried> {
    if let Some(name) = source["header"].as_str() {
        let name = name.to_ascii_lowercase();
        // Envoy joins the lines of some headers with a comma, so each part may have been a line.
        let lines = headers
            .iter()
            .enumerate()
            .filter(|(_, (line, _))| folded(line) == folded(name.as_bytes()));
        let parts: Vec<(usize, &[u8])> = lines
            .flat_map(|(at, (_, value))| value.split(|byte| *byte == b',').map(move |part| (at, part)))
            .collect();
        let key = |part: &[u8]| match source["scheme"].as_str() {
            None => Some(part.to_vec()),
            Some(scheme) => after_scheme(scheme, part),
        };
        // A line that is repeated is ambiguous once any of its lines carries a key. Taken: an empty key is a key, an unknown one.
        if !parts.iter().any(|(_, part)| key(part).is_some()) {
            return Vec::new();
        }
        let carried = |(at, part): &(usize, &[u8])| Carried {
            from: From::Header(name.clone(), *at),
            bytes: key(part).unwrap_or_default(),
        };
        return parts.iter().map(carried).collect();
    }
    if let Some(prefix) = source["websocket_protocol"].as_str() {
        let items = protocols(headers).into_iter().enumerate();
        let carried = items.filter_map(|(at, item)| {
            let bytes = item.strip_prefix(prefix.as_bytes())?.to_vec();
            let from = From::Protocol(at);
            Some(Carried { from, bytes })
        });
        return carried.collect();
    }
    let wanted = source["query"].as_str().unwrap();
    parameters(headers)
        .into_iter()
        .enumerate()
        .filter_map(|(at, parameter)| {
            let (name, value) = cut(&parameter, b'=');
            let bytes = percent_decoded(&value);
            // PHP reads "api.key" as "api_key".
            (underscored(&percent_decoded(&name)) == underscored(wanted.as_bytes())).then_some(Carried {
                from: From::Parameter(at),
                bytes,
            })
        })
        .collect()
}

/// What a WebSocket's client can speak (RFC 6455, section 11.3.4), over all lines.
pub fn protocols(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let lines = headers.iter().filter(|(name, _)| name == b"sec-websocket-protocol");
    let items = lines.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    items.map(|item| item.trim_ascii().to_vec()).collect()
}

/// RFC 9110, section 11.4: a scheme in any case, spaces, the credentials.
fn after_scheme(scheme: &str, value: &[u8]) -> Option<Vec<u8>> {
    let value = value.trim_ascii();
    // Taken: a scheme ends at the first character that it cannot have. What follows is a key, and not a known one unless behind a space.
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = value.iter().position(|byte| !is_of_scheme(byte)).unwrap_or(value.len());
    let (sent, rest) = value.split_at(end);
    sent.eq_ignore_ascii_case(scheme.as_bytes())
        .then(|| rest.trim_ascii().to_vec())
}

fn underscored(name: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { *byte } else { b'_' };
    name.iter().map(plain).collect()
}

pub fn parameters(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<Vec<u8>> {
    let path = headers
        .iter()
        .find(|(name, _)| name == b":path")
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    if !path.contains(&b'?') {
        return Vec::new();
    }
    cut(&path, b'?')
        .1
        .split(|byte| *byte == b'&')
        .map(<[u8]>::to_vec)
        .collect()
}

pub fn cut(bytes: &[u8], at: u8) -> (Vec<u8>, Vec<u8>) {
    match bytes.iter().position(|byte| *byte == at) {
        Some(place) => (bytes[..place].to_vec(), bytes[place + 1..].to_vec()),
        None => (bytes.to_vec(), Vec::new()),
    }
}

/// As forms write queries (URL standard): `+` is a space.
fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .filter(|two| bytes[at] == b'%' && two.iter().all(u8::is_ascii_hexdigit));
        match hex {
            Some(two) => {
                decoded.push(u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
                at += 3;
            }
            None => {
                decoded.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    decoded
}

/// What a credential is.
#[derive(Clone, Debug)]
pub struct Found<'p> {
    pub key: &'p Value,
    /// The key's entry that has these bytes. A token has none.
    pub entry: Option<&'p Value>,
    /// What a token narrows or tells.
    pub claims: Option<Value>,
}

/// The policy's key of this credential, or the code of the refusal. `now` is in seconds.
pub fn find<'p>(policy: &'p Value, bytes: &[u8], now: i64) -> Result<Found<'p>, &'static str> {
    const UNKNOWN: &str = "invalid_api_key";
    let longest = if tokens::are_known(policy) || policy.get("keys_from").is_some() {
        4096
    } else {
        512
    };
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= longest);
    let text = text.ok_or(UNKNOWN)?;
    if let Some((key, entry)) = with_digest(policy, bytes) {
        return Ok(Found {
            key,
            entry: Some(entry),
            claims: None,
        });
    }
    if !tokens::has_form(bytes) {
        return Err(UNKNOWN);
    }
    let (key, claims) = tokens::verified(policy, text, now)?;
    Ok(Found {
        key,
        entry: None,
        claims: Some(claims),
    })
}

/// The policy's key with these bytes, and the entry of it that has them.
fn with_digest<'p>(policy: &'p Value, bytes: &[u8]) -> Option<(&'p Value, &'p Value)> {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut entries = policy["keys"].as_array()?.iter().flat_map(|key| {
        let all = match &key["api_key"] {
            Value::Array(all) => &all[..],
            // Of this key only tokens work.
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        all.iter().map(move |entry| (key, entry))
    });
    entries.find(|(_, entry)| {
        let written = entry.as_str().or(entry["key"].as_str()).unwrap();
        match written.strip_prefix("sha256:") {
            Some(hex) => hex.to_ascii_lowercase() == digest,
            None => written.as_bytes() == bytes,
        }
    })
}
