//! What the services write to the event log for each other.
//!
//! The log is the truth of all that is derived: whatever a consumer keeps can be made again from these records. They
//! outlive every version of the program, so fields are only ever added, each with a default.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One record of the log. Whom it is about is the subject that it was appended under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// Somebody did something.
    Event(Event),
    /// Somebody was shown a list.
    Exposure(Exposure),
    /// What was known of an anonymous subject belongs to this subject from here on.
    Join {
        /// The subject that was anonymous.
        from: String,
    },
    /// This subject is forgotten: whatever was derived from its records goes, and replay makes none of it again.
    Tombstone,
    /// An item was written or deleted: read it again. The subject is `item/` and the item's id.
    Item {
        /// Its id.
        item_id: String,
    },
}

/// How the records begin of which the log has millions, as this program writes them.
const EVENT: &[u8] = br#"{"kind":"event","#;
const EXPOSURE: &[u8] = br#"{"kind":"exposure","#;

/// How a [`Recent`] begins, and what stands between its two numbers, as this program writes it.
const RECENT: &[u8] = br#"{"partition":"#;
const RECENT_OFFSET: &[u8] = br#","offset":"#;

/// What is counted of an exposure.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counted {
    request_id: String,
    time_ms: i64,
    surface: Option<String>,
    items: Vec<CountedItem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountedItem {
    item_id: String,
}

impl From<Counted> for Exposure {
    fn from(Counted { request_id, time_ms, surface, items }: Counted) -> Self {
        let items = items.into_iter().map(|CountedItem { item_id }| Shown { item_id, ..Shown::default() }).collect();
        Self { request_id, time_ms, surface, items, ..Self::default() }
    }
}

/// The records of which the log has millions, written without a copy.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Lent<'r> {
    Event(&'r Event),
    Exposure(&'r Exposure),
}

impl Record {
    /// Reads a record of the log. One that begins as ours do is read in one pass; whoever reads any other keeps all of it
    /// in pieces until its kind is known, which takes several times as long.
    ///
    /// # Errors
    /// It is none, or of a kind that this program does not know.
    pub fn read(payload: &[u8]) -> Result<Self, serde_json::Error> {
        match payload {
            // The kind is a field that neither of them has, and is passed over.
            ours if ours.starts_with(EVENT) => serde_json::from_slice(ours).map(Self::Event),
            ours if ours.starts_with(EXPOSURE) => serde_json::from_slice(ours).map(Self::Exposure),
            other => serde_json::from_slice(other),
        }
    }

    /// The same for who counts what was shown, when and where. How it came to be shown, which is most of an exposure, is
    /// passed over.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read_counted(payload: &[u8]) -> Result<Self, serde_json::Error> {
        if payload.starts_with(EXPOSURE) {
            return serde_json::from_slice(payload).map(|counted: Counted| Self::Exposure(counted.into()));
        }
        Self::read(payload)
    }
}

impl Event {
    /// As a record of the log.
    pub fn to_record(&self) -> Vec<u8> {
        serde_json::to_vec(&Lent::Event(self)).expect("plain data")
    }
}

impl Exposure {
    /// As a record of the log.
    pub fn to_record(&self) -> Vec<u8> {
        serde_json::to_vec(&Lent::Exposure(self)).expect("plain data")
    }
}

/// What somebody did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// One effect per subject and id.
    pub event_id: String,
    /// For example `click`.
    pub r#type: String,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// A rating, a price, a number of seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// When, in Unix milliseconds, as the client says.
    pub time_ms: i64,
    /// When it reached us, in Unix milliseconds.
    pub received_ms: i64,
    /// In which session, as the client says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The list that it happened on: that of an [`Exposure`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where, for example `home`: weights of event types may differ by surface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Value>,
}

/// A list that was served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exposure {
    /// The server's name of the list.
    pub request_id: String,
    /// When, in Unix milliseconds.
    pub time_ms: i64,
    /// Where it was shown, if the caller said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// By which pipeline.
    pub pipeline: String,
    /// By which model.
    pub model_version: String,
    /// The experiment that chose the pipeline, and its arm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Arm>,
    /// Names of the features, in the order of [`Shown::features`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feature_names: Vec<String>,
    /// What was shown, from the top.
    pub items: Vec<Shown>,
}

/// An arm of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// The experiment.
    pub experiment: String,
    /// Its arm.
    pub arm: String,
    /// How likely that arm was, exactly: the share in force. 0 where nobody wrote it down yet.
    #[serde(default)]
    pub chance: f64,
}

/// One position of a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// The item.
    pub item_id: String,
    /// Its score.
    pub score: f32,
    /// How likely it was to stand there.
    pub propensity: f32,
    /// What the score was made of; absent values are null.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Option<f32>>,
}

/// An acknowledged event in the list of a subject's recent ones, which is read before every recommendation: so a list
/// reflects an event that no consumer has seen yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Where the event stands in the log.
    pub partition: u32,
    /// Where the event stands in the partition.
    pub offset: u64,
    /// What it says.
    pub event: Event,
}

