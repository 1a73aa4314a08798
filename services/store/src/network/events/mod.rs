//! The event log on Apache Kafka.
//!
//! **A topic a tenant** (`PREFIX.TENANT.events`), not one for all keyed by tenant: retention is a property of a topic,
//! so that each tenant can have its own; a tenant that leaves takes its topic along; no reader receives, and throws
//! away, what belongs to others; and what a topic still holds of an erased subject ages out by the tenant's own
//! retention. The price is partitions: eight a tenant, of which a cluster carries some hundred thousand.
//!
//! **Dead letters** lie in a topic of one partition, keyed by their id and compacted: forgetting one writes an empty
//! record under its key, and the broker drops both.
//!
//! A batch is handed to the producer as a whole, which joins it with what others append; `acks=all` and an idempotent
//! producer make a record that was acknowledged durable on all replicas in sync, and one that was sent twice stored
//! once.

mod consumer;
mod error;
mod options;
mod topic;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use self::consumer::KafkaConsumer;
use self::error::{Said, failed};
pub use self::options::KafkaOptions;
use self::options::client_config;
use self::topic::{Kind, Topics};
use crate::clock::wall_ms;
use crate::events::check::{self, failure};
use crate::events::letter::{self, Ended, Pager};
use crate::events::{
    Bounds, Consumer, Damage, DeadLetterPage, EventLog, NewDeadLetter, NewEvent, Position, partition_of,
};
use crate::{ErrorKind, Health, StoreError, Tenant};

/// How long the producer waits for more records before it sends some, in milliseconds: a broker's own sync takes longer.
const LINGER_MS: &str = "2";
/// The most bytes and records that wait in the producer; beyond, appends wait for room, then fail.
const QUEUE_KBYTES_MAX: &str = "65536";
const QUEUE_RECORDS_MAX: &str = "200000";
/// What was said longer ago explains nothing any more.
const SAID_FOR: Duration = Duration::from_secs(60);
/// How often it is looked for room in the producer's queue.
const ROOM_EVERY: Duration = Duration::from_millis(5);

/// The event log on Kafka.
pub struct Kafka {
    shared: Arc<Shared>,
}

struct Shared {
    options: KafkaOptions,
    producer: FutureProducer<Context>,
    context: Context,
    topics: Topics,
}

/// Remembers what the client said last about its connections: the errors of calls say only that they timed out.
#[derive(Clone, Default)]
struct Context {
    said: Arc<Mutex<Option<Said>>>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are down comes last, and without the reason.
        if code != RDKafkaErrorCode::AllBrokersDown || said.is_none() {
            *said = Some(Said { code, reason: reason.to_owned(), at: Instant::now() });
        }
    }
}

impl rdkafka::consumer::ConsumerContext for Context {}

impl Context {
    fn said(&self) -> Option<Said> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        said.filter(|said| said.at.elapsed() < SAID_FOR)
    }
}

impl Kafka {
    /// Connects, and returns when a broker has answered.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout` or `Denied` where none does; `Invalid` for options that cannot be.
    pub async fn open(options: KafkaOptions) -> Result<Self, StoreError> {
        check::partitions(options.settings.partitions)?;
        let mut config = client_config(&options);
        config.set("acks", "all").set("enable.idempotence", "true");
        config.set("linger.ms", LINGER_MS).set("compression.type", "lz4");
        config.set("delivery.timeout.ms", options.timeout.as_millis().to_string());
        config
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES_MAX)
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX);
        let context = Context::default();
        let producer: FutureProducer<Context> =
            config.create_with_context(context.clone()).map_err(|error| failed("open", error, None))?;
        let topics = Topics::new(&options, &context)?;
        let shared = Arc::new(Shared { options, producer, context, topics });
        let probe = shared.clone();
        blocking("open", move || probe.health("open")).await?;
        Ok(Self { shared })
    }

    async fn partitions(&self, call: &'static str, tenant: &Tenant) -> Result<u32, StoreError> {
        self.shared.topics.partitions(call, tenant, Kind::Events).await
    }

    fn said(&self) -> Option<Said> {
        self.shared.context.said()
    }

    fn consumer_config(&self) -> ClientConfig {
        let mut config = client_config(&self.shared.options);
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest").set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", "10000").set("fetch.wait.max.ms", "100");
        config
    }

    fn group_id(&self, tenant: &Tenant, group: &str) -> String {
        format!("{}.{tenant}.{group}", self.shared.options.prefix)
    }

    /// Hands a record to the producer; waits while its queue is full.
    async fn enqueue(&self, call: &'static str, record: Record<'_>) -> Result<DeliveryFuture, StoreError> {
        let deadline = Instant::now() + self.shared.options.timeout;
        loop {
            let mut next = FutureRecord::to(record.topic).partition(record.partition).key(record.key);
            if let Some(payload) = record.payload {
                next = next.payload(payload);
            }
            match self.shared.producer.send_result(next) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                    tokio::time::sleep(ROOM_EVERY).await;
                }
                Err((error, _)) => return Err(failed(call, error, self.said())),
            }
        }
    }

    /// Waits until all records are on the brokers; the offsets that they got.
    async fn delivered(&self, call: &'static str, sent: Vec<DeliveryFuture>) -> Result<Vec<u64>, StoreError> {
        let stopped = |error| failure(call, ErrorKind::Internal, "the producer stopped").caused_by(Box::new(error));
        let deliveries = join_all(sent).await.into_iter().map(|delivery| match delivery {
            Ok(Ok(delivery)) => Ok(delivery.offset as u64),
            Ok(Err((error, _))) => Err(failed(call, error, self.said())),
            Err(canceled) => Err(stopped(canceled)),
        });
        deliveries.collect()
    }

    async fn append_letters(
        &self,
        call: &'static str,
        tenant: &Tenant,
        letters: impl Iterator<Item = (&String, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        self.shared.topics.partitions(call, tenant, Kind::Dead).await?;
        let topic = self.shared.topics.name(tenant, Kind::Dead);
        let mut sent = Vec::new();
        for (id, payload) in letters {
            let record = Record { topic: &topic, partition: 0, key: id, payload: payload.as_deref() };
            sent.push(self.enqueue(call, record).await?);
        }
        self.delivered(call, sent).await.map(|_| ())
    }
}

