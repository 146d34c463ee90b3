//! How many instructions of the processor one decision takes, by valgrind's callgrind: a figure that does not depend on how busy the
//! machine is, and so can be held to.
//!
//! The release build of `tests/bench/instructions.rs` runs twice, with [`DECISIONS`] (or a tenth of them) and with twice as many; the
//! difference is the decisions and nothing else. Instructions are counted in that program's own code, the standard library in it included.
//! Two things are left out, because they differ from machine to machine: the C library (`memcmp` chooses by processor), and hashing the key
//! (processors with SHA instructions take a tenth), whose digest the program knows. Tokens are hashed and verified, but without instructions
//! that only some processors have, as in the wasm.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

#[path = "harness/skipped.rs"]
mod skipped;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

use skipped::skip;

/// What the figures hold for.
const BUILT_BY: &str = "rustc 1.95.0";
const BUILT_FOR: &str = "x86_64";

/// Kind, keys, and the instructions of one decision: reading the head and deciding.
const FIGURES: [(&str, usize, u64); 14] = [
    ("allowed, 6 headers", 1, 2_408),
    ("allowed, 6 headers", 1_000, 2_386),
    ("allowed, 20 headers", 1, 3_035),
    ("allowed, 20 headers", 1_000, 3_013),
    ("allowed by a wildcard", 1, 3_140),
    ("allowed by a wildcard", 1_000, 3_118),
    ("denied", 1, 3_170),
    ("denied", 1_000, 3_163),
    ("preflight", 1, 1_588),
    ("preflight", 1_000, 1_589),
    ("token, remembered", 1, 3_521),
    ("token, remembered", 1_000, 3_521),
    ("token, first sight, HS256", 1, 54_231),
    ("token, first sight, EdDSA", 1, 749_281),
];

/// So many percent more fail the test, and so many less as well, for then the figure is to be lowered.
const TOLERANCE: u64 = 5;

/// Each of 1,000 keys comes up equally often. As many digits as twice of it, so that both runs begin alike.
const DECISIONS: u64 = 4_000;

/// Of those that cost more instructions than this, a tenth as many.
const COSTLY: u64 = 100_000;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Some(reason) = why_not() {
        skip(&format!("instructions of a decision: {reason}"));
        return ExitCode::SUCCESS;
    }
    let program = build();
    let trials = FIGURES.map(|(kind, keys, figure)| {
        let program = program.clone();
        Trial::test(format!("{kind}, keys: {keys}"), move || {
            Ok(check(&program, kind, keys, figure)?)
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn why_not() -> Option<String> {
    let says = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let rustc = says("rustc").unwrap_or_default();
    if says("valgrind").is_none() {
        Some("there is no valgrind (Debian: apt-get install valgrind)".into())
    } else if !rustc.starts_with(&format!("{BUILT_BY} ")) || ARCH != BUILT_FOR {
        let here = rustc.trim();
        Some(format!(
            "their figures are for {BUILT_BY} on {BUILT_FOR}, and here is {here} on {ARCH}"
        ))
    } else {
        None
    }
}

/// Builds as the filter is built, where a panic aborts, but with the names of functions, so that callgrind_annotate can tell where a figure comes from.
fn build() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("instructions");
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--features",
            "instructions",
            "--bin",
            "instructions",
            "--target-dir",
        ])
        .arg(&target)
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env(
            "RUSTFLAGS",
            r#"--cfg sha2_backend="soft" --cfg curve25519_dalek_backend="serial""#,
        )
        .current_dir(repository)
        .status()
        .unwrap();
    assert!(status.success(), "the program does not build");
    target.join("release/instructions")
}

fn check(program: &Path, kind: &str, keys: usize, figure: u64) -> Result<(), String> {
    let decisions = if figure > COSTLY { DECISIONS / 10 } else { DECISIONS };
    let once = count(program, kind, keys, decisions)?;
    let twice = count(program, kind, keys, 2 * decisions)?;
    let measured = (twice - once).div_ceil(decisions);
    let (least, most) = (figure * (100 - TOLERANCE) / 100, figure * (100 + TOLERANCE) / 100);
    if measured > most {
        Err(format!(
            "{measured} instructions, over {TOLERANCE} % more than {figure}: what has made it dearer?"
        ))
    } else if measured < least {
        Err(format!(
            "{measured} instructions, over {TOLERANCE} % less than {figure}: lower the figure to it, so that it stays"
        ))
    } else {
        Ok(())
    }
}

/// Instructions of a whole run, in the program's own code.
fn count(program: &Path, kind: &str, keys: usize, decisions: u64) -> Result<u64, String> {
    let directory = tempfile::tempdir().unwrap();
    let profile = directory.path().join("profile");
    let output = Command::new("valgrind")
        .args([
            "--quiet",
            "--tool=callgrind",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args([kind.to_owned(), keys.to_string(), decisions.to_string()])
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(own_cost(&fs::read_to_string(profile).unwrap(), program))
}

/// The sum of a profile's cost lines under the object `program` (Callgrind Format Specification). The line after `calls=` is the
/// cost of what was called, which stands under its own object as well.
fn own_cost(profile: &str, program: &Path) -> u64 {
    let own = format!("ob={}", program.display());
    let (mut is_own, mut is_call, mut sum) = (false, false, 0);
    for line in profile.lines() {
        if line.starts_with("ob=") {
            is_own = line == own;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse().ok());
            sum += cost.filter(|_| is_own && !is_call).unwrap_or(0);
        }
        is_call = line.starts_with("calls=");
    }
    sum
}
