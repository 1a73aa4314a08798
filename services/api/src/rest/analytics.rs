//! `POST /v1/analytics/...`: a question about what happened, and a table for an answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Timestamp;

/// A question about what happened. Unknown fields are refused, and so is what a report has no use for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// What happened earlier does not count; 30 days before `to` if absent. At most 400 days before `to`.
    #[schema(example = json!(null))]
    pub from: Option<Timestamp>,
    /// What happened then or later does not count; if absent, everything until now does.
    #[schema(example = json!(null))]
    pub to: Option<Timestamp>,
    /// What counts, in the language of filters, over what the report is about: `type`, `item_id`, `value`, `time`,
    /// `received`, `event_id`, `session_id`, `request_id` and `surface` of events, and their properties as
    /// `properties.NAME` (texts, numbers and booleans, also of nested objects, as what they are compared with); `item_id`, `surface`, `request_id`,
    /// `time`, `pipeline`, `model_version`, `experiment` and `arm` for `ctr` and `experiments`; `item_id`, `rating`,
    /// `sentiment` and `time` of reviews.
    #[schema(example = "type == \"view\"")]
    pub filter: Option<String>,
    /// Columns by which is counted apart. A refusal says which ones the report knows.
    #[schema(example = json!([]))]
    pub group_by: Option<Vec<String>>,
    /// Steps of time by which is counted apart, in UTC; a week begins on Monday.
    #[schema(example = json!(null))]
    pub interval: Option<Interval>,
    /// `top-items` alone: how many items, in each group and step of time, 1 to 1,000; 10 if absent.
    #[schema(example = json!(null))]
    pub k: Option<usize>,
    /// `funnel` alone: 2 to 10 steps in their order, each a type of event or a filter.
    #[schema(example = json!(null))]
    pub steps: Option<Vec<String>>,
}

/// A step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// From midnight to midnight, UTC.
    Day,
    /// From Monday to Sunday, UTC.
    Week,
    /// A month of the calendar, UTC.
    Month,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Table {
    /// What stands in each place of a row.
    pub columns: Vec<Column>,
    /// At most 10,000, ordered by time, then by the columns of `group_by`. Absent values are null.
    #[schema(value_type = Vec<Vec<Value>>)]
    pub rows: Vec<Vec<Value>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// What it is called.
    #[schema(example = "count")]
    pub name: String,
    /// What it holds.
    pub r#type: ColumnType,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A moment, as RFC 3339 in UTC.
    Time,
}

impl Table {
    /// The place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, r#type: ColumnType) -> Self {
        Self { name: name.into(), r#type }
    }
}
