//! An upstream for millions of requests: it keeps none, and holds each to the rules as it comes in.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::client::Request;
use super::upstream::{Received, listen};

/// Answers 200 to everything, with headers of its own that the filter must replace or add to ([`HEADERS`]), with the number that
/// it read and with who it was told that the client is.
pub struct Witness {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    ids: HashSet<&'static str>,
    identity_header: &'static str,
    arrived: Numbers,
    forbidden: Numbers,
    count: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

/// In every answer.
pub const HEADERS: &str = "Access-Control-Allow-Origin: https://evil.example\r\nAccess-Control-Allow-Credentials: true\r\n\
    Access-Control-Allow-Methods: *\r\nVary: Accept-Encoding\r\nX-Frame-Options: ALLOWALL\r\n";

/// Which request it is; a client numbers all of its requests, from 0.
const NUMBER: &str = "x-number";

impl Witness {
    /// For clients whose ids are `ids`, which come in `X-Key-Id`.
    pub fn start(ids: &[&'static str]) -> Self {
        let state = Arc::new(State {
            ids: ids.iter().copied().collect(),
            identity_header: "x-key-id",
            arrived: Numbers::default(),
            forbidden: Numbers::default(),
            count: AtomicU64::new(0),
            complaints: Mutex::new(Vec::new()),
        });
        let address = listen(&state, serve);
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request with this number must not come here, neither so far nor later.
    pub fn forbid(&self, number: u64) {
        self.state.forbidden.insert(number);
    }

    /// How many requests came.
    pub fn count(&self) -> u64 {
        self.state.count.load(SeqCst)
    }

    /// What was wrong with them so far, the first thousand of it.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.state.complaints.lock().unwrap().clone();
        let passed = self.state.arrived.both(&self.state.forbidden);
        complaints.extend(
            passed
                .iter()
                .map(|number| format!("number {number} was refused and came")),
        );
        complaints
    }
}

/// The request with its number, as the first header.
pub fn numbered(mut request: Request, number: u64) -> Request {
    request
        .headers
        .insert(0, (NUMBER.into(), number.to_string().into_bytes()));
    request
}

/// The number of a [`numbered`] request.
pub fn number_of(request: &Request) -> u64 {
    std::str::from_utf8(&request.headers[0].1).unwrap().parse().unwrap()
}

/// What an answer of a witness says it read; none in any other answer.
pub fn number_seen(response: &super::Response) -> Option<u64> {
    response.header("x-seen-number")?.parse().ok()
}

fn serve(connection: TcpStream, state: &State) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let received = Received::read(&mut reader)?;
        state.count.fetch_add(1, SeqCst);
        let mut answer = format!("HTTP/1.1 200 OK\r\n{HEADERS}Content-Length: 9\r\n");
        match state.judge(&received) {
            Ok((number, id)) => {
                write!(answer, "X-Seen-Number: {number}\r\nX-Seen-Key-Id: {id}\r\n").unwrap();
            }
            Err(complaint) => state.complain(&complaint, &received),
        }
        answer.push_str("\r\n");
        if !received.head.starts_with(b"HEAD ") {
            answer.push_str("upstream\n");
        }
        writer.write_all(answer.as_bytes()).ok()?;
    }
}

impl State {
    /// The request's number, and the key's id or nothing.
    fn judge(&self, received: &Received) -> Result<(u64, String), String> {
        let mut number = None;
        let mut id = None;
        for (name, value) in received.headers() {
            let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
            let value = String::from_utf8_lossy(&value).into_owned();
            if name == NUMBER {
                number = Some(value.parse().map_err(|_| format!("its number is {value}"))?);
            } else if name == "connection" && value.to_ascii_lowercase().contains(self.identity_header) {
                return Err(format!("the next hop would drop {}", self.identity_header));
            } else if name.replace(|c: char| !c.is_ascii_alphanumeric(), "-") == self.identity_header {
                if name != self.identity_header || id.is_some() || !self.ids.contains(value.as_str()) {
                    return Err(format!("{name} is {value}"));
                }
                id = Some(value);
            }
        }
        let number = number.ok_or("it has no number")?;
        self.arrived.insert(number);
        Ok((number, id.unwrap_or_default()))
    }

    fn complain(&self, complaint: &str, received: &Received) {
        let mut complaints = self.complaints.lock().unwrap();
        if complaints.len() < 1000 {
            let head = received.head.get(..2000).unwrap_or(&received.head);
            complaints.push(format!("{complaint}: {}", head.escape_ascii()));
        }
    }
}

/// A set of numbers, which are all there is up to some number: a bit for each.
#[derive(Default)]
struct Numbers(Mutex<Vec<u64>>);

impl Numbers {
    fn insert(&self, number: u64) {
        let mut words = self.0.lock().unwrap();
        let word = (number / 64) as usize;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        words[word] |= 1 << (number % 64);
    }

    fn both(&self, other: &Self) -> Vec<u64> {
        let (words, others) = (self.0.lock().unwrap(), other.0.lock().unwrap());
        let both = words.iter().zip(others.iter()).map(|(a, b)| a & b).zip(0..);
        both.flat_map(|(both, word)| {
            (0..64)
                .filter(move |bit| both >> bit & 1 == 1)
                .map(move |bit| word * 64 + bit)
        })
        .collect()
    }
}
