//! A registry of OCI images on loopback, with the filter's image as `make image` makes it, and images that are wrong.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::gateway::built_filter;
use crate::harness::upstream::Received;

/// Serves `keyfence:0.1.0`, `keyfence:no-module` (an image without a module in it), and nothing else.
pub struct Registry {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// By path: media type, and content.
    content: HashMap<String, (String, Vec<u8>)>,
    is_down: AtomicBool,
    is_empty: AtomicBool,
    asked: Mutex<Vec<String>>,
}

/// How an image is described and packed.
#[derive(Clone, Copy)]
pub enum Format {
    /// What `docker push` makes.
    Docker,
    /// The OCI's own, which `buildah` and `crane` make.
    Oci,
}

impl Format {
    /// Of the manifest, of the configuration and of a layer.
    fn media_types(self) -> [&'static str; 3] {
        match self {
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
            Self::Oci => [
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
        }
    }
}

impl Registry {
    pub fn start(format: Format) -> Self {
        let mut content = HashMap::new();
        add(&mut content, "0.1.0", &fs::read(built_filter()).unwrap(), format);
        add(&mut content, "no-module", b"no module", format);
        let state = Arc::new(State {
            content,
            is_down: AtomicBool::new(false),
            is_empty: AtomicBool::new(false),
            asked: Mutex::new(Vec::new()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(connection, &state));
            }
        });
        Self { address, state }
    }

    /// The name of an image here, such as `127.0.0.1:5000/keyfence:0.1.0`.
    pub fn image(&self, tag: &str) -> String {
        format!("{}/keyfence:{tag}", self.address)
    }

    /// The digest of an image, as `docker push` prints it.
    pub fn digest(&self, tag: &str) -> String {
        digest(&self.state.content[&format!("/v2/keyfence/manifests/{tag}")].1)
    }

    /// While it is down it answers 503 to everything.
    pub fn set_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::Relaxed);
    }

    /// While it is empty it has no image: 404 for all but its root.
    pub fn set_empty(&self, is_empty: bool) {
        self.state.is_empty.store(is_empty, Ordering::Relaxed);
    }

    /// The paths asked for since the last call.
    pub fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }
}

fn add(content: &mut HashMap<String, (String, Vec<u8>)>, tag: &str, module: &[u8], format: Format) {
    let [manifest_type, config_type, layer_type] = format.media_types();
    let layer = archive("plugin.wasm", module);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    });
    let (config, layer) = (config.to_string().into_bytes(), gzip(&layer));
    let described = |media_type: &str, blob: &[u8]| -> Value {
        json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": described(config_type, &config),
        "layers": [described(layer_type, &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    for name in [tag, &digest(&manifest)] {
        let path = format!("/v2/keyfence/manifests/{name}");
        content.insert(path, (manifest_type.into(), manifest.clone()));
    }
    for blob in [config, layer] {
        let path = format!("/v2/keyfence/blobs/{}", digest(&blob));
        content.insert(path, ("application/octet-stream".into(), blob));
    }
    content.insert("/v2/".into(), ("application/json".into(), b"{}".into()));
}

pub fn digest(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar archive (POSIX ustar) with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut header = [b' '; BLOCK];
    header.fill(0);
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    // The sum is made with spaces in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = [&header, content].concat();
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["--no-name", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&content));
    let packed = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap().unwrap();
    packed
}

/// The first byte of a client that speaks TLS (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

fn serve(connection: TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut connection = connection;
    // Who speaks TLS learns at once that this does not.
    if reader.fill_buf().ok()?.first() == Some(&TLS_HANDSHAKE) {
        return None;
    }
    while let Some(request) = Received::read(&mut reader) {
        let line = request.request_line();
        let path = request.path();
        state.asked.lock().unwrap().push(path.clone());
        let is_there = path == "/v2/" || !state.is_empty.load(Ordering::Relaxed);
        let found = state.content.get(&path).filter(|_| is_there);
        let (status, media_type, body) = match found {
            _ if state.is_down.load(Ordering::Relaxed) => ("503 Service Unavailable", "text/plain", &[][..]),
            Some((media_type, body)) => ("200 OK", media_type.as_str(), body.as_slice()),
            None => (
                "404 Not Found",
                "application/json",
                &b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"[..],
            ),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\ndocker-content-digest: {}\r\n\r\n",
            body.len(),
            digest(body)
        );
        connection.write_all(head.as_bytes()).ok()?;
        if !line.starts_with("HEAD ") {
            connection.write_all(body).ok()?;
        }
    }
    Some(())
}
