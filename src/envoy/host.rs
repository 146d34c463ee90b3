//! The [`Host`] trait for Envoy, over the SDK and [`super::hostcalls`].
//!
//! The SDK ends the VM if a call returns a status that it does not expect of that call. No client is known to be able to cause this. Envoy
//! then replies with 503 to all requests, so nothing passes.

use std::iter;
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls as sdk;
use proxy_wasm::types::{Bytes, MapType as SdkMap, MetricType as SdkMetric, Status};

use super::hostcalls;
use keyfence_filter::host::{
    Host, HostError, HostErrorKind, HttpCall, LocalResponse, LogLevel, MapType, MetricId, MetricType, Result,
};

/// The Envoy that has loaded the filter.
#[derive(Debug, Default)]
pub struct Envoy;

/// Converts an error of the SDK.
fn failed(call: &'static str) -> impl Fn(Status) -> HostError {
    move |status| HostError {
        call,
        kind: HostErrorKind::Status(status as u32),
    }
}

/// The SDK takes names as `&str`. Names of headers are valid UTF-8 because Envoy validates them, and all others are the filter's own.
fn text<'t>(call: &'static str, bytes: &'t [u8]) -> Result<&'t str> {
    std::str::from_utf8(bytes).map_err(|_| failed(call)(Status::BadArgument))
}

fn map_type(map: MapType) -> SdkMap {
    match map {
        MapType::RequestHeaders => SdkMap::HttpRequestHeaders,
        MapType::RequestTrailers => SdkMap::HttpRequestTrailers,
        MapType::ResponseHeaders => SdkMap::HttpResponseHeaders,
        MapType::HttpCallResponseHeaders => SdkMap::HttpCallResponseHeaders,
    }
}

impl Host for Envoy {
    type Bytes = Bytes;

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => log::Level::Debug,
            LogLevel::Info => log::Level::Info,
            LogLevel::Warn => log::Level::Warn,
            LogLevel::Error => log::Level::Error,
        };
        log::log!(level, "{message}");
    }

    fn has_memory(&self, bytes: usize, large: &[usize]) -> bool {
        const SMALL: usize = 1 << 20;
        let rest = bytes.saturating_sub(large.iter().sum());
        let small = iter::repeat_n(SMALL, rest.div_ceil(SMALL));
        let mut allocations: Vec<Vec<u8>> = Vec::new();
        large.iter().copied().chain(small).all(|size| {
            let mut allocation = Vec::new();
            let fits = allocations.try_reserve(1).is_ok() && allocation.try_reserve_exact(size).is_ok();
            allocations.push(allocation);
            fits
        })
    }

    fn memory(&self) -> usize {
        const PAGE: usize = 64 << 10;
        core::arch::wasm32::memory_size(0) * PAGE
    }

    fn plugin_configuration(&self) -> Result<Bytes> {
        hostcalls::plugin_configuration()
    }

    fn headers(&self, map: MapType) -> Result<Bytes> {
        hostcalls::headers(map_type(map))
    }

    fn set_headers(&self, map: MapType, headers: &[u8]) -> Result<()> {
        hostcalls::set_headers(map_type(map), headers)
    }

    fn add_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        const CALL: &str = "proxy_add_header_map_value";
        sdk::add_map_value_bytes(map_type(map), text(CALL, name)?, value).map_err(failed(CALL))
    }

    fn replace_header(&self, map: MapType, name: &[u8], value: &[u8]) -> Result<()> {
        const CALL: &str = "proxy_replace_header_map_value";
        sdk::set_map_value_bytes(map_type(map), text(CALL, name)?, Some(value)).map_err(failed(CALL))
    }

    fn remove_header(&self, map: MapType, name: &[u8]) -> Result<()> {
        const CALL: &str = "proxy_remove_header_map_value";
        sdk::remove_map_value(map_type(map), text(CALL, name)?).map_err(failed(CALL))
    }

    fn property(&self, path: &[u8]) -> Result<Option<Bytes>> {
        const CALL: &str = "proxy_get_property";
        sdk::get_property(text(CALL, path)?.split('\0').collect()).map_err(failed(CALL))
    }

    fn set_filter_state(&self, path: &[u8], value: &[u8]) -> Result<()> {
        const CALL: &str = "proxy_set_property";
        sdk::set_property(vec![text(CALL, path)?], Some(value)).map_err(failed(CALL))
    }

    fn shared_data(&self, key: &[u8]) -> Result<Option<(Bytes, u32)>> {
        const CALL: &str = "proxy_get_shared_data";
        let (value, cas) = sdk::get_shared_data(text(CALL, key)?).map_err(failed(CALL))?;
        Ok(value.map(|value| (value, cas.unwrap_or_default())))
    }

    fn set_shared_data(&self, key: &[u8], value: &[u8], cas: u32) -> Result<bool> {
        const CALL: &str = "proxy_set_shared_data";
        match sdk::set_shared_data(text(CALL, key)?, Some(value), Some(cas)) {
            Err(Status::CasMismatch) => Ok(false),
            result => result.map(|()| true).map_err(failed(CALL)),
        }
    }

    fn random(&self) -> Result<[u8; 32]> {
        hostcalls::random()
    }

    fn nanoseconds(&self) -> Result<u64> {
        const CALL: &str = "proxy_get_current_time_nanoseconds";
        let time = sdk::get_current_time().map_err(failed(CALL))?;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_nanos()).unwrap_or_default())
    }

    fn define_metric(&self, metric_type: MetricType, name: &str) -> Result<MetricId> {
        let metric_type = match metric_type {
            MetricType::Counter => SdkMetric::Counter,
            MetricType::Gauge => SdkMetric::Gauge,
        };
        let id = sdk::define_metric(metric_type, name).map_err(failed("proxy_define_metric"))?;
        Ok(MetricId(id))
    }

    fn increment_metric(&self, MetricId(id): MetricId) -> Result<()> {
        sdk::increment_metric(id, 1).map_err(failed("proxy_increment_metric"))
    }

    fn record_metric(&self, MetricId(id): MetricId, value: u64) -> Result<()> {
        sdk::record_metric(id, value).map_err(failed("proxy_record_metric"))
    }

    fn metric(&self, MetricId(id): MetricId) -> Result<u64> {
        sdk::get_metric(id).map_err(failed("proxy_get_metric"))
    }

    fn environment(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        hostcalls::environment(name)
    }

    fn set_tick_period(&self, milliseconds: u32) -> Result<()> {
        hostcalls::set_tick_period(milliseconds)
    }

    fn http_call(&self, call: HttpCall<'_>) -> Result<u32> {
        let timeout = Duration::from_millis(call.milliseconds.into());
        sdk::dispatch_http_call(
            call.cluster,
            call.headers.to_vec(),
            Some(call.body),
            Vec::new(),
            timeout,
        )
        .map_err(failed("proxy_http_call"))
    }

    fn http_call_body(&self, size: usize) -> Result<Bytes> {
        hostcalls::http_call_body(size)
    }

    fn send_local_response(&self, response: LocalResponse<'_>) -> Result<()> {
        hostcalls::send_local_response(response)
    }
}
