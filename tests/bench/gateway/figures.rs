//! The table of figures, and where it is kept.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

use keyfence_core::config::timestamp::Timestamp;

use crate::contender::Algorithm::{EdDsa, Hs256};
use crate::contender::Contender::{self, *};
use crate::contender::Credential;
use crate::growth;
use crate::harness::gateway::{envoy_binary, repository};
use crate::summary::{Spread, Summary};

/// What was measured.
pub struct Figures {
    /// In µs.
    pub times: Summary,
    /// In instructions; `None` where they could not be counted.
    pub instructions: Option<Summary>,
    pub rounds: usize,
}

impl Figures {
    /// In Markdown.
    pub fn table(&self) -> String {
        let mut text = format!("# What a request costs\n\n{}\n", conditions(self.rounds));
        let mut scenario = "";
        for row in &self.times.rows {
            if row.scenario != scenario {
                scenario = row.scenario;
                let _ = writeln!(
                    text,
                    "\n## {scenario}\n\n| | µs a request | added | middle half | instructions added |\n|---|--:|--:|--:|--:|"
                );
            }
            let name = row.contender.name();
            let Spread { low, median, high } = row.added;
            let instructions = self.instructions.as_ref();
            let instructions = instructions
                .and_then(|summary| summary.row(scenario, &row.contender))
                .map_or(String::new(), |row| format!("{:.0}", row.added.median));
            let _ = match row.contender {
                NoFilter => writeln!(text, "| {name} | {:.1} | | | |", row.whole.median),
                _ => writeln!(
                    text,
                    "| {name} | {:.1} | {median:.1} | {low:.1} to {high:.1} | {instructions} |",
                    row.whole.median
                ),
            };
        }
        let _ = writeln!(
            text,
            "\n## Ratios\n\n| | by time | middle half | by instructions | aim |\n|---|--:|--:|--:|--:|"
        );
        for aim in AIMS {
            if let Some(Spread { low, median, high }) = aim.measured(&self.times) {
                let instructions = self.instructions.as_ref().and_then(|summary| aim.measured(summary));
                let instructions = instructions.map_or(String::new(), |ratio| format!("{:.2}", ratio.median));
                let _ = writeln!(
                    text,
                    "| {} | {median:.2} | {low:.2} to {high:.2} | {instructions} | {} |",
                    aim.name(),
                    aim.most
                );
            }
        }
        text
    }

    /// Writes table and drawing to where the README points.
    pub fn keep(&self) {
        let folder = repository().join("tests/bench/figures");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("gateway.md"), self.table()).unwrap();
        growth::draw(&self.times, &folder.join("growth.svg"));
    }
}

/// A ratio of added costs, and the most that it should be.
struct Aim {
    scenario: &'static str,
    one: Contender,
    other: Contender,
    most: f64,
}

const WITH_ORIGIN: &str = "allowed, with Origin, 6 headers";

const fn aim(scenario: &'static str, one: Contender, other: Contender, most: f64) -> Aim {
    Aim {
        scenario,
        one,
        other,
        most,
    }
}

const AIMS: [Aim; 11] = [
    aim(WITH_ORIGIN, Keyfence(1), Floor, 1.15),
    aim(WITH_ORIGIN, Keyfence(1), Empty, 4.5),
    aim(WITH_ORIGIN, Keyfence(1), Lua, 1.1),
    aim(WITH_ORIGIN, Keyfence(1), Native(1), 2.8),
    aim("growth", Keyfence(100), Native(100), 1.0),
    aim("growth", Keyfence(1_000), Native(1_000), 0.1),
    aim("growth", Keyfence(100_000), Keyfence(1), 1.1),
    aim("allowed, without Origin", Lean, Empty, 2.0),
    aim("preflight", Keyfence(1), NativeCors, 1.3),
    aim(
        "scoped token",
        Scoped(Credential::Token(Hs256)),
        Scoped(Credential::Key),
        1.15,
    ),
    aim(
        "scoped token",
        Scoped(Credential::Token(EdDsa)),
        Scoped(Credential::Key),
        1.15,
    ),
];

impl Aim {
    /// A preflight has no cost without a filter to compare with: its answer is the filter's.
    fn is_of_whole_requests(&self) -> bool {
        self.scenario == "preflight"
    }

    fn name(&self) -> String {
        let what = if self.is_of_whole_requests() {
            "whole request"
        } else {
            "added"
        };
        format!("{}: {} / {}, {what}", self.scenario, self.one.name(), self.other.name())
    }

    fn measured(&self, summary: &Summary) -> Option<Spread> {
        if self.is_of_whole_requests() {
            summary.ratio_of_whole(self.scenario, &self.one, &self.other)
        } else {
            summary.ratio_of_added(self.scenario, &self.one, &self.other)
        }
    }
}

/// When, with what and on what it was measured.
fn conditions(rounds: usize) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let date = Timestamp(now as i64).to_string();
    let envoy = Command::new(envoy_binary()).arg("--version").output().unwrap();
    let envoy = String::from_utf8_lossy(&envoy.stdout).into_owned();
    let envoy = envoy
        .rsplit("version: ")
        .next()
        .and_then(|text| text.split("/").nth(1))
        .unwrap_or("?")
        .to_owned();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    format!(
        "`make bench` on {}, Envoy {envoy}, keyfence {}, a virtual machine with {cores} cores of an {}. CPU time of the whole Envoy process, one \
         worker on a core of its own, a direct response behind the filters; medians of {rounds} rounds of a second each, in which all take their \
         turn. Instructions: of the worker's thread under callgrind, without the kernel's; the same in each run.",
        &date[..10],
        env!("CARGO_PKG_VERSION"),
        processor.map_or("unknown processor", |(_, name)| name),
    )
}
