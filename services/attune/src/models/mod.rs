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
use clap::Subcommand;

pub use commands::installed;
pub use pull::install_embedded;

use crate::config::Config;

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch models, check their hashes and install them in the data folder
    Pull(pull::PullOptions),
    /// What is installed, each file verified
    List,
    /// Where a model comes from, and its files
    Info {
        /// The model
        name: String,
    },
    /// Delete a model from the data folder
    Remove {
        /// The model
        name: String,
    },
}

/// Does it.
///
/// # Errors
/// As the command says.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    let data = &config.data;
    match command {
        Command::Pull(options) => pull::pull(data, options),
        Command::List => commands::list(data),
        Command::Info { name } => commands::info(data, name),
        Command::Remove { name } => commands::remove(data, name),
    }
}

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
