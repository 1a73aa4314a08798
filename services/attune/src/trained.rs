//! Trained recommenders as sources of lists: which version is in service stands in the relational store. Its folder is in
//! the data folder, or comes there from the objects. And the other way round: how lists are made, for who trains.

use std::path::PathBuf;
use std::sync::Arc;

use attune_api::catalogue::{ITEMS_MAX, SharedCatalogue};
use attune_api::{ApiError, Call};
use attune_batch::names::Names;
use attune_batch::recommender::{self, Model, Recommender, resolve};
use attune_ranking::data::{History, Scorer, Worth};
use attune_ranking::index::Metric;
use attune_ranking::score::RankBand;
use attune_recommendation::{
    Change, Layout, REHEARSED_MAX, RecommendationConfig, Rehearsal, Trained, TrainedModels, rehearse,
};
use attune_store::Tenant;
use attune_store::objects::Objects;
use attune_store::relational::Relational;
use attune_trainer::{MODEL, MakesLists, Tried, fetch, name_of};
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
        let Recommender { model, items, blend, .. } = Recommender::load(&folder).map_err(|error| error.to_string())?;
        Ok(Some(Change::Served(Arc::new(Served { label: live.label, model, items, blend }))))
    }

    fn forget(&self, tenant: &str) -> Result<(), String> {
        let tenant: Tenant = tenant.parse().map_err(|error: attune_store::TenantError| error.to_string())?;
        recommender::forget(&self.data, &name_of(&tenant)).map_err(|error| error.to_string())
    }
}

/// A recommender, asked by histories alone: what users did since it was trained counts.
struct Served {
    label: String,
    model: Model,
    items: Names,
    blend: Vec<RankBand>,
}

impl Trained for Served {
    fn version(&self) -> &str {
        &self.label
    }

    fn items(&self) -> usize {
        self.items.len()
    }

    fn item(&self, row: u32) -> &str {
        self.items.name(row)
    }

    fn vectors(&self) -> Option<(usize, &[f32], Metric)> {
        self.model.factors().map(|factors| (factors.width, factors.items, factors.metric))
    }

    fn fold_in(&self, history: History<'_>) -> Option<Vec<f32>> {
        self.model.fold_in(history)
    }

    fn score(&self, history: History<'_>, scores: &mut [f32]) {
        self.model.score(None, history, scores);
    }

    fn blend(&self) -> &[RankBand] {
        &self.blend
    }
}

/// A recommender that is only tried.
pub fn tried(model: Model, items: Names) -> Arc<dyn Trained> {
    Arc::new(Served { label: "tried".to_owned(), model, items, blend: Vec::new() })
}

/// Lists as this process makes them, rehearsed for the trainer.
pub struct Rehearsals {
    catalogue: SharedCatalogue,
    /// Has the catalogue laid out, where lists are made in this process.
    lists: Option<Arc<attune_recommendation::Recommender>>,
    recommendation: RecommendationConfig,
    worth: Worth,
    runtime: Handle,
}

impl Rehearsals {
    /// To be asked from threads that may wait.
    pub fn new(
        catalogue: SharedCatalogue,
        lists: Option<Arc<attune_recommendation::Recommender>>,
        recommendation: RecommendationConfig,
        worth: Worth,
    ) -> Self {
        Self { catalogue, lists, recommendation, worth, runtime: Handle::current() }
    }

    /// The catalogue as it is now.
    fn layout(&self, tenant: &Tenant) -> Result<Layout, String> {
        if let Some(layout) = self.lists.as_ref().and_then(|lists| lists.layout(tenant)) {
            return Ok(layout);
        }
        let call = Call {
            tenant: tenant.as_str().into(),
            caller: "trainer".into(),
            request_id: "trainer".into(),
            deadline: None,
            is_bulk: true,
        };
        let told = |error: ApiError| format!("the catalogue: {error}");
        let kinds = self.runtime.block_on(self.catalogue.schema(&call)).map_err(told)?;
        // Where the next page begins, as long as there is one.
        let mut next: Option<Option<String>> = Some(None);
        let pages = std::iter::from_fn(|| {
            let from = next.take()?;
            let page = self.runtime.block_on(self.catalogue.scan(&call, from.as_deref(), ITEMS_MAX)).map_err(told);
            Some(page.map(|page| {
                next = page.next.map(Some);
                page.entries
            }))
        });
        Layout::of(kinds, pages, &self.recommendation)
    }
}

impl MakesLists for Rehearsals {
    fn blend(&self, tried: Tried<'_>, is_wanted: &dyn Fn() -> bool) -> Result<Vec<RankBand>, String> {
        let Tried { tenant, history, task, model } = tried;
        // What is known of all the others is not needed any more, and much.
        let task = task.thinned(REHEARSED_MAX);
        let rehearsal = Rehearsal {
            config: &self.recommendation,
            worth: self.worth.clone(),
            layout: self.layout(tenant)?,
            log: &history.log,
            user: &|row| history.users.name(row),
            item: &|row| history.items.name(row),
            task: &task,
            model: self::tried(model, history.items.clone()),
        };
        rehearse(&rehearsal, is_wanted)
    }
}
