//! The start of a job: what is already there, and whether it may be gone on with.

use std::io;

use super::error::JobError;
use super::manifest::{Found, Identity, Manifest};
use super::output::{MANIFEST, Output};
use super::storage::Storage;

/// The manifest to go on from: the one that is there, if it is of this very job, else one without parts. Afterwards the
/// folder holds the parts of that manifest and no other.
pub(super) fn open(storage: &dyn Storage, output: &Output, job: Identity, restart: bool) -> Result<Manifest, JobError> {
    let failed = |source| JobError::Write { path: output.folder(), source };
    let files = storage.list(&output.name).map_err(failed)?;
    let manifest = match Manifest::read(storage, output).map_err(failed)? {
        Found::Manifest(manifest) if !restart => {
            check(output, &manifest, &job, &files)?;
            *manifest
        }
        Found::Damaged(why) if !restart => return Err(damaged(output, format!("{MANIFEST} cannot be read: {why}"))),
        found => {
            let stray = files.iter().find(|(name, _)| name.starts_with("part-"));
            if let (Found::Nothing, Some((file, _)), false) = (found, stray, restart) {
                return Err(JobError::NotOurs { folder: output.folder(), file: file.clone() });
            }
            // Before the parts are removed: a process that ends in between leaves parts that no manifest tells of, and
            // the next start removes them.
            let manifest = Manifest::new(job);
            manifest.write(storage, output).map_err(failed)?;
            manifest
        }
    };
    remove_others(storage, output, &manifest, &files).map_err(failed)?;
    storage.sync_folder("").map_err(failed)?;
    Ok(manifest)
}

fn check(output: &Output, manifest: &Manifest, job: &Identity, files: &[(String, u64)]) -> Result<(), JobError> {
    let differences = manifest.job.differences(job);
    if !differences.is_empty() {
        return Err(JobError::AnotherJob { folder: output.folder(), differences, parts: manifest.parts.len() });
    }
    for part in &manifest.parts {
        match files.iter().find(|(name, _)| *name == part.file) {
            None => return Err(damaged(output, format!("{} is not there", part.file))),
            Some((_, bytes)) if *bytes != part.bytes => {
                let detail = format!("{} has {bytes} bytes where {} were written", part.file, part.bytes);
                return Err(damaged(output, detail));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Removes parts that a process left unfinished or did not come to enter, and those of the job before a restart.
fn remove_others(
    storage: &dyn Storage,
    output: &Output,
    manifest: &Manifest,
    files: &[(String, u64)],
) -> io::Result<()> {
    let is_entered = |name: &str| manifest.parts.iter().any(|part| part.file == name);
    let others = files.iter().filter(|(name, _)| Output::is_part(name) && !is_entered(name));
    others.map(|(name, _)| name).try_for_each(|name| storage.remove(&output.inside(name)))
}

fn damaged(output: &Output, detail: String) -> JobError {
    JobError::Damaged { folder: output.folder(), detail }
}
