//! The seam between the protocol of a job and the disk, so that a test can end the process between any two steps of it.
//!
//! Names are paths with `/` below one root. What is written is there after a crash of the process; after a loss of
//! power only what was synced is: the bytes of a file by [`StoredFile::sync`], its name by [`Storage::sync_folder`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is being written.
pub trait StoredFile: Write + Send {
    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// It may not be: nothing may be built on it.
    fn sync(&mut self) -> io::Result<()>;
}

/// Where a job keeps its output.
pub trait Storage {
    /// The bytes of a small file; `None` where it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// The files of a folder and their sizes, in any order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// Opens a file for writing from its beginning; what it held is gone.
    ///
    /// # Errors
    /// It cannot be written to.
    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file for writing behind its first `keep_bytes`; the rest of it is gone.
    ///
    /// # Errors
    /// It cannot be written to; [`ErrorKind::InvalidData`] where it has not that many.
    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn StoredFile>>;

    /// Gives a file another name, at once and in the place of what had that name.
    ///
    /// # Errors
    /// It keeps the old one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when the names in a folder are on the disk; the root's is `""`.
    ///
    /// # Errors
    /// They may not be.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The storage below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl StoredFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Storage for Folder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(fs::read(self.path(name)))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_file() {
                found.push((entry.file_name().to_string_lossy().into_owned(), about.len()));
            }
        }
        Ok(found)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(File::create(self.path(name))?))
    }

    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn StoredFile>> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        let bytes = file.metadata()?.len();
        if bytes < keep_bytes {
            let detail = format!("it has {bytes} bytes where {keep_bytes} were written");
            return Err(io::Error::new(ErrorKind::InvalidData, detail));
        }
        file.set_len(keep_bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        absent_is_none(fs::remove_file(self.path(name))).map(|_| ())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.path(folder))
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Only Unix can sync a folder, and has to; elsewhere a rename is on the disk when it returns.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
