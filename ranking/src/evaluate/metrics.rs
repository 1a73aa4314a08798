//! What one ranked list is worth to one user. Relevance is binary; a list shorter than k counts as filled with misses.

use serde::{Deserialize, Serialize};

/// A measure of one list; all lie in 0..=1 and higher is better. With rel(i) = 1 where the i-th item of the list (from 1)
/// is relevant, else 0, R the number of relevant items and precision(i) the share of relevant ones among the first i:
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// sum rel(i) / log2(i + 1), divided by its value for the best list: sum over i <= min(k, R) of 1 / log2(i + 1)
    /// (Järvelin and Kekäläinen 2002, binary gains).
    Ndcg,
    /// sum rel(i) / R.
    Recall,
    /// sum rel(i) / k.
    Precision,
    /// sum rel(i) precision(i) / min(k, R): RecBole's `map`, `map_at_k` of recommenders.
    Map,
    /// sum rel(i) precision(i) / R: `map` of recommenders, as in the table of its README.
    MapAll,
    /// 1 / rank of the first relevant item, 0 without one in the list.
    Mrr,
    /// 1 with a relevant item in the list, else 0.
    HitRate,
}

/// The metrics of one user.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct UserMetrics {
    /// [`Metric::Ndcg`].
    pub ndcg: f64,
    /// [`Metric::Recall`].
    pub recall: f64,
    /// [`Metric::Precision`].
    pub precision: f64,
    /// [`Metric::Map`].
    pub map: f64,
    /// [`Metric::MapAll`].
    pub map_all: f64,
    /// [`Metric::Mrr`].
    pub mrr: f64,
    /// [`Metric::HitRate`].
    pub hit_rate: f64,
}

impl Metric {
    /// All metrics, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Ndcg, Self::Recall, Self::Precision, Self::Map, Self::MapAll, Self::Mrr, Self::HitRate];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::Map => "map",
            Self::MapAll => "map_all",
            Self::Mrr => "mrr",
            Self::HitRate => "hit_rate",
        }
    }
}

impl UserMetrics {
    /// The value of `metric`.
    pub fn get(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Ndcg => self.ndcg,
            Metric::Recall => self.recall,
            Metric::Precision => self.precision,
            Metric::Map => self.map,
            Metric::MapAll => self.map_all,
            Metric::Mrr => self.mrr,
            Metric::HitRate => self.hit_rate,
        }
    }
}

/// The metrics at `k` of `list`, best item first, for a user with the items `relevant` (rising, at least one).
pub fn user_metrics(list: &[u32], relevant: &[u32], k: usize) -> UserMetrics {
    debug_assert!(relevant.is_sorted() && !relevant.is_empty() && k > 0);
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let (mut hits, mut gains, mut precisions, mut first) = (0.0, 0.0, 0.0, None);
    for (place, item) in list.iter().take(k).enumerate() {
        if relevant.binary_search(item).is_ok() {
            hits += 1.0;
            gains += gain(place);
            precisions += hits / (place as f64 + 1.0);
            first = first.or(Some(place));
        }
    }
    let best = k.min(relevant.len());
    UserMetrics {
        ndcg: gains / (0..best).map(gain).sum::<f64>(),
        recall: hits / relevant.len() as f64,
        precision: hits / k as f64,
        map: precisions / best as f64,
        map_all: precisions / relevant.len() as f64,
        mrr: first.map_or(0.0, |place| 1.0 / (place as f64 + 1.0)),
        hit_rate: if first.is_some() { 1.0 } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-12, "{got} is not {wanted}");
    }

    /// Relevant 2, 4, 9; the list has 9 at rank 1 and 4 at rank 3 of 5.
    /// DCG = 1/log2(2) + 1/log2(4) = 1.5; the best has ranks 1, 2, 3: 1 + 1/log2(3) + 1/2 = 2.1309297535714573.
    /// Average precision: (1/1 + 2/3) / 3.
    #[test]
    fn a_list_worked_by_hand() {
        let metrics = user_metrics(&[9, 1, 4, 3, 0], &[2, 4, 9], 5);
        assert_close(metrics.ndcg, 1.5 / 2.130_929_753_571_457_3);
        assert_close(metrics.recall, 2.0 / 3.0);
        assert_close(metrics.precision, 0.4);
        assert_close(metrics.map, 5.0 / 9.0);
        assert_close(metrics.map_all, 5.0 / 9.0);
        assert_eq!((metrics.mrr, metrics.hit_rate), (1.0, 1.0));
    }

    /// k = 2 and three relevant items: the best list holds two of them, recall still counts three.
    #[test]
    fn more_relevant_items_than_places() {
        let metrics = user_metrics(&[5, 7, 2], &[2, 7, 8], 2);
        let second = 1.0 / 3_f64.log2();
        assert_close(metrics.ndcg, second / (1.0 + second));
        assert_close(metrics.recall, 1.0 / 3.0);
        assert_close(metrics.precision, 0.5);
        assert_close(metrics.map, 0.5 / 2.0);
        assert_close(metrics.map_all, 0.5 / 3.0);
        assert_eq!((metrics.mrr, metrics.hit_rate), (0.5, 1.0));
    }

    #[test]
    fn the_best_list_has_one_and_the_worst_nothing() {
        let best = user_metrics(&[3, 1], &[1, 3], 2);
        assert!(Metric::ALL.iter().all(|&metric| best.get(metric) == 1.0), "{best:?}");
        assert_eq!(user_metrics(&[0, 2], &[1, 3], 2), UserMetrics::default());
        assert_eq!(user_metrics(&[], &[1, 3], 2), UserMetrics::default());
    }

    #[test]
    fn a_short_list_is_filled_with_misses() {
        assert_close(user_metrics(&[3], &[3], 10).precision, 0.1);
        assert_close(user_metrics(&[3], &[3], 10).ndcg, 1.0);
    }
}
