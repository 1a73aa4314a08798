//! The service over stores in a folder of its own, and a writer of the lake that runs when it is told to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use attune_analytics::{AnalyticsService, Settings, Stores};
use attune_api::analytics::{Analytics, JudgedReview, JudgedReviews, KeepsReviews, Report};
use attune_api::log::Record;
use attune_api::rest::analytics::Table;
use attune_api::{ApiError, Call};
use attune_lake::{LakeSettings, LakeWriter, load_manifest};
use attune_store::embedded::events::Log;
use attune_store::embedded::objects::LocalObjects;
use attune_store::events::{BATCH_EVENTS_MAX, EventLog, NewEvent, Settings as LogSettings};
use attune_store::objects::Objects;
use attune_store::relational::Relational;
use attune_store::{Tenant, embedded};
use serde_json::Value;
use tempfile::TempDir;

/// Reviews of a list, three to a page.
pub struct Reviews(pub Vec<JudgedReview>);

#[async_trait]
impl KeepsReviews for Reviews {
    async fn judged(&self, _call: &Call, from: Option<&str>) -> Result<JudgedReviews, ApiError> {
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let reviews: Vec<JudgedReview> = self.0.iter().skip(from).take(3).cloned().collect();
        Ok(JudgedReviews { reviews, next: (from + 3 < self.0.len()).then(|| (from + 3).to_string()) })
    }
}

/// Whoever asks waits for ever.
pub struct Silent;

#[async_trait]
impl KeepsReviews for Silent {
    async fn judged(&self, _call: &Call, _from: Option<&str>) -> Result<JudgedReviews, ApiError> {
        std::future::pending().await
    }
}

pub struct World {
    pub events: Arc<dyn EventLog>,
    pub objects: Arc<dyn Objects>,
    relational: Arc<dyn Relational>,
    pub folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        Self {
            relational: Arc::new(embedded::relational::open(&path("rows.db")).await.unwrap()),
            events: Arc::new(Log::open(&path("events"), LogSettings::default()).await.unwrap()),
            objects: Arc::new(LocalObjects::open(&path("objects"), "http://127.0.0.1:1").await.unwrap()),
            folder,
        }
    }

    pub fn service(&self, reviews: impl KeepsReviews + 'static, settings: Settings) -> AnalyticsService {
        let (events, objects) = (Arc::clone(&self.events), Arc::clone(&self.objects));
        let (reviews, relational) = (Arc::new(reviews), Arc::clone(&self.relational));
        AnalyticsService::start(Stores { events, objects, reviews, relational }, settings).unwrap()
    }

    pub async fn append(&self, tenant: &str, records: &[(String, Record)]) {
        let event = |(subject, record): &(String, Record)| NewEvent {
            subject: subject.clone(),
            payload: serde_json::to_vec(record).unwrap().into(),
        };
        for some in records.chunks(BATCH_EVENTS_MAX) {
            self.events.append(&name(tenant), some.iter().map(event).collect()).await.unwrap();
        }
    }

    /// Puts everything that the log says into the lake, in files of up to so many rows.
    pub async fn flush(&self, tenant: &str, flush_rows: usize) {
        let settings = LakeSettings { flush_every: Duration::from_millis(5), flush_rows, ..LakeSettings::default() };
        let (events, objects) = (Arc::clone(&self.events), Arc::clone(&self.objects));
        let last = self.events.bounds(&name(tenant)).await.unwrap().iter().map(|one| one.next).max();
        let relational = Arc::clone(&self.relational);
        let writer = LakeWriter::start(relational, events, objects, Some(name(tenant)), settings);
        // A partition's offsets have gaps: the last record of all is in one of them.
        while last > Some(0)
            && load_manifest(&*self.objects, &name(tenant)).await.unwrap().next.values().max() != last.as_ref()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.stop().await;
    }
}

pub fn name(tenant: &str) -> Tenant {
    tenant.parse().unwrap()
}

pub fn call(tenant: &str) -> Call {
    Call { tenant: tenant.into(), caller: "test".into(), request_id: "r-1".into(), deadline: None, is_bulk: false }
}

pub async fn ask(service: &AnalyticsService, report: Report, question: Value) -> Result<Table, ApiError> {
    service.report(&call("acme"), report, serde_json::from_value(question).unwrap()).await
}
