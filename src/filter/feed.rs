//! Polls the feed of a policy from one VM, and applies the answers. The protocol itself is [`keyfence_core::feed`].
//!
//! Envoy's ticks drive it. There is one poller for each feed of each plugin, whatever the number of configurations: a new configuration with the
//! same feed takes the keys over.

use std::cell::Cell;

use keyfence_core::config::keys_from::{FeedToken, KeysFrom, TIMEOUT_MARGIN, TokenVariableError, is_bearer_token};
use keyfence_core::config::timestamp::Timestamp;
use keyfence_core::feed::{AnswerError, Feed, Forgotten, MAX_PAGE};
use keyfence_core::policy::Policy;
use keyfence_core::policy::fed_keys::FedKeys;

use crate::host::{self, Host, HttpCall, LogLevel, MapType};
use crate::metrics::{FeedMetrics, PollFailure};
use crate::once::log_once;
use crate::pairs::Pairs;
use crate::policy_cache::{OTHER_MEMORY, PluginId};

/// How often a root context with a feed is called, in milliseconds.
pub const TICK: u32 = 50;

/// The same for a root context that has been superseded: it polls again if those after it end first.
pub const SUPERSEDED_TICK: u32 = 1_000;

/// The first back-off, in nanoseconds. It doubles with each failure.
const SHORTEST_BACK_OFF: u64 = 100_000_000;
const LONGEST_BACK_OFF: u64 = 5_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// What reading and applying a page takes at most, in bytes: its nodes, and the keys in it.
const PAGE_MEMORY: usize = 16 << 20;

/// The poller of one feed.
pub struct Poller {
    plugin: PluginId,
    settings: KeysFrom,
    token: Option<Box<str>>,
    /// The root contexts whose policy has this feed. The newest one polls, and its policy is what keys are compiled with.
    contexts: Vec<u32>,
    feed: Feed,
    metrics: FeedMetrics,
    /// The root context with whose policy the keys are compiled. Another one polls after this one has ended, until its next tick.
    compiled_for: u32,
    in_flight: Option<InFlight>,
    /// The time of the next poll, in nanoseconds.
    next_poll: u64,
    /// Polls in a row that brought nothing at once, or failed.
    idle_polls: u32,
    /// Whether the last poll failed. `None` before the first one.
    is_failing: Option<bool>,
    /// Whether the last good answer was all keys.
    was_complete: bool,
    /// The time of the last good answer, in seconds.
    last_answer: u64,
    is_stale: bool,
    /// Whether [`Poller::warn_of_other_policy`] has warned since the last configuration.
    has_warned: Cell<bool>,
    /// State of the random numbers for the back-off.
    random: u64,
}

/// A poll that is under way.
struct InFlight {
    call: u32,
    context: u32,
    /// In nanoseconds.
    since: u64,
}

/// What a poll has failed with.
struct Failure {
    code: PollFailure,
    why: String,
}

impl Poller {
    /// The poller of the feed of this plugin. It begins at the next tick.
    pub fn new<H: Host>(host: &H, plugin: PluginId, settings: &KeysFrom) -> host::Result<Poller> {
        let random = host.random()?;
        let (instance, seed) = random.split_at(16);
        let instance: String = instance.iter().map(|byte| format!("{byte:02x}")).collect();
        let seed = seed.first_chunk().map_or(1, |bytes| u64::from_le_bytes(*bytes));
        Ok(Poller {
            metrics: FeedMetrics::define(host, &plugin.name)?,
            plugin,
            settings: settings.clone(),
            token: None,
            contexts: Vec::new(),
            feed: Feed::new(&instance),
            compiled_for: 0,
            in_flight: None,
            next_poll: 0,
            idle_polls: 0,
            is_failing: None,
            was_complete: false,
            last_answer: 0,
            is_stale: false,
            has_warned: Cell::new(false),
            random: seed | 1,
        })
    }

    /// Whether these settings of this plugin name the same feed.
    pub fn is_of(&self, plugin: &PluginId, settings: &KeysFrom) -> bool {
        let KeysFrom {
            cluster,
            authority,
            path,
            ..
        } = &self.settings;
        self.plugin == *plugin
            && *cluster == settings.cluster
            && *authority == settings.authority
            && *path == settings.path
    }

    /// A newer policy has this feed: that of the root context `context`, which is called from now on. The keys are compiled with it.
    pub fn configure<H: Host>(&mut self, host: &H, context: u32, policy: &Policy, token: Option<Box<str>>) {
        let Some(feed) = policy.feed() else { return };
        self.has_warned.set(false);
        self.settings = feed.settings.clone();
        self.token = token;
        self.contexts.retain(|known| *known != context);
        self.contexts.push(context);
        self.compile(host, context, policy);
    }

