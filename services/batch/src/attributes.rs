//! What is known of users and items, as tables of ones: a row each, and a column for each thing that can be said.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use attune_ranking::data::Interactions;

use crate::names::Names;
use crate::read::ReadError;

/// Years of age in one column.
const AGE_YEARS: u32 = 10;
/// The first year that has a column of its own; earlier ones share one for each decade.
const YEARS_SINCE: u32 = 1990;

/// Attributes by row, and what their columns mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Attributes {
    /// Rows by columns; 1 where something applies.
    pub table: Interactions,
    /// What a column says, such as `occupation=artist`.
    pub columns: Vec<String>,
}

impl Attributes {
    /// Age, gender and occupation of MovieLens-100K's users as RecBole packs them. `users` are the names by row; who is
    /// not in the file has no attribute.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn movielens_users(path: &Path, users: &Names) -> Result<Self, ReadError> {
        let said = |columns: &[&str]| match columns {
            [age, gender, occupation, ..] => {
                let age = age.parse::<u32>().ok().map(|age| format!("age={}", age / AGE_YEARS * AGE_YEARS));
                let others = [format!("gender={gender}"), format!("occupation={occupation}")];
                age.into_iter().chain(others).collect()
            }
            _ => Vec::new(),
        };
        Self::read(path, users, said)
    }

    /// Year and genres of MovieLens-100K's films as RecBole packs them. `items` are the names by row; what is not in the
    /// file has no attribute.
    ///
    /// # Errors
    /// [`ReadError::File`].
    pub fn movielens_items(path: &Path, items: &Names) -> Result<Self, ReadError> {
        let said = |columns: &[&str]| match columns {
            [_title, year, genres, ..] => {
                let year = year.parse::<u32>().ok().map(|year| match year {
                    YEARS_SINCE.. => format!("year={year}"),
                    _ => format!("decade={}", year / 10 * 10),
                });
                year.into_iter().chain(genres.split(' ').map(|genre| format!("genre={genre}"))).collect()
            }
            _ => Vec::new(),
        };
        Self::read(path, items, said)
    }

    /// Lines of a name and other columns, by tabs, below a line of names.
    fn read(path: &Path, names: &Names, said: impl Fn(&[&str]) -> Vec<String>) -> Result<Self, ReadError> {
        let bytes = fs::read(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        let (mut columns, mut entries) = (HashMap::new(), Vec::new());
        // Titles of films are not all in UTF-8; they are not looked at.
        for line in String::from_utf8_lossy(&bytes).lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let Some(row) = names.row(fields[0]) else { continue };
            for attribute in said(&fields[1..]) {
                let next = columns.len() as u32;
                entries.push((row, *columns.entry(attribute).or_insert(next), 1.0));
            }
        }
        let table =
            Interactions::from_entries(names.len(), columns.len(), &entries).expect("rows and columns counted here");
        let mut columns: Vec<(String, u32)> = columns.into_iter().collect();
        columns.sort_unstable_by_key(|(_, column)| *column);
        Ok(Self { table, columns: columns.into_iter().map(|(name, _)| name).collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn said(attributes: &Attributes, row: usize) -> Vec<&str> {
        attributes.table.row(row).0.iter().map(|column| attributes.columns[*column as usize].as_str()).collect()
    }

    #[test]
    fn users_have_age_gender_and_occupation() {
        let file = file(b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n7\t29\tF\tartist\t1\n9\t30\tF\tother\t2\nx\t1\n");
        let users = Names::from_lines("9\n8\n7\n").unwrap();
        let attributes = Attributes::movielens_users(file.path(), &users).unwrap();
        assert_eq!(said(&attributes, 2), ["age=20", "gender=F", "occupation=artist"]);
        assert_eq!(said(&attributes, 0), ["gender=F", "age=30", "occupation=other"]);
        assert!(said(&attributes, 1).is_empty());
        assert!(Attributes::movielens_users(Path::new("/nowhere"), &users).is_err());
    }

    #[test]
    fn films_have_a_year_or_decade_and_genres() {
        let file = file(b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tMis\xe9rables\t1995\tDrama War\n2\tM\t1931\tCrime\n3\t?\tunknown\tDrama\n");
        let items = Names::from_lines("1\n2\n3\n").unwrap();
        let attributes = Attributes::movielens_items(file.path(), &items).unwrap();
        assert_eq!(said(&attributes, 0), ["year=1995", "genre=Drama", "genre=War"]);
        assert_eq!(said(&attributes, 1), ["decade=1930", "genre=Crime"]);
        assert_eq!(said(&attributes, 2), ["genre=Drama"]);
    }
}
