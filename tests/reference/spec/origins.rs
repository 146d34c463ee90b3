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
    // Whatever is sent has to be one value, in one line.
    if origin.chars().any(|c| c.is_ascii_control() || c == ' ') {
        return Match::None;
    }
    match pattern {
        "*" => Match::Any,
        "null" if origin == "null" => Match::Null,
        "null" => Match::None,
        _ if names(pattern, origin) => Match::Named,
        _ => Match::None,
    }
}

/// Whether the pattern is the origin, or stands for it by a `*`.
fn names(pattern: &str, origin: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == origin;
    }
    let (scheme, place) = pattern.split_once("://").expect("a pattern that loads has a scheme");
    let Some((sent_scheme, sent_place)) = origin.split_once("://") else {
        return false;
    };
    if sent_scheme != scheme {
        return false;
    }
    match place.strip_suffix(":*") {
        None => host_fits(scheme, place, sent_place),
        Some(host) => {
            host_fits(scheme, host, sent_place)
                || sent_place
                    .rsplit_once(':')
                    .is_some_and(|(before, port)| is_port(port) && host_fits(scheme, host, before))
        }
    }
}

/// `wanted` is a host, with its port if the pattern has a fixed one.
fn host_fits(scheme: &str, wanted: &str, sent: &str) -> bool {
    let Some((before, behind)) = wanted.split_once('*') else {
        return wanted == sent;
    };
    let Some(covered) = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)) else {
        return false;
    };
    if before.is_empty() && behind.starts_with('.') {
        // Subdomains, at any depth.
        covered.split('.').all(is_label)
    } else if before.is_empty() && (behind.is_empty() || behind.starts_with(':')) {
        // Any host of a program's, which may be written in capitals.
        assert!(!["http", "https", "ws", "wss", "file"].contains(&scheme));
        covered.split('.').all(|label| is_label(&label.to_ascii_lowercase()))
    } else {
        // A part of one label.
        is_label(covered)
    }
}

/// Whether `allowed_origins` takes it (sections 1 and 13), as far as the generated ones go: sets are not among them.
pub fn is_pattern(text: &str) -> bool {
    if text == "*" || text == "null" {
        return true;
    }
    let Some((scheme, place)) = text.split_once("://") else {
        return false;
    };
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_of_scheme) {
        return false;
    }
    if !place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
        return false;
    }
    let is_web = ["http", "https"].contains(&&scheme.to_ascii_lowercase()[..]);
    if is_web && scheme.bytes().any(|byte| byte.is_ascii_uppercase()) || text.len() > 512 {
        return false;
    }
    if !is_web && !text.contains('*') {
        // Whatever the program sends.
        return true;
    }
    let is_inside = |at: usize| at < place.rfind(']').unwrap_or(0);
    let (host, port) = match place.rfind(':').filter(|at| !is_inside(*at)) {
        Some(at) => (&place[..at], Some(&place[at + 1..])),
        None => (place, None),
    };
    let default = [("http", "80"), ("https", "443")];
    if port.is_some_and(|port| port != "*" && (!is_port(port) || default.contains(&(scheme, port)))) {
        return false;
    }
    if host == "*" {
        return !["http", "https", "ws", "wss", "file"].contains(&scheme);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok());
        return address.is_some_and(|address| host == format!("[{address}]"));
    }
    let labels: Vec<&str> = host.split('.').collect();
    let (first, rest) = labels.split_first().unwrap();
    let is_first = is_label(first) || first.contains('*') && has_star_where_it_may_be(&labels);
    // A last label of digits makes it an IPv4 address, and browsers write that in one way.
    let is_number = labels.last().unwrap().bytes().all(|byte| byte.is_ascii_digit());
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    let is_short = labels.iter().all(|label| label.len() <= 63);
    is_first && is_short && rest.iter().all(|label| is_label(label)) && (!is_number || is_address)
}

/// Whether the first label is a star, or text with one star in it, before two labels or more (or `localhost`).
fn has_star_where_it_may_be(labels: &[&str]) -> bool {
    let (first, rest) = labels.split_first().unwrap();
    let fixed = first.replacen('*', "", 1);
    (rest.len() >= 2 || rest == ["localhost"]) && (fixed.is_empty() || is_label(&fixed))
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
