//! Which file the input is, and whether it still is the same.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::JobError;
use crate::read::ReadError;
use crate::write::digest;

/// The input as it was when the job started.
pub(super) struct Input {
    path: PathBuf,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    modified: Option<SystemTime>,
}

impl Input {
    /// Reads the whole file once.
    pub(super) fn new(path: &Path) -> Result<Self, JobError> {
        let read = || {
            let file = File::open(path)?;
            let modified = file.metadata()?.modified().ok();
            let (bytes, sha256) = digest(file)?;
            Ok((bytes, sha256, modified))
        };
        let unreadable = |source: io::Error| ReadError::File { path: path.to_owned(), source };
        let (bytes, sha256, modified) = read().map_err(unreadable)?;
        Ok(Self { path: path.to_owned(), bytes, sha256, modified })
    }

    /// Looks at length and time: what an editor or a copy changes, at no cost. The next start reads every byte again.
    pub(super) fn check_unchanged(&self) -> Result<(), JobError> {
        let is_same =
            self.path.metadata().is_ok_and(|now| now.len() == self.bytes && now.modified().ok() == self.modified);
        if is_same { Ok(()) } else { Err(JobError::InputChanged { path: self.path.clone() }) }
    }
}
