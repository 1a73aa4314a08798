//! A model on disk: a folder below `DATA/models` with a manifest of its files, put there in one rename or not at all.
//!
//! Sizes and hashes of all files are checked when the model is pulled again, by `attune models list`, by `attune doctor`
//! and at every start of the server. Reading 90 MB to hash it costs a start a fraction of a second.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use attune_batch::folder;
use serde::{Deserialize, Serialize};

pub use attune_batch::folder::{Damage, FileEntry, MANIFEST};

use super::check_name;

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

/// The folder that holds the models of one data folder.
pub fn models_folder(data: &Path) -> PathBuf {
    data.join("models")
}

/// Reads the manifest of an installed model.
///
/// # Errors
/// The folder or its manifest is missing or damaged.
pub fn manifest(folder: &Path) -> Result<Manifest, Damage> {
    folder::manifest(folder)
}

/// Reads every file of an installed model and compares it with the manifest.
///
/// # Errors
/// The first file that is missing, unreadable or different.
pub fn verify(folder: &Path) -> Result<Manifest, Damage> {
    let manifest = manifest(folder)?;
    folder::verify(folder, &manifest.files)?;
    Ok(manifest)
}

/// A model being put together, invisible until [`commit`](Self::commit).
pub struct Staging(folder::Staging);

impl Staging {
    /// Waits for other pulls into `DATA/models` to end, clears what killed ones left, and makes an empty folder.
    ///
    /// # Errors
    /// The data folder cannot be written.
    pub fn begin(data: &Path) -> Result<Self> {
        let staging = folder::Staging::begin(&models_folder(data));
        Ok(Self(staging.with_context(|| format!("the data folder {} cannot be written", data.display()))?))
    }

    /// A place for downloads, on the same disk, gone with the staging folder.
    pub fn scratch(&self) -> &Path {
        self.0.scratch()
    }

    /// Adds one file. `path` is relative, with forward slashes, and already checked.
    ///
    /// # Errors
    /// The contents cannot be read or written, or the path was added before.
    pub fn add(&mut self, path: &str, content: &mut dyn Read) -> Result<()> {
        Ok(self.0.add(path, content)?)
    }

    /// How many files were added.
    pub fn files(&self) -> usize {
        self.0.files()
    }

    /// Makes the model visible as `DATA/models/NAME`, in place of an older one.
    ///
    /// # Errors
    /// The name is not one, nothing was added, or the folder cannot be moved into place.
    pub fn commit(self, manifest: Manifest) -> Result<Manifest> {
        check_name(&manifest.name)?;
        ensure!(self.files() > 0, "nothing to install: no file of the archive belongs to a model");
        let name = manifest.name.clone();
        Ok(self.0.seal(|files| Manifest { files, ..manifest })?.commit(&name)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_model_is_installed_under_its_name_and_verified() {
        let data = tempfile::tempdir().unwrap();
        let describe = |name: &str| Manifest {
            name: name.into(),
            source: "file:x".into(),
            archive_sha256: None,
            licence: None,
            files: Vec::new(),
        };
        let mut staging = Staging::begin(data.path()).unwrap();
        staging.add("sub/weights", &mut &b"one"[..]).unwrap();
        staging.commit(describe("tiny")).unwrap();
        let folder = models_folder(data.path()).join("tiny");
        assert_eq!(verify(&folder).unwrap().files[0].path, "sub/weights");
        fs::write(folder.join("sub/weights"), "two").unwrap();
        assert!(matches!(verify(&folder), Err(Damage::Changed { .. })));
        assert!(Staging::begin(data.path()).unwrap().commit(describe("empty")).is_err());
        let mut staging = Staging::begin(data.path()).unwrap();
        staging.add("weights", &mut &b"one"[..]).unwrap();
        assert!(staging.commit(describe("../tiny")).is_err());
    }
}
