//! Events and lists of the lake and the log's tail, as the tally takes them.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use attune_doctor::{EventRow, KnownItems, Lists, Tally, Weighed, Weigher};
use attune_lake::{Dataset, LakeError, Manifest, Reading, fold, numbers, texts};
use attune_recommendation::fold::Rules;
use attune_recommendation::{SIMILAR, TRENDING};
use attune_store::Tenant;
use attune_store::events::EventLog;
use attune_store::objects::Objects;

use super::Opened;
use crate::config::Config;

/// The newest events that are looked at, and positions of lists: what bounds memory.
const ROWS_MAX: u64 = 2_000_000;
const EVENTS: [&str; 8] = ["subject", "type", "item_id", "value", "time", "received", "request_id", "surface"];
const LISTS: [&str; 4] = ["subject", "request_id", "time", "pipeline"];

/// The lists that were served.
pub async fn lists(log: Option<&dyn EventLog>, objects: &dyn Objects, tenant: &Tenant) -> Result<Lists> {
    let reading = Reading { log, objects, tenant, dataset: Dataset::Exposures, columns: &LISTS, rows_max: ROWS_MAX };
    let (lists, _) = read(reading, |_| Lists::default(), take_lists).await?;
    Ok(lists)
}

/// What people did, with these items, on these lists.
pub async fn events(
    config: &Config,
    stores: &Opened,
    tenant: &Tenant,
    known: Arc<KnownItems>,
    lists: Arc<Lists>,
) -> Result<(Tally, Manifest)> {
    let log = stores.log.as_deref();
    let objects = &*stores.objects;
    let reading = Reading { log, objects, tenant, dataset: Dataset::Events, columns: &EVENTS, rows_max: ROWS_MAX };
    let start = |_| Tally::new(Arc::clone(&known), Arc::clone(&lists), weigher(config));
    read(reading, start, take_events).await
}

/// Where the lake is too far behind the log, its files alone are read: that it is behind is a finding of its own.
async fn read<S: Send + 'static>(
    reading: Reading<'_>,
    start: impl Fn(u64) -> S,
    step: fn(&mut S, &RecordBatch) -> Result<(), LakeError>,
) -> Result<(S, Manifest)> {
    match fold(reading, &start, step).await {
        Err(LakeError::Behind { .. }) => Ok(fold(Reading { log: None, ..reading }, &start, step).await?),
        read => Ok(read?),
    }
}

/// What events are worth for lists, when they happen.
fn weigher(config: &Config) -> Weigher {
    let rules = Rules::new(&config.recommendation, config.worth.clone());
    let (worth, surfaces) = (config.worth.clone(), config.recommendation.surfaces.clone());
    Box::new(move |row| {
        let time = row.time_ms.div_euclid(1_000);
        let of_surface = row.surface.and_then(|surface| surfaces.get(surface));
        Weighed {
            weight: rules.weigh(row.kind, row.surface, row.value.map(|value| value as f32), time, time),
            is_named: of_surface.unwrap_or(&worth).kinds.contains_key(row.kind),
        }
    })
}

fn take_events(tally: &mut Tally, rows: &RecordBatch) -> Result<(), LakeError> {
    let [subjects, kinds, items, lists, surfaces] =
        ["subject", "type", "item_id", "request_id", "surface"].map(|name| texts(rows, name));
    let (subjects, kinds, items, lists, surfaces) = (subjects?, kinds?, items?, lists?, surfaces?);
    let values = numbers::<Float64Type>(rows, "value")?;
    let [times, received] = ["time", "received"].map(|name| numbers::<TimestampMillisecondType>(rows, name));
    let (times, received) = (times?, received?);
    for row in 0..rows.num_rows() {
        tally.take(&EventRow {
            subject: subjects.value(row),
            kind: kinds.value(row),
            item_id: text(items, row),
            value: values.is_valid(row).then(|| values.value(row)),
            time_ms: times.value(row),
            received_ms: received.value(row),
            request_id: text(lists, row),
            surface: text(surfaces, row),
        });
    }
    Ok(())
}

fn take_lists(lists: &mut Lists, rows: &RecordBatch) -> Result<(), LakeError> {
    let [subjects, ids, pipelines] = ["subject", "request_id", "pipeline"].map(|name| texts(rows, name));
    let (subjects, ids, pipelines) = (subjects?, ids?, pipelines?);
    let times = numbers::<TimestampMillisecondType>(rows, "time")?;
    for row in 0..rows.num_rows() {
        let is_for_somebody = ![SIMILAR, TRENDING].contains(&pipelines.value(row));
        lists.take(ids.value(row), is_for_somebody.then(|| subjects.value(row)), times.value(row));
    }
    Ok(())
}

fn text(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}
