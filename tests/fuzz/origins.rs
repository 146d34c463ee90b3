//! The first line is what a client sends, each further one is a pattern: the strict parser, the lax matcher and the specification.

#![no_main]

use keyfence_core::config::origin::{HostPattern, OriginPattern, PortPattern, TuplePattern, has_label_wildcard};
use keyfence_core::policy::origin_list::{OriginMatch, OriginUnion};
use keyfence_core::policy::origins::OriginTable;
use libfuzzer_sys::fuzz_target;
use reference::spec::origins::{Match, Sent, best, sent};

fuzz_target!(|data: &[u8]| {
    let (origin, rest) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    let sent = sent(&vec![(b"origin".to_vec(), origin.to_vec())]);
    let mut table = OriginTable::default();
    let mut union = OriginUnion::default();
    let mut offered: Vec<&str> = Vec::new();
    let mut lists = Vec::new();
    for (number, text) in rest.split('\n').skip(1).enumerate() {
        let Some(pattern) = strict(text) else { continue };
        // Every other list is a disabled key's.
        let is_offered = number % 2 == 0;
        let list = table.add(&[pattern], is_offered);
        if is_offered {
            union.include(&list);
            offered.push(text);
        }
        lists.push((text, list));
    }
    for (text, list) in &lists {
        assert_eq!(
            table.match_list(list, origin).map(told),
            told_by_spec([*text], &sent),
            "{text}"
        );
        for example in examples(text) {
            assert_eq!(
                table.match_list(list, example.as_bytes()).map(told),
                Some(expected(text)),
                "{example} for {text}"
            );
        }
    }
    assert_eq!(
        table.match_union(&union, origin).map(told),
        told_by_spec(offered.iter().copied(), &sent)
    );
    // Nothing is forgotten, and nothing is added.
    table.shrink();
    assert_eq!(
        table.match_union(&union, origin).map(told),
        told_by_spec(offered, &sent)
    );
});

/// The pattern, if it is one. What is accepted is written as it is; what is refused with a help can be fixed.
fn strict(text: &str) -> Option<OriginPattern> {
    match OriginPattern::parse(text) {
        Ok(pattern) => {
            assert_eq!(pattern.to_string(), text);
            let is_label =
                matches!(&pattern, OriginPattern::Tuple(tuple) if matches!(tuple.hosts, HostPattern::Label(_)));
            assert_eq!(has_label_wildcard(text), is_label, "{text}");
            Some(pattern)
        }
        Err(error) => {
            assert!(!error.kind.reason().is_empty());
            if let Some(help) = error.suggestion {
                assert!(OriginPattern::parse(&help).is_ok(), "{help}");
            }
            None
        }
    }
}

fn told_by_spec<'l>(list: impl IntoIterator<Item = &'l str>, sent: &Sent) -> Option<Match> {
    Some(best(list, sent)).filter(|how| *how != Match::None)
}

fn told(how: OriginMatch) -> Match {
    match how {
        OriginMatch::Listed(_) => Match::Named,
        OriginMatch::Null => Match::Null,
        OriginMatch::Any => Match::Any,
    }
}

fn expected(text: &str) -> Match {
    match text {
        "*" => Match::Any,
        "null" => Match::Null,
        _ => Match::Named,
    }
}

/// Origins that the pattern stands for.
fn examples(text: &str) -> Vec<String> {
    let Ok(OriginPattern::Tuple(TuplePattern { scheme, hosts, port })) = OriginPattern::parse(text) else {
        return match text {
            "*" => ["https://a.test", "app://.", "x", "!"].map(str::to_owned).into(),
            _ => vec![text.to_owned()],
        };
    };
    let hosts = match hosts {
        HostPattern::One(host) => vec![host],
        HostPattern::Below(host) => vec![format!("a.{host}"), format!("0-_.b.{host}")],
        HostPattern::Label(label) => {
            let [prefix, suffix, parent] = label.parts();
            ["a", "0-_", prefix, suffix, "--"]
                .iter()
                .filter(|part| !part.is_empty())
                .map(|part| format!("{prefix}{part}{suffix}.{parent}"))
                .collect()
        }
        HostPattern::Any => vec!["a".to_owned(), "0-_.B".to_owned()],
    };
    let ports = match port {
        PortPattern::Any => vec![String::new(), ":1".to_owned(), ":65535".to_owned()],
        port => vec![port.to_string()],
    };
    hosts
        .iter()
        .flat_map(|host| {
            ports
                .iter()
                .map(|port| format!("{scheme}://{host}{port}"))
                .collect::<Vec<_>>()
        })
        .collect()
}
