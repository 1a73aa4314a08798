//! Names of users and items, and the rows that stand for them.

use std::collections::HashMap;
use std::sync::Arc;

/// Names, each with a row, numbered in the order in which they came. Both ways share the texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    names: Vec<Arc<str>>,
    rows: HashMap<Arc<str>, u32>,
}

impl Names {
    /// The row of a name, a new one where it has none.
    pub fn row_or_new(&mut self, name: &str) -> u32 {
        if let Some(&row) = self.rows.get(name) {
            return row;
        }
        let (row, name) = (self.names.len() as u32, Arc::<str>::from(name));
        self.names.push(Arc::clone(&name));
        self.rows.insert(name, row);
        row
    }

    /// The row of a name that is known.
    pub fn row(&self, name: &str) -> Option<u32> {
        self.rows.get(name).copied()
    }

    /// The name of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn name(&self, row: u32) -> &str {
        &self.names[row as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names by row.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// One name a line, by row: ids have no control characters, so none has a line end.
    pub fn to_lines(&self) -> String {
        self.names.iter().fold(String::new(), |mut lines, name| {
            lines.push_str(name);
            lines.push('\n');
            lines
        })
    }

    /// Reads what [`to_lines`](Self::to_lines) wrote; `None` where a name is there twice.
    pub fn from_lines(lines: &str) -> Option<Self> {
        let mut names = Self::default();
        for (number, name) in lines.lines().enumerate() {
            if names.row_or_new(name) as usize != number {
                return None;
            }
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_and_written_as_lines() {
        let mut names = Names::default();
        assert_eq!(["b", "a", "b"].map(|name| names.row_or_new(name)), [0, 1, 0]);
        assert_eq!((names.row("a"), names.row("c"), names.name(0), names.len()), (Some(1), None, "b", 2));
        assert_eq!(Names::from_lines(&names.to_lines()), Some(names));
        assert_eq!(Names::from_lines("a\nb\na\n"), None);
        assert_eq!(Names::from_lines(""), Some(Names::default()));
    }
}