    /// Compiles the keys with the policy of the root context `context`, the current one, which polls from now on.
    fn compile<H: Host>(&mut self, host: &H, context: u32, policy: &Policy) {
        self.compiled_for = context;
        self.feed.resolve(policy);
        if self.feed.keys().is_some() {
            self.record(host);
        }
        if let Err(error) = host.set_tick_period(TICK) {
            self.log(host, LogLevel::Error, &error.to_string());
        }
    }

    /// Takes out a root context that has ended. Returns whether none is left.
    pub fn end(&mut self, context: u32) -> bool {
        self.contexts.retain(|known| *known != context);
        if self.in_flight.as_ref().is_some_and(|poll| poll.context == context) {
            // Envoy does not call back for it any more.
            self.in_flight = None;
            self.feed.fail();
        }
        self.contexts.is_empty()
    }

    /// Whether the policy of this root context has this feed.
    pub fn serves(&self, context: u32) -> bool {
        self.contexts.contains(&context)
    }

    /// The root context that polls.
    pub fn owner(&self) -> Option<u32> {
        self.contexts.last().copied()
    }

    /// The root context with whose policy the keys are compiled.
    pub fn compiled_for(&self) -> u32 {
        self.compiled_for
    }

    /// Whether the poll with this number is this poller's.
    pub fn has_sent(&self, call: u32) -> bool {
        self.in_flight.as_ref().is_some_and(|poll| poll.call == call)
    }

    /// The keys. `None` if none are known, or none that may still be used.
    pub fn keys(&self) -> Option<&FedKeys> {
        self.feed.keys().filter(|_| !self.is_stale)
    }

    /// The keys with scoped tokens that have changed since the last call.
    pub fn take_forgotten(&mut self) -> Forgotten {
        self.feed.take_forgotten()
    }

    /// Sends a poll if it is time for one. The root context that polls, `context`, calls this on each tick. `policy` is its policy.
    pub fn on_tick<H: Host>(&mut self, host: &H, context: u32, policy: Option<&Policy>) {
        if self.compiled_for != context
            && let Some(policy) = policy
        {
            self.compile(host, context, policy);
        }
        self.feed.free_old();
        let Ok(now) = host.nanoseconds() else { return };
        self.bound_times(now);
        let age = (now / SECOND).saturating_sub(self.last_answer);
        let limit = self.settings.max_stale_seconds;
        self.set_stale(
            host,
            limit.is_some_and(|limit| self.last_answer > 0 && age > u64::from(limit)),
        );
        if let Some(poll) = &self.in_flight {
            // Envoy answers each poll within its time, so this one is lost.
            let longest = SECOND * u64::from(self.settings.wait_seconds + 2 * TIMEOUT_MARGIN);
            if now.saturating_sub(poll.since) < longest {
                return;
            }
            self.in_flight = None;
            self.fail(host, now, unreachable("the poll was not answered"));
        }
        if now >= self.next_poll {
            self.poll(host, context, now);
        }
    }

    /// Keeps the times in bounds when the clock has been set back.
    fn bound_times(&mut self, now: u64) {
        self.next_poll = self.next_poll.min(now + LONGEST_BACK_OFF);
        self.last_answer = self.last_answer.min(now / SECOND);
        if let Some(poll) = &mut self.in_flight {
            poll.since = poll.since.min(now);
        }
    }

    fn set_stale<H: Host>(&mut self, host: &H, is_stale: bool) {
        if is_stale && !self.is_stale {
            let seconds = self.settings.max_stale_seconds.unwrap_or_default();
            let line =
                format!("feed: no answer for {seconds} s (max_stale_seconds): its keys get 503 policy_unavailable");
            self.log(host, LogLevel::Error, &line);
        }
        self.is_stale = is_stale;
    }

