//! The newest rows of a lake, one batch after another, into whatever a caller makes of them.

use arrow::array::RecordBatch;
use attune_store::events::EventLog;
use attune_store::objects::Objects;
use attune_store::{ErrorKind, Tenant};
use tokio::task::spawn_blocking;

use crate::codec::{LakeError, read_columns, without};
use crate::manifest::{Dataset, Manifest};
use crate::snapshot::Snapshot;
use crate::store::load_file;

/// How often a lake is begun anew because its writer has replaced a file meanwhile.
const ROUNDS_MAX: usize = 10;

/// Whose rows are read, and from where.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// What is not in the lake yet is read from there; the files alone are, without it.
    pub log: Option<&'a dyn EventLog>,
    /// The files.
    pub objects: &'a dyn Objects,
    /// Whose.
    pub tenant: &'a Tenant,
    /// Of what.
    pub dataset: Dataset,
    /// These columns, `subject` among them.
    pub columns: &'static [&'static str],
    /// The newest so many rows of the files.
    pub rows_max: u64,
}

/// Takes the newest rows in the order of the log, a file at a time, into what `start` makes of how many the files have; and
/// the manifest of that moment. `step` runs where it may take its time. When a file turns out to be replaced, all is begun anew.
///
/// # Errors
/// A store does not answer, or what `step` refuses; [`LakeError::Restless`] where files are replaced faster than they are
/// read.
pub async fn fold<S, E>(
    reading: Reading<'_>,
    start: impl Fn(u64) -> S,
    step: fn(&mut S, &RecordBatch) -> Result<(), E>,
) -> Result<(S, Manifest), E>
where
    S: Send + 'static,
    E: From<LakeError> + Send + 'static,
{
    let Reading { log, objects, tenant, dataset, columns, rows_max } = reading;
    'lake: for _ in 0..ROUNDS_MAX {
        let snapshot = match log {
            Some(log) => Snapshot::take(log, objects, tenant).await,
            None => Snapshot::of_files(objects, tenant).await,
        };
        let snapshot = match snapshot {
            Err(error) if is_replaced(&error) => continue,
            snapshot => snapshot?,
        };
        let mut state = start(snapshot.manifest.rows(dataset).min(rows_max));
        for (file, skipped) in snapshot.manifest.newest(dataset, rows_max) {
            let bytes = match load_file(objects, tenant, &file).await {
                // It was joined with others, or somebody was taken out of it.
                Err(error) if is_replaced(&error) => continue 'lake,
                loaded => loaded?,
            };
            let forgotten = snapshot.forgotten.clone();
            let fold = move || {
                let mut left = skipped as usize;
                for batch in read_columns(bytes, dataset, columns).map_err(E::from)? {
                    let batch = batch.map_err(E::from)?;
                    let skipped = left.min(batch.num_rows());
                    left -= skipped;
                    let rows = batch.slice(skipped, batch.num_rows() - skipped);
                    let known = without(&rows, |subject| forgotten.contains(subject)).map_err(E::from)?;
                    step(&mut state, &known.unwrap_or(rows))?;
                }
                Ok::<_, E>(state)
            };
            state = spawn_blocking(fold).await.map_err(LakeError::from)??;
        }
        step(&mut state, &selected(snapshot.tail(dataset), columns)?)?;
        return Ok((state, snapshot.manifest));
    }
    Err(LakeError::Restless.into())
}

/// Those columns, in their order in files.
fn selected(rows: &RecordBatch, columns: &[&str]) -> Result<RecordBatch, LakeError> {
    let schema = rows.schema();
    let is_asked = |place: &usize| columns.contains(&schema.field(*place).name().as_str());
    let places: Vec<usize> = (0..schema.fields().len()).filter(is_asked).collect();
    Ok(rows.project(&places)?)
}

fn is_replaced(error: &LakeError) -> bool {
    matches!(error, LakeError::Store(error) if error.kind == ErrorKind::NotFound)
}
