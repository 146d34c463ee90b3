//! Runs a program of a language, with its library for tokens from `make test-libraries`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Language {
    pub name: &'static str,
    /// After the three backticks.
    pub fence: &'static str,
    /// The folder of its library.
    folder: &'static str,
    file: &'static str,
    /// The command that runs a file, whose name follows.
    command: &'static [&'static str],
    /// A command that fails where the library is missing.
    probe: &'static [&'static str],
    /// The packages of Debian and of the language.
    packages: [&'static str; 2],
}

pub const JAVASCRIPT: Language = Language {
    name: "jose",
    fence: "js",
    folder: "node",
    file: "make_token.mjs",
    command: &["node"],
    probe: &["node", "--input-type=module", "--eval", "import 'jose'"],
    packages: ["nodejs", "npm"],
};

pub const PYTHON: Language = Language {
    name: "PyJWT",
    fence: "python",
    folder: "python",
    file: "make_token.py",
    command: &["python3"],
    probe: &["python3", "-c", "import jwt, cryptography"],
    packages: ["python3", "python3-pip"],
};

pub const GO: Language = Language {
    name: "golang-jwt/jwt",
    fence: "go",
    folder: "go",
    file: "main.go",
    command: &["go", "run"],
    probe: &["go", "list", "github.com/golang-jwt/jwt/v5"],
    packages: ["golang-go", "golang-go"],
};

pub const PHP: Language = Language {
    name: "firebase/php-jwt",
    fence: "php",
    folder: "php",
    file: "make_token.php",
    command: &["php"],
    probe: &[
        "php",
        "-r",
        "require 'vendor/autoload.php'; exit(class_exists('Firebase\\JWT\\JWT') ? 0 : 1);",
    ],
    packages: ["php-cli", "composer"],
};

impl Language {
    /// Whether its programs can run; the error says what is missing.
    pub fn find(&self) -> Result<(), String> {
        let [program, library] = self.packages;
        if self.at_library(self.command[0]).arg("--help").output().is_err() {
            return Err(format!(
                "there is no {} (Debian: apt-get install {program})",
                self.command[0]
            ));
        }
        if !self.has_library() {
            return Err(format!(
                "the library is missing (make test-libraries, which takes Debian's {library})"
            ));
        }
        Ok(())
    }

    fn has_library(&self) -> bool {
        let output = self.at_library(self.probe[0]).args(&self.probe[1..]).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// What the program prints.
    pub fn run(&self, program: &str, environment: &[(&str, &str)]) -> String {
        // Node and Go look for the library in the folders above.
        let folder = tempfile::tempdir_in(self.folder()).unwrap();
        let file = folder.path().join(self.file);
        fs::write(&file, program).unwrap();
        let output = self
            .at_library(self.command[0])
            .args(&self.command[1..])
            .arg(&file)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}\n{program}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/snippets")
            .join(self.folder)
    }

    /// A command in the folder of the library. Tests fetch nothing.
    fn at_library(&self, program: &str) -> Command {
        let folder = self.folder();
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(program);
        command
            .env("PYTHONPATH", &folder)
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=readonly")
            .current_dir(folder);
        command
    }
}
