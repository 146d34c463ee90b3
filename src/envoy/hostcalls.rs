//! Calls of the proxy-wasm ABI 0.2.1 for which the SDK's functions do not suffice:
//!
//! - `proxy_send_local_response`: the SDK's function cannot set the details for the access log and `grpc-status`.
//! - `proxy_get_header_map_pairs`, `proxy_set_header_map_pairs`: the SDK allocates each name and each value. Here, a map stays in the one
//!   buffer that the host wrote.
//! - `proxy_get_buffer_bytes` for the configuration: the SDK ends the VM if the call fails. Envoy then serves requests without the filter
//!   on that worker.
//! - `proxy_set_tick_period_milliseconds`, `proxy_get_buffer_bytes` for the body of an HTTP call: as for the configuration.
//! - `random_get`, `environ_sizes_get` and `environ_get` of WASI, which the SDK does not have.

use std::ptr::null_mut;

use proxy_wasm::types::{BufferType, Bytes, MapType};

use keyfence_filter::host::{HostError, HostErrorKind, LocalResponse, Result};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: BufferType,
        start: usize,
        limit: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: MapType, data: *const u8, size: usize) -> u32;
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

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(data: *mut u8, size: usize) -> u32;
    fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u32;
    fn environ_get(variables: *mut *mut u8, data: *mut u8) -> u32;
}

/// `proxy_status_t`, and `errno` of WASI: success.
const OK: u32 = 0;

fn checked(call: &'static str, status: u32) -> Result<()> {
    match status {
        OK => Ok(()),
        status => Err(HostError {
            call,
            kind: HostErrorKind::Status(status),
        }),
    }
}

/// Calls a host function that returns bytes through two out-pointers.
fn read(call: &'static str, function: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Bytes> {
    let (mut data, mut size) = (null_mut(), 0);
    checked(call, function(&mut data, &mut size))?;
    // The host allocates nothing for an empty value.
    if data.is_null() {
        return Ok(Bytes::new());
    }
    // SAFETY: the host called the SDK's allocator for a boxed slice of `size` bytes, wrote all of them, and passes ownership to the caller.
    Ok(unsafe { Bytes::from_raw_parts(data, size, size) })
}

/// See [`keyfence_filter::host::Host::plugin_configuration`].
pub fn plugin_configuration() -> Result<Bytes> {
    // SAFETY: both pointers are to local variables of `read`, which outlive the call.
    read("proxy_get_buffer_bytes", |data, size| unsafe {
        proxy_get_buffer_bytes(BufferType::PluginConfiguration, 0, usize::MAX, data, size)
    })
}

/// See [`keyfence_filter::host::Host::http_call_body`].
pub fn http_call_body(size: usize) -> Result<Bytes> {
    // SAFETY: as above.
    read("proxy_get_buffer_bytes", |data, returned| unsafe {
        proxy_get_buffer_bytes(BufferType::HttpCallResponseBody, 0, size, data, returned)
    })
}

/// See [`keyfence_filter::host::Host::set_tick_period`].
pub fn set_tick_period(milliseconds: u32) -> Result<()> {
    // SAFETY: it takes no pointer.
    let status = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
    checked("proxy_set_tick_period_milliseconds", status)
}

/// See [`keyfence_filter::host::Host::environment`]. The host writes all variables, each as `name=value` and a NUL.
pub fn environment(name: &[u8]) -> Result<Option<Vec<u8>>> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: both pointers are to local variables.
    checked("environ_sizes_get", unsafe { environ_sizes_get(&mut count, &mut size) })?;
    let mut variables = vec![null_mut(); count];
    let mut data = vec![0; size];
    // SAFETY: the buffers have the sizes that the host gave, and it keeps no pointer.
    let status = unsafe { environ_get(variables.as_mut_ptr(), data.as_mut_ptr()) };
    checked("environ_get", status)?;
    let mut values = data.split(|byte| *byte == 0).filter_map(|variable| {
        let value = variable.strip_prefix(name)?.strip_prefix(b"=")?;
        Some(value.to_vec())
    });
    Ok(values.next())
}

/// See [`keyfence_filter::host::Host::random`].
pub fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    // SAFETY: the host writes this number of bytes and keeps no pointer.
    let status = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
    checked("random_get", status).map(|()| bytes)
}

/// See [`keyfence_filter::host::Host::headers`].
pub fn headers(map: MapType) -> Result<Bytes> {
    // SAFETY: as above.
    read("proxy_get_header_map_pairs", |data, size| unsafe {
        proxy_get_header_map_pairs(map, data, size)
    })
}

/// See [`keyfence_filter::host::Host::set_headers`].
pub fn set_headers(map: MapType, headers: &[u8]) -> Result<()> {
    // SAFETY: the host reads the given bytes and keeps no pointer.
    let status = unsafe { proxy_set_header_map_pairs(map, headers.as_ptr(), headers.len()) };
    checked("proxy_set_header_map_pairs", status)
}

/// See [`keyfence_filter::host::Host::send_local_response`].
pub fn send_local_response(response: LocalResponse<'_>) -> Result<()> {
    /// Envoy derives `grpc-status` from the HTTP status.
    const GRPC_STATUS_FROM_HTTP: i32 = -1;
    let LocalResponse {
        status,
        grpc_status,
        details,
        headers,
        body,
    } = response;
    // SAFETY: as above.
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
