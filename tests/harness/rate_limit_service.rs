//! In the place of the service that Envoy's rate limit filter asks (envoy.service.ratelimit.v3, gRPC).

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::net::TcpListener;

/// Answers OK, but for the key ids of [`RateLimitService::refuse`]. It ends with the test process.
pub struct RateLimitService {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: Vec<Question>,
    refused: HashSet<String>,
}

/// What Envoy asked for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub domain: String,
    /// Each a list of keys with their values.
    pub descriptors: Vec<Vec<(String, String)>>,
}

impl RateLimitService {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let for_connections = Arc::clone(&state);
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((connection, _)) = listener.accept().await {
                    let state = Arc::clone(&for_connections);
                    tokio::spawn(async move {
                        let Ok(mut connection) = h2::server::handshake(connection).await else {
                            return;
                        };
                        while let Some(Ok((request, response))) = connection.accept().await {
                            tokio::spawn(answer(request, response, Arc::clone(&state)));
                        }
                    });
                }
            });
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the limit of this value of any key is used up.
    pub fn refuse(&self, value: &str) {
        self.state.lock().unwrap().refused.insert(value.to_owned());
    }

    /// The questions since the last call.
    pub fn take(&self) -> Vec<Question> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// What it says of every window: the seconds until it ends.
pub const RESET: &str = "42";

/// A gRPC message is behind a byte that says whether it is compressed, and its length in four.
const PREFIX: usize = 5;

async fn answer(
    request: http::Request<RecvStream>,
    mut response: SendResponse<Bytes>,
    state: Arc<Mutex<State>>,
) -> Option<()> {
    assert_eq!(request.uri().path(), METHOD);
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        message.extend_from_slice(&data);
    }
    let question = Question::read(message.get(PREFIX..)?)?;
    let over_limit = {
        let mut state = state.lock().unwrap();
        let mut values = question.descriptors.iter().flatten().map(|(_, value)| value);
        let over_limit = values.any(|value| state.refused.contains(value));
        state.asked.push(question);
        over_limit
    };
    let head = http::Response::builder().header("content-type", "application/grpc");
    let mut stream = response.send_response(head.body(()).ok()?, false).ok()?;
    // RateLimitResponse.overall_code: OK is 1, OVER_LIMIT is 2. Its field 3 is a header for the client, with key 1 and value 2.
    let mut answer = vec![0x08, if over_limit { 2 } else { 1 }];
    let header = [text(1, "RateLimit-Reset"), text(2, RESET)].concat();
    answer.extend(field(3, &header));
    let length = u32::try_from(answer.len()).ok()?.to_be_bytes();
    let message = [&[0], &length[..], &answer].concat();
    stream.send_data(Bytes::from(message), false).ok()?;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    stream.send_trailers(trailers).ok()
}

impl Question {
    /// Reads a RateLimitRequest: domain is its field 1, descriptors are field 2, their entries field 1, with key 1 and value 2.
    fn read(message: &[u8]) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let read_entry = |entry: Vec<u8>| {
            let fields = fields(&entry)?;
            let value_of = |number| {
                fields
                    .iter()
                    .find(|field| field.0 == number)
                    .map_or(Some(String::new()), |field| text(&field.1))
            };
            Some((value_of(1)?, value_of(2)?))
        };
        let fields_of = |message: &[u8], number| {
            let all = fields(message)?.into_iter();
            Some(all.filter(move |field| field.0 == number).map(|field| field.1))
        };
        let descriptors = fields_of(message, 2)?.map(|descriptor| fields_of(&descriptor, 1)?.map(read_entry).collect());
        Some(Self {
            domain: text(&fields_of(message, 1)?.next()?)?,
            descriptors: descriptors.collect::<Option<_>>()?,
        })
    }
}

/// A field with a length, of less than 128 bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    [&[number << 3 | 2, length], content].concat()
}

fn text(number: u8, content: &str) -> Vec<u8> {
    field(number, content.as_bytes())
}

/// Number and content of each field with a length; those that are numbers are left out.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = varint(&mut message)?;
        match tag & 7 {
            0 => {}
            2 => {
                let (content, rest) = message.split_at_checked(value as usize)?;
                message = rest;
                fields.push((tag >> 3, content.to_vec()));
            }
            _ => return None,
        }
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
