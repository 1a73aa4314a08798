//! `attune models list`, `info` and `remove`: what is installed, and is it whole?

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::catalogue::CATALOGUE;
use super::install::{self, Damage};
use super::{check_name, count_files, folder};
use crate::term::{self, human_bytes};

/// Prints what is installed and whether it is whole, then what else the catalogue has.
///
/// # Errors
/// The models folder cannot be read, or one of the models is damaged.
pub fn list(data: &Path) -> Result<()> {
    let (names, mut damaged) = (installed(data)?, Vec::new());
    for name in &names {
        match install::verify(&folder(data, name)) {
            Ok(manifest) => say!("{name:<24} {:<28} {}", count_files(&manifest.files), manifest.source),
            // Trained here, or put there by hand.
            Err(Damage::NoManifest(_)) => say!("{name:<24} not pulled: nothing to verify it by"),
            Err(damage) => {
                say!("{name:<24} {damage}");
                damaged.push(name.as_str());
            }
        }
    }
    for entry in CATALOGUE.iter().filter(|entry| !names.iter().any(|name| name == entry.name)) {
        say!("{:<24} not installed: {}", entry.name, entry.about);
    }
    ensure!(damaged.is_empty(), "damaged: {}; remove and pull again what is to be used", damaged.join(", "));
    Ok(())
}

/// The names of the folders in `DATA/models`, sorted.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn installed(data: &Path) -> Result<Vec<String>> {
    let models = install::models_folder(data);
    let entries = match fs::read_dir(&models) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", models.display())),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Prints where a model comes from and verifies each of its files.
///
/// # Errors
/// There is no such model, or it is damaged.
pub fn info(data: &Path, name: &str) -> Result<()> {
    check_name(name)?;
    let path = folder(data, name);
    let manifest = install::manifest(&path).map_err(|damage| explain_absent(data, name, damage))?;
    say!("name      {}", manifest.name);
    say!("folder    {}", path.display());
    say!("source    {}", manifest.source);
    say!("licence   {}", manifest.licence.as_deref().unwrap_or("see its files"));
    if let Some(sha256) = &manifest.archive_sha256 {
        say!("archive   sha256 {sha256}");
    }
    for file in &manifest.files {
        say!("{:>10}  {}  {}", human_bytes(file.bytes), file.sha256, file.path);
    }
    install::verify(&path)?;
    say!("verified  {}", count_files(&manifest.files));
    Ok(())
}

/// Deletes an installed model.
///
/// # Errors
/// There is no such model, or it cannot be deleted.
pub fn remove(data: &Path, name: &str) -> Result<()> {
    check_name(name)?;
    let path = folder(data, name);
    if !path.is_dir() {
        return Err(explain_absent(data, name, Damage::Absent(path)));
    }
    fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    term::good(&format!("removed {}", path.display()));
    Ok(())
}

fn explain_absent(data: &Path, name: &str, damage: Damage) -> anyhow::Error {
    let names = installed(data).unwrap_or_default();
    let there = if names.is_empty() { "nothing is installed".to_owned() } else { names.join(", ") };
    anyhow::Error::from(damage).context(format!("no installed model {name:?} (installed: {there})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_model_fails_the_list() {
        let data = tempfile::tempdir().unwrap();
        list(data.path()).unwrap();
        fs::create_dir_all(folder(data.path(), "trained")).unwrap();
        list(data.path()).unwrap();
        let half = folder(data.path(), "half");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join(install::MANIFEST), "{").unwrap();
        let told = list(data.path()).unwrap_err().to_string();
        assert!(told.starts_with("damaged: half; remove and pull again"), "{told}");
    }
}
