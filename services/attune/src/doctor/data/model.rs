//! The trained recommender: what is in service, and what came of the last runs.

use anyhow::Result;
use attune_doctor::{LiveModel, ModelFacts, Run};
use attune_lake::{Dataset, load_manifest};
use attune_store::relational::{Job, Relational};
use attune_store::{PAGE_ROWS_MAX, PageRequest, Tenant};
use attune_trainer::{KIND, MODEL, known_events};

use super::Opened;
use crate::config::Config;

/// Runs that are told of.
const RUNS: usize = 5;
/// Pages of jobs that are read.
const PAGES_MAX: usize = 50;

pub async fn facts(config: &Config, stores: &Opened, tenant: &Tenant) -> Result<ModelFacts> {
    let trainer = &config.trainer;
    let live = stores.rows.live_model(tenant, MODEL).await?.map(|version| LiveModel {
        lake_events: known_events(&version),
        promoted_ms: version.promoted_ms.unwrap_or(version.created_ms),
        label: version.label,
    });
    Ok(ModelFacts {
        is_trained: !trainer.model.is_empty(),
        every_s: trainer.every_s,
        events_min: trainer.events_min,
        lake_events: load_manifest(&*stores.objects, tenant).await?.rows(Dataset::Events),
        live,
        runs: runs(&*stores.rows, tenant).await?,
    })
}

async fn runs(rows: &dyn Relational, tenant: &Tenant) -> Result<Vec<Run>> {
    let (mut ended, mut page): (Vec<(i64, Job)>, _) = (Vec::new(), PageRequest::first(PAGE_ROWS_MAX));
    for _ in 0..PAGES_MAX {
        let found = rows.jobs(tenant, page).await?;
        let of_trainer = found.rows.into_iter().filter(|job| job.kind == KIND);
        ended.extend(of_trainer.filter_map(|job| Some((job.ended_ms?, job))));
        let Some(next) = found.next else { break };
        page = PageRequest { after: Some(next), rows: PAGE_ROWS_MAX };
    }
    ended.sort_by_key(|(ended_ms, _)| std::cmp::Reverse(*ended_ms));
    Ok(ended.into_iter().take(RUNS).map(|(_, job)| run(&job)).collect())
}

fn run(job: &Job) -> Run {
    let text = |name: &str| job.report.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let is_good = !["refused", "failed"].contains(&text("outcome"));
    Run { is_good, detail: format!("{}: {}", text("outcome"), text("detail")) }
}
