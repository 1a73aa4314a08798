//! A folder of files that is there whole or not at all, with a manifest that makes damage visible.
//!
//! Files are written into a hidden folder beside the final one, hashed on their way and synced; one rename puts them in
//! place. A process that ends before leaves nothing that anybody takes for the result, and the next one clears it away.
//! The manifest has the size and the SHA-256 of every file: a flipped bit would otherwise be served for months.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::write::{Hashing, digest};

/// The manifest's file name.
pub const MANIFEST: &str = "attune-manifest.json";
const STAGING_PREFIX: &str = ".pull-";
const CONTENT: &str = "content";

/// One file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the folder, with forward slashes.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
}

/// Why a folder cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// There is no such folder.
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    /// The folder was not put there by this program.
    #[error("{} has no {MANIFEST}: it was not written by attune, so its files cannot be verified", .0.display())]
    NoManifest(PathBuf),
    /// The manifest does not parse.
    #[error("{path} is damaged: {why}", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file is missing or cannot be read.
    #[error("{path} cannot be read: {why}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file is not the one that was written.
    #[error("{path} is damaged: {found} where {expected} was written", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// A folder cannot be written; what was there before still is.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}{}", advice(source), path = path.display())]
pub struct FolderError {
    /// What was to be written.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; nothing is left of it: make room and give the same command again"
        }
        _ => "",
    }
}

/// Turns what the system said into an error that names the file.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> FolderError + '_ {
    |source| FolderError { path: path.to_owned(), source }
}

/// Reads the manifest of a folder.
///
/// # Errors
/// The folder or its manifest is missing or damaged.
pub fn manifest<M: DeserializeOwned>(folder: &Path) -> Result<M, Damage> {
    let path = folder.join(MANIFEST);
    serde_json::from_slice(&manifest_bytes(folder)?).map_err(|error| Damage::Manifest { path, why: error.to_string() })
}

/// The bytes of a folder's manifest: their hash stands for all that is in it.
///
/// # Errors
/// As [`manifest`].
pub fn manifest_bytes(folder: &Path) -> Result<Vec<u8>, Damage> {
    if !folder.is_dir() {
        return Err(Damage::Absent(folder.to_owned()));
    }
    let path = folder.join(MANIFEST);
    fs::read(&path).map_err(|why| match why.kind() {
        ErrorKind::NotFound => Damage::NoManifest(folder.to_owned()),
        _ => Damage::Unreadable { path, why },
    })
}

/// Reads every file of a manifest and compares it.
///
/// # Errors
/// The first file that is missing, unreadable or different.
pub fn verify(folder: &Path, files: &[FileEntry]) -> Result<(), Damage> {
    files.iter().try_for_each(|entry| {
        let path = entry.inside(folder)?;
        let unreadable = |why| Damage::Unreadable { path: path.clone(), why };
        entry.check_length(&path, fs::metadata(&path).map_err(unreadable)?.len())?;
        let (_, sha256) = File::open(&path).and_then(digest).map_err(unreadable)?;
        entry.check_hash(path, &sha256)
    })
}

/// The bytes of one file, compared.
///
/// # Errors
/// It is missing, unreadable or different.
pub fn read(folder: &Path, entry: &FileEntry) -> Result<Vec<u8>, Damage> {
    let path = entry.inside(folder)?;
    let bytes = fs::read(&path).map_err(|why| Damage::Unreadable { path: path.clone(), why })?;
    entry.check_length(&path, bytes.len() as u64)?;
    let (_, sha256) = digest(&bytes[..]).expect("memory can be read");
    entry.check_hash(path, &sha256)?;
    Ok(bytes)
}

impl FileEntry {
    /// Where the file is; a manifest names nothing outside its folder.
    fn inside(&self, folder: &Path) -> Result<PathBuf, Damage> {
        if Path::new(&self.path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(folder.join(&self.path));
        }
        let why = format!("it names {:?}, which is not inside", self.path);
        Err(Damage::Manifest { path: folder.join(MANIFEST), why })
    }

    fn check_length(&self, path: &Path, bytes: u64) -> Result<(), Damage> {
        if bytes == self.bytes {
            return Ok(());
        }
        let (found, expected) = (format!("{bytes} bytes"), format!("{} bytes", self.bytes));
        Err(Damage::Changed { path: path.to_owned(), found, expected })
    }

