//! The polls of gateways: `POST /v1/feed`.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::state::{After, Answer, State};

/// The longest that a poll waits, in seconds. Proxies between the two ends often cut a request that gets no answer for a minute.
const LONGEST_WAIT: u64 = 50;

/// The largest revision of a request: JSON numbers are doubles.
const MAX_REVISION: u64 = 1 << 53;

/// How many refused keys a gateway names, and a poll may.
const MAX_REFUSED_NAMED: usize = 10;

/// The body of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The name of the gateway, as Envoy has it.
    pub node: String,
    /// The random name of the VM, which has a table of its own.
    pub instance: String,
    /// What the VM has.
    pub after: Option<After>,
    /// Where the page begins; without one, it is the first of an answer.
    pub cursor: Option<String>,
    /// How long it may wait for something newer.
    pub wait: Duration,
    /// The keys of the feed that it does not use.
    pub refused: Refused,
}

/// The keys that a gateway refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many they are.
    pub count: u64,
    /// The id and code of the first of them.
    pub first: Vec<(String, String)>,
}

impl Poll {
    /// Parses the body of a poll. The error is the member that is wrong, and what it must be.
    pub fn parse(body: &[u8]) -> Result<Poll, &'static str> {
        let body: Value = serde_json::from_slice(body).map_err(|_| "the body must be a JSON object")?;
        if !body.is_object() {
            return Err("the body must be a JSON object");
        }
        let Some(instance) = member(&body, "instance").as_str().filter(|text| is_name(text, 64)) else {
            return Err("instance must be 1 to 64 visible ASCII characters");
        };
        let node = match member(&body, "node") {
            Value::Null => "",
            Value::String(node) => node,
            _ => return Err("node must be a string"),
        };
        let after = match member(&body, "after") {
            Value::Null => None,
            after => Some(parse_after(after).ok_or("after must be null, or have an epoch and a revision")?),
        };
        let cursor = match member(&body, "cursor") {
            Value::Null => None,
            cursor => {
                let cursor = cursor.as_str().filter(|text| is_name(text, 256));
                Some(cursor.ok_or("cursor must be null, or the next of a page")?.to_owned())
            }
        };
        let wait = match member(&body, "wait_seconds") {
            Value::Null => 0,
            wait => wait.as_u64().ok_or("wait_seconds must be a whole number")?,
        };
        Ok(Poll {
            node: node.chars().take(256).collect(),
            instance: instance.to_owned(),
            after,
            cursor,
            wait: Duration::from_secs(wait.min(LONGEST_WAIT)),
            refused: parse_refused(member(&body, "refused"))
                .ok_or("refused must have a count, and a list of ids and codes")?,
        })
    }

    /// Answers the poll: at once where something is newer, else as soon as something is, or after the wait. It also ends when `stop` becomes
    /// true.
    pub async fn answer(&self, state: &State, stop: &mut watch::Receiver<bool>) -> Answer {
        let deadline = Instant::now() + self.wait;
        let mut changes = state.subscribe();
        loop {
            let answer = state.answer(self.after.as_ref(), self.cursor.as_deref());
            if !matches!(answer, Answer::Unchanged { .. } | Answer::Ahead) || *stop.borrow() {
                return answer;
            }
            let changed = async {
                // Neither sender is gone before the server.
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = stop.changed() => {}
                }
            };
            if timeout_at(deadline, changed).await.is_err() {
                return answer;
            }
        }
    }
}

fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn parse_after(after: &Value) -> Option<After> {
    let epoch = member(after, "epoch").as_str().filter(|text| is_name(text, 64))?;
    let revision = member(after, "revision")
        .as_u64()
        .filter(|&revision| revision <= MAX_REVISION)?;
    Some(After {
        epoch: epoch.to_owned(),
        revision,
    })
}

fn parse_refused(refused: &Value) -> Option<Refused> {
    if refused.is_null() {
        return Some(Refused::default());
    }
    let short = |value: &Value| -> Option<String> { Some(value.as_str()?.chars().take(64).collect()) };
    let first = match member(refused, "first") {
        Value::Null => &[],
        first => first.as_array()?.as_slice(),
    };
    let first = first.iter().take(MAX_REFUSED_NAMED);
    Some(Refused {
        count: member(refused, "count").as_u64()?,
        first: first
            .map(|key| Some((short(member(key, "id"))?, short(member(key, "code"))?)))
            .collect::<Option<_>>()?,
    })
}

/// The value with this name; null if there is none.
fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}
