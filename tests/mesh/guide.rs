//! A guide's commands, run as they are written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::gateway::{built_filter, repository};
use crate::kubernetes::Kubernetes;
use crate::process::{folder, programs};

/// An indented line of a guide.
pub enum Block {
    Command(String),
    /// Its first line is a comment that is its name.
    File {
        name: String,
        text: String,
    },
}

/// The commands and files of a guide. A command that ends with a backslash goes on in the next line.
pub fn blocks(guide: &Path) -> Vec<Block> {
    let guide = fs::read_to_string(repository().join(guide)).unwrap();
    let guide = guide.replace("\\\n", "");
    let mut blocks = Vec::new();
    let mut file: Option<(String, String)> = None;
    for line in guide.lines().chain([""]) {
        let indentation = line.len() - line.trim_start().len();
        match (&mut file, line.trim().strip_prefix("# ")) {
            _ if indentation < 4 || line.trim().starts_with('|') => {
                if let Some((name, text)) = file.take() {
                    blocks.push(Block::File { name, text });
                }
            }
            (None, Some(name)) => file = Some((name.to_owned(), String::new())),
            (Some((_, text)), _) => *text += &(line[4..].to_owned() + "\n"),
            (None, None) => blocks.push(Block::Command(line.trim().to_owned())),
        }
    }
    blocks
}

/// A folder of a user of the guide, with the programs, a policy, the module and keyfence's own files.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new(policy: &str) -> Self {
        let home = Self { folder: folder() };
        fs::create_dir(home.path("bin")).unwrap();
        home.link_program("keyfence", Path::new(env!("CARGO_BIN_EXE_keyfence")));
        home.link_program("kubectl", &programs("kubernetes").join("kubectl"));
        symlink(repository().join("envoy"), home.path("envoy")).unwrap();
        fs::copy(built_filter(), home.path("plugin.wasm")).unwrap();
        for name in ["policy.yaml", "policy.json"] {
            home.write(name, policy);
        }
        home
    }

    pub fn link_program(&self, name: &str, program: &Path) {
        symlink(program, self.path("bin").join(name)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs a line of the guide, which must succeed.
    pub fn run(&self, kubernetes: &Kubernetes, line: &str) {
        let mut command = Command::new("sh");
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command
            .args(["-euc", line])
            .env("PATH", path)
            .env("HOME", self.folder.path());
        let output = kubernetes.run_in(self.folder.path(), command, "");
        assert!(output.is_ok(), "{line}: {}", output.unwrap_err());
    }
}
