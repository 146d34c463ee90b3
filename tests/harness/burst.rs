//! Many requests at once.

use std::io::{self, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use super::client::{Request, Response, Version, connect, read_response};
use super::http2::Http2Connection;

/// Sends `request` `each` times on every one of so many connections, and gives all answers. All connections are open, and those of
/// HTTP/2 established, before the first request is sent. On HTTP/1.1 the requests of a connection follow each other, for Envoy ends one
/// with more than two responses in its queue; on HTTP/2 each is a stream of its own.
pub fn burst(version: Version, to: SocketAddr, request: &Request, connections: usize, each: usize) -> Vec<Response> {
    let all_open = Barrier::new(connections);
    let send = || match version {
        Version::Http1 => burst_http1(to, request, each, &all_open),
        Version::Http2 => burst_http2(to, request, each, &all_open),
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(send)).collect();
        let answers = senders.into_iter().map(|sender| sender.join().unwrap());
        answers
            .flat_map(|answers| answers.unwrap_or_else(|error| panic!("{error}: {version:?}: {request:?}")))
            .collect()
    })
}

fn burst_http1(to: SocketAddr, request: &Request, each: usize, all_open: &Barrier) -> io::Result<Vec<Response>> {
    let connection = connect(to, request.from);
    all_open.wait();
    let mut connection = connection?;
    let mut reader = BufReader::new(connection.try_clone()?);
    let bytes = request.to_bytes();
    let mut exchange = || {
        connection.write_all(&bytes)?;
        read_response(&mut reader, &request.method)
    };
    (0..each).map(|_| exchange()).collect()
}

fn burst_http2(to: SocketAddr, request: &Request, each: usize, all_open: &Barrier) -> io::Result<Vec<Response>> {
    let connection = Http2Connection::open(to, request.from);
    all_open.wait();
    connection?.send(request, each)
}
