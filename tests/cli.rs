//! The built command line: what it prints and how it exits.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/program.rs"]
mod program;

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
#[cfg(unix)]
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use program::keyfence;
use serde_json::Value;
use tempfile::TempDir;

fn with_file(name: &str, text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// SHA-256 of `one`.
const ONE: &str = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

/// File, its text, and how the lines of `check` begin, less the one that accepts a policy without errors. `SHA` is an API key, `LONG` a
/// long name.
#[rustfmt::skip]
const CHECKS: &[(&str, &str, &[&str])] = &[
    ("policy.json", "{\"anonymous\": {}}", &[]),
    ("policy.json", "\u{FEFF}{\"anonymous\": {}}", &[]),
    ("policy", "\u{FEFF}{\"anonymous\": {}}", &[]),
    ("policy.json", "\u{FEFF}{\"key\": []}", &["policy.json:1:2: error: key: unknown field"]),
    ("policy.yaml", "\u{FEFF}anonymous: {}\n", &[]),
    ("policy.yaml", "\u{FEFF}key: []\n", &["policy.yaml:1:1: error: key: unknown field"]),
    ("envoy.yaml", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.StringValue\n        value: \"\\uFEFF{\\\"keyz\\\": []}\"\n", &["envoy.yaml:8:16: error: keyz: unknown field"]),
    ("policy.json", "{}", &["policy.json:1:1: warning: configuration: there is no key and no anonymous policy"]),
    ("policy.json", "{\n  \"key\": []\n}", &["policy.json:2:3: error: key: unknown field; did you mean keys?"]),
    ("policy.json", "{\n\t\"client_ip\":\t\"header\"\n}", &["policy.json:2:15: error: client_ip: \"header\": must be one of peer, forwarded, forwarded_or_peer"]),
    ("policy.json", "{\n  \"keys\": [],\n}", &["policy.json:3:1: error: configuration: this is not JSON: trailing comma; look at line 3, column 1"]),
    ("policy", "{\"keys\": [\n", &["policy:2:1: error: configuration: this is not JSON"]),
    ("policy.json", "", &["policy.json:1:1: error: configuration: this is not JSON"]),
    ("policy.json", "[]", &["policy.json:1:1: error: configuration: expected an object, found a list"]),
    ("policy.json", "{\"keys\": [\n {\"id\": \"one\", \"kind\": \"secret\"}]}", &["policy.json:2:2: error: keys[0]: api_key is missing"]),
    ("policy.json", "{\"keys\": [{\"id\": \"one\", \"api_key\": \"SHA\",\n \"allowed_origins\": [\"https://a.example/\",\n \"https://*.github.io\", \"https://*.co.uk\", \"https://*.example.co.uk\"]}]}", &[
        "policy.json:2:22: error: keys[0].allowed_origins[0]: \"https://a.example/\": an origin must not end in a slash; browsers send it without; write \"https://a.example\"",
        "policy.json:3:2: warning: keys[0].allowed_origins[1]: \"https://*.github.io\": anybody can register a name under github.io",
        "policy.json:3:25: warning: keys[0].allowed_origins[2]: \"https://*.co.uk\": anybody can register a name under co.uk",
    ]),
    ("policy.json", "{\"anonymous\": {\"allowed_origins\": [\"https://*.vercel.app\"]}}", &["policy.json:1:36: warning: anonymous.allowed_origins[0]: \"https://*.vercel.app\": anybody can register"]),
    ("policy.json", "{\"anonymous\": {\"allowed_origins\": [\n\"https://app-*-team.vercel.app\",\n\"https://*--app.netlify.app:*\",\n\"https://app-*.co.uk\",\n\"https://*.compute.amazonaws.com\",\n\"https://app.vercel.app\", \"https://app-*.example.com\", \"https://*.example.com\", \"https://app-*.app.vercel.app\"]}}", &[
        "policy.json:2:1: warning: anonymous.allowed_origins[0]: \"https://app-*-team.vercel.app\": anybody can register a name under vercel.app that fits the pattern; list the hosts that are yours, or",
        "policy.json:3:1: warning: anonymous.allowed_origins[1]: \"https://*--app.netlify.app:*\": anybody can register a name under netlify.app that fits the pattern",
        "policy.json:4:1: warning: anonymous.allowed_origins[2]: \"https://app-*.co.uk\": anybody can register a name under co.uk that fits the pattern",
        "policy.json:5:1: warning: anonymous.allowed_origins[3]: \"https://*.compute.amazonaws.com\": anybody can register a name under compute.amazonaws.com",
    ]),
    ("policy.json", "{\"anonymous\": {\"allowed_origins\": [\"https://*.vercel.app\"]}, \"scopes\": {\"LONG\": []}}", &["policy.json:1:36: warning: anonymous.allowed_origins[0]: \"https://*.vercel.app\": anybody can register"]),
    ("policy.json", "{\"security_headers\": {\"set\": {\"a b\": \"c\"}}}", &["policy.json:1:38: error: security_headers.set[\"a b\"]"]),

    ("policy.yaml", "keys:\n- id: one\n  api_key: SHA\n  kind: secret\n", &[]),
    ("policy.yml", "keys:\n- id: one\n  api_key: SHA\n  kind: secret\n  enabled: on\n  rate_limit_per_minute: 600\n", &[]),
    ("policy.yaml", "# Key\nkeys:\n  - {id: on, api_key: SHA, kind: secret}\n", &["policy.yaml:3:10: error: keys[0].id: true: expected a string, found a boolean; put it in quotes: YAML reads on"]),
    ("policy.yaml", "keys:\n- {id: y, api_key: SHA, kind: secret}\n- {id: 0x1F, api_key: other, kind: secret}\n- {id: 'on', api_key: another, kind: secret}\n", &[
        "policy.yaml:2:8: error: keys[0].id: true",
        "policy.yaml:3:8: error: keys[1].id: 31",
        "policy.yaml:3:23: warning",
        "policy.yaml:3:23: warning",
        "policy.yaml:4:23: warning",
        "policy.yaml:4:23: warning",
    ]),
    ("policy.yaml", "cors: {max_age: 0x10}\nanonymous: &a\n  allowed_ips: [10.0.0.1/8]\nkeys: [{id: one, api_key: SHA, kind: secret, allowed_ips: *b}]", &["policy.yaml:4:127: error: this is not YAML"]),
    ("policy.yaml", "anonymous:\n  allowed_ips: &b [10.0.0.1/8]\nkeys: [{id: one, api_key: SHA, kind: secret, allowed_ips: *b}]", &["policy.yaml:2:20: error: anonymous.allowed_ips[0]", "policy.yaml:2:20: error: keys[0].allowed_ips[0]"]),
    ("policy.yaml", "a: &a [*a]\n", &["policy.yaml:1:8: error: this is not YAML: the alias is within what it stands for"]),
    ("policy.yaml", "anonymous: {name: &a docs_url}\ndocs_url: https://a.example\n*a : b\n", &["policy.yaml:1:22: error: docs_url: duplicate field"]),
    ("policy.yaml", "anonymous: {}\n# a\u{2028}  - b\n", &["policy.yaml:2:4: error: this is not YAML: readers of YAML 1.1 end a line here"]),
    ("policy.yaml", "anonymous:\n  name: |\n    \u{e9}\u{85}keys: []\n", &["policy.yaml:3:6: error: this is not YAML: readers of YAML 1.1 end a line here"]),
    ("policy.yaml", "anonymous: {name: \"a\u{2029}b\"}\n", &["policy.yaml:1:21: error: this is not YAML: readers of YAML 1.1 end a line here"]),
    ("policy.yaml", "anonymous: {name: \"a\\Lb\"}\n", &["policy.yaml:1:19: error: anonymous.name: \"a\\u{2028}b\": a name must not contain control characters or line breaks; write it on one line"]),
    ("policy.json", "{\"anonymous\": {\"name\": \"a\u{2028}b\"}}", &["policy.json:1:24: error: anonymous.name: \"a\\u{2028}b\": a name must not contain control"]),
    ("policy.yaml", "keys:\n\t- id: one\n", &["policy.yaml:2:"]),
    ("policy.yaml", "client_ip: peer\nclient_ip: peer\n", &["policy.yaml:2:1: error: client_ip: duplicate field"]),
    ("policy.yaml", "# nothing\n", &["policy.yaml:1:1: error: configuration: expected an object, found null"]),

    ("plugin.yaml", "apiVersion: v1\nkind: Namespace\n---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginName: keyfence\n  pluginConfig:\n    cors: {max_age: 6e2}\n    keys:\n    - id: no\n      api_key: SHA\n      kind: secret\n", &["plugin.yaml:11:11: error: keys[0].id: false"]),
    ("plugin.yaml", "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginName: keyfence\n", &["plugin.yaml:1:1: warning: configuration: there is no key"]),
    ("extension.yaml", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nspec:\n  wasm:\n  - name: other\n    config: {a: b}\n  - name: keyfence\n    config:\n      keyz: []\n", &["extension.yaml:9:7: error: keyz: unknown field; did you mean keys?"]),
    ("envoy.yaml", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.StringValue\n        value: |\n          {\n            \"keyz\": []\n          }\n", &["envoy.yaml:10:13: error: keyz: unknown field"]),
    ("envoy.yaml", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.StringValue\n        value: |\n          {\n            \"keys\" []\n          }\n", &["envoy.yaml:10:20: error: configuration: this is not JSON: expected `:`"]),
    ("envoy.yaml", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.StringValue\n        value: \"{\\\"keyz\\\": []}\"\n", &["envoy.yaml:8:16: error: keyz: unknown field"]),
    ("envoy.yaml", "static_resources:\n  x:\n  - config:\n      name: keyfence\n      vm_config: {}\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.Struct\n        value:\n          cors: {max_age: 1e3}\n", &["envoy.yaml:9:27: error: cors.max_age: \"1e3\""]),
    ("ecds.json", "{\"resources\": [{\"typed_config\": {\"config\": {\"vm_config\": {\"vm_id\": \"keyfence\"},\n\"configuration\": {\"@type\": \"type.googleapis.com/google.protobuf.StringValue\", \"value\": \"{\\\"keyz\\\": []}\"}}}}]}", &["ecds.json:2:88: error: keyz: unknown field"]),
];

#[test]
fn check_names_the_place_in_the_file() {
    for (name, text, expected) in CHECKS {
        let text = text.replace("SHA", ONE).replace("LONG", &"s".repeat(2_000));
        let folder = with_file(name, &text);
        let output = keyfence(folder.path(), &["check", name], "");
        let (accepted, lines): (Vec<&str>, Vec<&str>) = output
            .stdout
            .lines()
            .partition(|line| line.contains(": policy accepted: "));
        assert_eq!(lines.len(), expected.len(), "{text}\n{}", output.stdout);
        for (line, expected) in lines.iter().zip(*expected) {
            assert!(line.starts_with(expected), "{text}\n{line}\n{expected}");
        }
        let has_errors = expected.iter().any(|line| !line.contains(": warning"));
        assert_eq!(accepted.len(), usize::from(!has_errors), "{text}\n{}", output.stdout);
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (i32::from(has_errors), ""),
            "{text}"
        );
    }
}

/// The exit code, and what the kernel says of the memory. Until the child is a program of its own, this one's counts for it.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn peak_memory_of_check(file: &Path) -> (i32, usize) {
    let child = Command::new(env!("CARGO_BIN_EXE_keyfence"))
        .args([OsStr::new("check"), file.as_os_str()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().try_into().unwrap();
    // SAFETY: an `rusage` is numbers, which may all be zero; both pointers are valid for the call, which waits for a child that
    // nobody else waits for.
    let (status, usage) = unsafe {
        let (mut status, mut usage) = (0, std::mem::zeroed::<libc::rusage>());
        assert_eq!(libc::wait4(pid, &mut status, 0, &mut usage), pid);
        (status, usage)
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    assert!(libc::WIFEXITED(status), "{}: {status:x}", file.display());
    (
        libc::WEXITSTATUS(status),
        usize::try_from(usage.ru_maxrss).unwrap() * unit,
    )
}

/// A megabyte of YAML with aliases can expand to terabytes.
#[test]
fn aliases_are_refused_before_they_take_memory() {
    let large = "x".repeat(100_000);
    let doubling = |index: usize| format!("a{index}: &a{index} [*a{}, *a{0}]\n", index - 1);
    let nested: String = (0..200).map(|index| format!("&a{index} [x, ")).collect();
    for (name, text, is_refused) in [
        (
            "a large text",
            format!("a: &a {large}\nb:\n{}", "- *a\n".repeat(180_000)),
            true,
        ),
        (
            "a large name",
            format!("a: &a {large}\nb: {{{}}}\n", "*a : 1, ".repeat(90_000)),
            true,
        ),
        (
            "a name in an object",
            format!("a: &a {{{large}: 1}}\nb: [{}]\n", "*a, ".repeat(90_000)),
            true,
        ),
        ("nothing", format!("a: &a []\nb: [{}]\n", "*a, ".repeat(250_000)), true),
        (
            "doubling",
            String::from("a0: &a0 x\n") + &(1..30_000).map(doubling).collect::<String>(),
            true,
        ),
        (
            "anchors in anchors",
            format!("a: {nested}{large}{}\n", "]".repeat(200)),
            true,
        ),
        (
            "in many documents",
            format!("a: &a {large}\nb: *a\n---\n").repeat(90),
            true,
        ),
        ("ten thousand keys with ten origins in common", shared_origins(), false),
    ] {
        let folder = with_file("policy.yaml", &text);
        let (code, memory) = peak_memory_of_check(&folder.path().join("policy.yaml"));
        assert_eq!(code, i32::from(is_refused), "{name}");
        assert!(memory < 256 << 20, "{name}: {memory} bytes");
    }
}

fn shared_origins() -> String {
    let origins: Vec<String> = (0..10)
        .map(|index| format!("'https://shop{index}.example.com'"))
        .collect();
    let key = |index: usize| {
        let origins = if index == 0 {
            format!("&origins [{}]", origins.join(", "))
        } else {
            "*origins".into()
        };
        format!("- {{id: key{index}, api_key: 'sha256:{index:064x}', allowed_origins: {origins}}}\n")
    };
    String::from("keys:\n") + &(0..10_000).map(key).collect::<String>()
}

#[test]
fn check_reads_standard_input() {
    for (text, expected) in [
        ("{\"keyz\": []}", "standard input:1:2: error: keyz"),
        ("keyz: []", "standard input:1:1: error: keyz"),
    ] {
        let output = keyfence(Path::new("."), &["check", "-"], text);
        assert!(output.stdout.starts_with(expected), "{}", output.stdout);
        assert_eq!(output.code, 1);
    }
}

#[test]
fn check_counts_what_it_leaves_out() {
    let keys = vec!["1"; 150].join(",");
    let output = keyfence(Path::new("."), &["check", "-"], &format!("{{\"keys\": [{keys}]}}"));
    assert_eq!(output.stdout.lines().count(), 101);
    assert_eq!(output.stdout.lines().last(), Some("standard input: and 50 more errors"));
}

#[test]
fn check_writes_json_for_programs() {
    let policy = "{\"client_ip\": \"peer\",\n\"anonymous\": {\"allowed_ips\": [\"10.0.0.1/8\", \"0.0.0.0/0\"]}}";
    let output = keyfence(Path::new("."), &["check", "--format", "json", "-"], policy);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    let expected = serde_json::json!({
        "file": "standard input",
        "errors": 1,
        "warnings": 1,
        "diagnostics": [
            {
                "severity": "error", "line": 2, "column": 31, "path": "anonymous.allowed_ips[0]", "value": "\"10.0.0.1/8\"",
                "reason": "bits after the prefix are set",
                "help": "write \"10.0.0.1/32\" for that address, or \"10.0.0.0/8\" for the whole network",
            },
            {
                "severity": "warning", "line": 2, "column": 45, "path": "anonymous.allowed_ips[1]", "value": "0.0.0.0/0",
                "reason": "every address is in this network", "help": "list the networks, or take allowed_ips out",
            },
        ],
        "policies": [],
    });
    assert_eq!(report, expected);
    assert_eq!(output.code, 1);
}

/// The same content in other words: JSON, YAML, a `Struct` and a `StringValue`.
#[test]
fn check_and_render_show_which_policy_it_is() {
    let json = format!(
        "{{\"keys\": [{{\"id\": \"a\", \"api_key\": \"{ONE}\", \"kind\": \"secret\"}}], \"cors\": {{\"max_age\": 6e2}}}}"
    );
    let yaml = format!("cors: {{max_age: 600}}\nkeys:\n- kind: secret\n  api_key: {ONE}\n  id: a\n");
    let here = Path::new(".");
    let checked = keyfence(here, &["check", "--format", "json", "-"], &json);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    let hash = &report["policies"][0]["hash"];
    let line = format!("standard input:1:1: policy accepted: 1 key, hash {hash}\n");
    assert_eq!(keyfence(here, &["check", "-"], &json).stdout, line);
    assert_eq!(keyfence(here, &["check", "-"], &yaml).stdout, line);
    for target in TARGETS {
        let rendered = keyfence(here, &["render", target, "-"], &yaml);
        assert_eq!(rendered.stderr, line, "{target}");
        let checked = keyfence(here, &["check", "-"], &rendered.stdout);
        assert!(
            checked
                .stdout
                .ends_with(&format!(": policy accepted: 1 key, hash {hash}\n")),
            "{target}: {}",
            checked.stdout
        );
    }
}

/// The sample policies and manifests that are in this repository.
#[test]
fn check_has_nothing_to_say_of_the_samples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for sample in ["envoy/policy.json", "envoy/istio", "envoy/envoy-gateway"] {
        let path = root.join(sample);
        let files = match fs::read_dir(&path) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) if path.exists() => vec![path],
            Err(_) => continue,
        };
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let has_policy = sample.ends_with(".json") || text.contains("allowed_origins");
            if has_policy {
                let output = keyfence(root, &["check", file.to_str().unwrap()], "");
                let is_accepted = |line: &str| line.contains(": policy accepted: ");
                assert!(output.stdout.lines().all(is_accepted), "{}", output.stdout);
                assert_eq!(output.code, 0, "{}", file.display());
            }
        }
    }
}

#[test]
fn wrong_usage_is_2() {
    let folder = with_file("mesh.yaml", "apiVersion: v1\nkind: Namespace\n");
    fs::write(folder.path().join("quoted.txt"), "'one'\n").unwrap();
    fs::write(folder.path().join("latin-1.txt"), b"cl\xE9").unwrap();
    for arguments in [
        &[][..],
        &["chek"],
        &["check"],
        &["check", "missing.json"],
        &["check", "--format", "xml", "-"],
        &["check", "mesh.yaml"],
        &["explain", "-", "--path", "v1"],
        &["explain", "-", "--ip", "10.0.0"],
        &["explain", "-", "--now", "today"],
        &["explain", "-", "--key", "a", "--key-id", "b"],
        &["explain", "-", "--key-id", "b"],
        &["explain", "-", "-H", "no colon"],
        &["explain", "-", "-H", "a b: c"],
        &["find"],
        &["find", "-"],
        &["find", "missing.json"],
        &["find", "mesh.yaml"],
        &["render", "nginx", "-"],
        &["render", "envoy", "-", "--upstream", "localhost"],
        &["explain", "-", "--key", "Bearer one"],
        &["explain", "-", "--key", "'one'"],
        &["explain", "-", "--key", "<your-key>"],
        &["explain", "-", "--key-file", "-"],
        &["explain", "-", "--key-file", "missing.txt"],
        &["explain", "-", "--key-file", "quoted.txt"],
        &["explain", "-", "--key-file", "latin-1.txt"],
        &["explain", "-", "--key-file", "a.txt", "--key", "a"],
        &["explain", "-", "--key-file", "a.txt", "--key-id", "a"],
        &["keygen", "--prefix", "a,b"],
        &["keygen", "--prefix", ""],
        &["keygen", "--prefix", "sha512:"],
        &["keygen", "--prefix", "Bearer "],
    ] {
        let output = keyfence(folder.path(), arguments, "{}");
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            output.stderr
        );
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn every_command_shows_examples() {
    for command in ["check", "explain", "keygen", "hash", "find", "schema", "render"] {
        let output = keyfence(Path::new("."), &[command, "--help"], "");
        assert!(
            output.stdout.contains(&format!("Examples:\n  keyfence {command}")),
            "{}",
            output.stdout
        );
        assert_eq!(output.code, 0, "{command}");
    }
}

#[test]
fn a_new_key_and_its_hash_belong_together() {
    let here = Path::new(".");
    let made = keyfence(here, &["keygen", "--prefix", "ak_live_"], "");
    let (key, hash) = made.stdout.trim_end().split_once('\n').unwrap();
    let random = key.strip_prefix("ak_live_").unwrap();
    assert!(
        random.len() == 64 && random.bytes().all(|b| b.is_ascii_hexdigit()),
        "{key}"
    );
    assert_eq!(keyfence(here, &["hash"], key).stdout.trim_end(), hash);
    let keys = [0, 1].map(|_| keyfence(here, &["keygen"], "").stdout);
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| key.starts_with("keyfence_")), "{keys:?}");
}

