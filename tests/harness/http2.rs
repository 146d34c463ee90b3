//! One HTTP/2 connection, and several requests at once on it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::client::{Request, Response, TIMEOUT, connect};

pub struct Http2Connection {
    runtime: Runtime,
    client: SendRequest<Bytes>,
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
        Ok(Self { runtime, client })
    }

    /// Sends all of `requests`, each on a stream of its own, none waiting for another's answer.
    pub fn send(&self, requests: &[Request]) -> io::Result<Vec<Response>> {
        let heads: Vec<_> = requests.iter().map(head).collect::<io::Result<_>>()?;
        self.runtime.block_on(async {
            let send = |(head, request): (_, &Request)| {
                let body = Bytes::copy_from_slice(&request.body);
                tokio::spawn(exchange(self.client.clone(), head, body))
            };
            let exchanges: Vec<_> = heads.into_iter().zip(requests).map(send).collect();
            let mut responses = Vec::with_capacity(exchanges.len());
            for exchange in exchanges {
                let response = timeout(TIMEOUT, exchange).await??;
                responses.push(response.map_err(io::Error::other)?);
            }
            Ok(responses)
        })
    }
}

fn head(request: &Request) -> io::Result<http::Request<()>> {
    let path = std::str::from_utf8(&request.path).map_err(io::Error::other)?;
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://api.test{path}"));
    for (name, value) in &request.headers {
        head = head.header(name.as_slice(), value.as_slice());
    }
    head.body(()).map_err(io::Error::other)
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
