//! Who is behind a subject.
//!
//! Events name a subject, a random number. Which user it stands for is written here and nowhere else, so that a person
//! is forgotten by deleting a row.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// The id that an application has for a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PersonId {
    /// Somebody who is known.
    User(String),
    /// A device or a session of somebody who is not, or not yet.
    Anonymous(String),
}

/// A random number that stands for a person in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(u128);

/// A text that is no subject.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a subject is 32 hexadecimal digits in lower case")]
pub struct SubjectError;

/// A person as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The application's id.
    pub id: PersonId,
    /// What stands for it in events.
    pub subject: Subject,
    /// The user whom an anonymous id belongs to, once that is known.
    pub user: Option<String>,
    /// Whether the person consented to be profiled; absent when never asked.
    pub consent: Option<bool>,
    /// When it was first seen, in Unix milliseconds.
    pub created_ms: i64,
    /// Which state of it this is.
    pub version: Version,
}

impl Person {
    /// Whether the person refused to be profiled.
    pub fn refuses(&self) -> bool {
        self.consent == Some(false)
    }
}

/// Reads people, and makes those that are new.
#[async_trait]
pub trait People {
    /// People by id, at most [`PEOPLE_MAX`](super::PEOPLE_MAX), in the order of `ids`; who is new gets a subject.
    async fn resolve(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<Vec<Person>, StoreError>;

    /// The person of that id.
    async fn person(&self, tenant: &Tenant, id: &PersonId) -> Result<Option<Person>, StoreError>;

    /// The person whom a subject stands for.
    async fn person_of(&self, tenant: &Tenant, subject: Subject) -> Result<Option<Person>, StoreError>;

    /// The anonymous ids that are joined to a user, by id.
    async fn joined(&self, tenant: &Tenant, user: &str) -> Result<Vec<Person>, StoreError>;

    /// All users by id, without the anonymous.
    async fn users(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Person>, StoreError>;
}

impl PersonId {
    /// The id itself.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(id) | Self::Anonymous(id) => id,
        }
    }
}

impl Subject {
    /// One that stands for nobody yet.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let is_subject = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_subject {
            return Err(SubjectError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| SubjectError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_spelling() {
        let text = "00ff".repeat(8);
        assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        for text in ["", "+f", &"F".repeat(32), &"0".repeat(31), &"0".repeat(33)] {
            assert_eq!(text.parse::<Subject>(), Err(SubjectError), "{text:?}");
        }
    }
}
