//! Envoy's callbacks, which the SDK dispatches to a root context for each configuration and an HTTP context for each stream.

use std::cell::RefCell;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use keyfence_filter::host;
use keyfence_filter::plugin::Plugin;
use keyfence_filter::stream::Stream;

use super::host::Envoy;

thread_local! {
    // A VM has one thread, and its callbacks do not nest, so these borrows cannot fail.
    static PLUGIN: RefCell<Plugin<Envoy>> = RefCell::new(Plugin::new(Envoy));
}

// The SDK passes on all lines, and Envoy filters them by its own log level.
proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|context| Box::new(Root(context)));
}}

/// The root context of a configuration, with its id.
struct Root(u32);

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, _: usize, size: usize, _: usize) {
        PLUGIN.with_borrow_mut(|plugin| plugin.on_http_call_response(call, size));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        PLUGIN.with_borrow_mut(|plugin| plugin.configure(self.0, size))
    }

    fn on_tick(&mut self) {
        PLUGIN.with_borrow_mut(|plugin| plugin.on_tick(self.0));
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(HttpStream(Stream::new(self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        PLUGIN.with_borrow_mut(|plugin| plugin.end(self.0));
    }
}

/// The HTTP context of a request and its response.
struct HttpStream(Stream);

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "trap")]
        super::trap::on_demand(host::MapType::RequestHeaders);
        action(PLUGIN.with_borrow_mut(|plugin| plugin.on_request_headers(&mut self.0)))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        action(PLUGIN.with_borrow(|plugin| plugin.on_request_trailers(&mut self.0)))
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "trap")]
        super::trap::on_demand(host::MapType::ResponseHeaders);
        action(PLUGIN.with_borrow(|plugin| plugin.on_response_headers(&mut self.0)))
    }
}

fn action(action: host::Action) -> Action {
    match action {
        host::Action::Continue => Action::Continue,
        host::Action::Pause => Action::Pause,
    }
}
