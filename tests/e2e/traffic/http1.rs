//! A client with several HTTP/1.1 connections, which attacks on these and on others.

use std::io::{self, BufReader, Write};
use std::time::Duration;

use fastrand::Rng;
use socket2::SockRef;

use super::Traffic;
use super::attacks::{Attack, Hope, attack};
use super::cast::{Case, Place};
use super::properties::{Maker, hold};
use crate::harness::client::{connect, read_response};
use crate::harness::witness::{number_of, number_seen, numbered};
use crate::harness::{Request, Response};

/// So many requests are under way at once, each on its own connection.
const CONNECTIONS: usize = 10;

/// An answer on a connection that a legitimate request waits for, on a machine that may be stopped for a while.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Client<'t, 'w> {
    traffic: &'t Traffic<'w>,
    random: Rng,
    connections: Vec<Connection>,
}

struct Connection {
    place: Place,
    stream: Option<BufReader<std::net::TcpStream>>,
}

/// What waits for its answer.
struct Waiting<'t> {
    number: u64,
    request: Request,
    /// None for a hostile one.
    case: Option<&'t Case>,
}

impl<'t, 'w> Client<'t, 'w> {
    pub fn new(traffic: &'t Traffic<'w>, random: Rng) -> Self {
        let places = [Place::Office, Place::Elsewhere].into_iter().cycle().take(CONNECTIONS);
        let connections = places.map(|place| Connection { place, stream: None }).collect();
        Self {
            traffic,
            random,
            connections,
        }
    }

    pub fn run(&mut self) {
        let mut is_more = true;
        while is_more {
            let mut waiting = Vec::with_capacity(CONNECTIONS);
            for index in 0..CONNECTIONS {
                let next = self.next(index);
                is_more &= next.is_some();
                waiting.push(next.flatten());
            }
            for (index, waiting) in waiting.into_iter().enumerate() {
                if let Some(waiting) = waiting {
                    self.read(index, &waiting);
                }
            }
        }
    }

    /// Sends something; what is sent on the connection with this index is to be read. The outer none: no more is to be sent.
    fn next(&mut self, index: usize) -> Option<Option<Waiting<'t>>> {
        let traffic = self.traffic;
        let place = self.connections[index].place;
        if !traffic.draws_hostile(&mut self.random) {
            let number = traffic.number()?;
            let fitting: Vec<&Case> = traffic
                .cast
                .iter()
                .filter(|case| case.place.is_none_or(|needed| needed == place))
                .collect();
            let case = fitting[self.random.usize(..fitting.len())];
            if !case.may_pass() {
                traffic.witness.forbid(number);
            }
            let request = numbered(case.request.clone(), number);
            return Some(self.send(
                index,
                Waiting {
                    number,
                    request,
                    case: Some(case),
                },
            ));
        }
        let mut first = None;
        let mut number = || {
            let number = traffic.number()?;
            first.get_or_insert(number);
            Some(number)
        };
        match attack(&mut self.random, &mut number)? {
            Attack::Request(request, hope) => {
                let number = first?;
                if hope == Hope::Nothing || (hope == Hope::OnlyFromTheOffice && place == Place::Elsewhere) {
                    traffic.witness.forbid(number);
                }
                Some(self.send(
                    index,
                    Waiting {
                        number,
                        request,
                        case: None,
                    },
                ))
            }
            Attack::Bytes(bytes, requests) => {
                self.send_apart(place, &bytes, &requests);
                Some(None)
            }
            Attack::Leave(bytes) => {
                self.leave(place, &bytes);
                Some(None)
            }
        }
    }

    fn send(&mut self, index: usize, waiting: Waiting<'t>) -> Option<Waiting<'t>> {
        let traffic = self.traffic;
        let connection = &mut self.connections[index];
        let sent = connection.open(traffic, &mut self.random).and_then(|stream| {
            // What Envoy answers before it has read everything is read all the same.
            let sent = stream.get_mut().write_all(&waiting.request.to_bytes());
            if waiting.case.is_some() { sent } else { Ok(()) }
        });
        match sent {
            Ok(()) => Some(waiting),
            Err(error) => {
                self.fail(index, &waiting, &error);
                None
            }
        }
    }

    fn read(&mut self, index: usize, waiting: &Waiting<'_>) {
        let Some(stream) = &mut self.connections[index].stream else {
            return;
        };
        let response = match read_final_response(stream, &waiting.request.method) {
            Ok(response) => response,
            Err(error) => return self.fail(index, waiting, &error),
        };
        let outcome = self
            .traffic
            .judge(waiting.number, &waiting.request, waiting.case, &response);
        self.traffic.count(outcome);
        if is_last(&response) || (waiting.case.is_none() && response.header("x-content-type-options").is_none()) {
            self.connections[index].stream = None;
        }
    }

    fn fail(&mut self, index: usize, waiting: &Waiting<'_>, error: &io::Error) {
        self.connections[index].stream = None;
        match waiting.case {
            Some(case) if !self.traffic.may_disconnect => panic!("{error}: {}: {:?}", case.name, waiting.request),
            Some(_) => {
                self.traffic.count("legitimate: no answer".to_owned());
                // Nobody may be there.
                std::thread::sleep(Duration::from_millis(5));
            }
            None => {
                let request = waiting.request.to_bytes();
                let start = request.get(..400).unwrap_or(&request).escape_ascii();
                assert!(!is_timeout(error), "no answer and no end: {start}");
                self.traffic.count("hostile: no answer".to_owned());
            }
        }
    }

    fn send_apart(&mut self, place: Place, bytes: &[u8], requests: &[Request]) {
        let mut connection = Connection { place, stream: None };
        let Ok(stream) = connection.open(self.traffic, &mut self.random) else {
            return;
        };
        for request in requests
            .iter()
            .filter(|request| !has(request, "Authorization") || !has(request, "Origin"))
        {
            self.traffic.witness.forbid(number_of(request));
        }
        let _ = stream.get_mut().write_all(bytes);
        for request in requests {
            match read_final_response(stream, &request.method) {
                Ok(response) => {
                    let outcome = self.traffic.judge(number_of(request), request, None, &response);
                    self.traffic.count(outcome);
                    if is_last(&response) {
                        return;
                    }
                }
                Err(error) => {
                    assert!(!is_timeout(&error), "no answer and no end: {}", bytes.escape_ascii());
                    self.traffic.count("hostile: no answer".to_owned());
                    return;
                }
            }
        }
    }

    fn leave(&mut self, place: Place, bytes: &[u8]) {
        let mut connection = Connection { place, stream: None };
        let Ok(stream) = connection.open(self.traffic, &mut self.random) else {
            return;
        };
        if self.random.bool() {
            let _ = SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO));
        }
        let _ = stream.get_mut().write_all(bytes);
        self.traffic.count("hostile: left".to_owned());
    }
}

