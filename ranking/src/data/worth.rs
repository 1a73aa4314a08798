//! What an event is worth is data, kept apart from the events: it can be changed and models trained again without
//! importing anything twice. Only the ratios between weights matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Amount, Event, EventLog, Interactions, InteractionsError, LogPart};

const SECONDS_PER_DAY: f64 = 86_400.0;

/// What events of each kind are worth.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Worth {
    /// By the name of the kind. Names absent here are worth [`other`](Self::other).
    pub kinds: BTreeMap<String, KindWorth>,
    /// What a kind without a name above is worth.
    pub other: KindWorth,
}

/// What events of one kind are worth.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KindWorth {
    /// Weight of one event, at least 0; 0 leaves the kind out of training and evaluation.
    pub weight: f32,
    /// Whether the event speaks for the item or against it.
    pub sign: Sign,
    /// How the event's value enters.
    pub value: ValueUse,
    /// After so many days an event is worth half; `None` never fades.
    pub half_life_days: Option<f32>,
}

/// Whether an event speaks for its item; one against also lowers the neighbours of the item.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// For the item.
    #[default]
    Like,
    /// Against it.
    Dislike,
}

/// How the value of an event enters its worth. An event without a value is worth the weight alone.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueUse {
    /// Not at all.
    #[default]
    Ignored,
    /// The weight times the value.
    Times,
    /// The weight times (value - midpoint): a rating below the midpoint speaks against the item. A distance beyond what any
    /// scale has, ten midpoints or 100, counts as that: one wrong number does not outweigh everybody.
    Centred {
        /// The value that is worth nothing.
        midpoint: f32,
    },
    /// The weight times ln(1 + value), for prices; a value below 0 counts as 0.
    Log,
}

/// Why events have no worth.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum WorthError {
    /// A setting that makes no sense.
    #[error("{field} of kind {kind:?} is {value}: {needed}")]
    Setting {
        /// Name of the kind, or `other`.
        kind: String,
        /// Name of the field.
        field: &'static str,
        /// What it was set to.
        value: f32,
        /// What would do.
        needed: &'static str,
    },
    /// Values so large that the sum is not finite.
    #[error("the events do not make a table: {0}; look for a value that is far too large")]
    Table(#[from] InteractionsError),
}

impl Default for KindWorth {
    fn default() -> Self {
        Self { weight: 1.0, sign: Sign::Like, value: ValueUse::Ignored, half_life_days: None }
    }
}

impl KindWorth {
    fn of(weight: f32) -> Self {
        Self { weight, ..Self::default() }
    }

    /// What `event` is worth at the time `now` (Unix seconds); an event of the future has not faded.
    pub fn weigh(&self, event: &Event, now: i64) -> f32 {
        let factor = event.value.map(Amount::get).map_or(1.0, |value| match self.value {
            ValueUse::Ignored => 1.0,
            ValueUse::Times => f64::from(value),
            ValueUse::Centred { midpoint } => {
                let most = (10.0 * f64::from(midpoint).abs()).max(100.0);
                (f64::from(value) - f64::from(midpoint)).clamp(-most, most)
            }
            ValueUse::Log => f64::from(value.max(0.0)).ln_1p(),
        });
        let age_days = now.saturating_sub(event.time).max(0) as f64 / SECONDS_PER_DAY;
        let faded = self.half_life_days.map_or(1.0, |half_life| (-age_days / f64::from(half_life)).exp2());
        let sign = if self.sign == Sign::Like { 1.0 } else { -1.0 };
        (f64::from(self.weight) * sign * factor * faded) as f32
    }

    fn check(&self, kind: &str) -> Result<(), WorthError> {
        let wrong = |field, value, needed| Err(WorthError::Setting { kind: kind.to_owned(), field, value, needed });
        if !self.weight.is_finite() || self.weight < 0.0 {
            return wrong(
                "weight",
                self.weight,
                "give a number of at least 0, and `sign = \"dislike\"` for one against",
            );
        }
        if let ValueUse::Centred { midpoint } = self.value
            && !midpoint.is_finite()
        {
            return wrong("midpoint", midpoint, "give a finite number, such as 2.5 for one to five stars");
        }
        match self.half_life_days {
            Some(days) if !days.is_finite() || days <= 0.0 => {
                wrong("half_life_days", days, "give a number above 0, or none for events that never fade")
            }
            _ => Ok(()),
        }
    }
}

