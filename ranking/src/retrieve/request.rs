//! What is known of who is asked for, checked once for all sources.

use thiserror::Error;

use crate::data::History;

/// Items that one request may exclude, what was seen included.
pub const EXCLUDED_MAX: usize = 20_000;
/// Events that a history may have.
pub const HISTORY_MAX: usize = 10_000;
/// Bits for each excluded item in the first look at whether one is.
const EXCLUDED_BITS: usize = 16;
/// A pause after which a session has ended.
const SESSION_PAUSE_S: i64 = 30 * 60;

/// What is known of one user, or of one moment; all of it may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Row of a user whom the models were trained with.
    pub user: Option<u32>,
    /// Rows of the items of his events, oldest first; one item may come several times.
    pub items: Vec<u32>,
    /// What each event is worth; below 0 is dislike.
    pub weights: Vec<f32>,
    /// When each event was, in Unix seconds.
    pub times: Vec<i64>,
    /// Items of the session as the caller knows it, oldest first; empty: the last events without a long pause.
    pub session: Vec<u32>,
    /// The item that is being looked at; it is not proposed.
    pub context: Option<u32>,
    /// The vector of a text that was asked for.
    pub text: Option<Vec<f32>>,
    /// Where a person without events stands among the factors, by what is known of him.
    pub person: Option<Vec<f32>>,
    /// Rows that shall not be proposed, in any order.
    pub excluded: Vec<u32>,
}

/// Why a request cannot be answered as it is.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RequestError {
    /// A history whose parts differ in length.
    #[error("the history has {items} items, {weights} weights and {times} times: give one of each an event")]
    History {
        /// Items given.
        items: usize,
        /// Weights given.
        weights: usize,
        /// Times given.
        times: usize,
    },
    /// More than a request may hold.
    #[error("{what} has {count} entries: at most {max} are taken")]
    TooMany {
        /// The part of the request.
        what: &'static str,
        /// Entries given.
        count: usize,
        /// Entries allowed.
        max: usize,
    },
    /// NaN or infinite.
    #[error("number {place} of {what} is not finite")]
    NotFinite {
        /// The part of the request.
        what: &'static str,
        /// Which number, from 0.
        place: usize,
    },
    /// A vector of another length than the source's.
    #[error(
        "{what} has {len} values, and {need} are needed: embed it with the model that the items were embedded with"
    )]
    Width {
        /// The part of the request.
        what: &'static str,
        /// Values given.
        len: usize,
        /// Values needed.
        need: usize,
    },
    /// Lists of no items.
    #[error("k is {k}: 1 to {max} are possible")]
    K {
        /// As given.
        k: usize,
        /// The most.
        max: usize,
    },
}

/// A request that can be answered: lengths fit, numbers are finite, exclusions rise and stand there once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    request: Request,
    session_start: usize,
    /// A bit for each remainder of rows that are excluded, as many as a power of two: most rows that are asked about have
    /// none, and need no search.
    excluded: Vec<u64>,
}

impl Request {
    /// Checks and sorts.
    ///
    /// # Errors
    /// [`RequestError`] names what is wrong.
    pub fn check(mut self) -> Result<Checked, RequestError> {
        let (items, weights, times) = (self.items.len(), self.weights.len(), self.times.len());
        if items != weights || items != times {
            return Err(RequestError::History { items, weights, times });
        }
        let bounded = |what, count, max| {
            if count > max { Err(RequestError::TooMany { what, count, max }) } else { Ok(()) }
        };
        bounded("the history", items, HISTORY_MAX)?;
        bounded("the session", self.session.len(), HISTORY_MAX)?;
        bounded("the exclusions", self.excluded.len(), EXCLUDED_MAX)?;
        finite("the weights", &self.weights)?;
        finite("the vector of the text", self.text.as_deref().unwrap_or_default())?;
        finite("the vector of the person", self.person.as_deref().unwrap_or_default())?;
        self.excluded.extend(self.context);
        self.excluded.sort_unstable();
        self.excluded.dedup();
        let bits = (EXCLUDED_BITS * self.excluded.len()).next_power_of_two().max(64);
        let mut excluded = vec![0_u64; bits / 64];
        for row in &self.excluded {
            let bit = *row as usize % bits;
            excluded[bit / 64] |= 1 << (bit % 64);
        }
        let gap = |pair: &[i64]| pair[1].saturating_sub(pair[0]) > SESSION_PAUSE_S;
        let session_start = self.times.windows(2).rposition(gap).map_or(0, |before| before + 1);
        Ok(Checked { request: self, session_start, excluded })
    }
}

