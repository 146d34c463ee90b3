//! Keys from the server of keys, with what `keyfence render` writes for a policy with `keys_from`.

use std::io;
use std::net::SocketAddr;

use super::cluster::{Cluster, HOST, KEY_SERVER, NAMESPACE, service};
use super::control_plane::alone;
use crate::fed_keys::{self, Gateway};
use crate::harness::command_line::printed;
use crate::harness::{Request, Response, Upstream};
use crate::key_server::{KeyServer, TOKEN, TOKEN_ENV};
use crate::process::{PATIENCE, within};
use crate::registry::{Format, Registry};

const CLUSTER: &str = "keyfence_control";

/// The pod with what `render` writes for it.
struct Fed {
    cluster: Cluster,
    registry: Registry,
}

impl Gateway for Fed {
    fn try_send(&self, request: &Request) -> io::Result<Response> {
        self.cluster.try_send(request)
    }

    fn metrics(&self) -> String {
        self.cluster.pod_metrics()
    }

    fn config_dump(&self) -> String {
        self.cluster.admin("/config_dump")
    }

    fn apply(&self, docs_url: &str) {
        let (image, address) = (self.registry.image("0.1.0"), format!("{KEY_SERVER}:7070"));
        let arguments = [
            "render",
            "envoy-gateway",
            "-",
            "--image",
            &image,
            "--feed-address",
            &address,
        ];
        let policy = fed_keys::policy(CLUSTER, docs_url);
        let rendered = printed(&arguments, &policy.to_string());
        self.cluster.apply(&rendered).unwrap();
    }
}

#[test]
#[ignore = "takes Envoy Gateway: make test-mesh"]
fn what_render_writes_brings_keys_from_the_feed() {
    let _alone = alone();
    let upstream = Upstream::at(SocketAddr::from(([10, 66, 0, 3], 0)));
    let mut fed = Fed {
        cluster: Cluster::start(),
        registry: Registry::start(Format::Oci),
    };
    let secret = format!("--from-literal=token={TOKEN}");
    fed.cluster
        .kubectl(&["create", "secret", "generic", "keyfence-feed", "-n", NAMESPACE, &secret]);
    for name in ["gateway-class", "gateway", "http-route"] {
        let file = format!("envoy/envoy-gateway/{name}.yaml");
        fed.cluster.kubectl(&["apply", "-f", &file]);
    }
    fed.cluster.apply(&service(&upstream)).unwrap();
    fed.apply("https://docs.example.com/0");
    within(PATIENCE, "the token in the pod", || {
        fed.cluster.deployment().to_string().contains(TOKEN_ENV)
    });
    fed.cluster.start_pod();
    // Its address is there with the pod.
    let mut server = KeyServer::start(SocketAddr::from((HOST, 7070)), &[]);
    fed_keys::bring_keys(&fed, &server);
    assert_first_policy_has_its_own_vms(&fed, &server);
    fed_keys::assert_kept("envoy-gateway", &fed, &mut server, CLUSTER, "pod", &upstream);
}

/// Envoy has the module as part of what identifies a VM, but an empty one while it fetches it. So the first policy after its start gets
/// VMs of its own, without keys until the server has answered. Those after it have VMs in common with it.
fn assert_first_policy_has_its_own_vms(fed: &Fed, server: &KeyServer) {
    let before = server.gateways().len();
    let [answers] = fed_keys::answers_during(fed, ["shop"], || {
        fed_keys::apply(fed, "https://docs.example.com/first");
    });
    println!("with the first policy: {answers:?}");
    let expected = ["200 ", "503 policy_unavailable"];
    assert!(
        answers.keys().all(|answer| expected.contains(&answer.as_str())),
        "{answers:?}"
    );
    assert_eq!(server.gateways().len(), 2 * before);
}
