//! What the ranks of each source, and features of the items, should weigh, learned from lists that are rehearsed: what each
//! source proposes to somebody of whom it is known, and was held back, what he liked next.
//!
//! A [`LogisticBlend`](super::LogisticBlend) of the same lists would be calibrated and order worse than its best source: its
//! loss is about all candidates alike, and a list is about the first ten. So the weights are searched for by what they are
//! for: the best source alone is where the search begins, and a weight is moved as long as the nDCG of the rehearsed lists
//! rises beyond noise. What comes out is never worse on them than the best source. Those of whom little is known have
//! weights of their own, since other sources are good at them.

use std::collections::BTreeMap;

use super::ranks::{RankBand, level, share};
use crate::retrieve::Union;
use crate::train::{BLEND_BANDS, Moves, best_weights};

/// Length of the lists that are compared: longer than what is shown, so that chance has less of a say.
const K: usize = 20;
/// Cases that a band needs for weights of its own; with fewer it has those of the band before, or else after it.
const CASES_LEAST: usize = 30;

/// Some hundred moves are tried: at a standard error, several that are nothing but chance would stay.
const MOVES: Moves = Moves { floor: 0.0, gain_least: 2.0 };

/// One rehearsed list.
#[derive(Clone, Debug, PartialEq)]
pub struct RankCase {
    /// Events that were known of the user.
    events: usize,
    /// By source, and then by feature: what it says in favour of some candidates. Most candidates are proposed by one source
    /// of several, and there are thousands of cases.
    shares: Vec<Box<[(u32, f32)]>>,
    /// By candidate, whether he liked it.
    relevant: Vec<bool>,
    /// nDCG of the best list there could have been, without the division: what he liked may not be among the candidates.
    ideal: f64,
}

impl RankCase {
    /// What the sources proposed to somebody of whom so many events were known, what is known of the items by feature, one
    /// number a candidate and NaN where it is missing, and what he liked: rows, rising.
    pub fn new(events: usize, union: &Union, features: &[Vec<f32>], liked: &[u32]) -> Self {
        let of_source = |source: usize| -> Box<[(u32, f32)]> {
            let entries = (0..union.rows().len() as u32).map(|place| (place, union.entries(place as usize)[source]));
            entries.filter(|(_, entry)| entry.is_some()).map(|(place, entry)| (place, share(entry))).collect()
        };
        let of_feature = |values: &Vec<f32>| -> Box<[(u32, f32)]> {
            (0..).zip(values).map(|(place, value)| (place, level(*value))).collect()
        };
        let shares = (0..union.sources()).map(of_source).chain(features.iter().map(of_feature)).collect();
        let relevant = union.rows().iter().map(|row| liked.binary_search(row).is_ok()).collect();
        Self { events, shares, relevant, ideal: (0..K.min(liked.len())).map(discount).sum() }
    }

    /// nDCG of the list that comes of some weights. `order` is memory to use.
    fn judge(&self, weights: &[f32], order: &mut Vec<(f32, usize)>) -> f64 {
        order.clear();
        order.extend((0..self.relevant.len()).map(|candidate| (0.0, candidate)));
        for (shares, weight) in self.shares.iter().zip(weights) {
            shares.iter().for_each(|(candidate, share)| order[*candidate as usize].0 += share * weight);
        }
        let best_first =
            |left: &(f32, usize), right: &(f32, usize)| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1));
        if K < order.len() {
            order.select_nth_unstable_by(K, best_first);
            order.truncate(K);
        }
        order.sort_unstable_by(best_first);
        let hits = order.iter().enumerate().filter(|(_, (_, candidate))| self.relevant[*candidate]);
        hits.map(|(rank, _)| discount(rank)).sum::<f64>() / self.ideal
    }
}

fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

