//! The feed over TLS.

use std::fs;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::tempdir;

use crate::client;
use crate::policy::{key, policy};
use crate::server::{Server, head, poll};

#[test]
fn the_feed_goes_over_tls() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("keys.json"), policy(&[key("a")])).unwrap();
    let own = rcgen::generate_simple_self_signed(["keyfence-control".into()]).unwrap();
    fs::write(path("tls.crt"), own.cert.pem()).unwrap();
    fs::write(path("tls.key"), own.signing_key.serialize_pem()).unwrap();
    let (keys, cert, key) = (path("keys.json"), path("tls.crt"), path("tls.key"));
    let server = Server::start(&["--from", &keys, "--tls-cert", &cert, "--tls-key", &key]);
    assert!(
        server
            .log()
            .iter()
            .any(|line| line.contains("listening on https://127.0.0.1:"))
    );

    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from("keyfence-control").unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let mut stream = StreamOwned::new(connection, client::connect(&server.address));
    client::write(&mut stream, &head(), &poll(&Value::Null, 0).to_string());
    let response = client::read(&mut stream);
    assert_eq!(
        (response.status, &response.json()["complete"]),
        (200, &Value::Bool(true))
    );

    // Without TLS there is no answer.
    let mut plain = client::connect(&server.address);
    client::write(&mut plain, &head(), &poll(&Value::Null, 0).to_string());
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
}
