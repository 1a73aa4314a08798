//! A model of rewards: the mean of each action at each position, drawn towards the position's own where rows are few.
//!
//! What a row is expected to bring is said by a model that has not seen it (cross-fitting, Chernozhukov et al. 2018): one
//! that has would expect just what came, and the doubly robust estimate would correct nothing.

use super::{Logged, Policy};
use crate::evaluate::seeded::Draws;

/// Parts of the log, each judged by a model of the others.
const FOLDS: usize = 5;
/// The position's own mean counts as so many rows of each action.
const PRIOR_ROWS: f64 = 20.0;

/// What a model expects of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Expected {
    /// Of the action that was shown.
    pub of_logged: f64,
    /// Of the policy, at that position.
    pub of_policy: f64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    rows: f64,
    rewards: f64,
}

impl Sum {
    fn add(&mut self, reward: f64) {
        self.rows += 1.0;
        self.rewards += reward;
    }

    /// The mean with some rows of another mean among them.
    fn towards(self, mean: f64) -> f64 {
        (self.rewards + PRIOR_ROWS * mean) / (self.rows + PRIOR_ROWS)
    }
}

/// What a model of the other rows expects of each. Rows of one list are in one part.
pub(super) fn expected(rows: &[Logged], policy: &Policy, seed: u64) -> Vec<Expected> {
    let folds = folds(rows, seed);
    let models: Vec<Model> = (0..FOLDS).map(|fold| Model::without(fold, rows, &folds, policy)).collect();
    let expected = |(row, fold): (&Logged, &usize)| {
        let position = row.position as usize;
        let model = &models[*fold];
        Expected { of_logged: model.rewards[position][row.action as usize], of_policy: model.of_policy[position] }
    };
    rows.iter().zip(&folds).map(expected).collect()
}

/// The part of each row: lists in a drawn order, dealt out.
fn folds(rows: &[Logged], seed: u64) -> Vec<usize> {
    let mut lists: Vec<u64> = rows.iter().map(|row| row.list).collect();
    lists.sort_unstable();
    lists.dedup();
    let mut dealt: Vec<usize> = (0..lists.len()).map(|place| place % FOLDS).collect();
    Draws::new(seed, 1).shuffle(&mut dealt);
    rows.iter().map(|row| dealt[lists.binary_search(&row.list).expect("a list of these rows")]).collect()
}

struct Model {
    /// By position and action.
    rewards: Vec<Vec<f64>>,
    /// By position: the mean over the policy.
    of_policy: Vec<f64>,
}

impl Model {
    fn without(left_out: usize, rows: &[Logged], folds: &[usize], policy: &Policy) -> Self {
        let (positions, actions) = (policy.positions(), policy.actions());
        let mut by_action = vec![vec![Sum::default(); actions]; positions];
        let (mut by_position, mut all) = (vec![Sum::default(); positions], Sum::default());
        for (row, _) in rows.iter().zip(folds).filter(|(_, fold)| **fold != left_out) {
            by_action[row.position as usize][row.action as usize].add(row.reward);
            by_position[row.position as usize].add(row.reward);
            all.add(row.reward);
        }
        let mean = if all.rows > 0.0 { all.rewards / all.rows } else { 0.0 };
        let of_position = |(sums, sum): (&Vec<Sum>, &Sum)| {
            let mean = sum.towards(mean);
            sums.iter().map(|sum| sum.towards(mean)).collect::<Vec<f64>>()
        };
        let rewards: Vec<Vec<f64>> = by_action.iter().zip(&by_position).map(of_position).collect();
        let of_policy = |(position, rewards): (usize, &Vec<f64>)| {
            rewards.iter().zip(policy.at(position)).map(|(reward, chance)| reward * chance).sum()
        };
        let of_policy = rewards.iter().enumerate().map(of_policy).collect();
        Self { rewards, of_policy }
    }
}
