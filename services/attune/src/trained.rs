//! Trained recommenders as sources of lists: which version is in service stands in the relational store. Its folder is in
//! the data folder, or comes there from the objects.

use std::path::PathBuf;
use std::sync::Arc;

use attune_batch::recommender::{self, Recommender, resolve};
use attune_ranking::data::{History, Scorer};
use attune_ranking::index::Metric;
use attune_recommendation::{Change, Trained, TrainedModels};
use attune_store::Tenant;
use attune_store::objects::Objects;
use attune_store::relational::Relational;
use attune_trainer::{MODEL, fetch, name_of};
use tokio::runtime::Handle;

/// The recommenders of a data folder.
pub struct Recommenders {
    relational: Arc<dyn Relational>,
    objects: Arc<dyn Objects>,
    data: PathBuf,
    runtime: Handle,
}

impl Recommenders {
    /// To be asked from threads that may wait.
    pub fn new(relational: Arc<dyn Relational>, objects: Arc<dyn Objects>, data: PathBuf) -> Self {
        Self { relational, objects, data, runtime: Handle::current() }
    }

    /// The folder of a version, fetched where it is not there.
    fn folder(&self, tenant: &Tenant, label: &str) -> Result<PathBuf, String> {
        if let Ok(folder) = resolve(&self.data, label) {
            return Ok(folder);
        }
        let fetched = self.runtime.block_on(fetch(&*self.objects, tenant, &self.data, label));
        fetched.map_err(|error| error.to_string())
    }
}

impl TrainedModels for Recommenders {
    fn changed(&self, tenant: &str, known: Option<&str>) -> Result<Option<Change>, String> {
        let tenant: Tenant = tenant.parse().map_err(|error: attune_store::TenantError| error.to_string())?;
        let live =
            self.runtime.block_on(self.relational.live_model(&tenant, MODEL)).map_err(|error| error.to_string())?;
        let Some(live) = live else { return Ok(known.map(|_| Change::Gone)) };
        if known == Some(live.label.as_str()) {
            return Ok(None);
        }
        let folder = self.folder(&tenant, &live.uri)?;
        let recommender = Recommender::load(&folder).map_err(|error| error.to_string())?;
        Ok(Some(Change::Served(Arc::new(Served { label: live.label, recommender }))))
    }

    fn forget(&self, tenant: &str) -> Result<(), String> {
        let tenant: Tenant = tenant.parse().map_err(|error: attune_store::TenantError| error.to_string())?;
        recommender::forget(&self.data, &name_of(&tenant)).map_err(|error| error.to_string())
    }
}

/// A loaded recommender, asked by histories alone: what users did since it was trained counts.
struct Served {
    label: String,
    recommender: Recommender,
}

impl Trained for Served {
    fn version(&self) -> &str {
        &self.label
    }

    fn items(&self) -> usize {
        self.recommender.items.len()
    }

    fn item(&self, row: u32) -> &str {
        self.recommender.items.name(row)
    }

    fn vectors(&self) -> Option<(usize, &[f32], Metric)> {
        self.recommender.model.factors().map(|factors| (factors.width, factors.items, factors.metric))
    }

    fn fold_in(&self, history: History<'_>) -> Option<Vec<f32>> {
        self.recommender.model.fold_in(history)
    }

    fn score(&self, history: History<'_>, scores: &mut [f32]) {
        self.recommender.model.score(None, history, scores);
    }
}
