//! Rows of events, counted one after another within bounds of memory.

mod clocks;
mod lists;
mod seen;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

use crate::facts::{EventFacts, KindFacts, ListFacts};

use clocks::Clocks;
pub use lists::Lists;
use seen::Names;

/// Types of events that are counted apart; the rest are one more.
const KINDS_MAX: usize = 1_000;
/// What further types are called.
const OTHERS: &str = "(further types)";

/// An event.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventRow<'a> {
    /// Whose.
    pub subject: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// With what.
    pub item_id: Option<&'a str>,
    /// As it came.
    pub value: Option<f64>,
    /// When it happened, in Unix milliseconds.
    pub time_ms: i64,
    /// When it arrived, in Unix milliseconds.
    pub received_ms: i64,
    /// The list that it happened on.
    pub request_id: Option<&'a str>,
    /// Where.
    pub surface: Option<&'a str>,
}

/// What an event is worth.
#[derive(Clone, Copy, Debug)]
pub struct Weighed {
    /// Above 0 it speaks for its item, below against it.
    pub weight: f32,
    /// Whether a weight names its type, on its surface or on all.
    pub is_named: bool,
}

/// Says what events are worth.
pub type Weigher = Box<dyn Fn(&EventRow<'_>) -> Weighed + Send>;

/// The items that there are, by hashes of 64 bits.
#[derive(Debug, Default)]
pub struct KnownItems {
    exact: HashSet<u64>,
    loose: HashSet<u64>,
}

#[derive(Default)]
struct Person {
    events: u64,
    likes: bool,
}

/// Counts events.
pub struct Tally {
    items: Arc<KnownItems>,
    lists: Arc<Lists>,
    weigher: Weigher,
    facts: EventFacts,
    kinds: BTreeMap<String, KindFacts>,
    people: HashMap<u64, Person>,
    unknown: Names,
    said: HashSet<u64>,
    clocks: Clocks,
}

impl KnownItems {
    /// Adds one.
    pub fn add(&mut self, id: &str) {
        self.exact.insert(hash(id));
        self.loose.insert(hash(&loosely(id)));
    }
}

impl Tally {
    /// Counts events that are about these items and happened on these lists.
    pub fn new(items: Arc<KnownItems>, lists: Arc<Lists>, weigher: Weigher) -> Self {
        Self {
            items,
            lists,
            weigher,
            facts: EventFacts::default(),
            kinds: BTreeMap::new(),
            people: HashMap::new(),
            unknown: Names::default(),
            said: HashSet::new(),
            clocks: Clocks::default(),
        }
    }

    /// Counts the next event.
    pub fn take(&mut self, row: &EventRow<'_>) {
        let weighed = (self.weigher)(row);
        let is_known = row.item_id.is_some_and(|id| self.items.exact.contains(&hash(id)));
        let likes = weighed.weight > 0.0 && is_known;
        self.facts.total += 1;
        self.facts.liked += u64::from(likes);
        self.item(row, is_known);
        self.kind(row, weighed);
        self.person(row, likes);
        self.clocks.take(row.time_ms, row.received_ms);
        if row.time_ms != row.received_ms {
            let said = (row.subject, row.kind, row.item_id, row.value.map(f64::to_bits), row.time_ms);
            self.facts.repeated += u64::from(!self.said.insert(hash(&said)));
        }
    }

    /// What all of them come to.
    pub fn finish(mut self) -> (EventFacts, ListFacts) {
        let likes = |subject: u64| self.people.get(&subject).is_some_and(|person| person.likes);
        let lists = self.lists.finish(likes);
        let count = |is_so: fn(&Person) -> bool| self.people.values().filter(|person| is_so(person)).count() as u64;
        self.facts.subjects = self.people.len() as u64;
        self.facts.subjects_once = count(|person| person.events == 1);
        self.facts.subjects_liking = count(|person| person.likes);
        let facts = EventFacts {
            kinds: self.kinds,
            examples: self.unknown.most_frequent(),
            clocks: self.clocks.finish(),
            ..self.facts
        };
        (facts, lists)
    }

    fn item(&mut self, row: &EventRow<'_>, is_known: bool) {
        let Some(id) = row.item_id else { return };
        self.facts.with_item += 1;
        if !is_known {
            self.facts.unknown_items += 1;
            self.facts.nearly_known += u64::from(self.items.loose.contains(&hash(&loosely(id))));
            self.unknown.take(id);
        }
    }

    fn kind(&mut self, row: &EventRow<'_>, weighed: Weighed) {
        let has_room = self.kinds.len() < KINDS_MAX || self.kinds.contains_key(row.kind);
        let name = if has_room { row.kind } else { OTHERS };
        if !self.kinds.contains_key(name) {
            self.kinds.insert(name.to_owned(), KindFacts { is_named: weighed.is_named, ..KindFacts::default() });
        }
        let Some(kind) = self.kinds.get_mut(name) else { return };
        kind.events += 1;
        kind.liked += u64::from(weighed.weight > 0.0);
        kind.disliked += u64::from(weighed.weight < 0.0);
        if let Some(value) = row.value {
            let (low, high) = kind.values.unwrap_or((value, value));
            kind.valued += 1;
            kind.values = Some((low.min(value), high.max(value)));
        }
        if let Some(list) = row.request_id {
            kind.with_list += 1;
            kind.with_known_list += u64::from(self.lists.has(list));
        }
    }

    fn person(&mut self, row: &EventRow<'_>, likes: bool) {
        let person = self.people.entry(hash(row.subject)).or_default();
        person.events += 1;
        person.likes |= likes;
        let events = person.events;
        if self.facts.busiest.as_ref().is_none_or(|(_, most)| events > *most) {
            self.facts.busiest = Some((row.subject.to_owned(), events));
        }
    }
}

/// An id without what people write in more than one way.
fn loosely(id: &str) -> String {
    id.trim().to_lowercase()
}

/// Of a million, two are taken for one another with a probability of 3 in 100 million.
fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weigher() -> Weigher {
        Box::new(|row| Weighed {
            weight: match row.kind {
                "dislike" => -1.0,
                "impression" => 0.0,
                _ => 1.0,
            },
            is_named: row.kind != "clik",
        })
    }

    fn tally(items: &[&str]) -> Tally {
        let mut known = KnownItems::default();
        items.iter().for_each(|id| known.add(id));
        Tally::new(Arc::new(known), Arc::default(), weigher())
    }

    #[test]
    fn items_types_and_people_are_counted() {
        let mut tally = tally(&["Tea", "cup"]);
        let event = |subject, kind, item| EventRow { subject, kind, item_id: Some(item), ..EventRow::default() };
        for (subject, kind, item) in
            [("a", "click", "Tea"), ("a", "clik", "tea "), ("a", "impression", "cup"), ("b", "dislike", "pot")]
        {
            tally.take(&event(subject, kind, item));
        }
        let (facts, _) = tally.finish();
        assert_eq!((facts.total, facts.with_item, facts.unknown_items, facts.nearly_known), (4, 4, 2, 1));
        assert_eq!((facts.liked, facts.subjects, facts.subjects_once, facts.subjects_liking), (1, 2, 1, 1));
        assert_eq!((facts.busiest, facts.examples), (Some(("a".into(), 3)), vec!["pot".into(), "tea ".into()]));
        assert!(facts.kinds["click"].is_named && !facts.kinds["clik"].is_named);
        assert_eq!((facts.kinds["dislike"].liked, facts.kinds["dislike"].disliked), (0, 1));
    }

    #[test]
    fn what_is_said_again_under_another_id_is_counted_where_it_has_a_time_of_its_own() {
        let mut tally = tally(&[]);
        let row = EventRow { subject: "a", kind: "click", time_ms: 5, received_ms: 9, ..EventRow::default() };
        [row, row, EventRow { value: Some(1.0), ..row }, EventRow { received_ms: 5, ..row }]
            .iter()
            .for_each(|row| tally.take(row));
        assert_eq!(tally.finish().0.repeated, 1);
    }

    #[test]
    fn types_without_end_take_no_more_memory() {
        let mut tally = tally(&[]);
        for number in 0..KINDS_MAX + 50 {
            let kind = format!("k{number}");
            tally.take(&EventRow { subject: "a", kind: &kind, ..EventRow::default() });
        }
        let (facts, _) = tally.finish();
        assert_eq!((facts.kinds.len(), facts.kinds[OTHERS].events), (KINDS_MAX + 1, 50));
    }
}
