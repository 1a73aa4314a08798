//! Records as columns.

use std::collections::HashMap;
use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float32Array, Float64Array, Int32Array, ListArray, RecordBatch, StringArray,
    TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use attune_api::log::{Arm, Event, Exposure, Shown};

use crate::codec::LakeError;

/// A record and its place.
#[derive(Clone, Debug)]
pub(crate) struct Row<R> {
    pub subject: String,
    pub offset: u64,
    pub record: R,
}

impl Row<Exposure> {
    /// What was shown, with its place on the list.
    fn positions(&self) -> impl Iterator<Item = (&Self, usize, &Shown)> {
        self.record.items.iter().enumerate().map(move |(rank, one)| (self, rank, one))
    }
}

fn moment(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
}

fn text(name: &str, is_optional: bool) -> Field {
    Field::new(name, DataType::Utf8, is_optional)
}

/// The columns of events.
pub fn events_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("subject", false),
        Field::new("offset", DataType::UInt64, false),
        text("event_id", false),
        text("type", false),
        text("item_id", true),
        Field::new("value", DataType::Float64, true),
        moment("time"),
        moment("received"),
        text("session_id", true),
        text("request_id", true),
        text("surface", true),
        text("properties", true),
    ]))
}

/// The columns of exposures, a row for each position of a list.
pub fn exposures_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("subject", false),
        Field::new("offset", DataType::UInt64, false),
        text("request_id", false),
        moment("time"),
        text("surface", true),
        text("pipeline", false),
        text("model_version", false),
        text("experiment", true),
        text("arm", true),
        Field::new("arm_chance", DataType::Float64, true),
        Field::new("rank", DataType::UInt32, false),
        text("item_id", false),
        Field::new("score", DataType::Float32, false),
        Field::new("propensity", DataType::Float32, false),
        Field::new("feature_names", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
        Field::new("feature_values", DataType::List(feature_value()), true),
        // What older versions wrote in place of the two, as a JSON object. Files are joined without what is not named
        // here, and the log may not have it any more.
        text("features", true),
    ]))
}

/// A feature; null where it is missing.
fn feature_value() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float32, true))
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn moments(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
}

pub(crate) fn events(rows: &[Row<Event>]) -> Result<RecordBatch, LakeError> {
    let event = || rows.iter().map(|row| &row.record);
    let properties: Vec<Option<String>> = event()
        .map(|one| (!one.properties.is_empty()).then(|| serde_json::to_string(&one.properties).unwrap_or_default()))
        .collect();
    let columns = vec![
        texts(rows.iter().map(|row| row.subject.as_str())),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.offset))),
        texts(event().map(|one| one.event_id.as_str())),
        texts(event().map(|one| one.r#type.as_str())),
        optional(event().map(|one| one.item_id.as_deref())),
        Arc::new(event().map(|one| one.value).collect::<Float64Array>()),
        moments(event().map(|one| one.time_ms)),
        moments(event().map(|one| one.received_ms)),
        optional(event().map(|one| one.session_id.as_deref())),
        optional(event().map(|one| one.request_id.as_deref())),
        optional(event().map(|one| one.surface.as_deref())),
        optional(properties.iter().map(Option::as_deref)),
    ];
    Ok(RecordBatch::try_new(events_schema(), columns)?)
}

/// How likely an arm was, where that was written down.
fn chance(arm: &Arm) -> Option<f64> {
    Some(arm.chance).filter(|chance| *chance > 0.0)
}

/// By position, the names of its features as a JSON list; each such text is there once, and none where there are no features.
fn feature_names(rows: &[Row<Exposure>]) -> Result<ArrayRef, LakeError> {
    let (mut places, mut texts, mut known) = (Vec::new(), Vec::new(), HashMap::new());
    for Row { record, .. } in rows {
        let names = &record.feature_names;
        let mut place = || {
            *known.entry(names).or_insert_with(|| {
                texts.push(serde_json::to_string(names).expect("texts"));
                texts.len() as i32 - 1
            })
        };
        let place = (!names.is_empty()).then(&mut place);
        places.extend(repeat_n(place, record.items.len()));
    }
    let texts = Arc::new(StringArray::from(texts));
    Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(places), texts)?))
}

/// By position, the features in the order of those names.
fn features(rows: &[Row<Exposure>]) -> Result<ArrayRef, LakeError> {
    let shown = || rows.iter().flat_map(|row| &row.record.items);
    let lengths = OffsetBuffer::from_lengths(shown().map(|shown| shown.features.len()));
    let values: Float32Array = shown().flat_map(|shown| shown.features.iter().copied()).collect();
    Ok(Arc::new(ListArray::try_new(feature_value(), lengths, Arc::new(values), None)?))
}

pub(crate) fn exposures(rows: &[Row<Exposure>]) -> Result<RecordBatch, LakeError> {
    // Arrow wants to know how many values come.
    let positions: Vec<_> = rows.iter().flat_map(Row::positions).collect();
    let shown = || positions.iter().copied();
    let list = || shown().map(|(row, ..)| &row.record);
    let columns = vec![
        texts(shown().map(|(row, ..)| row.subject.as_str())),
        Arc::new(UInt64Array::from_iter_values(shown().map(|(row, ..)| row.offset))) as ArrayRef,
        texts(list().map(|one| one.request_id.as_str())),
        moments(list().map(|one| one.time_ms)),
        optional(list().map(|one| one.surface.as_deref())),
        texts(list().map(|one| one.pipeline.as_str())),
        texts(list().map(|one| one.model_version.as_str())),
        optional(list().map(|one| one.experiment.as_ref().map(|arm| arm.experiment.as_str()))),
        optional(list().map(|one| one.experiment.as_ref().map(|arm| arm.arm.as_str()))),
        Arc::new(list().map(|one| one.experiment.as_ref().and_then(chance)).collect::<Float64Array>()),
        Arc::new(UInt32Array::from_iter_values(shown().map(|(_, rank, _)| rank as u32))),
        texts(shown().map(|(.., one)| one.item_id.as_str())),
        Arc::new(Float32Array::from_iter_values(shown().map(|(.., one)| one.score))),
        Arc::new(Float32Array::from_iter_values(shown().map(|(.., one)| one.propensity))),
        feature_names(rows)?,
        features(rows)?,
        optional(shown().map(|_| None)),
    ];
    Ok(RecordBatch::try_new(exposures_schema(), columns)?)
}
