//! `attune evaluate --protocol off-policy`: what a policy would have earned, from what another one logged.
//!
//! On the Open Bandit data (Saito et al., "Open Bandit Dataset and Pipeline", NeurIPS 2021 Datasets and Benchmarks) both
//! of two policies were shown to people in the same week, so that an estimate of one from the log of the other stands
//! beside what it earned. On a file of one's own there is the estimate alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use attune_batch::logged::ShownLog;
use attune_batch::read::ColumnMap;
use attune_ranking::evaluate::{Bootstrap, Interval};
use attune_ranking::experiment::off_policy::{Estimates, Policy, Weighed, estimate};
use attune_ranking::experiment::{Beta, place_chances};
use clap::Args;
use serde::Serialize;

use crate::bench::write_json;
use crate::config::Config;

/// What it is called on the command line.
pub const PROTOCOL: &str = "off-policy";

/// The data folder's name of the Open Bandit data.
const OPEN_BANDIT: &str = "open-bandit";
/// Parts of the shop, each with logs of both policies.
const CAMPAIGNS: [&str; 3] = ["all", "men", "women"];
/// Draws and seed of the authors' own figure for the policy that they logged.
const DRAWS: u32 = 100_000;
const SEED: u64 = 12_345;

/// Flags of this protocol.
#[derive(Debug, Args)]
pub struct LoggedFlags {
    /// Rows that were shown: item_id, propensity, reward, perhaps position (from 1) and list_id [default: Open Bandit]
    #[arg(long, value_name = "FILE")]
    pub(super) rows: Option<PathBuf>,
    /// What is asked about of these rows: uniform, or a file of item_id, chance and perhaps position
    #[arg(long, value_name = "FILE", default_value = "uniform", requires = "rows")]
    policy: String,
    /// A column that has another name in the file of --policy
    #[arg(long = "policy-map", value_name = "OURS=THEIRS", requires = "rows")]
    policy_columns: Vec<String>,
}

/// A policy, judged by the log of another.
#[derive(Debug, Serialize)]
struct Judged {
    /// Which log, and which policy.
    name: String,
    estimates: Estimates,
    /// What the policy earned where it was shown, if it was.
    truth: Option<Interval>,
}

/// Estimates and prints.
///
/// # Errors
/// A file cannot be read, or the log says nothing of the policy.
pub fn run(config: &Config, flags: &LoggedFlags, map: &[String], json: Option<&Path>) -> Result<()> {
    let judged = match &flags.rows {
        Some(rows) => vec![of_file(rows, flags, &ColumnMap::parse(map)?)?],
        None => open_bandit(&config.model_folder(OPEN_BANDIT))?,
    };
    for one in &judged {
        say!("{one}");
    }
    json.map_or(Ok(()), |path| write_json(&judged, path))
}

fn of_file(rows: &Path, flags: &LoggedFlags, map: &ColumnMap) -> Result<Judged> {
    let LoggedFlags { policy, policy_columns, .. } = flags;
    let is_uniform = policy == "uniform";
    ensure!(!is_uniform || policy_columns.is_empty(), "--policy-map names columns of a file: name it by --policy");
    let policy_map = ColumnMap::of_flag("--policy-map", policy_columns)?;
    let mut log = ShownLog::read(rows, map)?;
    let asked = if is_uniform {
        log.uniform().with_context(|| rows.display().to_string())?
    } else {
        log.policy(Path::new(policy), &policy_map)?
    };
    Judged::new(format!("{policy} by the log {}", rows.display()), &log, &asked, None)
}

/// Both policies of the data, each by the log of the other.
fn open_bandit(folder: &Path) -> Result<Vec<Judged>> {
    ensure!(
        folder.is_dir(),
        "{} is not there: fetch it with `attune models pull {OPEN_BANDIT}`, or name your own --rows",
        folder.display()
    );
    let prior = folder.join("prior_bts.yaml");
    let prior = fs::read_to_string(&prior).with_context(|| format!("cannot read {}", prior.display()))?;
    let map = ColumnMap::parse(["propensity=propensity_score", "reward=click"])?;
    let mut judged = Vec::new();
    for campaign in CAMPAIGNS {
        let log = |policy: &str| ShownLog::read(&folder.join(format!("{policy}/{campaign}/{campaign}.csv")), &map);
        let (random, thompson) = (log("random")?, log("bts")?);
        let asked = ranked_thompson(&random, &posteriors(&prior, campaign)?)?;
        let name = format!("open-bandit/{campaign}: Thompson sampling by the log of the uniform policy");
        judged.push(Judged::new(name, &random, &asked, Some(earned(&thompson)?))?);
        let name = format!("open-bandit/{campaign}: the uniform policy by the log of Thompson sampling");
        judged.push(Judged::new(name, &thompson, &thompson.uniform()?, Some(earned(&random)?))?);
    }
    Ok(judged)
}

