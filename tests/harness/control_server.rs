//! keyfence-control in this process, for gateways whose policy has `keys_from`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use keyfence_control::fed_key::FedKey;
use keyfence_control::server::{Control, serve};
use keyfence_control::state::State;
use keyfence_control::tls;
use keyfence_control::token::Token;
use serde_json::Value;
use tokio::sync::oneshot;

/// The token of gateways, and the environment variable that has it.
pub const TOKEN: &str = "the-feed-token-of-the-tests";
pub const TOKEN_VARIABLE: &str = "KEYFENCE_FEED_TOKEN";

/// The server. While it is not started, connections to its address are refused.
pub struct ControlServer {
    state: Arc<State>,
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl ControlServer {
    /// One that is not started yet.
    pub fn new() -> Self {
        // Free again at the end of this function.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            state: Arc::new(State::new()),
            address: listener.local_addr().unwrap(),
            running: None,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The keys that it gives, started or not.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Gives gateways this key, in place of one with its id.
    pub fn set(&self, key: &Value) {
        self.state
            .set([FedKey::unchecked(key["id"].as_str().unwrap(), &key.to_string())]);
    }

    pub fn remove(&self, id: &str) {
        self.state.remove([id]);
    }

    pub fn start(&mut self) {
        self.serve(None);
    }

    /// Over TLS, with a certificate and its key as PEM.
    pub fn start_tls(&mut self, certificate: &Path, key: &Path) {
        self.serve(Some((certificate, key)));
    }

    fn serve(&mut self, certificate: Option<(&Path, &Path)>) {
        let tls = certificate
            .map(|(certificate, key)| tls::acceptor(certificate, key).unwrap_or_else(|error| panic!("{}", error.0)));
        let control = Control::new(self.state.clone(), Token::new(TOKEN).unwrap(), Arc::default());
        let (stop, stopped) = oneshot::channel();
        let address = self.address;
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                serve(listener, control, tls, stopped).await;
            });
        });
        self.running = Some((stop, thread));
    }

    /// Ends it. It can be started again, and goes on with the same keys and revisions.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop();
    }
}
