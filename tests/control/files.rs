//! Changes of files, as editors, programs and Kubernetes make them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::policy::{digest, key, policy, replace};
use crate::server::{Server, after, command, ended, ids};

/// What is done, how, and the keys that are in force after it.
type Step<'s> = (&'s str, &'s dyn Fn(), &'s [&'s str]);

/// The server notices each of these steps, which leave the keys on the right in force.
#[track_caller]
fn check(server: &Server, steps: &[Step<'_>]) {
    let mut last = server.page(&Value::Null);
    for (name, step, expected) in steps {
        step();
        let change = server.change(&after(&last));
        assert_ne!(
            change["revision"],
            last["revision"],
            "{name}: nothing was noticed; {:#?}",
            server.log()
        );
        last = server.page(&Value::Null);
        assert_eq!(ids(&last), *expected, "{name}");
    }
}

#[test]
fn a_file_may_change_in_any_way() {
    let parent = tempdir().unwrap();
    let [current, early, later] = ["current", "early", "later"].map(|name| parent.path().join(name));
    for folder in [&early, &later] {
        fs::create_dir(folder).unwrap();
    }
    symlink("early", &current).unwrap();
    let file = current.join("keys.json");
    let write = |path: &Path, names: &[&str]| {
        fs::write(path, policy(&names.iter().map(|name| key(name)).collect::<Vec<_>>())).unwrap();
    };
    write(&file, &["a"]);
    let server = Server::of(&file);
    let backup = current.join("keys.json~");
    let folders = [(); 3].map(|()| tempdir().unwrap());
    let [target, link, other] = [0, 1, 2].map(|index| folders[index].path().join("target.json"));
    check(
        &server,
        &[
            ("written in place", &|| write(&file, &["b"]), &["b"]),
            ("moved into place", &|| replace(&file, &policy(&[key("c")])), &["c"]),
            (
                "saved by an editor that keeps a backup",
                &|| {
                    fs::rename(&file, &backup).unwrap();
                    write(&file, &["d"]);
                },
                &["d"],
            ),
            (
                "replaced by a symbolic link",
                &|| {
                    write(&target, &["e"]);
                    fs::remove_file(&file).unwrap();
                    symlink(&target, &file).unwrap();
                },
                &["e"],
            ),
            ("the link's target written", &|| write(&target, &["f"]), &["f"]),
            (
                "a link of a link",
                &|| {
                    symlink(&target, &link).unwrap();
                    fs::remove_file(&file).unwrap();
                    symlink(&link, &file).unwrap();
                    write(&target, &["h"]);
                },
                &["h"],
            ),
            (
                "the link in the middle leads elsewhere",
                &|| {
                    write(&other, &["i"]);
                    let new = link.with_extension("new");
                    symlink(&other, &new).unwrap();
                    fs::rename(&new, &link).unwrap();
                },
                &["i"],
            ),
            (
                "a link in the place of a folder leads elsewhere",
                &|| {
                    let new = parent.path().join("new");
                    write(&later.join("keys.json"), &["j"]);
                    symlink(&later, &new).unwrap();
                    fs::rename(&new, &current).unwrap();
                },
                &["j"],
            ),
            (
                "removed and written again",
                &|| {
                    fs::remove_file(&file).unwrap();
                    server.wait_for_log("keys.json: error: No such file or directory");
                    write(&file, &["g"]);
                },
                &["g"],
            ),
        ],
    );
}

#[test]
fn a_folder_may_change_in_any_way() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("keys");
    fs::create_dir(&folder).unwrap();
    let path = |name: &str| folder.join(name);
    let write = |name: &str, key_name: &str| replace(&path(name), &policy(&[key(key_name)]));
    write("a.json", "a");
    write("b.yaml", "b");
    let server = Server::of(&folder);
    check(
        &server,
        &[
            ("a file changes", &|| write("a.json", "c"), &["b", "c"]),
            ("a new file", &|| write("d.yml", "d"), &["b", "c", "d"]),
            ("a file less", &|| fs::remove_file(path("b.yaml")).unwrap(), &["c", "d"]),
            (
                "a file is renamed away",
                &|| fs::rename(path("d.yml"), path("d.yml.off")).unwrap(),
                &["c"],
            ),
            (
                "and back",
                &|| fs::rename(path("d.yml.off"), path("d.yml")).unwrap(),
                &["c", "d"],
            ),
            (
                "another folder takes its place",
                &|| {
                    let next = parent.path().join("next");
                    fs::create_dir(&next).unwrap();
                    fs::write(next.join("e.json"), policy(&[key("e")])).unwrap();
                    fs::rename(&folder, parent.path().join("old")).unwrap();
                    fs::rename(&next, &folder).unwrap();
                },
                &["e"],
            ),
            ("a file of that folder changes", &|| write("e.json", "f"), &["f"]),
        ],
    );
    // Nothing of an empty folder, or of none, takes keys away.
    fs::remove_file(path("e.json")).unwrap();
    server.wait_for_log("keys: error: the folder has no *.json");
    fs::remove_dir(&folder).unwrap();
    server.wait_for_log("keys: error: No such file or directory");
    assert_eq!(ids(&server.page(&Value::Null)), ["f"]);
}

/// The kubelet writes a ConfigMap into a new folder, and replaces the symbolic link `..data` to it.
#[test]
fn a_config_map_is_swapped() {
    let folder = tempdir().unwrap();
    let version = |number: u32, names: &[&str]| {
        let data = folder.path().join(format!("..2026_{number}"));
        fs::create_dir(&data).unwrap();
        for name in names {
            fs::write(
                data.join(format!("{name}.json")),
                policy(&[key(&format!("{name}{number}"))]),
            )
            .unwrap();
            let link = folder.path().join(format!("{name}.json"));
            if !link.is_symlink() {
                symlink(format!("..data/{name}.json"), link).unwrap();
            }
        }
        let link = folder.path().join("..data_tmp");
        symlink(format!("..2026_{number}"), &link).unwrap();
        fs::rename(link, folder.path().join("..data")).unwrap();
        // The folder before it goes.
        let _ = fs::remove_dir_all(folder.path().join(format!("..2026_{}", number - 1)));
    };
    version(1, &["a", "b"]);
    for from in [folder.path().to_owned(), folder.path().join("a.json")] {
        let is_folder = from.is_dir();
        let server = Server::of(&from);
        let first = server.page(&Value::Null);
        let number = if is_folder { 1 } else { 2 };
        version(number + 1, &["a", "b"]);
        let change = server.change(&after(&first));
        let (a, b) = (format!("a{}", number + 1), format!("b{}", number + 1));
        let expected = if is_folder {
            vec![a.as_str(), b.as_str()]
        } else {
            vec![a.as_str()]
        };
        assert_eq!(
            (ids(&change), change["revision"].clone()),
            (expected, json!(2)),
            "in one revision"
        );
    }
}

#[test]
fn a_file_with_errors_stays_as_it_was() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    replace(&path("a.json"), &policy(&[key("a1"), key("a2")]));
    replace(&path("b.json"), &policy(&[key("b1")]));
    let server = Server::of(folder.path());
    let first = server.page(&Value::Null);
    for (text, line) in [
        ("{\"keys\": [", "a.json:1:10: error: configuration: this is not JSON"),
        (
            &policy(&[key("a1"), json!({"id": "a3", "api_key": 5})]),
            "a.json:1:133: error: keys[1].api_key: expected a string",
        ),
        (
            &policy(&[key("b1")]),
            "a.json:1:10: error: keys[0].id: \"b1\": the key at",
        ),
        (
            &policy(&[json!({"id": "x", "api_key": digest("b1")})]),
            "a.json:1:10: error: keys[0].api_key: the key at",
        ),
    ] {
        replace(&path("a.json"), text);
        server.wait_for_log(line);
        assert_eq!(server.page(&Value::Null), first, "{line}");
        assert_eq!(server.metric("keyfence_control_wrong_files"), 1, "{line}");
        server.wait_for_log("what has errors stays in force as it was");
    }
    // Others change all the same, and what they give up may be taken.
    replace(&path("b.json"), &policy(&[key("b2")]));
    let change = server.change(&after(&first));
    assert_eq!(
        (&change["removed"], ids(&change)),
        (&json!(["a1", "a2", "b1"]), vec!["b2", "x"])
    );
    assert_eq!(server.metric("keyfence_control_wrong_files"), 0);
    // A key moves from one file to another that is right only after it.
    replace(&path("a.json"), &policy(&[key("b2")]));
    server.wait_for_log("\"b2\": the key at");
    replace(&path("d.json"), &policy(&[key("d")]));
    server.wait_for_metric("keyfence_control_keys", 3);
    replace(&path("b.json"), &policy(&[key("b3")]));
    server.wait_for_metric("keyfence_control_revision", 4);
    let change = server.change(&after(&change));
    assert_eq!((&change["removed"], ids(&change)), (&json!(["x"]), vec!["d", "b3"]));
    // The same error is logged once.
    let count = server
        .log()
        .iter()
        .filter(|line| line.contains("\"b2\": the key at"))
        .count();
    assert_eq!(count, 1, "{:#?}", server.log());
}

