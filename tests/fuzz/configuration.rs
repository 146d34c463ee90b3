//! Any bytes as the plugin configuration: refused with reasons, or a policy that means what the specification says it means.

#![no_main]

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::policy::Policy;
use keyfence_filter::plugin_configuration::to_json;
use libfuzzer_sys::fuzz_target;
use reference::compare::Pair;
use reference::generate::{Generator, Written};
use serde_json::Value;

const NOW: Timestamp = Timestamp(1_800_000_000);

fuzz_target!(|data: &[u8]| {
    let text = &*to_json(data);
    if text != data {
        serde_json::from_slice::<Value>(text).expect("a Struct becomes JSON");
    }
    let loaded = Policy::load(text, NOW);
    let (Ok(diagnostics) | Err(diagnostics)) = loaded.as_ref().map(|loaded| &loaded.diagnostics);
    assert_eq!(loaded.is_ok(), diagnostics.error_count() == 0);
    for (_, line) in diagnostics.lines() {
        assert!(
            !line.chars().any(char::is_control),
            "a diagnostic is one line: {line:?}"
        );
        assert!(
            line.contains("; ") || line.starts_with("and "),
            "a diagnostic has a reason and a help: {line:?}"
        );
    }
    let Ok(loaded) = loaded else { return };
    // Envoy's main thread and each worker load the same.
    assert_eq!(Policy::load(text, NOW).unwrap().diagnostics, loaded.diagnostics);
    let mut written: Value = serde_json::from_slice(text).expect("only JSON is loaded");
    to_doubles(&mut written);
    let buffer = as_struct(&written);
    let text = to_json(&buffer);
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), written);
    let again = Policy::load(&text, NOW).expect("a Struct means the same");
    assert_eq!(again.diagnostics.warning_count(), loaded.diagnostics.warning_count());

    let raw = raw_keys(&written);
    let written = Written { policy: written, raw };
    let mut pair = Pair::new(&written.policy, &again.policy);
    let mut generator = Generator::of_seed(
        data.iter()
            .fold(0, |seed, byte| seed * 31 % 1_000_003 + u64::from(*byte)),
    );
    for now in generator.moments(6) {
        let request = generator.request(&written, now);
        let answer = generator.answer();
        if let Err(wrong) = pair.check(&request, &answer) {
            panic!("{wrong}\n{request:?}\n{:#}", written.policy);
        }
    }
});

/// As a `Struct` has it: every number is a double.
fn to_doubles(value: &mut Value) {
    match value {
        Value::Number(number) => *value = number.as_f64().unwrap().into(),
        Value::Array(items) => items.iter_mut().for_each(to_doubles),
        Value::Object(members) => members.values_mut().for_each(to_doubles),
        _ => {}
    }
}

/// `google.protobuf.Struct`, as Envoy hands it over.
fn as_struct(value: &Value) -> Vec<u8> {
    let members = value.as_object().into_iter().flatten();
    members
        .flat_map(|(name, value)| bytes(1, &[bytes(1, name.as_bytes()), bytes(2, &as_value(value))].concat()))
        .collect()
}

fn as_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![1 << 3, 0],
        Value::Number(number) => [&[2 << 3 | 1], &number.as_f64().unwrap().to_le_bytes()[..]].concat(),
        Value::String(text) => bytes(3, text.as_bytes()),
        Value::Bool(value) => vec![4 << 3, u8::from(*value)],
        Value::Object(_) => bytes(5, &as_struct(value)),
        Value::Array(items) => bytes(
            6,
            &items
                .iter()
                .flat_map(|item| bytes(1, &as_value(item)))
                .collect::<Vec<_>>(),
        ),
    }
}

/// A field of wire type 2.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend(content);
    field
}

fn raw_keys(policy: &Value) -> Vec<(usize, String)> {
    let keys = policy["keys"].as_array().into_iter().flatten().enumerate();
    keys.flat_map(|(number, key)| {
        let entries = match &key["api_key"] {
            Value::Array(entries) => &entries[..],
            // It has tokens alone.
            Value::Null => &[],
            entry => std::slice::from_ref(entry),
        };
        let raw = entries
            .iter()
            .map(|entry| entry.as_str().or(entry["key"].as_str()).unwrap());
        raw.filter(|key| !key.to_ascii_lowercase().starts_with("sha256:"))
            .map(move |key| (number, key.to_owned()))
    })
    .collect()
}
