//! The programs in the documentation.

const DOCUMENT: &str = include_str!("../../envoy/scoped-tokens/README.md");

/// The first fenced block of this language: of a programming language, the program that makes a token with a secret.
pub fn block(fence: &str) -> String {
    blocks(fence)[0].to_owned()
}

/// The program with the lines of the second block, each in the place of the one that begins in the same way; what has none is put before
/// the next that has.
pub fn ed25519_program(fence: &str) -> String {
    let [program, replacements] = blocks(fence)[..] else {
        panic!("{fence}: there are not two blocks");
    };
    let mut lines: Vec<String> = program.lines().map(str::to_owned).collect();
    let mut pending = Vec::new();
    for replacement in replacements.lines() {
        pending.push(replacement.to_owned());
        if let Some(at) = lines.iter().position(|line| start(line) == start(replacement)) {
            lines.splice(at..=at, pending.drain(..));
        }
    }
    assert!(pending.is_empty(), "{fence}: no line begins as {pending:?}");
    lines.join("\n")
}

fn blocks(fence: &str) -> Vec<&'static str> {
    let opening = format!("```{fence}\n");
    let starts = DOCUMENT.split(&opening).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Up to what is assigned or called.
fn start(line: &str) -> &str {
    line.split(['=', '(', '{']).next().unwrap_or_default().trim()
}