    fn check_hash(&self, path: PathBuf, sha256: &str) -> Result<(), Damage> {
        if sha256 == self.sha256 {
            return Ok(());
        }
        let (found, expected) = (format!("sha256 {sha256}"), format!("sha256 {}", self.sha256));
        Err(Damage::Changed { path, found, expected })
    }
}

/// A folder being put together, invisible until [`commit`](Self::commit).
///
/// Dropped without a commit, it leaves nothing.
pub struct Staging {
    parent: PathBuf,
    folder: TempDir,
    files: Vec<FileEntry>,
    _lock: Option<File>,
}

impl Staging {
    /// In a folder that is this program's own: waits for others who write into `parent` to end, so that two processes
    /// never work on one, and clears what killed ones left.
    ///
    /// # Errors
    /// `parent` cannot be written.
    pub fn begin(parent: &Path) -> Result<Self, FolderError> {
        let lock = || {
            fs::create_dir_all(parent)?;
            let lock = File::create(parent.join(".lock"))?;
            lock.lock()?;
            for stale in fs::read_dir(parent)?.flatten() {
                if stale.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                    let _ = fs::remove_dir_all(stale.path());
                }
            }
            Ok(lock)
        };
        let lock = lock().map_err(failed(parent))?;
        Ok(Self { _lock: Some(lock), ..Self::beside(parent)? })
    }

    /// In a folder of somebody else's: no lock is left there, and nothing is cleared.
    ///
    /// # Errors
    /// `parent` cannot be written.
    pub fn beside(parent: &Path) -> Result<Self, FolderError> {
        let make = || {
            fs::create_dir_all(parent)?;
            let folder = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(parent)?;
            fs::create_dir(folder.path().join(CONTENT))?;
            Ok(Self { parent: parent.to_owned(), folder, files: Vec::new(), _lock: None })
        };
        make().map_err(failed(parent))
    }

    /// A place for other files, on the same disk, gone with the staging folder.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn content(&self) -> PathBuf {
        self.folder.path().join(CONTENT)
    }

    /// Adds one file. `path` is relative, with forward slashes, and already checked.
    ///
    /// # Errors
    /// The contents cannot be read or written, or the path was added before.
    pub fn add(&mut self, path: &str, content: &mut dyn Read) -> Result<(), FolderError> {
        let target = self.content().join(path);
        let mut write = || {
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut sink = Hashing::new(File::create_new(&target)?);
            io::copy(content, &mut sink)?;
            let (file, bytes, sha256) = sink.finish();
            file.sync_all()?;
            Ok(FileEntry { path: path.to_owned(), bytes, sha256 })
        };
        let entry = write().map_err(failed(Path::new(path)))?;
        self.files.push(entry);
        Ok(())
    }

    /// Adds one file that `write` writes by itself, at the path that it is given.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add_written(&mut self, path: &str, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FolderError> {
        let target = self.content().join(path);
        let write = || {
            write(&target)?;
            let file = File::open(&target)?;
            let (bytes, sha256) = digest(&file)?;
            file.sync_all()?;
            Ok(FileEntry { path: path.to_owned(), bytes, sha256 })
        };
        let entry = write().map_err(failed(Path::new(path)))?;
        self.files.push(entry);
        Ok(())
    }

    /// How many files were added.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Writes the manifest that `describe` makes of the files, sorted by path; it is the last file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn seal<M: Serialize>(mut self, describe: impl FnOnce(Vec<FileEntry>) -> M) -> Result<Sealed<M>, FolderError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let manifest = describe(std::mem::take(&mut self.files));
        let mut bytes = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        bytes.push(b'\n');
        self.add(MANIFEST, &mut &bytes[..])?;
        let sha256 = std::mem::take(&mut self.files).remove(0).sha256;
        Ok(Sealed { staging: self, manifest, sha256 })
    }
}

/// A folder that has all its files, and no place yet.
pub struct Sealed<M> {
    staging: Staging,
    manifest: M,
    sha256: String,
}

impl<M> Sealed<M> {
    /// SHA-256 of the manifest: the same for the same files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Puts the folder at `name`, in place of an older one.
    ///
    /// # Errors
    /// It cannot be moved there.
    pub fn commit(self, name: &(impl AsRef<Path> + ?Sized)) -> Result<M, FolderError> {
        let Self { staging, manifest, .. } = self;
        let target = staging.parent.join(name);
        let put = || {
            sync_folder(&staging.content())?;
            if fs::symlink_metadata(&target).is_ok() {
                // A folder cannot be replaced by rename: the old one steps aside into the staging folder and goes with
                // it.
                fs::rename(&target, staging.folder.path().join("old"))?;
            }
            fs::rename(staging.content(), &target)?;
            sync_folder(&staging.parent)
        };
        put().map_err(failed(&target))?;
        Ok(manifest)
    }
}

