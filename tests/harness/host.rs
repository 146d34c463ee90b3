//! A host of the test's own, over which the filter runs natively: it keeps what Envoy would, and each of its calls can be made to fail.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use keyfence_filter::host::{
    Action, Host, HostError, HostErrorKind, HttpCall, LocalResponse, LogLevel, MapType, MetricId, MetricType, Result,
};
use keyfence_filter::pairs::{Pairs, encode};
use keyfence_filter::plugin::Plugin;
use keyfence_filter::stream::Stream;

pub type HeaderList = Vec<(Vec<u8>, Vec<u8>)>;

/// 2026-07-01, in seconds.
pub const NOW: u64 = 1_782_864_000;

#[derive(Default)]
pub struct World {
    /// Calls that can fail, so far.
    pub calls: Cell<usize>,
    /// The call that fails, by its number from 1; 0: none.
    pub fails: Cell<usize>,
    /// Calls that fail by their name.
    pub fails_always: RefCell<Vec<&'static str>>,
    pub failed: RefCell<Option<&'static str>>,
    pub configuration: RefCell<Vec<u8>>,
    pub plugin_name: RefCell<String>,
    pub headers: RefCell<BTreeMap<u32, HeaderList>>,
    pub shared: RefCell<BTreeMap<Vec<u8>, (Vec<u8>, u32)>>,
    /// The bytes that are missing at the end of every header map.
    pub cut_off: Cell<usize>,
    /// What set_shared_data refuses as a lost race.
    pub lost_races: Cell<u32>,
    pub metrics: RefCell<Vec<String>>,
    pub values: RefCell<BTreeMap<String, u64>>,
    pub answers: RefCell<Vec<(u16, String)>>,
    pub log: RefCell<Vec<String>>,
    pub memory: Cell<usize>,
    pub seconds: Cell<u64>,
    pub address: RefCell<String>,
    pub environment: RefCell<BTreeMap<String, String>>,
    pub tick_period: Cell<u32>,
    /// The HTTP calls so far, with their number from 0 by their order.
    pub http_calls: RefCell<Vec<SentCall>>,
    /// The body of the response to the HTTP call that is being handled.
    pub http_body: RefCell<Vec<u8>>,
}

/// An HTTP call that the filter has sent.
pub struct SentCall {
    pub cluster: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub milliseconds: u32,
}

#[derive(Clone)]
pub struct Fake(pub Rc<World>);

impl Fake {
    pub fn new(policy: &str) -> Fake {
        let world = World::default();
        *world.configuration.borrow_mut() = policy.into();
        *world.plugin_name.borrow_mut() = "keyfence".into();
        world.memory.set(usize::MAX);
        world.seconds.set(NOW);
        *world.address.borrow_mut() = "10.1.2.3:4711".into();
        Fake(Rc::new(world))
    }

    pub fn call(&self, call: &'static str) -> Result<()> {
        let number = self.0.calls.get() + 1;
        self.0.calls.set(number);
        if number == self.0.fails.get() || self.0.fails_always.borrow().contains(&call) {
            *self.0.failed.borrow_mut() = Some(call);
            return Err(HostError {
                call,
                kind: HostErrorKind::Status(10),
            });
        }
        Ok(())
    }

    pub fn edit<T>(&self, map: MapType, edit: impl FnOnce(&mut HeaderList) -> T) -> T {
        edit(self.0.headers.borrow_mut().entry(map as u32).or_default())
    }

    pub fn set(&self, map: MapType, lines: &[(&str, &str)]) {
        let lines = lines
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self.edit(map, |headers| *headers = lines.collect());
    }

    pub fn has(&self, map: MapType, name: &str) -> bool {
        self.edit(map, |headers| {
            headers.iter().any(|(header, _)| header == name.as_bytes())
        })
    }

    pub fn value(&self, metric: &str) -> u64 {
        self.0.values.borrow().get(metric).copied().unwrap_or(0)
    }

    pub fn last_answer(&self) -> Option<(u16, String)> {
        self.0.answers.borrow().last().cloned()
    }
}

/// A VM: the plugin, and what the SDK has beside it.
pub struct Vm {
    pub plugin: Plugin<Fake>,
    pub streams: BTreeMap<u32, Stream>,
}

impl Vm {
    pub fn new(host: Fake) -> Vm {
        Vm {
            plugin: Plugin::new(host),
            streams: BTreeMap::new(),
        }
    }

    pub fn configure(&mut self, context: u32, size: usize) -> bool {
        self.plugin.configure(context, size)
    }

    pub fn on_request_headers(&mut self, stream: u32) -> Action {
        self.plugin.on_request_headers(self.streams.get_mut(&stream).unwrap())
    }

    pub fn on_request_trailers(&mut self, stream: u32) -> Action {
        self.plugin.on_request_trailers(self.streams.get_mut(&stream).unwrap())
    }

    pub fn on_response_headers(&mut self, stream: u32) -> Action {
        self.plugin.on_response_headers(self.streams.get_mut(&stream).unwrap())
    }
}

impl Host for Fake {
    type Bytes = Vec<u8>;

    fn log(&self, _: LogLevel, message: &str) {
        self.0.log.borrow_mut().push(message.into());
    }

    fn has_memory(&self, bytes: usize, large: &[usize]) -> bool {
        bytes.max(large.iter().sum()) <= self.0.memory.get()
    }

