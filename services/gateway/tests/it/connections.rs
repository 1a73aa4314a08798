//! Clients that are slow, silent, too many or hostile below HTTP.

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
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// RFC 9113: the peer is behaving in a way that might generate excessive load.
const ENHANCE_YOUR_CALM: u32 = 0xb;
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

/// One frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The error code of the GOAWAY that the server sends before it closes.
async fn goaway(stream: &mut TcpStream) -> Option<u32> {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(NEVER, stream.read_to_end(&mut bytes)).await.expect("the server closes it");
    let mut rest = bytes.as_slice();
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let payload = rest.get(9..9 + length)?;
        if rest[3] == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    None
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut attack = PREFACE.to_vec();
    attack.extend(frame(SETTINGS, 0, 0, &[]));
    for stream in (1..20_000).step_by(2) {
        // HPACK's static table: GET, http, /.
        attack.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &[0x82, 0x86, 0x84]));
        attack.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&attack).await;
    assert_eq!(goaway(&mut stream).await, Some(ENHANCE_YOUR_CALM));
    server.still_serves().await;
}

#[tokio::test]
async fn headers_without_end_are_not_collected_forever() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut attack = PREFACE.to_vec();
    attack.extend(frame(SETTINGS, 0, 0, &[]));
    attack.extend(frame(HEADERS, END_STREAM, 1, &[0x82, 0x86, 0x84]));
    for _ in 0..1_000 {
        let mut header = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x07];
        header.extend(vec![b'v'; 1_024]);
        attack.extend(frame(CONTINUATION, 0, 1, &header));
    }
    let _ = stream.write_all(&attack).await;
    assert!(goaway(&mut stream).await.is_some_and(|code| code != 0));
    server.still_serves().await;
}
