//! Filters that come again: what one of them keeps is laid out for itself.
//!
//! A filter that has nothing to do with the vectors leaves a few items in nearly every block. The best 100 of a tenth of
//! the items are then as far away as the best 1,000 of all: nine tenths of a neighbourhood ten times as large are not
//! allowed, and still they decide which blocks there are, how well these are bounded, and what is read. Applications ask
//! with the same few filters again and again, though, so the items of one that comes again get blocks of their own: a
//! [`Layout`] in the same clusters, with the vectors left where they are. A search with the filter is then one without,
//! among fewer items, and finds what it would have found.
//!
//! Laying out costs as much as some hundred queries with the filter. So it happens only after that many, which at worst
//! doubles the work for a filter that then never comes again; on a thread of its own, one in the process at a time, while
//! searches go on as before; and it is forgotten when others want its place. A subset knows nothing of items that were
//! deleted since: whoever searches it says which are alive.
//!
//! The alternative is to be cleverer about the blocks of all items: to gather what is allowed of many before it is
//! screened. It still reads ten times the memory, and bounds are still those of items that are not allowed.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::layout::Layout;
use super::search::FEW;
use super::{Allowed, Segment};
use crate::filter::Filter;

/// Queries with a filter before its items are laid out: together they cost about as much.
const QUERIES_BEFORE: usize = 512;
/// More queries of one search count as so many: they cost less each, and may not come again.
const QUERIES_A_SEARCH: usize = 64;
/// Filters that are remembered without a subset, those that came last.
const CANDIDATES_MAX: usize = 16;
/// Of a segment with fewer items nothing is gained.
const ITEMS_MIN: usize = 10_000;
/// Of a filter that keeps more than one item in so many little is gained for many bytes; one that keeps very few has them
/// scored one by one.
const KEPT_MAX: usize = 3;
/// Subsets have at most one in so many of the bytes that all items have; while one is laid out, its vectors are there twice.
const BYTES_SHARE: usize = 8;

/// What makes a filter the same as another one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key<'a> {
    /// A set of places.
    Places(Cow<'a, Allowed>),
    /// A set of rows.
    Rows(Cow<'a, Allowed>),
    /// A condition on attributes.
    Filter(Cow<'a, Filter>),
}

impl Key<'_> {
    fn into_owned(self) -> Key<'static> {
        match self {
            Key::Places(places) => Key::Places(Cow::Owned(places.into_owned())),
            Key::Rows(rows) => Key::Rows(Cow::Owned(rows.into_owned())),
            Key::Filter(filter) => Key::Filter(Cow::Owned(filter.into_owned())),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Key::Places(set) | Key::Rows(set) => size_of_val(set.words()),
            Key::Filter(_) => 0,
        }
    }
}

#[derive(Debug)]
enum State {
    /// So many queries have come.
    Asked(usize),
    /// Being laid out, not worth it, or too large.
    Left,
    Ready(Arc<Layout>),
}

#[derive(Debug)]
struct Known {
    key: Key<'static>,
    state: State,
}

impl Known {
    fn subset(&self) -> Option<&Arc<Layout>> {
        let State::Ready(subset) = &self.state else { return None };
        Some(subset)
    }

    fn bytes(&self) -> usize {
        self.key.bytes() + self.subset().map_or(0, |subset| subset.bytes())
    }
}

/// The filters of a segment, the one that came last first.
#[derive(Debug, Default)]
pub(super) struct Subsets(Mutex<Vec<Known>>);

impl Subsets {
    /// Held for moments only: never while something is laid out.
    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().iter().map(Known::bytes).sum()
    }

    /// The subset of a filter, or else whether it is time to lay one out.
    fn find(&self, key: &Key<'_>, queries: usize) -> Result<Arc<Layout>, bool> {
        let mut known = self.lock();
        match known.iter().position(|known| known.key == *key) {
            Some(place) => known[..=place].rotate_right(1),
            None => {
                known.insert(0, Known { key: key.clone().into_owned(), state: State::Asked(0) });
                forget(&mut known, |known| known.subset().is_none(), CANDIDATES_MAX, |_| 1);
            }
        }
        match &mut known[0].state {
            State::Ready(subset) => Ok(Arc::clone(subset)),
            State::Left => Err(false),
            State::Asked(before) => {
                *before += queries.min(QUERIES_A_SEARCH);
                Err(*before >= QUERIES_BEFORE)
            }
        }
    }

    /// What has become of a filter, if it is still remembered.
    fn set(&self, key: &Key<'_>, state: State) {
        let mut known = self.lock();
        if let Some(known) = known.iter_mut().find(|known| known.key == *key) {
            known.state = state;
        }
    }

    /// Forgets subsets until the others have so many bytes.
    fn shrink(&self, bytes_max: usize) {
        forget(&mut self.lock(), |known| known.subset().is_some(), bytes_max, Known::bytes);
    }
}

/// Forgets the last of some of the known until the size of these is no more than `most`.
fn forget(known: &mut Vec<Known>, some: impl Fn(&Known) -> bool, most: usize, size: impl Fn(&Known) -> usize) {
    let mut sum = 0;
    known.retain(|known| {
        sum += if some(known) { size(known) } else { 0 };
        !some(known) || sum <= most
    });
}

impl Segment {
    /// The items of a filter, laid out for themselves: if they are, which so many `queries` may be the reason for.
    /// `places` says where they are; it is called for one of many searches, and need not know which items are alive.
    pub(super) fn subset(&self, key: Key<'_>, queries: usize, places: impl FnOnce() -> Allowed) -> Option<Arc<Layout>> {
        // A scan elsewhere is asked first, and asks for places.
        if self.items() < ITEMS_MIN || self.scan.is_some() {
            return None;
        }
        match self.subsets.find(&key, queries) {
            Ok(subset) => return Some(subset),
            Err(false) => return None,
            Err(true) => {}
        }
        let turn = Turn::take()?;
        self.subsets.set(&key, State::Left);
        let (places, key) = (places(), key.into_owned());
        if (self.items() / FEW + 1..=self.items() / KEPT_MAX).contains(&places.count()) {
            let (layout, subsets) = (Arc::clone(&self.layout), Arc::clone(&self.subsets));
            let work = move || {
                let (subset, most) = (Arc::new(layout.subset(&places)), layout.bytes() / BYTES_SHARE);
                if subset.bytes() + key.bytes() <= most {
                    subsets.set(&key, State::Ready(subset));
                    subsets.shrink(most);
                }
                drop(turn);
            };
            // Where the system refuses a thread, nothing is lost but time.
            let _started = thread::Builder::new().name("subset".to_owned()).spawn(work);
        }
        None
    }
}

/// The right to lay out a subset, which one in the process has at a time.
struct Turn;

static TAKEN: AtomicBool = AtomicBool::new(false);

impl Turn {
    fn take() -> Option<Self> {
        (!TAKEN.swap(true, Ordering::Acquire)).then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
