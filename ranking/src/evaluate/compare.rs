//! Two outcomes side by side: is the second better, or was it chance?

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bootstrap::{Bootstrap, Difference, Interval};
use super::metrics::Metric;
use super::run::{GroupOutcome, Outcome};

/// How a second run differs from a first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the protocol of both.
    pub protocol: String,
    /// Seed of the split of both.
    pub seed: u64,
    /// Length of the lists.
    pub k: usize,
    /// How intervals and p-values were made.
    pub bootstrap: Bootstrap,
    /// The groups of both.
    pub groups: Vec<GroupComparison>,
}

/// How a second run differs from a first for one group of users.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GroupComparison {
    /// Name of the group.
    pub name: String,
    /// Users of both.
    pub users: usize,
    /// In the order of [`Metric::ALL`].
    pub metrics: Vec<(Metric, Difference)>,
}

/// Why two outcomes cannot be compared.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum CompareError {
    /// They were measured differently.
    #[error("the runs differ in {what}, {first} and {second}: measure both with the same protocol, seed and stage")]
    Settings {
        /// What differs.
        what: &'static str,
        /// That of the first run.
        first: String,
        /// That of the second run.
        second: String,
    },
    /// They were asked about other users, or about other test events of theirs.
    #[error("the runs were asked about other users or events in group {group:?}: measure both on the same data")]
    Users {
        /// The group.
        group: String,
    },
}

impl Comparison {
    /// How `second` differs from `first`, user by user.
    ///
    /// # Errors
    /// [`CompareError`] unless protocol, seed, stage, ranked items and users are the same.
    pub fn new(first: &Outcome, second: &Outcome, bootstrap: Bootstrap) -> Result<Self, CompareError> {
        let settings = |outcome: &Outcome| {
            [
                ("protocol", outcome.protocol.clone()),
                ("seed", outcome.seed.to_string()),
                ("stage", format!("{:?}", outcome.stage).to_lowercase()),
                ("k", outcome.k.to_string()),
                ("ranked items", outcome.ranked.to_string()),
                ("number of groups", outcome.groups.len().to_string()),
            ]
        };
        let mut pairs = settings(first).into_iter().zip(settings(second));
        if let Some(((what, first), (_, second))) = pairs.find(|(first, second)| first != second) {
            return Err(CompareError::Settings { what, first, second });
        }
        let groups = first.groups.iter().zip(&second.groups);
        Ok(Self {
            protocol: first.protocol.clone(),
            seed: first.seed,
            k: first.k,
            bootstrap,
            groups: groups.map(|(first, second)| compare(first, second, &bootstrap)).collect::<Result<_, _>>()?,
        })
    }
}

fn compare(
    first: &GroupOutcome,
    second: &GroupOutcome,
    bootstrap: &Bootstrap,
) -> Result<GroupComparison, CompareError> {
    let asked = |group: &GroupOutcome| group.users.iter().map(|user| (user.user, user.relevant)).collect::<Vec<_>>();
    if first.name != second.name || asked(first) != asked(second) {
        return Err(CompareError::Users { group: first.name.clone() });
    }
    let paired = |metric| (metric, bootstrap.paired(&first.values(metric), &second.values(metric)));
    let metrics = Metric::ALL.map(paired).to_vec();
    Ok(GroupComparison { name: first.name.clone(), users: first.users.len(), metrics })
}

impl Difference {
    /// Whether it is beyond chance at `level`, such as 0.95.
    pub fn is_significant(&self, level: f64) -> bool {
        self.p < 1.0 - level
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, seed, level) = (&self.protocol, self.seed, 100.0 * self.bootstrap.level);
        writeln!(f, "{protocol}, seed {seed}; second run less first; intervals of {level}% over users")?;
        for GroupComparison { name, users, metrics } in &self.groups {
            writeln!(f, "\n{name}: {users} users")?;
            for (metric, difference) in metrics {
                let Difference { interval: Interval { mean, low, high }, p } = difference;
                let verdict = match (difference.is_significant(self.bootstrap.level), *mean > 0.0) {
                    (false, _) => "no significant difference",
                    (true, true) => "significantly better",
                    (true, false) => "significantly worse",
                };
                let name = format!("{}@{}", metric.name(), self.k);
                writeln!(f, "  {name:<14} {mean:>+7.4}  [{low:+.4}, {high:+.4}]  p {p:.4}  {verdict}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Report, Stage, UserMetrics, UserOutcome};

    /// Two hundred users; every one of them has the given nDCG, give or take.
    fn outcome(ndcg: f64) -> Outcome {
        let user = |user: u32| {
            let metrics = UserMetrics { ndcg: ndcg + f64::from(user % 7) / 100.0, ..UserMetrics::default() };
            UserOutcome { user, relevant: 1, list: vec![0], metrics }
        };
        let users = (0..200).map(user).collect();
        let group = GroupOutcome { name: "all".into(), users, skipped: 0, coverage: 0.5, novelty_bits: 1.0 };
        let protocol = "user-90-10".into();
        Outcome { protocol, seed: 1, stage: Stage::Test, k: 10, ranked: 2, groups: vec![group] }
    }

    fn compared(first: &Outcome, second: &Outcome) -> Result<Comparison, CompareError> {
        Comparison::new(first, second, Bootstrap { resamples: 200, ..Bootstrap::default() })
    }

    #[test]
    fn a_difference_is_called_better_worse_or_neither() {
        let text = |first, second| compared(&outcome(first), &outcome(second)).unwrap().to_string();
        assert!(text(0.2, 0.3).contains("ndcg@10        +0.1000  [+0.1000, +0.1000]  p 0.0100  significantly better"));
        assert!(text(0.3, 0.2).contains("significantly worse"));
        assert!(!text(0.3, 0.3).contains("significantly"));
    }

    #[test]
    fn only_like_is_compared_with_like() {
        let (first, mut second) = (outcome(0.2), outcome(0.2));
        second.seed = 2;
        assert!(matches!(compared(&first, &second), Err(CompareError::Settings { what: "seed", .. })));
        second = outcome(0.2);
        second.protocol = "recbole-811-full".into();
        assert!(matches!(compared(&first, &second), Err(CompareError::Settings { what: "protocol", .. })));
        second = outcome(0.2);
        second.groups[0].users[3].relevant = 2;
        assert_eq!(compared(&first, &second), Err(CompareError::Users { group: "all".into() }));
        second.groups[0].users.pop();
        assert!(compared(&first, &second).is_err());
    }

    #[test]
    fn a_report_shows_every_mean_with_its_interval() {
        let report = Report::new(&outcome(0.2), Bootstrap { resamples: 200, ..Bootstrap::default() });
        let text = report.to_string();
        assert!(text.starts_with("user-90-10, seed 1, test; intervals of 95% over users"), "{text}");
        assert!(text.contains("ndcg@10         0.2297  [0.22") && text.contains("coverage        0.5000"), "{text}");
        let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(read.to_string(), text);
    }
}
