//! Two runs side by side: is the second better, or was it chance?

use std::collections::BTreeMap;
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
    /// Seeds of the splits of both.
    pub seeds: Vec<u64>,
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

/// Why two runs cannot be compared.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum CompareError {
    /// Of one of them there is nothing.
    #[error("a run without a split: measure both again")]
    Empty,
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
    /// What should be one run is several.
    #[error("the splits of one run differ in {what}, {first} and {other}: measure it again")]
    Splits {
        /// What differs.
        what: &'static str,
        /// That of the first split.
        first: String,
        /// That of another one.
        other: String,
    },
    /// They were asked about other users, or about other test events of theirs.
    #[error("the runs were asked about other users or events in group {group:?}: measure both on the same data")]
    Users {
        /// The group.
        group: String,
    },
}

impl Comparison {
    /// How `second` differs from `first`, user by user. Several splits of a protocol are compared as one: a user counts with
    /// his means over those that asked about him.
    ///
    /// # Errors
    /// [`CompareError`] unless there are as many splits of both, and of each pair of them protocol, seed, stage, ranked items
    /// and users are the same.
    pub fn new(first: &[Outcome], second: &[Outcome], bootstrap: Bootstrap) -> Result<Self, CompareError> {
        let (Some(one), Some(_)) = (first.first(), second.first()) else { return Err(CompareError::Empty) };
        same([("number of splits", first.len().to_string())], [("number of splits", second.len().to_string())])?;
        let pairs = || first.iter().zip(second);
        pairs().try_for_each(|(first, second)| same(settings(first), settings(second)))?;
        // Splits of one protocol have the same groups.
        first.iter().try_for_each(|other| same(settings_of_all(one), settings_of_all(other)).map_err(within))?;
        let of_group = |group: usize| pairs().map(move |(first, second)| (&first.groups[group], &second.groups[group]));
        let groups = (0..one.groups.len()).map(|group| compare(&of_group(group).collect::<Vec<_>>(), &bootstrap));
        Ok(Self {
            protocol: one.protocol.clone(),
            seeds: first.iter().map(|outcome| outcome.seed).collect(),
            k: one.k,
            bootstrap,
            groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

/// What a split is measured by.
fn settings(outcome: &Outcome) -> [(&'static str, String); 6] {
    let [protocol, stage, k, groups] = settings_of_all(outcome);
    [protocol, ("seed", outcome.seed.to_string()), stage, k, ("ranked items", outcome.ranked.to_string()), groups]
}

/// What all splits of a run have in common.
fn settings_of_all(outcome: &Outcome) -> [(&'static str, String); 4] {
    [
        ("protocol", outcome.protocol.clone()),
        ("stage", format!("{:?}", outcome.stage).to_lowercase()),
        ("k", outcome.k.to_string()),
        ("number of groups", outcome.groups.len().to_string()),
    ]
}

/// Names the first of the settings that differs.
fn same<const N: usize>(
    first: [(&'static str, String); N],
    second: [(&'static str, String); N],
) -> Result<(), CompareError> {
    let mut pairs = first.into_iter().zip(second);
    match pairs.find(|(first, second)| first != second) {
        Some(((what, first), (_, second))) => Err(CompareError::Settings { what, first, second }),
        None => Ok(()),
    }
}

/// What differs within one run.
fn within(error: CompareError) -> CompareError {
    match error {
        CompareError::Settings { what, first, second } => CompareError::Splits { what, first, other: second },
        error => error,
    }
}

/// One group of users, split by split.
fn compare(pairs: &[(&GroupOutcome, &GroupOutcome)], bootstrap: &Bootstrap) -> Result<GroupComparison, CompareError> {
    let name = &pairs[0].0.name;
    let asked = |group: &GroupOutcome| group.users.iter().map(|user| (user.user, user.relevant)).collect::<Vec<_>>();
    let is_alike = |(first, second): &(&GroupOutcome, &GroupOutcome)| {
        first.name == *name && second.name == *name && asked(first) == asked(second)
    };
    if !pairs.iter().all(is_alike) {
        return Err(CompareError::Users { group: name.clone() });
    }
    let (first, second): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
    let paired = |metric| (metric, bootstrap.paired(&means(&first, metric), &means(&second, metric)));
    let users = means(&first, Metric::ALL[0]).len();
    Ok(GroupComparison { name: name.clone(), users, metrics: Metric::ALL.map(paired).to_vec() })
}

/// By user, his mean over the splits that asked about him.
fn means(splits: &[&GroupOutcome], metric: Metric) -> Vec<f64> {
    let mut by_user: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for user in splits.iter().flat_map(|split| &split.users) {
        let (sum, count) = by_user.entry(user.user).or_default();
        (*sum, *count) = (*sum + user.metrics.get(metric), *count + 1.0);
    }
    by_user.into_values().map(|(sum, count)| sum / count).collect()
}

impl Difference {
    /// Whether it is beyond chance at `level`, such as 0.95.
    pub fn is_significant(&self, level: f64) -> bool {
        self.p < 1.0 - level
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, level) = (&self.protocol, 100.0 * self.bootstrap.level);
        let splits = match &self.seeds[..] {
            [seed] => format!("seed {seed}"),
            seeds => format!("each user's mean over {} splits", seeds.len()),
        };
        writeln!(f, "{protocol}, {splits}; second run less first; intervals of {level}% over users")?;
        for GroupComparison { name, users, metrics } in &self.groups {
            if *users == 0 {
                writeln!(f, "\n{name}: nobody to ask")?;
                continue;
            }
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
        several(std::slice::from_ref(first), std::slice::from_ref(second))
    }

    fn several(first: &[Outcome], second: &[Outcome]) -> Result<Comparison, CompareError> {
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
    fn splits_are_compared_as_one_by_the_means_of_their_users() {
        let of = |seed, ndcg| Outcome { seed, ..outcome(ndcg) };
        let (first, mut second) = ([of(1, 0.2), of(2, 0.2)], [of(1, 0.3), of(2, 0.4)]);
        let text = several(&first, &second).unwrap().to_string();
        assert!(text.starts_with("user-90-10, each user's mean over 2 splits; "), "{text}");
        assert!(text.contains("all: 200 users"), "{text}");
        assert!(text.contains("ndcg@10        +0.1500  [+0.1500, +0.1500]  p 0.0100  significantly better"), "{text}");
        assert!(matches!(several(&first, &second[..1]), Err(CompareError::Settings { what: "number of splits", .. })));
        assert_eq!(several(&[], &[]), Err(CompareError::Empty));
        let mixed = [of(1, 0.2), Outcome { k: 5, ..of(2, 0.2) }];
        let error = several(&mixed, &mixed).unwrap_err().to_string();
        assert_eq!(error, "the splits of one run differ in k, 10 and 5: measure it again");
        // A user whom one split alone asked about counts with that one.
        let mut one_less = [of(1, 0.2), of(2, 0.2)];
        one_less[1].groups[0].users.pop();
        second[1].groups[0].users.pop();
        assert_eq!(several(&one_less, &second).unwrap().groups[0].users, 200);
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

    #[test]
    fn a_group_of_nobody_has_no_figures() {
        let mut nobody = outcome(0.2);
        (nobody.groups[0].users, nobody.groups[0].skipped) = (Vec::new(), 3);
        let report = Report::new(&nobody, Bootstrap::default()).to_string();
        assert!(report.ends_with("\nall: nobody to ask, 3 without a relevant item that is ranked\n"), "{report}");
        let compared = compared(&nobody, &nobody).unwrap().to_string();
        assert!(compared.ends_with("\nall: nobody to ask\n"), "{compared}");
    }
}
