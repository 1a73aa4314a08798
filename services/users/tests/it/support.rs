//! The service over stores in a folder of its own.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use attune_api::rest::users::{Erased, JobStatus, JobView};
use attune_api::users::{KeepsOfPeople, Someone, Users};
use attune_api::{ApiError, Call};
use attune_store::guard::Faults;
use attune_store::{StoreKind, Tenant, testing};
use attune_users::{EventsKept, Stores, UsersService};
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct World {
    pub stores: Stores,
    pub service: UsersService,
    /// What goes wrong with rows.
    pub row_faults: Arc<Faults>,
    pub diary: Arc<Diary>,
    pub folder: TempDir,
}

/// Another service that keeps something of people.
#[derive(Default)]
pub struct Diary {
    pub pages: Mutex<Vec<String>>,
    pub changes: Mutex<Vec<String>>,
}

#[async_trait]
impl KeepsOfPeople for Diary {
    fn what(&self) -> &'static str {
        "diary"
    }

    async fn export(&self, _call: &Call, someone: &Someone) -> Result<Value, ApiError> {
        Ok(json!(self.pages.lock().unwrap().iter().filter(|page| **page == someone.user_id).count()))
    }

    async fn erase(&self, _call: &Call, someone: &Someone) -> Result<Erased, ApiError> {
        let mut pages = self.pages.lock().unwrap();
        let before = pages.len();
        pages.retain(|page| *page != someone.user_id);
        let deleted = (before - pages.len()) as u64;
        Ok(Erased { store: "diary".to_owned(), what: "pages".to_owned(), deleted, note: None })
    }

    fn changed(&self, _tenant: &str, user_id: &str) {
        self.changes.lock().unwrap().push(user_id.to_owned());
    }
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let row_faults = Arc::default();
        let all = testing::open_with(folder.path(), StoreKind::Relational, &row_faults).await.unwrap();
        let diary = Arc::new(Diary::default());
        let stores = Stores {
            relational: all.relational,
            documents: all.documents,
            cache: all.cache,
            events: all.events,
            events_kept: EventsKept::Forever,
            objects: all.objects,
            others: vec![Arc::clone(&diary) as Arc<dyn KeepsOfPeople>],
            of_tenants: Vec::new(),
        };
        Self { service: UsersService::new(stores.clone()), stores, row_faults, diary, folder }
    }

    /// Waits for a job to end.
    pub async fn ended(&self, id: &str) -> JobView {
        for _ in 0..1_000 {
            let job = self.service.job(&call(), id).await.unwrap();
            if !matches!(job.status, JobStatus::Queued | JobStatus::Running) {
                return job;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the job {id} does not end");
    }
}

pub fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

pub fn call() -> Call {
    Call { tenant: "acme".into(), caller: "test".into(), request_id: "r".into(), deadline: None, is_bulk: false }
}
