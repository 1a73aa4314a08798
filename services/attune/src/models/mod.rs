//! `attune models`: fetch, list, describe and remove what `DATA/models` holds.
//!
//! Nothing is downloaded while the server runs. A model is fetched beforehand by name, checked against a pinned hash,
//! and put in place in one rename; the server then reads files that are either whole or not there.

pub mod archive;
pub mod catalogue;
pub mod digest;
pub mod fetch;
pub mod install;
pub mod source;

mod commands;
mod pull;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

pub use commands::{info, installed, list, remove};
pub use pull::{PullOptions, install_embedded, pull};

const NAME_CHARS_MAX: usize = 100;

/// Where the model called `name` is, or would be, in a data folder.
pub fn folder(data: &Path, name: &str) -> PathBuf {
    install::models_folder(data).join(name)
}

/// Refuses a name that is not one folder's.
///
/// # Errors
/// Empty, too long, hidden, or with characters other than letters, digits, `.`, `_` and `-`.
pub fn check_name(name: &str) -> Result<()> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    ensure!(
        plain && !name.is_empty() && name.len() <= NAME_CHARS_MAX && !name.starts_with('.'),
        "{name:?} is not a model's name: letters, digits, '.', '_' and '-', at most {NAME_CHARS_MAX}, not starting with '.'"
    );
    Ok(())
}

/// `12 files (92 MB)`.
fn count_files(files: &[install::FileEntry]) -> String {
    let bytes = files.iter().map(|file| file.bytes).sum();
    format!("{} file{} ({})", files.len(), if files.len() == 1 { "" } else { "s" }, crate::term::human_bytes(bytes))
}
