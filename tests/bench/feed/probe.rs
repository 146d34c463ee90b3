//! A connection that one worker serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::Gateway;

pub struct Probe {
    connection: TcpStream,
    buffer: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub time: Duration,
}

impl Probe {
    /// Connections to one worker and to the other.
    pub fn one_for_each_worker(gateway: &Gateway, listener: &str) -> [Probe; 2] {
        let mut found: [Option<Probe>; 2] = [None, None];
        // The kernel chooses the worker of a connection by chance.
        for _ in 0..1_000 {
            let before = connections(gateway);
            let mut probe = Probe {
                connection: TcpStream::connect(gateway.address(listener)).unwrap(),
                buffer: vec![0; 16 << 10],
            };
            probe.connection.set_nodelay(true).unwrap();
            probe.send("");
            let worker = (0..2).find(|worker| connections(gateway)[*worker] > before[*worker]);
            found[worker.unwrap()] = Some(probe);
            if let [Some(_), Some(_)] = &found {
                break;
            }
        }
        found.map(|probe| probe.expect("both workers get connections"))
    }

    /// Sends a request with this API key, and reads the whole answer.
    pub fn send(&mut self, api_key: &str) -> Answer {
        let begin = Instant::now();
        let request = format!("GET /v1/items HTTP/1.1\r\nhost: api.example\r\nx-api-key: {api_key}\r\n\r\n");
        self.connection.write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let read = self.connection.read(&mut self.buffer[length..]).unwrap();
            assert!(read > 0, "the connection has ended");
            length += read;
            let text = String::from_utf8_lossy(&self.buffer[..length]);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let expected = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |value| value.parse().unwrap());
                if body.len() >= expected {
                    return Answer {
                        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
                        time: begin.elapsed(),
                    };
                }
            }
        }
    }
}

/// How many connections each worker has had on its listeners.
fn connections(gateway: &Gateway) -> [u64; 2] {
    let stats = gateway.admin("/stats?filter=worker_[01].downstream_cx_total");
    [0, 1].map(|worker| {
        let name = format!("worker_{worker}.downstream_cx_total: ");
        let counts = stats
            .lines()
            .filter_map(|line| line.split_once(&name)?.1.parse::<u64>().ok());
        counts.sum()
    })
}
