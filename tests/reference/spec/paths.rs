//! Scope rules and indexes (spec, section 9): segment by segment, rule by rule.

use serde_json::Value;

/// What the rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Fits,
    Ambiguous,
    NoRule,
    NoIndex,
}

/// Whether a rule of the key's scopes tells methods apart.
pub fn names_methods(scopes: &Value, rules: &Value) -> bool {
    let names = scopes
        .as_array()
        .into_iter()
        .flatten()
        .map(|scope| scope.as_str().unwrap());
    let mut all = names.flat_map(|name| rules[name].as_array().unwrap());
    all.any(|rule| !rule["methods"].as_array().unwrap().iter().any(|method| method == "*"))
}

pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap()
}

/// `scopes` and `indexes` as the key has them; `rules` is the policy's table of scopes.
pub fn reach(scopes: &Value, indexes: &Value, rules: &Value, method: &[u8], path: &[u8]) -> Reach {
    let path = without_query(path);
    if !scopes.is_array() {
        // Only a rule names an index.
        return if indexes.is_array() {
            Reach::NoIndex
        } else {
            Reach::Fits
        };
    }
    if is_ambiguous(path) {
        return Reach::Ambiguous;
    }
    let fitting = fitting(scopes, rules, method, path);
    if fitting.is_empty() {
        return Reach::NoRule;
    }
    // Taken: where several rules fit, one that allows is enough.
    if !indexes.is_array() || fitting.iter().flatten().any(|name| is_listed(indexes, name)) {
        Reach::Fits
    } else {
        Reach::NoIndex
    }
}

/// The same of a key and of the claims of a token that is narrowed from it, which has to keep to both.
pub fn reach_of_both(key: &Value, claims: &Value, rules: &Value, method: &[u8], path: &[u8]) -> Reach {
    let bare = without_query(path);
    let lists = [&key["scopes"], &claims["scopes"], &claims["indexes"]];
    if lists.iter().any(|list| list.is_array()) && is_ambiguous(bare) {
        return Reach::Ambiguous;
    }
    let of_key = reach(&key["scopes"], &key["indexes"], rules, method, path);
    if !claims["scopes"].is_array() && claims["indexes"].is_array() {
        // The rules are the key's, and one has to name an index that is in both lists.
        if !key["scopes"].is_array() {
            return Reach::NoIndex;
        }
        let lists = [&key["indexes"], &claims["indexes"]];
        let is_in_both = |name: &String| lists.iter().all(|list| !list.is_array() || is_listed(list, name));
        let mut named = fitting(&key["scopes"], rules, method, bare).into_iter().flatten();
        return match of_key {
            Reach::Fits if !named.any(|name| is_in_both(&name)) => Reach::NoIndex,
            of_key => of_key,
        };
    }
    let of_claims = reach(&claims["scopes"], &claims["indexes"], rules, method, path);
    let either = |reach: Reach| of_key == reach || of_claims == reach;
    if either(Reach::NoRule) {
        Reach::NoRule
    } else if either(Reach::NoIndex) {
        Reach::NoIndex
    } else {
        Reach::Fits
    }
}

/// What the rules that fit name as the index, if they name one.
fn fitting(scopes: &Value, rules: &Value, method: &[u8], path: &[u8]) -> Vec<Option<String>> {
    let scopes = scopes.as_array().into_iter().flatten();
    scopes
        .flat_map(|scope| rules[scope.as_str().unwrap()].as_array().unwrap())
        .filter(|rule| method_fits(&rule["methods"], method))
        .filter_map(|rule| capture(rule["path"].as_str().unwrap(), path))
        .collect()
}

fn is_listed(indexes: &Value, name: &str) -> bool {
    let mut indexes = indexes.as_array().into_iter().flatten();
    !name.contains('%') && indexes.any(|index| index_fits(index.as_str().unwrap(), name))
}

/// Whether `indexes` takes the entry. Taken: it takes what can match a name in a path.
pub fn is_index(entry: &str) -> bool {
    let name = entry.strip_suffix('*').unwrap_or(entry);
    let is_of_name = |byte: u8| byte.is_ascii_graphic() && !b"*/%?#;\\".contains(&byte);
    !entry.is_empty() && name.bytes().all(is_of_name)
}

fn method_fits(methods: &Value, method: &[u8]) -> bool {
    methods
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one == "*" || one.as_str().unwrap().as_bytes() == method || one == "GET" && method == b"HEAD")
}

fn index_fits(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        // Taken: what stands for the star is of one name. Search engines read "a-1,b" as two.
        Some(prefix) => name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))),
        None => name == entry,
    }
}

pub fn is_ambiguous(path: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(path) else {
        return true;
    };
    // Taken: a fragment, spaces and control characters have no place in a path either.
    if !text.bytes().all(|byte| byte.is_ascii_graphic())
        || ["#", "//", "\\", ";"].iter().any(|part| text.contains(part))
        || text.split('/').any(|segment| segment == "." || segment == "..")
    {
        return true;
    }
    let lower = path.to_ascii_lowercase();
    // Taken: raw, a `%u` is never right; what decodes to one is where four digits follow.
    if text.contains("%u") || text.contains("%U") {
        return true;
    }
    // Taken: encoded twice is encoded, whichever of its characters were; five times is a riddle.
    let stages: Vec<Vec<u8>> = std::iter::successors(Some(lower), |stage| Some(unescaped(stage)))
        .take(6)
        .collect();
    stages[..5].iter().any(|stage| is_misread(stage))
        || stages[..4].iter().any(|stage| hides(stage))
        || stages[4] != stages[5]
}

/// What a text must not encode, as it is written.
fn hides(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let controls = (0..0x20).chain([0x7f]);
    controls
        .chain(*b"/\\.;?#")
        .any(|byte| text.contains(&format!("%{byte:02x}")))
}

/// What a text must not be, however often it was decoded.
fn is_misread(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return true;
    };
    // Taken: C1 is control as well, and white space is Unicode's.
    text.chars().any(char::is_control)
        || text.split('/').any(|segment| [".", ".."].contains(&segment.trim_end()))
        || text.match_indices("%u").any(|(at, _)| {
            let digits = text.as_bytes()[at + 2..].iter().take(4);
            digits.filter(|byte| byte.is_ascii_hexdigit()).count() == 4
        })
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text
            .get(at + 1..at + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits {
            Some(digits) if text[at] == b'%' => {
                bytes.push(u8::from_str_radix(digits, 16).unwrap().to_ascii_lowercase());
                at += 3;
            }
            _ => {
                bytes.push(text[at]);
                at += 1;
            }
        }
    }
    bytes
}

/// Outer `None`: the rule does not fit. Inner: the index, where the rule names one.
fn capture(rule: &str, path: &[u8]) -> Option<Option<String>> {
    let path = std::str::from_utf8(path).unwrap();
    let rule: Vec<&str> = rule.strip_prefix('/').unwrap().split('/').collect();
    let path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut index = None;
    for (at, wanted) in rule.iter().enumerate() {
        // Taken: `**` is one segment or more, the last of which may be empty.
        if *wanted == "**" {
            return if path.len() > at { Some(index) } else { None };
        }
        let segment = *path.get(at)?;
        match *wanted {
            "*" if !segment.is_empty() => {}
            "{index}" if !segment.is_empty() => index = Some(segment.to_owned()),
            literal if literal == segment && literal != "*" && literal != "{index}" => {}
            _ => return None,
        }
    }
    if path.len() == rule.len() { Some(index) } else { None }
}
