//! Names by how often they came.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Names that are counted; further ones are not.
const NAMES_MAX: usize = 10_000;
/// Names that are told.
const TOLD: usize = 3;

#[derive(Default)]
pub struct Names(HashMap<String, u64>);

impl Names {
    pub fn take(&mut self, name: &str) {
        if let Some(count) = self.0.get_mut(name) {
            *count += 1;
        } else if self.0.len() < NAMES_MAX {
            self.0.insert(name.to_owned(), 1);
        }
    }

    /// A few of them, the most frequent first.
    pub fn most_frequent(self) -> Vec<String> {
        let mut names: Vec<(String, u64)> = self.0.into_iter().collect();
        names.sort_unstable_by_key(|(name, count)| (Reverse(*count), name.clone()));
        names.into_iter().take(TOLD).map(|(name, _)| name).collect()
    }
}