#[test]
fn hash_takes_one_line_break_off() {
    for (stdin, expected) in [
        ("one", Ok(ONE)),
        ("one\n", Ok(ONE)),
        ("one\r\n", Ok(ONE)),
        ("one\n\n", Err("control characters")),
        (" one\n", Err("white space")),
        ("one,two\n", Err("comma")),
        ("", Err("must not be empty")),
        ("\n", Err("must not be empty")),
        (ONE, Err("already")),
        (
            "Bearer ak_live_0123456789\n",
            Err("the scheme of a key source stands before the key"),
        ),
        (
            "\"ak_live_0123456789\"\n",
            Err("quotes would be part of the key; write the key without them"),
        ),
        ("${API_KEY}\n", Err("placeholder that nothing has filled in")),
        (
            "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy\n",
            Err("only sha256: marks a hash"),
        ),
    ] {
        let output = keyfence(Path::new("."), &["hash"], stdin);
        match expected {
            Ok(hash) => assert_eq!((output.stdout.trim_end(), output.code), (hash, 0), "{stdin:?}"),
            Err(reason) => {
                assert!(output.stderr.contains(reason), "{stdin:?}: {}", output.stderr);
                assert_eq!((output.stdout.as_str(), output.code), ("", 1), "{stdin:?}");
            }
        }
    }
}

