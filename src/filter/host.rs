//! What the filter asks of its host. Every call can fail, and says so: whatever fails on the way of a request denies it.

use std::fmt;
use std::ops::Deref;

/// A call that the host refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostError {
    /// The function of the ABI.
    pub call: &'static str,
    /// What it returned (proxy-wasm ABI, `proxy_status_t`).
    pub status: u32,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed with status {}", self.call, self.status)
    }
}

/// The host's answer, or that it gave none.
pub type Result<T> = std::result::Result<T, HostError>;

/// Whether a request or response goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Continue,
    /// It goes no further.
    Pause,
}

/// Which headers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// Of the request.
    RequestHeaders,
    /// Behind the body of the request.
    RequestTrailers,
    /// Of the response.
    ResponseHeaders,
}

/// How grave a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For who looks closely.
    Debug,
    /// What an operator wants to see.
    Info,
    /// Doubtful.
    Warn,
    /// Refused.
    Error,
}

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Goes up.
    Counter,
    /// Is set.
    Gauge,
}

/// A counter or gauge of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// A number that no value of shared data has: the host counts up from 1. It makes the first write of a value a compare-and-swap too, for
/// the host looks at the number only where a value is there already.
pub const NEVER: u32 = u32::MAX;

/// An error of the filter's own, or the answer to a preflight. `headers` is in the ABI's encoding, see [`crate::pairs::encode`].
#[derive(Debug, Clone, Copy)]
pub struct LocalResponse<'r> {
    /// The HTTP status.
    pub status: u16,
    /// `grpc-status`; `None` leaves it to the host.
    pub grpc_status: Option<u8>,
    /// What the access log shows as `RESPONSE_CODE_DETAILS`.
    pub details: &'r str,
    /// Beside those that the host adds.
    pub headers: &'r [u8],
    /// May be empty.
    pub body: &'r [u8],
}

/// The host: a proxy with this filter in it. A thread has one, and calls do not nest.
pub trait Host {
    /// Bytes that the host wrote.
    type Bytes: Deref<Target = [u8]>;

    /// Writes a line to the host's log, where it shows such lines.
    fn log(&self, level: LogLevel, message: &str);

    /// Whether the allocator can give so many bytes more at once: those of each of `large` in one piece, the rest in pieces of a megabyte.
    fn has_memory(&self, bytes: usize, large: &[usize]) -> bool;

    /// The memory that the VM has taken so far, in bytes.
    fn memory(&self) -> usize;

    /// The configuration of the plugin that is being configured.
    fn plugin_configuration(&self) -> Result<Self::Bytes>;

    /// All headers in the ABI's encoding, see [`crate::pairs::Pairs`].
    fn headers(&self, map: MapType) -> Result<Self::Bytes>;

    /// Puts other headers in the place of all; `headers` is in the ABI's encoding.
    fn set_headers(&self, map: MapType, headers: &[u8]) -> Result<()>;

    /// Adds a line.
    fn add_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()>;

    /// Puts one line in the place of all that the header has.
    fn replace_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()>;

    /// Removes all lines of a header.
    fn remove_header(&self, map: MapType, name: &[u8]) -> Result<()>;

    /// The property at `path`, whose parts are separated by NUL; `None` where there is none.
    fn property(&self, path: &[u8]) -> Result<Option<Self::Bytes>>;

    /// Sets the filter state `wasm.<path>`.
    fn set_filter_state(&self, path: &[u8], value: &[u8]) -> Result<()>;

    /// A value of shared data with its compare-and-swap number; `None` where there is none.
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Self::Bytes, u32)>>;

    /// Sets a value of shared data if its number is still `cas`, or if there is none yet. Whether it was set.
    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<bool>;

    /// Nanoseconds since the Unix epoch.
    fn nanoseconds(&self) -> Result<u64>;

    /// Defines a metric, or finds it where it is defined already.
    fn define_metric(&self, kind: MetricType, name: &str) -> Result<MetricId>;

    /// Counts one.
    fn increment_metric(&self, metric: MetricId) -> Result<()>;

    /// Sets a gauge.
    fn record_metric(&self, metric: MetricId, value: u64) -> Result<()>;

    /// What a metric shows, whichever thread set it.
    fn metric(&self, metric: MetricId) -> Result<u64>;

    /// Answers the request.
    fn send_local_response(&self, response: LocalResponse<'_>) -> Result<()>;
}

/// Seconds since the Unix epoch. A clock that shows none has not been set, and an expired key would be valid by it.
pub fn unix_seconds(host: &impl Host) -> Result<u64> {
    let seconds = host.nanoseconds()? / 1_000_000_000;
    match seconds {
        0 => Err(HostError {
            call: "proxy_get_current_time_nanoseconds",
            status: 0,
        }),
        seconds => Ok(seconds),
    }
}
