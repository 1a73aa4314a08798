//! The event log: one suite for every backend, and the faults of each.

// First: the others are stamped by its macro.
#[macro_use]
mod suite;

mod crash;
mod embedded;
mod kafka;

use std::time::Duration;

use attune_store::Tenant;
use attune_store::events::{Consumer, Event, EventLog, NewEvent, Position};

/// How long a consumer waits for what must come. Long, since a slow machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn event(subject: &str, payload: impl AsRef<[u8]>) -> NewEvent {
    NewEvent { subject: subject.to_owned(), payload: bytes::Bytes::copy_from_slice(payload.as_ref()) }
}

/// A batch of so many events, numbered from `first` on, of ten subjects.
pub fn numbered(first: usize, count: usize) -> Vec<NewEvent> {
    (first..first + count).map(|number| event(&format!("s-{}", number % 10), format!("event {number}"))).collect()
}

/// Polls until so many events have come, or none comes any more.
pub async fn take(consumer: &mut dyn Consumer, count: usize) -> Vec<Event> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = consumer.poll(1_000, PATIENCE).await.unwrap();
        assert!(!some.is_empty(), "only {} of {count} events came", all.len());
        all.extend(some);
    }
    all
}

/// Polls until nothing comes for a moment.
pub async fn drain(consumer: &mut dyn Consumer) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let some = consumer.poll(1_000, Duration::from_millis(300)).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Everything there is of a tenant, read outside any group, as far as a poll that waits so long brings it.
pub async fn everything(log: &dyn EventLog, tenant: &Tenant, wait: Duration) -> Vec<Event> {
    let bounds = log.bounds(tenant).await.unwrap();
    let from: Vec<Position> =
        bounds.iter().map(|one| Position { partition: one.partition, offset: one.first }).collect();
    if bounds.iter().all(|one| one.first == one.next) {
        return Vec::new();
    }
    let mut consumer = log.read(tenant, &from).await.unwrap();
    let mut all = Vec::new();
    loop {
        let some = consumer.poll(10_000, wait).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

pub fn payloads(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(&event.payload).into_owned()).collect()
}
