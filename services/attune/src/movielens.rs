//! What MovieLens-100K says of its films, as `attune models pull movielens-100k` fetches it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Titles, years and genres of MovieLens-100K's films as RecBole packs them, by id.
///
/// # Errors
/// The file cannot be read.
pub fn films(path: &Path) -> Result<BTreeMap<String, Value>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let film = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, title, year, genres] = fields[..] else { return None };
        let mut attributes = Map::from_iter([("genres".to_owned(), json!(genres.split(' ').collect::<Vec<_>>()))]);
        if let Ok(year) = year.parse::<u32>() {
            attributes.insert("year".to_owned(), json!(year));
        }
        let title = if title.trim().is_empty() { id } else { title };
        Some((id.to_owned(), json!({"id": id, "title": title, "attributes": attributes})))
    };
    Ok(String::from_utf8_lossy(&bytes).lines().skip(1).filter_map(film).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn films_are_read_whatever_their_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"id\tt\ty\tc\n1\tMis\xe9rables\t1995\tDrama War\n2\t \tunknown\tComedy\nodd\n")
            .unwrap();
        let films = films(file.path()).unwrap();
        assert_eq!(films.len(), 2);
        assert_eq!(films["1"]["attributes"], json!({"year": 1995, "genres": ["Drama", "War"]}));
        assert_eq!(films["2"], json!({"id": "2", "title": "2", "attributes": {"genres": ["Comedy"]}}));
    }
}
