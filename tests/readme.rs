//! The README says what the filter does.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

use std::fs;
use std::process::Command;

use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::decision::reason::Reason;
use keyfence_core::policy::Policy;

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
        assert_eq!(loaded.diagnostics.warnings(), [], "{text}");
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

/// `$ cat FILE` shows a file, `$ keyfence …` a command; a line `...` stands for the rest of what it prints.
#[test]
fn every_session_goes_as_it_is_shown() {
    let sessions = blocks("console");
    assert!(!sessions.is_empty());
    for session in sessions {
        let directory = tempfile::tempdir().unwrap();
        for step in session.strip_prefix("$ ").unwrap().split("\n$ ") {
            let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
            let mut words = command.split(' ');
            match (words.next(), shown.trim_end().strip_suffix("\n...")) {
                (Some("cat"), _) => fs::write(directory.path().join(words.next().unwrap()), shown).unwrap(),
                (Some("keyfence"), beginning) => {
                    let mut run = Command::new(env!("CARGO_BIN_EXE_keyfence"));
                    let output = run.args(words).current_dir(&directory).output().unwrap();
                    let printed = [output.stdout, output.stderr]
                        .map(|bytes| String::from_utf8(bytes).unwrap())
                        .concat();
                    match beginning {
                        Some(beginning) => assert!(printed.starts_with(beginning), "{command}\n{printed}"),
                        None => assert_eq!(printed.trim_end(), shown.trim_end(), "{command}"),
                    }
                }
                _ => panic!("{command}"),
            }
        }
    }
}
