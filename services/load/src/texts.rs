//! The texts that everything is measured on: the labelled sentences, in one fixed random order.
//!
//! Figures compare only if both sides embed the same texts in the same order, so the order is defined here to the bit,
//! and again in `benches/peers/texts.py`; both are held to one fingerprint:
//!
//! 1. the files `*_GroundTruth.txt` in byte order of their names, their rows in the order of the file;
//! 2. a row is `id TAB rating TAB text`, ends with LF or CR LF; empty rows do not count; the text is taken as it is;
//! 3. Fisher and Yates: for i from the last row down to 1, swap rows i and j, where j is
//!    [`SplitMix64::below`]`(i + 1)` of the generator with seed 42;
//! 4. the first n.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::random::SplitMix64;

const SUFFIX: &str = "_GroundTruth.txt";
const SEED: u64 = 42;

/// Why there are no texts.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// A file or the folder cannot be read.
    #[error("cannot read {}: {source}; `attune models pull sentiment-data` fetches it", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A row is not what it should be.
    #[error("{} line {line}: expected id, rating and text with tabs between them", path.display())]
    Malformed {
        /// Of which file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// There are fewer than asked for.
    #[error("{} holds {found} labelled sentences, {asked} were asked for", folder.display())]
    TooFew {
        /// Where they were looked for.
        folder: PathBuf,
        /// What there is.
        found: usize,
        /// What was wanted.
        asked: usize,
    },
}

/// The first `count` labelled sentences of `folder` in the benches' fixed random order.
///
/// # Errors
/// [`TextsError`].
pub fn bench_texts(folder: &Path, count: usize) -> Result<Vec<String>, TextsError> {
    let mut texts = Vec::new();
    for path in files(folder)? {
        let content = fs::read_to_string(&path).map_err(|source| TextsError::Read { path: path.clone(), source })?;
        let rows = content.split('\n').map(|row| row.strip_suffix('\r').unwrap_or(row)).enumerate();
        for (index, row) in rows.filter(|(_, row)| !row.is_empty()) {
            let text = row.splitn(3, '\t').nth(2);
            let text = text.ok_or_else(|| TextsError::Malformed { path: path.clone(), line: index + 1 })?;
            texts.push(text.to_owned());
        }
    }
    if texts.len() < count {
        return Err(TextsError::TooFew { folder: folder.to_owned(), found: texts.len(), asked: count });
    }
    shuffle(&mut texts);
    texts.truncate(count);
    Ok(texts)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, TextsError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut files = read().map_err(|source| TextsError::Read { path: folder.to_owned(), source })?;
    files.retain(|path| path.to_string_lossy().ends_with(SUFFIX));
    files.sort();
    Ok(files)
}

fn shuffle<T>(rows: &mut [T]) {
    let mut random = SplitMix64::new(SEED);
    for last in (1..rows.len()).rev() {
        rows.swap(last, random.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn rows_of_all_files_are_mixed_and_nothing_else_is_read() {
        let folder = folder(&[
            ("b_GroundTruth.txt", "1\t0.5\tthree\tand a tab\r\n2\t-1\tfour\r\n"),
            ("a_GroundTruth.txt", "1\t0.5\tone\n\n2_1\t0\ttwo"),
            ("README.txt", "no rows"),
        ]);
        let mut all = bench_texts(folder.path(), 4).unwrap();
        assert_eq!(bench_texts(folder.path(), 2).unwrap(), all[..2]);
        all.sort();
        assert_eq!(all, ["four", "one", "three\tand a tab", "two"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let bad = folder(&[("a_GroundTruth.txt", "1\t0.5\tone\r\n2\t0.5\r\n")]);
        let error = bench_texts(bad.path(), 1).unwrap_err().to_string();
        assert!(error.contains("a_GroundTruth.txt line 2: expected"), "{error}");
        let few = folder(&[("a_GroundTruth.txt", "1\t0.5\tone\n")]);
        assert!(bench_texts(few.path(), 2).unwrap_err().to_string().contains("holds 1 labelled sentences, 2 were"));
        let none = bench_texts(&few.path().join("absent"), 1).unwrap_err().to_string();
        assert!(none.contains("attune models pull"), "{none}");
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_the_seed_decides() {
        let mut rows: Vec<usize> = (0..10).collect();
        shuffle(&mut rows);
        assert_eq!(rows, [8, 3, 6, 5, 4, 0, 9, 2, 1, 7]);
    }
}