/// What has no end, or waits for another program, is not opened.
#[test]
fn only_regular_files_are_read() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    replace(&path("a.json"), &policy(&[key("a")]));
    let make_pipe = |name: &str| {
        let made = Command::new("mkfifo").arg(path(name)).status().unwrap();
        assert!(made.success());
    };
    type Make<'m> = (&'m str, &'m dyn Fn(&str));
    let make: [Make<'_>; 2] = [
        ("pipe.json", &make_pipe),
        ("device.json", &|name| symlink("/dev/zero", path(name)).unwrap()),
    ];
    for (name, make) in make {
        let server = Server::of(folder.path());
        make(name);
        server.wait_for_log(&format!("{name}: error: it is not a regular file"));
        assert_eq!(server.metric("keyfence_control_wrong_files"), 1, "{name}");
        replace(&path("a.json"), &policy(&[key(name)]));
        server.wait_for_metric("keyfence_control_revision", 2);
        for from in [folder.path(), &path(name)] {
            let from = from.to_str().unwrap();
            let (status, log) = ended(&mut command(&["--from", from, "--listen", "127.0.0.1:0"]));
            assert_eq!(status, Some(1), "{from}: {log}");
        }
        fs::remove_file(path(name)).unwrap();
        server.wait_for_metric("keyfence_control_wrong_files", 0);
    }
}

