//! Events that could not be used: kept with the reason and without a name, shown, and sent through again.
//!
//! A letter names subjects as the log does, never people: ids that may be ids are taken out of it and put back when
//! somebody looks. So a person who is forgotten is gone from the letters too, at once.

use std::collections::{BTreeSet, HashMap};

use attune_api::rest::Timestamp;
use attune_api::rest::tracking::{DeadLetterView, Origin};
use attune_store::events::{DeadLetter, NewDeadLetter};
use attune_store::relational::{PersonId, Relational, Subject};
use attune_store::{StoreError, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::{Refusal, check_id};
use crate::people::Found;

/// The largest event, in bytes of JSON, that a letter holds whole.
const WHOLE_BYTES_MAX: usize = 128 << 10;

/// The fields that name a person.
const NAMES: [&str; 2] = ["user_id", "anonymous_id"];

/// The payload of a letter that this service wrote.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// Who was named, as subjects.
    people: Vec<String>,
    /// The event without them.
    event: Value,
}

/// An event that is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its place in the call.
    pub index: usize,
    /// As it came.
    pub json: Value,
    /// Why.
    pub refusal: Refusal,
}

impl Refused {
    /// Whom it names, as far as these may be ids.
    pub fn people(&self) -> impl Iterator<Item = PersonId> + '_ {
        named(&self.json).map(|(_, id)| id)
    }

    /// What is kept of it: nothing where it is about somebody who wants nothing kept.
    pub fn letter(&self, people: &Found) -> Option<NewDeadLetter> {
        let known: Vec<_> = self.people().filter_map(|id| people.get(&id)).collect();
        if known.iter().any(|one| one.refuses) {
            return None;
        }
        let mut event = self.json.clone();
        let fields: Vec<&str> = named(&self.json).map(|(field, _)| field).collect();
        for field in fields {
            event.as_object_mut()?.remove(field);
        }
        let people: Vec<String> = known.iter().map(|one| one.subject.to_string()).collect();
        let subject = people.first().cloned().unwrap_or_default();
        let payload = serde_json::to_vec(&Envelope { people, event: cut(event) }).unwrap_or_default();
        Some(NewDeadLetter { subject, payload: payload.into(), reason: self.refusal.detail.clone(), origin: None })
    }
}

/// The fields of an event that name somebody, with the id.
fn named(json: &Value) -> impl Iterator<Item = (&'static str, PersonId)> + '_ {
    NAMES.into_iter().filter_map(|field| {
        let id = json.get(field)?.as_str().filter(|id| check_id(field, id).is_ok())?.to_owned();
        Some((field, if field == "user_id" { PersonId::User(id) } else { PersonId::Anonymous(id) }))
    })
}

/// The event, or the beginning of its text where it is larger than a letter may be.
fn cut(event: Value) -> Value {
    let text = event.to_string();
    if text.len() <= WHOLE_BYTES_MAX {
        return event;
    }
    let mut end = WHOLE_BYTES_MAX / 2;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::String(text[..end].to_owned())
}

/// What a letter says, once more as an event.
#[derive(Debug)]
pub(crate) struct Opened {
    /// With the people put back who are known.
    pub event: Value,
    /// Somebody it named is forgotten.
    pub is_orphaned: bool,
}

/// The people behind letters.
pub(crate) type Names = HashMap<String, PersonId>;

/// Who is behind the subjects that letters name.
pub(crate) async fn names(
    relational: &dyn Relational,
    tenant: &Tenant,
    letters: &[DeadLetter],
) -> Result<Names, StoreError> {
    let mut names = Names::new();
    for text in subjects(letters) {
        let Ok(subject) = text.parse::<Subject>() else { continue };
        if let Some(person) = relational.person_of(tenant, subject).await? {
            names.insert(text, person.id);
        }
    }
    Ok(names)
}

/// Whom letters name.
fn subjects(letters: &[DeadLetter]) -> BTreeSet<String> {
    letters.iter().filter_map(envelope).flat_map(|envelope| envelope.people).collect()
}

fn envelope(letter: &DeadLetter) -> Option<Envelope> {
    let is_ours = letter.letter.origin.is_none();
    is_ours.then(|| serde_json::from_slice(&letter.letter.payload).ok()).flatten()
}

/// Opens a letter. One that a consumer wrote holds a record of the log, which names nobody.
pub(crate) fn open(letter: &DeadLetter, names: &Names) -> Opened {
    let Some(Envelope { people, mut event }) = envelope(letter) else {
        let event = serde_json::from_slice(&letter.letter.payload)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&letter.letter.payload).into_owned()));
        return Opened { event, is_orphaned: false };
    };
    let mut is_orphaned = false;
    for subject in people {
        match (names.get(&subject), event.as_object_mut()) {
            (Some(PersonId::User(id)), Some(fields)) => drop(fields.insert("user_id".into(), id.clone().into())),
            (Some(PersonId::Anonymous(id)), Some(fields)) => {
                drop(fields.insert("anonymous_id".into(), id.clone().into()));
            }
            _ => is_orphaned = true,
        }
    }
    Opened { event, is_orphaned }
}

/// Whether a letter is about one of these subjects.
pub(crate) fn is_about(letter: &DeadLetter, subjects: &[String]) -> bool {
    subjects.contains(&letter.letter.subject)
        || envelope(letter).is_some_and(|envelope| envelope.people.iter().any(|one| subjects.contains(one)))
}

/// A letter as people see it.
pub(crate) fn view(letter: &DeadLetter, names: &Names) -> DeadLetterView {
    let origin = letter.letter.origin.map(|at| Origin { partition: at.partition, offset: at.offset });
    DeadLetterView {
        id: letter.id.clone(),
        time: Timestamp(letter.buried_ms).text(),
        reason: letter.letter.reason.clone(),
        origin,
        event: open(letter, names).event,
    }
}
