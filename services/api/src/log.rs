//! What the services write to the event log for each other.
//!
//! The log is the truth of all that is derived: whatever a consumer keeps can be made again from these records. They
//! outlive every version of the program, so fields are only ever added, each with a default, and what a version does not
//! write any more is read for ever. An older program sees lists without items in what this one writes.

use std::borrow::Cow;
use std::iter::repeat_n;

use base64::prelude::{BASE64_STANDARD, Engine};
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
    item_ids: Vec<String>,
    items: Vec<CountedItem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountedItem {
    item_id: String,
}

impl From<Counted> for Exposure {
    fn from(Counted { request_id, time_ms, surface, item_ids, items }: Counted) -> Self {
        let ids = item_ids.into_iter().chain(items.into_iter().map(|CountedItem { item_id }| item_id));
        let items = ids.map(|item_id| Shown { item_id, ..Shown::default() }).collect();
        Self { request_id, time_ms, surface, items, ..Self::default() }
    }
}

/// The records of which the log has millions, written without a copy.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Lent<'r> {
    Event(&'r Event),
    Exposure(&'r Written<'r>),
}

/// An exposure as it stands in the log. Its numbers, a dozen to each of up to a thousand items, are one text: as decimals
/// they were most of what a ranking cost, for whoever writes or reads them and for whoever passes them over.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written<'r> {
    request_id: Cow<'r, str>,
    time_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    surface: Option<Cow<'r, str>>,
    pipeline: Cow<'r, str>,
    model_version: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<Cow<'r, Arm>>,
    #[serde(skip_serializing_if = "no_names")]
    feature_names: Cow<'r, [String]>,
    /// From the top.
    item_ids: Vec<Cow<'r, str>>,
    /// Base64 of 32-bit floats, the lowest byte first: item by item its score, its propensity and as many features as every
    /// item has; NaN where one is absent.
    numbers: String,
    /// In place of the two, in logs from before there were these: item by item.
    #[serde(skip_serializing)]
    items: Vec<Shown>,
}

/// A list whose numbers are not those of its items.
#[derive(Debug, thiserror::Error)]
enum NumbersError {
    #[error("the numbers are no base64: {0}")]
    Text(#[from] base64::DecodeError),
    #[error("{bytes} bytes of numbers are none for {items} items")]
    Length { bytes: usize, items: usize },
}

fn no_names(names: &[String]) -> bool {
    names.is_empty()
}

impl<'r> Written<'r> {
    fn of(list: &'r Exposure) -> Self {
        let features = list.items.iter().map(|shown| shown.features.len()).max().unwrap_or(0);
        let mut bytes = Vec::with_capacity(size_of::<f32>() * (2 + features) * list.items.len());
        for shown in &list.items {
            let absent = features - shown.features.len();
            let known = shown.features.iter().map(|feature| feature.unwrap_or(f32::NAN));
            let numbers = [shown.score, shown.propensity].into_iter().chain(known).chain(repeat_n(f32::NAN, absent));
            numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        }
        Self {
            request_id: (&list.request_id).into(),
            time_ms: list.time_ms,
            surface: list.surface.as_ref().map(Into::into),
            pipeline: (&list.pipeline).into(),
            model_version: (&list.model_version).into(),
            experiment: list.experiment.as_ref().map(Cow::Borrowed),
            feature_names: (&list.feature_names).into(),
            item_ids: list.items.iter().map(|shown| (&shown.item_id).into()).collect(),
            numbers: BASE64_STANDARD.encode(bytes),
            items: Vec::new(),
        }
    }
}

impl TryFrom<Written<'_>> for Exposure {
    type Error = NumbersError;

