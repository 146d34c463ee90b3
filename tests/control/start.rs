//! What the server does not start with, and what it says then.

use std::fs;

use serde_json::json;
use tempfile::tempdir;

use crate::policy::{digest, key, policy};
use crate::server::{Server, TOKEN, command, ended};

const RAW: &str = "raw_key_0123456789abcdef";

#[test]
fn what_is_wrong_at_the_start_ends_it_with_a_reason() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, text: &str| {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        path(name)
    };
    let good = write("good.json", &policy(&[key("a")]));
    let large: Vec<String> = (0..20_000).map(|n| format!("https://a{n}.example.com")).collect();
    let large = json!({"id": "a", "api_key": digest("a"), "allowed_origins": large});
    let wrong = [
        (
            "syntax.json",
            "{\n \"keys\": [}",
            ":2:11: error: configuration: this is not JSON",
        ),
        (
            "empty.yaml",
            "",
            "empty.yaml:1:1: error: configuration: expected an object, found null",
        ),
        (
            "none.yaml",
            "cors: {}",
            "none.yaml:1:1: error: configuration: keys is missing; add keys",
        ),
        (
            "misspelt.yaml",
            "kyes: []\n",
            "misspelt.yaml:1:1: error: kyes: unknown field; did you mean keys?",
        ),
        (
            "list.yaml",
            "keys:\n  a: 1\n",
            "list.yaml:2:3: error: keys: expected a list, found an object",
        ),
        (
            "id.yaml",
            "keys:\n- id: a b\n  api_key: sha256:00\n",
            "id.yaml:2:7: error: keys[0].id: \"a b\": an id must be",
        ),
        (
            "unknown.json",
            &format!("{{\"keys\": [\n  {{\"id\": \"a\",\n   \"api_key\": {RAW:?}, \"é\": 1, \"alowed_ips\": []}}]}}"),
            "unknown.json:3:51: error: keys[0].alowed_ips: unknown field; did you mean allowed_ips?",
        ),
        (
            "twice.json",
            &format!("{{\"keys\": [{},\n{}]}}", key("a"), key("a")),
            "twice.json:2:1: error: keys[1].id: \"a\": the key at {folder}/twice.json:1:11 has this id already; give each key an id of its own",
        ),
        (
            "same.yaml",
            &format!("keys:\n- id: a\n  api_key: {RAW}\n- id: b\n  api_key: [{RAW}]\n"),
            "same.yaml:4:3: error: keys[1].api_key: the key at {folder}/same.yaml:2:3 has this API key already",
        ),
        (
            "large.json",
            &policy(&[large]),
            "large.json:1:10: error: keys[0]: the key has ",
        ),
        ("text.yaml", "\u{1}", "error: this is not YAML"),
    ];
    for (name, text, expected) in wrong {
        let file = write(&format!("wrong/{name}"), text);
        let (status, log) = ended(&mut command(&["--from", &good, &file, "--listen", "127.0.0.1:0"]));
        let expected = expected.replace("{folder}", &path("wrong"));
        assert!(log.contains(&expected), "{name}: {expected}\n{log}");
        assert_eq!(status, Some(1), "{name}: {log}");
        assert!(!log.contains(RAW), "{name}: {log}");
    }
    let folders = [
        (path("same"), 1, "b.yml:1:10: error: keys[0].api_key: the key at"),
        (path("none.json"), 1, "none.json: error: No such file or directory"),
        (path("none"), 1, "none: error: No such file or directory"),
        (
            path("other"),
            1,
            "other: error: the folder has no *.json, *.yaml or *.yml",
        ),
        (path("clash"), 1, "b.yml:1:8: error: keys[0].id: \"a\": the key at"),
    ];
    write("other/policy.txt", &policy(&[key("a")]));
    write("other/.hidden.json", &policy(&[key("a")]));
    write("other/folder.json/a.json", &policy(&[key("a")]));
    write("clash/a.json", &policy(&[key("a")]));
    write("clash/b.yml", &format!("keys: [{}]", key("a")));
    let same = json!({"id": "c", "api_key": digest("a")});
    write("same/a.json", &policy(&[key("a")]));
    write("same/b.yml", &policy(&[same]));
    for (from, code, expected) in folders {
        let (status, log) = ended(&mut command(&["--from", &from, "--listen", "127.0.0.1:0"]));
        assert!(log.contains(expected), "{expected}\n{log}");
        assert_eq!(status, Some(code), "{log}");
    }
    let arguments: [(&[&str], &str); 9] = [
        (&["--listen", "0.0.0.0:0"], "0.0.0.0 is not loopback"),
        (&["--listen", "[::]:0"], ":: is not loopback"),
        (&["--listen", "192.0.2.1:0", "--plaintext"], "cannot listen on"),
        (&["--listen", "nowhere"], "--listen nowhere: "),
        (&["--tls-cert", &good], "--tls-key <FILE>"),
        (&["--tls-cert", &good, "--tls-key", &good], "good.json: "),
        (&["--token-file", &path("none")], "none: No such file"),
        (
            &["--token-file", &write("short", "0123456789abcde\n")],
            "short: the token has fewer than 16 characters",
        ),
        (
            &["--token-file", &write("spaces", "0123456789 abcdef\n")],
            "spaces: the token has other characters",
        ),
    ];
    for (arguments, expected) in arguments {
        let (status, log) = ended(command(&["--from", &good]).args(arguments));
        assert!(log.contains(expected), "{arguments:?}: {expected}\n{log}");
        assert_eq!(status, Some(2), "{log}");
    }
    for (token, expected) in [
        (
            None,
            "the token is missing: set KEYFENCE_FEED_TOKEN, or give --token-file",
        ),
        (Some(""), "KEYFENCE_FEED_TOKEN: the token has fewer than 16 characters"),
        (
            Some("0123456789abcde"),
            "KEYFENCE_FEED_TOKEN: the token has fewer than 16 characters",
        ),
        (
            Some("0123456789abcdé"),
            "KEYFENCE_FEED_TOKEN: the token has other characters",
        ),
        (
            Some("=================="),
            "KEYFENCE_FEED_TOKEN: the token has other characters",
        ),
    ] {
        let mut command = command(&["--from", &good]);
        command.env_remove("KEYFENCE_FEED_TOKEN");
        if let Some(token) = token {
            command.env("KEYFENCE_FEED_TOKEN", token);
        }
        let (status, log) = ended(&mut command);
        assert!(log.contains(expected), "{expected}\n{log}");
        assert_eq!(status, Some(2), "{log}");
    }
}

#[test]
fn the_token_may_be_in_a_file() {
    let folder = tempdir().unwrap();
    let (keys, token) = (folder.path().join("keys.json"), folder.path().join("token"));
    fs::write(&keys, policy(&[key("a")])).unwrap();
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let server = Server::start(&[
        "--from",
        keys.to_str().unwrap(),
        "--token-file",
        token.to_str().unwrap(),
    ]);
    assert_eq!(server.get("/v1/gateways").status, 200);
}