#[test]
fn hash_warns_of_what_check_would() {
    let digest = ONE.trim_start_matches("sha256:");
    for (key, expected) in [
        ("ak_live_0123456789", ""),
        ("one", "3 bytes can be guessed"),
        (digest, "64 hex digits may be a digest without its sha256:"),
        ("dGhlIGtleSB+aGVyZQ==", "have clients encode it, + as %2B"),
        ("ak_live_0123456789%", "must be encoded there"),
    ] {
        let output = keyfence(Path::new("."), &["hash"], key);
        assert!(
            output.stdout.starts_with("sha256:") && output.code == 0,
            "{key}: {}",
            output.stdout
        );
        assert_eq!(
            output.stderr.is_empty(),
            expected.is_empty(),
            "{key}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(expected), "{key}: {}", output.stderr);
    }
}

/// A key that is never printed.
const TYPED: &str = "ak_live_0123456789";

/// Arguments, what is typed, and the code or the signal with which the command ends.
#[cfg(target_os = "linux")]
#[rustfmt::skip]
const AT_A_TERMINAL: &[(&str, &str, &str, Result<i32, i32>)] = &[
    ("a key", "hash", "KEY\n", Ok(0)),
    ("a key in a paste of two lines", "hash", "KEY\nrm KEY\n", Ok(0)),
    ("a line that Return ends", "hash", "KEY\r", Ok(0)),
    ("a line that Ctrl-D ends", "hash", "KEY\x04", Ok(0)),
    ("Backspace", "hash", "KEYab\u{e9}\x7F\x7F\x7F\n", Ok(0)),
    ("Backspace in an empty line", "hash", "\x7FKEY\n", Ok(0)),
    ("Ctrl-U", "hash", "wrong\x15KEY\n", Ok(0)),
    ("nothing", "hash", "\x04", Ok(1)),
    ("Ctrl-C", "hash", "KEY\x03", Err(libc::SIGINT)),
    ("Ctrl-C at once", "explain policy.json --key-file -", "\x03", Err(libc::SIGINT)),
    ("a key to explain", "explain policy.json --key-file -", "KEY\n", Ok(0)),
    ("a leaked key", "find policy.json", "x-api-key: KEY\n", Ok(0)),
    ("a leaked key in a longer line than a terminal keeps", "find policy.json", "LONG KEY\n", Ok(0)),
    ("another text", "find policy.json", "text\n", Ok(1)),
    ("Ctrl-C instead of a leaked key", "find policy.json", "KEY\x03", Err(libc::SIGINT)),
    ("a key in quotes", "explain policy.json --key-file -", "'KEY'\n", Ok(2)),
];

#[test]
#[cfg(target_os = "linux")]
fn nothing_that_is_typed_is_shown() {
    let policy = format!(r#"{{"keys": [{{"id": "typed", "api_key": "{TYPED}"}}]}}"#);
    let folder = with_file("policy.json", &policy);
    let hash = keyfence(folder.path(), &["hash"], TYPED).stdout;
    for (name, arguments, typed, expected) in AT_A_TERMINAL {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let prompt = if arguments[0] == "find" {
            "Leaked text: "
        } else {
            "API key: "
        };
        let output = at_terminal(
            folder.path(),
            &arguments,
            prompt,
            &typed.replace("KEY", TYPED).replace("LONG", &"long ".repeat(2_000)),
        );
        assert_eq!(
            output.status.code().ok_or(output.status.signal().unwrap_or(0)),
            *expected,
            "{name}: {output:?}"
        );
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(!stdout.contains(TYPED), "{name}: {stdout}");
        match (arguments[0], expected) {
            ("hash", Ok(0)) => assert_eq!(stdout, hash, "{name}"),
            ("find", Ok(0)) => assert_eq!(stdout, "policy.json:1:38: typed: enabled\n", "{name}"),
            (_, Ok(0)) => assert!(
                stdout.contains("pass  key      typed in Authorization: Bearer"),
                "{name}: {stdout}"
            ),
            _ => assert_eq!(stdout, "", "{name}"),
        }
    }
}

/// Whoever continues a command that Ctrl-Z has stopped is asked again.
#[test]
#[cfg(target_os = "linux")]
fn a_stopped_prompt_goes_on() {
    let (mut keyboard, terminal) = terminal();
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyfence"))
        .arg("hash")
        .stdin(terminal.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    expect(&mut stderr, "API key: ");
    keyboard.write_all(b"wrong\x1A").unwrap();
    expect(&mut stderr, "\n");
    let pid = child.id().try_into().unwrap();
    std::thread::scope(|scope| {
        let asked_again = scope.spawn(|| expect(&mut stderr, "API key: "));
        while !asked_again.is_finished() {
            // SAFETY: kill reads no memory, and the child has not been waited for. In an orphaned process group nothing stops it.
            unsafe { libc::kill(pid, libc::SIGCONT) };
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    keyboard.write_all(format!("{TYPED}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = keyfence(Path::new("."), &["hash"], TYPED).stdout;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), hash);
}

/// Types at the command's prompt. The terminal must show nothing of it, and be as it was when the command has ended.
#[cfg(target_os = "linux")]
fn at_terminal(folder: &Path, arguments: &[&str], prompt: &str, typed: &str) -> std::process::Output {
    let (mut keyboard, mut terminal) = terminal();
    let before = modes(&terminal);
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyfence"))
        .args(arguments)
        .current_dir(folder)
        .stdin(terminal.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    expect(child.stderr.as_mut().unwrap(), prompt);
    keyboard.write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(modes(&terminal), before, "{typed:?}");
    // What is typed after the command is shown again, and nothing before it was.
    keyboard.write_all(b"shown\n").unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"shown\r\n") {
        let mut bytes = [0; 64];
        let length = keyboard.read(&mut bytes).unwrap();
        shown.extend(&bytes[..length]);
    }
    assert_eq!(String::from_utf8_lossy(&shown), "shown\r\n", "{typed:?}");
    // Nothing of it is left for the shell.
    expect(&mut terminal, "shown\n");
    output
}

#[cfg(target_os = "linux")]
fn expect(source: &mut impl Read, text: &str) {
    let mut bytes = vec![0; text.len()];
    source.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// The modes of a terminal, and its control characters.
#[cfg(target_os = "linux")]
fn modes(terminal: &fs::File) -> ([u32; 4], [u8; libc::NCCS]) {
    use std::os::fd::AsRawFd;
    // SAFETY: a `termios` is numbers, which may all be zero; the pointer and the descriptor are valid for the call.
    let modes = unsafe {
        let mut modes = std::mem::zeroed::<libc::termios>();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &mut modes), 0);
        modes
    };
    let flags = [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag];
    (flags, modes.c_cc)
}

/// Both ends of a pseudo-terminal.
#[cfg(target_os = "linux")]
fn terminal() -> (fs::File, fs::File) {
    use std::os::fd::FromRawFd;
    let (mut keyboard, mut terminal) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: openpty writes two descriptors, which nobody else has; the pointers that may be null are.
    unsafe {
        assert_eq!(
            libc::openpty(&mut keyboard, &mut terminal, null, null.cast(), null.cast()),
            0
        );
        (fs::File::from_raw_fd(keyboard), fs::File::from_raw_fd(terminal))
    }
}

const SEARCHED: &str = r#"{
    "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}, {"websocket_protocol": "api-key."}],
    "keys": [
        {"id": "plain", "api_key": "PLAIN"},
        {"id": "base64", "api_key": "aGVs/G8+d29ybGQ/IQ=="},
        {"id": "odd", "api_key": "k*y(0)=[1];{2}&\\<3>|4@5#6!7:8"},
        {"id": "spaces", "api_key": "four words of a key"},
        {"id": "digits", "api_key": "DIGITS"},
        {"id": "long", "api_key": "LONG"},
        {"id": "other", "api_key": "sha256:0000000000000000000000000000000000000000000000000000000000000001"}
    ]
}"#;

/// 64 hex digits, which may be a key or a digest.
const DIGITS: &str = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";

/// What somebody pastes, and the ids in it. `PLAIN`, `DIGITS` and `LONG` are keys, `SHA` is the digest of `PLAIN`.
#[rustfmt::skip]
const LEAKS: &[(&str, &[&str])] = &[
    ("PLAIN", &["plain"]),
    ("\u{FEFF}  PLAIN\r\n\n", &["plain"]),
    ("\u{A0}PLAIN\u{A0}", &["plain"]),
    ("\"PLAIN\"", &["plain"]),
    ("'PLAIN',", &["plain"]),
    ("`PLAIN`", &["plain"]),
    ("\u{201C}PLAIN\u{201D}.", &["plain"]),
    ("**PLAIN**", &["plain"]),
    ("<PLAIN>", &["plain"]),
    ("the key is PLAIN.", &["plain"]),
    ("Bearer PLAIN", &["plain"]),
    ("bearer:PLAIN", &["plain"]),
    ("Authorization: Bearer PLAIN", &["plain"]),
    ("authorization:Bearer\tPLAIN", &["plain"]),
    ("X-API-Key: PLAIN", &["plain"]),
    ("x-api-key:PLAIN", &["plain"]),
    ("API_KEY=PLAIN", &["plain"]),
    ("export API_KEY='PLAIN'; make", &["plain"]),
    ("https://api.example.com/v1/x?q=1&api_key=PLAIN&b=c#d", &["plain"]),
    ("https://api.example.com/v1/x?api%5Fkey=%61k_live_0123456789", &["plain"]),
    ("https://api.example.com/?api_key=aGVs/G8%2Bd29ybGQ/IQ%3D%3D", &["base64"]),
    ("https://api.example.com/?api_key=aGVs%2FG8%2bd29ybGQ%2fIQ==&a=b", &["base64"]),
    ("https://api.example.com/?api_key=four+words+of%20a+key&a=b", &["spaces"]),
    ("https://PLAIN@api.example.com/", &["plain"]),
    ("Sec-WebSocket-Protocol: chat, api-key.PLAIN", &["plain"]),
    ("new WebSocket(url, [\"chat\", \"api-key.PLAIN\"])", &["plain"]),
    ("aGVs/G8+d29ybGQ/IQ==", &["base64"]),
    ("key=aGVs/G8+d29ybGQ/IQ==;", &["base64"]),
    ("{\"key\":\"aGVs\\/G8\\u002bd29ybGQ\\/IQ==\",\"n\":1}", &["base64"]),
    ("{\"headers\":\"{\\\"authorization\\\":\\\"Bearer PLAIN\\\"}\"}", &["plain"]),
    ("Bearer k*y(0)=[1];{2}&\\<3>|4@5#6!7:8 x", &["odd"]),
    ("key: \"four words of a key\"", &["spaces"]),
    (" four words of a key \n", &["spaces"]),
    ("SHA", &["plain"]),
    ("sha256:SHA", &["plain"]),
    ("\"api_key\": \"SHA256:SHA\",", &["plain"]),
    ("DIGITS", &["digits"]),
    ("LONG", &["long"]),
    ("a PLAI N", &[]),
    ("PLAINa", &[]),
    ("aPLAIN", &[]),
    ("PLAI", &[]),
    ("PLA\nIN", &["plain"]),
    ("not a key", &[]),
    ("::::====&&&&", &[]),
    ("10.0.0.1 - - [01/Jan/2027:00:00:00 +0000] \"GET /v1?api_key=PLAIN HTTP/1.1\" 200 \"-\"\nx: DIGITS\n", &["plain", "digits"]),
];

fn searched() -> TempDir {
    let policy = SEARCHED.replace("PLAIN", TYPED).replace("DIGITS", DIGITS);
    with_file("policy.json", &policy.replace("LONG", &"l".repeat(512)))
}

#[test]
fn find_names_the_key_in_whatever_is_pasted() {
    let folder = searched();
    let hash = keyfence(folder.path(), &["hash"], TYPED).stdout;
    let digest = hash.trim_end().strip_prefix("sha256:").unwrap();
    for (text, expected) in LEAKS {
        let (start, end) = TYPED.split_at(4);
        let text = text.replace("SHA256", "Sha256").replace("SHA", digest);
        let text = text.replace("PLA\nIN", &format!("{start}\n{end}"));
        let text = text.replace("PLAIN", TYPED).replace("PLAI", &TYPED[1..]);
        let text = text.replace("DIGITS", DIGITS).replace("LONG", &"l".repeat(512));
        let output = keyfence(folder.path(), &["find", "policy.json", "--format", "json"], &text);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        let found = report["found"].as_array().unwrap().iter();
        let ids: Vec<&str> = found.map(|found| found["key_id"].as_str().unwrap()).collect();
        let code = i32::from(expected.is_empty());
        assert_eq!(
            (ids.as_slice(), output.code),
            (*expected, code),
            "{text}: {}",
            output.stderr
        );
        let printed = output.stdout + &output.stderr + &keyfence(folder.path(), &["find", "policy.json"], &text).stdout;
        for secret in [&text, TYPED, digest] {
            assert!(!printed.contains(secret), "{text}: {printed}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn find_tells_where_the_key_is_and_whether_it_works() {
    let policy = r#"keys:
- {id: open, api_key: key-open-0000000}
- id: rotated
  expires_at: 2099-06-01T00:00:00Z
  api_key:
  - {key: key-new-00000000, label: 2026-11}
  - {key: key-old-00000000, expires_at: 2020-01-01T00:00:00Z}
  - key-third-000000
- {id: stopped, api_key: key-off-00000000, enabled: false}
- {id: early, api_key: key-early-000000, not_before: 2098-01-01T00:00:00Z}
"#;
    let folder = with_file("policy.yaml", policy);
    for (text, expected) in [
        ("key-open-0000000", "policy.yaml:2:23: open: enabled\n"),
        ("key-new-00000000", "policy.yaml:6:5: rotated, entry 2026-11: enabled, expires at 2099-06-01T00:00:00Z\n"),
        ("key-old-00000000", "policy.yaml:7:5: rotated, entry 2 of 3: enabled, expired at 2020-01-01T00:00:00Z\n"),
        ("key-third-000000", "policy.yaml:8:5: rotated, entry 3 of 3: enabled, expires at 2099-06-01T00:00:00Z\n"),
        ("key-off-00000000", "policy.yaml:9:26: stopped: disabled\n"),
        ("key-early-000000", "policy.yaml:10:24: early: enabled, not valid before 2098-01-01T00:00:00Z\n"),
        ("a\nb key-open-0000000 key-off-00000000\n", "policy.yaml:2:23: open: enabled; line 2 of the text\npolicy.yaml:9:26: stopped: disabled; line 2 of the text\n"),
        ("f7c3bc1d808e04732adf679965ccc34ca7ae3441", ""),
    ] {
        let output = keyfence(folder.path(), &["find", "policy.yaml"], text);
        assert_eq!(output.stdout, expected, "{text}: {}", output.stderr);
        assert_eq!(output.stderr.as_str(), if expected.is_empty() { "keyfence: none of the 4 keys is in the text\n" } else { "" }, "{text}");
    }
    let hash = keyfence(folder.path(), &["hash"], "key-open-0000000").stdout;
    let output = keyfence(folder.path(), &["find", "policy.yaml"], &hash);
    assert_eq!(output.stdout, "policy.yaml:2:23: open: enabled; the text has its sha256: form, from which nobody gets the key\n");
    let output = keyfence(folder.path(), &["find", "policy.yaml", "--format", "json"], &format!("{hash}key-old-00000000"));
    let expected = serde_json::json!({"compared": 4, "found": [
        {"key_id": "open", "key_label": null, "file": "policy.yaml", "line": 2, "column": 23, "path": "keys[0].api_key", "form": "sha256", "text_line": 1,
         "enabled": true, "expired": false, "not_before": null, "expires_at": null},
        {"key_id": "rotated", "key_label": null, "file": "policy.yaml", "line": 7, "column": 5, "path": "keys[1].api_key[1]", "form": "key", "text_line": 2,
         "enabled": true, "expired": true, "not_before": null, "expires_at": "2020-01-01T00:00:00Z"},
    ]});
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), expected);
    let output = keyfence(folder.path(), &["find", "policy.yaml", "--format", "json"], "nothing");
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), serde_json::json!({"compared": 4, "found": []}));
    assert_eq!(output.code, 1);
}

/// A file that cannot be read may have the key, so "not found" would be too much. One that another file has is found all the same.
#[test]
fn find_reads_what_it_can() {
    let folder = with_file(
        "good.json",
        &format!(r#"{{"keys": [{{"id": "good", "api_key": "{TYPED}"}}]}}"#),
    );
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "same.json",
        &format!(r#"{{"keys": [{{"id": "same", "api_key": "{TYPED}"}}]}}"#),
    );
    write(
        "elsewhere.json",
        &format!(r#"{{"cors": {{"max_age": -1}}, "keys": [{{"id": "elsewhere", "api_key": "{TYPED}2"}}]}}"#),
    );
    write(
        "wrong.json",
        &format!(r#"{{"keys": [{{"id": "a b", "api_key": "{TYPED}3"}}, {{"id": "right", "api_key": "{TYPED}4"}}]}}"#),
    );
    write(
        "plugin.yaml",
        &format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginName: keyfence\n  pluginConfig:\n    keys: [{{id: istio, api_key: {TYPED}5}}]\n"
        ),
    );
    write("syntax.yaml", "keys: [\n");
    write("syntax.json", "{\"keys\": [");
    for (files, text, expected, code) in [
        (
            "good.json same.json",
            "",
            "good.json:1:37: good: enabled\nsame.json:1:37: same: enabled\n",
            0,
        ),
        ("good.json missing.json", "", "good.json:1:37: good: enabled\n", 0),
        ("missing.json good.json", "2", "", 2),
        ("elsewhere.json", "2", "elsewhere.json:1:67: elsewhere: enabled\n", 0),
        ("elsewhere.json", "", "", 1),
        ("wrong.json", "3", "", 2),
        ("wrong.json", "4", "wrong.json:1:87: right: enabled\n", 0),
        ("plugin.yaml", "5", "plugin.yaml:6:33: istio: enabled\n", 0),
        ("good.json syntax.yaml", "9", "", 2),
        ("good.json syntax.json", "9", "", 2),
        ("good.json", "9", "", 1),
    ] {
        let arguments: Vec<&str> = std::iter::once("find").chain(files.split(' ')).collect();
        let output = keyfence(folder.path(), &arguments, &format!("{TYPED}{text}"));
        assert_eq!(
            (output.stdout.as_str(), output.code),
            (expected, code),
            "{files}, {text}: {}",
            output.stderr
        );
        assert!(!output.stderr.contains(TYPED), "{}", output.stderr);
    }
    for empty in ["", " \n"] {
        assert_eq!(keyfence(folder.path(), &["find", "good.json"], empty).code, 2);
    }
}

/// The time grows with the length of the text only.
#[test]
fn find_takes_long_texts() {
    let folder = searched();
    for (name, text, code) in [
        ("delimiters", "=".repeat(20_000), 1),
        ("a key behind delimiters", format!("{}{TYPED}", "a=&".repeat(7_000)), 0),
        ("a key behind words", format!("{}{TYPED}", "word ".repeat(20_000)), 0),
        ("one word", "x".repeat(1 << 20), 1),
        ("too long", "x".repeat((1 << 20) + 1), 2),
    ] {
        let output = keyfence(folder.path(), &["find", "policy.json"], &text);
        assert_eq!(output.code, code, "{name}: {}{}", output.stdout, output.stderr);
    }
}

#[test]
fn schema_prints_the_committed_one() {
    let output = keyfence(Path::new("."), &["schema"], "");
    assert_eq!(output.stdout, include_str!("../envoy/policy.schema.json"));
}

const POLICY: &str = r#"{
    "key_sources": [{"header": "Authorization", "scheme": "Bearer"}, {"header": "X-API-Key"}, {"query": "api_key"}],
    "keys": [
        {
            "id": "shop", "api_key": "SHA", "not_before": "2026-01-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z",
            "allowed_origins": ["https://shop.example.com", "https://*.preview.example.com:8443", "http://localhost:3000", "https://app-*-team.example.com", "moz-extension://*"],
            "allowed_ips": ["192.0.2.0/24", "2001:db8::/32"], "rate_limit_per_minute": 5,
            "scopes": ["search", "health"], "indexes": ["products", "articles-*"]
        },
        {"id": "open", "api_key": "two-two-two-two-two"},
        {"id": "shared", "api_key": "seven-seven-seven-seven", "kind": "secret", "rate_limit_per_minute": 9, "rate_limit_per_minute_per_client": 3},
        {"id": "clients", "api_key": "eight-eight-eight-eight", "kind": "secret", "rate_limit_per_minute_per_client": 3},
        {"id": "off", "api_key": "three-three-three", "enabled": false, "allowed_origins": ["https://off.example.com"]},
        {"id": "server", "api_key": "four-four-four-four", "kind": "secret"},
        {"id": "cors", "api_key": "five-five-five-five", "allowed_origins": ["https://cors.example.com"], "origin_check": "cors_only"},
        {"id": "trial", "api_key": "six-six-six-six-six", "allowed_origins": ["https://trial.example.com"], "enforcement": "report"}
    ],
    "scopes": {
        "search": [{"methods": ["GET", "POST"], "path": "/v1/indexes/{index}/search"}],
        "health": [{"methods": ["*"], "path": "/health"}]
    }
}"#;

const SHOP: &str = "--key-id shop --ip 192.0.2.7 --origin https://shop.example.com --path /v1/indexes/products/search --now 2026-07-01T00:00:00Z";

/// Arguments (`SHOP` are those of an allowed request; a later one of a name takes the place of an earlier), exit code, and parts of
/// the output in their order.
#[rustfmt::skip]
const EXPLANATIONS: &[(&str, i32, &[&str])] = &[
    ("SHOP", 0, &[
        "GET /v1/indexes/products/search\norigin: https://shop.example.com\nauthorization: Bearer (the API key)\n",
        "pass  key      shop in Authorization: Bearer\n",
        "pass  life     enabled; 2026-07-01T00:00:00Z is past not_before 2026-01-01T00:00:00Z, before expires_at 2027-01-01T00:00:00Z\n",
        "pass  kind     publishable",
        "pass  address  192.0.2.7 is in 192.0.2.0/24\n",
        "pass  origin   https://shop.example.com matches https://shop.example.com\n",
        "pass  path     ", "pass  scope    GET /v1/indexes/products/search fits GET, POST /v1/indexes/{index}/search of search, and the index products is one of products, articles-*\n",
        "pass  rate     1 of 5 in 60 seconds",
        "\nallowed\n",
        "The upstream gets\n  GET /v1/indexes/products/search\n  origin: https://shop.example.com\n  authorization: Bearer (the API key)\n  x-key-id: shop\n",
        "The client gets the upstream's response with\n", "  access-control-allow-origin: https://shop.example.com\n", "  x-ratelimit-remaining: 4\n", "  x-ratelimit-reset: 1782864061\n",
    ]),
    ("SHOP --key one", 2, &[]),
    ("--key one", 1, &["pass  key      shop in Authorization: Bearer\n"]),
    ("-H X-API-Key:one", 1, &["x-api-key: (the API key)\n", "pass  key      shop in X-API-Key\n"]),
    ("-H X_API_Key:one", 1, &["x_api_key: (the API key)\n", "pass  key      shop in X-API-Key\n"]),
    ("-H Authorization:Basic,Bearer\u{1}one", 1, &["authorization: Bearer (the API key)\n", "401 ambiguous_api_key"]),
    ("--path /?api%5Fkey=one", 1, &["GET /?api_key=(the API key)\n", "pass  key      shop in ?api_key\n"]),
    ("--path /?a=b&api_key=one&c", 1, &["GET /?a=b&api_key=(the API key)&c\n", "pass  key      shop in ?api_key\n"]),
    ("", 1, &["FAIL  key      none in Authorization: Bearer, X-API-Key, ?api_key, and there is no anonymous policy\n", "denied: 401 missing_api_key", "The upstream gets nothing", "The client gets\n  401\n", "\"code\":\"missing_api_key\""]),
    ("--key not-a-key", 1, &["FAIL  key      the one in Authorization: Bearer is not in the policy\n", "401 invalid_api_key"]),
    ("--key one -H X-API-Key:one", 1, &["FAIL  key      more than one in ", "401 ambiguous_api_key"]),
    ("--key-id shop -H X-API-Key:one", 1, &["401 ambiguous_api_key"]),
    ("SHOP --now 2025-12-31T23:59:59Z", 1, &["FAIL  life     enabled; 2025-12-31T23:59:59Z is before not_before 2026", "401 key_not_yet_valid"]),
    ("SHOP --now 2027-01-01T00:00:00Z", 1, &["is past not_before 2026-01-01T00:00:00Z, past expires_at 2027-01-01T00:00:00Z", "401 key_expired"]),
    ("--key-id off", 1, &["FAIL  life     enabled is false", "401 key_disabled"]),
    ("--key-id server", 0, &["pass  kind     secret, and nothing in the request is a browser's"]),
    ("--key-id server --origin https://a.example", 1, &["FAIL  kind     secret, and the request has Origin\n", "403 secret_key_in_browser"]),
    ("--key-id server -H Sec-Fetch-Site:cross-site", 1, &["FAIL  kind     secret, and the request has Sec-Fetch-Site\n"]),
    ("--key-id server -H Sec-Fetch-Mode:cors", 0, &["pass  kind     secret, and nothing in the request is a browser's\n"]),
    ("SHOP --ip 2001:db8::7", 0, &["pass  address  2001:db8::7 is in 2001:db8::/32"]),
    ("SHOP --ip ::ffff:192.0.2.7", 0, &["is in 192.0.2.0/24"]),
    ("SHOP --ip 192.0.3.7", 1, &["FAIL  address  192.0.3.7 is in none of 192.0.2.0/24, 2001:db8::/32", "403 ip_not_allowed"]),
    ("--key-id shop --now 2026-07-01T00:00:00Z", 1, &["FAIL  address  not known (give --ip), and allowed_ips is 192.0.2.0/24"]),
    ("SHOP --origin https://shop.example.com/", 1, &["FAIL  origin   https://shop.example.com/ is none of https://shop.example.com, ", "; no browser sends it: an origin must not end in a slash", "403 origin_not_allowed"]),
    ("SHOP --origin http://localhost:3001", 1, &["; http://localhost:3000 has another port\n"]),
    ("SHOP --origin http://localhost", 1, &["; http://localhost:3000 has a port\n"]),
    ("SHOP --origin http://shop.example.com:8080", 1, &["; https://shop.example.com has another scheme and no port\n"]),
    ("SHOP --origin https://preview.example.com:8443", 1, &["; https://*.preview.example.com:8443 is for subdomains, not for preview.example.com itself\n"]),
    ("SHOP --origin https://a.preview.example.com", 1, &["; https://*.preview.example.com:8443 has another scheme or port\n"]),
    ("SHOP --origin https://staging.shop.example.com", 1, &["; https://shop.example.com is for that host alone, not for its subdomains\n"]),
    ("SHOP --origin https://app-1-team.example.com", 0, &["pass  origin   https://app-1-team.example.com matches https://app-*-team.example.com\n", "access-control-allow-origin: https://app-1-team.example.com\n"]),
    ("SHOP --origin https://app--team.example.com", 1, &["; in https://app-*-team.example.com * is one character or more\n"]),
    ("SHOP --origin https://app-1.2-team.example.com", 1, &["; in https://app-*-team.example.com * has no dot\n"]),
    ("SHOP --origin https://app-1-other.example.com", 1, &["; in https://app-*-team.example.com the label begins with app- and ends with -team\n"]),
    ("SHOP --origin https://app-1-team.example.com:8443", 1, &["; https://app-*-team.example.com has no port\n"]),
    ("SHOP --origin http://app-1-team.example.com", 1, &["; https://app-*-team.example.com has another scheme\n"]),
    ("SHOP --origin https://app-*-team.example.com", 1, &["; no browser sends it: a host is lower-case letters, digits, -, _ and dots\n"]),
    ("SHOP --origin http://a.localhost:3000", 1, &["; http://localhost:3000 is for that host alone, not for its subdomains\n"]),
    ("SHOP --origin moz-extension://0d2a3b4c", 0, &["pass  origin   moz-extension://0d2a3b4c matches moz-extension://*\n"]),
    ("SHOP --origin moz-extension://0d2a3b4c:1", 1, &["; moz-extension://* has no port\n"]),
    ("SHOP --origin moz-extension://a/b", 1, &["; moz-extension://* is for hosts of letters, digits, -, _ and dots\n"]),
    ("SHOP --origin file://", 1, &["file:// is none of https://shop.example.com, "]),
    ("SHOP --origin https://staging.example.org", 1, &["https://staging.example.org is none of https://shop.example.com, https://*.preview.example.com:8443, http://localhost:3000, https://app-*-team.example.com, moz-extension://*\n"]),
    ("--key-id open", 0, &["pass  origin   no allowed_origins: from any page", "pass  path     no scopes", "pass  scope    no scopes", "pass  rate     no limit", "\nallowed\n", "The upstream gets"]),
    ("--key-id shared --ip 192.0.2.7", 0, &["pass  rate     1 of 3 in 60 seconds for the client 192.0.2.7, and 1 of 9 in 60 seconds for all, in fresh windows\n", "x-ratelimit-limit: 3\n  x-ratelimit-remaining: 2\n"]),
    ("--key-id clients --ip 2001:db8:0:1:ffff::1", 0, &["pass  rate     1 of 3 in 60 seconds for the clients in 2001:db8:0:1::/64, in a fresh window\n"]),
    ("--key-id clients --ip ::ffff:192.0.2.7", 0, &["for the client 192.0.2.7, in a fresh window\n"]),
    ("--key-id clients", 0, &["pass  rate     1 of 3 in 60 seconds for all clients whose address is not known (give --ip), in a fresh window\n"]),
    ("--key-id open --origin https://a.example", 1, &["\nallowed, but the browser refuses\n\nThe browser\n  FAIL  preflight console: Response to preflight request doesn't pass access control check: No 'Access-Control-Allow-Origin'"]),
    ("--key-id cors --origin https://a.example", 1, &["pass  origin   https://a.example is none of https://cors.example.com; origin_check is cors_only", "allowed, but the browser refuses"]),
    ("--path /?api_key=one --origin https://a.example --host https://a.example --ip 192.0.2.7", 1, &["403 origin_not_allowed", "The upstream gets nothing"]),
    ("--key-id cors --origin https://cors.example.com", 0, &["\nallowed\n\nThe browser\n  pass  preflight Access-Control-Allow-Origin is https://cors.example.com\n  pass  method    GET needs no permission\n  pass  headers   authorization among Authorization, Content-Type, "]),
    ("--key-id cors --origin https://cors.example.com --method PUT", 0, &["pass  method    PUT is one of GET, POST, PUT, DELETE, OPTIONS\n", "  pass  read      Access-Control-Allow-Origin is https://cors.example.com\n"]),
    ("--key-id cors --origin https://cors.example.com --method PATCH", 1, &["\nallowed, but the browser refuses\n", "FAIL  method    PATCH is none of GET, POST, PUT, DELETE, OPTIONS; console: Method PATCH is not allowed by Access-Control-Allow-Methods in preflight response.\n"]),
    ("--key-id cors --origin https://cors.example.com --method put", 0, &["pass  method    PUT is one of"]),
    ("--origin https://shop.example.com --method delete", 1, &["DELETE /\norigin"]),
    ("--method delete", 1, &["delete /\n"]),
    ("--key-id cors --origin https://cors.example.com --method TRACE", 1, &["FAIL  method   no page can use TRACE"]),
    ("--key-id cors --origin https://cors.example.com -H baggage:a=b", 1, &["FAIL  headers   baggage is none of Authorization, Content-Type, X-Request-Id, X-Idempotency-Key, X-API-Key; console: Request header field baggage is not allowed by Access-Control-Allow-Headers in preflight response.\n"]),
    ("--key-id cors --origin https://cors.example.com -H Content-Type:application/json -H Cookie:a=b -H Accept:text/html", 0, &["pass  headers   authorization, content-type among "]),
    ("--path /?api_key=one --origin https://a.example -H Content-Type:text/plain", 1, &["403 ip_not_allowed", "The browser\n  FAIL  read     console: No 'Access-Control-Allow-Origin' header is present"]),
    ("--key-id cors --origin https://cors.example.com --credentials", 0, &["pass  read"]),
    ("--origin https://shop.example.com --preflight --method PATCH", 1, &["answered: a preflight from an allowed origin, but the browser refuses\n", "FAIL  method    PATCH is none of"]),
    ("--origin https://shop.example.com --preflight -H Baggage:a=b -H Accept:a", 1, &["OPTIONS /\norigin: https://shop.example.com\naccess-control-request-method: GET\naccess-control-request-headers: baggage\n\n", "pass  method    GET needs", "FAIL  headers   baggage is none of"]),
    ("SHOP --path //v1", 1, &["FAIL  path     //v1 has an empty or dot segment", "400 ambiguous_path"]),
    ("SHOP --method DELETE", 1, &["FAIL  scope    DELETE /v1/indexes/products/search fits no rule of search, health\n", "403 scope_not_allowed"]),
    ("SHOP --path /v1/indexes/articles-7/search", 0, &["fits GET, POST /v1/indexes/{index}/search of search, and the index articles-7 is one of products, articles-*\n"]),
    ("SHOP --method HEAD", 0, &["HEAD /v1/indexes/products/search fits GET, POST /v1/indexes/{index}/search of search"]),
    ("SHOP --path /v1/indexes/users/search", 1, &["FAIL  scope    ", "but the index users is none of products, articles-*\n", "403 index_not_allowed"]),
    ("SHOP --path /health", 1, &["FAIL  scope    GET /health fits * /health of health, which names no index\n", "403 index_not_allowed"]),
    ("--key-id trial --origin https://a.example", 0, &["FAIL  origin   ", "forwarded: the policy reports only, and would deny with 403 origin_not_allowed", "The upstream gets\n  GET /\n"]),
    ("--preflight --method POST --origin https://shop.example.com --key one", 0, &["OPTIONS /\norigin: https://shop.example.com\naccess-control-request-method: POST\naccess-control-request-headers: authorization\n\n", "pass  origin   https://shop.example.com matches https://shop.example.com of shop\n", "answered: an allowed preflight", "The client gets\n  204\n", "access-control-allow-methods: GET, POST, PUT, DELETE, OPTIONS\n"]),
    ("--preflight --origin https://a.preview.example.com:8443", 0, &["pass  origin   https://a.preview.example.com:8443 matches https://*.preview.example.com:8443 of shop\n"]),
    ("--preflight --origin https://off.example.com", 1, &["FAIL  origin   https://off.example.com is in no allowed_origins of an enabled key"]),
    ("--key-id open -H X_Key_Id:me -H X-Request-Id:7 --response-header Vary:Accept --response-header Access-Control-Allow-Origin:*", 0, &["The upstream gets\n  GET /\n  authorization: Bearer (the API key)\n  x-request-id: 7\n  x-key-id: open\n", "with\n  vary: Accept, Origin, Authorization, X-API-Key\n  strict-transport-security"]),
];

#[test]
fn explain_shows_each_step_and_the_headers() {
    let folder = with_file("policy.json", &POLICY.replace("SHA", ONE));
    for (arguments, code, expected) in EXPLANATIONS {
        let mut words: Vec<&str> = vec!["explain", "policy.json"];
        let more: Vec<&str> = arguments.split_whitespace().filter(|word| *word != "SHOP").collect();
        if arguments.starts_with("SHOP") {
            let given = |name: &str| more.contains(&name);
            let pairs: Vec<&str> = SHOP.split_whitespace().collect();
            words.extend(pairs.chunks(2).filter(|pair| !given(pair[0])).flatten());
        }
        words.extend(&more);
        let output = keyfence(folder.path(), &words, "");
        assert_eq!(output.code, *code, "{arguments}: {}{}", output.stdout, output.stderr);
        let mut rest = output.stdout.as_str();
        for part in *expected {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("{arguments}: no {part:?} in {}", output.stdout));
            rest = &rest[at + part.len()..];
        }
        assert!(
            !output.stdout.contains("one\n"),
            "{arguments} shows the key: {}",
            output.stdout
        );
    }
}

#[test]
#[rustfmt::skip]
fn explain_tells_which_entry_and_which_headers() {
    let folder = with_file("policy.json", r#"{"upstream_header_names": ["X-Plan"], "keys": [
        {"id": "rotated", "api_key": [{"key": "gone-000000000000", "label": "2019-11", "expires_at": "2020-01-01T00:00:00Z"},
            {"key": "labelled-0000000", "label": "2019-05", "expires_at": "2099-01-01T00:00:00Z"}, "third-0000000000"],
         "expires_at": "2099-06-01T00:00:00Z", "upstream_headers": {"X-Plan": "gold"}},
        {"id": "over", "api_key": [{"key": "over-1-000000000", "expires_at": "2020-01-01T00:00:00Z"}, {"key": "over-2-000000000", "expires_at": "2021-01-01T00:00:00Z"}]}]}"#);
    for (arguments, code, expected) in [
        ("--key-id rotated", 0, &["pass  key      rotated, entry 2019-05, in Authorization: Bearer\n", "enabled; ", " is before expires_at 2099-06-01T00:00:00Z, before the entry's expires_at 2099-01-01T00:00:00Z\n", "The upstream gets", "  x-key-id: rotated\n  x-plan: gold\n"][..]),
        ("--key gone-000000000000", 1, &["rotated, entry 2019-11, in", "FAIL  life     enabled; ", "past the entry's expires_at 2020-01-01T00:00:00Z\n", "401 key_expired"]),
        ("--key third-0000000000 -H X_Plan:platinum", 0, &["rotated, entry 3 of 3, in", "  x-plan: gold\n"]),
        ("--key-id over", 1, &["over, entry 1 of 2, in", "past the entry's expires_at 2020-01-01T00:00:00Z\n"]),
        ("--key-id rotated --format json", 0, &["\"key_id\": \"rotated\"", "\"key_label\": \"2019-05\""]),
        ("--key-id over --format json", 1, &["\"key_label\": null"]),
    ] {
        let words: Vec<&str> = ["explain", "policy.json"].into_iter().chain(arguments.split(' ')).collect();
        let output = keyfence(folder.path(), &words, "");
        assert_eq!(output.code, code, "{arguments}: {}{}", output.stdout, output.stderr);
        for part in expected {
            assert!(output.stdout.contains(part), "{arguments}: no {part:?} in {}", output.stdout);
        }
        assert!(!output.stdout.contains("platinum\n") || output.stdout.matches("platinum").count() == 1, "{}", output.stdout);
    }
}

/// The keys of a feed are known to gateways alone: a request that the policy itself does not let through is shown as one is refused whose
/// key the feed does not have.
#[test]
fn what_the_feed_may_have_is_said() {
    let feed = r#""keys_from": {"cluster": "keyfence_control", "token_env": "KEYFENCE_FEED_TOKEN"}, "keys""#;
    let policy = POLICY.replace("SHA", ONE).replacen(r#""keys""#, feed, 1);
    let folder = with_file("policy.json", &policy);
    // {"alg":"HS256","kid":"other"}, and dates.
    let token = "eyJhbGciOiJIUzI1NiIsImtpZCI6Im90aGVyIn0.eyJpYXQiOjE3ODI4NjQwMDAsImV4cCI6MTc4Mjg2NzYwMH0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (arguments, code, expected) in [
        ("--key one", 1, "pass  key      shop in Authorization: Bearer\n"),
        (
            "--key not-a-key",
            1,
            "FAIL  key      the one in Authorization: Bearer is not in the policy; it may be one of the feed, whose keys are known to gateways alone\n",
        ),
        ("--key not-a-key", 1, "\ndenied: 401 invalid_api_key\n"),
        (
            &format!("--key {token} --now 2026-07-01T00:00:30Z"),
            1,
            "its kid is not the id of a key with scoped_tokens; it may be that of a key of the feed, whose keys are known to gateways alone\n",
        ),
        (
            "--preflight --origin https://else.example",
            1,
            "https://else.example is in no allowed_origins of an enabled key; it may be in that of a key of the feed, whose keys are known to gateways alone\n",
        ),
        (
            "--preflight --origin https://else.example",
            1,
            "\ndenied: 403 origin_not_allowed\n",
        ),
        (
            "--key-id other",
            2,
            "no key of the policy has the id \"other\"; keys of the feed are not known here\n",
        ),
    ] {
        let words: Vec<&str> = ["explain", "policy.json"]
            .into_iter()
            .chain(arguments.split(' '))
            .collect();
        let output = keyfence(folder.path(), &words, "");
        let printed = output.stdout + &output.stderr;
        assert_eq!(output.code, code, "{arguments}: {printed}");
        assert!(printed.contains(expected), "{arguments}: {printed}");
    }
    let found = keyfence(folder.path(), &["find", "policy.json"], "not-a-key");
    assert_eq!(found.code, 1, "{}", found.stderr);
    assert!(
        found.stderr.contains("keys of a feed are not known here"),
        "{}",
        found.stderr
    );
    let checked = keyfence(folder.path(), &["check", "policy.json"], "");
    assert!(checked.stdout.contains(" keys and a feed, hash "), "{}", checked.stdout);
}

#[test]
fn explain_reads_the_key_from_a_file_or_a_pipe() {
    let folder = with_file("policy.json", &POLICY.replace("SHA", ONE));
    for (key, expected) in [
        ("one", "pass  key      shop in Authorization: Bearer\n"),
        ("one\n", "pass  key      shop in Authorization: Bearer\n"),
        ("one\r\n", "pass  key      shop in Authorization: Bearer\n"),
        (
            "two-two-two-two-two\n",
            "pass  key      open in Authorization: Bearer\n",
        ),
        (
            "unknown-unknown\n",
            "FAIL  key      the one in Authorization: Bearer is not in the policy\n",
        ),
    ] {
        fs::write(folder.path().join("key.txt"), key).unwrap();
        for (file, stdin) in [("key.txt", ""), ("-", key)] {
            let output = keyfence(folder.path(), &["explain", "policy.json", "--key-file", file], stdin);
            assert!(
                output.stdout.contains(expected),
                "{file}, {key:?}: {}{}",
                output.stdout,
                output.stderr
            );
            assert!(
                !output.stdout.contains(key.trim_end()),
                "{file}, {key:?}: {}",
                output.stdout
            );
        }
    }
}

#[test]
#[rustfmt::skip]
fn explain_tells_what_a_star_is() {
    let folder = with_file("policy.json", r#"{"anonymous": {"allowed_origins": ["*"]}}"#);
    for (origin, code, expected) in [
        ("app://.", 0, "pass  origin   app://. matches *\n"),
        ("nonsense", 0, "pass  origin   nonsense matches *\n"),
        ("a,b", 1, "FAIL  origin   a,b is none of *; * is one line of printable ASCII without commas, up to 512 bytes\n"),
    ] {
        let output = keyfence(folder.path(), &["explain", "policy.json", "--origin", origin], "");
        assert_eq!(output.code, code, "{origin}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains(expected), "{origin}: {}", output.stdout);
    }
}

#[test]
fn explain_writes_json_for_programs() {
    let folder = with_file("policy.json", &POLICY.replace("SHA", ONE));
    let arguments = [
        "explain",
        "policy.json",
        "--key-id",
        "cors",
        "--origin",
        "https://cors.example.com",
        "--format",
        "json",
    ];
    let output = keyfence(folder.path(), &arguments, "");
    let explained: Value = serde_json::from_str(&output.stdout).unwrap();
    let steps: Vec<&str> = explained["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        ["key", "life", "kind", "address", "origin", "path", "scope", "rate"]
    );
    assert_eq!(explained["decision"]["outcome"], "allow");
    assert_eq!(explained["decision"]["key_id"], "cors");
    assert_eq!(explained["response"]["status"], Value::Null);
    assert_eq!(
        explained["upstream"][3],
        serde_json::json!(["authorization", "Bearer (the API key)"])
    );
}

/// Nothing of a policy or of a request is a line of its own, nor a terminal's escape sequence.
#[test]
fn no_value_ends_a_line_of_what_is_printed() {
    let name = "a\n\u{1B}[1mallowed\u{2028}\u{202E}";
    let policy = serde_json::json!({"keys": [{"id": "k", "api_key": ONE, "scopes": [name]}], "scopes": {name: [{"methods": ["GET"], "path": "/a"}]}});
    let folder = with_file("policy\n.json", &policy.to_string());
    let shown = r"a\n\u{1b}[1mallowed\u{2028}\u{202e}";
    let explain = ["explain", "policy\n.json", "--key-id", "k", "--path"];
    let output = keyfence(folder.path(), &[&explain[..], &["/b"]].concat(), "");
    assert!(
        output.stdout.contains(&format!("fits no rule of {shown}\n")),
        "{}",
        output.stdout
    );
    let header = "X-A: b\u{2028}allowed";
    let output = keyfence(folder.path(), &[&explain[..], &["/a", "-H", header]].concat(), "");
    assert!(output.stdout.contains(r"x-a: b\u{2028}allowed"), "{}", output.stdout);
    fs::write(folder.path().join("policy\n.json"), "[]").unwrap();
    let output = keyfence(folder.path(), &["check", "policy\n.json"], "");
    assert!(
        output.stdout.starts_with(r"policy\n.json:1:1: error:"),
        "{}",
        output.stdout
    );
    let output = keyfence(folder.path(), &["check", "no\nfile"], "");
    assert!(output.stderr.starts_with(r"keyfence: no\nfile: "), "{}", output.stderr);
}

#[test]
fn explain_refuses_a_policy_with_errors() {
    let output = keyfence(Path::new("."), &["explain", "-"], "{\"keyz\": []}");
    assert!(
        output.stdout.starts_with("standard input:1:2: error: keyz"),
        "{}",
        output.stdout
    );
    assert_eq!(output.code, 1);
}

const TARGETS: [&str; 5] = ["envoy", "ecds", "istio", "envoy-filter", "envoy-gateway"];

/// Whatever is in a policy comes back from what it is rendered to.
#[test]
fn what_is_rendered_holds_the_policy() {
    let policy = r#"{"keys": [{"id": "on", "name": "it's: \"0x1F\" # é tab", "api_key": "ONE", "kind": "secret", "rate_limit_per_minute": 6e2,
        "allowed_ips": ["::1", "10.0.0.0/8"], "scopes": []}], "security_headers": {"set": {"X-A": null, "Y": {"value": ": 'yes'"}}}, "scopes": {}}"#;
    let policy = policy.replace("ONE", ONE);
    let folder = with_file("policy.json", &policy);
    for target in TARGETS {
        let rendered = keyfence(folder.path(), &["render", target, "policy.json"], "");
        assert_eq!(rendered.code, 0, "{target}: {}", rendered.stderr);
        let checked = keyfence(folder.path(), &["check", "-"], &rendered.stdout);
        assert!(
            checked.stdout.contains(": policy accepted: 1 key, hash ") && checked.stdout.lines().count() == 1,
            "{target}: {}{}",
            checked.stdout,
            rendered.stdout
        );
        // Rendered again from there, it is the same.
        let again = keyfence(folder.path(), &["render", "ecds", "-"], &rendered.stdout);
        let value = |text: &str| -> Value {
            let resource: Value = serde_json::from_str(text).unwrap();
            let config = &resource["resources"][0]["typed_config"]["config"]["configuration"]["value"];
            serde_json::from_str(config.as_str().unwrap()).unwrap()
        };
        let mut expected: Value = serde_json::from_str(&policy).unwrap();
        let mut found = value(&again.stdout);
        for policy in [&mut expected, &mut found] {
            let limit = &mut policy["keys"][0]["rate_limit_per_minute"];
            *limit = limit.as_f64().unwrap().into();
        }
        assert_eq!(found, expected, "{target}: {}", rendered.stdout);
    }
}

#[test]
fn an_empty_policy_is_rendered_too() {
    for target in TARGETS {
        let rendered = keyfence(Path::new("."), &["render", target, "-"], "{\"anonymous\": {}}");
        let checked = keyfence(Path::new("."), &["check", "-"], &rendered.stdout);
        assert!(
            checked.stdout.contains(": policy accepted: 0 keys, hash ") && checked.stdout.lines().count() == 1,
            "{target}: {}{}",
            checked.stdout,
            rendered.stdout
        );
    }
}

#[test]
fn a_policy_with_errors_leaves_the_file_as_it_was() {
    let folder = with_file("filter.json", "old");
    let render = |policy: &str| {
        keyfence(
            folder.path(),
            &["render", "ecds", "-", "--output", "filter.json"],
            policy,
        )
    };
    let file = || fs::read_to_string(folder.path().join("filter.json")).unwrap();
    let refused = render("{\"keyz\": []}");
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("did you mean keys?"), "{}", refused.stderr);
    assert_eq!(file(), "old");
    assert_eq!(render("{\"keys\": []}").code, 0);
    assert!(file().contains("TypedExtensionConfig"));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing else is left there"
    );
}

/// Who may not read the old file may not read the keys in the new one.
#[cfg(unix)]
#[test]
fn a_file_that_is_replaced_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = with_file("filter.json", "old");
    let file = folder.path().join("filter.json");
    for mode in [0o600, 0o640, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let arguments = ["render", "ecds", "-", "--output", "filter.json"];
        assert_eq!(keyfence(folder.path(), &arguments, "{\"keys\": []}").code, 0);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
    }
}

/// As root, a rename over `/dev/null` would leave the machine without it. Here it is a link in a folder, which a rename replaces too.
#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("output");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let rendered = keyfence(
        folder.path(),
        &["render", "ecds", "-", "--output", "output"],
        "{\"keys\": []}",
    );
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
