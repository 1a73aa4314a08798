//! Sources joined by the ranks that they gave, with weights that are set or learned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ScoreError;
use crate::retrieve::{Entry, Union};

/// Added to ranks, so that the first of one list does not outweigh the seconds of all others (Cormack et al. 2009).
const RANK_OFFSET: f32 = 60.0;
/// What a source weighs that breaks ties, in parts of its weight.
const TIE_BREAK: f32 = 0.05;

/// Joins sources by rank: the sum over the sources of `weight * 61 / (61 + rank)`, ranks from 0, as a share of the most
/// there could be of the sources that had anything to say.
#[derive(Clone, Debug, PartialEq)]
pub struct RankFusion {
    /// From how many events on, rising, and by source; each adds up to 1. The first is for everybody.
    bands: Vec<(usize, Vec<f32>)>,
}

/// Weights for users of whom so many events are known; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankBand {
    /// From so many events on.
    pub events_min: usize,
    /// By source; those that have none weigh 0.
    pub weights: BTreeMap<String, f32>,
}

/// What one source says in favour of an item.
pub(super) fn share(entry: Option<Entry>) -> f32 {
    entry.map_or(0.0, |entry| (RANK_OFFSET + 1.0) / (RANK_OFFSET + 1.0 + entry.rank as f32))
}

impl RankFusion {
    /// Weights by source; those that have none weigh 0. Without any weight all count alike.
    ///
    /// # Errors
    /// [`ScoreError::SourceWeight`] for a source that is not there, or weights that make no sense.
    pub fn new<'w>(sources: &[String], weights: impl IntoIterator<Item = (&'w str, f32)>) -> Result<Self, ScoreError> {
        Ok(Self { bands: vec![(0, by_source(sources, weights)?)] })
    }

    /// The same with other weights for those of whom more is known.
    ///
    /// # Errors
    /// [`ScoreError::Bands`] where they do not rise; as [`new`](Self::new) else.
    pub fn with_bands(mut self, sources: &[String], bands: &[RankBand]) -> Result<Self, ScoreError> {
        for RankBand { events_min, weights } in bands {
            let weights = by_source(sources, weights.iter().map(|(name, weight)| (name.as_str(), *weight)))?;
            match self.bands.last_mut() {
                Some((0, everybody)) if *events_min == 0 => *everybody = weights,
                Some((before, _)) if *before < *events_min => self.bands.push((*events_min, weights)),
                _ => return Err(ScoreError::Bands { events_min: *events_min }),
            }
        }
        Ok(self)
    }

    /// The weights for one request: of whom so many events are known, where these sources had anything to say, of which
    /// some only break the ties of the others.
    pub(crate) fn of(&self, events: usize, said: &[bool], breaks_ties: impl Fn(usize) -> bool) -> Self {
        let band = self.bands.partition_point(|(events_min, _)| *events_min <= events).saturating_sub(1);
        let weight = |(source, weight): (usize, &f32)| match (said[source], breaks_ties(source)) {
            (false, _) => 0.0,
            (true, true) => weight * TIE_BREAK,
            (true, false) => *weight,
        };
        let mut weights: Vec<f32> = self.bands[band].1.iter().enumerate().map(weight).collect();
        let total: f32 = weights.iter().sum();
        if total > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        Self { bands: vec![(0, weights)] }
    }

    /// What each source adds to the score of a candidate.
    pub(super) fn shares<'u>(&'u self, union: &'u Union, candidate: usize) -> impl Iterator<Item = f32> + 'u {
        union.entries(candidate).iter().zip(&self.bands[0].1).map(|(entry, weight)| weight * share(*entry))
    }
}

fn by_source<'w>(
    sources: &[String],
    weights: impl IntoIterator<Item = (&'w str, f32)>,
) -> Result<Vec<f32>, ScoreError> {
    let mut by_source = vec![0.0; sources.len()];
    let mut first = None;
    for (name, weight) in weights {
        let wrong = || ScoreError::SourceWeight { source_name: name.to_owned(), weight };
        let source = sources.iter().position(|source| source == name).ok_or_else(wrong)?;
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(wrong());
        }
        by_source[source] = weight;
        first.get_or_insert(wrong());
    }
    let total: f32 = by_source.iter().sum();
    match first {
        None => by_source.fill(1.0 / sources.len() as f32),
        Some(wrong) if !(total > 0.0 && total.is_finite()) => return Err(wrong),
        Some(_) => by_source.iter_mut().for_each(|weight| *weight /= total),
    }
    Ok(by_source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::{Outcome, Proposal, Reason};

    fn found(rows: &[u32]) -> Outcome {
        Outcome::Found(rows.iter().map(|row| Proposal { row: *row, score: 1.0, reason: Reason::Model }).collect())
    }

    fn names() -> Vec<String> {
        ["a", "b"].map(str::to_owned).to_vec()
    }

    fn band(events_min: usize, weights: &[(&str, f32)]) -> RankBand {
        RankBand { events_min, weights: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect() }
    }

    #[test]
    fn how_much_is_known_decides_who_is_heard() {
        let bands = [band(0, &[("a", 1.0)]), band(3, &[("b", 4.0)])];
        let ranks = RankFusion::new(&names(), [("a", 1.0), ("b", 1.0)]).unwrap().with_bands(&names(), &bands).unwrap();
        let union = Union::new(&[found(&[1, 2]), found(&[2, 1])], &[]);
        let first = |events| {
            let ranks = ranks.of(events, &[true, true], |_| false);
            (0..2).map(|candidate| ranks.shares(&union, candidate).sum::<f32>()).collect::<Vec<_>>()
        };
        let (best, second) = (1.0, 61.0 / 62.0);
        assert_eq!((first(0), first(2)), (vec![best, second], vec![best, second]));
        assert_eq!((first(3), first(900)), (vec![second, best], vec![second, best]));
    }

    #[test]
    fn who_says_nothing_takes_nothing_from_the_others() {
        let ranks = RankFusion::new(&names(), [("a", 0.999), ("b", 0.001)]).unwrap();
        let union = Union::new(&[Outcome::Silent, found(&[5])], &[]);
        let score = |said: &[bool]| ranks.of(0, said, |_| false).shares(&union, 0).sum::<f32>();
        assert_eq!(score(&[false, true]), 1.0);
        assert!((score(&[true, true]) - 0.001).abs() < 1e-6);
        assert_eq!(score(&[false, false]), 0.0);
        let tied = ranks.of(0, &[true, true], |source| source == 0);
        assert!((tied.bands[0].1[0] - 0.04995 / 0.05095).abs() < 1e-4);
    }

    #[test]
    fn bands_that_do_not_rise_are_refused() {
        let ranks = || RankFusion::new(&names(), []).unwrap();
        for bands in
            [[band(2, &[]), band(2, &[])], [band(2, &[]), band(0, &[])], [band(0, &[]), band(0, &[("c", 1.0)])]]
        {
            assert!(ranks().with_bands(&names(), &bands).is_err(), "{bands:?}");
        }
    }
}
