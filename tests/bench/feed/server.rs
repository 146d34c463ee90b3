//! keyfence-control in this process.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use keyfence_control::server::{Control, serve};
use keyfence_control::state::State;
use keyfence_control::token::Token;

pub const TOKEN: &str = "the-token-of-the-bench";

/// The feed's server. Before it is started, connections to it are refused.
pub struct FeedServer {
    pub state: Arc<State>,
    address: SocketAddr,
}

impl FeedServer {
    pub fn new() -> FeedServer {
        // Free again as soon as this listener is dropped.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        FeedServer {
            state: Arc::new(State::new()),
            address: listener.local_addr().unwrap(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn start(&self) {
        let (state, address) = (self.state.clone(), self.address);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                let token = Token::new(TOKEN).unwrap();
                let control = Control::new(state, token, Arc::default());
                serve(listener, control, None, std::future::pending::<()>()).await;
            });
        });
    }
}
