//! A filter that does nothing: what WebAssembly itself costs. It has every callback, as filters written with an SDK do.
#![cfg(target_family = "wasm")]
#![allow(missing_docs)]

const CONTINUE: u32 = 0;
const YES: u32 = 1;

macro_rules! callbacks {
    ($($name:ident($($argument:ident),*) -> $type:ty = $result:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: u32),*) -> $type {
                let _ = ($($argument,)*);
                $result
            }
        )*
    };
}

callbacks! {
    proxy_abi_version_0_2_1() -> () = ();
    proxy_on_context_create(context, root) -> () = ();
    proxy_on_vm_start(root, size) -> u32 = YES;
    proxy_on_configure(root, size) -> u32 = YES;
    proxy_on_request_headers(context, count, end) -> u32 = CONTINUE;
    proxy_on_request_body(context, size, end) -> u32 = CONTINUE;
    proxy_on_request_trailers(context, count) -> u32 = CONTINUE;
    proxy_on_response_headers(context, count, end) -> u32 = CONTINUE;
    proxy_on_response_body(context, size, end) -> u32 = CONTINUE;
    proxy_on_response_trailers(context, count) -> u32 = CONTINUE;
    proxy_on_done(context) -> u32 = YES;
    proxy_on_log(context) -> () = ();
    proxy_on_delete(context) -> () = ();
}

/// Envoy takes no filter without one.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::leak(vec![0; size].into_boxed_slice()).as_mut_ptr()
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