    fn try_from(written: Written<'_>) -> Result<Self, NumbersError> {
        let (ids, bytes) = (written.item_ids, BASE64_STANDARD.decode(written.numbers)?);
        let each = bytes.len() / ids.len().max(1);
        if each * ids.len() != bytes.len() || each % size_of::<f32>() != 0 || (each < 8 && !ids.is_empty()) {
            return Err(NumbersError::Length { bytes: bytes.len(), items: ids.len() });
        }
        let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let shown = |(item_id, bytes): (Cow<'_, str>, &[u8])| {
            let mut numbers = bytes.chunks_exact(size_of::<f32>()).map(number);
            let (score, propensity) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
            let features = numbers.map(|feature| Some(feature).filter(|feature| !feature.is_nan())).collect();
            Shown { item_id: item_id.into_owned(), score, propensity, features }
        };
        let columns = ids.into_iter().zip(bytes.chunks_exact(each.max(1))).map(shown);
        Ok(Self {
            request_id: written.request_id.into_owned(),
            time_ms: written.time_ms,
            surface: written.surface.map(Cow::into_owned),
            pipeline: written.pipeline.into_owned(),
            model_version: written.model_version.into_owned(),
            experiment: written.experiment.map(Cow::into_owned),
            feature_names: written.feature_names.into_owned(),
            items: columns.chain(written.items).collect(),
        })
    }
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
        serde_json::to_vec(&Lent::Exposure(&Written::of(self))).expect("plain data")
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
#[serde(try_from = "Written<'_>")]
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
        let strange: [&[u8]; 7] = [
            br#"{"kind":"dream"}"#,
            br#"{"kind":"event","time_ms":"now"}"#,
            br#"{"kind":"event","#,
            br#"{"kind":"exposure","item_ids":["i"],"numbers":"AAAA"}"#,
            br#"{"kind":"exposure","item_ids":["i","j"],"numbers":""}"#,
            br#"{"kind":"exposure","item_ids":[],"numbers":"not base64"}"#,
            b"",
        ];
        for strange in strange {
            assert!(Record::read(strange).is_err());
        }
        assert_eq!(Record::read(br#"{"kind":"event","later":1}"#).unwrap(), Record::Event(Event::default()));
    }

    proptest! {
        #[test]
        fn lists_are_read_as_they_were_written(
            items in prop::collection::vec((".{0,5}", any::<i32>(), any::<i32>()), 0..5), features in 0_usize..4,
            texts in prop::collection::vec(".{0,9}", 4), time_ms in any::<i64>(), arm in any::<bool>(),
        ) {
            let [request_id, surface, pipeline, model_version] = texts.try_into().unwrap();
            let number = |of: i32| of as f32 / 8.0;
            let items = items.into_iter().map(|(item_id, score, odd)| {
                let is_known = |place: usize| !(odd.unsigned_abs() as usize + place).is_multiple_of(3);
                let feature = |place| is_known(place).then(|| number(odd) + place as f32);
                let features = (0..features).map(feature).collect();
                Shown { item_id, score: number(score), propensity: number(odd), features }
            });
            let list = Exposure {
                request_id, time_ms, surface: Some(surface), pipeline, model_version,
                experiment: arm.then(|| Arm { experiment: "e".into(), arm: "a".into(), chance: 0.25 }),
                feature_names: (0..features).map(|number| number.to_string()).collect(),
                items: items.collect(),
            };
            let (written, record) = (list.to_record(), Record::Exposure(list));
            prop_assert!(written.starts_with(EXPOSURE));
            prop_assert_eq!(&Record::read(&written).unwrap(), &record);
            // As it stands in older logs.
            let older = serde_json::to_vec(&record).unwrap();
            prop_assert_eq!(&Record::read(&older).unwrap(), &record);
            prop_assert_eq!(Record::read_counted(&written).unwrap(), Record::read_counted(&older).unwrap());
        }
    }

    #[test]
    fn a_list_in_an_older_log_is_read_as_it_was_meant() {
        let older = br#"{"kind":"exposure","request_id":"r","time_ms":7,"pipeline":"p","model_version":"m",
            "feature_names":["f","g"],"items":[{"item_id":"i","score":0.5,"propensity":1.0,"features":[null,-1.5]},
            {"item_id":"j","score":0.25,"propensity":0.75}]}"#;
        let first = Shown { item_id: "i".into(), score: 0.5, propensity: 1.0, features: vec![None, Some(-1.5)] };
        let second = Shown { item_id: "j".into(), score: 0.25, propensity: 0.75, features: Vec::new() };
        let list = Exposure {
            request_id: "r".into(),
            time_ms: 7,
            pipeline: "p".into(),
            model_version: "m".into(),
            feature_names: vec!["f".into(), "g".into()],
            items: vec![first, second],
            ..Exposure::default()
        };
        assert_eq!(Record::read(older).unwrap(), Record::Exposure(list));
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
