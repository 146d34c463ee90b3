//! Line by line: method, path, indexes with spaces between them (`-` for none), and rules, each methods with commas, a space, a path.

#![no_main]

use std::borrow::Cow;

use keyfence_core::config::index::IndexPattern;
use keyfence_core::config::scope::{PathPattern, Rule, Segment};
use keyfence_core::config::token::Method;
use keyfence_core::decision::path::is_ambiguous;
use keyfence_core::policy::scopes::{IndexList, ScopeAnswer, ScopeRules};
use libfuzzer_sys::fuzz_target;
use reference::spec::paths::{self, Reach};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (Some(method), Some(path), Some(indexes)) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    // A walk over the rules of a policy, not over all that fits in a fuzzer's input.
    let texts: Vec<&str> = lines
        .take(8)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let rules: Vec<(&str, Rule)> = texts.into_iter().filter_map(|text| Some((text, rule(text)?))).collect();
    let Ok(indexes) = std::str::from_utf8(indexes) else {
        return;
    };
    let indexes: Option<Vec<&str>> = (indexes != "-").then(|| {
        indexes
            .split(' ')
            .filter(|entry| IndexPattern::parse(Cow::Borrowed(*entry)).is_some())
            .collect()
    });

    assert_eq!(is_ambiguous(path), paths::is_ambiguous(path));
    let Some(compiled) = ScopeRules::new(
        &rules.iter().map(|(_, rule)| ("all", rule)).collect::<Vec<_>>(),
        &mut (4 << 20),
    ) else {
        return;
    };
    let list = indexes.as_ref().map(|entries| {
        let entries: Vec<_> = entries
            .iter()
            .filter_map(|entry| IndexPattern::parse(Cow::Borrowed(*entry)))
            .collect();
        IndexList::new(&entries)
    });
    let written: Vec<Value> = rules.iter().map(|(text, _)| written(text)).collect();
    let table = json!({"all": written});
    let indexes = indexes.map_or(Value::Null, Value::from);
    assert_eq!(compiled.names_methods(), paths::names_methods(&json!(["all"]), &table));

    if !path.contains(&b'?') {
        let answer = match is_ambiguous(path) {
            true => Reach::Ambiguous,
            false => told(compiled.answer(method, path, [list.as_ref(), None])),
        };
        assert_eq!(answer, paths::reach(&json!(["all"]), &indexes, &table, method, path));
    }
    for (text, rule) in &rules {
        // What a rule is written for is let in by it, and has one reading.
        let example = example(&rule.path);
        assert!(!is_ambiguous(example.as_bytes()), "{example} for {text}");
        for method in &rule.methods {
            let method = if method.0 == "*" { "ANY" } else { &method.0 };
            let answer = compiled.answer(method.as_bytes(), example.as_bytes(), [None; 2]);
            assert!(matches!(answer, ScopeAnswer::Fits(_)), "{method} {example} for {text}");
        }
    }
});

fn rule(text: &str) -> Option<Rule> {
    let (methods, path) = text.split_once(' ')?;
    let methods: Vec<Method> = methods.split(',').map(|method| Method(method.to_owned())).collect();
    Some(Rule {
        methods,
        path: PathPattern::parse(path).ok()?,
    })
}

fn written(text: &str) -> Value {
    let (methods, path) = text.split_once(' ').unwrap();
    json!({"methods": methods.split(',').collect::<Vec<_>>(), "path": path})
}

fn example(path: &PathPattern) -> String {
    let segments = path.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => text,
        Segment::Any | Segment::Index => "a",
    });
    let rest = path.open_ended.then_some("b");
    format!("/{}", segments.chain(rest).collect::<Vec<_>>().join("/"))
}

fn told(answer: ScopeAnswer<'_, '_>) -> Reach {
    match answer {
        ScopeAnswer::Fits(_) => Reach::Fits,
        ScopeAnswer::NoRule => Reach::NoRule,
        ScopeAnswer::NoIndex(_) => Reach::NoIndex,
    }
}
