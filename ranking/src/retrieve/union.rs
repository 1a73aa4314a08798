//! All that the sources proposed, item by item: nothing of what a source said is lost.

use super::SourceError;
use crate::index::Scored;

/// How a source fared with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It answered, best first.
    Found(Vec<Scored>),
    /// It had nothing to go on.
    Silent,
    /// It was not waited for.
    Late,
    /// It could not answer.
    Failed(SourceError),
}

impl Outcome {
    /// Whether the source had its say.
    pub fn answered(&self) -> bool {
        matches!(self, Self::Found(_))
    }

    /// Whether the list is worse for it than it should be.
    pub fn degrades(&self) -> bool {
        matches!(self, Self::Late | Self::Failed(_))
    }
}

/// What one source said of one item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// In the unit of the source.
    pub score: f32,
    /// From 0, in the source's list.
    pub rank: u32,
}

/// Candidates with all that was said of them, in the order of their rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Union {
    rows: Vec<u32>,
    answered: Vec<bool>,
    /// Rows by sources.
    entries: Vec<Option<Entry>>,
}

impl Union {
    /// Joins what the sources found; `more` are rows that take part even if no source proposed them.
    pub fn new(outcomes: &[Outcome], more: &[u32]) -> Self {
        let sources = outcomes.len();
        let found = |outcome: &Outcome| match outcome {
            Outcome::Found(found) => found.len(),
            _ => 0,
        };
        let mut said: Vec<(u32, u32, Option<Entry>)> =
            Vec::with_capacity(more.len() + outcomes.iter().map(found).sum::<usize>());
        said.extend(more.iter().map(|row| (*row, u32::MAX, None)));
        for (source, outcome) in (0..).zip(outcomes) {
            if let Outcome::Found(found) = outcome {
                let entry = |(rank, &Scored { row, score }): (u32, &Scored)| (row, source, Some(Entry { score, rank }));
                said.extend((0..).zip(found).map(entry));
            }
        }
        said.sort_unstable_by_key(|(row, source, _)| (*row, *source));
        let mut union = Self { rows: Vec::new(), answered: Vec::new(), entries: Vec::new() };
        union.answered.extend(outcomes.iter().map(Outcome::answered));
        for same in said.chunk_by(|left, right| left.0 == right.0) {
            let first = union.entries.len();
            union.rows.push(same[0].0);
            union.entries.resize(first + sources, None);
            for (_, source, entry) in same.iter().filter(|(_, _, entry)| entry.is_some()) {
                union.entries[first + *source as usize] = *entry;
            }
        }
        union
    }

    /// Rows of the candidates, rising.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// How many sources there are.
    pub fn sources(&self) -> usize {
        self.answered.len()
    }

    /// Whether a source had its say.
    pub fn answered(&self, source: usize) -> bool {
        self.answered[source]
    }

    /// What each source said of a candidate, given its place among the rows.
    ///
    /// # Panics
    /// If there is no such candidate.
    pub fn entries(&self, candidate: usize) -> &[Option<Entry>] {
        assert!(candidate < self.rows.len(), "candidate {candidate} of {}", self.rows.len());
        &self.entries[candidate * self.sources()..][..self.sources()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &[(u32, f32)]) -> Outcome {
        Outcome::Found(rows.iter().map(|(row, score)| Scored { row: *row, score: *score }).collect())
    }

    #[test]
    fn an_item_keeps_what_each_source_said() {
        let outcomes = [found(&[(9, 3.0), (2, 1.0)]), Outcome::Late, found(&[(4, 0.5), (9, 0.25)])];
        let union = Union::new(&outcomes, &[5, 9]);
        assert_eq!(union.rows(), [2, 4, 5, 9]);
        assert_eq!((union.answered(0), union.answered(1), union.sources()), (true, false, 3));
        let nine = union.entries(3);
        assert_eq!(nine[0], Some(Entry { score: 3.0, rank: 0 }));
        assert_eq!(nine[1], None);
        assert_eq!(nine[2], Some(Entry { score: 0.25, rank: 1 }));
        assert_eq!(union.entries(2), [None; 3]);
        assert_eq!(Union::new(&[Outcome::Silent], &[]).rows(), [] as [u32; 0]);
        assert_eq!(Union::new(&[], &[3]).entries(0), []);
    }
}