/// The weights that order the rehearsed lists best, by how much is known of a user; `names` are those of the sources, then
/// of the features. Cases in which nothing was liked are passed over; nothing comes of none.
pub fn learn_ranks(names: &[String], cases: &[RankCase]) -> Vec<RankBand> {
    let band = |case: &RankCase| BLEND_BANDS.partition_point(|&first| first <= case.events) - 1;
    let mut banded = vec![Vec::new(); BLEND_BANDS.len()];
    cases.iter().filter(|case| case.ideal > 0.0).for_each(|case| banded[band(case)].push(case));
    let named = |weights: Vec<f32>| -> BTreeMap<String, f32> { names.iter().cloned().zip(weights).collect() };
    let mut bands: Vec<RankBand> = Vec::new();
    for (events_min, cases) in BLEND_BANDS.into_iter().zip(banded) {
        if cases.len() < CASES_LEAST {
            continue;
        }
        let judge = |weights: &[f32]| -> Vec<f64> {
            let mut order = Vec::new();
            cases.iter().map(|case| case.judge(weights, &mut order)).collect()
        };
        // The first that there is serves those of whom less is known, too.
        let events_min = if bands.is_empty() { 0 } else { events_min };
        bands.push(RankBand { events_min, weights: named(best_weights(names.len(), MOVES, &judge)) });
    }
    bands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Scored;
    use crate::retrieve::Outcome;

    fn names() -> Vec<String> {
        ["good", "bad", "other"].map(str::to_owned).to_vec()
    }

    fn found(rows: impl Iterator<Item = u32>) -> Outcome {
        Outcome::Found(rows.map(|row| Scored { row, score: 0.0 }).collect())
    }

    /// `good` has what is liked at the top; `bad` has it at the bottom; `other` proposes something else.
    fn case(events: usize, good_first: bool) -> RankCase {
        let (up, down) = (found(0..40), found((0..40).rev()));
        let outcomes = if good_first { [up, down, found(50..60)] } else { [down, up, found(50..60)] };
        RankCase::new(events, &Union::new(&outcomes, &[]), &[], &[0, 1, 2, 90])
    }

    #[test]
    fn a_list_is_judged_as_by_hand() {
        let best: f64 = (0..4).map(discount).sum();
        let judged = case(9, true).judge(&[1.0, 0.0, 0.0], &mut Vec::new());
        assert!((judged - (0..3).map(discount).sum::<f64>() / best).abs() < 1e-12, "{judged}");
        assert_eq!(case(9, true).judge(&[0.0, 1.0, 0.0], &mut Vec::new()), 0.0);
    }

    #[test]
    fn the_best_source_is_found_for_newcomers_and_regulars_apart() {
        let cases = [vec![case(1, false); 30], vec![case(30, true); 40], vec![case(3, true); 5]].concat();
        let bands = learn_ranks(&names(), &cases);
        assert_eq!(bands.iter().map(|band| band.events_min).collect::<Vec<_>>(), [0, 20], "too few have three events");
        let best = |band: &RankBand| {
            band.weights.iter().max_by(|left, right| left.1.total_cmp(right.1)).map(|(name, _)| name.clone())
        };
        assert_eq!((best(&bands[0]).as_deref(), best(&bands[1]).as_deref()), (Some("bad"), Some("good")));
        assert!(bands.iter().flat_map(|band| band.weights.values()).all(|weight| *weight >= 0.0));
        assert_eq!(learn_ranks(&names(), &cases), bands, "the same cases, the same weights");
    }

    /// What is liked stands anywhere in the only list, and is praised; the noise says nothing.
    #[test]
    fn a_feature_that_tells_what_is_liked_weighs_and_noise_does_not() {
        let parts = ["list", "praise", "noise"].map(str::to_owned);
        let case = |seed: u32| {
            let liked: Vec<u32> = (0..3).map(|at| (seed * 7 + at * 13) % 40).collect();
            let praise = (0..40).map(|row| if liked.contains(&row) { 0.3 } else { f32::NAN }).collect();
            let noise = (0..40).map(|row| ((row * 31 + seed * 17) % 40) as f32 / 20.0 - 1.0).collect();
            let mut sorted = liked.clone();
            sorted.sort_unstable();
            RankCase::new(30, &Union::new(&[found(0..40)], &[]), &[praise, noise], &sorted)
        };
        let cases: Vec<RankCase> = (0..60).map(case).collect();
        let bands = learn_ranks(&parts, &cases);
        assert_eq!(bands[0].weights["noise"], 0.0, "{bands:?}");
        assert!(bands[0].weights["praise"] > bands[0].weights["list"], "{bands:?}");
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(learn_ranks(&names(), &[]).is_empty());
        let unliked = RankCase::new(3, &Union::new(&[found(0..3), found(0..3), Outcome::Silent], &[]), &[], &[]);
        assert!(learn_ranks(&names(), &vec![unliked; 50]).is_empty());
    }
}
