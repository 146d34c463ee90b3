//! Nothing in a policy or in an argument adds to what `keyfence render` writes: a reader of YAML 1.1 and one of 1.2 get the policy
//! that went in, and around it what is around any policy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

mod yaml_1_1;

use std::io::Write;
use std::iter;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

/// What YAML takes for more than text, or text for more than it is. Another is a line.
#[rustfmt::skip]
const SPECIAL: &[&str] = &[
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

/// Longer than a name may be without a question mark: in characters, in bytes, and once it is escaped.
fn long() -> Vec<String> {
    let lengths = [999, 1_000, 1_001, 1_023, 1_024, 1_025, 20_000];
    let long = ["k", "あ", "\u{1}", "a b"];
    let lengths = lengths.iter().flat_map(|length| long.map(|text| text.repeat(*length)));
    lengths.chain([format!("{}\u{2028}a: b", "k".repeat(1_100))]).collect()
}

/// Where a target has the policy, and whether it is text there.
const TARGETS: [(&str, &str, bool); 5] = [
    (
        "envoy",
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value",
        true,
    ),
    ("ecds", "/resources/0/typed_config/config/configuration/value", true),
    ("istio", "/spec/pluginConfig", false),
    (
        "envoy-filter",
        "/spec/configPatches/0/patch/value/typed_config/config/configuration/value",
        true,
    ),
    ("envoy-gateway", "/spec/wasm/0/config", false),
];

/// The arguments of each target that are text, where they are in what is rendered, and what is around them in both.
#[rustfmt::skip]
const ARGUMENTS: &[(&str, &str, &str, &str, &str)] = &[
    ("envoy", "--wasm=@", "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/vm_config/code/local", "filename", "@"),
    ("envoy", "--listen=@:10000", "/static_resources/listeners/0/address/socket_address", "address", "@"),
    ("envoy", "--upstream=@:10001", "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address", "address", "@"),
    ("ecds", "--wasm=@", "/resources/0/typed_config/config/vm_config/code/local", "filename", "@"),
    ("istio", "--namespace=@", "/metadata", "namespace", "@"),
    ("istio", "--image=@", "/spec", "url", "oci://@"),
    ("istio", "--selector=istio=@", "/spec/selector/matchLabels", "istio", "@"),
    ("envoy-filter", "--wasm=@", "/spec/configPatches/0/patch/value/typed_config/config/vm_config/code/local", "filename", "@"),
    ("envoy-filter", "--namespace=@", "/metadata", "namespace", "@"),
    ("envoy-filter", "--selector=istio=@", "/spec/workloadSelector/labels", "istio", "@"),
    ("envoy-gateway", "--namespace=@", "/metadata", "namespace", "@"),
    ("envoy-gateway", "--gateway=@", "/spec/targetRefs/0", "name", "@"),
    ("envoy-gateway", "--image=@", "/spec/wasm/0/code/image", "url", "@"),
];

fn render(target: &str, arguments: &[&str], policy: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyfence"))
        .args(["render", target, "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(policy.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|line| !line.contains("warning:")).collect();
    assert!(
        output.status.success(),
        "{target} {arguments:?}: {errors:#?} of {policy}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What both readers see.
fn read(rendered: &str) -> Value {
    let seen = yaml_1_1::read(rendered).unwrap_or_else(|error| panic!("YAML 1.1: {error} in {rendered}"));
    let options = serde_saphyr::options! { budget: None };
    let other: Value = serde_saphyr::from_str_with_options(rendered, options)
        .unwrap_or_else(|error| panic!("YAML 1.2: {error} in {rendered}"));
    assert_eq!(other, seen, "YAML 1.2 and 1.1: {rendered}");
    seen
}

/// With `policy` where a target has it, as it is and not as text.
fn around(mut rendered: Value, pointer: &str, policy: Value) -> Value {
    *rendered.pointer_mut(pointer).unwrap() = policy;
    rendered
}

/// In each target `policy` is what `written` says, and whatever is around it is the same as around any policy.
fn assert_rendered(written: &str, policy: &Value) {
    for (target, pointer, is_text) in TARGETS {
        let rendered = render(target, &[], written);
        let raw = rendered
            .contains(|c: char| c != '\n' && c != '\t' && (c.is_control() || "\u{2028}\u{2029}\u{202E}".contains(c)));
        assert!(!raw, "{target}: {rendered:?}");
        let seen = read(&rendered);
        let value = seen.pointer(pointer).unwrap_or_else(|| panic!("{target}: {rendered}"));
        let value = match value {
            Value::String(text) if is_text => serde_json::from_str(text).unwrap(),
            value => value.clone(),
        };
        let any = read(&render(target, &[], "{}"));
        assert_eq!(
            around(seen.clone(), pointer, value),
            around(any, pointer, policy.clone()),
            "{target}: {rendered}"
        );
    }
}

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
fn policy(texts: &[String]) -> Value {
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

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The readers differ where the versions do: a test with two that are alike would see nothing.
#[test]
fn a_1_1_reader_ends_lines_where_a_1_2_reader_does_not() {
    for separator in ["\u{85}", "\u{2028}", "\u{2029}"] {
        let text = format!("a: \"\"\nb: |\n  c{separator}d: e\n");
        let seen = yaml_1_1::read(&text).unwrap();
        assert_eq!(seen["d"], "e", "{seen}");
        let seen: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(seen["d"], Value::Null, "{seen}");
    }
    for ambiguous in ["y", "1e3", "190:20", "~", "2026-01-01", "<<", "=", "010", ".inf"] {
        assert!(yaml_1_1::read(&format!("a: {ambiguous}\n")).is_err(), "{ambiguous}");
    }
}

#[test]
fn each_special_text_is_read_back() {
    for text in SPECIAL {
        let policy = policy(&[(*text).to_owned()]);
        assert_rendered(&policy.to_string(), &policy);
    }
}

#[test]
fn all_special_texts_together_are_read_back() {
    let policy = policy(&owned(SPECIAL));
    assert_rendered(&policy.to_string(), &policy);
}

#[test]
fn long_texts_are_read_back() {
    for text in long() {
        let policy = policy(&[text]);
        assert_rendered(&policy.to_string(), &policy);
    }
}

/// However its author laid it out: the white space of JSON has line breaks that are none to who splits at line feeds.
#[test]
fn any_layout_is_read_back() {
    let policy = policy(&owned(&["a", "#", "日本語", "a\u{2028}b"]));
    let pretty = format!("{policy:#}");
    for (name, written) in [
        ("on one line", policy.to_string()),
        ("indented", pretty.clone()),
        ("CRLF", pretty.replace('\n', "\r\n")),
        ("CR", pretty.replace('\n', "\r")),
        ("CR and LF in turns", pretty.replace(",\n", ",\r")),
        (
            "CR without indentation",
            pretty.replace("\n", "\r").replace("\r ", "\r"),
        ),
        ("tabs", pretty.replace("  ", "\t")),
        ("blank lines", pretty.replace('\n', "\n\n \t \n\r\n")),
        ("white space at line ends", pretty.replace('\n', "  \t\n")),
        (
            "indented as a whole",
            format!("\n\n      \t{}", pretty.replace('\n', "\n    ")),
        ),
        (
            "no indentation",
            pretty.lines().map(str::trim).collect::<Vec<_>>().join("\n"),
        ),
    ] {
        println!("{name}");
        assert_rendered(&written, &policy);
    }
}

/// Texts at random from what is special.
#[test]
fn random_texts_are_read_back() {
    const PARTS: [&str; 40] = [
        "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}", "\t", " ", "  ", "\0", "\u{7F}", "\u{FEFF}", "\u{202E}", ":",
        ": ", "-", "- ", "?", "#", " #", "'", "\"", "\\", "{", "}", "[", "]", ",", "&", "*", "!", "|", ">", "%", "@",
        "a", "0", "1", ".", "日", "😀",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..60 {
        let text = |random: &mut fastrand::Rng| -> String {
            let length = random.usize(0..8);
            iter::repeat_with(|| PARTS[random.usize(..PARTS.len())])
                .take(length)
                .collect()
        };
        let texts: Vec<String> = (0..8).map(|_| text(&mut random)).collect();
        let policy = policy(&texts);
        let written = if random.bool() {
            policy.to_string()
        } else {
            format!("{policy:#}")
        };
        assert_rendered(&written, &policy);
    }
}

/// What was rendered is a source of policies again.
#[test]
fn what_is_rendered_can_be_rendered_again() {
    let texts = [owned(SPECIAL), vec!["k".repeat(1_100)]].concat();
    let policy = policy(&texts);
    for (target, _, _) in TARGETS {
        assert_rendered(&render(target, &[], &policy.to_string()), &policy);
    }
}

#[test]
fn no_argument_adds_to_the_yaml() {
    let texts = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long());
    let texts: Vec<String> = texts.filter(|text| !text.contains(['\0', '[', ']'])).collect();
    for (target, argument, pointer, name, expected) in ARGUMENTS {
        let any = read(&render(target, &[], "{}"));
        for text in &texts {
            let rendered = render(target, &[&argument.replace('@', text)], "{}");
            let mut wanted = any.clone();
            wanted.pointer_mut(pointer).unwrap()[name] = expected.replace('@', text).into();
            assert_eq!(read(&rendered), wanted, "{target} {argument} {text:?}: {rendered}");
        }
    }
}

#[test]
fn no_label_adds_to_the_yaml() {
    let texts = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long());
    for (target, pointer) in [
        ("istio", "/spec/selector/matchLabels"),
        ("envoy-filter", "/spec/workloadSelector/labels"),
    ] {
        let any = read(&render(target, &[], "{}"));
        for text in texts.clone().filter(|text| !text.contains(['\0', '='])) {
            let rendered = render(target, &[&format!("--selector={text}=a")], "{}");
            let mut wanted = any.clone();
            *wanted.pointer_mut(pointer).unwrap() = json!({text: "a"});
            assert_eq!(read(&rendered), wanted, "{target}: {rendered}");
        }
    }
}
