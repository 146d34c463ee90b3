//! Calls of the proxy-wasm ABI 0.2.1 for which the SDK's functions do not suffice:
//!
//! - `proxy_send_local_response`: the SDK's function cannot set the details for the access log and `grpc-status`.
//! - `proxy_get_header_map_pairs`, `proxy_set_header_map_pairs`: the SDK allocates each name and each value. Here, a map stays in the one
//!   buffer that the host wrote.
//! - `proxy_get_buffer_bytes` for the configuration: the SDK ends the VM if the call fails. Envoy then serves requests without the filter
//!   on that worker.
//! - `random_get` of WASI, which the SDK does not have.

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
