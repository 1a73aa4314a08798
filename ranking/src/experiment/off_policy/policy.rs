//! A policy as a table: how likely each action is at each position.

use super::OffPolicyError;

/// What the chances of a position may be off 1: counted in draws and written in decimals.
const SUM_TOLERANCE: f64 = 1e-3;

/// How likely each action is to be shown at each position, whoever asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    actions: usize,
    /// By position, then by action.
    chances: Vec<f64>,
}

impl Policy {
    /// A table, by position, then by action; chances of a position are made to add up to 1 exactly.
    ///
    /// # Errors
    /// [`OffPolicyError::Shape`], [`OffPolicyError::Chances`].
    pub fn new(actions: usize, mut chances: Vec<f64>) -> Result<Self, OffPolicyError> {
        let positions = chances.len() / actions.max(1);
        if chances.is_empty() || positions * actions != chances.len() {
            return Err(OffPolicyError::Shape { actions, positions, chances: chances.len() });
        }
        for (position, chances) in chances.chunks_mut(actions).enumerate() {
            let sum: f64 = if chances.iter().all(|chance| *chance >= 0.0) { chances.iter().sum() } else { f64::NAN };
            let is_one = (sum - 1.0).abs() <= SUM_TOLERANCE;
            if !is_one {
                return Err(OffPolicyError::Chances { position, sum });
            }
            chances.iter_mut().for_each(|chance| *chance /= sum);
        }
        Ok(Self { actions, chances })
    }

    /// Every action as likely as every other.
    ///
    /// # Panics
    /// Without actions or positions.
    pub fn uniform(actions: usize, positions: usize) -> Self {
        assert!(actions > 0 && positions > 0, "a policy shows something somewhere");
        Self { actions, chances: vec![1.0 / actions as f64; actions * positions] }
    }

    /// How many actions it has.
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// How many positions it has.
    pub fn positions(&self) -> usize {
        self.chances.len() / self.actions
    }

    /// The chances at a position, by action.
    pub(super) fn at(&self, position: usize) -> &[f64] {
        &self.chances[position * self.actions..][..self.actions]
    }

    /// How likely an action is at a position; `None` where the policy knows neither.
    pub fn chance(&self, action: u32, position: u32) -> Option<f64> {
        let (action, position) = (action as usize, position as usize);
        if action >= self.actions {
            return None;
        }
        self.chances.get(position * self.actions + action).copied()
    }
}
