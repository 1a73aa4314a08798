//! Topics, made when they are first used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::error::{failed, is_passing};
use super::options::{KafkaOptions, client_config};
use super::{Context, blocking};
use crate::events::{Retention, Settings};
use crate::{StoreError, Tenant};

/// How often it is asked whether a new topic is known everywhere.
const KNOWN_EVERY: Duration = Duration::from_millis(20);

/// What a topic holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Events,
    Dead,
}

/// The topics of all tenants.
pub(super) struct Topics {
    admin: Arc<AdminClient<Context>>,
    prefix: String,
    settings: Settings,
    timeout: Duration,
    /// How many partitions each has that is known.
    known: Mutex<HashMap<String, u32>>,
}

impl Topics {
    pub(super) fn new(options: &KafkaOptions, context: &Context) -> Result<Self, StoreError> {
        let admin = client_config(options).create_with_context(context.clone());
        Ok(Self {
            admin: Arc::new(admin.map_err(|error| failed("open", error, None))?),
            prefix: options.prefix.clone(),
            settings: options.settings,
            timeout: options.timeout,
            known: Mutex::default(),
        })
    }

    /// The name of a topic.
    pub(super) fn name(&self, tenant: &Tenant, kind: Kind) -> String {
        let end = if kind == Kind::Events { "events" } else { "dead" };
        format!("{}.{tenant}.{end}", self.prefix)
    }

    /// How many partitions a topic has, which is made if it is not there.
    pub(super) async fn partitions(&self, call: &'static str, tenant: &Tenant, kind: Kind) -> Result<u32, StoreError> {
        let name = self.name(tenant, kind);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        if let Some(partitions) = known {
            return Ok(partitions);
        }
        let partitions = match self.ask(call, &name, Duration::ZERO).await? {
            Some(partitions) => partitions,
            None => {
                self.make(call, &name, kind).await?;
                let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
                let found = self.ask(call, &name, self.timeout).await?;
                let found = found.ok_or_else(|| failed(call, timed_out, self.admin.inner().context().said()))?;
                self.led(call, &name, found).await?;
                found
            }
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, partitions);
        Ok(partitions)
    }

    /// How many partitions a topic has; `None` where it is not there, and has not come within `patience`.
    async fn ask(&self, call: &'static str, name: &str, patience: Duration) -> Result<Option<u32>, StoreError> {
        let (admin, name, timeout) = (self.admin.clone(), name.to_owned(), self.timeout);
        blocking(call, move || {
            let deadline = Instant::now() + patience;
            loop {
                let answer = admin.inner().fetch_metadata(Some(&name), timeout);
                let answer = answer.map_err(|error| failed(call, error, admin.inner().context().said()))?;
                let topic = answer.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
                let led = topic
                    .filter(|topic| topic.partitions().iter().all(|one| one.error().is_none() && one.leader() >= 0));
                match led.map(|topic| topic.partitions().len() as u32).filter(|&partitions| partitions > 0) {
                    Some(partitions) => return Ok(Some(partitions)),
                    None if Instant::now() >= deadline => return Ok(None),
                    None => std::thread::sleep(KNOWN_EVERY),
                }
            }
        })
        .await
    }

    /// Returns when every partition of a new topic is answered for: the brokers know who leads one before he does.
    async fn led(&self, call: &'static str, name: &str, partitions: u32) -> Result<(), StoreError> {
        let (admin, name, timeout) = (self.admin.clone(), name.to_owned(), self.timeout);
        blocking(call, move || {
            let deadline = Instant::now() + timeout;
            for partition in 0..partitions as i32 {
                while let Err(error) = admin.inner().fetch_watermarks(&name, partition, timeout) {
                    if !is_passing(&error) || Instant::now() >= deadline {
                        return Err(failed(call, error, admin.inner().context().said()));
                    }
                    std::thread::sleep(KNOWN_EVERY);
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes all records of a topic. The topic stays, since somebody may read it.
    pub(super) async fn empty(
        &self,
        call: &'static str,
        tenant: &Tenant,
        kind: Kind,
        partitions: u32,
    ) -> Result<(), StoreError> {
        let said = || self.admin.inner().context().said();
        let mut ends = TopicPartitionList::new();
        for partition in 0..partitions as i32 {
            let end = ends.add_partition_offset(&self.name(tenant, kind), partition, Offset::End);
            end.map_err(|error| failed(call, error, said()))?;
        }
        let options = AdminOptions::new().operation_timeout(Some(self.timeout)).request_timeout(Some(self.timeout));
        let emptied = self.admin.delete_records(&ends, &options).await.map_err(|error| failed(call, error, said()))?;
        let first = emptied.elements().into_iter().find_map(|one| one.error().err());
        first.map_or(Ok(()), |error| Err(failed(call, error, said())))
    }

    async fn make(&self, call: &'static str, name: &str, kind: Kind) -> Result<(), StoreError> {
        let (partitions, retention) = match kind {
            Kind::Events => (self.settings.partitions, self.settings.retention),
            Kind::Dead => (1, self.settings.dead_letters),
        };
        let (age, bytes) = limits(retention, partitions);
        let policy = if kind == Kind::Events { "delete" } else { "compact,delete" };
        // The cluster's own replication factor.
        let topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(-1));
        let topic = topic.set("cleanup.policy", policy).set("message.timestamp.type", "LogAppendTime");
        let topic = topic.set("retention.ms", &age).set("retention.bytes", &bytes);
        let options = AdminOptions::new().operation_timeout(Some(self.timeout)).request_timeout(Some(self.timeout));
        let said = || self.admin.inner().context().said();
        let made = self.admin.create_topics([&topic], &options).await.map_err(|error| failed(call, error, said()))?;
        for result in made {
            match result {
                // Somebody else was first.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(failed(call, KafkaError::AdminOp(code), said())),
            }
        }
        Ok(())
    }
}

/// Kafka's words for what is kept: of all partitions by age, and of each its share of the bytes.
fn limits(retention: Retention, partitions: u32) -> (String, String) {
    let age = retention.age.map_or("-1".to_owned(), |age| age.as_millis().to_string());
    let bytes = retention.bytes.map_or("-1".to_owned(), |bytes| (bytes / u64::from(partitions)).max(1).to_string());
    (age, bytes)
}
