//! The commands of the guide, run as they are written, with other ports.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

const GUIDE: &str = include_str!("../../envoy/keys-from/README.md");

/// What of it is tested here.
const HEADING: &str = "## The server: keyfence-control\n";

/// The indented blocks, each as its lines.
fn blocks() -> Vec<Vec<&'static str>> {
    let section = GUIDE.split_once(HEADING).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in section.lines() {
        match line.strip_prefix("    ") {
            Some(line) => blocks.last_mut().unwrap().push(line),
            None => blocks.push(Vec::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// Whether a line that a command printed is as shown, where `…` is anything.
fn is_as_shown(printed: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let mut rest = match printed.strip_prefix(parts.next().unwrap()) {
        Some(rest) => rest,
        None => return false,
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) if !part.is_empty() => rest = after,
            Some(_) => return true,
            None => return false,
        }
    }
    rest.trim_end().is_empty()
}

fn is_output(line: &str) -> bool {
    line.starts_with('{') || line.starts_with("keyfence-control: ") || line == "ok"
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let folder = tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_keyfence-control")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let ports = free_ports();
    let mut servers = Vec::new();
    let mut commands = 0;
    for block in blocks() {
        if let Some(name) = block[0].strip_prefix("# ") {
            fs::write(folder.path().join(name), block[1..].join("\n") + "\n").unwrap();
            continue;
        }
        let mut lines = block.into_iter().peekable();
        while let Some(line) = lines.next() {
            commands += 1;
            let mut line = line.to_owned();
            if line.starts_with("keyfence-control") && !line.contains("--listen") {
                line = line.replace("serve", "serve --listen 127.0.0.1:7070");
            }
            for (number, port) in (7070..).zip(ports) {
                line = line.replace(&format!(":{number}"), &format!(":{port}"));
            }
            let mut command = Command::new("sh");
            command
                .current_dir(&folder)
                .env("PATH", &path)
                .env_remove("KEYFENCE_FEED_TOKEN");
            if let Some(server) = line.strip_suffix(" &") {
                let child = command
                    .args(["-c", &format!("exec {server}")])
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                servers.push(Server(child));
                thread::sleep(Duration::from_secs(1));
                continue;
            }
            let output = command.args(["-c", &line]).output().unwrap();
            let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            match lines.next_if(|line| is_output(line)) {
                Some(shown) => {
                    let shown = shown.replace(":7071", &format!(":{}", ports[1]));
                    assert!(is_as_shown(&printed, &shown), "{line}\n{printed}\n{shown}");
                }
                None => assert!(output.status.success(), "{line}\n{printed}"),
            }
        }
    }
    assert_eq!((servers.len(), commands), (2, 11));
}

/// Ports that nobody listens on.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Ends with the test.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_guide_has_every_metric() {
    let metrics = include_str!("../../src/control/metrics.rs").to_owned() + include_str!("../../src/control/server.rs");
    let names: Vec<&str> = metrics
        .split('"')
        .filter(|text| text.starts_with("keyfence_control_"))
        .collect();
    assert_eq!(names.len(), 6);
    for name in names {
        assert!(GUIDE.contains(&format!("| `{name}` |")), "{name}");
    }
}
