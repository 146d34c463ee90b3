//! `keyfence-control`: gives the keys in files to every gateway, and what changes as it changes.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, fs, io, thread};

use clap::{Parser, Subcommand};
use keyfence_control::files::{Files, watch};
use keyfence_control::server::{Control, serve};
use keyfence_control::state::State;
use keyfence_control::token::Token;
use keyfence_control::{log, tls};
use keyfence_files::Failure;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// The server of keys for gateways with the keyfence filter, whose policy names it in keys_from.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0, stopped by a signal; 1, a file has errors; 2, wrong usage, or something cannot be read or used.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Serve),
}

/// Serve the keys of files, and each change of them
///
/// Gateways must send a bearer token. It is in the environment variable KEYFENCE_FEED_TOKEN, or in --token-file.
///
/// The feed has digests of API keys and secrets of tokens. So an address that is not loopback needs --tls-cert and --tls-key, or --plaintext.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Serve {
    /// A policy whose keys are served, as JSON or YAML, or a folder with such files: *.json, *.yaml and *.yml
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    from: Vec<PathBuf>,

    /// Address and port
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: String,

    /// The file with the gateways' bearer token, instead of the environment variable
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The certificate chain for TLS, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Something else encrypts what is sent, such as a mesh
    #[arg(long, conflicts_with = "tls_cert")]
    plaintext: bool,
}

const EXAMPLES: &str = "Examples:
  KEYFENCE_FEED_TOKEN=$(openssl rand -hex 32) keyfence-control serve --from keys.yaml
  keyfence-control serve --from /etc/keyfence/keys --token-file /etc/keyfence/token --listen 0.0.0.0:7070 \\
    --tls-cert tls.crt --tls-key tls.key";

/// The exit code if a file has errors.
const WRONG: u8 = 1;

/// The exit code for a [`Failure`]; clap uses it for wrong usage.
const FAILED: u8 = 2;

const TOKEN_VARIABLE: &str = "KEYFENCE_FEED_TOKEN";

fn main() -> ExitCode {
    let Command::Serve(arguments) = Arguments::parse().command;
    run(&arguments).unwrap_or_else(|Failure(message)| {
        log::line(&message);
        ExitCode::from(FAILED)
    })
}

fn run(arguments: &Serve) -> Result<ExitCode, Failure> {
    let token = arguments.token()?;
    let addresses = arguments.addresses()?;
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    let state = Arc::new(State::new());
    let mut files = Files::new(arguments.from.clone());
    let report = files.update(&state);
    report
        .errors
        .iter()
        .chain(&report.warnings)
        .for_each(|line| log::line(line));
    if !report.errors.is_empty() {
        return Ok(ExitCode::from(WRONG));
    }
    let control = Control::new(state.clone(), token, files.status());
    let runtime = Runtime::new().map_err(Failure::new)?;
    runtime.block_on(serve_until_stopped(&addresses, control, tls, || {
        thread::spawn(move || watch::watch(files, &state));
    }))?;
    log::line("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Listens, calls `on_listening`, and serves until the process gets SIGTERM or SIGINT.
async fn serve_until_stopped(
    addresses: &[SocketAddr],
    control: Arc<Control>,
    tls: Option<TlsAcceptor>,
    on_listening: impl FnOnce(),
) -> Result<(), Failure> {
    let stop = stop_signal().map_err(Failure::new)?;
    let listener = TcpListener::bind(addresses).await;
    let listener = listener.map_err(|error| Failure(format!("cannot listen on {addresses:?}: {error}")))?;
    let address = listener.local_addr().map_err(Failure::new)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    log::line(&format!("listening on {scheme}://{address}"));
    on_listening();
    serve(listener, control, tls, stop).await;
    Ok(())
}

fn stop_signal() -> io::Result<impl Future> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl Serve {
    fn token(&self) -> Result<Token, Failure> {
        let (place, text) = match &self.token_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                (
                    shown(path),
                    text.map_err(|error| Failure(format!("{}: {error}", shown(path))))?,
                )
            }
            None => match env::var(TOKEN_VARIABLE) {
                Ok(text) => (TOKEN_VARIABLE.to_owned(), text),
                Err(_) => {
                    return Err(Failure(format!(
                        "the token is missing: set {TOKEN_VARIABLE}, or give --token-file; gateways send the same token"
                    )));
                }
            },
        };
        Token::new(text.trim_ascii()).map_err(|error| Failure(format!("{place}: the token {error}")))
    }

    /// The addresses to listen on. Without encryption they are loopback.
    fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let failed = |error| Failure(format!("--listen {}: {error}", self.listen));
        let addresses: Vec<SocketAddr> = self.listen.to_socket_addrs().map_err(failed)?.collect();
        let is_encrypted = self.plaintext || self.tls_cert.is_some();
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) if !is_encrypted => Err(Failure(format!(
                "--listen {}: {} is not loopback, and the feed has digests of keys and secrets of tokens; give --tls-cert and --tls-key, or --plaintext if something else encrypts it",
                self.listen,
                address.ip()
            ))),
            _ => Ok(addresses),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
