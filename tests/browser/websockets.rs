//! WebSockets know no CORS: a browser connects from anywhere, and says from where.

use serde_json::json;

use crate::case::{Case, Change};

const ALLOWED: &str = "https://yourapp.com";
const FORBIDDEN: &str = "https://forbidden.example";

const CONNECT: &str = r#"
return new Promise((resolve) => {
  const socket = new WebSocket(arguments[0]);
  socket.onmessage = ({ data }) => { resolve(data); socket.close(); };
  socket.onerror = () => resolve("refused");
});
"#;

/// The upstream greets with what was offered to it.
const OFFER: &str = r#"
return new Promise((resolve) => {
  const socket = new WebSocket(arguments[0], arguments[1]);
  socket.onmessage = ({ data }) => { resolve(`${data} as ${socket.protocol}`); socket.close(); };
  socket.onerror = () => resolve("refused");
});
"#;

pub fn cases() -> Vec<Case> {
    let case = |name: &str, page: &'static str, expected: &'static str, really_from: &'static str| {
        Case::new(name, &[Change::Ask("Origin", really_from)], move |sites, gateway| {
            sites.browser.open(page)?;
            let url = format!("{}/websocket?api_key=ak_web", gateway.replacen("http", "ws", 1));
            let answer = sites.browser.run(CONNECT, &[json!(url)])?;
            if answer == expected {
                Ok(())
            } else {
                Err(format!("expected {expected}, but {answer}"))
            }
        })
    };
    let protocols = |name: &str, offered: &'static [&str], expected: &'static str, really: &'static str| {
        let change = Change::Ask("Sec-WebSocket-Protocol", really);
        let case = Case::new(name, &[change], move |sites, gateway| {
            sites.browser.open(ALLOWED)?;
            let url = format!("{}/websocket", gateway.replacen("http", "ws", 1));
            let answer = sites.browser.run(OFFER, &[json!(url), json!(offered)])?;
            if answer == expected {
                Ok(())
            } else {
                Err(format!("expected {expected}, but {answer}"))
            }
        });
        case.at("sockets")
    };
    vec![
        protocols(
            "websocket: a key among its protocols",
            &["chat", "api-key.ak_web"],
            "hello chat as chat",
            "chat",
        ),
        protocols(
            "websocket: two keys among its protocols",
            &["chat", "api-key.ak_web", "api-key.ak_other"],
            "refused",
            "chat, api-key.ak_web",
        ),
        protocols(
            "websocket: an unknown key among its protocols",
            &["chat", "api-key.ak_none"],
            "refused",
            "chat, api-key.ak_web",
        ),
        case("websocket: an allowed page", ALLOWED, "hello", FORBIDDEN),
        case("websocket: a forbidden page", FORBIDDEN, "refused", ALLOWED),
    ]
}
