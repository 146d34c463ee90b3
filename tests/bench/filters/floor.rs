//! The least that an allowed request can cost: the host calls that one needs, with constants, no policy and no decision.
#![cfg(target_family = "wasm")]
#![allow(missing_docs)]

use std::ptr::null_mut;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
}

const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const CONTINUE: u32 = 0;
const YES: u32 = 1;

/// What the response gets: three headers of CORS, `Vary`, six of security.
const RESPONSE_HEADERS: [(&[u8], &[u8]); 10] = [
    (b"access-control-allow-origin", b"https://app0.example"),
    (b"access-control-allow-credentials", b"true"),
    (
        b"access-control-expose-headers",
        b"X-Request-Id, X-RateLimit-Remaining, X-RateLimit-Reset",
    ),
    (b"vary", b"Origin"),
    (
        b"strict-transport-security",
        b"max-age=31536000; includeSubDomains; preload",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
    (b"content-security-policy", b"default-src 'self'"),
];

/// The counter's id: the first that the plugin defines, once its VM has been started.
static METRIC: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::leak(vec![0; size].into_boxed_slice()).as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: u32) -> u32 {
    YES
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_: u32, _: u32) -> u32 {
    let (name, mut id) = (b"floor_requests_total", 0);
    // SAFETY: the host reads the name, and writes to a variable that lives through the call.
    unsafe { proxy_define_metric(0, name.as_ptr(), name.len(), &mut id) };
    METRIC.store(id, std::sync::atomic::Ordering::Relaxed);
    YES
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_: u32, _: u32, _: u32) -> u32 {
    let (address, key_id, id) = (b"source\0address", b"keyfence.key_id", b"key-0");
    // SAFETY: the host reads constants, and writes to variables that live through the call.
    unsafe {
        drop_buffer(|data, size| proxy_get_header_map_pairs(REQUEST, data, size));
        drop_buffer(|data, size| proxy_get_property(address.as_ptr(), address.len(), data, size));
        proxy_increment_metric(METRIC.load(std::sync::atomic::Ordering::Relaxed), 1);
        proxy_set_property(key_id.as_ptr(), key_id.len(), id.as_ptr(), id.len());
    }
    replace(REQUEST, b"x-key-id", id);
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_: u32, _: u32, _: u32) -> u32 {
    let name = b"vary";
    // SAFETY: as above.
    drop_buffer(|data, size| unsafe { proxy_get_header_map_value(RESPONSE, name.as_ptr(), name.len(), data, size) });
    for (name, value) in RESPONSE_HEADERS {
        replace(RESPONSE, name, value);
    }
    CONTINUE
}

fn replace(map: u32, name: &[u8], value: &[u8]) {
    // SAFETY: the host reads the given bytes.
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Makes a call that gives a buffer, and frees it.
fn drop_buffer(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) {
    let (mut data, mut size) = (null_mut(), 0);
    if call(&mut data, &mut size) == 0 && !data.is_null() {
        // SAFETY: `proxy_on_memory_allocate` has just given out this buffer.
        drop(unsafe { Vec::from_raw_parts(data, size, size) });
    }
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Keeps the linker from running the constructors before each callback.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
}
