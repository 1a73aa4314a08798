//! Why a model cannot be used: always the file, what is wrong with it, and where there is one the remedy.

use std::path::{Path, PathBuf};

/// A model, tokenizer or adapter that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that is missing or cannot be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is there and is not what it should be: truncated, damaged, another format.
    #[error("{} is damaged or not what its name says: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its reader said.
        detail: String,
    },
    /// A tensor that the configuration calls for is absent.
    #[error("{} has no tensor {tensor}: it does not belong to this configuration", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor of another shape than the configuration says.
    #[error("{}: tensor {tensor} has shape {found:?}, the configuration calls for {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What the file holds.
        found: Vec<usize>,
        /// What the configuration says.
        expected: Vec<usize>,
    },
    /// A sound file that asks for something this program does not do.
    #[error("{}: {detail}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for, and what is supported.
        detail: String,
    },
    /// A list of models that contradicts itself.
    #[error("model {name:?}: {detail}")]
    Model {
        /// The model.
        name: String,
        /// What contradicts what.
        detail: String,
    },
    /// The machine cannot run what was asked for.
    #[error("{0}")]
    Machine(String),
}

impl LoadError {
    pub(crate) fn damaged(path: &Path, detail: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.to_string() }
    }

    pub(crate) fn unsupported(path: &Path, detail: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Reads a whole file. Files are read and checked, never mapped: a mapped file that is cut short kills the process.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(LoadError::io(path))
}
