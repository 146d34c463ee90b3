//! Many requests at once.

use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use super::client::{Request, Response, Version, connect, read_response};
use super::http2::Http2Connection;

/// Sends all of `requests` on every one of so many connections, and gives all answers, those of a connection in the order of `requests`.
/// All connections are open, and those of HTTP/2 established, before the first request is sent. On HTTP/2 all requests of a connection
/// are sent together. On HTTP/1.1, where Envoy ends a connection with more than two responses in its queue, all connections send the
/// first, then when each has its answer all send the second, and so on.
pub fn burst(version: Version, to: SocketAddr, requests: &[Request], connections: usize) -> Vec<Response> {
    let together = Barrier::new(connections);
    let send = || match version {
        Version::Http1 => burst_http1(to, requests, &together),
        Version::Http2 => burst_http2(to, requests, &together),
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        let answers = senders.into_iter().map(|sender| sender.join().unwrap());
        answers
            .flat_map(|answers| answers.unwrap_or_else(|error| panic!("{error}: {version:?}")))
            .collect()
    })
}

fn burst_http1(to: SocketAddr, requests: &[Request], together: &Barrier) -> io::Result<Vec<Response>> {
    let mut connection = connect(to, requests[0].from).map(BufReader::new);
    let mut exchange = |request: &Request| {
        // One that failed does not keep the others waiting.
        together.wait();
        let reader = connection.as_mut().map_err(|error| io::Error::from(error.kind()))?;
        reader.get_mut().write_all(&request.to_bytes())?;
        read_response(reader, &request.method)
    };
    let responses: Vec<_> = requests.iter().map(&mut exchange).collect();
    responses.into_iter().collect()
}

fn burst_http2(to: SocketAddr, requests: &[Request], together: &Barrier) -> io::Result<Vec<Response>> {
    let connection = Http2Connection::open(to, requests[0].from);
    together.wait();
    connection?.send(requests)
}
