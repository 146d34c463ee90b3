//! The host that the filter runs in: a trait over the proxy-wasm ABI 0.2.1, and the types of its calls.
//!
//! Every call that can fail returns a [`Result`]. A failure on the request path denies the request.

use std::fmt;
use std::ops::Deref;

/// A host call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostError {
    /// The name of the ABI function.
    pub call: &'static str,
    /// What went wrong.
    pub kind: HostErrorKind,
}

/// How a host call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The call returned this status (proxy-wasm ABI, `proxy_status_t`).
    Status(u32),
    /// The call succeeded with a result that cannot be right.
    InvalidResult,
    /// Other workers changed the shared value at each of many attempts.
    LostRaces,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.call)?;
        match self.kind {
            HostErrorKind::Status(status) => write!(f, "failed with status {status}"),
            HostErrorKind::InvalidResult => f.write_str("returned an invalid result"),
            HostErrorKind::LostRaces => f.write_str("lost too many races"),
        }
    }
}

/// The result of a host call.
pub type Result<T> = std::result::Result<T, HostError>;

/// Whether the host continues with a request or response after a callback (proxy-wasm ABI, `proxy_action_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pass it to the next filter.
    Continue,
    /// Do not pass it on.
    Pause,
}

/// A header map (proxy-wasm ABI, `proxy_header_map_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapType {
    /// The request's headers.
    RequestHeaders,
    /// The request's trailers.
    RequestTrailers,
    /// The response's headers.
    ResponseHeaders,
    /// The headers of the response to an HTTP call of the filter, in its callback.
    HttpCallResponseHeaders,
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Details for troubleshooting.
    Debug,
    /// Normal operation.
    Info,
    /// The configuration or the traffic may not be as the operator intended.
    Warn,
    /// A configuration was refused, or a host call failed.
    Error,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A count that only increases.
    Counter,
    /// A value that can be set.
    Gauge,
}

/// The host's id of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// The compare-and-swap number to write a shared value with that was absent when it was read.
///
/// The host checks the number only if the value exists, and counts up from 1, so no value has this number. The write therefore fails if
/// another worker created the value in the meantime. (0 would write without a check.)
pub const ABSENT_CAS: u32 = u32::MAX;

/// A local reply: an error, or the response to a preflight.
#[derive(Debug, Clone, Copy)]
pub struct LocalResponse<'r> {
    /// The HTTP status.
    pub status: u16,
    /// `grpc-status`; if `None`, the host derives it from the HTTP status.
    pub grpc_status: Option<u8>,
    /// `RESPONSE_CODE_DETAILS` in the access log.
    pub details: &'r str,
    /// Headers to add to those that the host sets, in the encoding of [`crate::pairs::encode`].
    pub headers: &'r [u8],
    /// May be empty.
    pub body: &'r [u8],
}

/// An HTTP request that the filter itself sends.
#[derive(Debug, Clone, Copy)]
pub struct HttpCall<'r> {
    /// The name of the host's cluster.
    pub cluster: &'r str,
    /// The headers, with `:method`, `:path` and `:authority`.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body.
    pub body: &'r [u8],
    /// How long the response may take.
    pub milliseconds: u32,
}

/// The host: a proxy that has loaded this filter. There is one on each thread, and its calls are not reentrant.
pub trait Host {
    /// Bytes that the host returned.
    type Bytes: Deref<Target = [u8]>;

    /// Writes a line to the host's log, if its log level shows it.
    fn log(&self, level: LogLevel, message: &str);

    /// Whether the allocator can provide `bytes` more in total: each size in `large` as one allocation, the rest in allocations of 1 MiB.
    fn has_memory(&self, bytes: usize, large: &[usize]) -> bool;

    /// The size of the VM's linear memory, in bytes.
    fn memory(&self) -> usize;

    /// The configuration of the plugin that is being configured.
    fn plugin_configuration(&self) -> Result<Self::Bytes>;

    /// All headers of `map`, in the encoding that [`crate::pairs::Pairs`] reads.
    fn headers(&self, map: MapType) -> Result<Self::Bytes>;

    /// Replaces all headers of `map` by `headers`, in the encoding of [`crate::pairs::encode`].
    fn set_headers(&self, map: MapType, headers: &[u8]) -> Result<()>;

    /// Adds a header line, and keeps the others of the same name.
    fn add_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()>;

    /// Replaces all lines of the header `name` by one.
    fn replace_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()>;

    /// Removes all lines of the header `name`.
    fn remove_header(&self, map: MapType, name: &[u8]) -> Result<()>;

    /// The property at `path`, a list of names separated by NUL; `None` if it does not exist.
    fn property(&self, path: &[u8]) -> Result<Option<Self::Bytes>>;

    /// Sets the filter state object `wasm.<path>`.
    fn set_filter_state(&self, path: &[u8], value: &[u8]) -> Result<()>;

    /// A value of shared data with its compare-and-swap number; `None` if it does not exist.
    fn shared_data(&self, key: &[u8]) -> Result<Option<(Self::Bytes, u32)>>;

    /// Writes a value of shared data if its compare-and-swap number is still `cas`, or if it does not exist. Returns whether it was
    /// written.
    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<bool>;

    /// Random bytes that nobody can predict.
    fn random(&self) -> Result<[u8; 32]>;

    /// The time, in nanoseconds since the Unix epoch.
    fn nanoseconds(&self) -> Result<u64>;

    /// Defines a metric, or finds it by its name if it exists.
    fn define_metric(&self, metric_type: MetricType, name: &str) -> Result<MetricId>;

    /// Increments a counter by one.
    fn increment_metric(&self, metric: MetricId) -> Result<()>;

    /// Sets a gauge.
    fn record_metric(&self, metric: MetricId, value: u64) -> Result<()>;

    /// The value of a metric, which all threads share.
    fn metric(&self, metric: MetricId) -> Result<u64>;

    /// The value of an environment variable of the VM; `None` if it is not set.
    fn environment(&self, name: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets how often the current root context is called, in milliseconds; 0: never.
    fn set_tick_period(&self, milliseconds: u32) -> Result<()>;

    /// Sends an HTTP request. Returns its number, with which the host calls back.
    fn http_call(&self, call: HttpCall<'_>) -> Result<u32>;

    /// The body, of `size` bytes, of the response to an HTTP call, in its callback.
    fn http_call_body(&self, size: usize) -> Result<Self::Bytes>;

    /// Sends a local reply in the current stream.
    fn send_local_response(&self, response: LocalResponse<'_>) -> Result<()>;
}

/// The time, in seconds since the Unix epoch. A clock that was never set is an error, because expired keys would be valid again.
pub fn unix_seconds(host: &impl Host) -> Result<u64> {
    let seconds = host.nanoseconds()? / 1_000_000_000;
    match seconds {
        0 => Err(HostError {
            call: "proxy_get_current_time_nanoseconds",
            kind: HostErrorKind::InvalidResult,
        }),
        seconds => Ok(seconds),
    }
}
