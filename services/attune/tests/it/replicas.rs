//! One gateway and several replicas, and what is wrong with one of them: slow, ill, dead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use attune_load::Wire;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::http;
use crate::server::Server;
use crate::split::Split;

/// Far more than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request that costs a replica next to nothing, so that what counts is the wire.
fn ask(gateway: &Server, key: &str) -> u16 {
    http::call(gateway.address, "GET", "/v1/models", Some(key), "").unwrap().status
}

/// The value of a line of /metrics, by what stands before it; 0 where there is none.
fn metric(address: SocketAddr, line: &str) -> f64 {
    let text = http::get(address, "/metrics").text();
    text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0.0)
}

/// How many of the requests above a replica has answered.
fn answered(replica: &Server) -> f64 {
    metric(replica.address, r#"attune_requests_total{protocol="http",route="/v1/models",status="200"}"#)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

#[test]
fn a_replica_that_is_ten_times_slower_gets_less_than_a_fifth_of_its_share() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 100;
    // Longer than a busy machine takes for the request itself, so that the wire decides who is slow.
    let (usual, slow) = (Duration::from_millis(50), Duration::from_millis(500));
    let wire = |place, to| Wire::to(to, if place == 1 { slow } else { usual }).unwrap().address;
    let split = Split::start(3, "inference", "", wire);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let client = || {
            let timed = |_| {
                let begun = Instant::now();
                assert_eq!(ask(&split.gateway, &split.key), 200);
                begun.elapsed()
            };
            (0..REQUESTS).map(timed).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort_unstable();
    let shares: Vec<f64> = split.replicas.iter().map(|one| answered(one) / (CLIENTS * REQUESTS) as f64).collect();
    eprintln!("shares {shares:.3?}, median {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 0.01, "each request is answered once: {shares:?}");
    assert!(shares[1] < 0.2 / 3.0, "a fifth of a fair share is {:.3}: {shares:?}", 0.2 / 3.0);
    assert!(times[times.len() / 2] < slow, "{times:?}");
}

#[test]
fn one_of_three_dies_and_nobody_notices() {
    let split = Split::start(3, "inference", "", |_, to| to);
    let Split { gateway, mut replicas, key } = split;
    for number in 0..150 {
        if number == 50 {
            // The first of them has the store of keys, which the others go on reading.
            drop(replicas.pop().unwrap().kill());
        }
        assert_eq!(ask(&gateway, &key), 200, "request {number}");
    }
}

/// A replica that answers every request with 500 while it is ill, and 200 otherwise.
struct Ill {
    address: SocketAddr,
    is_ill: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Ill {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (is_ill, asked) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (ill, counted) = (Arc::clone(&is_ill), Arc::clone(&asked));
        let answer = move |request: Request| {
            counted.fetch_add(usize::from(request.uri().path() != "/readyz"), Ordering::SeqCst);
            let is_ill = ill.load(Ordering::SeqCst);
            async move { if is_ill { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK } }
        };
        runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { address, is_ill, asked, _runtime: runtime }
    }
}

#[test]
fn a_replica_that_answers_only_errors_is_left_out_and_taken_back_when_it_is_well() {
    const EJECTED: &str = r#"attune_upstream_replicas_ejected{role="inference"}"#;
    let ill = Ill::start();
    let split = Split::start(2, "inference", "", |place, to| if place == 0 { to } else { ill.address });
    let ejected = || metric(split.gateway.address, EJECTED);
    let begun = Instant::now();
    wait_until("that it is left out", || {
        assert_eq!(ask(&split.gateway, &split.key), 200, "what only asks is asked elsewhere");
        ejected() == 1.0
    });
    eprintln!("left out after {:?} and {} requests", begun.elapsed(), ill.asked.load(Ordering::SeqCst));
    let asked = ill.asked.load(Ordering::SeqCst);
    for _ in 0..50 {
        assert_eq!(ask(&split.gateway, &split.key), 200);
    }
    assert_eq!(ill.asked.load(Ordering::SeqCst), asked, "who is left out is not asked");
    ill.is_ill.store(false, Ordering::SeqCst);
    let back = wait_until("that it is taken back", || ejected() == 0.0);
    eprintln!("taken back {back:?} after it was well");
    wait_until("that it is asked again", || {
        assert_eq!(ask(&split.gateway, &split.key), 200);
        ill.asked.load(Ordering::SeqCst) > asked
    });
}

#[test]
fn when_all_replicas_answer_only_errors_not_all_are_left_out() {
    let ill = [Ill::start(), Ill::start()];
    let split = Split::start(2, "inference", "", |place, _| ill[place].address);
    for _ in 0..100 {
        assert_eq!(ask(&split.gateway, &split.key), 500, "the replica's own answer");
    }
    let ejected = metric(split.gateway.address, r#"attune_upstream_replicas_ejected{role="inference"}"#);
    assert!(ejected <= 1.0, "{ejected} of two");
    // The retries of a failing service are a share of the calls, not a second flood.
    let retries = metric(split.gateway.address, r#"attune_upstream_retries_total{role="inference"}"#);
    let asked: usize = ill.iter().map(|one| one.asked.load(Ordering::SeqCst)).sum();
    eprintln!("{asked} requests for 100 calls, {retries} of them retries");
    // A tenth of the calls, and ten that were saved up before.
    assert!(retries <= 20.0 && asked as f64 <= 100.0 + retries, "{asked}, {retries}");
    ill.iter().for_each(|one| one.is_ill.store(false, Ordering::SeqCst));
    wait_until("a good answer", || ask(&split.gateway, &split.key) == 200);
}
