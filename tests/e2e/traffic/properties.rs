//! What holds for every answer, whatever was asked.

use keyfence_core::decision::reason::Reason;

use crate::harness::witness::number_seen;
use crate::harness::{Request, Response};

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// The upstream, or Envoy's router, and the filter saw it.
    Beyond,
    /// The filter: a refusal or a preflight.
    Filter,
    /// Envoy, without the filter: what is no HTTP, or is too much of it.
    Envoy,
}

/// With these Envoy refuses what is no HTTP or too much of it, an upgrade to what it does not know (403) and `OPTIONS *` (404).
const CODEC_ERRORS: [u16; 7] = [400, 403, 404, 413, 426, 431, 501];

/// Holds the answer to a request to what every answer must be, and says who made it; the error says what is wrong.
pub fn hold(request: &Request, response: &Response) -> Result<Maker, String> {
    no_header_twice(response)?;
    if response.header("x-content-type-options").is_none() {
        let has_cors = response
            .headers
            .iter()
            .any(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-"));
        return if has_cors {
            Err("CORS on an answer of Envoy's own".to_owned())
        } else if CODEC_ERRORS.contains(&response.status) {
            Ok(Maker::Envoy)
        } else {
            Err("an answer without the filter".to_owned())
        };
    }
    if response.status >= 500 {
        return Err("a 5xx".to_owned());
    }
    cors(request, response)?;
    // The policy has lists that name origins, so every answer varies.
    let vary = response.header("vary").unwrap_or_default();
    if !vary.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin")) {
        return Err("no Vary: Origin".to_owned());
    }
    if response.header("content-type") == Some("application/problem+json") {
        return problem(request, response).map(|()| Maker::Filter);
    }
    let is_preflight = response.status == 204 && number_seen(response).is_none();
    Ok(if is_preflight { Maker::Filter } else { Maker::Beyond })
}

fn no_header_twice(response: &Response) -> Result<(), String> {
    let mut names: Vec<_> = response
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} comes twice", pair[0])),
        None => Ok(()),
    }
}

fn cors(request: &Request, response: &Response) -> Result<(), String> {
    let allow_origin = response.header("access-control-allow-origin");
    let credentials = response.header("access-control-allow-credentials");
    match allow_origin {
        None | Some("*" | "null") if credentials.is_some() => Err(format!("credentials with {allow_origin:?}")),
        None | Some("*") => Ok(()),
        Some(origin) if the_one_origin(request) == Some(origin.as_bytes()) => match credentials {
            None | Some("true") => Ok(()),
            Some(credentials) => Err(format!("credentials are {credentials}")),
        },
        Some(origin) => Err(format!("it allows {origin}, which was not sent")),
    }
}

/// None where there is none, or more than one. Envoy joins lines, and drops empty ones, before any filter or the upstream sees them.
fn the_one_origin(request: &Request) -> Option<&[u8]> {
    let lines = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"origin"));
    let mut origins = lines
        .map(|(_, origin)| origin.trim_ascii())
        .filter(|origin| !origin.is_empty());
    match (origins.next(), origins.next()) {
        (Some(origin), None) => Some(origin),
        _ => None,
    }
}

/// An error is one of the filter's, and says nothing of the key.
fn problem(request: &Request, response: &Response) -> Result<(), String> {
    if request.method == "HEAD" {
        return Ok(());
    }
    let code = response.code();
    if !Reason::ALL
        .iter()
        .any(|reason| reason.code() == code && reason.status() == response.status)
    {
        return Err(format!("there is no such error as {code}"));
    }
    let text = response.text();
    if text.contains("-key-00") {
        return Err("a key is in it".to_owned());
    }
    Ok(())
}
