//! A model on disk: a folder below `DATA/models` with a manifest of its files, put there in one rename or not at all.
//!
//! The manifest makes damage visible: sizes and hashes of all files are checked when the model is pulled again, by
//! `attune models list`, by `attune doctor` and at every start of the server. Reading 90 MB to hash it costs a start a
//! fraction of a second; a flipped bit in a weight would otherwise be served for months.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{check_name, digest};

/// The manifest's file name inside a model's folder.
pub const MANIFEST: &str = "attune-manifest.json";
const STAGING_PREFIX: &str = ".pull-";

/// What was installed, from where, and what each file must be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The source as it was typed, or the catalogue's.
    pub source: String,
    /// SHA-256 of the archive; absent for a folder and for what is part of the program.
    pub archive_sha256: Option<String>,
    /// The licence, where known.
    pub licence: Option<String>,
    /// Every file, sorted by path.
    pub files: Vec<FileEntry>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the model's folder, with forward slashes.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
}

/// Why an installed model cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// There is no such folder.
    #[error("{0} is not there")]
    Absent(PathBuf),
    /// The folder was not put there by `attune models pull`.
    #[error("{0} has no {MANIFEST}: it was not installed by `attune models pull`, so its files cannot be verified")]
    NoManifest(PathBuf),
    /// The manifest does not parse.
    #[error("{path} is damaged: {why}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file is missing or cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A file is not the one that was installed.
    #[error("{path} is damaged: {found} where {expected} was installed")]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
}

/// The folder that holds the models of one data folder.
pub fn models_folder(data: &Path) -> PathBuf {
    data.join("models")
}

/// Reads the manifest of an installed model.
///
/// # Errors
/// The folder or its manifest is missing or damaged.
pub fn manifest(folder: &Path) -> Result<Manifest, Damage> {
    if !folder.is_dir() {
        return Err(Damage::Absent(folder.to_owned()));
    }
    let path = folder.join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Damage::NoManifest(folder.to_owned()));
        }
        Err(why) => return Err(Damage::Unreadable { path, why }),
    };
    serde_json::from_slice(&bytes).map_err(|error| Damage::Manifest { path, why: error.to_string() })
}

/// Reads every file of an installed model and compares it with the manifest.
///
/// # Errors
/// The first file that is missing, unreadable or different.
pub fn verify(folder: &Path) -> Result<Manifest, Damage> {
    let manifest = manifest(folder)?;
    for file in &manifest.files {
        let path = folder.join(&file.path);
        let size = fs::metadata(&path).map_err(|why| Damage::Unreadable { path: path.clone(), why })?.len();
        if size != file.bytes {
            let (found, expected) = (format!("{size} bytes"), format!("{} bytes", file.bytes));
            return Err(Damage::Changed { path, found, expected });
        }
        let (_, sha256) = digest::of_file(&path).map_err(|why| Damage::Unreadable { path: path.clone(), why })?;
        if sha256 != file.sha256 {
            let (found, expected) = (format!("sha256 {sha256}"), format!("sha256 {}", file.sha256));
            return Err(Damage::Changed { path, found, expected });
        }
    }
    Ok(manifest)
}

/// A model being put together, invisible until [`commit`](Self::commit).
///
/// Holds the lock of the models folder, so two pulls never work on one; dropped without a commit, it leaves nothing.
pub struct Staging {
    models: PathBuf,
    folder: TempDir,
    files: Vec<FileEntry>,
    _lock: File,
}

