//! Origin patterns (spec, sections 1 and 2): one pattern and one origin at a time, by cutting strings.

/// What the request says of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Nothing,
    /// Two lines, an empty one, a long one, bytes that are not ASCII: there, and matched by nothing.
    Unmatchable,
    One(String),
}

/// The most specific way in which a list matches an origin. The order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    None,
    Any,
    Null,
    Named,
}

pub fn sent(headers: &[(Vec<u8>, Vec<u8>)]) -> Sent {
    let lines: Vec<&[u8]> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"origin"))
        .map(|(_, value)| &value[..])
        .collect();
    match lines[..] {
        [] => Sent::Nothing,
        // Envoy joins two lines of Origin with a comma.
        [line] if !line.is_empty() && line.len() <= 512 && line.is_ascii() && !line.contains(&b',') => {
            Sent::One(String::from_utf8(line.to_vec()).unwrap())
        }
        _ => Sent::Unmatchable,
    }
}

pub fn best<'l>(list: impl IntoIterator<Item = &'l str>, sent: &Sent) -> Match {
    let Sent::One(origin) = sent else { return Match::None };
    list.into_iter()
        .map(|pattern| how(pattern, origin))
        .max()
        .unwrap_or(Match::None)
}

pub fn how(pattern: &str, origin: &str) -> Match {
    if pattern == "*" {
        return if is_origin(origin) { Match::Any } else { Match::None };
    }
    if pattern == "null" {
        return if origin == "null" { Match::Null } else { Match::None };
    }
    if names(pattern, origin) {
        Match::Named
    } else {
        Match::None
    }
}

fn names(pattern: &str, origin: &str) -> bool {
    let (scheme, place) = pattern.split_once("://").expect("a pattern that loads has a scheme");
    let Some(sent_place) = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
        return false;
    };
    match place.strip_suffix(":*") {
        None => host_fits(place, sent_place),
        Some(host) => {
            host_fits(host, sent_place)
                || sent_place
                    .rsplit_once(':')
                    .is_some_and(|(before, port)| is_port(port) && host_fits(host, before))
        }
    }
}

/// What `*` stands for: every origin, not every text. Taken: what a browser could send, in lower case.
fn is_origin(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else {
        return text == "null";
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    let is_host = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|inner| inner.chars().all(|c| "0123456789abcdef:".contains(c))),
        None => host.split('.').all(is_label),
    };
    let is_place = is_host(place)
        || place
            .rsplit_once(':')
            .is_some_and(|(host, port)| is_host(host) && is_port(port));
    is_scheme && is_place
}

/// `wanted` is a host, with its port if the pattern has a fixed one.
fn host_fits(wanted: &str, sent: &str) -> bool {
    match wanted.strip_prefix('*') {
        None => wanted == sent,
        Some(dot_and_rest) => sent
            .strip_suffix(dot_and_rest)
            .is_some_and(|labels| labels.split('.').all(is_label)),
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|number| number != 0 && number.to_string() == text)
}
