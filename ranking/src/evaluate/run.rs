//! A scorer asked a task: every case ranked in full, on several threads, with results that do not depend on their number.

use std::thread;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::lists::{coverage, novelty};
use super::metrics::{Metric, UserMetrics, user_metrics};
use super::task::{Case, Group, Stage, Task};
use crate::data::Scorer;
use crate::index::{Scored, keep_best};

/// What a scorer answered: plain data, to be kept, shown and compared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the protocol.
    pub protocol: String,
    /// Seed of the split.
    pub seed: u64,
    /// Which part was asked about.
    pub stage: Stage,
    /// Length of the lists.
    pub k: usize,
    /// Items that were ranked, before masking.
    pub ranked: usize,
    /// The groups of the task.
    pub groups: Vec<GroupOutcome>,
}

/// The figures of one group of users.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GroupOutcome {
    /// Name of the group.
    pub name: String,
    /// By rising row of the user.
    pub users: Vec<UserOutcome>,
    /// Users without a relevant item that is ranked; they are in no mean.
    pub skipped: usize,
    /// Share of the ranked items that is in any list.
    pub coverage: f64,
    /// Mean self-information of the recommended items, in bits.
    pub novelty_bits: f64,
}

/// The figures of one user.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UserOutcome {
    /// The user's row.
    pub user: u32,
    /// How many items would have been right.
    pub relevant: usize,
    /// What he was recommended, best first.
    pub list: Vec<u32>,
    /// What that is worth.
    pub metrics: UserMetrics,
}

/// Why a scorer cannot be evaluated.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EvaluateError {
    /// Another catalogue than that of the task.
    #[error("the scorer knows {scorer} items, the task has {task}: train it with the task's own split")]
    Items {
        /// Items of the scorer.
        scorer: usize,
        /// Items of the task.
        task: usize,
    },
    /// A score that has no place in an order.
    #[error("the score of item {item} for user {user} is not a number: look for a division by 0 in the scorer")]
    NotANumber {
        /// Row of the user.
        user: u32,
        /// Row of the item.
        item: u32,
    },
}

impl GroupOutcome {
    /// The values of `metric`, user by user.
    pub fn values(&self, metric: Metric) -> Vec<f64> {
        self.users.iter().map(|user| user.metrics.get(metric)).collect()
    }

    /// The lists, user by user.
    pub fn lists(&self) -> impl Iterator<Item = &[u32]> {
        self.users.iter().map(|user| &user.list[..])
    }
}

/// Asks `scorer` all of `task` on `threads` threads (at least one). Items of one score are ranked by rising row, where some
/// items alone are ranked by their order in [`Task::only`].
///
/// # Errors
/// [`EvaluateError`] for the first user, in the order of the task, whose items cannot be ranked.
pub fn evaluate(scorer: &dyn Scorer, task: &Task, threads: usize) -> Result<Outcome, EvaluateError> {
    if scorer.items() != task.items {
        return Err(EvaluateError::Items { scorer: scorer.items(), task: task.items });
    }
    let groups = task.groups.iter().map(|group| answer_group(scorer, task, group, threads));
    Ok(outcome(task, groups.collect::<Result<_, _>>()?))
}

/// Judges lists that were made elsewhere, by `list` for one case after the other, best item first. What is beyond the
/// length of the protocol's lists does not count.
///
/// # Errors
/// The first of `list`'s.
pub fn judge<E>(task: &Task, mut list: impl FnMut(&Case) -> Result<Vec<u32>, E>) -> Result<Outcome, E> {
    let mut groups = Vec::with_capacity(task.groups.len());
    for group in &task.groups {
        let mut users = Vec::with_capacity(group.cases.len());
        for case in &group.cases {
            let mut list = list(case)?;
            list.truncate(task.protocol.k);
            users.push(user_outcome(task, case, list));
        }
        groups.push(group_outcome(task, group, users));
    }
    Ok(outcome(task, groups))
}

fn outcome(task: &Task, groups: Vec<GroupOutcome>) -> Outcome {
    Outcome {
        protocol: task.protocol.name.to_owned(),
        seed: task.seed,
        stage: task.stage,
        k: task.protocol.k,
        ranked: ranked(task),
        groups,
    }
}

fn user_outcome(task: &Task, case: &Case, list: Vec<u32>) -> UserOutcome {
    let metrics = user_metrics(&list, &case.relevant, task.protocol.k);
    UserOutcome { user: case.user, relevant: case.relevant.len(), list, metrics }
}

fn ranked(task: &Task) -> usize {
    task.only.as_ref().map_or(task.items, Vec::len)
}

fn answer_group(
    scorer: &dyn Scorer,
    task: &Task,
    group: &Group,
    threads: usize,
) -> Result<GroupOutcome, EvaluateError> {
    let share = group.cases.len().div_ceil(threads.max(1)).max(1);
    let answers: Vec<_> = thread::scope(|scope| {
        let start = |cases| scope.spawn(move || answer(scorer, task, cases));
        let started: Vec<_> = group.cases.chunks(share).map(start).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        started.into_iter().map(join).collect()
    });
    let mut users = Vec::with_capacity(group.cases.len());
    for answer in answers {
        users.extend(answer?);
    }
    Ok(group_outcome(task, group, users))
}

fn group_outcome(task: &Task, group: &Group, users: Vec<UserOutcome>) -> GroupOutcome {
    let mut outcome =
        GroupOutcome { name: group.name.clone(), users, skipped: group.skipped, coverage: 0.0, novelty_bits: 0.0 };
    // Lists hold ranked items only, so that coverage of all items times all / ranked is coverage of the ranked ones.
    outcome.coverage = coverage(outcome.lists(), task.items) * task.items as f64 / ranked(task).max(1) as f64;
    outcome.novelty_bits = novelty(outcome.lists(), &task.seen_by, task.users);
    outcome
}

/// The cases of one thread, which has one buffer for scores and one for candidates.
fn answer(scorer: &dyn Scorer, task: &Task, cases: &[Case]) -> Result<Vec<UserOutcome>, EvaluateError> {
    let mut scores = vec![0.0; task.items];
    let mut candidates = Vec::with_capacity(ranked(task));
    let one = |case: &Case| {
        let (user, attributes) = (case.known.then_some(case.user), task.attributes_of(case.user));
        scorer.score_described(user, case.history(), attributes, &mut scores);
        collect(task, case, &scores, &mut candidates)?;
        let list =
            top(&mut candidates, task.protocol.k).into_iter().map(|place| task.ranked(place)).collect::<Vec<_>>();
        Ok(user_outcome(task, case, list))
    };
    cases.iter().map(one).collect()
}

/// Fills `candidates` with the items that are ranked for `case`, by their place among all that are ranked.
fn collect(task: &Task, case: &Case, scores: &[f32], candidates: &mut Vec<Scored>) -> Result<(), EvaluateError> {
    for place in 0..ranked(task) as u32 {
        let item = task.ranked(place);
        if case.masked.binary_search(&item).is_ok() {
            continue;
        }
        let score = scores[item as usize];
        if score.is_nan() {
            return Err(EvaluateError::NotANumber { user: case.user, item });
        }
        candidates.push(Scored { row: place, score });
    }
    Ok(())
}

/// The best `k` candidates in order, which are selected first and sorted alone; empties `candidates`.
fn top(candidates: &mut Vec<Scored>, k: usize) -> Vec<u32> {
    keep_best(candidates, k);
    candidates.drain(..).map(|scored| scored.row).collect()
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
