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
    vec![
        case("websocket: an allowed page", ALLOWED, "hello", FORBIDDEN),
        case("websocket: a forbidden page", FORBIDDEN, "refused", ALLOWED),
    ]
}
