//! In the place of the control plane: a server that feeds keys as it should (spec, section 17), and one that lies as a test tells it.
//!
//! ```ignore
//! let feed = FeedServer::start();
//! feed.set([json!({"id": "a", "api_key": "sha256:…"})]);
//! feed.lie(|_| Some(Reply::status(500)));
//! feed.be_honest();
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::upstream::Received;

/// Pages are shorter than 256 kB.
const PAGE: usize = 250_000;

/// A server on a free port of 127.0.0.1. It ends with the test process.
pub struct FeedServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

type Lie = dyn Fn(&Poll) -> Option<Reply> + Send + Sync;

struct State {
    epoch: String,
    revision: u64,
    /// Their JSON, by id.
    keys: BTreeMap<String, String>,
    /// The revision of the last change of each id, those of removed keys too.
    changes: BTreeMap<String, u64>,
    /// The pages of answers that are longer than one, by their cursors.
    pages: BTreeMap<String, Vec<u8>>,
    answers: u64,
    polls: Vec<Poll>,
    lie: Option<Arc<Lie>>,
    connections: Vec<TcpStream>,
    /// Changes when the server goes away: who listens then ends.
    generation: u64,
    is_away: bool,
    /// Polls that wait for a change.
    waiting: usize,
}

impl Default for State {
    fn default() -> Self {
        State {
            epoch: "epoch-1".to_owned(),
            revision: 1,
            keys: BTreeMap::new(),
            changes: BTreeMap::new(),
            pages: BTreeMap::new(),
            answers: 0,
            polls: Vec::new(),
            lie: None,
            connections: Vec::new(),
            generation: 0,
            is_away: false,
            waiting: 0,
        }
    }
}

/// One request of a gateway.
#[derive(Clone, Debug)]
pub struct Poll {
    pub received: Received,
    /// The request's body; null where it is not JSON.
    pub body: Value,
    pub at: Instant,
}

impl Poll {
    /// The revision that the gateway has.
    pub fn revision(&self) -> Option<u64> {
        self.body["after"]["revision"].as_u64()
    }

    pub fn epoch(&self) -> Option<&str> {
        self.body["after"]["epoch"].as_str()
    }

    pub fn instance(&self) -> &str {
        self.body["instance"].as_str().unwrap_or_default()
    }
}

/// What a server that lies does with a poll.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, head and all; the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, and the connection is closed.
    Close(Vec<u8>),
    /// These bytes, and the connection is reset.
    Reset(Vec<u8>),
    /// These bytes, and then nothing for a minute.
    Hang(Vec<u8>),
    /// These bytes, and then chunks without end, until the gateway hangs up.
    Endless(Vec<u8>),
    /// The reply after a time.
    Later(Duration, Box<Reply>),
    /// The reply in small parts with this time between them.
    Slowly(Duration, Vec<u8>),
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::Bytes(response("200 OK", "content-type: application/json\r\n", &body.into()))
    }

    pub fn json(body: &Value) -> Reply {
        Reply::ok(body.to_string())
    }

    /// No 200, with a body that would be a good answer.
    pub fn status(line: &str, further: &str, body: &Value) -> Reply {
        Reply::Bytes(response(line, further, body.to_string().as_bytes()))
    }
}

