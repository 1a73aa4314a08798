//! What is known of one tenant's installation at one moment; plain data.

use std::collections::BTreeMap;

/// Steps of half an hour by which a clock may be off, 0 to 14 hours: what time zones are made of.
pub const ZONES: usize = 29;

/// Everything that findings are made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The moment that it is about, in Unix milliseconds.
    pub now_ms: i64,
    /// The log was read too, and not the lake alone.
    pub has_log: bool,
    /// What people did.
    pub events: EventFacts,
    /// Copies of events that were left out, with those that were not: they had an id that was there.
    pub copies: (u64, u64),
    /// Events that were refused; absent where nobody could look.
    pub letters: Option<LetterFacts>,
    /// What was shown.
    pub lists: ListFacts,
    /// What there is to show.
    pub catalogue: CatalogueFacts,
    /// Rules that keep items out of lists, of pipelines and of their own.
    pub rules: Vec<RuleFacts>,
    /// The tenant's own pipelines.
    pub pipelines: Vec<PipelineFacts>,
    /// The trained recommender.
    pub model: ModelFacts,
    /// What goes on in the background, as far as that is known.
    pub lags: Vec<Lag>,
}

/// What people did, as far as it was looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFacts {
    /// Events that were looked at: the newest.
    pub total: u64,
    /// By type.
    pub kinds: BTreeMap<String, KindFacts>,
    /// Events that name an item.
    pub with_item: u64,
    /// Those of them whose item is not in the catalogue.
    pub unknown_items: u64,
    /// Those of these that would be, if upper and lower case and spaces did not count.
    pub nearly_known: u64,
    /// Such items, the most frequent first.
    pub examples: Vec<String>,
    /// Events that speak for an item that there is.
    pub liked: u64,
    /// Subjects that did anything.
    pub subjects: u64,
    /// Subjects that did one thing.
    pub subjects_once: u64,
    /// Subjects with an event that speaks for an item that there is.
    pub subjects_liking: u64,
    /// Who did most, and how much.
    pub busiest: Option<(String, u64)>,
    /// Events with a time of their own that say the same as one before, under another id.
    pub repeated: u64,
    /// What times say.
    pub clocks: ClockFacts,
}

/// Events of a type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KindFacts {
    /// How many.
    pub events: u64,
    /// Whether a weight names it.
    pub is_named: bool,
    /// How many speak for their item.
    pub liked: u64,
    /// How many speak against it.
    pub disliked: u64,
    /// How many have a value.
    pub valued: u64,
    /// The smallest and the largest value.
    pub values: Option<(f64, f64)>,
    /// How many name the list that they happened on.
    pub with_list: u64,
    /// How many of these name a list that was served.
    pub with_known_list: u64,
}

/// What times of events say about clocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockFacts {
    /// Events whose time is not simply that of their arrival.
    pub own: u64,
    /// Events that happened after they arrived.
    pub ahead: u64,
    /// By how much at most, in milliseconds.
    pub ahead_ms_max: i64,
    /// Events of before 1990.
    pub ancient: u64,
    /// Events that arrived within [`ZONES`] half hours of their time.
    pub live: u64,
    /// Of these, how many arrived so many half hours late, to two minutes.
    pub by_zone: [u64; ZONES],
    /// Events of the one minute that has most.
    pub densest_minute: u64,
}

/// Events that were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFacts {
    /// How many.
    pub total: u64,
    /// Those whose time lay ahead of the clock of the server.
    pub future: u64,
    /// Those whose time lay before 1970.
    pub ancient: u64,
    /// Why the last one was refused.
    pub reason: String,
}

/// What was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFacts {
    /// Lists that were served to somebody, not what is like an item or rising.
    pub lists: u64,
    /// Those of them to somebody of whom nothing speaks for an item.
    pub to_strangers: u64,
    /// When the last one was, in Unix milliseconds.
    pub newest_ms: i64,
}

/// What there is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueFacts {
    /// Items.
    pub items: u64,
    /// Those that may be shown now: not hidden, published, not expired.
    pub shown: u64,
    /// Those of these that have an embedding of their present text.
    pub embedded: u64,
    /// Whether there is a model to embed with.
    pub is_embedding: bool,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleFacts {
    /// Where it stands, for example `/v1/rules/NAME`.
    pub place: String,
    /// How many of its items a list may have.
    pub at_most: usize,
    /// How many of the items that may be shown it is about.
    pub items: u64,
    /// Why it is not in force, though it should be.
    pub problem: Option<String>,
}

/// A pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineFacts {
    /// Where it stands, for example `/v1/pipelines/NAME`.
    pub place: String,
    /// Whoever names none gets it.
    pub is_default: bool,
    /// Its sources.
    pub sources: Vec<String>,
    /// Those of them that know nobody: popular, rising, new.
    pub impersonal: Vec<String>,
    /// Those of them that are not there.
    pub absent: Vec<String>,
}

/// The trained recommender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelFacts {
    /// A trainer is configured.
    pub is_trained: bool,
    /// `trainer.every_s`.
    pub every_s: u64,
    /// `trainer.events_min`.
    pub events_min: u64,
    /// Events of the lake.
    pub lake_events: u64,
    /// What is in service.
    pub live: Option<LiveModel>,
    /// What came of the last runs, the newest first.
    pub runs: Vec<Run>,
}

/// A version in service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveModel {
    /// What it is called.
    pub label: String,
    /// Since when, in Unix milliseconds.
    pub promoted_ms: i64,
    /// How many events the lake had when it was trained, where that is known.
    pub lake_events: Option<u64>,
}

/// A run of the trainer that came to an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Whether a version came of it.
    pub is_good: bool,
    /// What a person is told.
    pub detail: String,
}

/// Something in the background.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lag {
    /// What it is called in `/readyz`.
    pub name: String,
    /// The role whose processes do it, where that is known.
    pub role: Option<String>,
    /// How far behind it is, in seconds.
    pub lag_s: f64,
    /// By how many seconds it may be.
    pub lag_s_max: f64,
    /// Who says so.
    pub place: String,
}
