//! Envoy Gateway, as it runs without Kubernetes: it reads its resources from a folder, and Envoy runs beside it.
//!
//! Some of what is tested here is bad and cannot be changed in keyfence, such as a gateway that is open. It is tested all the same, so that
//! a new version that changes it is noticed: `envoy/envoy-gateway/README.md` says the same to operators.

mod control_plane;
mod resources;

pub use control_plane::EnvoyGateway;

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn smoke() {
    let mut gateway = EnvoyGateway::start(&[]);
    let r = gateway.send(&crate::harness::Request::get("/v1/indexes/a/search"));
    println!("{r:?}");
    println!("{:?}", gateway.proxy_arguments());
    println!("{}", gateway.metrics());
    println!("{:?}", gateway.access_log());
    if std::env::var_os("HOLD").is_some() {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