/// A response with its content length; `further` are lines with their line ends.
pub fn response(line: &str, further: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {line}\r\n{further}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl FeedServer {
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let address = listen(SocketAddr::from(([127, 0, 0, 1], 0)), &shared);
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Adds or replaces keys, in one revision, which is the result.
    pub fn set(&self, keys: impl IntoIterator<Item = Value>) -> u64 {
        self.change(|state, revision| {
            for key in keys {
                let id = key["id"].as_str().unwrap().to_owned();
                state.changes.insert(id.clone(), revision);
                state.keys.insert(id, key.to_string());
            }
        })
    }

    pub fn remove<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> u64 {
        self.change(|state, revision| {
            for id in ids {
                state.keys.remove(id);
                state.changes.insert(id.to_owned(), revision);
            }
        })
    }

    /// Removes and sets in one revision.
    pub fn exchange<'i>(&self, ids: impl IntoIterator<Item = &'i str>, keys: impl IntoIterator<Item = Value>) -> u64 {
        self.change(|state, revision| {
            for id in ids {
                state.keys.remove(id);
                state.changes.insert(id.to_owned(), revision);
            }
            for key in keys {
                let id = key["id"].as_str().unwrap().to_owned();
                state.changes.insert(id.clone(), revision);
                state.keys.insert(id, key.to_string());
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut State, u64)) -> u64 {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        change(&mut state, revision);
        self.shared.changed.notify_all();
        revision
    }

    /// As a store that was restored: another epoch, which begins at this revision with these keys.
    pub fn restore(&self, epoch: &str, revision: u64, keys: impl IntoIterator<Item = Value>) {
        let mut state = self.state();
        let keys = keys
            .into_iter()
            .map(|key| (key["id"].as_str().unwrap().to_owned(), key.to_string()));
        state.keys = keys.collect();
        state.changes.clear();
        (state.epoch, state.revision) = (epoch.to_owned(), revision);
        self.shared.changed.notify_all();
    }

    /// From now on `lie` says what is answered, those polls that wait already included. `None`: as it should be.
    pub fn lie(&self, lie: impl Fn(&Poll) -> Option<Reply> + Send + Sync + 'static) {
        self.state().lie = Some(Arc::new(lie));
        self.shared.changed.notify_all();
    }

    pub fn be_honest(&self) {
        self.state().lie = None;
    }

    /// All polls since the last call.
    pub fn take(&self) -> Vec<Poll> {
        std::mem::take(&mut self.state().polls)
    }

    /// The instances that have this revision, as their polls since the last [`FeedServer::take`] say.
    pub fn instances_at(&self, revision: u64) -> BTreeSet<String> {
        let state = self.state();
        let polls = state.polls.iter().filter(|poll| poll.revision() == Some(revision));
        polls.map(|poll| poll.instance().to_owned()).collect()
    }

    /// How many polls wait for a change.
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    pub fn epoch_and_revision(&self) -> (String, u64) {
        let state = self.state();
        (state.epoch.clone(), state.revision)
    }

    /// Refuses connections from now on, and ends those there are.
    pub fn go_away(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.is_away = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(self.address).is_ok() {
            assert!(Instant::now() < deadline, "the listener goes away");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Is there again, at the same port.
    pub fn come_back(&self) {
        self.state().is_away = false;
        assert_eq!(listen(self.address, &self.shared), self.address);
    }
}

fn listen(address: SocketAddr, shared: &Arc<Shared>) -> SocketAddr {
    let listener = bind(address);
    let address = listener.local_addr().unwrap();
    let generation = shared.state.lock().unwrap().generation;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut state = shared.state.lock().unwrap();
            if state.generation != generation {
                return;
            }
            state.connections.extend(connection.try_clone());
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(connection, &shared));
        }
    });
    address
}

/// Connections of before may still end when the server is back.
fn bind(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

fn serve(connection: TcpStream, shared: &Shared) -> Option<()> {
    connection.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    connection.set_write_timeout(Some(Duration::from_secs(60))).ok()?;
    connection.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let received = Received::read(&mut reader)?;
        let poll = Poll {
            body: serde_json::from_slice(&received.body).unwrap_or_default(),
            received,
            at: Instant::now(),
        };
        shared.state.lock().unwrap().polls.push(poll.clone());
        let reply = shared.reply(&poll)?;
        send(reply, &mut writer)?;
    }
}

