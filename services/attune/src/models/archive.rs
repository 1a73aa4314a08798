//! Reads archives that others made: every path is checked, every size bounded, links are never followed.
//!
//! A wheel is a zip, a source package a tar.gz, and one of ours holds a second tar.gz. All of them answer one question:
//! "give me each regular file with its path". Where a file goes is the caller's decision.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use zip::ZipArchive;

/// Most files in an archive.
const FILES_MAX: usize = 10_000;
/// Most bytes that come out of an archive, all files together.
const UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Most bytes of an archive inside an archive: it is read into memory.
const NESTED_BYTES_MAX: u64 = 64 << 20;

/// Called with the checked, relative path of each regular file and its contents.
pub type Visit<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> Result<()>;

/// Visits every regular file of a .whl, .zip, .tar.gz or .tgz.
///
/// # Errors
/// Another kind of file, a damaged archive, a path that leads outside, a link, too many files or bytes, or what `visit`
/// returned.
pub fn visit(path: &Path, visit: Visit<'_>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let visited = match name.as_str() {
        n if n.ends_with(".whl") || n.ends_with(".zip") => visit_zip(file, visit),
        n if n.ends_with(".tar.gz") || n.ends_with(".tgz") => visit_tar_gz(file, visit),
        _ => bail!("{} is not an archive this program reads (.whl, .zip, .tar.gz, .tgz)", path.display()),
    };
    visited.with_context(|| format!("in the archive {}", path.display()))
}

/// Visits every regular file of the .tar.gz called `nested` inside the archive at `path`.
///
/// # Errors
/// As [`visit`], and when there is no such file.
pub fn visit_nested(path: &Path, nested: &str, inner: Visit<'_>) -> Result<()> {
    let mut bytes = None;
    visit(path, &mut |name, content| {
        if name == nested {
            let mut buffer = Vec::new();
            content.take(NESTED_BYTES_MAX + 1).read_to_end(&mut buffer)?;
            ensure!(buffer.len() as u64 <= NESTED_BYTES_MAX, "{name} is larger than {NESTED_BYTES_MAX} bytes");
            bytes = Some(buffer);
        }
        Ok(())
    })?;
    let Some(bytes) = bytes else { bail!("{} holds no file {nested}", path.display()) };
    visit_tar_gz(Cursor::new(bytes), inner).with_context(|| format!("in {nested} of {}", path.display()))
}

fn visit_zip(file: File, visit: Visit<'_>) -> Result<()> {
    let mut archive = ZipArchive::new(file).context("the zip is damaged or cut short")?;
    ensure!(archive.len() <= FILES_MAX, "{} files are more than {FILES_MAX}", archive.len());
    let mut budget = Budget::default();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("the zip is damaged or cut short")?;
        if entry.is_dir() {
            continue;
        }
        let name = entry.name().context("a path is not UTF-8")?.into_owned();
        ensure!(entry.is_file(), "{name:?} is a link: links are not unpacked");
        budget.visit(&name, &mut entry, visit)?;
    }
    Ok(())
}

fn visit_tar_gz(file: impl Read, visit: Visit<'_>) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut budget = Budget::default();
    for entry in archive.entries().context("the tar.gz is damaged or cut short")? {
        let mut entry = entry.context("the tar.gz is damaged or cut short")?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).context("a path is not UTF-8")?;
        ensure!(kind.is_file(), "{name:?} is a link or a special file: only regular files are unpacked");
        budget.visit(&name, &mut entry, visit)?;
    }
    Ok(())
}

/// What an archive has used up of the bounds above.
#[derive(Default)]
struct Budget {
    files: usize,
    bytes: u64,
}

impl Budget {
    fn visit(&mut self, name: &str, content: &mut dyn Read, visit: Visit<'_>) -> Result<()> {
        check_path(name)?;
        self.files += 1;
        ensure!(self.files <= FILES_MAX, "more than {FILES_MAX} files");
        let left = UNPACKED_BYTES_MAX - self.bytes;
        let mut bounded = content.take(left);
        visit(name, &mut bounded).with_context(|| format!("at {name:?}"))?;
        self.bytes += left - bounded.limit();
        ensure!(bounded.limit() > 0, "more than {UNPACKED_BYTES_MAX} bytes come out");
        Ok(())
    }
}

/// Refuses a path that does not stay below the folder it is joined to, on any system.
fn check_path(name: &str) -> Result<()> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    ensure!(
        !name.is_empty() && inside && !name.contains(['\\', '\0', ':']),
        "the path {name:?} leads outside the archive's folder"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        visit(path, &mut |name, content| {
            std::io::copy(content, &mut std::io::sink())?;
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok(names)
    }

    fn zip_of(entries: &[&str], path: &Path) {
        let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
        for entry in entries {
            writer.start_file(*entry, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"content").unwrap();
        }
        writer.finish().unwrap();
    }

    fn tar_gz_of(name: &str, kind: tar::EntryType, path: &Path) {
        let gz = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        // Written byte by byte: the builder itself refuses what an attacker would not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(3);
        header.set_cksum();
        builder.append(&header, &b"abc"[..]).unwrap();
        builder.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn paths_that_lead_outside_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for bad in ["../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\..\\evil"] {
            let zip = folder.path().join("bad.zip");
            zip_of(&[bad], &zip);
            assert!(format!("{:#}", names(&zip).unwrap_err()).contains("leads outside"), "{bad}");
            let tar = folder.path().join("bad.tar.gz");
            tar_gz_of(bad, tar::EntryType::Regular, &tar);
            assert!(format!("{:#}", names(&tar).unwrap_err()).contains("leads outside"), "{bad}");
        }
    }

    #[test]
    fn links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("link.tgz");
        tar_gz_of("link", tar::EntryType::Symlink, &tar);
        assert!(format!("{:#}", names(&tar).unwrap_err()).contains("is a link"));
    }

    #[test]
    fn regular_files_are_visited_and_damage_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("good.whl");
        zip_of(&["a.txt", "b/c.txt"], &zip);
        assert_eq!(names(&zip).unwrap(), ["a.txt", "b/c.txt"]);
        let bytes = std::fs::read(&zip).unwrap();
        let cut = folder.path().join("cut.whl");
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        assert!(format!("{:#}", names(&cut).unwrap_err()).contains("damaged or cut short"));
        let other = folder.path().join("good.rar");
        std::fs::copy(&zip, &other).unwrap();
        assert!(format!("{:#}", names(&other).unwrap_err()).contains("is not an archive"));
    }
}
