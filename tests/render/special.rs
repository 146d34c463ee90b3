//! Policies made of everything that YAML treats specially.

use serde_json::{Map, Value, json};

/// Text with a special meaning in YAML, or that is hard to represent. A line adds another.
#[rustfmt::skip]
pub const SPECIAL: &[&str] = &[
    // Line breaks, alone and with what an attacker would have next.
    "a\nb", "a\r\nb", "a\rb", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "\n", "\u{2028}", "a\n", "\na",
    "a\u{2028}  - applyTo: HTTP_FILTER", "a\u{2029}  configPatches: []", "a\u{85}kind: WasmPlugin", "a\u{2028}b: c", "a\u{2028}\u{2028}- b",
    "\"\u{2028}b: \"c", "a\r  b: c", "a\n---\nb: c", "a\u{2028}---\u{2028}b: c", "a\u{2028}...\u{2028}b", "a\u{2028}%YAML 1.1\u{2028}---",
    // Control characters, what is no character, and what orders text.
    "\0", "\u{1}", "\t", "\u{7}", "\u{8}", "\u{B}", "\u{C}", "\u{1B}[31m", "\u{1F}", "\u{7F}", "\u{80}", "\u{9F}", "\u{A0}", "\u{AD}",
    "\u{FEFF}", "\u{FEFF}a", "\u{FFFD}", "\u{FFFE}", "\u{FFFF}", "\u{1FFFE}", "\u{10FFFF}", "\u{E000}",
    "a\u{202E}b", "\u{202A}\u{202B}\u{202C}\u{202D}", "\u{2066}\u{2067}\u{2068}\u{2069}", "\u{200E}\u{200F}\u{61C}", "\u{200B}\u{200D}",
    // Readable ones.
    "日本語の名前", "é", "ß😀👩\u{200D}🚀", "עברית", "العربية",
    // Indicators.
    "---", "...", "--- a", "%YAML 1.2", "%", "-", "- a", "?", "? a", ":", ": a", "a: b", "a:", "a :", "#", "# a", "a # b", "a#b", "{", "}", "{}", "{a: b}",
    "[", "]", "[]", ",", "a, b", "&a", "*a", "&", "*", "!", "!!str a", "!a", "|", "|2", "> a", ">-", "@", "@type", "`", "'", "''", "\"", "\"\"", "'a'", "\"a\"",
    "\\", "\\n", "\\u2028", "a\\", "\\\\", "\"\\", "${a}", "{{a}}",
    // White space.
    " ", "  ", "a ", " a", "  a", "a\t", "\ta", "a  b", "a \n b", "\u{3000}a\u{3000}", "\u{2003}",
    // Words and numbers.
    "", "y", "Y", "n", "yes", "No", "on", "OFF", "true", "False", "tRUE", "null", "Null", "~", "nan", ".nan", ".NaN", ".inf", "-.Inf", "+.inf",
    "0", "-0", "7", "007", "08", "0o17", "0b11", "0x1F", "0X1F", "-0x1F", "+12", "1_000", "1,000", "12.", ".5", "1.5", "1e3", "1E3", "1.5e+3", "6e2", "_1",
    "190:20:30", "190:20:30.15", "1:1", "2026-01-01", "2026-01-01T00:00:00Z", "2026-1-1 0:0:0 +1", "<<", "=", "<", "99999999999999999999", "e3", "0x", "a1", "x",
];

fn kept(text: &str, keep: impl Fn(char) -> bool) -> String {
    text.chars().filter(|c| keep(*c)).collect()
}

/// What is left of each text, none empty and none twice.
fn all(texts: &[String], keep: impl Fn(char) -> bool) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.iter().map(|text| kept(text, &keep)) {
        let is_known = found.iter().any(|other| other.eq_ignore_ascii_case(&text));
        found.extend((!is_known && !text.is_empty()).then_some(text));
    }
    found
}

fn is_of_a_name(c: char) -> bool {
    !c.is_control() && c != '\u{2028}' && c != '\u{2029}'
}

fn is_of_a_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn is_of_an_index(c: char) -> bool {
    c.is_ascii_graphic() && !"*/%?#;\\{}".contains(c)
}

/// A policy with these texts wherever a text may be, or with what is left of them there.
pub fn policy(texts: &[String]) -> Value {
    let ids = all(texts, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let ids = ids.into_iter().filter(|id| id.len() <= 64);
    let indexes = all(texts, is_of_an_index);
    let keys = ids.zip(texts.iter().cycle()).enumerate().map(|(index, (id, text))| {
        json!({
            "id": id, "api_key": format!("sha256:{index:064x}"), "kind": "secret", "name": kept(text, is_of_a_name),
            "scopes": [text], "indexes": indexes, "rate_limit_per_minute": 600, "enabled": true,
        })
    });
    let sources = all(texts, |_| true).into_iter().map(|text| json!({"query": text}));
    let scopes = texts.iter().map(|text| {
        let path = format!("/p{}/{{index}}", kept(text, is_of_an_index));
        (
            text.clone(),
            json!([{"methods": ["GET"], "path": path}, {"methods": ["*"], "path": "/**"}]),
        )
    });
    let tokens = all(texts, is_of_a_token);
    let headers = tokens.iter().zip(texts.iter().cycle()).map(|(token, text)| {
        let value = kept(text, |c| c == ' ' || c.is_ascii_graphic());
        (format!("X{token}"), json!(value.trim()))
    });
    json!({
        "$schema": texts[0],
        "keys": keys.collect::<Vec<_>>(),
        "key_sources": sources.chain([json!({"header": "A"})]).collect::<Vec<_>>(),
        "anonymous": {"name": kept(&texts[0], is_of_a_name), "allowed_ips": []},
        "scopes": scopes.collect::<Map<_, _>>(),
        "security_headers": {"set": headers.chain([("Server".into(), Value::Null)]).collect::<Map<_, _>>()},
        "cors": {"allow_headers": tokens, "allow_credentials": false},
    })
}
