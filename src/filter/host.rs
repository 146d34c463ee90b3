//! The calls to Envoy, straight through the proxy-wasm ABI 0.2.1. Every failure is a value, no text is taken for UTF-8, and a header map
//! stays the one buffer that the host wrote.

use std::ptr::null_mut;

use crate::config::timestamp::Timestamp;

use super::buffer::Buffer;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: Level, message: *const u8, message_size: usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, limit: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: Map, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: Map, data: *const u8, size: usize) -> u32;
    fn proxy_add_header_map_value(
        map: Map,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: Map,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: Map, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_define_metric(kind: MetricKind, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

const OK: u32 = 0;

/// What becomes of a request.
#[repr(u32)]
#[derive(Debug, Clone, Copy)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It is answered here.
    Pause = 1,
}

/// Which headers are meant.
#[repr(u32)]
#[derive(Debug, Clone, Copy)]
pub enum Map {
    /// Of the request.
    Request = 0,
    /// Behind the body of the request.
    RequestTrailers = 1,
    /// Of the response.
    Response = 2,
}

/// How grave a line of the log is.
#[repr(u32)]
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// For who looks closely.
    Debug = 1,
    /// Doubtful.
    Warn = 3,
    /// Refused.
    Error = 4,
}

/// What a metric does.
#[repr(u32)]
#[derive(Debug, Clone, Copy)]
pub enum MetricKind {
    /// Goes up.
    Counter = 0,
    /// Is set.
    Gauge = 1,
}

/// Calls the host for a buffer.
fn read(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Buffer> {
    let (mut data, mut size) = (null_mut(), 0);
    if call(&mut data, &mut size) != OK {
        return None;
    }
    // The host allocates nothing for an empty value.
    Some(if size == 0 {
        Buffer::default()
    } else {
        Buffer::take(data, size)?
    })
}

/// Writes a line to Envoy's log, where it shows as much.
pub fn log(level: Level, message: &str) {
    // SAFETY: the host reads the given bytes.
    unsafe { proxy_log(level, message.as_ptr(), message.len()) };
}

/// The configuration that the host asks to be read.
pub fn plugin_configuration() -> Option<Buffer> {
    const PLUGIN_CONFIGURATION: u32 = 7;
    // SAFETY: both pointers are to variables of the caller that live through the call.
    read(|data, size| unsafe { proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, size) })
}

/// All headers in the ABI's encoding, see [`super::pairs::Pairs`].
pub fn headers(map: Map) -> Option<Buffer> {
    // SAFETY: both pointers are to variables of the caller that live through the call.
    read(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

/// Puts other headers in the place of all; `headers` is in the ABI's encoding.
pub fn set_headers(map: Map, headers: &[u8]) {
    // SAFETY: the host reads the given bytes and keeps none of the pointers.
    unsafe { proxy_set_header_map_pairs(map, headers.as_ptr(), headers.len()) };
}

/// Adds a line.
pub fn add_header(map: Map, name: &[u8], value: &[u8]) {
    // SAFETY: the host reads the given bytes and keeps none of the pointers.
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Puts one line in the place of all that the header has.
pub fn replace_header(map: Map, name: &[u8], value: &[u8]) {
    // SAFETY: as above.
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Takes all lines of a header away.
pub fn remove_header(map: Map, name: &[u8]) {
    // SAFETY: as above.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
}

/// The property at `path`, whose parts a NUL parts.
pub fn property(path: &[u8]) -> Option<Buffer> {
    // SAFETY: the host reads `path`, and writes to variables that live through the call.
    read(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets the filter state `wasm.<path>`.
pub fn set_filter_state(path: &[u8], value: &[u8]) {
    // SAFETY: the host reads the given bytes and keeps none of the pointers.
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
}

/// A value of shared data with its compare-and-swap number; `None` where there is none.
pub fn shared_data(key: &[u8]) -> Option<(Buffer, u32)> {
    let mut cas = 0;
    // SAFETY: the host reads `key`, and writes to variables that live through the call.
    let value = read(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas) });
    value.map(|value| (value, cas))
}

/// A number that no value has: the host counts up from 1. It makes the first write of a value a compare-and-swap too, for the host
/// looks at the number only where a value is there already.
pub const NEVER: u32 = u32::MAX;

/// Sets a value of shared data if its number is still `cas`, or if there is none yet. Whether it was set.
pub fn set_shared_data(key: &[u8], value: &[u8], cas: u32) -> bool {
    // SAFETY: the host reads the given bytes and keeps none of the pointers.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) == OK }
}

/// Nanoseconds since the Unix epoch.
pub fn nanoseconds() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes to a variable that lives through the call.
    unsafe { proxy_get_current_time_nanoseconds(&mut time) };
    time
}

/// The time, to the second.
pub fn now() -> Timestamp {
    Timestamp(i64::try_from(nanoseconds() / 1_000_000_000).unwrap_or(i64::MAX))
}

/// A counter or gauge of Envoy's.
#[derive(Debug, Clone, Copy)]
pub struct Metric(u32);

impl Metric {
    /// Defines a metric, or finds it where it is defined already.
    pub fn define(kind: MetricKind, name: &str) -> Option<Metric> {
        let mut id = 0;
        // SAFETY: the host reads `name`, and writes to a variable that lives through the call.
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
        (status == OK).then_some(Metric(id))
    }

    /// Counts one.
    pub fn increment(self) {
        // SAFETY: no pointers.
        unsafe { proxy_increment_metric(self.0, 1) };
    }

    /// Sets a gauge.
    pub fn record(self, value: u64) {
        // SAFETY: no pointers.
        unsafe { proxy_record_metric(self.0, value) };
    }
}

/// Answers the request. `headers` is in the ABI's encoding; `details` is what the access log shows as `RESPONSE_CODE_DETAILS`.
pub fn send_local_response(status: u16, details: &str, headers: &[u8], body: &[u8]) {
    /// Envoy maps the HTTP status.
    const GRPC_STATUS_FROM_HTTP: i32 = -1;
    // SAFETY: the host reads the given bytes and keeps none of the pointers.
    unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            GRPC_STATUS_FROM_HTTP,
        )
    };
}