impl Recent {
    /// Where the event of an entry stands, without a look at what it says: most entries that are read before a list are not
    /// needed for it. `None` where it is none.
    pub fn place(entry: &[u8]) -> Option<(u32, u64)> {
        #[derive(Deserialize)]
        struct Place {
            partition: u32,
            offset: u64,
        }
        let ours = || {
            let text = entry.strip_prefix(RECENT)?;
            let (partition, text) = text.split_at(text.iter().position(|byte| *byte == b',')?);
            let text = text.strip_prefix(RECENT_OFFSET)?;
            let offset = &text[..text.iter().position(|byte| *byte == b',')?];
            Some((str::from_utf8(partition).ok()?.parse().ok()?, str::from_utf8(offset).ok()?.parse().ok()?))
        };
        let any = || serde_json::from_slice(entry).ok().map(|Place { partition, offset }| (partition, offset));
        ours().or_else(any)
    }
}

/// The list in the cache with the [`Recent`] events of a subject, the newest foremost.
pub fn recent_list(subject: &str) -> String {
    format!("recent/{subject}")
}

/// The subject under which an item's records stand.
pub fn item_subject(item_id: &str) -> String {
    format!("item/{item_id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(record: &Record) -> Vec<u8> {
        match record {
            Record::Event(event) => event.to_record(),
            Record::Exposure(list) => list.to_record(),
            other => serde_json::to_vec(other).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn events_are_read_as_they_were_written(
            id in ".{0,9}", kind in ".{0,9}", item in prop::option::of(".{0,9}"), value in prop::option::of(any::<i32>()),
            times in any::<(i64, i64)>(), texts in prop::collection::vec(prop::option::of(".{0,9}"), 3), extra in ".{0,9}",
        ) {
            let [session_id, request_id, surface] = texts.try_into().unwrap();
            let properties = Map::from_iter([(extra, json!({"kind": "exposure"}))]);
            let (time_ms, received_ms) = times;
            let event = Event {
                event_id: id, r#type: kind, item_id: item, value: value.map(|value| f64::from(value) / 4.0), time_ms, received_ms, session_id, request_id, surface,
                properties,
            };
            let record = Record::Event(event);
            prop_assert_eq!(&Record::read(&written(&record)).unwrap(), &record);
            // As any program may write it, and as this one reads what it did not write.
            prop_assert_eq!(&written(&record), &serde_json::to_vec(&record).unwrap());
            let value = serde_json::to_value(&record).unwrap();
            let fields = value.as_object().unwrap().iter().rev().map(|(name, field)| format!("{}:{field}", json!(name)));
            let turned = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
            prop_assert_eq!(Record::read(turned.as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn the_other_kinds_are_read_too_and_strangers_are_told() {
        let shown = Shown { item_id: "i".into(), features: vec![None, Some(1.5)], ..Shown::default() };
        let list = Exposure { request_id: "r".into(), items: vec![shown], ..Exposure::default() };
        let counted = Shown { item_id: "i".into(), ..Shown::default() };
        let counted = Record::Exposure(Exposure { items: vec![counted], ..list.clone() });
        let named = Exposure { feature_names: vec!["f".into()], pipeline: "p".into(), ..list.clone() };
        assert_eq!(Record::read_counted(&named.to_record()).unwrap(), counted);
        assert!(Record::read_counted(br#"{"kind":"exposure","items":7}"#).is_err());
        let others = [Record::Join { from: "a".into() }, Record::Tombstone, Record::Item { item_id: "i".into() }];
        for record in others.into_iter().chain([Record::Exposure(list)]) {
            assert_eq!(Record::read(&written(&record)).unwrap(), record);
            let is_list = matches!(record, Record::Exposure(_));
            assert!(is_list || Record::read_counted(&written(&record)).unwrap() == record);
        }
        for strange in
            [&br#"{"kind":"dream"}"#[..], br#"{"kind":"event","time_ms":"now"}"#, br#"{"kind":"event","#, b""]
        {
            assert!(Record::read(strange).is_err());
        }
        assert_eq!(Record::read(br#"{"kind":"event","later":1}"#).unwrap(), Record::Event(Event::default()));
    }

    #[test]
    fn where_an_event_stands_is_read_whoever_wrote_it() {
        let recent = Recent { partition: 3, offset: u64::MAX, event: Event::default() };
        let ours = serde_json::to_vec(&recent).unwrap();
        assert!(ours.starts_with(RECENT));
        let turned = serde_json::to_vec(&serde_json::to_value(&recent).unwrap()).unwrap();
        assert!(!turned.starts_with(RECENT), "another order of the fields");
        assert_eq!((Recent::place(&ours), Recent::place(&turned)), (Some((3, u64::MAX)), Some((3, u64::MAX))));
        for strange in [&b""[..], br#"{"partition":"#, br#"{"partition":-1,"offset":2,"event":{}}"#, &ours[..20]] {
            assert_eq!(Recent::place(strange), None);
        }
    }
}
