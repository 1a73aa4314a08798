//! The side file: one line for each rejected row, of all parts, in the order of the input.
//!
//! It is appended to and not replaced, since it may be as long as the input. The manifest holds its length after each
//! part; what lies beyond was written for a part that was not finished, and is cut off.

use std::io::{self, Write};

use super::output::Output;
use super::storage::{Storage, StoredFile};
use crate::read::Rejected;

/// The side file of an output. It is there from the first rejected row on.
pub(super) struct SideFile<'a> {
    storage: &'a dyn Storage,
    name: String,
    file: Option<Box<dyn StoredFile>>,
    bytes: u64,
    has_unsynced: bool,
}

impl<'a> SideFile<'a> {
    /// The side file with its first `bytes` bytes.
    pub(super) fn open(storage: &'a dyn Storage, output: &Output, bytes: u64) -> io::Result<Self> {
        let name = output.rejected();
        let file = match bytes {
            0 => storage.remove(&name).map(|()| None)?,
            _ => Some(storage.append(&name, bytes)?),
        };
        Ok(Self { storage, name, file, bytes, has_unsynced: false })
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn write(&mut self, rejected: &[Rejected]) -> io::Result<()> {
        if rejected.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for row in rejected {
            serde_json::to_writer(&mut lines, row)?;
            lines.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.storage.append(&self.name, 0)?),
        };
        file.write_all(&lines)?;
        self.bytes += lines.len() as u64;
        self.has_unsynced = true;
        Ok(())
    }

    /// Returns when all of it is on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let (Some(file), true) = (&mut self.file, self.has_unsynced) {
            file.sync()?;
            self.storage.sync_folder("")?;
            self.has_unsynced = false;
        }
        Ok(())
    }
}
