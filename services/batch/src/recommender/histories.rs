//! What each user did, oldest first: what models by history are asked with, and what a user has seen.

use attune_ranking::data::{Event, History, LogPart, Worth, WorthError};

use super::tensors::{Tensors, Values};

/// Users' events in order of time and, within a second, of the file. Events of kinds that weigh 0 are not among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histories {
    /// Where each user's begin, and the end of the last one.
    offsets: Vec<u64>,
    items: Vec<u32>,
    weights: Vec<f32>,
    times: Vec<i64>,
}

impl Histories {
    /// The histories of a log's users in a part of it, weighed at the time `now` (Unix seconds).
    ///
    /// # Errors
    /// [`WorthError`] when a setting makes no sense.
    pub fn new(part: LogPart<'_>, worth: &Worth, now: i64) -> Result<Self, WorthError> {
        let (worths, users) = (worth.by_kind(part.log())?, part.log().users());
        let counts = |event: &&Event| worths[usize::from(event.kind)].weight > 0.0;
        let mut order: Vec<&Event> = part.events().filter(counts).collect();
        // Those of one second stay in the order of the file.
        order.sort_by_key(|event| (event.user, event.time));
        let mut histories = Self { offsets: vec![0; users + 1], ..Self::default() };
        for event in order {
            histories.offsets[event.user as usize + 1] += 1;
            histories.items.push(event.item);
            histories.weights.push(worths[usize::from(event.kind)].weigh(event, now));
            histories.times.push(event.time);
        }
        for user in 0..users {
            histories.offsets[user + 1] += histories.offsets[user];
        }
        Ok(histories)
    }

    /// Users who did nothing.
    pub fn empty(users: usize) -> Self {
        Self { offsets: vec![0; users + 1], ..Self::default() }
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.offsets.len() - 1
    }

    /// What a user did.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn of(&self, user: u32) -> History<'_> {
        let range = self.offsets[user as usize] as usize..self.offsets[user as usize + 1] as usize;
        History { items: &self.items[range.clone()], weights: &self.weights[range.clone()], times: &self.times[range] }
    }

    /// What all users did, by row.
    pub fn all(&self) -> Vec<History<'_>> {
        (0..self.users() as u32).map(|user| self.of(user)).collect()
    }

    pub(super) fn into_tensors(self) -> Tensors {
        let mut tensors = Tensors::default();
        tensors.put("offsets".into(), 1, Values::U64(self.offsets));
        tensors.put("items".into(), 1, Values::U32(self.items));
        tensors.put("weights".into(), 1, Values::F32(self.weights));
        tensors.put("times".into(), 1, Values::I64(self.times));
        tensors
    }

    /// Histories of so many users with so many items.
    pub(super) fn from_tensors(tensors: &mut Tensors, users: usize, items: usize) -> Result<Self, String> {
        let histories = Self {
            offsets: tensors.u64("offsets")?,
            items: tensors.u32("items")?,
            weights: tensors.f32("weights")?.0,
            times: tensors.i64("times")?,
        };
        let Self { offsets, items: rows, weights, times } = &histories;
        let events = rows.len();
        let fits = offsets.len() == users + 1
            && offsets[0] == 0
            && offsets.is_sorted()
            && offsets[users] == events as u64
            && (weights.len(), times.len()) == (events, events)
            && rows.iter().all(|row| (*row as usize) < items)
            && weights.iter().all(|weight| weight.is_finite());
        if fits { Ok(histories) } else { Err("the histories contradict the users and items".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use attune_ranking::data::EventLog;

    use super::*;

    fn log() -> EventLog {
        let event = |user, item, kind, time| Event { user, item, kind, value: None, time };
        let events =
            vec![event(1, 0, 0, 9), event(0, 1, 0, 5), event(1, 2, 1, 3), event(1, 1, 0, 9), event(1, 0, 2, 1)];
        EventLog::new(events, 3, 3, ["view", "dislike", "impression"].map(str::to_owned).to_vec()).unwrap()
    }

    #[test]
    fn events_are_in_order_and_what_weighs_nothing_is_left_out() {
        let histories = Histories::new(log().all(), &Worth::default(), 9).unwrap();
        let one = histories.of(1);
        assert_eq!((one.items, one.weights, one.times), (&[2, 0, 1][..], &[-4.0, 1.0, 1.0][..], &[3, 9, 9][..]));
        assert_eq!((histories.of(0).items, histories.of(2).items), (&[1][..], &[][..]));
    }

    #[test]
    fn histories_come_back_and_false_ones_are_refused() {
        let histories = Histories::new(log().all(), &Worth::default(), 9).unwrap();
        let tensors = histories.clone().into_tensors();
        assert_eq!(Histories::from_tensors(&mut tensors.clone(), 3, 3), Ok(histories));
        assert!(Histories::from_tensors(&mut tensors.clone(), 2, 3).is_err());
        assert!(Histories::from_tensors(&mut tensors.clone(), 3, 2).is_err());
        let mut empty = Histories::empty(2).into_tensors();
        assert_eq!(Histories::from_tensors(&mut empty, 2, 0), Ok(Histories::empty(2)));
    }
}