/// Puts a small file in the place of the one before it: whole, or not at all.
///
/// # Errors
/// It cannot be written; what was there still is.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let put = || {
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        io::Write::write_all(&mut file, bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(parent)
    };
    put().map_err(failed(path))
}

/// Only Unix can sync a folder, and has to; elsewhere a rename is on the disk when it returns.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Files {
        files: Vec<FileEntry>,
    }

    fn write(parent: &Path, name: &str, content: &str) -> String {
        let mut staging = Staging::begin(parent).unwrap();
        staging.add("sub/weights", &mut content.as_bytes()).unwrap();
        staging.add_written("a", |path| fs::write(path, "a")).unwrap();
        let sealed = staging.seal(|files| Files { files }).unwrap();
        let sha256 = sealed.sha256().to_owned();
        sealed.commit(name).unwrap();
        sha256
    }

    fn verified(folder: &Path) -> Result<Vec<FileEntry>, Damage> {
        let files = manifest::<Files>(folder)?.files;
        verify(folder, &files).map(|()| files)
    }

    fn entries(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_one_replaces_the_first_and_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir_all(parent.path().join(".pull-dead")).unwrap();
        let first = write(parent.path(), "tiny", "one");
        assert_ne!(first, write(parent.path(), "tiny", "two"));
        assert_eq!(first, write(parent.path(), "other", "one"));
        assert_eq!(fs::read_to_string(parent.path().join("tiny/sub/weights")).unwrap(), "two");
        assert_eq!(verified(&parent.path().join("tiny")).unwrap().len(), 2);
        assert_eq!(entries(parent.path()), [".lock", "other", "tiny"]);
    }

    #[test]
    fn an_abandoned_one_is_invisible() {
        let parent = tempfile::tempdir().unwrap();
        let mut staging = Staging::begin(parent.path()).unwrap();
        staging.add("weights", &mut &b"half"[..]).unwrap();
        drop(staging);
        assert_eq!(entries(parent.path()), [".lock"]);
    }

    #[test]
    fn a_reader_that_fails_leaves_what_was_there() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
        }
        let parent = tempfile::tempdir().unwrap();
        write(parent.path(), "tiny", "one");
        let mut staging = Staging::begin(parent.path()).unwrap();
        let error = staging.add("sub/weights", &mut Broken).unwrap_err();
        assert!(error.to_string().contains("sub/weights") && error.to_string().contains("make room"), "{error}");
        drop(staging);
        assert_eq!(entries(parent.path()), [".lock", "tiny"]);
        verified(&parent.path().join("tiny")).unwrap();
    }

    #[test]
    fn every_kind_of_damage_is_told_apart() {
        let parent = tempfile::tempdir().unwrap();
        write(parent.path(), "tiny", "12345");
        let folder = parent.path().join("tiny");
        let file = folder.join("sub/weights");
        let entry = verified(&folder).unwrap().pop().unwrap();
        assert_eq!(read(&folder, &entry).unwrap(), b"12345");
        fs::write(&file, "12346").unwrap();
        assert!(matches!(verified(&folder), Err(Damage::Changed { .. })));
        assert!(matches!(read(&folder, &entry), Err(Damage::Changed { .. })));
        fs::write(&file, "1234").unwrap();
        assert!(verified(&folder).unwrap_err().to_string().contains("4 bytes where 5 bytes"));
        fs::remove_file(&file).unwrap();
        assert!(matches!(verified(&folder), Err(Damage::Unreadable { .. })));
        let outside = FileEntry { path: "../other/a".into(), ..entry };
        assert!(matches!(read(&folder, &outside), Err(Damage::Manifest { .. })));
        fs::write(folder.join(MANIFEST), "{").unwrap();
        assert!(matches!(verified(&folder), Err(Damage::Manifest { .. })));
        fs::remove_file(folder.join(MANIFEST)).unwrap();
        assert!(matches!(verified(&folder), Err(Damage::NoManifest(_))));
        assert!(matches!(verified(&parent.path().join("nothing")), Err(Damage::Absent(_))));
    }

    #[test]
    fn a_small_file_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        for text in ["one", "two"] {
            replace_file(&parent.path().join("current"), text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(parent.path().join("current")).unwrap(), "two");
        assert_eq!(entries(parent.path()), ["current"]);
    }
}
