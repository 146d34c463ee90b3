//! The calls to Envoy, straight through the proxy-wasm ABI 0.2.1. Every failure is a value, no text is taken for UTF-8, and a header map
//! stays the one buffer that the host wrote.

use std::iter;
use std::ptr::null_mut;

use super::buffer::Buffer;
use super::host::{Host, HostError, LocalResponse, LogLevel, MapType, MetricId, MetricType, Result};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: LogLevel, message: *const u8, message_size: usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, limit: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: MapType, data: *const u8, size: usize) -> u32;
    fn proxy_add_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: MapType, name: *const u8, name_size: usize) -> u32;
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
    fn proxy_define_metric(kind: MetricType, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
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

// `proxy_status_t`
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
const INTERNAL_FAILURE: u32 = 10;

fn checked(call: &'static str, status: u32) -> Result<()> {
    match status {
        OK => Ok(()),
        status => Err(HostError { call, status }),
    }
}

/// Calls the host for a buffer.
fn read(call: &'static str, function: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Buffer> {
    let (mut data, mut size) = (null_mut(), 0);
    checked(call, function(&mut data, &mut size))?;
    // The host allocates nothing for an empty value.
    if size == 0 {
        return Ok(Buffer::default());
    }
    let status = INTERNAL_FAILURE;
    Buffer::take(data, size).ok_or(HostError { call, status })
}

/// [`read`], of what need not be there.
fn read_if_any(call: &'static str, function: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Option<Buffer>> {
    match read(call, function) {
        Ok(buffer) => Ok(Some(buffer)),
        Err(HostError { status: NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Envoy.
#[derive(Debug, Default)]
pub struct Envoy;

impl Host for Envoy {
    type Bytes = Buffer;

    fn log(&self, level: LogLevel, message: &str) {
        // SAFETY: the host reads the given bytes. There is nowhere to say that it did not.
        unsafe { proxy_log(level, message.as_ptr(), message.len()) };
    }

    fn has_memory(&self, bytes: usize, large: &[usize]) -> bool {
        const PIECE: usize = 1 << 20;
        let rest = bytes.saturating_sub(large.iter().sum());
        let small = iter::repeat_n(PIECE, rest.div_ceil(PIECE));
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        large.iter().copied().chain(small).all(|size| {
            let mut piece = Vec::new();
            let fits = pieces.try_reserve(1).is_ok() && piece.try_reserve_exact(size).is_ok();
            pieces.push(piece);
            fits
        })
    }

    fn plugin_configuration(&self) -> Result<Buffer> {
        const PLUGIN_CONFIGURATION: u32 = 7;
        // SAFETY: both pointers are to variables of the caller that live through the call.
        read("proxy_get_buffer_bytes", |data, size| unsafe {
            proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, usize::MAX, data, size)
        })
    }

    fn headers(&self, map: MapType) -> Result<Buffer> {
        // SAFETY: both pointers are to variables of the caller that live through the call.
        read("proxy_get_header_map_pairs", |data, size| unsafe {
            proxy_get_header_map_pairs(map, data, size)
        })
    }

    fn set_headers(&self, map: MapType, headers: &[u8]) -> Result<()> {
        // SAFETY: the host reads the given bytes and keeps none of the pointers.
        let status = unsafe { proxy_set_header_map_pairs(map, headers.as_ptr(), headers.len()) };
        checked("proxy_set_header_map_pairs", status)
    }

    fn add_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        // SAFETY: as above.
        let status = unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
        checked("proxy_add_header_map_value", status)
    }

    fn replace_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        // SAFETY: as above.
        let status =
            unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
        checked("proxy_replace_header_map_value", status)
    }

    fn remove_header(&self, map: MapType, name: &[u8]) -> Result<()> {
        // SAFETY: as above.
        let status = unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
        checked("proxy_remove_header_map_value", status)
    }

    fn property(&self, path: &[u8]) -> Result<Option<Buffer>> {
        // SAFETY: the host reads `path`, and writes to variables that live through the call.
        read_if_any("proxy_get_property", |data, size| unsafe {
            proxy_get_property(path.as_ptr(), path.len(), data, size)
        })
    }

    fn set_filter_state(&self, path: &[u8], value: &[u8]) -> Result<()> {
        // SAFETY: the host reads the given bytes and keeps none of the pointers.
        let status = unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
        checked("proxy_set_property", status)
    }

    fn shared_data(&self, key: &[u8]) -> Result<Option<(Buffer, u32)>> {
        let mut cas = 0;
        // SAFETY: the host reads `key`, and writes to variables that live through the call.
        let value = read_if_any("proxy_get_shared_data", |data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas)
        })?;
        Ok(value.map(|value| (value, cas)))
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<bool> {
        // SAFETY: the host reads the given bytes and keeps none of the pointers.
        let status = unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) };
        match status {
            CAS_MISMATCH => Ok(false),
            status => checked("proxy_set_shared_data", status).map(|()| true),
        }
    }

    fn nanoseconds(&self) -> Result<u64> {
        let mut time = 0;
        // SAFETY: the host writes to a variable that lives through the call.
        let status = unsafe { proxy_get_current_time_nanoseconds(&mut time) };
        checked("proxy_get_current_time_nanoseconds", status).map(|()| time)
    }

    fn define_metric(&self, kind: MetricType, name: &str) -> Result<MetricId> {
        let mut id = 0;
        // SAFETY: the host reads `name`, and writes to a variable that lives through the call.
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) };
        checked("proxy_define_metric", status).map(|()| MetricId(id))
    }

    fn increment_metric(&self, MetricId(id): MetricId) -> Result<()> {
        // SAFETY: no pointers.
        checked("proxy_increment_metric", unsafe { proxy_increment_metric(id, 1) })
    }

    fn record_metric(&self, MetricId(id): MetricId, value: u64) -> Result<()> {
        // SAFETY: no pointers.
        checked("proxy_record_metric", unsafe { proxy_record_metric(id, value) })
    }

    fn metric(&self, MetricId(id): MetricId) -> Result<u64> {
        let mut value = 0;
        // SAFETY: the pointer is to a variable that lives through the call.
        checked("proxy_get_metric", unsafe { proxy_get_metric(id, &raw mut value) })?;
        Ok(value)
    }

    fn send_local_response(&self, response: LocalResponse<'_>) -> Result<()> {
        /// Envoy maps the HTTP status.
        const GRPC_STATUS_FROM_HTTP: i32 = -1;
        let LocalResponse {
            status,
            grpc_status,
            details,
            headers,
            body,
        } = response;
        // SAFETY: the host reads the given bytes and keeps none of the pointers.
        let status = unsafe {
            proxy_send_local_response(
                u32::from(status),
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                grpc_status.map_or(GRPC_STATUS_FROM_HTTP, i32::from),
            )
        };
        checked("proxy_send_local_response", status)
    }
}
