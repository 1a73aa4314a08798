//! Many connections that do nothing, clients that leave, and what the access log says of the rest.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::server::{Server, config};

/// Far more than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 2_000;
/// What they may cost together, in KiB: 50 MB, and more where nothing is optimised and what a connection waits with is
/// larger.
const RESIDENT_KIB_MAX: u64 = if cfg!(debug_assertions) { 80 << 10 } else { 50_000_000 >> 10 };

/// How many files and sockets a process may have open here.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(CONNECTIONS + 200)
}

/// One that has asked something and stays.
fn idle(server: &Server, key: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /v1/models HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

fn median_of_asking(server: &Server) -> Duration {
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(http::call(server.address, "GET", "/v1/models", Some(server.key()), "").unwrap().status, 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn two_thousand_idle_connections_cost_little_memory_and_nobody_elses_time() {
    let server = Server::start(&[]);
    let alone = median_of_asking(&server);
    let before = server.resident_kib("VmRSS");
    let connections = CONNECTIONS.min(files_max() - 200);
    let open: Vec<TcpStream> = (0..connections).map(|_| idle(&server, server.key())).collect();
    let more = server.resident_kib("VmRSS").saturating_sub(before);
    let beside = median_of_asking(&server);
    // Times are told, not asserted: they are those of a quiet machine only there.
    eprintln!(
        "{connections} idle connections: {more} KiB more, median answer {alone:?} alone and {beside:?} beside them"
    );
    assert!(more < RESIDENT_KIB_MAX, "{more} KiB for {connections} connections");
    assert!(http::get(server.address, "/metrics").text().contains("attune_connections"));
    drop(open);
}

fn counter(server: &Server, line: &str) -> f64 {
    let text = http::get(server.address, "/metrics").text();
    text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0.0)
}

fn queued_and_running(server: &Server) -> (u64, f64) {
    let texts = http::get(server.address, "/readyz").json()["queue"]["texts"].as_u64().unwrap();
    (texts, counter(server, "attune_engine_workers_busy"))
}

#[test]
fn the_work_of_a_client_that_leaves_ends_with_it() {
    let server = Server::start(&["--workers", "1"]);
    let text = "the quick brown fox jumps over the lazy dog ".repeat(20);
    let body = json!({"model": "mini", "input": vec![text; 512]}).to_string();
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        server.key(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let begun = Instant::now();
    while queued_and_running(&server).0 == 0 {
        assert!(begun.elapsed() < PATIENCE, "the request never reached the queue");
        thread::sleep(Duration::from_millis(2));
    }
    let before = counter(&server, "attune_texts_total");
    drop(stream);
    let left = Instant::now();
    while queued_and_running(&server) != (0, 0.0) {
        assert!(left.elapsed() < PATIENCE, "the work goes on");
        thread::sleep(Duration::from_millis(2));
    }
    // Told, not asserted: the bound of 50 ms is for a quiet machine.
    eprintln!("the work of 512 texts stopped {:?} after its client had left", left.elapsed());
    let after = counter(&server, "attune_texts_total");
    assert!(after - before < 256.0, "{} texts were computed for nobody", after - before);
}

#[test]
fn the_access_log_has_the_client_that_a_named_proxy_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let text = "log_format = \"json\"\n".to_owned() + &std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "[front]\ntrusted_proxies = [\"127.0.0.1\"]\n").unwrap();
    let server = Server::start_in(folder, &[]);
    let spoofed = [("x-forwarded-for", "6.6.6.6, 203.0.113.7"), ("forwarded", "for=7.7.7.7")];
    let answer = http::call_with(server.address, "GET", "/v1/models", Some(server.key()), &spoofed, "").unwrap();
    assert_eq!(answer.status, 200);
    let begun = Instant::now();
    let line = loop {
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.contains("/v1/models")) {
            break serde_json::from_str::<Value>(line).unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "{log}");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(
        (&line["fields"]["address"], &line["fields"]["status"]),
        (&json!("203.0.113.7"), &json!("200")),
        "{line}"
    );
    assert!(!line.to_string().contains("6.6.6.6") && !line.to_string().contains(server.key()));
}