fn finite(what: &'static str, values: &[f32]) -> Result<(), RequestError> {
    let place = values.iter().position(|value| !value.is_finite());
    place.map_or(Ok(()), |place| Err(RequestError::NotFinite { what, place }))
}

impl Checked {
    /// The request, its exclusions sorted.
    pub fn get(&self) -> &Request {
        &self.request
    }

    /// Whether a row shall not be proposed.
    pub fn excludes(&self, row: u32) -> bool {
        // The length is a power of two; without any, nothing was excluded.
        let bit = row as usize & (64 * self.excluded.len()).wrapping_sub(1);
        let may_be = self.excluded.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1);
        may_be && self.request.excluded.binary_search(&row).is_ok()
    }

    /// The events.
    pub fn history(&self) -> History<'_> {
        History { items: &self.request.items, weights: &self.request.weights, times: &self.request.times }
    }

    /// The items of the session with what each is worth, oldest first, dislikes left out.
    pub(super) fn session(&self) -> Vec<(u32, f32)> {
        if !self.request.session.is_empty() {
            return self.request.session.iter().map(|item| (*item, 1.0)).collect();
        }
        self.liked(self.session_start)
    }

    /// The last liked events, oldest first, with what each is worth.
    pub(super) fn recent(&self, events: usize) -> Vec<(u32, f32)> {
        self.liked(self.request.items.len().saturating_sub(events))
    }

    /// All recent events, oldest first, dislikes below 0.
    pub(super) fn events(&self, events: usize) -> impl DoubleEndedIterator<Item = (u32, f32)> {
        let first = self.request.items.len().saturating_sub(events);
        self.request.items[first..].iter().copied().zip(self.request.weights[first..].iter().copied())
    }

    fn liked(&self, first: usize) -> Vec<(u32, f32)> {
        let events = self.request.items[first..].iter().copied().zip(self.request.weights[first..].iter().copied());
        events.filter(|(_, weight)| *weight > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(times: &[i64], weights: &[f32]) -> Request {
        let items = (0..times.len() as u32).collect();
        Request { items, weights: weights.to_vec(), times: times.to_vec(), ..Request::default() }
    }

    #[test]
    fn a_session_begins_after_the_last_long_pause_or_as_told() {
        let checked = request(&[0, 4_000, 4_100, 4_200], &[1.0, 2.0, -1.0, 3.0]).check().unwrap();
        assert_eq!(checked.session(), [(1, 2.0), (3, 3.0)]);
        assert_eq!(checked.recent(3), [(1, 2.0), (3, 3.0)]);
        assert_eq!(checked.events(2).collect::<Vec<_>>(), [(2, -1.0), (3, 3.0)]);
        let told = Request { session: vec![9, 9], ..request(&[0], &[1.0]) }.check().unwrap();
        assert_eq!(told.session(), [(9, 1.0), (9, 1.0)]);
        assert!(Request::default().check().unwrap().session().is_empty());
    }

    #[test]
    fn exclusions_may_come_twice_and_in_any_order() {
        let checked = Request { excluded: vec![5, 1, 5, 1, 0], ..Request::default() }.check().unwrap();
        assert_eq!(checked.get().excluded, [0, 1, 5]);
        let looking = Request { excluded: vec![5, 1], context: Some(3), ..Request::default() };
        let looking = looking.check().unwrap();
        assert_eq!(looking.get().excluded, [1, 3, 5]);
        assert_eq!((0..200).filter(|row| looking.excludes(*row)).collect::<Vec<u32>>(), [1, 3, 5]);
        let many = Request { excluded: (0..500).map(|row| 7 * row).collect(), ..Request::default() }.check().unwrap();
        assert!((0..9_000).all(|row| many.excludes(row) == (row % 7 == 0 && row < 3_500)));
        assert!(!Checked::default().excludes(0));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |request: Request| request.check().unwrap_err();
        assert_eq!(error(request(&[0], &[])), RequestError::History { items: 1, weights: 0, times: 1 });
        assert_eq!(
            error(request(&[0, 1], &[1.0, f32::NAN])),
            RequestError::NotFinite { what: "the weights", place: 1 }
        );
        let text = Request { text: Some(vec![f32::INFINITY]), ..Request::default() };
        assert_eq!(error(text), RequestError::NotFinite { what: "the vector of the text", place: 0 });
        let many = Request { excluded: vec![0; EXCLUDED_MAX + 1], ..Request::default() };
        assert!(matches!(error(many), RequestError::TooMany { what: "the exclusions", .. }));
    }
}
