//! A reader of some partitions of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};

use super::error::{failed, is_passing};
use super::{Context, blocking};
use crate::events::check::{self, failure};
use crate::events::{Consumer, Event, Position};
use crate::{ErrorKind, StoreError};

/// A reader.
pub(super) struct KafkaConsumer {
    /// Always there until it is dropped.
    consumer: Option<Arc<StreamConsumer<Context>>>,
    topic: String,
    is_member: bool,
    timeout: Duration,
    /// By partition, the offset behind what was polled since the last commit.
    polled: BTreeMap<u32, u64>,
}

impl KafkaConsumer {
    pub(super) fn join(config: &ClientConfig, topic: String, timeout: Duration) -> Result<Self, StoreError> {
        let reader = Self::new("join", config, topic, true, timeout)?;
        reader.consumer().subscribe(&[&reader.topic]).map_err(|error| failed("join", error, None))?;
        Ok(reader)
    }

    pub(super) fn read(
        config: &ClientConfig,
        topic: String,
        from: &[Position],
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let mut reader = Self::new("read", config, topic, false, timeout)?;
        let assigned = list(&reader.topic, from.iter().map(|position| (position.partition, position.offset)));
        let assigned = assigned.and_then(|assigned| reader.consumer().assign(&assigned));
        assigned.map_err(|error| failed("read", error, None))?;
        reader.polled.extend(from.iter().map(|position| (position.partition, position.offset)));
        Ok(reader)
    }

    fn new(
        call: &'static str,
        config: &ClientConfig,
        topic: String,
        is_member: bool,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let consumer = config.create_with_context(Context::default()).map_err(|error| failed(call, error, None))?;
        Ok(Self { consumer: Some(Arc::new(consumer)), topic, is_member, timeout, polled: BTreeMap::new() })
    }

    fn consumer(&self) -> &Arc<StreamConsumer<Context>> {
        self.consumer.as_ref().expect("it is taken by drop alone")
    }

    /// The next record, if there is one by then.
    async fn next(&self, deadline: Instant) -> Result<Option<Event>, StoreError> {
        let mut passing = None;
        loop {
            match timeout_at(deadline, self.consumer().recv()).await {
                Ok(Ok(record)) => return Ok(Some(event_of(&record))),
                // The client tries again by itself.
                Ok(Err(error)) if is_passing(&error) => passing = Some(error),
                Ok(Err(error)) => return Err(self.failed(error)),
                // Nothing came; but not because there is nothing.
                Err(_) => return passing.map_or(Ok(None), |error| Err(self.failed(error))),
            }
        }
    }

    fn failed(&self, error: KafkaError) -> StoreError {
        failed("poll", error, self.consumer().client().context().said())
    }

    fn see(&mut self, event: &Event) {
        self.polled.insert(event.position.partition, event.position.offset + 1);
    }
}

impl Drop for KafkaConsumer {
    /// Leaving the group takes a round trip, which no async thread waits for.
    fn drop(&mut self) {
        if let (Some(consumer), Ok(runtime)) = (self.consumer.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn_blocking(move || drop(consumer));
        }
    }
}

fn event_of(record: &BorrowedMessage<'_>) -> Event {
    Event {
        position: Position { partition: record.partition() as u32, offset: record.offset() as u64 },
        appended_ms: record.timestamp().to_millis().unwrap_or(0),
        subject: String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned(),
        payload: bytes::Bytes::copy_from_slice(record.payload().unwrap_or_default()),
    }
}

fn list(topic: &str, offsets: impl Iterator<Item = (u32, u64)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        let offset = Offset::Offset(offset.min(i64::MAX as u64) as i64);
        list.add_partition_offset(topic, partition as i32, offset)?;
    }
    Ok(list)
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Event>, StoreError> {
        check::page("poll", max)?;
        let Some(first) = self.next(Instant::now() + wait).await? else { return Ok(Vec::new()) };
        let mut events = vec![first];
        // What the client has fetched already comes at once.
        while events.len() < max {
            match self.consumer().recv().now_or_never() {
                Some(Ok(record)) => events.push(event_of(&record)),
                Some(Err(_)) | None => break,
            }
        }
        // Partitions that have gone to others are theirs to commit.
        let owned = self.partitions();
        self.polled.retain(|partition, _| owned.contains(partition));
        events.iter().for_each(|event| self.see(event));
        Ok(events)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        if !self.is_member {
            return Err(failure(
                "commit",
                ErrorKind::Invalid,
                "this consumer is in no group: keep its positions yourself",
            ));
        }
        if self.polled.is_empty() {
            return Ok(());
        }
        let sorry = |error| failed("commit", error, None);
        let offsets =
            list(&self.topic, self.polled.iter().map(|(&partition, &next)| (partition, next))).map_err(sorry)?;
        let consumer = self.consumer().clone();
        blocking("commit", move || {
            let said = || consumer.client().context().said();
            consumer.commit(&offsets, CommitMode::Sync).map_err(|error| failed("commit", error, said()))
        })
        .await?;
        self.polled.clear();
        Ok(())
    }

    async fn seek(&mut self, to: Position) -> Result<(), StoreError> {
        if !self.partitions().contains(&to.partition) {
            let detail = format!("partition {} is not one of this consumer's", to.partition);
            return Err(failure("seek", ErrorKind::Invalid, detail));
        }
        let (consumer, topic, timeout) = (self.consumer().clone(), self.topic.clone(), self.timeout);
        blocking("seek", move || {
            let offset = Offset::Offset(to.offset.min(i64::MAX as u64) as i64);
            consumer.seek(&topic, to.partition as i32, offset, timeout).map_err(|error| failed("seek", error, None))
        })
        .await?;
        self.polled.insert(to.partition, to.offset);
        Ok(())
    }

    fn partitions(&self) -> Vec<u32> {
        let assigned = self
            .consumer()
            .assignment()
            .map(|list| list.elements().iter().map(|one| one.partition() as u32).collect::<Vec<u32>>());
        let mut partitions = assigned.unwrap_or_default();
        partitions.sort_unstable();
        partitions
    }

    fn positions(&self) -> Vec<Position> {
        self.polled.iter().map(|(&partition, &offset)| Position { partition, offset }).collect()
    }
}
