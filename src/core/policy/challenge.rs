//! The value of `WWW-Authenticate` in a 401: how a request may carry a key (RFC 9110, section 11.6.1).

use crate::config::key_source::KeySource;

/// One challenge for each source. `ApiKey` is not a registered scheme: none is registered for keys in other headers or in a query.
pub fn challenge(sources: &[KeySource]) -> Box<str> {
    let challenges: Vec<String> = sources
        .iter()
        .map(|source| match source {
            KeySource::Scheme { scheme, .. } => format!("{scheme} realm=\"keyfence\""),
            KeySource::Header(header) => format!("ApiKey realm=\"keyfence\", header=\"{}\"", header.0),
            KeySource::Query(name) => format!("ApiKey realm=\"keyfence\", query=\"{}\"", quoted(name)),
            KeySource::WebSocketProtocol(prefix) => {
                format!("ApiKey realm=\"keyfence\", websocket-protocol=\"{prefix}\"")
            }
        })
        .collect();
    challenges.join(", ").into()
}

/// `text` for a quoted string (RFC 9110, section 5.6.4). Characters that would need escaping become `?`.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_each_source() {
        let header = |name: &str| crate::config::token::HeaderName(name.into());
        let query = |name: &str| KeySource::Query(name.into());
        for (source, expected) in [
            (KeySource::by_default().remove(0), "Bearer realm=\"keyfence\""),
            (
                KeySource::Header(header("X-API-Key")),
                "ApiKey realm=\"keyfence\", header=\"X-API-Key\"",
            ),
            (query("api_key"), "ApiKey realm=\"keyfence\", query=\"api_key\""),
            (query("api key"), "ApiKey realm=\"keyfence\", query=\"api key\""),
            (query("a\"b\\c"), "ApiKey realm=\"keyfence\", query=\"a?b?c\""),
            (query("clé\n"), "ApiKey realm=\"keyfence\", query=\"cl??\""),
            (
                KeySource::WebSocketProtocol("api-key.".into()),
                "ApiKey realm=\"keyfence\", websocket-protocol=\"api-key.\"",
            ),
        ] {
            assert_eq!(&*challenge(&[source]), expected);
        }
    }
}
