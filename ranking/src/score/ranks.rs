//! Sources joined by the ranks that they gave, and by what is known of the items, with weights that are set or learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Features, ScoreError};
use crate::retrieve::{Entry, Union};

/// Added to ranks, so that the first of one list does not outweigh the seconds of all others (Cormack et al. 2009).
const RANK_OFFSET: f32 = 60.0;
/// What a source weighs that breaks ties, in parts of its weight.
const TIE_BREAK: f32 = 0.05;

/// Joins sources by rank: the sum over the sources of `weight * 61 / (61 + rank)`, ranks from 0, as a share of the most
/// there could be of the sources that had anything to say. A feature that the caller adds may be weighed beside them: it is
/// a number from -1 to 1, such as a sentiment, and says `(1 + value) / 2` in favour of an item. Where it is missing it is
/// neither for nor against, 0; where no candidate has it, it says nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct RankFusion {
    /// Sources, then features.
    names: Arc<[String]>,
    sources: usize,
    /// From how many events on, rising, and by name; each adds up to 1. The first is for everybody.
    bands: Vec<(usize, Vec<f32>)>,
}

/// Weights for users of whom so many events are known; plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankBand {
    /// From so many events on.
    pub events_min: usize,
    /// By source, or feature; those that have none weigh 0.
    pub weights: BTreeMap<String, f32>,
}

/// What one source says in favour of an item.
pub(super) fn share(entry: Option<Entry>) -> f32 {
    entry.map_or(0.0, |entry| (RANK_OFFSET + 1.0) / (RANK_OFFSET + 1.0 + entry.rank as f32))
}

/// What a feature says in favour of an item; NaN where it is missing.
pub(super) fn level(value: f32) -> f32 {
    if value.is_nan() { 0.5 } else { (1.0 + value.clamp(-1.0, 1.0)) / 2.0 }
}

impl RankFusion {
    /// Weights by source and by feature; those that have none weigh 0. Without any weight all sources count alike.
    ///
    /// # Errors
    /// [`ScoreError::SourceWeight`] for a name that is not there, or weights that make no sense.
    pub fn new<'w>(
        sources: &[String],
        features: &[String],
        weights: impl IntoIterator<Item = (&'w str, f32)>,
    ) -> Result<Self, ScoreError> {
        let names = [sources, features].concat().into();
        let mut ranks = Self { names, sources: sources.len(), bands: Vec::new() };
        ranks.bands.push((0, ranks.by_name(weights)?));
        Ok(ranks)
    }

    /// The same with other weights for those of whom more is known.
    ///
    /// # Errors
    /// [`ScoreError::Bands`] where they do not rise; as [`new`](Self::new) else.
    pub fn with_bands(mut self, bands: &[RankBand]) -> Result<Self, ScoreError> {
        for RankBand { events_min, weights } in bands {
            let weights = self.by_name(weights.iter().map(|(name, weight)| (name.as_str(), *weight)))?;
            match self.bands.last_mut() {
                Some((0, everybody)) if *events_min == 0 => *everybody = weights,
                Some((before, _)) if *before < *events_min => self.bands.push((*events_min, weights)),
                _ => return Err(ScoreError::Bands { events_min: *events_min }),
            }
        }
        Ok(self)
    }

    /// The weights for one request: of whom so many events are known, where these sources, and then these features, had
    /// anything to say, and some sources only break the ties of the others.
    pub(crate) fn of(&self, events: usize, said: &[bool], breaks_ties: impl Fn(usize) -> bool) -> Self {
        let band = self.bands.partition_point(|(events_min, _)| *events_min <= events).saturating_sub(1);
        let weight = |(at, weight): (usize, &f32)| match said[at] {
            false => 0.0,
            true if at < self.sources && breaks_ties(at) => weight * TIE_BREAK,
            true => *weight,
        };
        let mut weights: Vec<f32> = self.bands[band].1.iter().enumerate().map(weight).collect();
        let total: f32 = weights.iter().sum();
        if total > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        Self { names: Arc::clone(&self.names), sources: self.sources, bands: vec![(0, weights)] }
    }