/// The policy that ranks all items by a draw of each one's posterior.
fn ranked_thompson(log: &ShownLog, posteriors: &[Beta]) -> Result<Policy> {
    ensure!(log.items.len() == posteriors.len(), "{} items, {} posteriors", log.items.len(), posteriors.len());
    // In the log items are numbered as they came, in the priors by their ids.
    let mut ordered = Vec::with_capacity(posteriors.len());
    for item in log.items.iter() {
        let id: usize = item.parse().with_context(|| format!("item {item:?} of the data is no number"))?;
        ordered.push(*posteriors.get(id).with_context(|| format!("item {id} has no prior"))?);
    }
    let chances = place_chances(&ordered, log.positions, DRAWS, SEED);
    Ok(Policy::new(ordered.len(), chances.concat())?)
}

/// What the policy of a log earned a row.
fn earned(log: &ShownLog) -> Result<Interval> {
    let own = log.uniform()?;
    let rows = Weighed::of(&log.rows, &own, SEED)?;
    Ok(estimate(&rows, Bootstrap::default())?.logged)
}

/// The priors of a campaign, by item: `NAME:`, below it `alpha:` and `beta:`, below each a line `- NUMBER` an item.
fn posteriors(text: &str, campaign: &str) -> Result<Vec<Beta>> {
    let (mut part, mut list) = (String::new(), String::new());
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let word = line.trim();
        match (word.strip_suffix(':'), word.strip_prefix("- ")) {
            (Some(name), _) if line.starts_with(' ') => name.clone_into(&mut list),
            (Some(name), _) => name.clone_into(&mut part),
            (None, Some(number)) if part == campaign => {
                let number: f64 = number.parse().with_context(|| format!("a prior is {number:?}"))?;
                if list == "alpha" { alpha.push(number) } else { beta.push(number) }
            }
            (None, Some(_)) => {}
            (None, None) => bail!("the priors have a line {line:?}"),
        }
    }
    ensure!(!alpha.is_empty() && alpha.len() == beta.len(), "there are no priors of campaign {campaign:?}");
    alpha.into_iter().zip(beta).map(|(alpha, beta)| Ok(Beta::new(alpha, beta)?)).collect()
}

impl Judged {
    fn new(name: String, log: &ShownLog, policy: &Policy, truth: Option<Interval>) -> Result<Self> {
        let judged = Weighed::of(&log.rows, policy, SEED).and_then(|rows| estimate(&rows, Bootstrap::default()));
        let estimates = judged.with_context(|| name.clone())?;
        Ok(Self { name, estimates, truth })
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimates { rows, rows_effective, weight_max, .. } = self.estimates;
        let level = 100.0 * Bootstrap::default().level;
        writeln!(f, "{}", self.name)?;
        writeln!(
            f,
            "{rows} rows, worth {rows_effective:.0} of its own; largest weight {weight_max:.1}; intervals of {level}%"
        )?;
        let Estimates { weight, logged, ips, snips, direct, doubly_robust, .. } = self.estimates;
        let mut figures = vec![
            ("mean weight", weight),
            ("logged", logged),
            ("ips", ips),
            ("snips", snips),
            ("direct", direct),
            ("doubly robust", doubly_robust),
        ];
        figures.extend(self.truth.map(|truth| ("in truth", truth)));
        for (name, Interval { mean, low, high }) in figures {
            writeln!(f, "  {name:<14} {mean:.5}  [{low:.5}, {high:.5}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priors_are_read_by_campaign() {
        let text = "all:\n  alpha:\n    - 47.0\n    - 8.0\n  beta:\n    - 2.0\n    - 3\nmen:\n  alpha:\n    - 1\n  beta:\n    - 9\n";
        assert_eq!(posteriors(text, "all").unwrap(), [Beta::new(47.0, 2.0).unwrap(), Beta::new(8.0, 3.0).unwrap()]);
        assert_eq!(posteriors(text, "men").unwrap().len(), 1);
        assert!(posteriors(text, "women").is_err() && posteriors("all:\n  alpha\n", "all").is_err());
    }
}
