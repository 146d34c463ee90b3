//! An HTTP/1.1 server that keeps every request as the bytes that arrived.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Answers 200 `upstream` to everything, but what [`Upstream::answer`] sets.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    answers: HashMap<String, Vec<u8>>,
}

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and header lines with their line ends, up to and with the empty line.
    pub head: Vec<u8>,
    /// The body, without any chunked framing.
    pub body: Vec<u8>,
    /// Lines with their line ends, as in `head`.
    pub trailers: Vec<u8>,
}

/// Hands each connection to a free port of 127.0.0.1 to `serve`, on a thread of its own.
pub(super) fn listen<S: Send + Sync + 'static>(state: &Arc<S>, serve: fn(TcpStream, &S) -> Option<()>) -> SocketAddr {
    listen_at(SocketAddr::from(([127, 0, 0, 1], 0)), state, serve)
}

fn listen_at<S: Send + Sync + 'static>(
    address: SocketAddr,
    state: &Arc<S>,
    serve: fn(TcpStream, &S) -> Option<()>,
) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::clone(state);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            thread::spawn(move || serve(connection, &state));
        }
    });
    address
}

impl Upstream {
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// At an address of the test's own.
    pub fn at(address: SocketAddr) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let address = listen_at(address, &state, serve);
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.lock().unwrap().received)
    }

    /// The one request since the last call.
    pub fn take_one(&self) -> Received {
        let mut received = self.take();
        assert_eq!(received.len(), 1, "requests at the upstream: {received:?}");
        received.remove(0)
    }

    /// From now on a request for `path`, with any query, gets 200 with these header lines.
    pub fn answer(&self, path: &str, headers: &[(&str, &str)]) {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        self.answer_raw(
            path,
            format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 9\r\n\r\nupstream\n"),
        );
    }

    /// From now on a request for `path`, with any query, gets these bytes.
    pub fn answer_raw(&self, path: &str, response: impl Into<Vec<u8>>) {
        self.state
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), response.into());
    }
}

impl Received {
    /// The next request on a connection; none where it ends.
    pub fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let mut received = Self {
            head,
            body: Vec::new(),
            trailers: Vec::new(),
        };
        if let Some(length) = received.all("content-length").first() {
            received.body.resize(length.parse().ok()?, 0);
            reader.read_exact(&mut received.body).ok()?;
        } else if !received.all("transfer-encoding").is_empty() {
            (received.body, received.trailers) = read_chunks(reader)?;
        }
        Some(received)
    }

    pub fn request_line(&self) -> String {
        let end = self.head.iter().position(|&byte| byte == b'\r').unwrap();
        String::from_utf8_lossy(&self.head[..end]).into_owned()
    }

    /// Method, path with query.
    pub fn path(&self) -> String {
        self.request_line().split(' ').nth(1).unwrap().to_owned()
    }

    /// Header lines in their order; names and values byte for byte.
    pub fn headers(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.head
            .split(|&byte| byte == b'\n')
            .skip(1)
            .filter_map(|line| {
                let line = line.strip_suffix(b"\r")?;
                let colon = line.iter().position(|&byte| byte == b':')?;
                Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
            })
            .collect()
    }

    /// The values of the lines with this name, in any case.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.headers()
            .into_iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
            .collect()
    }
}

fn serve(connection: TcpStream, state: &Mutex<State>) -> Option<()> {
    connection.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    connection.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let received = Received::read(&mut reader)?;
        let path = received.path();
        let path = path.split('?').next()?.to_owned();
        let response = {
            let mut state = state.lock().unwrap();
            state.received.push(received);
            state.answers.get(&path).cloned()
        };
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nupstream\n";
        writer.write_all(response.as_deref().unwrap_or(ok)).ok()?;
    }
}

/// Body and trailers.
fn read_chunks(reader: &mut impl BufRead) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        if size == 0 {
            while !trailers.ends_with(b"\r\n\r\n") && trailers != b"\r\n" {
                if reader.read_until(b'\n', &mut trailers).ok()? == 0 {
                    return None;
                }
            }
            return Some((body, trailers));
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
    }
}
