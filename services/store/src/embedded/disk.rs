//! The seam between the embedded stores and the disk, so that a test can count what is synced, make a step fail, and
//! cut the power between any two of them.
//!
//! Names are paths with `/` below one root. What is written is there after a crash of the process; after a loss of
//! power only what was synced is: the bytes of a file by [`WriteFile::sync`], its name by [`Disk::sync_folder`] of the
//! folder it is in. A folder is a name as well.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who may read what is stored.
const OWNER_ONLY: u32 = 0o600;

/// A file that is being written.
pub trait WriteFile: Write + Send {
    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// It may not be. The file is not to be trusted from here on: the system forgets what it could not write.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is being read.
pub trait ReadFile: Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// It cannot be known.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads from a place on, and returns how many bytes there were: fewer than asked for only at the end.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without the folder.
    pub name: String,
    /// Of a file.
    pub bytes: u64,
    /// Or a file.
    pub is_folder: bool,
}

/// Where the embedded stores keep what they keep.
pub trait Disk: Send + Sync {
    /// The bytes of a small file; `None` where it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Opens a file for reading; `None` where it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn ReadFile>>>;

    /// What is in a folder, in any order; nothing where it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn list(&self, folder: &str) -> io::Result<Vec<Entry>>;

    /// A new file of that name, in the place of the old one.
    ///
    /// # Errors
    /// There is none.
    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file for writing behind its first `keep_bytes`; the rest of it is gone.
    ///
    /// # Errors
    /// It cannot be written to; [`ErrorKind::InvalidData`] where it has not that many.
    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn WriteFile>>;

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

    /// Makes a folder, if it is not there; the one it is in exists.
    ///
    /// # Errors
    /// It is not there.
    fn make_folder(&self, name: &str) -> io::Result<()>;

    /// Returns when the names in a folder are on the disk; the root's is `""`.
    ///
    /// # Errors
    /// They may not be.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Locks a file against all others, in this process or another, until what is returned is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] where somebody has it and `waits` is false.
    fn lock(&self, name: &str, waits: bool) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// Replaces a small file as a whole, and returns when that would survive a loss of power.
///
/// # Errors
/// The old bytes are there, or the new ones.
pub fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let target = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    let temporary = format!("{target}.tmp");
    let mut file = disk.create(&temporary)?;
    file.write_all(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, &target)?;
    disk.sync_folder(folder)
}

/// Makes a folder and those above it, and returns when they would survive a loss of power.
///
/// # Errors
/// They may not be there.
pub fn make_folders(disk: &dyn Disk, folder: &str) -> io::Result<()> {
    let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
    let mut above = "";
    for end in ends {
        disk.make_folder(&folder[..end])?;
        disk.sync_folder(above)?;
        above = &folder[..end];
    }
    Ok(())
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The disk below `root`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl WriteFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl ReadFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match FileExt::read_at(self, &mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

impl Disk for Folder {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        absent_is_none(fs::read(self.path(name)))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn ReadFile>>> {
        Ok(absent_is_none(File::open(self.path(name)))?.map(|file| Box::new(file) as Box<dyn ReadFile>))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in absent_is_none(fs::read_dir(self.path(folder)))?.into_iter().flatten() {
            let entry = entry?;
            // A name that is no text is none of ours; a file may go while the folder is read.
            let (Ok(name), Some(about)) = (entry.file_name().into_string(), absent_is_none(entry.metadata())?) else {
                continue;
            };
            found.push(Entry { name, bytes: about.len(), is_folder: about.is_dir() });
        }
        Ok(found)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        // Not the old file cut to nothing: one whose sync failed must not be trusted with anything new.
        self.remove(name)?;
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(self.path(name))?))
    }

    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn WriteFile>> {
        let mut file = OpenOptions::new().write(true).open(self.path(name))?;
        let bytes = file.metadata()?.len();
        if bytes < keep_bytes {
            let detail = format!("it has {bytes} bytes where {keep_bytes} were written");
            return Err(io::Error::new(ErrorKind::InvalidData, detail));
        }
        if bytes > keep_bytes {
            file.set_len(keep_bytes)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        absent_is_none(fs::remove_file(self.path(name))).map(|_| ())
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        match fs::create_dir(self.path(name)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn lock(&self, name: &str, waits: bool) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        if waits {
            file.lock()?;
        } else {
            file.try_lock()?;
        }
        Ok(Box::new(file))
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
