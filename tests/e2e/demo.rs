//! What `make run` starts, and the lines that it prints.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::command_line::printed;
use crate::harness::gateway::{Process, built_filter, demo_token, envoy_binary, repository};
use crate::harness::{Gateway, Request, Version};

fn shipped(file: &str) -> String {
    fs::read_to_string(repository().join("envoy").join(file)).unwrap()
}

/// The text with `from` in it, once at least, replaced.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the sample has no {from:?}");
    text.replace(from, to)
}

/// The sample on free ports, with its policy in this directory.
fn gateway_yaml(directory: &Path, upstream: &Gateway) -> String {
    built_filter();
    let filter = directory.join("filter.json");
    printed(
        &[
            "render",
            "ecds",
            "envoy/policy.json",
            "--output",
            filter.to_str().unwrap(),
        ],
        "",
    );
    let upstream = format!("port_value: {}", upstream.address("upstream").port());
    [
        ("port_value: 10000", "port_value: 0"),
        ("port_value: 9902", "port_value: 0"),
        ("port_value: 10001", upstream.as_str()),
        ("target/gateway", directory.to_str().unwrap()),
    ]
    .iter()
    .fold(shipped("envoy.yaml"), |text, (from, to)| replace(&text, from, to))
}

fn upstream() -> Gateway {
    let admin = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";
    let upstream = replace(&shipped("upstream.yaml"), "port_value: 10001", "port_value: 0");
    Gateway::from_yaml(&(admin.to_owned() + &upstream))
}

/// A page in the operator's browser can send a `POST` to any port of that machine.
#[test]
#[cfg(target_os = "linux")]
fn the_admin_interface_is_a_socket_for_its_user_alone() {
    let directory = TempDir::new().unwrap();
    let upstream = upstream();
    let socket = directory.path().join("admin.sock");
    let configuration = replace(
        &gateway_yaml(directory.path(), &upstream),
        "target/admin.sock",
        socket.to_str().unwrap(),
    );
    let configuration_path = directory.path().join("envoy.yaml");
    fs::write(&configuration_path, configuration).unwrap();
    // One that an Envoy left behind is in nobody's way.
    drop(UnixListener::bind(&socket).unwrap());
    let mut command = Command::new(envoy_binary());
    command
        .args([
            "--disable-hot-restart",
            "--log-level",
            "off",
            "--concurrency",
            "1",
            "--config-path",
        ])
        .arg(&configuration_path)
        .current_dir(repository())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let envoy = Process::spawn(command);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !admin(&socket, "/ready").contains("LIVE") {
        assert!(
            Instant::now() < deadline,
            "it is not ready: {}",
            admin(&socket, "/ready")
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let listeners = admin(&socket, "/listeners?format=json");
    let listeners: Value =
        serde_json::from_str(&listeners[listeners.find('{').unwrap()..listeners.rfind('}').unwrap() + 1]).unwrap();
    let mut named: Vec<(String, u16)> = listeners["listener_statuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| {
            let port = status["local_address"]["socket_address"]["port_value"]
                .as_u64()
                .unwrap();
            (status["name"].as_str().unwrap().to_owned(), port.try_into().unwrap())
        })
        .collect();
    named.sort();
    let mut ports: Vec<u16> = named.iter().map(|(_, port)| *port).collect();
    ports.sort_unstable();
    assert_eq!(open_ports(envoy.0.id()), ports, "{named:?}");
    for ((name, port), statuses) in named.iter().zip([[401, 401], [200, 404]]) {
        let address = SocketAddr::from(([127, 0, 0, 1], *port));
        let found = ["/stats/prometheus", "/logging?level=debug"]
            .map(|path| Request::new("POST", path).send(Version::Http1, address).unwrap().status);
        assert_eq!(found, statuses, "{name}");
    }
}

/// What the admin interface answers, as it is on the wire; nothing where it does not.
fn admin(socket: &Path, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut connection) = UnixStream::connect(socket) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        let _ = connection.write_all(request.as_bytes());
        let _ = connection.read_to_string(&mut answer);
    }
    answer
}

/// The TCP ports at which a process listens, each once.
fn open_ports(process: u32) -> Vec<u16> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/{process}/net/{table}"))
            .unwrap()
            .lines()
            .skip(1)
        {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_listening = fields[3] == "0A";
            if is_listening && sockets.iter().any(|socket| socket == fields[9]) {
                ports.push(u16::from_str_radix(fields[1].rsplit_once(':').unwrap().1, 16).unwrap());
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[test]
fn each_printed_line_answers_as_its_comment_says() {
    let rendered = TempDir::new().unwrap();
    let upstream = upstream();
    let gateway = replace(
        &gateway_yaml(rendered.path(), &upstream),
        "pipe: { path: target/admin.sock, mode: 0600 }",
        "socket_address: { address: 127.0.0.1, port_value: 0 }",
    );
    let gateway = Gateway::from_yaml(&gateway);
    let token = demo_token("alice");

    let text = shipped("try.txt");
    let address = gateway.address("gateway").to_string();
    let mut comment = "";
    let mut tried = 0;
    for line in text.lines() {
        if line.starts_with('#') {
            comment = line;
        } else if line.starts_with("curl ") {
            let line = line
                .replacen("curl", "curl --silent --max-time 10", 1)
                .replace("127.0.0.1:10000", &address);
            let output = Command::new("sh")
                .args(["-c", &line])
                .current_dir(repository())
                .output()
                .unwrap();
            let answer = String::from_utf8_lossy(&output.stdout);
            let (status, code) = comment.split_once(": ").unwrap().1.split_at(3);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{comment}: {line}: {answer}"
            );
            match status {
                "200" => {
                    let shown: &[&str] = if line.contains("alice.jwt") {
                        &["x-key-subject: alice", "x-key-filter: owner=alice"]
                    } else {
                        &["x-key-id: demo-browser"]
                    };
                    for header in shown {
                        assert!(answer.contains(&format!("\n{header}\n")), "{comment}: {answer}");
                        let name = header.split(':').next().unwrap();
                        assert!(comment.to_ascii_lowercase().contains(name), "{comment}: {name}");
                    }
                }
                "204" => assert!(
                    answer.contains("\r\naccess-control-allow-origin: https://app.example.com\r\n"),
                    "{comment}: {answer}"
                ),
                _ => assert!(answer.contains(&format!("\"{}\"", code.trim())), "{comment}: {answer}"),
            }
            assert!(!answer.contains("\r\nserver:"), "{comment}: {answer}");
            tried += 1;
        }
    }
    assert_eq!(tried, 8);
    gateway.wait_for("the access log", |gateway| {
        gateway.log().contains("\"decision\":\"preflight\"")
    });
    let log = gateway.log();
    assert!(log.contains("\"subject\":\"alice\""), "{log}");
    assert!(!log.contains("0123456789"), "a key in the log");
    assert!(!log.contains(token.split('.').nth(1).unwrap()), "a token in the log");
}
