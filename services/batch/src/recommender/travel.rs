//! Versions that go from one machine to another: file by file, under the name that is the hash of their content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RecommenderError;
use super::store::{self, Files, Manifest};
use crate::folder::{FolderError, MANIFEST, Staging};

/// The files of a version, by name, the manifest last: who has that has all of them.
///
/// # Errors
/// The folder is damaged or foreign.
pub fn files(folder: &Path) -> Result<Vec<String>, RecommenderError> {
    let entries = Files::open(folder)?.entries;
    Ok(entries.into_iter().map(|entry| entry.path).chain([MANIFEST.to_owned()]).collect())
}

/// A version on its way here. Dropped before its end, it leaves nothing.
pub struct Arriving {
    staging: Staging,
    parent: PathBuf,
}

impl Arriving {
    /// Makes room for a version of `name` in a data folder. Others who write there are waited for.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(data: &Path, name: &str) -> Result<Self, RecommenderError> {
        let parent = store::recommenders(data).join(name);
        Ok(Self { staging: Staging::begin(&parent)?, parent })
    }

    /// Where files may lie until they are taken.
    pub fn scratch(&self) -> &Path {
        self.staging.scratch()
    }

    /// Takes a file of the scratch folder as `name`. The manifest is not among them: it is made again of the others.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn take(&mut self, name: &str, file: &Path) -> Result<(), RecommenderError> {
        Ok(self.staging.add_written(name, |path| fs::rename(file, path))?)
    }

    /// Puts the version in its place, and gives its folder. One that is there and whole stays as it is.
    ///
    /// # Errors
    /// [`RecommenderError::Contents`] where what came is not what is called so.
    pub fn commit(self, version: &str) -> Result<PathBuf, RecommenderError> {
        let folder = self.parent.join(version);
        let sealed = self.staging.seal(Manifest::new)?;
        if store::version_of(sealed.sha256()) != version {
            let detail = format!("what came is version {}", store::version_of(sealed.sha256()));
            return Err(RecommenderError::Contents { folder, detail });
        }
        if store::whole(&folder).is_err() {
            sealed.commit(version)?;
        }
        Ok(folder)
    }
}

/// Removes the versions of a name but the `newest` last written ones and those that are to be kept; how many.
///
/// # Errors
/// The folder cannot be read or written.
pub fn prune(data: &Path, name: &str, kept: &[&str], newest: usize) -> Result<usize, RecommenderError> {
    let parent = store::recommenders(data).join(name);
    let remove = || {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&parent)?.flatten() {
            let version = entry.file_name().to_string_lossy().into_owned();
            if entry.path().join(MANIFEST).is_file() && !kept.contains(&version.as_str()) {
                versions.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        versions.sort();
        let old = versions.len().saturating_sub(newest);
        versions[..old].iter().try_for_each(|(_, folder)| fs::remove_dir_all(folder))?;
        Ok(old)
    };
    remove().map_err(|source: io::Error| FolderError { path: parent.clone(), source }.into())
}

/// Removes a name with all of its versions; one that is not there is gone already.
///
/// # Errors
/// The folder cannot be removed.
pub fn forget(data: &Path, name: &str) -> Result<(), RecommenderError> {
    let path = store::recommenders(data).join(name);
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FolderError { path, source }.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{small, stored};
    use super::*;
    use crate::recommender::{Kind, Place, Recommender};

    #[test]
    fn a_version_arrives_as_it_was_or_not_at_all() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = stored(&small(Kind::Ease)).write(Place::Named(there.path(), "tiny")).unwrap();
        let version = folder.file_name().unwrap().to_str().unwrap();
        let names = files(&folder).unwrap();
        assert_eq!(names.last().map(String::as_str), Some(MANIFEST));
        let send = |change: &str| {
            let mut arriving = Arriving::begin(here.path(), "tiny").unwrap();
            for name in names.iter().filter(|name| *name != MANIFEST) {
                let file = arriving.scratch().join("piece");
                let mut bytes = fs::read(folder.join(name)).unwrap();
                if name == change {
                    bytes[0] ^= 1;
                }
                fs::write(&file, bytes).unwrap();
                arriving.take(name, &file).unwrap();
            }
            arriving.commit(version)
        };
        let refused = send("model.safetensors").unwrap_err().to_string();
        assert!(refused.contains("what came is version"), "{refused}");
        assert!(!here.path().join("recommenders/tiny").join(version).exists());
        let arrived = send("none").unwrap();
        assert_eq!(Recommender::load(&arrived).unwrap().version, version);
        assert_eq!(send("none").unwrap(), arrived, "a second time it is there already");
    }

    #[test]
    fn old_versions_go_and_those_that_are_kept_stay() {
        let data = tempfile::tempdir().unwrap();
        let versions: Vec<String> = (0..4)
            .map(|number| {
                let mut one = stored(&small(Kind::Popular));
                one.data.events = number;
                let folder = one.write(Place::Named(data.path(), "tiny")).unwrap();
                // Their age decides, and a fast machine writes two within a tick of its clock.
                std::thread::sleep(std::time::Duration::from_millis(20));
                folder.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(prune(data.path(), "tiny", &[&versions[0]], 2).unwrap(), 1);
        let is_there = |version: &String| data.path().join("recommenders/tiny").join(version).is_dir();
        assert_eq!(versions.iter().map(is_there).collect::<Vec<_>>(), [true, false, true, true]);
        stored(&small(Kind::Popular)).write(Place::Named(data.path(), "other")).unwrap();
        forget(data.path(), "tiny").unwrap();
        forget(data.path(), "tiny").unwrap();
        assert!(!data.path().join("recommenders/tiny").exists() && data.path().join("recommenders/other").is_dir());
    }
}
