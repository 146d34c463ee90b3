//! Explains why an origin does not match: how it differs from the most similar pattern.

use keyfence_core::config::origin::{
    HostPattern, LabelPattern, OriginErrorKind, OriginPattern, PortPattern, TuplePattern,
};

/// The difference between an origin that matches none of `patterns` and the pattern that probably was meant for it.
pub fn near_miss(origin: &[u8], patterns: &[OriginPattern]) -> Option<String> {
    if patterns.contains(&OriginPattern::Any) {
        return Some("* is one line of printable ASCII without commas, up to 512 bytes".into());
    }
    let origin = String::from_utf8_lossy(origin);
    let no_browser_sends = |kind: OriginErrorKind| Some(format!("no browser sends it: {}", kind.reason()));
    let sent = match OriginPattern::parse(&origin) {
        Ok(OriginPattern::Tuple(sent)) => sent,
        Ok(_) => return None,
        Err(error) => return no_browser_sends(error.kind),
    };
    let HostPattern::One(host) = &sent.hosts else {
        return no_browser_sends(OriginErrorKind::BadHost);
    };
    let tuples = || {
        patterns.iter().filter_map(|pattern| match pattern {
            OriginPattern::Tuple(tuple) => Some(tuple),
            _ => None,
        })
    };
    let differences = |pattern: &TuplePattern| {
        let port = match (pattern.port, sent.port) {
            (PortPattern::Any, _) => None,
            (written, sent) if written == sent => None,
            (PortPattern::Absent, _) => Some("no port"),
            (_, PortPattern::Absent) => Some("a port"),
            _ => Some("another port"),
        };
        let scheme = (pattern.scheme != sent.scheme).then_some("another scheme");
        let differences: Vec<&str> = scheme.into_iter().chain(port).collect();
        (!differences.is_empty()).then(|| format!("{pattern} has {}", differences.join(" and ")))
    };
    if let Some(pattern) = tuples().find(|pattern| pattern.hosts == sent.hosts) {
        return differences(pattern);
    }
    if let Some(pattern) = tuples().find(|pattern| pattern.hosts == HostPattern::Below(host.clone())) {
        return Some(format!("{pattern} is for subdomains, not for {host} itself"));
    }
    let labels = || {
        tuples().filter_map(|pattern| match &pattern.hosts {
            HostPattern::Label(label) => Some((pattern, label, label_before(host, label.parts()[2])?)),
            _ => None,
        })
    };
    let resembles = |(_, pattern, label): &(&TuplePattern, &LabelPattern, &str)| {
        let [prefix, suffix, _] = pattern.parts();
        !prefix.is_empty() && label.starts_with(prefix) || !suffix.is_empty() && label.ends_with(suffix)
    };
    let label_miss = |(pattern, wanted, label): (&TuplePattern, &LabelPattern, &str)| {
        let miss = label_miss(wanted, label).map(|miss| format!("in {pattern} {miss}"));
        miss.or_else(|| differences(pattern))
    };
    if let Some(nearest) = labels().find(resembles) {
        return label_miss(nearest);
    }
    let is_above = |pattern: &&TuplePattern| match &pattern.hosts {
        HostPattern::One(above) | HostPattern::Below(above) => label_before(host, above).is_some(),
        _ => false,
    };
    if let Some(above) = tuples().find(is_above) {
        return match &above.hosts {
            HostPattern::Below(_) => Some(format!("{above} has another scheme or port")),
            _ => Some(format!("{above} is for that host alone, not for its subdomains")),
        };
    }
    if let Some(other) = labels().next() {
        return label_miss(other);
    }
    let any_host = tuples().find(|pattern| pattern.hosts == HostPattern::Any && pattern.scheme == sent.scheme)?;
    differences(any_host).or_else(|| Some(format!("{any_host} is for hosts of letters, digits, -, _ and dots")))
}

/// The part of `host` before `.parent`.
fn label_before<'h>(host: &'h str, parent: &str) -> Option<&'h str> {
    host.strip_suffix(parent)?
        .strip_suffix('.')
        .filter(|_| !parent.is_empty())
}

/// Why a label does not match the pattern's; `None` if it does.
fn label_miss(pattern: &LabelPattern, label: &str) -> Option<String> {
    let [prefix, suffix, _] = pattern.parts();
    if !label.starts_with(prefix) || !label.ends_with(suffix) {
        let begins = (!prefix.is_empty()).then(|| format!("begins with {prefix}"));
        let ends = (!suffix.is_empty()).then(|| format!("ends with {suffix}"));
        let both: Vec<String> = begins.into_iter().chain(ends).collect();
        return Some(format!("the label {}", both.join(" and ")));
    }
    if label.len() <= prefix.len() + suffix.len() {
        return Some("* is one character or more".into());
    }
    label.contains('.').then(|| "* has no dot".into())
}
