//! The README says what the filter does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use keyfence::config::timestamp::Timestamp;
use keyfence::decision::reason::Reason;
use keyfence::policy::Policy;

const README: &str = include_str!("../README.md");

/// The text of every fenced block of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let starts = README.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_policy_loads_without_a_warning() {
    let policies = blocks("json");
    assert!(!policies.is_empty());
    for text in policies {
        let loaded = Policy::load(text.as_bytes(), Timestamp(0)).unwrap_or_else(|e| panic!("{:?}\n{text}", e.errors()));
        assert_eq!(loaded.findings.warnings(), [], "{text}");
    }
}

#[test]
fn the_table_of_errors_is_the_enum() {
    let rows: Vec<(u16, &str)> = README
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let status = cells.next()?.parse().ok()?;
            Some((status, cells.next()?.trim_matches('`')))
        })
        .collect();
    let reasons: Vec<(u16, &str)> = Reason::ALL
        .iter()
        .map(|reason| (reason.status(), reason.code()))
        .collect();
    assert_eq!(rows, reasons);
}
