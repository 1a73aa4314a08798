//! Kafka: the suite, and the faults of a server.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attune_store::ErrorKind;
use attune_store::events::*;
use attune_store::network::events::{Kafka, KafkaOptions};

use super::{event, everything, payloads, take};
use crate::own_server::{OwnServer, free_port, say, silent_port};
use crate::servers::{server, tenant};

fn options() -> Option<KafkaOptions> {
    Some(KafkaOptions::from_uri(&server("ATTUNE_TEST_KAFKA")?).unwrap())
}

async fn open() -> Option<(Kafka, ())> {
    Some((Kafka::open(options()?).await.unwrap(), ()))
}

event_log_suite!(open);

/// Short limits for servers that do not answer.
fn hasty(brokers: String) -> KafkaOptions {
    KafkaOptions { timeout: Duration::from_secs(3), ..KafkaOptions::new(brokers) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_absent_is_named() {
    let brokers = format!("127.0.0.1:{}", free_port());
    let error = Kafka::open(hasty(brokers.clone())).await.err().unwrap();
    assert!(error.kind == ErrorKind::Unavailable && error.is_retryable(), "{error}");
    assert!(error.detail.contains(&brokers) && error.detail.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_not_waited_for() {
    let began = Instant::now();
    let error = Kafka::open(hasty(format!("127.0.0.1:{}", silent_port().await))).await.err().unwrap();
    assert!(matches!(error.kind, ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_the_server_does_not_take_is_an_error_without_it() {
    let Some(options) = options() else { return };
    let credentials = Some(("nobody".to_owned(), "hidden-password".to_owned()));
    let error = Kafka::open(KafkaOptions { credentials, ..hasty(options.brokers) }).await.err().unwrap();
    assert!(!format!("{error:?}").contains("hidden-password"), "{error:?}");
    assert!(matches!(error.kind, ErrorKind::Denied | ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_killed_server() {
    if server("ATTUNE_TEST_KAFKA").is_none() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let (port, control) = (free_port(), free_port());
    let variables = vec![
        ("KAFKA_RUN", folder.path().display().to_string()),
        ("KAFKA_PORT", port.to_string()),
        ("KAFKA_CTL_PORT", control.to_string()),
    ];
    let broker = OwnServer::start("kafka", variables).await;
    let log = Arc::new(Kafka::open(KafkaOptions::new(format!("127.0.0.1:{port}"))).await.unwrap());
    let tenant = tenant();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (log, tenant, stop) = (log.clone(), tenant.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for batch in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let texts: Vec<String> = (0..20).map(|number| format!("{writer} {batch} {number}")).collect();
                    let events = texts.iter().map(|text| event(&format!("s-{writer}"), text)).collect();
                    match log.append(&tenant, events).await {
                        Ok(_) => acknowledged.extend(texts),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut consumer = log.join(&tenant, "g").await.unwrap();
    take(&mut *consumer, 200).await;
    broker.run("kill").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    broker.run("start").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    // A consumer from before goes on by itself.
    log.append(&tenant, vec![event("s-0", "after the restart")]).await.unwrap();
    let began = Instant::now();
    loop {
        let some = consumer.poll(1_000, Duration::from_secs(1)).await.unwrap_or_default();
        if payloads(&some).iter().any(|text| text == "after the restart") {
            break;
        }
        assert!(began.elapsed() < super::PATIENCE, "the consumer does not come back");
    }
    let found: HashSet<String> =
        payloads(&everything(&*log, &tenant, Duration::from_secs(5)).await).into_iter().collect();
    let lost = acknowledged.iter().filter(|text| !found.contains(*text)).count();
    say(&format!(
        "Kafka, killed under writes: {} events acknowledged, {} found, {lost} lost",
        acknowledged.len(),
        found.len()
    ));
    assert!(acknowledged.len() > 1_000, "{} events are too few to tell", acknowledged.len());
    assert_eq!(lost, 0);
}