    fn plugin_configuration(&self) -> Result<Vec<u8>> {
        self.call("plugin_configuration")?;
        Ok(self.0.configuration.borrow().clone())
    }

    fn headers(&self, map: MapType) -> Result<Vec<u8>> {
        self.call("headers")?;
        let mut encoded = self.edit(map, |lines| {
            encode(&lines.iter().map(|(n, v)| (&n[..], &v[..])).collect::<Vec<_>>())
        });
        encoded.truncate(encoded.len() - self.0.cut_off.get());
        Ok(encoded)
    }

    fn set_headers(&self, map: MapType, headers: &[u8]) -> Result<()> {
        self.call("set_headers")?;
        self.edit(map, |lines| {
            *lines = Pairs::of(headers)
                .unwrap()
                .map(|(n, v)| (n.to_vec(), v.to_vec()))
                .collect()
        });
        Ok(())
    }

    fn add_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        self.call("add_header")?;
        self.edit(map, |lines| lines.push((name.to_vec(), value.to_vec())));
        Ok(())
    }

    fn replace_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        self.call("replace_header")?;
        self.edit(map, |lines| {
            lines.retain(|(header, _)| header != name);
            lines.push((name.to_vec(), value.to_vec()));
        });
        Ok(())
    }

    fn remove_header(&self, map: MapType, name: &[u8]) -> Result<()> {
        self.call("remove_header")?;
        self.edit(map, |lines| lines.retain(|(header, _)| header != name));
        Ok(())
    }

    fn property(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        self.call("property")?;
        Ok(match path {
            b"plugin_name" => Some(self.0.plugin_name.borrow().clone().into_bytes()),
            b"source\0address" => Some(self.0.address.borrow().clone().into_bytes()),
            _ => None,
        })
    }

    fn set_filter_state(&self, _: &[u8], _: &[u8]) -> Result<()> {
        self.call("set_filter_state")
    }

    fn memory(&self) -> usize {
        0
    }

    fn shared_data(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>> {
        self.call("shared_data")?;
        Ok(self.0.shared.borrow().get(key).cloned())
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<bool> {
        self.call("set_shared_data")?;
        if self.0.lost_races.get() > 0 {
            self.0.lost_races.set(self.0.lost_races.get() - 1);
            return Ok(false);
        }
        let mut shared = self.0.shared.borrow_mut();
        let known = shared.get(key).map(|(_, cas)| *cas);
        if known.is_some_and(|known| known != cas) {
            return Ok(false);
        }
        shared.insert(key.to_vec(), (value.to_vec(), known.unwrap_or(0) + 1));
        Ok(true)
    }

    fn environment(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.call("environment")?;
        let name = std::str::from_utf8(name).unwrap();
        Ok(self
            .0
            .environment
            .borrow()
            .get(name)
            .map(|value| value.clone().into_bytes()))
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<()> {
        self.call("set_tick_period")?;
        self.0.tick_period.set(milliseconds);
        Ok(())
    }

    fn http_call(&self, call: HttpCall<'_>) -> Result<u32> {
        self.call("http_call")?;
        let mut calls = self.0.http_calls.borrow_mut();
        calls.push(SentCall {
            cluster: call.cluster.into(),
            headers: call
                .headers
                .iter()
                .map(|(n, v)| (n.to_string(), v.to_string()))
                .collect(),
            body: String::from_utf8(call.body.to_vec()).unwrap(),
            milliseconds: call.milliseconds,
        });
        Ok(calls.len() as u32 - 1)
    }

    fn http_call_body(&self, _: usize) -> Result<Vec<u8>> {
        self.call("http_call_body")?;
        Ok(self.0.http_body.borrow().clone())
    }

    fn random(&self) -> Result<[u8; 32]> {
        self.call("random")?;
        Ok([7; 32])
    }

    fn nanoseconds(&self) -> Result<u64> {
        self.call("nanoseconds")?;
        Ok(self.0.seconds.get() * 1_000_000_000)
    }

    fn define_metric(&self, _: MetricType, name: &str) -> Result<MetricId> {
        self.call("define_metric")?;
        let mut metrics = self.0.metrics.borrow_mut();
        let at = metrics.iter().position(|known| known == name).unwrap_or_else(|| {
            metrics.push(name.into());
            metrics.len() - 1
        });
        Ok(MetricId(at as u32))
    }

    fn increment_metric(&self, MetricId(id): MetricId) -> Result<()> {
        self.call("increment_metric")?;
        let name = self.0.metrics.borrow()[id as usize].clone();
        *self.0.values.borrow_mut().entry(name).or_default() += 1;
        Ok(())
    }

    fn record_metric(&self, MetricId(id): MetricId, value: u64) -> Result<()> {
        self.call("record_metric")?;
        let name = self.0.metrics.borrow()[id as usize].clone();
        self.0.values.borrow_mut().insert(name, value);
        Ok(())
    }

    fn metric(&self, MetricId(id): MetricId) -> Result<u64> {
        self.call("metric")?;
        let name = self.0.metrics.borrow()[id as usize].clone();
        Ok(self.value(&name))
    }

    fn send_local_response(&self, response: LocalResponse<'_>) -> Result<()> {
        self.call("send_local_response")?;
        self.0
            .answers
            .borrow_mut()
            .push((response.status, response.details.into()));
        Ok(())
    }
}
