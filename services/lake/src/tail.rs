//! One tenant's rows that are not in the lake yet, and how they come into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{RecordBatch, TimestampMillisecondArray, UInt64Array};
use arrow::error::ArrowError;
use attune_api::moment::now_ms;
use attune_store::events::{Event as Logged, Offsets};
use attune_store::objects::{Condition, Objects, PAGE_MAX};
use attune_store::{ErrorKind, Tenant};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::codec::{self, LakeError, encode, without};
use crate::manifest::{DataFile, Dataset, FORMAT, MANIFEST_KEY, Manifest};
use crate::pending::{Pending, Said};
use crate::remember::remember;
use crate::rows;
use crate::store::{load_file, replace, versioned};
use crate::window::Windows;
use crate::writer::LakeSettings;

/// A file that no manifest names is deleted when it is so old: a writer may be about to commit a younger one.
const ORPHAN_MS: i64 = 3_600 * 1_000;
const WRITTEN: &str = "attune_lake_rows_total";

/// A tenant's lake and what waits for it.
pub(crate) struct Tail {
    objects: Arc<dyn Objects>,
    tenant: Tenant,
    settings: LakeSettings,
    manifest: Manifest,
    version: Option<String>,
    windows: Windows,
    pending: Pending,
}

impl Tail {
    /// Reads the manifest, and what is needed to know a copy of an event again.
    pub async fn open(objects: Arc<dyn Objects>, tenant: Tenant, settings: LakeSettings) -> Result<Self, LakeError> {
        let (manifest, version) = versioned(&*objects, &tenant).await?;
        let windows = remember(&*objects, &tenant, &manifest, None).await?;
        let pending = Pending::default();
        let tail = Self { objects, tenant, settings, manifest, version, windows, pending };
        tail.sweep().await?;
        Ok(tail)
    }

    /// An empty lake that replaces the one that is there with its first commit, and the files of that one, which are to be
    /// removed afterwards. A manifest that is damaged names none: its files go by age, as what nobody names.
    pub async fn anew(
        objects: Arc<dyn Objects>,
        tenant: Tenant,
        settings: LakeSettings,
    ) -> Result<(Self, Vec<DataFile>), LakeError> {
        let (old, version) = match versioned(&*objects, &tenant).await {
            Err(LakeError::Store(error)) if error.kind == ErrorKind::Corrupt => {
                objects.delete(&tenant, MANIFEST_KEY).await?;
                (Manifest::default(), None)
            }
            read => read?,
        };
        let manifest = Manifest { format: FORMAT, ..Manifest::default() };
        let (windows, pending) = Default::default();
        Ok((Self { objects, tenant, settings, manifest, version, windows, pending }, old.files))
    }

    /// The offset from which a partition is to be read on.
    pub fn next(&self, partition: u32) -> u64 {
        self.manifest.next.get(&partition).copied().unwrap_or(0)
    }

    /// How far into the log the lake goes.
    pub fn reached(&self) -> &Offsets {
        &self.manifest.next
    }

    /// Takes the next record of the log.
    pub fn take(&mut self, logged: Logged) {
        self.pending.since.get_or_insert_with(Instant::now);
        self.pending.next.insert(logged.position.partition, logged.position.offset + 1);
        if let Some(said) = Said::read(logged) {
            let forgotten = &self.manifest.forgotten;
            self.pending.take(said, &mut self.windows, |subject| forgotten.contains(subject));
        }
    }

    /// Whether anything was read since the last commit.
    pub fn has_any(&self) -> bool {
        self.pending.since.is_some()
    }

    /// Whether what waits has waited long enough, or is enough.
    pub fn is_due(&self) -> bool {
        let is_old = self.pending.since.is_some_and(|since| since.elapsed() >= self.settings.flush_every);
        is_old || self.pending.rows >= self.settings.flush_rows
    }

    /// Writes what waits as files and commits them together with how far the log is read. False: another writer was
    /// quicker, and all of it is to be read again.
    pub async fn flush(&mut self) -> Result<bool, LakeError> {
        let pending = std::mem::take(&mut self.pending);
        let mut manifest = self.manifest.clone();
        for ((day, partition), rows) in pending.events {
            let file = self.put(Dataset::Events, day, partition, move || rows::events(&rows)).await?;
            manifest.files.extend(file);
        }
        for ((day, partition), rows) in pending.exposures {
            let file = self.put(Dataset::Exposures, day, partition, move || rows::exposures(&rows)).await?;
            manifest.files.extend(file);
        }
        manifest.next.extend(pending.next);
        manifest.duplicates += pending.duplicates;
        let replaced = self.forget(&mut manifest, &pending.forgotten).await?;
        manifest.forgotten.extend(pending.forgotten.into_keys());
        metrics::counter!(WRITTEN).increment(pending.rows as u64);
        self.commit(manifest, replaced).await
    }

