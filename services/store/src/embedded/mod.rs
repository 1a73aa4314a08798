//! Stores within this process: nothing to install, files in the data folder.

mod search;

pub use search::TantivySearch;
