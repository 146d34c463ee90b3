//! Nothing in a policy or in an argument adds to what `keyfence render` writes: a reader of YAML 1.1 and one of 1.2 get the policy
//! that went in, and around it what is around any policy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

mod feed;
mod options;
mod size;
mod special;
mod whole;
mod yaml_1_1;

use std::collections::HashMap;
use std::io::Write;
use std::iter;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

use special::{SPECIAL, policy};

/// Longer than a name may be without a question mark: in characters, in bytes, and once it is escaped.
fn long() -> Vec<String> {
    let lengths = [999, 1_000, 1_001, 1_023, 1_024, 1_025, 10_000];
    let long = ["k", "あ", "\u{1}", "a b"];
    let lengths = lengths.iter().flat_map(|length| long.map(|text| text.repeat(*length)));
    lengths.chain([format!("{}\u{2028}a: b", "k".repeat(1_100))]).collect()
}

/// Where a target has the policy, in the list of its documents, and whether it is text there.
const TARGETS: [(&str, &str, bool); 5] = [
    (
        "envoy",
        "/0/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value",
        true,
    ),
    ("ecds", "/0/resources/0/typed_config/config/configuration/value", true),
    ("istio", "/0/spec/pluginConfig", false),
    (
        "envoy-filter",
        "/0/spec/configPatches/0/patch/value/typed_config/config/configuration/value",
        true,
    ),
    ("envoy-gateway", "/0/spec/wasm/0/config", false),
];

/// The arguments of each target that are text, where they are in what is rendered, and what is around them in both.
#[rustfmt::skip]
const ARGUMENTS: &[(&str, &str, &str, &str, &str)] = &[
    ("envoy", "--wasm=@", "/0/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/vm_config/code/local", "filename", "@"),
    ("envoy", "--listen=@:10000", "/0/static_resources/listeners/0/address/socket_address", "address", "@"),
    ("envoy", "--upstream=@:10001", "/0/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address", "address", "@"),
    ("ecds", "--wasm=@", "/0/resources/0/typed_config/config/vm_config/code/local", "filename", "@"),
    ("istio", "--namespace=@", "/0/metadata", "namespace", "@"),
    ("istio", "--image=@", "/0/spec", "url", "oci://@"),
    ("istio", "--selector=istio=@", "/0/spec/selector/matchLabels", "istio", "@"),
    ("envoy-filter", "--wasm=@", "/0/spec/configPatches/0/patch/value/typed_config/config/vm_config/code/local", "filename", "@"),
    ("envoy-filter", "--namespace=@", "/0/metadata", "namespace", "@"),
    ("envoy-filter", "--selector=istio=@", "/0/spec/workloadSelector/labels", "istio", "@"),
    ("istio", "--pull-secret=@", "/0/spec", "imagePullSecret", "@"),
    ("envoy-gateway", "--gateway=@", "/0/spec/targetRefs/0", "name", "@"),
    ("envoy-gateway", "--pull-secret=@", "/0/spec/wasm/0/code/image/pullSecretRef", "name", "@"),
    ("envoy-gateway", "--image=@", "/0/spec/wasm/0/code/image", "url", "@"),
];

fn render(target: &str, arguments: &[&str], policy: &str) -> String {
    render_with_warnings(target, arguments, policy).0
}

