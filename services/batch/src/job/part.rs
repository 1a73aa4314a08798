//! The protocol of a job: how rows become a part, and when a part counts.

use std::io;

use super::error::JobError;
use super::input::Input;
use super::manifest::{Manifest, Part};
use super::output::Output;
use super::side::SideFile;
use super::storage::{Storage, StoredFile};
use super::{JobOptions, Progress};
use crate::read::{Batch, BatchLimits, Reader, Rejected, Row};
use crate::task::Task;
use crate::write::{Hashing, PartWriter};

/// Most rows of a batch. A task has no more texts in flight than these: enough for the engines of many processors.
pub const BATCH_ROWS: u64 = 8_192;
/// Most memory of a batch, less its last row.
pub const BATCH_BYTES: usize = 16 << 20;

/// A job while it goes on.
pub(super) struct Work<'a, R> {
    pub(super) storage: &'a dyn Storage,
    pub(super) task: &'a mut dyn Task<Row = R>,
    pub(super) options: &'a JobOptions,
    pub(super) input: Input,
    pub(super) manifest: Manifest,
    pub(super) reader: Reader<R>,
    pub(super) side: SideFile<'a>,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    /// What was told last.
    pub(super) told: Progress,
}

impl<R: Row> Work<'_, R> {
    /// Writes parts until there are no more rows.
    pub(super) fn complete(mut self) -> Result<Manifest, JobError> {
        self.tell();
        while let Some(first) = self.next_batch(0)? {
            self.part(first)?;
        }
        self.input.check_unchanged()?;
        self.manifest.is_finished = true;
        self.manifest.write(self.storage, self.output()).map_err(|error| self.failed(error))?;
        Ok(self.manifest)
    }

    /// Writes the part that begins with this batch. It counts once the manifest names it, and the manifest does so when
    /// everything it says is on the disk.
    fn part(&mut self, first: Batch<R>) -> Result<(), JobError> {
        let name = self.output().part(self.manifest.parts.len());
        let unfinished = self.output().inside(&Output::unfinished(&name));
        let part = self.rows_of_part(&name, &unfinished, first).inspect_err(|_| {
            // Makes room on a full disk; where it does not work, the next start does it.
            let _ = self.storage.remove(&unfinished);
        })?;
        self.input.check_unchanged()?;
        self.enter(part, &unfinished).map_err(|error| self.failed(error))
    }

    fn enter(&mut self, part: Part, unfinished: &str) -> io::Result<()> {
        self.side.sync()?;
        self.storage.rename(unfinished, &self.output().inside(&part.file))?;
        self.storage.sync_folder(&self.output().name)?;
        self.manifest.parts.push(part);
        self.manifest.rejected_bytes = self.side.bytes();
        self.manifest.write(self.storage, self.output())
    }

    fn rows_of_part(&mut self, name: &str, unfinished: &str, first: Batch<R>) -> Result<Part, JobError> {
        let file = self.storage.create(unfinished).map_err(|error| self.failed(error))?;
        let mut file = Hashing::new(file);
        let writer = PartWriter::new(self.output().format, &mut file, &self.task.columns());
        let mut writer = writer.map_err(|error| self.failed(error))?;
        let (mut rows_read, mut rows, mut rejected) = (0, 0, 0);
        let mut next = Some(first);
        while let Some(batch) = next {
            rows_read += batch.rows_read();
            let (written, left_out) = self.batch(batch, &mut writer)?;
            rows += written;
            rejected += left_out;
            self.tell();
            next = self.next_batch(rows_read)?;
        }
        writer.finish().map_err(|error| self.failed(error))?;
        let (mut file, bytes, sha256) = file.finish();
        file.sync().map_err(|error| self.failed(error))?;
        let row_last = self.reader.rows_read();
        Ok(Part { file: name.to_owned(), row_first: row_last + 1 - rows_read, row_last, rows, rejected, bytes, sha256 })
    }

    /// Writes a batch, and gives the number of its rows that were written and that were left out.
    fn batch(
        &mut self,
        batch: Batch<R>,
        writer: &mut PartWriter<&mut Hashing<Box<dyn StoredFile>>>,
    ) -> Result<(u64, u64), JobError> {
        let mut rejected = batch.rejected.clone();
        let mut rows = 0;
        if !batch.rows.is_empty() {
            let (before, after) = (self.told, self.now());
            let Self { task, progress, .. } = self;
            let share = |answered: usize| answered as f64 / batch.rows.len() as f64;
            let made = task.run(&batch, &mut |answered| progress(before.towards(after, share(answered))));
            let made = made.map_err(|source| JobError::Task {
                path: self.options.input.clone(),
                row_first: batch.rows[0].number,
                row_last: batch.rows[batch.rows.len() - 1].number,
                source,
            })?;
            assert_eq!(made.answered + made.rejected.len(), batch.rows.len(), "a task answers every row");
            rows = made.rows.num_rows() as u64;
            writer.write(&made.rows).map_err(|error| self.failed(error))?;
            rejected.extend(made.rejected);
            rejected.sort_by_key(|row: &Rejected| row.row);
        }
        self.side.write(&rejected).map_err(|error| self.failed(error))?;
        Ok((rows, rejected.len() as u64))
    }

    /// The next rows of a part that has `rows_read` already; `None` when it is whole, or there are no more.
    fn next_batch(&mut self, rows_read: u64) -> Result<Option<Batch<R>>, JobError> {
        let rows_max =
            self.task.batch_rows().clamp(1, BATCH_ROWS).min(self.options.part_rows.saturating_sub(rows_read));
        if rows_max == 0 {
            return Ok(None);
        }
        Ok(self.reader.next_batch(BatchLimits { rows_max, bytes_max: BATCH_BYTES })?)
    }

    fn tell(&mut self) {
        self.told = self.now();
        (self.progress)(self.told);
    }

    fn now(&self) -> Progress {
        Progress {
            rows: self.reader.rows_read(),
            rows_total: self.reader.rows_total(),
            bytes: self.reader.file_bytes(),
            bytes_total: self.input.bytes,
        }
    }

    fn output(&self) -> &Output {
        &self.options.output
    }

    fn failed(&self, source: io::Error) -> JobError {
        JobError::Write { path: self.output().folder(), source }
    }
}