    /// Sends a poll from the current root context, `context`.
    fn poll<H: Host>(&mut self, host: &H, context: u32, now: u64) {
        let node = host.property(b"xds\0node\0id").ok().flatten();
        let node = node.map_or_else(String::new, |node| String::from_utf8_lossy(&node).into_owned());
        let body = self.feed.poll(&node, self.settings.wait_seconds);
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers: Vec<(&str, &str)> = vec![
            (":method", "POST"),
            (":path", &self.settings.path),
            (":authority", &self.settings.authority),
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let call = host.http_call(HttpCall {
            cluster: &self.settings.cluster,
            headers: &headers,
            body: body.as_bytes(),
            milliseconds: 1000 * (self.settings.wait_seconds + TIMEOUT_MARGIN),
        });
        match call {
            Ok(call) => {
                self.in_flight = Some(InFlight {
                    call,
                    context,
                    since: now,
                });
            }
            Err(error) => {
                let cluster = &self.settings.cluster;
                let why = format!("{error}; is {cluster:?} a cluster of this Envoy?");
                self.fail(host, now, unreachable(&why));
            }
        }
    }

    /// Takes the answer to the poll that is under way: a body of `size` bytes, and the header map of the host. `policy` is that of the root
    /// context that polls.
    pub fn on_answer<H: Host>(&mut self, host: &H, size: usize, policy: Option<&Policy>) {
        self.feed.free_old();
        let Some(poll) = self.in_flight.take() else { return };
        let Ok(now) = host.nanoseconds() else { return };
        match self.take_answer(host, size, policy, now) {
            Err(failure) => self.fail(host, now, failure),
            Ok(Answer { has_more: true, .. }) => self.poll_again(host, poll.context, now),
            Ok(Answer {
                is_news, is_complete, ..
            }) => {
                // Two servers with stores of their own, behind one name, would answer each poll with all keys.
                let is_repeated = is_complete && self.was_complete;
                self.was_complete = is_complete;
                self.last_answer = now / SECOND;
                self.set_stale(host, false);
                self.record(host);
                if self.is_failing != Some(false) {
                    self.log_state(host);
                }
                self.is_failing = Some(false);
                // A server that does not wait is not asked all the time.
                let came_at_once = now.saturating_sub(poll.since) < SECOND * u64::from(self.settings.wait_seconds) / 2;
                if came_at_once && (!is_news || is_repeated) {
                    self.back_off(now);
                } else {
                    self.idle_polls = 0;
                    self.poll_again(host, poll.context, now);
                }
            }
        }
    }

    /// Sends the next poll at once. A root context that has been superseded leaves that to the next tick of the one that polls now.
    fn poll_again<H: Host>(&mut self, host: &H, context: u32, now: u64) {
        self.next_poll = now;
        if self.owner() == Some(context) {
            self.poll(host, context, now);
        }
    }

    fn take_answer<H: Host>(
        &mut self,
        host: &H,
        size: usize,
        policy: Option<&Policy>,
        now: u64,
    ) -> Result<Answer, Failure> {
        check_head(status_of(host), size)?;
        let policy = policy.ok_or_else(|| memory("the policy is not there"))?;
        self.check_memory(host)?;
        let body = host
            .http_call_body(size)
            .map_err(|error| unreachable(&error.to_string()))?;
        let seconds = i64::try_from(now / SECOND).unwrap_or(i64::MAX);
        let before = self.feed.refused_count();
        let progress = self
            .feed
            .answer(&body, policy, Timestamp(seconds))
            .map_err(|error| match error {
                AnswerError::Malformed(why) => Failure {
                    code: PollFailure::Malformed,
                    why: format!("the answer is malformed: {why}"),
                },
                AnswerError::Outdated => Failure {
                    code: PollFailure::Outdated,
                    why: "the answer is older than what is known".into(),
                },
            })?;
        if let Ok(end) = host.nanoseconds() {
            let microseconds = end.saturating_sub(now) / 1000;
            let line = format!("feed: a page of {size} bytes was applied in {microseconds} µs");
            host.log(LogLevel::Debug, &line);
        }
        if !progress.has_more && (self.feed.refused_count() > 0 || before > 0) {
            self.log_refused(host);
        }
        Ok(Answer {
            has_more: progress.has_more,
            is_news: progress.is_news,
            is_complete: progress.is_complete,
        })
    }

    /// Makes sure that there is memory for a page. Without the changes, keys that were revoked would go on working, so if there is none, all
    /// keys are given up.
    fn check_memory<H: Host>(&mut self, host: &H) -> Result<(), Failure> {
        let largest = self.feed.largest_allocation();
        let needed = PAGE_MEMORY.saturating_add(largest).saturating_add(OTHER_MEMORY);
        if host.has_memory(needed, &[largest]) {
            return Ok(());
        }
        self.feed.reset();
        Err(memory(
            "the Wasm VM has too little memory for the keys, so they get 503 policy_unavailable",
        ))
    }

    /// Tells that requests come under a policy other than the one that keys are compiled with.
    pub fn warn_of_other_policy<H: Host>(&self, host: &H) {
        if !self.has_warned.replace(true) {
            self.log(
                host,
                LogLevel::Warn,
                "feed: requests come under another policy than the newest one of this plugin name, so a key may do what both allow; policies that are in force side by side need different plugin names",
            );
        }
    }

    fn fail<H: Host>(&mut self, host: &H, now: u64, failure: Failure) {
        self.feed.fail();
        let counted = self.metrics.count_failure(host, failure.code);
        if let Err(error) = counted {
            self.log(host, LogLevel::Error, &error.to_string());
        }
        let consequence = match self.feed.keys() {
            Some(_) => "the keys that it gave last stay in force",
            None => "its keys get 503 policy_unavailable",
        };
        let cluster = &self.settings.cluster;
        let line = format!("feed: {cluster}: {}; {consequence}", failure.why);
        self.log(host, LogLevel::Warn, &line);
        self.is_failing = Some(true);
        self.back_off(now);
    }

    fn back_off(&mut self, now: u64) {
        let longest = (SHORTEST_BACK_OFF << self.idle_polls.min(16)).min(LONGEST_BACK_OFF);
        self.idle_polls = self.idle_polls.saturating_add(1);
        // Xorshift: so that gateways that lost the server together do not come back together.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.next_poll = now + longest / 2 + self.random % (longest / 2);
    }

    fn record<H: Host>(&self, host: &H) {
        let keys = self.feed.keys().map_or(0, FedKeys::in_force_count);
        let revision = self.feed.position().map_or(0, |position| position.revision);
        let recorded = self
            .metrics
            .record(host, keys, self.feed.refused_count(), revision, self.last_answer);
        if let Err(error) = recorded {
            self.log(host, LogLevel::Error, &error.to_string());
        }
    }

    fn log_state<H: Host>(&self, host: &H) {
        if let (Some(keys), Some(position)) = (self.feed.keys(), self.feed.position()) {
            let (count, revision, epoch) = (keys.in_force_count(), position.revision, &position.epoch);
            let line = format!("feed: {count} keys in force, revision {revision} of epoch {epoch}");
            self.log(host, LogLevel::Info, &line);
        }
    }

    /// Logs a line about the state of the feed, unless another worker has just logged it.
    fn log<H: Host>(&self, host: &H, level: LogLevel, line: &str) {
        let topic = format!("keyfence/feed/{}", self.plugin.name);
        if log_once(host, topic.as_bytes(), line.as_bytes()) {
            host.log(level, line);
        }
    }

    /// Logs which keys are refused, if these are others than before.
    fn log_refused<H: Host>(&self, host: &H) {
        let count = self.feed.refused_count();
        let refused = self.feed.keys().into_iter().flat_map(FedKeys::refused).take(10);
        let lines = refused.map(|key| {
            let why = key.why.unwrap_or(key.code.reason());
            format!("feed: key {:?} refused: {why}", key.id)
        });
        let mut lines: Vec<String> = lines.collect();
        lines.insert(0, format!("feed: {count} keys refused"));
        let topic = format!("keyfence/feed-refused/{}", self.plugin.name);
        if log_once(host, topic.as_bytes(), lines.join("\n").as_bytes()) {
            for line in lines {
                host.log(LogLevel::Warn, &line);
            }
        }
    }
}

/// What a good answer has brought.
struct Answer {
    has_more: bool,
    is_news: bool,
    is_complete: bool,
}

fn unreachable(why: &str) -> Failure {
    Failure {
        code: PollFailure::Unreachable,
        why: why.into(),
    }
}

fn memory(why: &str) -> Failure {
    Failure {
        code: PollFailure::Memory,
        why: why.into(),
    }
}

/// Checks what is known of an answer without its body, of `size` bytes.
fn check_head(status: Option<u16>, size: usize) -> Result<(), Failure> {
    match status {
        Some(200) if size <= MAX_PAGE => Ok(()),
        Some(200) => Err(Failure {
            code: PollFailure::TooLarge,
            why: format!("the answer has {size} bytes, more than {MAX_PAGE}"),
        }),
        // Envoy's own, if the cluster has no healthy host or the time is over; a proxy's before the server.
        Some(status @ (502..=504)) => Err(unreachable(&format!("the answer has the status {status}"))),
        Some(status) => Err(Failure {
            code: PollFailure::Status,
            why: format!("the answer has the status {status}"),
        }),
        None => Err(unreachable("the connection failed, or the time was over")),
    }
}

/// The status of the answer, if one came.
fn status_of(host: &impl Host) -> Option<u16> {
    let map = host.headers(MapType::HttpCallResponseHeaders).ok()?;
    let mut headers = Pairs::of(&map)?;
    let (_, status) = headers.find(|(name, _)| *name == b":status")?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// The bearer token of a feed's polls. The inner error is what is wrong with the environment.
pub fn token_of<H: Host>(host: &H, settings: &KeysFrom) -> host::Result<Result<Option<Box<str>>, TokenVariableError>> {
    let name = match &settings.token {
        None => return Ok(Ok(None)),
        Some(FeedToken::Token(token)) => return Ok(Ok(Some(token.as_str().into()))),
        Some(FeedToken::TokenEnv(name)) => name,
    };
    let Some(value) = host.environment(name.as_bytes())? else {
        return Ok(Err(TokenVariableError::NotSet { name: name.clone() }));
    };
    // Editors and shells end a file with a line break.
    let value = String::from_utf8_lossy(&value);
    let value = value.trim_end();
    match is_bearer_token(value) {
        true => Ok(Ok(Some(value.into()))),
        false => Ok(Err(TokenVariableError::NotAToken { name: name.clone() })),
    }
}
