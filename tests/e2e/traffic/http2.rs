//! A client with two HTTP/2 connections, one for what is legitimate, and one for what may end it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use fastrand::Rng;

use super::Traffic;
use super::attacks::{Attack, Hope, attack};
use super::cast::{Case, Place};
use super::frames;
use crate::harness::client::connect;
use crate::harness::http2::Http2Connection;
use crate::harness::witness::{number_of, numbered};

/// So many requests are under way at once.
const STREAMS: usize = 20;

/// An answer on a machine that may be stopped for a while.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Client<'t, 'w> {
    traffic: &'t Traffic<'w>,
    random: Rng,
    legitimate: Option<Http2Connection>,
    hostile: Option<Http2Connection>,
}

impl<'t, 'w> Client<'t, 'w> {
    pub fn new(traffic: &'t Traffic<'w>, random: Rng) -> Self {
        Self {
            traffic,
            random,
            legitimate: None,
            hostile: None,
        }
    }

    pub fn run(&mut self) {
        while if self.traffic.draws_hostile(&mut self.random) {
            self.attack()
        } else {
            self.ask()
        }
        .is_some()
        {}
    }

    /// None: no more is to be sent.
    fn ask(&mut self) -> Option<()> {
        let traffic = self.traffic;
        // A connection comes from one place.
        let fitting: Vec<&Case> = traffic
            .cast
            .iter()
            .filter(|case| case.place != Some(Place::Elsewhere))
            .collect();
        let mut cases = vec![];
        let mut requests = vec![];
        for number in (0..STREAMS).map_while(|_| traffic.number()) {
            let case = fitting[self.random.usize(..fitting.len())];
            if !case.may_pass() {
                traffic.witness.forbid(number);
            }
            cases.push(case);
            requests.push(numbered(case.request.clone(), number));
        }
        let connection = match open(&mut self.legitimate, traffic, Place::Office, &mut self.random) {
            Ok(connection) => connection,
            Err(error) => {
                assert!(traffic.may_disconnect, "{error}");
                std::thread::sleep(Duration::from_millis(20));
                return (!requests.is_empty()).then_some(());
            }
        };
        let mut is_broken = false;
        for ((case, request), response) in cases.iter().zip(&requests).zip(connection.try_send(&requests)) {
            let outcome = match response {
                Ok(response) => traffic.judge(number_of(request), request, Some(case), &response),
                Err(error) => {
                    assert!(traffic.may_disconnect, "{error}: {}: {request:?}", case.name);
                    is_broken = true;
                    "legitimate: no answer".to_owned()
                }
            };
            traffic.count(outcome);
        }
        if is_broken {
            self.legitimate = None;
        }
        (!requests.is_empty()).then_some(())
    }

    fn attack(&mut self) -> Option<()> {
        if self.random.u32(0..4) == 0 {
            let number = self.traffic.number()?;
            self.send_frames(number);
            return Some(());
        }
        let mut requests = vec![];
        let mut is_more = true;
        while is_more && requests.len() < STREAMS {
            match attack(&mut self.random, &mut || self.traffic.number()) {
                Some(Attack::Request(request, hope)) => {
                    // All from the office.
                    if hope == Hope::Nothing {
                        self.traffic.witness.forbid(number_of(&request));
                    }
                    requests.push(request);
                }
                // The others are HTTP/1.1.
                Some(_) => {}
                None => is_more = false,
            }
        }
        let Ok(connection) = open(&mut self.hostile, self.traffic, Place::Office, &mut self.random) else {
            return is_more.then_some(());
        };
        let mut is_broken = false;
        for (request, response) in requests.iter().zip(connection.try_send(&requests)) {
            let outcome = match response {
                Ok(response) => self.traffic.judge(number_of(request), request, None, &response),
                Err(error) if error.kind() == ErrorKind::InvalidInput => continue,
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::TimedOut, "no answer and no end: {request:?}");
                    is_broken = true;
                    "hostile: no answer".to_owned()
                }
            };
            self.traffic.count(outcome);
        }
        if is_broken {
            self.hostile = None;
        }
        is_more.then_some(())
    }

    fn send_frames(&mut self, number: u64) {
        let (bytes, hope) = frames::attack(&mut self.random, number);
        if hope == Hope::Nothing {
            self.traffic.witness.forbid(number);
        }
        let from = Place::Office.address(&mut self.random).parse().unwrap();
        if let Ok(mut stream) = connect(self.traffic.to, Some(from)) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            frames::exchange(&mut stream, &bytes);
        }
        self.traffic.count("hostile: frames".to_owned());
    }
}

fn open<'c>(
    connection: &'c mut Option<Http2Connection>,
    traffic: &Traffic<'_>,
    place: Place,
    random: &mut Rng,
) -> io::Result<&'c Http2Connection> {
    if connection.is_none() {
        let from = place.address(random).parse().unwrap();
        *connection = Some(Http2Connection::open(traffic.to, Some(from))?.patience(PATIENCE));
    }
    connection.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
}
