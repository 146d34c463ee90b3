//! The HTTP server: its paths, its connections, and its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::feed::Poll;
use crate::files::Status;
use crate::gateways::Gateways;
use crate::log;
use crate::metrics::{Answered, Metrics};
use crate::reply::{self, Reply};
use crate::state::{Answer, State};
use crate::token::Token;

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 65_536;

/// How long a client may take for the TLS handshake, for its first request with the token, and for a request's body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take for the head of its next request. Gateways keep connections: one that is closed between two polls can cost
/// them the second.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// How often a client of HTTP/2 must answer a ping. Without it, one that vanished would keep its connection.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long requests that are being answered have when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause after a connection could not be accepted, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests are answered from.
#[derive(Debug)]
pub struct Control {
    state: Arc<State>,
    token: Token,
    gateways: Gateways,
    metrics: Metrics,
    files: Arc<Status>,
}

impl Control {
    /// Gives the keys of `state` to whoever has the token. `files` is how the files are, for the metrics.
    pub fn new(state: Arc<State>, token: Token, files: Arc<Status>) -> Arc<Control> {
        Arc::new(Control {
            state,
            token,
            gateways: Gateways::default(),
            metrics: Metrics::default(),
            files,
        })
    }

    /// Answers a request. Sets `is_known` if it has the token.
    async fn reply(&self, request: Request<Incoming>, mut stop: watch::Receiver<bool>, is_known: &AtomicBool) -> Reply {
        let is_authenticated = self.is_authenticated(&request);
        if is_authenticated {
            is_known.store(true, Ordering::Relaxed);
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/v1/feed" if request.method() == Method::POST && !is_authenticated => {
                self.metrics.count(Answered::Unauthenticated);
                reply::unauthenticated()
            }
            "/v1/feed" if request.method() == Method::POST => self.feed(request, &mut stop).await,
            "/v1/feed" => reply::method_not_allowed("POST"),
            "/v1/gateways" | "/healthz" | "/readyz" | "/metrics" if !is_get => reply::method_not_allowed("GET, HEAD"),
            "/v1/gateways" if !is_authenticated => reply::unauthenticated(),
            "/v1/gateways" => reply::json(format!("{}\n", self.gateways.to_json())),
            "/healthz" => reply::text(StatusCode::OK, "text/plain", "ok\n"),
            "/readyz" if *stop.borrow() => reply::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "stopping\n"),
            "/readyz" => reply::text(StatusCode::OK, "text/plain", "ok\n"),
            "/metrics" => reply::text(StatusCode::OK, "text/plain; version=0.0.4", self.metrics_text()),
            _ => reply::problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path."),
        }
    }

    fn is_authenticated(&self, request: &Request<Incoming>) -> bool {
        let mut headers = request.headers().get_all(AUTHORIZATION).iter();
        let first = headers.next();
        first.is_some_and(|value| self.token.is_in(value.as_bytes())) && headers.next().is_none()
    }

    async fn feed(&self, request: Request<Incoming>, stop: &mut watch::Receiver<bool>) -> Reply {
        let poll = match read_body(request.into_body()).await {
            Ok(body) => Poll::parse(&body).map_err(|detail| (StatusCode::BAD_REQUEST, "malformed_request", detail)),
            Err(error) => Err(error),
        };
        let poll = match poll {
            Ok(poll) => poll,
            Err((status, code, detail)) => {
                self.metrics.count(Answered::Malformed);
                return reply::problem(status, code, detail);
            }
        };
        if let Some(line) = self.gateways.see(&poll) {
            log::line(&line);
        }
        let waiting = self.metrics.wait();
        let answer = poll.answer(&self.state, stop).await;
        drop(waiting);
        let (answered, reply) = match answer {
            Answer::Page {
                body,
                is_complete: true,
            } => (Answered::Complete, reply::json(body)),
            Answer::Page { body, .. } => (Answered::Changes, reply::json(body)),
            Answer::Unchanged { body } => (Answered::Unchanged, reply::json(body)),
            Answer::Ahead => {
                let detail = "The revision is later than the last one here.";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                (Answered::Ahead, reply::problem(status, "revision_ahead", detail))
            }
            Answer::UnknownCursor => {
                let detail = "The cursor is not one of the answers that are still there; begin anew without one.";
                let status = StatusCode::CONFLICT;
                (
                    Answered::UnknownCursor,
                    reply::problem(status, "unknown_cursor", detail),
                )
            }
        };
        self.metrics.count(answered);
        reply
    }

    fn metrics_text(&self) -> String {
        self.metrics.to_text(&[
            (
                "keyfence_control_revision",
                "The revision of the last change.",
                self.state.revision(),
            ),
            (
                "keyfence_control_keys",
                "Keys that are served.",
                self.state.key_count() as u64,
            ),
            (
                "keyfence_control_gateways",
                "VMs of gateways that have asked in the last five minutes.",
                self.gateways.count() as u64,
            ),
            (
                "keyfence_control_wrong_files",
                "Files whose last good form is served, since they have errors or cannot be read.",
                self.files.wrong(),
            ),
        ])
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, (StatusCode, &'static str, &'static str)> {
    match timeout(READ_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            "The body has more than 65536 bytes.",
        )),
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "malformed_request", "The body was cut off.")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "request_timeout", "The body did not come.")),
    }
}

/// Serves until `stop` is done. Polls that wait are answered then, and the rest has some seconds to end.
pub async fn serve(listener: TcpListener, control: Arc<Control>, tls: Option<TlsAcceptor>, stop: impl Future) {
    let (stopping, stopped) = watch::channel(false);
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    let mut is_accepting = true;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if is_accepting {
                    log::line(&format!("connections cannot be accepted: {error}"));
                }
                is_accepting = false;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        is_accepting = true;
        // A gateway waits for each answer.
        let _ = stream.set_nodelay(true);
        let (control, stopped, watcher) = (control.clone(), stopped.clone(), graceful.watcher());
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => connection(stream, control, stopped, watcher).await,
                Some(tls) => {
                    // What fails here is the client's to log.
                    if let Ok(Ok(stream)) = timeout(READ_TIMEOUT, tls.accept(stream)).await {
                        connection(stream, control, stopped, watcher).await;
                    }
                }
            }
        });
    }
    drop(listener);
    // A failure means that nobody waits.
    let _ = stopping.send(true);
    let _ = timeout(STOP_TIMEOUT, graceful.shutdown()).await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    control: Arc<Control>,
    stopped: watch::Receiver<bool>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let is_known = Arc::new(AtomicBool::new(false));
    let known = is_known.clone();
    let service = service_fn(move |request| {
        let (control, stopped, known) = (control.clone(), stopped.clone(), known.clone());
        async move { Ok::<_, Infallible>(control.reply(request, stopped, &known).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BODY_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(256);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What fails here is the client's to log.
        _ = watcher.watch(connection.into_owned()) => {}
        () = token_is_late(&is_known) => {}
    }
}

/// Ends when a client has taken too long to send the token, and else never. Without it, clients of which nothing is known would take all
/// connections, and hyper has no timeout before it knows the version of HTTP.
async fn token_is_late(is_known: &AtomicBool) {
    tokio::time::sleep(READ_TIMEOUT).await;
    if is_known.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
