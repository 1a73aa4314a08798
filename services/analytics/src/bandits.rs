//! Shares people out among the arms of bandits: each gets the chance that it is the best, by how many of the people who
//! were shown its lists clicked on one since the experiment is as it is.
//!
//! Whoever counts writes the chances down, and every replica that makes lists reads them with the other definitions. The
//! alternative, that each replica counts for itself, would have every one of them share people out in a way of its own.
//! Between two rounds chances stand still, so that what is logged as an arm's propensity is what it was drawn with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use attune_api::analytics::{Analytics, RANGE_DAYS_DEFAULT, Report};
use attune_api::experiments::{Allocation, BanditSpec, ExperimentSpec};
use attune_api::moment::now_ms;
use attune_api::progress::{self, Sign};
use attune_api::rest::Timestamp;
use attune_api::rest::analytics::{Question, Table};
use attune_api::{ApiError, Call};
use attune_ranking::experiment::{BanditError, Beta, Rate, best_chances, with_floor};
use attune_store::relational::{DefinitionKind, Relational, Write, all_tenants};
use attune_store::{ErrorKind, Expect, Tenant};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::defined::{Defined, defined};

/// How often it says that there is nothing to do.
const SIGN_EVERY: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What it stands on.
struct Shared {
    relational: Arc<dyn Relational>,
    analytics: Arc<dyn Analytics>,
    /// A tenant that has no row of its own, if there is one.
    first: Option<Tenant>,
    every: Duration,
    sign: Sign,
}

/// Shares out until it is stopped. Dropped without a stop, it ends as in a crash.
#[derive(Debug)]
pub struct Bandits {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Bandits {
    /// Starts; a round begins `every` so often.
    pub fn start(
        relational: Arc<dyn Relational>,
        analytics: Arc<dyn Analytics>,
        first: Option<Tenant>,
        every: Duration,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let shared = Shared { relational, analytics, first, every, sign: progress::enter(progress::BANDITS) };
        Self { stop, task: tokio::spawn(work(shared, stopping)) }
    }

    /// Ends at once: the chances that are in force stay.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "whoever shares people out among bandits ended");
        }
    }
}