impl Shared {
    /// What the brokers answer. Kafka's protocol does not tell the version of a broker.
    fn health(&self, call: &'static str) -> Result<Health, StoreError> {
        let answer = self.producer.client().fetch_metadata(None, self.options.timeout);
        let sorry = |error| failed(call, error, self.context.said()).at(&self.options.brokers);
        let brokers = answer.map_err(sorry)?.brokers().len();
        let (_, client) = rdkafka::util::get_rdkafka_version();
        Ok(Health::new("Kafka", format!("{brokers} brokers, client librdkafka {client}")))
    }
}

impl Shared {
    fn bounds(&self, call: &'static str, topic: &str, partitions: u32) -> Result<Vec<Bounds>, StoreError> {
        let client = self.producer.client();
        let bounds = (0..partitions).map(|partition| {
            let marks = client.fetch_watermarks(topic, partition as i32, self.options.timeout);
            let (first, next) = marks.map_err(|error| failed(call, error, self.context.said()))?;
            Ok(Bounds { partition, first: first as u64, next: next as u64 })
        });
        bounds.collect()
    }
}

struct Record<'a> {
    topic: &'a str,
    partition: i32,
    key: &'a str,
    payload: Option<&'a [u8]>,
}

/// Runs what waits for the brokers away from the async threads.
async fn blocking<T: Send + 'static>(
    call: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = |error| failure(call, ErrorKind::Internal, "the client stopped at this").caused_by(Box::new(error));
    spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl EventLog for Kafka {
    async fn append(&self, tenant: &Tenant, events: Vec<NewEvent>) -> Result<Vec<Position>, StoreError> {
        check::batch(&events)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = self.partitions("append", tenant).await?;
        let topic = self.shared.topics.name(tenant, Kind::Events);
        let mut sent = Vec::with_capacity(events.len());
        let mut positions = Vec::with_capacity(events.len());
        for NewEvent { subject, payload } in &events {
            let partition = partition_of(tenant, subject, partitions);
            let record = Record { topic: &topic, partition: partition as i32, key: subject, payload: Some(payload) };
            sent.push(self.enqueue("append", record).await?);
            positions.push(Position { partition, offset: 0 });
        }
        let offsets = self.delivered("append", sent).await?;
        positions.iter_mut().zip(offsets).for_each(|(position, offset)| position.offset = offset);
        Ok(positions)
    }

    async fn join(&self, tenant: &Tenant, group: &str) -> Result<Box<dyn Consumer>, StoreError> {
        check::group("join", group)?;
        self.partitions("join", tenant).await?;
        let mut config = self.consumer_config();
        config.set("group.id", self.group_id(tenant, group));
        let topic = self.shared.topics.name(tenant, Kind::Events);
        Ok(Box::new(KafkaConsumer::join(&config, topic, self.shared.options.timeout)?))
    }

    async fn read(&self, tenant: &Tenant, from: &[Position]) -> Result<Box<dyn Consumer>, StoreError> {
        let partitions = self.partitions("read", tenant).await?;
        if let Some(wrong) = from.iter().find(|position| position.partition >= partitions) {
            let detail = format!("there is no partition {}: they are 0 to {}", wrong.partition, partitions - 1);
            return Err(failure("read", ErrorKind::Invalid, detail));
        }
        let mut config = self.consumer_config();
        // The client wants a name; nothing is ever committed under it.
        config.set("group.id", format!("{}.reader", self.shared.options.prefix));
        let topic = self.shared.topics.name(tenant, Kind::Events);
        Ok(Box::new(KafkaConsumer::read(&config, topic, from, self.shared.options.timeout)?))
    }

    async fn bounds(&self, tenant: &Tenant) -> Result<Vec<Bounds>, StoreError> {
        let partitions = self.partitions("bounds", tenant).await?;
        let (shared, topic) = (self.shared.clone(), self.shared.topics.name(tenant, Kind::Events));
        blocking("bounds", move || shared.bounds("bounds", &topic, partitions)).await
    }

    async fn committed(&self, tenant: &Tenant, group: &str) -> Result<Vec<Position>, StoreError> {
        check::group("committed", group)?;
        let partitions = self.partitions("committed", tenant).await?;
        let topic = self.shared.topics.name(tenant, Kind::Events);
        let mut config = self.consumer_config();
        config.set("group.id", self.group_id(tenant, group));
        let timeout = self.shared.options.timeout;
        blocking("committed", move || {
            let sorry = |error| failed("committed", error, None);
            let consumer: BaseConsumer = config.create().map_err(sorry)?;
            let mut asked = TopicPartitionList::new();
            asked.add_partition_range(&topic, 0, partitions as i32 - 1);
            let answered = consumer.committed_offsets(asked, timeout).map_err(sorry)?;
            let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset as u64) } else { None };
            let found = answered
                .elements()
                .into_iter()
                .filter_map(|one| Some(Position { partition: one.partition() as u32, offset: offset(one.offset())? }));
            Ok(found.collect())
        })
        .await
    }

    async fn bury(&self, tenant: &Tenant, letters: Vec<NewDeadLetter>) -> Result<Vec<String>, StoreError> {
        check::letters(&letters)?;
        let now_ms = wall_ms();
        let ids: Vec<String> = letters.iter().map(|_| letter::new_id(now_ms)).collect();
        let records = ids.iter().zip(letters.iter().map(|letter| Some(letter::encode(letter, now_ms))));
        if !ids.is_empty() {
            self.append_letters("bury", tenant, records).await?;
        }
        Ok(ids)
    }

    async fn dead_letters(&self, tenant: &Tenant, from: u64, limit: usize) -> Result<DeadLetterPage, StoreError> {
        check::page("dead_letters", limit)?;
        self.shared.topics.partitions("dead_letters", tenant, Kind::Dead).await?;
        let topic = self.shared.topics.name(tenant, Kind::Dead);
        let mut config = self.consumer_config();
        config.set("group.id", format!("{}.reader", self.shared.options.prefix)).set("enable.partition.eof", "true");
        let timeout = self.shared.options.timeout;
        blocking("dead_letters", move || {
            let mut ended = Ended::default();
            scan(&config, &topic, from, timeout, |_, id, entry| {
                ended.see(id, entry);
                true
            })?;
            let mut pager = Pager::new(ended, limit);
            scan(&config, &topic, from, timeout, |offset, id, entry| {
                pager.take(offset, id, &bytes::Bytes::copy_from_slice(entry))
            })?;
            Ok(pager.finish())
        })
        .await
    }

    async fn forget(&self, tenant: &Tenant, ids: &[String]) -> Result<(), StoreError> {
        let records: Vec<_> = ids.iter().filter(|id| !id.is_empty()).map(|id| (id, None)).collect();
        if records.is_empty() {
            return Ok(());
        }
        self.append_letters("forget", tenant, records.into_iter()).await
    }

    async fn damage(&self, _: &Tenant) -> Result<Vec<Damage>, StoreError> {
        // The brokers look after their own files.
        Ok(Vec::new())
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let mut erased = 0;
        for kind in [Kind::Events, Kind::Dead] {
            let partitions = self.shared.topics.partitions("erase", tenant, kind).await?;
            let (shared, topic) = (self.shared.clone(), self.shared.topics.name(tenant, kind));
            let bounds = blocking("erase", move || shared.bounds("erase", &topic, partitions)).await?;
            erased += bounds.iter().map(|bound| bound.next - bound.first).sum::<u64>();
            self.shared.topics.empty("erase", tenant, kind, partitions).await?;
        }
        Ok(erased)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let shared = self.shared.clone();
        blocking("health", move || shared.health("health")).await
    }
}

/// Shows the records of a topic's only partition, from an offset to the end or until `see` has enough.
fn scan(
    config: &ClientConfig,
    topic: &str,
    from: u64,
    timeout: Duration,
    mut see: impl FnMut(u64, &str, &[u8]) -> bool,
) -> Result<(), StoreError> {
    let context = Context::default();
    let sorry = |error| failed("dead_letters", error, context.said());
    let consumer: BaseConsumer<Context> = config.create_with_context(context.clone()).map_err(sorry)?;
    let (first, next) = consumer.fetch_watermarks(topic, 0, timeout).map_err(sorry)?;
    let start = (from.min(i64::MAX as u64) as i64).max(first);
    if start >= next {
        return Ok(());
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(start)).map_err(sorry)?;
    consumer.assign(&assignment).map_err(sorry)?;
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match consumer.poll(left) {
            Some(Ok(record)) => {
                let id = String::from_utf8_lossy(record.key().unwrap_or_default());
                if !see(record.offset() as u64, &id, record.payload().unwrap_or_default()) {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) if error::is_passing(&error) && !left.is_zero() => {}
            Some(Err(error)) => return Err(sorry(error)),
            None => return Err(sorry(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))),
        }
    }
}
