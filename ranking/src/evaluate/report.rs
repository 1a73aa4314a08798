//! An outcome as a table: every mean with its interval.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use super::metrics::Metric;
use super::run::{GroupOutcome, Outcome};
use super::task::Stage;

/// The figures of a run, to be shown or written down.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// Name of the protocol.
    pub protocol: String,
    /// Seed of the split.
    pub seed: u64,
    /// Which part was asked about.
    pub stage: Stage,
    /// Length of the lists.
    pub k: usize,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
    /// The groups of the outcome.
    pub groups: Vec<GroupReport>,
}

/// The figures of one group of users.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GroupReport {
    /// Name of the group.
    pub name: String,
    /// Users in the means.
    pub users: usize,
    /// Users without a relevant item that is ranked.
    pub skipped: usize,
    /// In the order of [`Metric::ALL`].
    pub metrics: Vec<(Metric, Interval)>,
    /// Share of the ranked items that is in any list.
    pub coverage: f64,
    /// Mean self-information of the recommended items, in bits.
    pub novelty_bits: f64,
}

impl Report {
    /// The means of `outcome` with intervals over its users.
    pub fn new(outcome: &Outcome, bootstrap: Bootstrap) -> Self {
        let group = |group: &GroupOutcome| GroupReport {
            name: group.name.clone(),
            users: group.users.len(),
            skipped: group.skipped,
            metrics: Metric::ALL.map(|metric| (metric, bootstrap.interval(&group.values(metric)))).to_vec(),
            coverage: group.coverage,
            novelty_bits: group.novelty_bits,
        };
        Self {
            protocol: outcome.protocol.clone(),
            seed: outcome.seed,
            stage: outcome.stage,
            k: outcome.k,
            bootstrap,
            groups: outcome.groups.iter().map(group).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = if self.stage == Stage::Test { "test" } else { "validation" };
        let (protocol, seed, level) = (&self.protocol, self.seed, 100.0 * self.bootstrap.level);
        writeln!(f, "{protocol}, seed {seed}, {stage}; intervals of {level}% over users")?;
        for group in &self.groups {
            let GroupReport { name, users, skipped, coverage, novelty_bits, .. } = group;
            if *users == 0 {
                writeln!(f, "\n{name}: nobody to ask, {skipped} without a relevant item that is ranked")?;
                continue;
            }
            writeln!(f, "\n{name}: {users} users, {skipped} without a relevant item that is ranked")?;
            for (metric, Interval { mean, low, high }) in &group.metrics {
                let name = format!("{}@{}", metric.name(), self.k);
                writeln!(f, "  {name:<14} {mean:>7.4}  [{low:.4}, {high:.4}]")?;
            }
            writeln!(f, "  {:<14} {coverage:>7.4}", "coverage")?;
            writeln!(f, "  {:<14} {novelty_bits:>7.4}", "novelty, bits")?;
        }
        Ok(())
    }
}