impl Default for Worth {
    /// Clicks and views say little, purchases much; ratings of one to five stars are centred at 2.5; being shown an item
    /// and searching say nothing. Kinds of your own are worth a view.
    fn default() -> Self {
        let stars = KindWorth { value: ValueUse::Centred { midpoint: 2.5 }, ..KindWorth::of(2.0) };
        let kinds = [
            ("impression", KindWorth::of(0.0)),
            ("view", KindWorth::of(1.0)),
            ("click", KindWorth::of(1.0)),
            ("like", KindWorth::of(4.0)),
            ("dislike", KindWorth { sign: Sign::Dislike, ..KindWorth::of(4.0) }),
            ("share", KindWorth::of(4.0)),
            ("purchase", KindWorth::of(8.0)),
            ("rating", stars),
            ("review", stars),
            ("search", KindWorth::of(0.0)),
        ];
        let kinds = kinds.into_iter().map(|(name, worth)| (name.to_owned(), worth)).collect();
        Self { kinds, other: KindWorth::of(1.0) }
    }
}

impl Worth {
    /// Every event counts 1, whatever its type and value: the convention of most published figures.
    pub fn alike() -> Self {
        Self { kinds: BTreeMap::new(), other: KindWorth::of(1.0) }
    }

    /// The same ratios with all weights multiplied by the one factor that makes the mean liked event of `log` worth 1 at
    /// the time `now` (Unix seconds), and the factor. Models whose settings are in events then mean the same whatever the
    /// weights are, and a history can be told in events of weight 1.
    ///
    /// # Errors
    /// [`WorthError::Setting`] names the kind whose setting makes no sense.
    pub fn in_events(&self, log: &EventLog, now: i64) -> Result<(Self, f32), WorthError> {
        let worths = self.by_kind(log)?;
        let weights = log.events().iter().map(|event| worths[usize::from(event.kind)].weigh(event, now));
        let liked = weights.filter(|weight| *weight > 0.0).map(f64::from);
        let (count, sum) = liked.fold((0_usize, 0.0), |(count, sum), weight| (count + 1, sum + weight));
        let factor = if sum > 0.0 && sum.is_finite() { (count as f64 / sum) as f32 } else { 1.0 };
        Ok((self.times(factor), factor))
    }

    /// All weights multiplied.
    pub fn times(&self, factor: f32) -> Self {
        let times = |worth: &KindWorth| KindWorth { weight: worth.weight * factor, ..*worth };
        let kinds = self.kinds.iter().map(|(name, worth)| (name.clone(), times(worth))).collect();
        Self { kinds, other: times(&self.other) }
    }

    /// What events of the kind called `name` are worth.
    pub fn of(&self, name: &str) -> &KindWorth {
        self.kinds.get(name).unwrap_or(&self.other)
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`WorthError::Setting`] names the kind.
    pub fn check(&self) -> Result<(), WorthError> {
        self.other.check("other")?;
        self.kinds.iter().try_for_each(|(name, worth)| worth.check(name))
    }

    /// The worth of each kind of `log`, by its index.
    ///
    /// # Errors
    /// [`WorthError::Setting`] names the kind whose setting makes no sense.
    pub fn by_kind(&self, log: &EventLog) -> Result<Vec<KindWorth>, WorthError> {
        self.check()?;
        Ok(log.kinds().iter().map(|name| *self.of(name)).collect())
    }
}

