//! A service over stores in a folder of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::content::{Condition, Content, Saved};
use attune_api::rest::content::{ItemBody, SearchAnswer, SearchRequest};
use attune_api::{ApiError, Call};
use attune_content::{ContentService, Models, Options, Stores, Workers};
use attune_inference::testing::{write_tiny_adapter, write_tiny_model};
use attune_inference::{Inference, InferenceConfig, ModelSpec, PrecisionChoice};
use attune_store::events::Settings as LogSettings;
use attune_store::guard::Faults;
use attune_store::testing;
use attune_store::{ErrorKind, StoreError, Tenant};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Fixture {
    pub service: ContentService,
    pub stores: Stores,
    workers: Option<Workers>,
    _folder: Option<TempDir>,
}

pub fn call() -> Call {
    call_of("acme")
}

pub fn call_of(tenant: &str) -> Call {
    Call { tenant: tenant.into(), caller: "tester".into(), request_id: "r-1".into(), deadline: None, is_bulk: false }
}

pub fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

pub fn body(json: Value) -> ItemBody {
    serde_json::from_value(json).unwrap()
}

/// An embedder and a classifier of random weights.
pub fn tiny(seed: u64) -> Inference {
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter) = (folder.path().join("tiny"), folder.path().join("adapter"));
    write_tiny_model(&base, seed).unwrap();
    write_tiny_adapter(&adapter, 2).unwrap();
    let spec = |name: &str, adapter| ModelSpec {
        name: name.to_owned(),
        aliases: Vec::new(),
        path: base.clone(),
        adapter,
        precision: None,
        max_tokens: None,
    };
    let config = InferenceConfig { workers: Some(1), precision: PrecisionChoice::F32, ..InferenceConfig::default() };
    Inference::start(config, vec![spec("tiny", None), spec("tiny-sentiment", Some(adapter))]).unwrap()
}

/// Embedded stores in a folder, all of whose calls go through the same faults. A call that a process before was in the
/// middle of holds the log until it is done, since here that process has not ended.
pub async fn stores(folder: &Path, faults: &Arc<Faults>) -> Stores {
    let events = LogSettings { partitions: 1, ..LogSettings::default() };
    let options = testing::Options { events, ..testing::Options::default() };
    for _ in 0..1_000 {
        match testing::open(folder, options, |_| Arc::clone(faults)).await {
            Err(error) if error.kind == ErrorKind::Unavailable => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return of_content(opened.unwrap()),
        }
    }
    panic!("{} stays locked", folder.display());
}

fn of_content(stores: attune_store::resolve::Stores) -> Stores {
    let attune_store::resolve::Stores { relational, documents, search, events, objects, .. } = stores;
    Stores { relational, documents, search, events, objects }
}

impl Fixture {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = stores(folder.path(), &Arc::default()).await;
        let mut fixture = Self::over(stores, tiny(1));
        fixture._folder = Some(folder);
        fixture
    }

    /// A service that takes over what is in these stores.
    pub fn over(stores: Stores, inference: Inference) -> Self {
        let options = Options { grace: Duration::ZERO, ..Options::default() };
        let service = ContentService::new(stores.clone(), inference, &Models::default(), options);
        let workers = Some(Workers::start(&service));
        Self { service, stores, workers, _folder: None }
    }

    /// Another process in the place of this one, with another engine.
    pub async fn restarted(mut self, inference: Inference) -> Self {
        if let Some(workers) = self.workers.take() {
            workers.stop().await;
        }
        Self { _folder: self._folder, ..Self::over(self.stores, inference) }
    }

    pub async fn put(&self, id: &str, json: Value) -> Saved {
        self.try_put(id, json).await.unwrap()
    }

    pub async fn try_put(&self, id: &str, json: Value) -> Result<Saved, ApiError> {
        self.service.put(&call(), id, body(json), Condition::None).await
    }

    pub async fn search(&self, json: Value) -> SearchAnswer {
        self.try_search(json).await.unwrap()
    }

    pub async fn try_search(&self, json: Value) -> Result<SearchAnswer, ApiError> {
        let request: SearchRequest = serde_json::from_value(json).unwrap();
        self.service.search(&call(), request).await
    }

    /// The ids that a search finds, in its order.
    pub async fn found(&self, json: Value) -> Vec<String> {
        ids(&self.search(json).await)
    }

    /// Waits until nothing is left to do.
    pub async fn settled(&self) {
        let begun = Instant::now();
        while !self.try_settled().await.unwrap() {
            assert!(begun.elapsed() < PATIENCE, "work is left in the outbox");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether nothing is left to do.
    pub async fn try_settled(&self) -> Result<bool, StoreError> {
        for topic in ["content.index", "content.embed"] {
            if !self.stores.relational.pending(topic, 1).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub fn ids(answer: &SearchAnswer) -> Vec<String> {
    answer.hits.iter().map(|hit| hit.item.id.clone()).collect()
}
