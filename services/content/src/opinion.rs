//! What the reviews of an item come to: how many there are, what they say, and where that is going.

use serde::{Deserialize, Serialize};

/// How many reviews of nothing in particular an item is thought to have: what few reviews say counts less.
const PRIOR_REVIEWS: f64 = 5.0;
/// Sentiments are summed as whole numbers of this part, so that the sum does not depend on an order.
const SENTIMENT_PARTS: f64 = 1e6;
/// Reviews that are the latest ones. A number of them, and not of days: it is counted when a review comes, and would be
/// wrong on the next day.
const LATEST: u64 = 10;

/// Counted from reviews one by one, the newest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Opinion {
    /// Reviews.
    pub count: u64,
    /// Those of them whose sentiment is known.
    judged: u64,
    /// The sum of their positive minus negative, in parts of [`SENTIMENT_PARTS`].
    sum: i64,
    /// The same of the first [`LATEST`] of them; absent where it was counted before there was a trend.
    latest_sum: Option<i64>,
}

impl Opinion {
    /// Adds a review that is older than those before it; `polarity` is its positive minus negative, where that is known.
    pub fn add(&mut self, polarity: Option<f64>) {
        self.count += 1;
        let Some(polarity) = polarity else { return };
        let parts = (polarity * SENTIMENT_PARTS).round() as i64;
        if self.judged < LATEST {
            *self.latest_sum.get_or_insert(0) += parts;
        }
        self.judged += 1;
        self.sum += parts;
    }

    /// What they say, from -1 to 1: the mean with [`PRIOR_REVIEWS`] of 0 before it; none without a review.
    pub fn sentiment(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.sum as f64 / SENTIMENT_PARTS / (self.judged as f64 + PRIOR_REVIEWS))
    }

    /// How much better the latest are than those before them, from -2 to 2: the difference of the means, each with
    /// [`PRIOR_REVIEWS`] of the mean of all before it; none where there are only latest ones.
    pub fn trend(&self) -> Option<f64> {
        let latest = self.latest_sum?;
        let before = self.judged.checked_sub(LATEST).filter(|before| *before > 0)?;
        let mean = self.sum as f64 / SENTIMENT_PARTS / self.judged as f64;
        let drawn = |sum: i64, count: u64| {
            (sum as f64 / SENTIMENT_PARTS + PRIOR_REVIEWS * mean) / (count as f64 + PRIOR_REVIEWS)
        };
        Some(drawn(latest, LATEST) - drawn(self.sum - latest, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(polarities: impl IntoIterator<Item = f64>) -> Opinion {
        let mut opinion = Opinion::default();
        polarities.into_iter().for_each(|polarity| opinion.add(Some(polarity)));
        opinion
    }

    #[test]
    fn few_reviews_count_little() {
        let mut opinion = Opinion::default();
        assert_eq!(opinion.sentiment(), None);
        opinion.add(Some(1.0));
        assert_eq!((opinion.count, opinion.sentiment()), (1, Some(1.0 / 6.0)));
        opinion.add(None);
        assert_eq!((opinion.count, opinion.sentiment()), (2, Some(1.0 / 6.0)), "what nobody judged says nothing");
    }

    #[test]
    fn the_trend_is_the_latest_against_those_before() {
        let flat = of([0.8; 40]).trend().unwrap();
        assert!(flat.abs() < 1e-9, "{flat}");
        assert_eq!(of([1.0; 10]).trend(), None, "there is nothing before them");
        // Ten good ones after ten bad ones: means of 1 and -1, each of 10 with 5 of 0.
        let better = of([[1.0; 10], [-1.0; 10]].concat()).trend().unwrap();
        assert!((better - 2.0 * 10.0 / 15.0).abs() < 1e-9, "{better}");
        assert_eq!(of([[-1.0; 10], [1.0; 10]].concat()).trend(), Some(-better));
        // One bad one before ten good ones: a mean of 9/11; (10 + 5 m) / 15 - (-1 + 5 m) / 6.
        let mean = 9.0 / 11.0;
        let by_hand = (10.0 + 5.0 * mean) / 15.0 - (-1.0 + 5.0 * mean) / 6.0;
        let trend = of([[1.0; 10].as_slice(), &[-1.0]].concat()).trend().unwrap();
        assert!((trend - by_hand).abs() < 1e-9, "{trend} {by_hand}");
    }
}