impl Connection {
    fn open(&mut self, traffic: &Traffic<'_>, random: &mut Rng) -> io::Result<&mut BufReader<std::net::TcpStream>> {
        if self.stream.is_none() {
            let from = self.place.address(random).parse().unwrap();
            let stream = connect(traffic.to, Some(from))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Traffic<'_> {
    /// Holds an answer to what it must be, and says what became of the request.
    pub(super) fn judge(&self, number: u64, request: &Request, case: Option<&Case>, response: &Response) -> String {
        if self.may_be_unavailable && response.status == 503 && number_seen(response).is_none() {
            assert!(response.header("access-control-allow-origin").is_none(), "{response:?}");
            return "503 for a while".to_owned();
        }
        let wrong = |what: String| -> String {
            let request = request.to_bytes();
            let start = request.get(..700).unwrap_or(&request).escape_ascii();
            panic!("{what}\nrequest {number}: {start}\nresponse: {response:?}")
        };
        let maker = hold(request, response).unwrap_or_else(|what| {
            wrong(what);
            Maker::Envoy
        });
        if maker != Maker::Beyond {
            self.witness.forbid(number);
        }
        match case {
            Some(case) => format!("legitimate: {}", case.check(number, response).unwrap_or_else(wrong)),
            None => match number_seen(response) {
                Some(seen) if seen != number => wrong(format!("the answer to {seen}")),
                _ if maker == Maker::Filter => format!("hostile: {} {}", response.status, response.code()),
                _ => format!("hostile: {} of {maker:?}", response.status),
            },
        }
    }
}

/// The first that is not merely on the way to it.
fn read_final_response(stream: &mut BufReader<std::net::TcpStream>, method: &str) -> io::Result<Response> {
    loop {
        let response = read_response(stream, method)?;
        if response.status == 101 || response.status >= 200 {
            return Ok(response);
        }
    }
}

/// Envoy says so where it ends a connection.
fn is_last(response: &Response) -> bool {
    let connection = response.header("connection");
    connection.is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

fn has(request: &Request, header: &str) -> bool {
    request.headers.iter().any(|(name, _)| name == header.as_bytes())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
