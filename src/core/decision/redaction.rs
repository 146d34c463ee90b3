//! Headers without the API keys in them, to show them to people.

use super::credential::{WEBSOCKET_PROTOCOL, has_scheme, is_parameter, protocols, query_of};
use crate::config::token::equals_ignoring_separators;
use crate::policy::Source;

/// The value of the header `name`, in lower case, with `placeholder` in place of everything that one of the `sources` may take for a key.
/// The query is in the header `:path`.
pub fn redacted(sources: &[Source], name: &[u8], value: &[u8], placeholder: &str) -> Vec<u8> {
    sources.iter().fold(value.to_vec(), |value, source| match source {
        Source::Header { name: header, scheme } if equals_ignoring_separators(name, header.as_bytes()) => {
            match scheme {
                None => placeholder.into(),
                Some(scheme) if has_scheme(&value, scheme) => [scheme, " ", placeholder].concat().into(),
                Some(_) => value,
            }
        }
        Source::Query(parameter) if name == b":path" => redact_parameter(&value, parameter, placeholder),
        Source::WebSocketProtocol(prefix) if name == WEBSOCKET_PROTOCOL => {
            let items = protocols(&value).map(|item| match item.starts_with(prefix.as_bytes()) {
                true => [prefix, placeholder].concat().into(),
                false => item.to_vec(),
            });
            items.collect::<Vec<Vec<u8>>>().join(&b", "[..])
        }
        _ => value,
    })
}

fn redact_parameter(path: &[u8], name: &str, placeholder: &str) -> Vec<u8> {
    let Some(query) = query_of(path) else {
        return path.to_vec();
    };
    let target = path.strip_suffix(query).unwrap_or_default();
    let pairs = query.split(|b| *b == b'&').map(|pair| match is_parameter(pair, name) {
        true => [name, "=", placeholder].concat().into(),
        false => pair.to_vec(),
    });
    [target, &pairs.collect::<Vec<Vec<u8>>>().join(&b'&')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_and_nothing_else() {
        let header = |name: &str, scheme: Option<&str>| Source::Header {
            name: name.into(),
            scheme: scheme.map(Into::into),
        };
        let sources = [
            header("authorization", Some("Bearer")),
            header("x-api-key", None),
            Source::Query("api_key".into()),
            Source::WebSocketProtocol("api-key.".into()),
        ];
        for (name, value, expected) in [
            ("authorization", "Bearer secret", "Bearer -"),
            ("authorization", "bEARER  secret", "Bearer -"),
            ("authorization", "Bearer\u{a0}secret", "Bearer -"),
            ("authorization", "Basic a, Bearer secret", "Bearer -"),
            ("authorization", "Basic a", "Basic a"),
            ("x-api-key", "secret", "-"),
            ("x_api_key", "secret", "-"),
            ("x-api-keys", "plain", "plain"),
            (":path", "/a?b=c&api_key=secret&d", "/a?b=c&api_key=-&d"),
            (":path", "/a?api%5Fkey=secret", "/a?api_key=-"),
            (":path", "/a?api.key=secret&api_key=secret", "/a?api_key=-&api_key=-"),
            (":path", "/api_key=b", "/api_key=b"),
            ("sec-websocket-protocol", "v1,api-key.secret", "v1, api-key.-"),
            ("sec-websocket-protocol", "v1", "v1"),
            ("accept", "Bearer plain", "Bearer plain"),
        ] {
            let shown = redacted(&sources, name.as_bytes(), value.as_bytes(), "-");
            assert_eq!(String::from_utf8(shown).unwrap(), expected, "{name}: {value}");
        }
    }
}
