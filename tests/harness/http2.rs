//! One HTTP/2 connection, and several requests at once on it.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::{Request, Response, TIMEOUT, connect};

pub struct Http2Connection {
    runtime: Runtime,
    client: SendRequest<Bytes>,
    patience: Duration,
}

impl Http2Connection {
    pub fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let connection = connect(to, from)?;
        connection.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let connection = tokio::net::TcpStream::from_std(connection)?;
            let handshake = h2::client::handshake(connection);
            let (client, connection) = timeout(TIMEOUT, handshake).await?.map_err(io::Error::other)?;
            tokio::spawn(connection);
            io::Result::Ok(client)
        })?;
        Ok(Self {
            runtime,
            client,
            patience: TIMEOUT,
        })
    }

    /// How long an answer may take, if not 10 seconds.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends all of `requests`, each on a stream of its own, none waiting for another's answer.
    pub fn send(&self, requests: &[Request]) -> io::Result<Vec<Response>> {
        self.try_send(requests).into_iter().collect()
    }

    /// The same, with what became of each. One that HTTP/2 has no way to say is not sent, and is [`io::ErrorKind::InvalidInput`].
    pub fn try_send(&self, requests: &[Request]) -> Vec<io::Result<Response>> {
        let heads: Vec<_> = requests.iter().map(head).collect();
        self.runtime.block_on(async {
            let send = |(head, request): (io::Result<_>, &Request)| {
                let body = Bytes::copy_from_slice(&request.body);
                head.map(|head| tokio::spawn(exchange(self.client.clone(), head, body)))
            };
            let exchanges: Vec<_> = heads.into_iter().zip(requests).map(send).collect();
            let mut responses = Vec::with_capacity(exchanges.len());
            for exchange in exchanges {
                responses.push(match exchange {
                    Ok(exchange) => finish(exchange, self.patience).await,
                    Err(error) => Err(error),
                });
            }
            responses
        })
    }
}

async fn finish(exchange: JoinHandle<Result<Response, h2::Error>>, patience: Duration) -> io::Result<Response> {
    timeout(patience, exchange).await??.map_err(io::Error::other)
}

/// A `Host` is the authority, as clients of HTTP/2 send it.
fn head(request: &Request) -> io::Result<http::Request<()>> {
    let unsayable = |error: Box<dyn Error + Send + Sync>| io::Error::new(io::ErrorKind::InvalidInput, error);
    let path = std::str::from_utf8(&request.path).map_err(|error| unsayable(error.into()))?;
    let (host, headers): (Vec<_>, Vec<_>) = request.headers.iter().partition(|(name, _)| name == b"Host");
    let host = host
        .first()
        .map_or("api.test".into(), |(_, value)| String::from_utf8_lossy(value));
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{host}{path}"));
    for (name, value) in headers {
        head = head.header(name.as_slice(), value.as_slice());
    }
    head.body(()).map_err(|error| unsayable(error.into()))
}

async fn exchange(client: SendRequest<Bytes>, head: http::Request<()>, body: Bytes) -> Result<Response, h2::Error> {
    let (response, mut stream) = client.ready().await?.send_request(head, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?;
    }
    let (head, mut incoming) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = data?;
        incoming.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Ok(Response {
        status: head.status.as_u16(),
        headers,
        body,
    })
}
