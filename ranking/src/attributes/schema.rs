//! Which attributes there are, and of what kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Kind;

/// How many attributes a schema has at most.
pub const ATTRIBUTES_MAX: usize = 256;

/// How long the name of an attribute is at most.
pub const NAME_BYTES_MAX: usize = 128;

/// The attributes of items by name.
///
/// A name has 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters and without the backquote, which
/// filters put around names that would otherwise read as something else. Names are compared by exact bytes.
///
/// As data, a schema is an object of names and kinds: `{"category": "keyword", "tags": "keyword_list"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Kind>", into = "BTreeMap<String, Kind>")]
pub struct Schema {
    attributes: BTreeMap<String, Kind>,
}

/// Why a schema cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// An empty name, or a long one.
    #[error("the attribute name {name:?} has {bytes} bytes: it needs 1 to {NAME_BYTES_MAX}")]
    NameLength {
        /// The start of the name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// A name that filters could not quote.
    #[error("the attribute name {name:?} contains {character:?}: leave out control characters and backquotes")]
    NameCharacter {
        /// The name.
        name: String,
        /// The first character that may not be in it.
        character: char,
    },
    /// A name stated twice.
    #[error("the attribute {name:?} is stated twice: keep one of them")]
    Twice {
        /// The name.
        name: String,
    },
    /// More attributes than [`ATTRIBUTES_MAX`].
    #[error("a schema has at most {ATTRIBUTES_MAX} attributes: {name:?} would be one more")]
    TooMany {
        /// The first attribute beyond.
        name: String,
    },
}

impl Schema {
    /// A schema of these attributes.
    ///
    /// # Errors
    /// [`SchemaError`] names the first attribute that cannot be part of it.
    pub fn new<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Kind)>) -> Result<Self, SchemaError> {
        let mut schema = Self::default();
        for (name, kind) in attributes {
            schema.add(name.into(), kind)?;
        }
        Ok(schema)
    }

    fn add(&mut self, name: String, kind: Kind) -> Result<(), SchemaError> {
        check_name(&name)?;
        if self.attributes.contains_key(&name) {
            return Err(SchemaError::Twice { name });
        }
        if self.attributes.len() == ATTRIBUTES_MAX {
            return Err(SchemaError::TooMany { name });
        }
        self.attributes.insert(name, kind);
        Ok(())
    }

    /// The kind of an attribute, if there is one of this name.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.attributes.get(name).copied()
    }

    /// All attributes in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.attributes.iter().map(|(name, kind)| (name.as_str(), *kind))
    }
}

/// Holds a name against the rules of [`Schema`].
pub(super) fn check_name(name: &str) -> Result<(), SchemaError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let start = name.chars().take(NAME_BYTES_MAX / 4).collect();
        return Err(SchemaError::NameLength { name: start, bytes: name.len() });
    }
    match name.chars().find(|character| character.is_control() || *character == '`') {
        Some(character) => Err(SchemaError::NameCharacter { name: name.to_owned(), character }),
        None => Ok(()),
    }
}

impl TryFrom<BTreeMap<String, Kind>> for Schema {
    type Error = SchemaError;

    fn try_from(attributes: BTreeMap<String, Kind>) -> Result<Self, SchemaError> {
        Self::new(attributes)
    }
}

impl From<Schema> for BTreeMap<String, Kind> {
    fn from(schema: Schema) -> Self {
        schema.attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_an_object_of_names_and_kinds() {
        let text = r#"{"category":"keyword","tags":"keyword_list"}"#;
        let schema: Schema = serde_json::from_str(text).unwrap();
        assert_eq!(schema.kind("tags"), Some(Kind::KeywordList));
        assert_eq!(schema.kind("Tags"), None);
        assert_eq!(serde_json::to_string(&schema).unwrap(), text);
        let error = serde_json::from_str::<Schema>(r#"{"a`b":"number"}"#).unwrap_err();
        assert!(error.to_string().contains("leave out"), "{error}");
    }

    #[test]
    fn names_that_filters_could_not_say_are_refused() {
        let error = |name: &str| Schema::new([(name, Kind::Number)]).unwrap_err();
        assert_eq!(error(""), SchemaError::NameLength { name: String::new(), bytes: 0 });
        assert!(matches!(error(&"x".repeat(NAME_BYTES_MAX + 1)), SchemaError::NameLength { bytes: 129, .. }));
        assert_eq!(error("a\nb"), SchemaError::NameCharacter { name: "a\nb".into(), character: '\n' });
        assert!(Schema::new([("größe in cm", Kind::Number)]).is_ok());
    }

    #[test]
    fn a_schema_has_bounds_and_no_name_twice() {
        let twice = Schema::new([("a", Kind::Number), ("a", Kind::Time)]).unwrap_err();
        assert_eq!(twice, SchemaError::Twice { name: "a".into() });
        let many = (0..=ATTRIBUTES_MAX).map(|number| (number.to_string(), Kind::Number));
        assert_eq!(Schema::new(many).unwrap_err(), SchemaError::TooMany { name: "256".into() });
    }
}
