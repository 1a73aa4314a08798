//! Lists that are the same for everybody: ranked once, walked by each request.

use std::cmp::Ordering;

use super::{Batch, Checked, Proposals, Reason, Scratch, Source, SourceError, Trends};
use crate::index::Scored;
use crate::train::Popular;

/// A set that has fewer than one in so many of the ranked items is walked itself, rather than the ranking.
const NARROW: usize = 32;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Items in the order of one number, the same for all users.
#[derive(Clone, Debug)]
pub struct Ranked {
    reason: Reason,
    ranking: Ranking,
    /// By place.
    scores: Vec<f32>,
}

/// Rows best first, and where each row stands.
#[derive(Clone, Debug)]
struct Ranking {
    rows: Vec<u32>,
    /// By row; `u32::MAX` where it is not ranked.
    places: Vec<u32>,
}

impl Ranking {
    /// Ranks by key, greatest first, equal ones by row, and gives the keys in this order; of a row that comes twice the
    /// greatest counts.
    fn new<K: Ord + Copy>(mut keyed: Vec<(K, u32)>) -> (Self, Vec<K>) {
        keyed.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        let mut places = vec![u32::MAX; keyed.iter().map(|(_, row)| *row as usize + 1).max().unwrap_or(0)];
        let mut place = 0;
        keyed.retain(|(_, row)| {
            let new = places[*row as usize] == u32::MAX;
            if new {
                places[*row as usize] = place;
                place += 1;
            }
            new
        });
        let (keys, rows) = keyed.into_iter().unzip();
        (Self { rows, places }, keys)
    }

    /// The best places from `first` on that a request may have.
    fn walk(&self, batch: &Batch<'_>, request: &Checked, first: usize) -> Vec<u32> {
        let first = first as u32;
        if let Some(allowed) = batch.allowed
            && allowed.count() < self.rows.len() / NARROW
        {
            let rows: Vec<u32> = allowed.iter().filter(|row| !request.excludes(*row)).collect();
            // By itself, so that one row need not wait until another one's place has come from memory.
            let place = |row: &u32| self.places.get(*row as usize).copied().unwrap_or(u32::MAX);
            let mut places: Vec<u32> = rows.iter().map(place).collect();
            places.retain(|place| (first..u32::MAX).contains(place));
            places.sort_unstable();
            places.truncate(batch.k);
            return places;
        }
        let places = (first..).zip(self.rows.get(first as usize..).unwrap_or_default());
        let admitted = places.filter(|(_, row)| batch.admits(request, **row));
        admitted.map(|(place, _)| place).take(batch.k).collect()
    }
}

/// A score that can be sorted by; none is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ByScore(f32);

impl Eq for ByScore {}

impl Ord for ByScore {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for ByScore {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ranked {
    /// What everybody likes.
    pub fn popular(popular: &Popular) -> Self {
        let values = popular.scores().iter().copied().map(f64::from);
        Self::by_value(Reason::Popular, (0..).zip(values).filter(|(_, value)| *value != 0.0))
    }

    /// What is rising. All fade alike, so that the order holds until something happens.
    pub fn trending(trends: &Trends) -> Self {
        Self::by_value(Reason::Trending, trends.values())
    }

    /// The score is the logarithm of 1 + the value over the mean of the positive ones, so that neither the unit of
    /// weights nor the age of all events counts; what is disliked mirrors it.
    fn by_value(reason: Reason, values: impl Iterator<Item = (u32, f64)>) -> Self {
        let values: Vec<(u32, f64)> = values.collect();
        let positive = values.iter().filter(|(_, value)| *value > 0.0);
        let (sum, count) = positive.fold((0.0, 0_usize), |(sum, count), (_, value)| (sum + value, count + 1));
        let mean = if count > 0 { sum / count as f64 } else { 1.0 };
        let score = |value: f64| (value.abs() / mean).ln_1p().copysign(value) as f32;
        let (ranking, keys) = Ranking::new(values.iter().map(|(row, value)| (ByScore(score(*value)), *row)).collect());
        Self { reason, ranking, scores: keys.into_iter().map(|ByScore(score)| score).collect() }
    }
}

impl Source for Ranked {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let proposal =
            |place: u32| Scored { row: self.ranking.rows[place as usize], score: self.scores[place as usize] };
        let propose = |request| Some(self.ranking.walk(batch, request, 0).into_iter().map(proposal).collect());
        Ok(batch.requests.iter().map(propose).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        self.reason
    }

    fn serves_everyone(&self) -> bool {
        true
    }
}

/// Items by when they came.
#[derive(Clone, Debug)]
pub struct Latest {
    ranking: Ranking,
    /// By place, Unix seconds, falling.
    times: Vec<i64>,
    half_life_s: f64,
}

impl Latest {
    /// Ranks rows by their time in Unix seconds; the score of an item halves every `half_life_days`, at least a second.
    pub fn new(items: impl IntoIterator<Item = (u32, i64)>, half_life_days: f32) -> Self {
        let (ranking, times) = Ranking::new(items.into_iter().map(|(row, time)| (time, row)).collect());
        Self { ranking, times, half_life_s: (f64::from(half_life_days) * SECONDS_PER_DAY).max(1.0) }
    }
}

impl Source for Latest {
    /// What is still to come is not proposed.
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let first = self.times.partition_point(|time| *time > batch.now);
        let proposal = |place: u32| {
            let age_s = batch.now.saturating_sub(self.times[place as usize]) as f64;
            let score = (-age_s / self.half_life_s).exp2() as f32;
            Scored { row: self.ranking.rows[place as usize], score }
        };
        let propose = |request| Some(self.ranking.walk(batch, request, first).into_iter().map(proposal).collect());
        Ok(batch.requests.iter().map(propose).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Latest
    }

    fn serves_everyone(&self) -> bool {
        true
    }
}
