//! What happened, in the order of the file it was read from: who did what to which item, and when.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

/// A number that takes four bytes also where it may be missing: a log has millions of them.
#[derive(Clone, Copy)]
pub struct Amount(NonZeroU32);

/// One thing that a user did to an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Row of the user.
    pub user: u32,
    /// Row of the item. What has no item (most searches) is not part of a log.
    pub item: u32,
    /// Index into [`EventLog::kinds`].
    pub kind: u16,
    /// Stars, price, seconds watched: what it means depends on the kind.
    pub value: Option<Amount>,
    /// Unix seconds.
    pub time: i64,
}

// Five million of them, as a trainer reads, are the largest thing that it holds.
const _: () = assert!(size_of::<Event>() == 24);

/// Events in file order, which breaks ties between events of one second.
#[derive(Clone, Debug, PartialEq)]
pub struct EventLog {
    events: Vec<Event>,
    users: usize,
    items: usize,
    kinds: Vec<String>,
}

/// Events of a log in its order: all of it, or one part of a split. It has no event of its own: a copy of them would be the
/// largest thing that a training holds.
#[derive(Clone, Copy, Debug)]
pub struct LogPart<'a> {
    log: &'a EventLog,
    /// All, where there are none.
    places: Option<&'a [u32]>,
}

/// Why a list of events is not a log.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EventError {
    /// More events than there are places of 32 bits.
    #[error("there are {events} events, and a log has up to {max}: give the latest of them", max = u32::MAX)]
    TooMany {
        /// Events there are.
        events: usize,
    },
    /// A row or an index beyond the stated numbers.
    #[error("event {event} names {what} {row}, but there are {count}: give it a row below that, or raise the number")]
    OutOfRange {
        /// Number of the event, from 0.
        event: usize,
        /// `user`, `item` or `kind`.
        what: &'static str,
        /// The row or index.
        row: usize,
        /// Rows there are.
        count: usize,
    },
    /// A value that is not a number, or infinite.
    #[error("the value of event {event} is {value}: give a finite number or none")]
    NotFinite {
        /// Number of the event, from 0.
        event: usize,
        /// The value.
        value: f32,
    },
}

impl From<f32> for Amount {
    fn from(value: f32) -> Self {
        // The opposite bits: all of them are 0 for one alone of the many that are no number, and another stands for it.
        Self(NonZeroU32::new(!value.to_bits()).unwrap_or_else(|| Self::from(f32::NAN).0))
    }
}

impl Amount {
    /// The number.
    pub fn get(self) -> f32 {
        f32::from_bits(!self.0.get())
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl EventLog {
    /// A log of `events` over `users` by `items`; `kinds` names what [`Event::kind`] counts.
    ///
    /// # Errors
    /// [`EventError`] names the first event that does not fit.
    pub fn new(events: Vec<Event>, users: usize, items: usize, kinds: Vec<String>) -> Result<Self, EventError> {
        if events.len() > u32::MAX as usize {
            return Err(EventError::TooMany { events: events.len() });
        }
        for (number, event) in events.iter().enumerate() {
            let rows = [
                ("user", event.user as usize, users),
                ("item", event.item as usize, items),
                ("kind", usize::from(event.kind), kinds.len()),
            ];
            if let Some((what, row, count)) = rows.into_iter().find(|(_, row, count)| row >= count) {
                return Err(EventError::OutOfRange { event: number, what, row, count });
            }
            if let Some(value) = event.value.map(Amount::get).filter(|value| !value.is_finite()) {
                return Err(EventError::NotFinite { event: number, value });
            }
        }
        Ok(Self { events, users, items, kinds })
    }

    /// The events, in file order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The event at a place. There are millions of places in a split, hence 32 bits.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn event(&self, place: u32) -> &Event {
        &self.events[place as usize]
    }

    /// Users, with events or without.
    pub fn users(&self) -> usize {
        self.users
    }

    /// Items, with events or without.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Names of the kinds.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }

    /// The same users, items and kinds with only the events at `places`, in the order given: one part of a split.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn subset(&self, places: &[u32]) -> Self {
        let events = places.iter().map(|&place| *self.event(place)).collect();
        Self { events, users: self.users, items: self.items, kinds: self.kinds.clone() }
    }