impl Staging {
    /// Waits for other pulls into `DATA/models` to end, clears what killed ones left, and makes an empty folder.
    ///
    /// # Errors
    /// The data folder cannot be written.
    pub fn begin(data: &Path) -> Result<Self> {
        let models = models_folder(data);
        let unwritable = || format!("the data folder {} cannot be written", data.display());
        fs::create_dir_all(&models).with_context(unwritable)?;
        let lock = File::create(models.join(".lock")).with_context(unwritable)?;
        lock.lock().context("cannot lock the models folder")?;
        for stale in fs::read_dir(&models)?.flatten() {
            if stale.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                let _ = fs::remove_dir_all(stale.path());
            }
        }
        let folder = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(&models).with_context(unwritable)?;
        fs::create_dir(folder.path().join("model"))?;
        Ok(Self { models, folder, files: Vec::new(), _lock: lock })
    }

    /// A place for downloads, on the same disk, gone with the staging folder.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Adds one file. `path` is relative, with forward slashes, and already checked.
    ///
    /// # Errors
    /// The contents cannot be read or written, or the path was added before.
    pub fn add(&mut self, path: &str, content: &mut dyn Read) -> Result<()> {
        let target = self.folder.path().join("model").join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create_new(&target).with_context(|| format!("cannot write {}", target.display()))?;
        let mut sink = digest::Hashing::new(file);
        io::copy(content, &mut sink).with_context(|| format!("cannot unpack {path}"))?;
        let (file, bytes, sha256) = sink.finish();
        file.sync_all()?;
        self.files.push(FileEntry { path: path.to_owned(), bytes, sha256 });
        Ok(())
    }

    /// How many files were added.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Makes the model visible as `DATA/models/NAME`, in place of an older one.
    ///
    /// # Errors
    /// The name is not one, nothing was added, or the folder cannot be moved into place.
    pub fn commit(mut self, mut manifest: Manifest) -> Result<Manifest> {
        check_name(&manifest.name)?;
        ensure!(!self.files.is_empty(), "nothing to install: no file of the archive belongs to a model");
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.files = self.files;
        let staged = self.folder.path().join("model");
        let file = File::create(staged.join(MANIFEST))?;
        serde_json::to_writer_pretty(&file, &manifest)?;
        file.sync_all()?;
        let target = self.models.join(&manifest.name);
        if fs::symlink_metadata(&target).is_ok() {
            // A folder cannot be replaced by rename: the old one steps aside into the staging folder and goes with it.
            fs::rename(&target, self.folder.path().join("old"))?;
        }
        fs::rename(&staged, &target).with_context(|| format!("cannot put the model at {}", target.display()))?;
        sync_folder(&self.models)?;
        Ok(manifest)
    }
}

fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all().with_context(|| format!("cannot sync {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(data: &Path, content: &str) -> PathBuf {
        let mut staging = Staging::begin(data).unwrap();
        staging.add("sub/weights", &mut content.as_bytes()).unwrap();
        let manifest = Manifest {
            name: "tiny".into(),
            source: "file:x".into(),
            archive_sha256: None,
            licence: None,
            files: Vec::new(),
        };
        staging.commit(manifest).unwrap();
        models_folder(data).join("tiny")
    }

    fn entries(data: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(models_folder(data))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_install_replaces_the_first_and_leaves_nothing_behind() {
        let data = tempfile::tempdir().unwrap();
        install(data.path(), "one");
        let folder = install(data.path(), "two");
        assert_eq!(fs::read_to_string(folder.join("sub/weights")).unwrap(), "two");
        assert_eq!(verify(&folder).unwrap().files.len(), 1);
        assert_eq!(entries(data.path()), [".lock", "tiny"]);
    }

    #[test]
    fn an_abandoned_install_is_invisible() {
        let data = tempfile::tempdir().unwrap();
        let mut staging = Staging::begin(data.path()).unwrap();
        staging.add("weights", &mut &b"half"[..]).unwrap();
        drop(staging);
        assert_eq!(entries(data.path()), [".lock"]);
    }

    #[test]
    fn what_a_killed_install_left_is_cleared_by_the_next() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(models_folder(data.path()).join(".pull-dead")).unwrap();
        install(data.path(), "one");
        assert_eq!(entries(data.path()), [".lock", "tiny"]);
    }

    #[test]
    fn every_kind_of_damage_is_told_apart() {
        let data = tempfile::tempdir().unwrap();
        let folder = install(data.path(), "12345");
        let file = folder.join("sub/weights");
        fs::write(&file, "12346").unwrap();
        assert!(matches!(verify(&folder), Err(Damage::Changed { .. })));
        fs::write(&file, "1234").unwrap();
        assert!(verify(&folder).unwrap_err().to_string().contains("4 bytes where 5 bytes"));
        fs::remove_file(&file).unwrap();
        assert!(matches!(verify(&folder), Err(Damage::Unreadable { .. })));
        fs::write(folder.join(MANIFEST), "{").unwrap();
        assert!(matches!(verify(&folder), Err(Damage::Manifest { .. })));
        fs::remove_file(folder.join(MANIFEST)).unwrap();
        assert!(matches!(verify(&folder), Err(Damage::NoManifest(_))));
        assert!(matches!(verify(&data.path().join("nothing")), Err(Damage::Absent(_))));
    }
}