/// `None` where the connection is over.
fn send(reply: Reply, writer: &mut TcpStream) -> Option<()> {
    match reply {
        Reply::Bytes(bytes) => writer.write_all(&bytes).ok(),
        Reply::Close(bytes) => {
            writer.write_all(&bytes).ok()?;
            let _ = writer.shutdown(Shutdown::Both);
            None
        }
        Reply::Reset(bytes) => {
            writer.write_all(&bytes).ok()?;
            // The bytes are to arrive before the reset.
            thread::sleep(Duration::from_millis(50));
            socket2::SockRef::from(&*writer).set_linger(Some(Duration::ZERO)).ok()?;
            None
        }
        Reply::Hang(bytes) => {
            writer.write_all(&bytes).ok()?;
            thread::sleep(Duration::from_secs(60));
            None
        }
        Reply::Endless(bytes) => {
            writer.write_all(&bytes).ok()?;
            let chunk = [b"1000\r\n".to_vec(), vec![b' '; 0x1000], b"\r\n".to_vec()].concat();
            // Bounded, should the gateway read it all.
            for _ in 0..64 * 1024 {
                writer.write_all(&chunk).ok()?;
            }
            None
        }
        Reply::Later(time, reply) => {
            thread::sleep(time);
            send(*reply, writer)
        }
        Reply::Slowly(time, bytes) => {
            for part in bytes.chunks(16) {
                writer.write_all(part).ok()?;
                thread::sleep(time);
            }
            Some(())
        }
    }
}

impl Shared {
    /// `None`: the server goes away.
    fn reply(&self, poll: &Poll) -> Option<Reply> {
        let wait = Duration::from_secs(poll.body["wait_seconds"].as_u64().unwrap_or(0));
        let mut state = self.state.lock().unwrap();
        let generation = state.generation;
        loop {
            // A lie may take long.
            if let Some(lie) = state.lie.clone() {
                drop(state);
                if let Some(reply) = lie(poll) {
                    return Some(reply);
                }
                state = self.state.lock().unwrap();
            }
            if state.is_away || state.generation != generation {
                return None;
            }
            if let Some(page) = poll.body["cursor"].as_str() {
                return Some(Reply::ok(state.pages.get(page).cloned().unwrap_or_default()));
            }
            let left = wait.checked_sub(poll.at.elapsed());
            let is_newer = poll.epoch() != Some(&state.epoch) || poll.revision() != Some(state.revision);
            match left.filter(|_| !is_newer) {
                Some(left) => {
                    state.waiting += 1;
                    state = self.changed.wait_timeout(state, left).unwrap().0;
                    state.waiting -= 1;
                }
                None => return Some(Reply::ok(state.answer(poll))),
            }
        }
    }
}

impl State {
    /// The first page of what this poll is to get.
    fn answer(&mut self, poll: &Poll) -> Vec<u8> {
        let after = poll.revision().filter(|_| poll.epoch() == Some(&self.epoch));
        let (mut removed, mut set): (Vec<String>, Vec<&String>) = (Vec::new(), Vec::new());
        match after {
            None => set.extend(self.keys.values()),
            Some(after) => {
                for (id, _) in self.changes.iter().filter(|(_, revision)| **revision > after) {
                    match self.keys.get(id) {
                        Some(key) => set.push(key),
                        None => removed.push(id.clone()),
                    }
                }
            }
        }
        let removed = removed.iter().map(|id| (true, json!(id).to_string()));
        let set = set.into_iter().map(|key| (false, key.clone()));
        let mut pages: Vec<[String; 2]> = vec![Default::default()];
        for (is_removed, text) in removed.chain(set) {
            let [removed, set] = pages.last().unwrap();
            if removed.len() + set.len() + text.len() > PAGE {
                pages.push(Default::default());
            }
            let [removed, set] = pages.last_mut().unwrap();
            let list = if is_removed { removed } else { set };
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&text);
        }
        self.answers += 1;
        let cursor = |number: usize| format!("{}-{number}", self.answers);
        let last = pages.len() - 1;
        let texts = pages.iter().enumerate().map(|(number, [removed, set])| {
            let next = if number < last {
                json!(cursor(number + 1))
            } else {
                Value::Null
            };
            let text = format!(
                r#"{{"epoch":{},"revision":{},"complete":{},"removed":[{removed}],"set":[{set}],"next":{next}}}"#,
                json!(self.epoch),
                self.revision,
                after.is_none(),
            );
            (cursor(number), text.into_bytes())
        });
        let texts: Vec<_> = texts.collect();
        let first = texts[0].1.clone();
        self.pages.extend(texts.into_iter().skip(1));
        first
    }
}