    /// Takes people out of the files of their partitions. The files that are replaced.
    async fn forget(
        &self,
        manifest: &mut Manifest,
        forgotten: &BTreeMap<String, u32>,
    ) -> Result<Vec<DataFile>, LakeError> {
        let partitions: BTreeSet<u32> = forgotten.values().copied().collect();
        let mut replaced = Vec::new();
        let (mut files, touched): (Vec<_>, Vec<_>) =
            std::mem::take(&mut manifest.files).into_iter().partition(|file| !partitions.contains(&file.partition));
        for file in touched {
            let rows = self.load(&file).await?;
            match without(&rows, |subject| forgotten.contains_key(subject))? {
                None => files.push(file),
                Some(rest) => {
                    files.extend(self.put(file.dataset, file.day, file.partition, || Ok(rest)).await?);
                    replaced.push(file);
                }
            }
        }
        manifest.files = files;
        Ok(replaced)
    }

    /// Makes one file of small neighbours, as often as there are any. False: as [`Tail::flush`].
    pub async fn compact(&mut self) -> Result<bool, LakeError> {
        while let Some(run) = self.manifest.to_compact(self.settings.compact_files, self.settings.compact_rows) {
            let mut files = Vec::with_capacity(run.len());
            for file in &run {
                files.push(load_file(&*self.objects, &self.tenant, file).await?);
            }
            let file = DataFile::of_run(&run);
            let dataset = file.dataset;
            let bytes = spawn_blocking(move || codec::join(files, dataset)).await??;
            let file = self.keep(file, bytes).await?;
            let mut manifest = self.manifest.clone();
            manifest.files.retain(|one| !run.contains(one));
            manifest.files.push(file);
            if !self.commit(manifest, run).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replaces the manifest, then deletes what it does not name any more. Readers of the old one load it again.
    async fn commit(&mut self, manifest: Manifest, replaced: Vec<DataFile>) -> Result<bool, LakeError> {
        let Some(version) = replace(&*self.objects, &self.tenant, &manifest, self.version.clone()).await? else {
            return Ok(false);
        };
        (self.manifest, self.version) = (manifest, Some(version));
        for file in replaced {
            self.objects.delete(&self.tenant, &file.key).await?;
        }
        Ok(true)
    }

    /// A file of the rows that are made where it may take its time; none where there are none.
    async fn put(
        &self,
        dataset: Dataset,
        day: i64,
        partition: u32,
        make: impl FnOnce() -> Result<RecordBatch, LakeError> + Send + 'static,
    ) -> Result<Option<DataFile>, LakeError> {
        let made = move || {
            let batch = make()?;
            let ((first, last), (time_min_ms, time_max_ms)) = (offsets(&batch)?, times(&batch)?);
            let (key, rows) = (String::new(), batch.num_rows() as u64);
            let file = DataFile { key, dataset, day, partition, first, last, rows, bytes: 0, time_min_ms, time_max_ms };
            Ok::<_, LakeError>((file, encode(&batch)?))
        };
        let (file, bytes) = spawn_blocking(made).await??;
        if file.rows == 0 { Ok(None) } else { self.keep(file, bytes).await.map(Some) }
    }

    /// Keeps the bytes of a file that has no key yet.
    async fn keep(&self, file: DataFile, bytes: Bytes) -> Result<DataFile, LakeError> {
        let DataFile { dataset, day, partition, first, last, .. } = file;
        // A name of its own each time: what a commit that failed left is never taken for another's.
        let key = DataFile::key(dataset, day, partition, (first, last), rand::random());
        let about = self.objects.put(&self.tenant, &key, bytes, Condition::None).await?;
        Ok(DataFile { key, bytes: about.bytes, ..file })
    }

    async fn load(&self, file: &DataFile) -> Result<RecordBatch, LakeError> {
        let bytes = load_file(&*self.objects, &self.tenant, file).await?;
        spawn_blocking(move || codec::read(bytes)).await?
    }

    /// Deletes files that a commit which failed left behind.
    async fn sweep(&self) -> Result<(), LakeError> {
        let known: BTreeSet<&str> = self.manifest.files.iter().map(|file| file.key.as_str()).collect();
        let oldest_ms = now_ms() - ORPHAN_MS;
        let mut after = None;
        loop {
            let page = self.objects.list(&self.tenant, "lake/", after.as_deref(), PAGE_MAX).await?;
            for one in page.objects {
                let is_named = known.contains(one.key.as_str()) || one.key == MANIFEST_KEY;
                if !is_named && one.modified_ms < oldest_ms {
                    self.objects.delete(&self.tenant, &one.key).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// The first and the last offset of rows.
fn offsets(rows: &RecordBatch) -> Result<(u64, u64), LakeError> {
    let column = rows.column_by_name("offset").and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
    let column = column.ok_or_else(|| ArrowError::SchemaError("there is no offset".to_owned()))?;
    let values = || column.values().iter().copied();
    Ok((values().min().unwrap_or(0), values().max().unwrap_or(0)))
}

/// The first and the last moment of rows, in Unix milliseconds.
fn times(rows: &RecordBatch) -> Result<(i64, i64), LakeError> {
    let column = rows.column_by_name("time").and_then(|one| one.as_any().downcast_ref::<TimestampMillisecondArray>());
    let column = column.ok_or_else(|| ArrowError::SchemaError("there is no time".to_owned()))?;
    let values = || column.values().iter().copied();
    Ok((values().min().unwrap_or(0), values().max().unwrap_or(0)))
}
