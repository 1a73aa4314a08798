//! Clients that are slow, silent or too many. Those that are hostile below HTTP meet the real binary:
//! `services/attune/tests/it/hostile.rs`.

use std::time::{Duration, Instant};

use attune_gateway::GatewayConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    raw::{Ask, read_answer},
    support::Server,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than any of these tests takes; it ends a hang, and nothing else.
const NEVER: Duration = Duration::from_secs(60);

async fn impatient() -> Server {
    let mut config = GatewayConfig::default();
    config.connections.head_max = Duration::from_millis(200);
    config.connections.idle_max = Duration::from_millis(400);
    Server::with(config).await
}

/// How long the server keeps a connection on which `bytes` were sent.
async fn kept(server: &Server, bytes: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    stream.write_all(bytes).await.unwrap();
    let closed = tokio::time::timeout(NEVER, stream.read_to_end(&mut Vec::new())).await;
    let _ = closed.expect("the server closes it");
    start.elapsed()
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = impatient().await;
    for bytes in [&b""[..], b"G", b"GET /livez HTTP/1.1\r\nhost:", &PREFACE[..10]] {
        let kept = kept(&server, bytes).await;
        assert!(kept >= Duration::from_millis(190), "{kept:?}");
    }
    // A byte now and then does not help.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    while stream.write_all(b"x").await.is_ok() {
        assert!(start.elapsed() < NEVER);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.still_serves().await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_longer_than_a_slow_head() {
    let server = impatient().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(390), "kept alive for the next request");
}

#[tokio::test]
async fn at_the_cap_an_idle_connection_makes_room() {
    let mut config = GatewayConfig::default();
    config.connections.connections_max = 4;
    let server = Server::with(config).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.still_serves().await;
    let oldest = tokio::time::timeout(NEVER, idle[0].read(&mut [0; 1])).await;
    assert!(matches!(oldest, Ok(Ok(0) | Err(_))), "the oldest idle connection was closed");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let answer = server.ask(Ask::get("/livez").header("x-large", &"x".repeat(200_000))).await;
    assert_eq!(answer.status, 431);
    server.still_serves().await;
}