    /// Names of the sources, then of the features.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What each source, and then each feature, adds to the score of a candidate.
    pub(super) fn shares<'u>(
        &'u self,
        union: &'u Union,
        features: &'u Features,
        candidate: usize,
    ) -> impl Iterator<Item = f32> + 'u {
        let (of_sources, of_features) = self.bands[0].1.split_at(self.sources);
        let by_rank = union.entries(candidate).iter().zip(of_sources).map(|(entry, weight)| weight * share(*entry));
        let values = features.extras(candidate).iter().zip(of_features);
        by_rank.chain(values.map(|(value, weight)| weight * level(*value)))
    }

    fn by_name<'w>(&self, weights: impl IntoIterator<Item = (&'w str, f32)>) -> Result<Vec<f32>, ScoreError> {
        let mut by_name = vec![0.0; self.names.len()];
        let mut first = None;
        for (name, weight) in weights {
            let wrong = || ScoreError::SourceWeight { source_name: name.to_owned(), weight };
            let at = self.names.iter().position(|known| known == name).ok_or_else(wrong)?;
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(wrong());
            }
            by_name[at] = weight;
            first.get_or_insert(wrong());
        }
        let total: f32 = by_name.iter().sum();
        match first {
            None => by_name[..self.sources].fill(1.0 / self.sources as f32),
            Some(wrong) if !(total > 0.0 && total.is_finite()) => return Err(wrong),
            Some(_) => by_name.iter_mut().for_each(|weight| *weight /= total),
        }
        Ok(by_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Scored;
    use crate::retrieve::Outcome;
    use crate::score::{Extra, FeatureLayout};

    fn found(rows: &[u32]) -> Outcome {
        Outcome::Found(rows.iter().map(|row| Scored { row: *row, score: 1.0 }).collect())
    }

    fn names() -> Vec<String> {
        ["a", "b"].map(str::to_owned).to_vec()
    }

    fn alone(union: &Union) -> Features {
        FeatureLayout::new(["a", "b"], []).fill(union, &[Outcome::Silent, Outcome::Silent], 0, &[]).unwrap()
    }

    fn band(events_min: usize, weights: &[(&str, f32)]) -> RankBand {
        RankBand { events_min, weights: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect() }
    }

    #[test]
    fn how_much_is_known_decides_who_is_heard() {
        let bands = [band(0, &[("a", 1.0)]), band(3, &[("b", 4.0)])];
        let ranks = RankFusion::new(&names(), &[], [("a", 1.0), ("b", 1.0)]).unwrap().with_bands(&bands).unwrap();
        let union = Union::new(&[found(&[1, 2]), found(&[2, 1])], &[]);
        let features = alone(&union);
        let first = |events| {
            let ranks = ranks.of(events, &[true, true], |_| false);
            (0..2).map(|candidate| ranks.shares(&union, &features, candidate).sum::<f32>()).collect::<Vec<_>>()
        };
        let (best, second) = (1.0, 61.0 / 62.0);
        assert_eq!((first(0), first(2)), (vec![best, second], vec![best, second]));
        assert_eq!((first(3), first(900)), (vec![second, best], vec![second, best]));
    }

    #[test]
    fn who_says_nothing_takes_nothing_from_the_others() {
        let ranks = RankFusion::new(&names(), &[], [("a", 0.999), ("b", 0.001)]).unwrap();
        let union = Union::new(&[Outcome::Silent, found(&[5])], &[]);
        let features = alone(&union);
        let score = |said: &[bool]| ranks.of(0, said, |_| false).shares(&union, &features, 0).sum::<f32>();
        assert_eq!(score(&[false, true]), 1.0);
        assert!((score(&[true, true]) - 0.001).abs() < 1e-6);
        assert_eq!(score(&[false, false]), 0.0);
        let tied = ranks.of(0, &[true, true], |source| source == 0);
        assert!((tied.bands[0].1[0] - 0.04995 / 0.05095).abs() < 1e-4);
    }

    #[test]
    fn bands_that_do_not_rise_are_refused() {
        let ranks = || RankFusion::new(&names(), &[], []).unwrap();
        for bands in
            [[band(2, &[]), band(2, &[])], [band(2, &[]), band(0, &[])], [band(0, &[]), band(0, &[("c", 1.0)])]]
        {
            assert!(ranks().with_bands(&bands).is_err(), "{bands:?}");
        }
    }

    /// Of three items, one is praised, one is blamed, of one nobody says anything: half the weight is the source's, which
    /// has them the other way round.
    #[test]
    fn a_feature_moves_items_as_far_as_it_weighs() {
        let praise = ["praise".to_owned()];
        let union = Union::new(&[found(&[1, 2, 3]), Outcome::Silent], &[]);
        let layout = FeatureLayout::new(["a", "b"], ["praise"]);
        let fill = |values: &[f32]| {
            let outcomes = [found(&[1, 2, 3]), Outcome::Silent];
            layout.fill(&union, &outcomes, 0, &[Extra { name: "praise", values }]).unwrap()
        };
        let features = fill(&[-0.5, f32::NAN, 2.0]);
        let ranks = RankFusion::new(&names(), &praise, [("a", 1.0), ("praise", 1.0)]).unwrap();
        let score = |said: bool, candidate: usize| {
            ranks.of(0, &[true, false, said], |_| false).shares(&union, &features, candidate).sum::<f32>()
        };
        let by_hand = [(1.0 + 0.25) / 2.0, (61.0 / 62.0 + 0.5) / 2.0, (61.0 / 63.0 + 1.0) / 2.0];
        for (candidate, need) in by_hand.into_iter().enumerate() {
            assert!((score(true, candidate) - need).abs() < 1e-6, "{candidate}");
        }
        assert_eq!(score(false, 0), 1.0, "what says nothing takes nothing from the source");
        let alike = RankFusion::new(&names(), &praise, []).unwrap();
        assert_eq!(alike.bands[0].1, [0.5, 0.5, 0.0], "a feature counts where it is named");
        assert!(RankFusion::new(&names(), &praise, [("blame", 1.0)]).is_err());
    }
}
