//! Events per second of the embedded log, every batch acknowledged when it is durable, and of a consumer.
//!
//! `cargo bench -p attune-benches --bench store_events [-- FOLDER KAFKA]`; the log is written to a new folder below FOLDER,
//! by default the system's for temporary files: mind that it may be in memory, where a sync costs nothing. Where a URI such
//! as `kafka://127.0.0.1:19092` names it, the same goes through Kafka, under a tenant of its own.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_store::Tenant;
use attune_store::embedded::events::Log;
use attune_store::events::{EventLog, NewEvent, Settings};
use attune_store::network::events::{Kafka, KafkaOptions};
use bytes::Bytes;

const PAYLOAD_BYTES: usize = 160;
const SUBJECTS: usize = 10_000;

/// How events are appended.
struct Load {
    batch_events: usize,
    callers: usize,
    events: usize,
}

const LOADS: [Load; 4] = [
    Load { batch_events: 100, callers: 1, events: 100_000 },
    Load { batch_events: 100, callers: 8, events: 400_000 },
    Load { batch_events: 5_000, callers: 1, events: 1_000_000 },
    Load { batch_events: 5_000, callers: 4, events: 1_000_000 },
];

fn batch(first: usize, count: usize, payload: &Bytes) -> Vec<NewEvent> {
    let subject = |number: usize| format!("subject-{:016x}", number * 2_654_435_761 % SUBJECTS);
    (first..first + count).map(|number| NewEvent { subject: subject(number), payload: payload.clone() }).collect()
}

/// Seconds and, in order, the milliseconds that appends took.
async fn append(log: &Arc<dyn EventLog>, tenant: &Tenant, load: &Load) -> (f64, Vec<f64>) {
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let batches = load.events / load.batch_events / load.callers;
    let began = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let (log, tenant, payload, count) = (log.clone(), tenant.clone(), payload.clone(), load.batch_events);
            tokio::spawn(async move {
                let mut taken = Vec::with_capacity(batches);
                for number in 0..batches {
                    let events = batch((caller * batches + number) * count, count, &payload);
                    let asked = Instant::now();
                    log.append(&tenant, events).await.expect("the log takes it");
                    taken.push(asked.elapsed().as_secs_f64() * 1e3);
                }
                taken
            })
        })
        .collect();
    let mut taken = Vec::new();
    for caller in callers {
        taken.extend(caller.await.expect("no caller panics"));
    }
    let seconds = began.elapsed().as_secs_f64();
    taken.sort_by(f64::total_cmp);
    (seconds, taken)
}

#[tokio::main]
async fn main() {
    // Cargo adds a flag of its own.
    let (brokers, folders): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).filter(|one| !one.starts_with('-')).partition(|one| one.starts_with("kafka://"));
    let folder = folders.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let root = folder.join(format!("attune-store-events-{}", std::process::id()));
    println!("{PAYLOAD_BYTES} bytes of payload an event, log in {}", root.display());
    run(Arc::new(Log::open(&root, Settings::default()).await.expect("a log of its own"))).await;
    std::fs::remove_dir_all(&root).expect("the log can be removed");
    for uri in brokers {
        println!("\n{uri}");
        let options = KafkaOptions::from_uri(&uri).expect("kafka://HOST:PORT");
        run(Arc::new(Kafka::open(options).await.expect("Kafka answers"))).await;
    }
}

async fn run(log: Arc<dyn EventLog>) {
    let tenant: Tenant = format!("bench-{:08x}", rand::random::<u32>()).parse().expect("letters and digits");
    let mut events = 0;
    for load in &LOADS {
        let (seconds, taken) = append(&log, &tenant, load).await;
        let (p50, p99) = (taken[taken.len() / 2], taken[taken.len() * 99 / 100]);
        println!(
            "append, batches of {:>5}, {} callers: {:>9.0} events/s, p50 {p50:.2} ms, p99 {p99:.2} ms a batch",
            load.batch_events,
            load.callers,
            load.events as f64 / seconds
        );
        events += taken.len() * load.batch_events;
    }
    let mut consumer = log.join(&tenant, "bench").await.expect("a group");
    let began = Instant::now();
    let mut read = 0;
    while read < events {
        read += consumer.poll(10_000, Duration::from_secs(10)).await.expect("the log can be read").len();
    }
    println!("consume, polls of 10000: {:>9.0} events/s", read as f64 / began.elapsed().as_secs_f64());
    drop(consumer);
    log.erase(&tenant).await.expect("what was appended can be removed");
}