    /// All of it.
    pub fn all(&self) -> LogPart<'_> {
        LogPart { log: self, places: None }
    }

    /// The events at `places`, which rise.
    pub fn part<'a>(&'a self, places: &'a [u32]) -> LogPart<'a> {
        LogPart { log: self, places: Some(places) }
    }

    /// Time of the latest event, `None` without any.
    pub fn latest(&self) -> Option<i64> {
        self.all().latest()
    }
}

impl<'a> LogPart<'a> {
    /// The log, whose users, items and kinds are those of each part.
    pub fn log(self) -> &'a EventLog {
        self.log
    }

    /// The events, in file order.
    ///
    /// # Panics
    /// If there is no event at one of the places.
    pub fn events(self) -> impl Iterator<Item = &'a Event> + Clone {
        let log = self.log;
        let (all, places) = match self.places {
            None => (log.events(), &[][..]),
            Some(places) => (&[][..], places),
        };
        all.iter().chain(places.iter().map(move |place| log.event(*place)))
    }

    /// Time of the latest event, `None` without any.
    pub fn latest(self) -> Option<i64> {
        self.events().map(|event| event.time).max()
    }

    /// The same as a log of its own: a copy, unless it is all of one.
    pub fn to_log(self) -> Cow<'a, EventLog> {
        self.places.map_or(Cow::Borrowed(self.log), |places| Cow::Owned(self.log.subset(places)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(user: u32, item: u32, kind: u16, value: Option<f32>) -> Event {
        Event { user, item, kind, value: value.map(Amount::from), time: 0 }
    }

    #[test]
    fn an_amount_is_the_number_that_it_was_made_of() {
        for value in [0.0, -0.0, 1.0, -4.5, f32::MIN, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(Amount::from(value).get().to_bits(), value.to_bits());
        }
        assert!(
            [f32::NAN, -f32::NAN, f32::from_bits(u32::MAX)].map(|value| Amount::from(value).get().is_nan())
                == [true; 3]
        );
        assert_eq!(size_of::<Option<Amount>>(), 4);
        assert_eq!(format!("{:?}", Amount::from(2.5_f32)), "2.5");
    }

    fn log(events: Vec<Event>) -> Result<EventLog, EventError> {
        EventLog::new(events, 2, 3, vec!["view".into()])
    }

    #[test]
    fn the_first_event_that_does_not_fit_is_named() {
        let error = |bad| log(vec![event(1, 2, 0, None), bad]).unwrap_err();
        let beyond = |what, row, count| EventError::OutOfRange { event: 1, what, row, count };
        assert_eq!(error(event(2, 0, 0, None)), beyond("user", 2, 2));
        assert_eq!(error(event(0, 3, 0, None)), beyond("item", 3, 3));
        assert_eq!(error(event(0, 0, 1, None)), beyond("kind", 1, 1));
        assert!(matches!(error(event(0, 0, 0, Some(f32::NAN))), EventError::NotFinite { event: 1, .. }));
    }

    #[test]
    fn a_subset_keeps_the_shape() {
        let log = log(vec![event(0, 0, 0, None), event(1, 2, 0, Some(1.0))]).unwrap();
        let part = log.subset(&[1]);
        assert_eq!(part.events(), &log.events()[1..]);
        assert_eq!((part.users(), part.items(), part.kinds()), (2, 3, log.kinds()));
        assert_eq!((log.latest(), log.subset(&[]).latest()), (Some(0), None));
    }

    #[test]
    fn a_part_is_what_a_copy_of_it_would_be() {
        let at = |time| Event { time, ..event(0, 1, 0, None) };
        let log = log(vec![at(3), at(9), at(4), at(1)]).unwrap();
        for places in [&[][..], &[0], &[0, 2, 3], &[0, 1, 2, 3]] {
            let (part, copy) = (log.part(places), log.subset(places));
            assert!(part.events().eq(copy.events()), "{places:?}");
            assert_eq!((part.latest(), &*part.to_log()), (copy.latest(), &copy));
        }
        assert!(log.all().events().eq(log.events()));
        assert!(matches!(log.all().to_log(), Cow::Borrowed(_)));
    }
}
