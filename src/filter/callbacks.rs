//! What Envoy calls (proxy-wasm ABI 0.2.1). Only what the filter has a use for is here: a callback that is not exported costs nothing, and
//! bodies pass without a detour through the VM.

use std::cell::RefCell;

use super::buffer;
use super::envoy::Envoy;
use super::host::Action;
use super::plugin::Plugin;

thread_local! {
    /// A VM has one thread. Calls do not nest, but for [`proxy_on_memory_allocate`], which does not come here.
    static PLUGIN: RefCell<Plugin<Envoy>> = RefCell::new(Plugin::new(Envoy));
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Without this the linker would run the constructors before each callback.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// A buffer for what the host is about to hand over.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    buffer::lend(size)
}

/// A stream begins, under the configuration with the number `parent`; or, with 0, a configuration.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    if parent != 0 {
        PLUGIN.with_borrow_mut(|plugin| plugin.begin_stream(context, parent));
    }
}

/// Whether the configuration, of `size` bytes, is accepted.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> bool {
    PLUGIN.with_borrow_mut(|plugin| plugin.configure(context, size))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, _end: u32) -> Action {
    PLUGIN.with_borrow_mut(|plugin| plugin.on_request_headers(context))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _count: u32) -> Action {
    PLUGIN.with_borrow_mut(|plugin| plugin.on_request_trailers(context))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _count: u32, _end: u32) -> Action {
    PLUGIN.with_borrow_mut(|plugin| plugin.on_response_headers(context))
}

/// A stream or a configuration is gone.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    PLUGIN.with_borrow_mut(|plugin| plugin.end(context));
}
