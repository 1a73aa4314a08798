//! Lists that were served.

use std::collections::{HashMap, HashSet};

use super::hash;
use crate::facts::ListFacts;

/// Counts lists, to be held against what people did.
#[derive(Debug, Default)]
pub struct Lists {
    ids: HashSet<u64>,
    /// Lists by who they were served to.
    people: HashMap<u64, u64>,
    newest_ms: i64,
}

impl Lists {
    /// Counts a list to `subject`, or to nobody in particular; the other positions of one that was counted change nothing.
    pub fn take(&mut self, request_id: &str, subject: Option<&str>, time_ms: i64) {
        self.newest_ms = self.newest_ms.max(time_ms);
        if self.ids.insert(hash(request_id))
            && let Some(subject) = subject
        {
            *self.people.entry(hash(subject)).or_default() += 1;
        }
    }

    /// Whether there was such a list.
    pub(super) fn has(&self, request_id: &str) -> bool {
        self.ids.contains(&hash(request_id))
    }

    pub(super) fn finish(&self, likes: impl Fn(u64) -> bool) -> ListFacts {
        let strangers = self.people.iter().filter(|(subject, _)| !likes(**subject));
        ListFacts {
            lists: self.people.values().sum(),
            to_strangers: strangers.map(|(_, lists)| lists).sum(),
            newest_ms: self.newest_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_once_and_for_whom_it_was() {
        let mut lists = Lists::default();
        for (list, subject) in [("1", Some("a")), ("1", Some("a")), ("2", Some("b")), ("3", Some("b")), ("4", None)] {
            lists.take(list, subject, 7);
        }
        assert!(lists.has("4") && !lists.has("5"));
        let facts = lists.finish(|subject| subject == hash("a"));
        assert_eq!((facts.lists, facts.to_strangers, facts.newest_ms), (3, 2, 7));
    }
}
