//! Clients: a request over HTTP/1.1 or HTTP/2, or bytes as they stand.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::http2::Http2Connection;

/// No answer may take longer.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A request; header names, values and the path may be any bytes.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub from: Option<IpAddr>,
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}", self.to_bytes().escape_ascii())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

impl Version {
    pub const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// In their order, as sent; bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            path: path.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
            from: None,
        }
    }

    pub fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    /// What a browser asks before it sends `method` with `headers`.
    pub fn preflight(path: impl AsRef<[u8]>, origin: &str, method: &str, headers: &str) -> Self {
        let request = Self::new("OPTIONS", path)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method);
        if headers.is_empty() {
            request
        } else {
            request.header("Access-Control-Request-Headers", headers)
        }
    }

    /// One more header line.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("Authorization", format!("Bearer {key}"))
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The address to send from: any of 127.0.0.0/8 will do.
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().unwrap());
        self
    }

    /// Sends it on a connection of its own.
    pub fn send(&self, version: Version, to: SocketAddr) -> io::Result<Response> {
        match version {
            Version::Http1 => self.send_http1(to),
            Version::Http2 => {
                let mut responses = Http2Connection::open(to, self.from)?.send(std::slice::from_ref(self))?;
                responses.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn send_http1(&self, to: SocketAddr) -> io::Result<Response> {
        let mut connection = connect(to, self.from)?;
        connection.write_all(&self.to_bytes())?;
        read_response(&mut BufReader::new(connection), &self.method)
    }

    /// The request as HTTP/1.1 with a `Host`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.path, b" HTTP/1.1\r\n"].concat();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
            bytes.extend_from_slice(b"Host: api.test\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name, b": ".as_slice(), value, b"\r\n"].concat());
        }
        if !self.body.is_empty() {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Response {
    /// The values of the lines with this name, in any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a header that may come once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} comes {} times: {self:?}", all.len());
        all.first().copied()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }

    /// The `code` of an error of the filter's own; empty for any other response.
    pub fn code(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection from `from`, with time limits.
pub fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(address) = from {
        socket.bind(&SocketAddr::new(address, 0).into())?;
    }
    socket.connect_timeout(&to.into(), TIMEOUT)?;
    let connection = TcpStream::from(socket);
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Sends these bytes and returns what came back until the peer closed or `patience` ran out.
pub fn exchange_raw(to: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<Vec<u8>> {
    let mut connection = connect(to, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)))?;
    connection.set_read_timeout(Some(patience))?;
    // The peer may answer and close before it has read everything.
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Reads one HTTP/1.1 response to a request with this method.
pub fn read_response(reader: &mut impl BufRead, method: &str) -> io::Result<Response> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("malformed response: {what}"));
    let mut line = read_line(reader)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| malformed(&line))?;
    let mut headers = Vec::new();
    loop {
        line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    if (100..200).contains(&status) || status == 204 || status == 304 || method == "HEAD" {
        return Ok(response);
    }
    if let Some(length) = response.header("content-length") {
        let length = length.parse().map_err(|_| malformed(length))?;
        response.body.resize(length, 0);
        reader.read_exact(&mut response.body)?;
    } else if response.header("transfer-encoding").is_some() {
        loop {
            let line = read_line(reader)?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            response.body.extend_from_slice(&chunk[..size]);
        }
    } else {
        reader.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