impl Drop for Bandits {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work(shared: Shared, mut stopping: watch::Receiver<bool>) {
    let rounds = async {
        loop {
            let next = Instant::now() + shared.every;
            let is_done = round(&shared).await;
            // Until the next one there is nothing to be behind with.
            loop {
                if is_done {
                    shared.sign.caught_up();
                }
                if Instant::now() >= next {
                    break;
                }
                sleep_until(next.min(Instant::now() + SIGN_EVERY)).await;
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    shared.sign.leave();
}

/// Whether all tenants had their turn.
async fn round(shared: &Shared) -> bool {
    let tenants = match all_tenants(&*shared.relational, shared.first.clone()).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::warn!(%error, "the tenants cannot be listed: bandits stay as they are");
            return false;
        }
    };
    let mut is_done = true;
    for tenant in tenants {
        if let Err(error) = share_out(shared, &tenant).await {
            is_done = false;
            tracing::warn!(%tenant, %error, "people are not shared out anew among bandits");
        }
    }
    is_done
}

async fn share_out(shared: &Shared, tenant: &Tenant) -> Result<(), ApiError> {
    let (experiments, orphans) = defined(&*shared.relational, tenant).await?;
    let kind = DefinitionKind::Allocation;
    let mut writes: Vec<Write> =
        orphans.into_iter().map(|name| Write::DeleteDefinition { kind, name, expect: Expect::Any }).collect();
    for (name, experiment) in &experiments {
        let Some(bandit) = experiment.spec.bandit.filter(|_| experiment.is_enabled) else { continue };
        let counted = counted(shared, tenant, name, experiment).await?;
        let allocated = allocation(&experiment.spec, bandit, &counted);
        let allocated = allocated.map_err(|error| ApiError::new(attune_api::ErrorCode::Invalid, error.to_string()))?;
        let Some(allocated) = allocated else { continue };
        let before = experiment.allocation.as_ref();
        if before.is_none_or(|(before, _)| *before != allocated) {
            let spec = serde_json::to_value(&allocated).expect("plain data");
            let expect = before.map(|(_, version)| *version).into();
            writes.push(Write::PutDefinition { kind, name: name.clone(), spec, is_enabled: true, expect });
        }
    }
    if writes.is_empty() {
        return Ok(());
    }
    match shared.relational.commit(tenant, writes).await {
        // Another replica was faster; it counted the same.
        Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

/// How many of the people of each arm clicked, by its name.
async fn counted(
    shared: &Shared,
    tenant: &Tenant,
    name: &str,
    experiment: &Defined,
) -> Result<BTreeMap<String, Rate>, ApiError> {
    let call = Call {
        tenant: tenant.as_str().into(),
        caller: progress::BANDITS.into(),
        request_id: progress::BANDITS.into(),
        deadline: None,
        is_bulk: true,
    };
    let from_ms = experiment.since_ms.max(now_ms() - RANGE_DAYS_DEFAULT * DAY_MS);
    let filter = Some(format!("experiment == {name:?}"));
    let question = Question { from: Some(Timestamp(from_ms)), filter, ..Question::default() };
    let table = shared.analytics.report(&call, Report::Experiments, question).await?;
    Ok(rates(&table))
}

fn rates(table: &Table) -> BTreeMap<String, Rate> {
    let of_row = |row: &Vec<Value>| {
        let at = |name: &str| row.get(table.column(name)?);
        let rate = Rate::new(at("converted")?.as_u64()?, at("users")?.as_u64()?).ok()?;
        Some((at("arm")?.as_str()?.to_owned(), rate))
    };
    table.rows.iter().filter_map(of_row).collect()
}

/// The chance of each arm to be the best. Nothing before anybody was shown a list: shares stay what they began with.
fn allocation(
    spec: &ExperimentSpec,
    bandit: BanditSpec,
    counted: &BTreeMap<String, Rate>,
) -> Result<Option<Allocation>, BanditError> {
    if counted.is_empty() {
        return Ok(None);
    }
    let nothing = Rate::new(0, 0).expect("none of none");
    let known: Vec<Beta> =
        spec.arms.iter().map(|arm| Beta::after(counted.get(&arm.name).copied().unwrap_or(nothing))).collect();
    let chances = with_floor(&best_chances(&known), bandit.floor)?;
    let chances = spec.arms.iter().map(|arm| arm.name.clone()).zip(chances).collect();
    Ok(Some(Allocation { chances }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> ExperimentSpec {
        let arm = |name: &str| json!({"name": name, "share": 0.5, "pipeline": name});
        serde_json::from_value(json!({"arms": [arm("a"), arm("b")], "bandit": {"floor": 0.1}})).unwrap()
    }

    fn chances(counted: &[(&str, u64, u64)]) -> Option<Vec<f64>> {
        let counted =
            counted.iter().map(|(arm, clicked, users)| ((*arm).to_owned(), Rate::new(*clicked, *users).unwrap()));
        let spec = spec();
        let allocation = allocation(&spec, spec.bandit.unwrap(), &counted.collect()).unwrap();
        allocation.map(|allocation| allocation.chances.into_values().collect())
    }

    #[test]
    fn the_better_arm_gets_more_and_none_less_than_the_floor() {
        assert_eq!(chances(&[]), None, "shares are what they began with");
        let alike = chances(&[("a", 10, 100), ("b", 10, 100)]).unwrap();
        assert!(alike.iter().all(|chance| (chance - 0.5).abs() < 1e-9), "{alike:?}");
        let better = chances(&[("a", 10, 100), ("b", 40, 100)]).unwrap();
        assert!((better[0] - 0.1).abs() < 1e-3 && (better.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{better:?}");
        let unseen = chances(&[("a", 50, 100)]).unwrap();
        assert!(unseen[1] > 0.1, "of an arm that nobody was shown everything is possible: {unseen:?}");
    }

    #[test]
    fn rates_are_read_from_the_report() {
        let columns = ["arm", "users", "converted"].map(|name| json!({"name": name, "type": "string"}));
        let table = json!({"columns": columns, "rows": [["a", 7, 3], ["b", 0, 0]]});
        let rates = rates(&serde_json::from_value(table).unwrap());
        assert_eq!(rates["a"], Rate::new(3, 7).unwrap());
        assert_eq!(rates["b"].trials(), 0);
    }
}
