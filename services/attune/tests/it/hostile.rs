//! Clients that break the rules of HTTP/2 to make work: streams that are reset as soon as they are opened, headers without
//! end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::http;
use crate::server::Server;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// HPACK's static table: GET, http, /.
const GET_ROOT: [u8; 3] = [0x82, 0x86, 0x84];
/// RFC 9113: the peer is behaving in a way that might generate excessive load.
const ENHANCE_YOUR_CALM: u32 = 0xb;
/// Longer than any of these tests takes; it ends a hang, and nothing else.
const NEVER: Duration = Duration::from_secs(120);
/// How often each attack is made: what one leaves behind would add up.
const TIMES: usize = 20;
/// What all of them together may leave, in KiB. One attack sends .3 to 1 MB.
const LEFT_KIB_MAX: u64 = 12 << 10;

/// One frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Opened and reset, ten thousand times.
fn rapid_reset() -> Vec<u8> {
    let stream = |stream| {
        let headers = frame(HEADERS, END_STREAM | END_HEADERS, stream, &GET_ROOT);
        [headers, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    (1..20_000).step_by(2).flat_map(stream).collect()
}

/// A megabyte of headers whose end does not come.
fn endless_headers() -> Vec<u8> {
    let header = [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x07][..], &[b'v'; 1_024]].concat();
    let begun = frame(HEADERS, END_STREAM, 1, &GET_ROOT);
    begun.into_iter().chain((0..1_000).flat_map(|_| frame(CONTINUATION, 0, 1, &header))).collect()
}

/// Makes an attack, and reads to the end: the error code of the GOAWAY that the server sends before it closes.
fn attack(address: SocketAddr, frames: &[u8]) -> Option<u32> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[]), frames].concat();
    let mut writing = stream.try_clone().unwrap();
    // It is closed while it is written to.
    let writer = thread::spawn(move || writing.write_all(&begin).is_ok());
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    assert!(read.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::WouldBlock), "it hangs");
    let _was_taken = writer.join().unwrap();
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

/// Attacks again and again; the codes that were answered.
fn attacked(server: &Server, frames: &[u8]) -> Vec<u32> {
    // Once before: what a server keeps for its next connections is not what an attack leaves.
    attack(server.address, frames);
    let before = server.resident_kib("RssAnon");
    // An answer may be lost, where the connection is reset before it is read.
    let codes = (0..TIMES).filter_map(|_| attack(server.address, frames)).collect();
    let left = server.resident_kib("RssAnon").saturating_sub(before);
    assert!(left < LEFT_KIB_MAX, "{left} KiB are left of {TIMES} attacks");
    assert_eq!(http::get(server.address, "/livez").status, 200);
    assert_eq!(http::call(server.address, "GET", "/v1/models", Some(server.key()), "").unwrap().status, 200);
    codes
}

#[test]
fn who_breaks_the_rules_of_http2_is_shown_out_and_leaves_nothing() {
    let server = Server::start(&[]);
    let codes = attacked(&server, &rapid_reset());
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == ENHANCE_YOUR_CALM), "{codes:?}");
    let codes = attacked(&server, &endless_headers());
    assert!(!codes.is_empty() && codes.iter().all(|code| *code != 0), "{codes:?}");
    let answer = http::call_with(server.address, "GET", "/livez", None, &[("x-large", &"x".repeat(200_000))], "");
    assert_eq!(answer.unwrap().status, 431);
}