/// What is on standard output, and on standard error.
fn render_with_warnings(target: &str, arguments: &[&str], policy: &str) -> (String, String) {
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
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{target} {arguments:?}: {stderr} of {policy}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

/// The documents that both readers see, as a list.
fn read(rendered: &str) -> Value {
    let seen = yaml_1_1::read(rendered).unwrap_or_else(|error| panic!("YAML 1.1: {error} in {rendered}"));
    let options = serde_saphyr::options! { budget: None };
    let other: Vec<Value> = serde_saphyr::from_multiple_with_options(rendered, options)
        .unwrap_or_else(|error| panic!("YAML 1.2: {error} in {rendered}"));
    assert_eq!(other, seen, "YAML 1.2 and 1.1: {rendered}");
    seen.into()
}

/// Characters that no version of YAML allows unescaped, the additional line breaks of 1.1, and bidirectional controls.
fn is_refused(c: char) -> bool {
    const OTHERS: &str = "\u{2028}\u{2029}\u{FEFF}\u{FFFE}\u{FFFF}\u{61C}\u{200E}\u{200F}\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}";
    (c.is_control() && c != '\n' && c != '\t') || OTHERS.contains(c)
}

/// The rendered document with `policy` at this pointer.
fn with_policy(mut rendered: Value, pointer: &str, policy: Value) -> Value {
    *rendered.pointer_mut(pointer).unwrap() = policy;
    rendered
}

/// What each target renders for an empty policy.
static ANY: LazyLock<HashMap<&str, Value>> = LazyLock::new(|| {
    let targets = TARGETS.iter().map(|(target, _, _)| *target);
    targets
        .map(|target| (target, read(&render(target, &[], "{}"))))
        .collect()
});

/// Each target contains `policy` for `written`, and differs in nothing else from what it renders for an empty policy.
fn assert_rendered(written: &str, policy: &Value) {
    for (target, pointer, is_text) in TARGETS {
        let rendered = render(target, &[], written);
        assert!(!rendered.contains(is_refused), "{target}: {rendered:?}");
        let seen = read(&rendered);
        let value = seen.pointer(pointer).unwrap_or_else(|| panic!("{target}: {rendered}"));
        let value = match value {
            Value::String(text) if is_text => serde_json::from_str(text).unwrap(),
            value => value.clone(),
        };
        assert_eq!(
            with_policy(seen.clone(), pointer, value),
            with_policy(ANY[target].clone(), pointer, policy.clone()),
            "{target}: {rendered}"
        );
    }
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
        assert_eq!(seen[0]["d"], "e", "{seen:?}");
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

#[test]
fn a_readable_name_stays_readable() {
    for name in ["お店の検索", "Café ß", "עברית", "😀👩\u{200D}🚀"] {
        let policy = json!({"anonymous": {"name": name}});
        for (target, _, _) in TARGETS {
            let rendered = render(target, &[], &policy.to_string());
            assert!(rendered.contains(name), "{target}: {rendered}");
        }
    }
}

/// JSON allows carriage returns between tokens, and YAML ends a line at each.
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
    let texts: Vec<String> = texts
        .filter(|text| !text.contains(['\0', '[', ']']) && !text.is_empty())
        .collect();
    for (target, argument, pointer, name, expected) in ARGUMENTS {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        for text in &texts {
            let rendered = render(target, &[&argument.replace('@', text)], "{}");
            let mut wanted = ANY[target].clone();
            // Not there without the argument.
            if wanted.pointer(pointer).is_none() {
                wanted.pointer_mut(parent).unwrap()[field] = json!({});
            }
            wanted.pointer_mut(pointer).unwrap()[name] = expected.replace('@', text).into();
            assert_eq!(read(&rendered), wanted, "{target} {argument} {text:?}: {rendered}");
        }
    }
}

/// Names in several documents, and lists.
#[test]
fn no_argument_adds_to_the_other_documents() {
    let texts = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long());
    for text in texts.filter(|text| !text.contains('\0') && !text.is_empty()) {
        let arguments = [
            &format!("--namespace={text}"),
            &format!("--gateway={text}"),
            "--gateway=other",
            "--trusted-hops=2",
        ];
        let rendered = render("envoy-gateway", &arguments, "{}");
        let seen = read(&rendered);
        let gateway = |name: &str| json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name});
        let targets = json!([gateway(&text), gateway("other")]);
        let mut wanted = ANY["envoy-gateway"].clone();
        wanted[0]["spec"]["targetRefs"] = targets.clone();
        wanted.as_array_mut().unwrap().push(json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "ClientTrafficPolicy",
            "metadata": {"name": "keyfence"},
            "spec": {"targetRefs": targets, "clientIPDetection": {"xForwardedFor": {"numTrustedHops": 2}}},
        }));
        for document in wanted.as_array_mut().unwrap() {
            document["metadata"]["namespace"] = text.clone().into();
        }
        assert_eq!(seen, wanted, "{text:?}: {rendered}");

        let arguments = [
            &*format!("--gateway={text}"),
            "--namespace=shop",
            "--kind=traffic-extension",
        ];
        let rendered = read(&render("istio", &arguments, "{}"));
        assert_eq!(rendered[0]["spec"]["targetRefs"], json!([gateway(&text)]), "{text:?}");
        assert_eq!(
            rendered[0]["spec"].as_object().unwrap().len(),
            3,
            "{text:?}: {rendered}"
        );
    }
}

#[test]
fn no_label_adds_to_the_yaml() {
    let texts = SPECIAL.iter().map(|text| (*text).to_owned()).chain(long());
    for (target, pointer) in [
        ("istio", "/0/spec/selector/matchLabels"),
        ("envoy-filter", "/0/spec/workloadSelector/labels"),
    ] {
        for text in texts
            .clone()
            .filter(|text| !text.contains(['\0', '=']) && !text.is_empty())
        {
            let arguments = [&*format!("--selector={text}=a"), "--selector=other-label=b"];
            let rendered = render(target, &arguments, "{}");
            let mut wanted = ANY[target].clone();
            *wanted.pointer_mut(pointer).unwrap() = json!({text: "a", "other-label": "b"});
            assert_eq!(read(&rendered), wanted, "{target}: {rendered}");
        }
    }
}
