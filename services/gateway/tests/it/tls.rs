//! TLS and CORS.

use std::{fs, path::Path, sync::Arc, time::Duration};

use attune_gateway::{GatewayConfig, Tls, TlsFiles};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    raw::{Ask, read_answer},
    support::Server,
};

/// More than a renewed certificate takes to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate of tests and its key.
fn pair(name: &str) -> (String, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
    let read = |ending: &str| fs::read_to_string(folder.join(format!("{name}.{ending}"))).unwrap();
    (read("pem"), read("key"))
}

fn write(folder: &Path, name: &str) -> Tls {
    let files = TlsFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    let (certificate, key) = pair(name);
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.key, key).unwrap();
    Tls::open(files).unwrap()
}

/// A client that trusts this certificate alone. The status of its answer, or why there is none.
async fn ask(server: &Server, trusted: &str, path: &str) -> Result<u16, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pair(trusted).0.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    stream.write_all(&Ask::get(path).key(&server.key).bytes()).await.unwrap();
    Ok(read_answer(&mut stream).await.expect("an answer").status)
}

#[tokio::test]
async fn a_renewed_certificate_is_offered_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(write(folder.path(), "one"));
    let server = Server::with(GatewayConfig { tls, ..GatewayConfig::default() }).await;
    assert_eq!(ask(&server, "one", "/livez").await, Ok(200));
    assert_eq!(ask(&server, "one", "/v1/models").await, Ok(200));
    assert!(ask(&server, "two", "/livez").await.is_err(), "another one's certificate is not ours");

    fs::write(folder.path().join("chain.pem"), "-----BEGIN CERTIFICATE-----\nhalf of it").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(&server, "one", "/livez").await, Ok(200), "the old one stays");
    write(folder.path(), "two");
    let renewed = async {
        while ask(&server, "two", "/livez").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the new certificate is offered");
    assert!(ask(&server, "one", "/livez").await.is_err());
}

#[tokio::test]
async fn who_speaks_no_tls_gets_no_answer_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = GatewayConfig { tls: Some(write(folder.path(), "one")), ..GatewayConfig::default() };
    config.connections.head_max = Duration::from_millis(300);
    let server = Server::with(config).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(&Ask::get("/livez").bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(ask(&server, "one", "/livez").await, Ok(200));
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "who says nothing is closed");
}

#[tokio::test]
async fn only_pages_of_named_origins_may_call() {
    let cors_origins = vec!["https://shop.example".to_owned()];
    let server = Server::with(GatewayConfig { cors_origins, ..GatewayConfig::default() }).await;
    let preflight = |origin: &str| {
        let ask = Ask::options("/v1/sentiment").header("origin", origin);
        ask.header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key")
    };
    let allowed = preflight("https://shop.example").send(server.address).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, "https://shop.example"));
    assert!(allowed.header("access-control-allow-headers").contains("idempotency-key"));
    assert!(allowed.header("access-control-allow-credentials").is_empty());
    let foreign = preflight("https://evil.example").send(server.address).await;
    assert!(foreign.header("access-control-allow-origin").is_empty());
    let call = |origin: &str| Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#).header("origin", origin);
    let answer = server.ask(call("https://shop.example")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "https://shop.example"));
    assert!(answer.header("access-control-expose-headers").contains("ratelimit"));
    let refused = call("https://shop.example").send(server.address).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, "https://shop.example"));
    let plain = Server::start().await;
    let none = preflight("https://shop.example").send(plain.address).await;
    assert!(none.header("access-control-allow-origin").is_empty(), "without configuration, nobody");
}