/// JSON in which a parser that skips a value notices nothing wrong, so that its keys could be lost.
#[test]
fn a_key_that_is_not_json_is_an_error() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let new = folder.path().join("keys.new");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let cases: [(&str, &[u8]); 8] = [
        ("Latin-1", b"\"M\xfcller\""),
        ("an overlong form", b"\"\xc0\xaf\""),
        ("a surrogate in UTF-8", b"\"\xed\xa0\x80\""),
        ("cut off", b"\"\xe2\x82\""),
        ("half a surrogate pair", br#""\ud800""#),
        ("out of range", b"1e999"),
        ("too deep", deep.as_bytes()),
        ("a name that is not UTF-8", b"{\"\xff\": 1}"),
    ];
    let with = |value: &[u8]| {
        let keys = policy(&[key("a"), key("b")]);
        let (begin, end) = keys.rsplit_once("}]").unwrap();
        [begin.as_bytes(), b",\n\"name\": ", value, b"}]", end.as_bytes()].concat()
    };
    for (name, value) in cases {
        replace(&file, &policy(&[key("a")]));
        let server = Server::of(&file);
        let first = server.page(&Value::Null);
        fs::write(&new, with(value)).unwrap();
        fs::rename(&new, &file).unwrap();
        server.wait_for_metric("keyfence_control_wrong_files", 1);
        assert_eq!(server.page(&Value::Null), first, "{name}");
        let error = server.wait_for_log("error: ");
        assert!(error.contains("line 2"), "{name}: {error}");
        let from = file.to_str().unwrap();
        let (status, log) = ended(&mut command(&["--from", from, "--listen", "127.0.0.1:0"]));
        assert_eq!(status, Some(1), "{name}: {log}");
    }
}

#[test]
fn raw_keys_are_neither_served_nor_logged() {
    const RAW: [&str; 3] = [
        "raw_key_one_0123456789",
        "raw_key_two_0123456789",
        "raw_key_three_0123456789",
    ];
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.yaml");
    let [one, two, three] = RAW;
    fs::write(
        &file,
        format!("keys:\n- id: a\n  api_key: {one}\n- id: b\n  api_key: [{{key: {two}, label: new}}, {three}]\n"),
    )
    .unwrap();
    let server = Server::of(&file);
    let page = server.page(&Value::Null);
    server.wait_for_log("keys.yaml:3:12: warning: keys[0].api_key: (22 bytes, not shown)");
    let set = page["set"].as_array().unwrap();
    assert_eq!(set[1]["api_key"][0]["label"], "new");
    for api_key in [&set[0]["api_key"], &set[1]["api_key"][0]["key"], &set[1]["api_key"][1]] {
        assert!(api_key.as_str().unwrap().starts_with("sha256:"), "{api_key}");
    }
    fs::write(&file, format!("keys:\n- id: a\n  api_key: {one}\n  {two}: {three}\n")).unwrap();
    server.wait_for_log("unknown field");
    let said = format!("{page}{:?}", server.log());
    for raw in [one, three] {
        assert!(!said.contains(raw), "{said}");
    }
}

#[test]
fn names_that_a_file_does_not_define_are_warned_of() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let mut wrong = key("a");
    wrong["scopes"] = json!(["raed", "read"]);
    wrong["upstream_headers"] = json!({"X-Plan": "gold", "X-Plam": "gold"});
    let mut all = json!({"keys": [wrong]});
    // Without any, they are the gateway's.
    fs::write(&file, all.to_string()).unwrap();
    let server = Server::of(&file);
    assert_eq!(
        server.log().iter().filter(|line| line.contains("warning")).count(),
        0,
        "{:#?}",
        server.log()
    );
    all["scopes"] = json!({"read": [{"methods": ["GET"], "path": "/**"}]});
    all["upstream_header_names"] = json!(["x-plan"]);
    replace(&file, &all.to_string());
    server.wait_for_log("warning: keys[0].scopes[0]: \"raed\": scopes of this file has no such scope");
    server.wait_for_log(
        "warning: keys[0].upstream_headers.X-Plam: upstream_header_names of this file has no such header",
    );
    assert_eq!(
        server.log().iter().filter(|line| line.contains("warning")).count(),
        2,
        "{:#?}",
        server.log()
    );
    assert_eq!(ids(&server.page(&Value::Null)), ["a"]);
}
