//! What each report is about: which fields its filter may name, and by what it may count apart.

use attune_api::analytics::Report;
use attune_ranking::attributes::{Kind, Schema, SchemaError};

use crate::properties::Properties;

/// Fields that a filter may name, with their kinds.
type Fields = &'static [(&'static str, Kind)];

const EVENTS: Fields = &[
    ("event_id", Kind::Keyword),
    ("item_id", Kind::Keyword),
    ("received", Kind::Time),
    ("request_id", Kind::Keyword),
    ("session_id", Kind::Keyword),
    ("surface", Kind::Keyword),
    ("time", Kind::Time),
    ("type", Kind::Keyword),
    ("value", Kind::Number),
];

/// What was shown, and what came of it.
const SHOWN: Fields = &[
    ("arm", Kind::Keyword),
    ("experiment", Kind::Keyword),
    ("item_id", Kind::Keyword),
    ("model_version", Kind::Keyword),
    ("pipeline", Kind::Keyword),
    ("request_id", Kind::Keyword),
    ("surface", Kind::Keyword),
    ("time", Kind::Time),
];

const REVIEWS: Fields =
    &[("item_id", Kind::Keyword), ("rating", Kind::Number), ("sentiment", Kind::Number), ("time", Kind::Time)];

/// What a report can be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Knows {
    /// The fields of its filter.
    pub filter: Fields,
    /// Whether its filter reaches properties of events.
    pub properties: bool,
    /// By what it counts apart.
    pub group_by: &'static [&'static str],
    /// By what it does where the question does not say.
    pub group_by_default: &'static [&'static str],
    /// Whether it counts by steps of time.
    pub interval: bool,
}

impl Knows {
    pub fn of(report: Report) -> Self {
        let of = |filter: Fields, group_by, interval| {
            let properties = filter == EVENTS;
            Self { filter, properties, group_by, group_by_default: &[], interval }
        };
        match report {
            Report::TopItems => of(EVENTS, &["type", "surface"], true),
            Report::Timeseries | Report::ActiveUsers => of(EVENTS, &["type", "surface", "item_id"], true),
            Report::Funnel => of(EVENTS, &["surface"], false),
            Report::Sessions => of(EVENTS, &["surface"], true),
            Report::Ctr => of(SHOWN, &["surface", "item_id", "pipeline", "model_version", "experiment", "arm"], true),
            Report::Experiments => of(SHOWN, &[], false),
            Report::Sentiment => Self { group_by_default: &["item_id"], ..of(REVIEWS, &["item_id"], true) },
        }
    }

    /// The fields as a filter is held against them, and the properties that it names.
    ///
    /// # Errors
    /// The name of a property that is none.
    pub fn schema(self, properties: &Properties) -> Result<Schema, SchemaError> {
        Schema::new(self.filter.iter().copied().chain(properties.kinds()))
    }

    /// The fields as a refusal tells them.
    pub fn fields(self) -> String {
        let own = self.filter.iter().map(|(name, _)| *name);
        own.chain(self.properties.then_some("properties.NAME")).collect::<Vec<_>>().join(", ")
    }
}
