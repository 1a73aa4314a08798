//! Which column of a file is which of ours.

use std::collections::BTreeMap;
use std::path::Path;

use super::ReadError;

/// A column that rows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// What we call it.
    pub name: &'a str,
    /// Whether a file has to have it.
    pub required: bool,
    /// Whether lists and truth values are taken too, and not only text, numbers and times.
    pub any_type: bool,
}

impl<'a> Field<'a> {
    /// A column that has to be there.
    pub const fn required(name: &'a str) -> Self {
        Self { name, required: true, any_type: false }
    }

    /// A column that may be there.
    pub const fn optional(name: &'a str) -> Self {
        Self { name, required: false, any_type: false }
    }

    /// The same of any type.
    #[must_use]
    pub const fn of_any_type(self) -> Self {
        Self { any_type: true, ..self }
    }
}

/// `--map ours=theirs`, typed wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// No equals sign, or nothing on one side of it.
    #[error("{0} {1:?} is not OURS=THEIRS, as in {0} text=review")]
    Form(&'static str, String),
    /// One of ours is mapped twice.
    #[error("{0} names {1:?} twice: each column of ours is one column of the file")]
    Twice(&'static str, String),
}

/// The names that columns have in a file, where they differ from ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMap {
    pairs: BTreeMap<String, String>,
    /// What says so on the command line, for errors.
    flag: &'static str,
}

/// The flag for the columns of a command's own file.
const FLAG: &str = "--map";

impl Default for ColumnMap {
    fn default() -> Self {
        Self { pairs: BTreeMap::new(), flag: FLAG }
    }
}

impl ColumnMap {
    /// Reads the `ours=theirs` pairs of `--map`. Theirs may hold equals signs.
    ///
    /// # Errors
    /// [`MapError`] of the first pair that is none.
    pub fn parse<S: AsRef<str>>(pairs: impl IntoIterator<Item = S>) -> Result<Self, MapError> {
        Self::of_flag(FLAG, pairs)
    }

    /// Reads the pairs of another flag, for another file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_flag<S: AsRef<str>>(flag: &'static str, pairs: impl IntoIterator<Item = S>) -> Result<Self, MapError> {
        let mut map = BTreeMap::new();
        for pair in pairs {
            let pair = pair.as_ref();
            let (ours, theirs) = pair.split_once('=').unwrap_or_default();
            if ours.is_empty() || theirs.is_empty() {
                return Err(MapError::Form(flag, pair.to_owned()));
            }
            if map.insert(ours.to_owned(), theirs.to_owned()).is_some() {
                return Err(MapError::Twice(flag, ours.to_owned()));
            }
        }
        Ok(Self { pairs: map, flag })
    }

    /// The pairs, by our names.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.pairs
    }

    /// What a column of ours is called in the file.
    pub fn theirs<'a>(&'a self, ours: &'a str) -> &'a str {
        self.pairs.get(ours).map_or(ours, String::as_str)
    }

    /// Whether the file has to have it: what was mapped is meant to be there.
    fn is_required(&self, field: Field<'_>) -> bool {
        field.required || self.pairs.contains_key(field.name)
    }

    /// # Errors
    /// [`ReadError::UnknownMapping`] when a mapped column is none of `fields`.
    pub(super) fn check(&self, fields: &[Field<'_>]) -> Result<(), ReadError> {
        match self.pairs.keys().find(|ours| fields.iter().all(|field| field.name != **ours)) {
            None => Ok(()),
            Some(ours) => Err(ReadError::UnknownMapping {
                ours: ours.clone(),
                known: fields.iter().map(|field| field.name.to_owned()).collect(),
                flag: self.flag,
            }),
        }
    }

    /// Where each of `fields` stands among the columns of a file.
    ///
    /// # Errors
    /// [`ReadError::MissingColumn`], [`ReadError::TwoColumns`].
    pub(crate) fn places(
        &self,
        path: &Path,
        fields: &[Field<'_>],
        found: &[String],
    ) -> Result<Vec<Option<usize>>, ReadError> {
        let place = |&field: &Field<'_>| {
            let theirs = self.theirs(field.name);
            let mut places = found.iter().enumerate().filter(|(_, name)| *name == theirs).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (None, _) if self.is_required(field) => Err(self.missing(path, field, found)),
                (_, Some(_)) => Err(ReadError::TwoColumns {
                    path: path.to_owned(),
                    ours: field.name.to_owned(),
                    theirs: theirs.to_owned(),
                    flag: self.flag,
                }),
                (place, None) => Ok(place),
            }
        };
        fields.iter().map(place).collect()
    }

    fn missing(&self, path: &Path, field: Field<'_>, found: &[String]) -> ReadError {
        ReadError::MissingColumn {
            path: path.to_owned(),
            ours: field.name.to_owned(),
            theirs: self.theirs(field.name).to_owned(),
            found: found.to_vec(),
            flag: self.flag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [Field<'_>; 2] = [Field::optional("id"), Field::required("text")];

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn places(map: &ColumnMap, found: &[&str]) -> Result<Vec<Option<usize>>, ReadError> {
        map.places(Path::new("a.csv"), &FIELDS, &names(found))
    }

    #[test]
    fn columns_are_found_by_our_name_or_the_mapped_one() {
        assert_eq!(places(&ColumnMap::default(), &["text", "x"]).unwrap(), [None, Some(0)]);
        let map = ColumnMap::parse(["text=the=review", "id=nr"]).unwrap();
        assert_eq!(places(&map, &["nr", "the=review", "text"]).unwrap(), [Some(0), Some(1)]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_there_is_and_the_hint() {
        let error = places(&ColumnMap::default(), &["id", "review"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "a.csv has no column \"text\"; it has \"id\", \"review\": say which one is text with --map text=COLUMN"
        );
        // An optional column that was mapped is meant to be there.
        let error = places(&ColumnMap::parse(["id=nr"]).unwrap(), &["text"]).unwrap_err().to_string();
        assert!(error.contains("no column \"nr\"") && error.contains("--map id="), "{error}");
        let many: Vec<String> = (0..40).map(|nr| format!("c{nr}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(places(&ColumnMap::default(), &many).unwrap_err().to_string().contains("and 10 more"));
    }

    #[test]
    fn ambiguous_and_wrong_mappings_are_refused() {
        assert!(matches!(places(&ColumnMap::default(), &["text", "text"]), Err(ReadError::TwoColumns { .. })));
        assert_eq!(ColumnMap::parse(["text"]), Err(MapError::Form("--map", "text".into())));
        assert_eq!(ColumnMap::parse(["=a"]), Err(MapError::Form("--map", "=a".into())));
        assert_eq!(ColumnMap::parse(["a=b", "a=c"]), Err(MapError::Twice("--map", "a".into())));
        let error = ColumnMap::parse(["txt=review"]).unwrap().check(&FIELDS).unwrap_err().to_string();
        assert!(error.contains("\"txt\"") && error.contains("id, text"), "{error}");
    }

    #[test]
    fn advice_names_the_flag_that_the_map_came_by() {
        let items = |pairs: &[&str]| ColumnMap::of_flag("--items-map", pairs);
        let told = [
            items(&["text"]).unwrap_err().to_string(),
            items(&["txt=review"]).unwrap().check(&FIELDS).unwrap_err().to_string(),
            places(&items(&[]).unwrap(), &["id"]).unwrap_err().to_string(),
            places(&items(&[]).unwrap(), &["text", "text"]).unwrap_err().to_string(),
        ];
        for told in told {
            assert!(told.contains("--items-map") && !told.contains("--map"), "{told}");
        }
    }
}
