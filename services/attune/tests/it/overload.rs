//! Far more than a server can do, for the models and for lists, over REST and gRPC at once: each request is served or refused
//! at once with a time to come again, memory stays what it was, and health answers as ever.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use attune_api::v1;
use serde_json::{Value, json};
use tonic::Code;

use crate::http;
use crate::rpc::Rpc;
use crate::server::{Server, config};

const CLIENTS: usize = 24;
const REQUESTS: usize = 20;
const TEXTS: usize = 8;
/// A fifth of what the clients offer at any time.
const QUEUE_TEXTS: usize = CLIENTS * TEXTS / 5;
/// What a second flood may add to the memory that the first one took, in KiB.
const MORE_KIB_MAX: u64 = 16 << 10;

/// How many requests had each outcome.
type Outcomes = BTreeMap<&'static str, usize>;

fn rest(server: &Server, path: &str, body: &Value) -> &'static str {
    let answer = http::post(server.address, path, server.key(), body);
    match answer.status {
        200 => "served",
        429 => {
            let after = answer.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
            assert!(after.trim().parse::<u64>().unwrap() >= 1, "{after}");
            "refused"
        }
        other => panic!("{path}: {other} {}", answer.text()),
    }
}

fn grpc(rpc: &Rpc, key: &str, inputs: &[String]) -> &'static str {
    let call = v1::ClassifyRequest { inputs: inputs.to_vec(), ..Default::default() };
    let said = rpc.call("/attune.v1.Inference/Classify", key, &call);
    match said.code {
        Code::Ok => "served",
        Code::ResourceExhausted => "refused",
        other => panic!("{other:?}: {}", said.detail),
    }
}

/// One client, which asks for this and that without a pause.
fn client(server: &Server, number: usize) -> Outcomes {
    let rpc = Rpc::new(server.address);
    let inputs = vec!["some words to compute ".repeat(10); TEXTS];
    let mut outcomes = Outcomes::new();
    for request in 0..REQUESTS {
        let outcome = match (number + request) % 4 {
            0 => rest(server, "/v1/embeddings", &json!({"model": "mini", "input": inputs})),
            1 => rest(server, "/v1/sentiment", &json!({ "inputs": inputs })),
            2 => grpc(&rpc, server.key(), &inputs),
            _ => rest(server, "/v1/recommend", &json!({"user_id": format!("u-{number}"), "k": 10})),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    outcomes
}

fn flood(server: &Server) -> Outcomes {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let health = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                for path in ["/livez", "/readyz", "/metrics"] {
                    assert_eq!(http::get(server.address, path).status, 200, "{path} waits for nobody");
                }
            }
        });
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(server, number))).collect();
        let mut all = Outcomes::new();
        for client in clients {
            client.join().unwrap().into_iter().for_each(|(outcome, count)| *all.entry(outcome).or_default() += count);
        }
        over.store(true, Ordering::SeqCst);
        health.join().unwrap();
        all
    })
}

#[test]
fn five_times_too_much_is_served_or_refused_and_memory_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let bound = format!("[inference]\nqueue_texts_max = {QUEUE_TEXTS}\n");
    fs::write(&path, text.replace("[inference]\n", &bound)).unwrap();
    let server = Server::start_in(folder, &["--workers", "1"]);
    let first = flood(&server);
    let before = server.resident_kib("RssAnon");
    let second = flood(&server);
    let more = server.resident_kib("RssAnon").saturating_sub(before);
    eprintln!("{first:?}, then {second:?}, {more} KiB more");
    for outcomes in [first, second] {
        assert!(outcomes.contains_key("served") && outcomes.contains_key("refused"), "{outcomes:?}");
        assert_eq!(outcomes.values().sum::<usize>(), CLIENTS * REQUESTS, "nothing is left without an answer");
    }
    assert!(more < MORE_KIB_MAX, "{more} KiB more after a second flood");
    assert_eq!(server.embed(&["all is quiet again"]).len(), 1);
}