/// The table of users by items that `part` makes when its events are worth `worth` at the time `now` (Unix seconds).
/// Events of one user and item add up; those worth nothing leave no entry.
///
/// # Errors
/// [`WorthError`] when a setting makes no sense or a value is too large.
pub fn interactions(part: LogPart<'_>, worth: &Worth, now: i64) -> Result<Interactions, WorthError> {
    let log = part.log();
    let worths = worth.by_kind(log)?;
    let entries = part
        .events()
        .map(|event| (event.user, event.item, worths[usize::from(event.kind)].weigh(event, now)))
        .filter(|(_, _, weight)| *weight != 0.0);
    Ok(Interactions::from_each(log.users(), log.items(), entries)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(item: u32, kind: u16, value: Option<f32>, days: i64) -> Event {
        Event { user: 0, item, kind, value: value.map(Amount::from), time: days * 86_400 }
    }

    fn log(kinds: &[&str], events: Vec<Event>) -> EventLog {
        EventLog::new(events, 1, 4, kinds.iter().map(|&kind| kind.to_owned()).collect()).unwrap()
    }

    #[test]
    fn a_rating_that_no_scale_has_does_not_outweigh_everybody() {
        let worth = Worth::default();
        let weigh = |value| worth.of("rating").weigh(&event(0, 0, Some(value), 0), 0);
        assert_eq!([5.0, 100.0].map(weigh), [5.0, 195.0]);
        assert_eq!([1e30, f32::MAX, -1e30].map(weigh), [200.0, 200.0, -200.0]);
    }

    #[test]
    fn kinds_weigh_as_told_and_impressions_leave_no_entry() {
        let kinds = ["impression", "dislike", "rating", "tasted"];
        let events = vec![event(0, 0, None, 0), event(1, 1, None, 0), event(2, 2, Some(1.0), 0), event(3, 3, None, 0)];
        let table = interactions(log(&kinds, events).all(), &Worth::default(), 0).unwrap();
        assert_eq!(table.row(0), (&[1_u32, 2, 3][..], &[-4.0_f32, -3.0, 1.0][..]));
    }

    #[test]
    fn the_value_enters_as_told() {
        let weigh = |value, given| KindWorth { value, ..KindWorth::of(2.0) }.weigh(&event(0, 0, given, 0), 0);
        assert_eq!(weigh(ValueUse::Ignored, Some(9.0)), 2.0);
        assert_eq!(weigh(ValueUse::Times, Some(3.0)), 6.0);
        assert_eq!(weigh(ValueUse::Centred { midpoint: 3.0 }, Some(1.0)), -4.0);
        assert_eq!(weigh(ValueUse::Log, Some(-5.0)), 0.0);
        assert!((weigh(ValueUse::Log, Some(99.0)) - 2.0 * 100_f32.ln()).abs() < 1e-5);
        assert_eq!(weigh(ValueUse::Times, None), 2.0);
    }

    #[test]
    fn an_event_is_worth_half_after_its_half_life() {
        let worth = KindWorth { half_life_days: Some(30.0), ..KindWorth::of(1.0) };
        let at = |days: i64| worth.weigh(&event(0, 0, None, 0), days * 86_400);
        assert_eq!((at(-5), at(0), at(30), at(60)), (1.0, 1.0, 0.5, 0.25));
    }

    #[test]
    fn all_weights_doubled_double_the_table_exactly() {
        let kinds = ["view", "rating", "purchase", "other"];
        let events = (0..200_u16).map(|n| event(u32::from(n % 4), n / 3 % 4, Some(f32::from(n) * 0.37), n.into()));
        let log = log(&kinds, events.collect());
        let mut worth = Worth::default();
        for kind in worth.kinds.values_mut() {
            *kind = KindWorth { half_life_days: Some(7.3), ..*kind };
        }
        let once = interactions(log.all(), &worth, 300 * 86_400).unwrap();
        worth.kinds.values_mut().chain([&mut worth.other]).for_each(|kind| kind.weight *= 2.0);
        let twice = interactions(log.all(), &worth, 300 * 86_400).unwrap();
        assert_eq!(once.row(0).0, twice.row(0).0);
        let doubled: Vec<f32> = once.row(0).1.iter().map(|weight| weight * 2.0).collect();
        assert_eq!(doubled, twice.row(0).1);
    }

    #[test]
    fn in_events_the_mean_liked_one_is_worth_one_whatever_the_weights_are() {
        let events = vec![event(0, 0, None, 0), event(1, 1, None, 0), event(2, 2, None, 0)];
        let log = log(&["view", "purchase", "dislike"], events);
        let worth = Worth::default();
        let (once, factor) = worth.in_events(&log, 0).unwrap();
        assert!((once.of("view").weight + once.of("purchase").weight - 2.0).abs() < 1e-6, "{once:?} {factor}");
        assert_eq!(once.of("dislike").weight, 4.0 * factor);
        assert_eq!(worth.times(2.0).in_events(&log, 0).unwrap(), (once, factor / 2.0));
        assert_eq!(Worth::alike().in_events(&log, 0).unwrap(), (Worth::alike(), 1.0));
    }

    #[test]
    fn settings_are_plain_data_and_wrong_ones_are_named() {
        let text = serde_json::to_string(&Worth::default()).unwrap();
        assert_eq!(serde_json::from_str::<Worth>(&text).unwrap(), Worth::default());
        let read = |text| serde_json::from_str::<Worth>(text);
        let own = read(r#"{"kinds": {"rating": {"value": {"centred": {"midpoint": 3}}}}}"#).unwrap();
        assert_eq!(own.of("rating").value, ValueUse::Centred { midpoint: 3.0 });
        assert!(read(r#"{"kinds": {"view": {"wieght": 1}}}"#).is_err());
        let wrong = read(r#"{"kinds": {"view": {"half_life_days": 0}}}"#).unwrap();
        let error = interactions(log(&["view"], vec![]).all(), &wrong, 0).unwrap_err();
        assert!(matches!(error, WorthError::Setting { field: "half_life_days", .. }), "{error}");
    }
}
