//! HTTP/2 (RFC 9113) as no client library would write it.

use std::io::{Read, Write};
use std::net::TcpStream;

use fastrand::Rng;

use super::attacks::Hope;
use super::cast::{SITE, SITE_KEY};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

type Header = (Vec<u8>, Vec<u8>);

/// A whole connection, up to a PING; and whether its one numbered request has hope.
pub fn attack(random: &mut Rng, number: u64) -> (Vec<u8>, Hope) {
    let mut sent = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &frame(SETTINGS, 0, 0, b""),
    ]
    .concat();
    let good = headers(number);
    let whole = END_STREAM | END_HEADERS;
    let hope = match random.u32(0..8) {
        0 => {
            sent.extend(frame(HEADERS, whole, 1, &encode(&malformed(random, good))));
            Hope::Nothing
        }
        1 => {
            // One byte after another.
            let block = encode(&good);
            sent.extend(frame(HEADERS, END_STREAM, 1, &block[..1]));
            for at in 1..block.len() {
                let flags = if at + 1 == block.len() { END_HEADERS } else { 0 };
                sent.extend(frame(CONTINUATION, flags, 1, &block[at..=at]));
            }
            Hope::Anything
        }
        2 => {
            // Opened and given up, again and again.
            for stream in (1..100).step_by(2) {
                sent.extend(frame(HEADERS, whole, stream, &encode(&good)));
                sent.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            Hope::Anything
        }
        3 => {
            // A block that never ends, and something else in the midst of it.
            sent.extend(frame(HEADERS, END_STREAM, 1, &encode(&good)));
            sent.extend(frame(DATA, END_STREAM, 1, b"x"));
            Hope::Nothing
        }
        4 => {
            // Trailers that would be headers.
            sent.extend(frame(HEADERS, END_HEADERS, 1, &encode(&good[..good.len() - 1])));
            sent.extend(frame(DATA, 0, 1, b"body"));
            let trailers = [
                header("origin", SITE),
                header("x-key-id", "secret"),
                header("x_key_id", "secret"),
            ];
            sent.extend(frame(HEADERS, whole, 1, &encode(&trailers)));
            Hope::Nothing
        }
        5 => {
            // Indexes into a table that has nothing there, and integers without end.
            let block = match random.u32(0..3) {
                0 => vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                1 => vec![0xbe, 0x3f, 0xff, 0xff, 0xff, 0x0f],
                _ => (0..random.usize(1..200)).map(|_| random.u8(..)).collect(),
            };
            sent.extend(frame(HEADERS, whole, 1, &block));
            Hope::Nothing
        }
        6 => {
            for _ in 0..random.usize(1..50) {
                let kind = [
                    DATA,
                    PRIORITY,
                    RST_STREAM,
                    SETTINGS,
                    PUSH_PROMISE,
                    PING,
                    GOAWAY,
                    WINDOW_UPDATE,
                    77,
                ][random.usize(..9)];
                let payload: Vec<u8> = (0..random.usize(..20)).map(|_| random.u8(..)).collect();
                sent.extend(frame(kind, random.u8(..) & !ACK, random.u32(..4), &payload));
            }
            Hope::Nothing
        }
        _ => {
            // A length that nothing follows, or a whole request without its end.
            if random.bool() {
                sent.extend([0xff, 0xff, 0xff, HEADERS, whole, 0, 0, 0, 1]);
                return (sent, Hope::Nothing);
            }
            sent.extend(frame(HEADERS, END_HEADERS, 1, &encode(&good)));
            Hope::Anything
        }
    };
    sent.extend(frame(PING, 0, 0, b"the last"));
    (sent, hope)
}

/// Sends it, and reads until the PING is answered or the connection ended.
pub fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
    if !bytes.ends_with(b"the last") {
        return;
    }
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).is_err() || (head[3] == PING && head[4] & ACK != 0 && payload == b"the last")
        {
            return;
        }
    }
}

/// Those of a request that is let through; the origin is the last.
fn headers(number: u64) -> Vec<Header> {
    vec![
        header(":method", "GET"),
        header(":scheme", "http"),
        header(":path", "/frames"),
        header(":authority", "api.test"),
        header("x-number", &number.to_string()),
        header("authorization", &format!("Bearer {SITE_KEY}")),
        header("origin", SITE),
    ]
}

/// RFC 9113, 8.1.1: a malformed request is an error.
fn malformed(random: &mut Rng, mut headers: Vec<Header>) -> Vec<Header> {
    let end = headers.len();
    let wrong = [
        (end, header("x-nul", "a\0b")),
        (end, header("x-\0nul", "a")),
        (end, header("x-break", "a\r\nx-key-id: secret")),
        (end, header("X-Key-Id", "secret")),
        (end, header("x key id", "secret")),
        (end, header("connection", "x-key-id")),
        (end, header("transfer-encoding", "chunked")),
        (end, header(":path", "/other")),
        (0, header(":path", "/other")),
        (0, header(":method", "OPTIONS")),
        (0, header(":status", "200")),
        (0, header(":x-key-id", "secret")),
        (end, header("", "empty")),
    ];
    let (at, header) = wrong[random.usize(..wrong.len())].clone();
    headers.insert(at, header);
    headers
}

fn header(name: &str, value: &str) -> Header {
    (name.into(), value.into())
}

/// HPACK (RFC 7541), each header a literal that is not indexed.
fn encode(headers: &[Header]) -> Vec<u8> {
    let mut block = vec![];
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a length in one byte");
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    block
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
