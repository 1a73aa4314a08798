//! One process to an output.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::error::JobError;
use super::output::LOCK;

/// Held as long as a process writes to an output. The system gives it up when the process ends, however it ends; the
/// file stays, since removing it would let two processes lock two files of that name.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, JobError> {
        let path = folder.join(LOCK);
        let failed = |source| JobError::Write { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(JobError::Busy { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).unwrap_err();
        assert!(matches!(refused, JobError::Busy { .. }), "{refused}");
        drop(first);
        Lock::take(folder.path()).unwrap();
    }
}
