//! The hyper-parameters of a run, and the two things that follow from them alone: the learning rate at a step and the
//! order of the examples.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::TrainError;

/// The linear layers of a BERT layer that carry an adapter, by their path below `encoder.layer.N.`.
pub const TARGETS: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];

/// Steps until half of the running average's start is forgotten.
const AVERAGING_START: f64 = 9.0;

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Rank of the adapter's matrices.
    pub rank: usize,
    /// The adapter is scaled by alpha / rank.
    pub alpha: f64,
    /// Highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// Share of the steps that raise the learning rate from 0; the rest lower it along a cosine to 0.
    pub warmup_share: f64,
    /// Passes over the examples.
    pub epochs: usize,
    /// Texts in a batch.
    pub batch_texts: usize,
    /// Shards a batch is cut in, each computed by its own thread. Part of the recipe because sums depend on it.
    pub batch_shards: usize,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of each target that is spread evenly over all labels.
    pub label_smoothing: f64,
    /// Probability with which an element of the embeddings, of each half of a layer and of the pooled text is dropped.
    pub dropout: f64,
    /// What is kept is a running average of the parameters: each step, this much of it stays, and the rest comes from
    /// the parameters that the step made. 0 keeps the last step's own.
    pub averaging: f64,
    /// Gradients are scaled down to this norm over all parameters.
    pub gradient_norm_max: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            rank: 32,
            alpha: 64.0,
            learning_rate: 5e-4,
            warmup_share: 0.06,
            epochs: 3,
            batch_texts: 32,
            batch_shards: 2,
            weight_decay: 0.01,
            label_smoothing: 0.0,
            dropout: 0.1,
            averaging: 0.995,
            gradient_norm_max: 1.0,
        }
    }
}

impl Recipe {
    /// Refuses what cannot be followed.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] names the field.
    pub fn check(&self) -> Result<(), TrainError> {
        let counts = [
            ("rank", self.rank),
            ("epochs", self.epochs),
            ("batch_texts", self.batch_texts),
            ("batch_shards", self.batch_shards),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(TrainError::Recipe(format!("{name} is 0, it must be at least 1")));
        }
        let shares = [
            ("warmup_share", self.warmup_share),
            ("label_smoothing", self.label_smoothing),
            ("dropout", self.dropout),
            ("averaging", self.averaging),
        ];
        if let Some((name, share)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return Err(TrainError::Recipe(format!("{name} is {share}, it must be at least 0 and below 1")));
        }
        let positive = [
            ("alpha", self.alpha),
            ("learning_rate", self.learning_rate),
            ("gradient_norm_max", self.gradient_norm_max),
        ];
        if let Some((name, value)) = positive.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return Err(TrainError::Recipe(format!("{name} is {value}, it must be above 0")));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(TrainError::Recipe(format!("weight_decay is {}, it must not be negative", self.weight_decay)));
        }
        Ok(())
    }

    /// The learning rate of step `step` (from 0) of `steps`.
    pub fn learning_rate(&self, step: usize, steps: usize) -> f64 {
        let warmup = (self.warmup_share * steps as f64).max(1.0);
        let done = step as f64 + 1.0;
        if done <= warmup {
            return self.learning_rate * done / warmup;
        }
        let progress = (done - warmup) / (steps as f64 - warmup).max(1.0);
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
    }

    /// How far the running average moves towards the parameters of step `step` (from 1): far at first, so that the
    /// untrained start is soon forgotten, then `1 - averaging`.
    pub fn averaged_share(&self, step: usize) -> f64 {
        1.0 - self.averaging.min(step as f64 / (step as f64 + AVERAGING_START))
    }

    /// The batches of one pass: every index below `examples` once, in an order that depends on seed and epoch alone.
    /// The last batch may be smaller.
    pub fn batches(&self, examples: usize, epoch: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Stream 0 draws the adapter's first values.
        rng.set_stream(epoch as u64 + 1);
        let mut order: Vec<usize> = (0..examples).collect();
        order.shuffle(&mut rng);
        order.chunks(self.batch_texts).map(<[usize]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_its_highest_and_falls_to_zero() {
        let recipe = Recipe { warmup_share: 0.1, ..Recipe::default() };
        let rates: Vec<f64> = (0..100).map(|step| recipe.learning_rate(step, 100)).collect();
        assert!((rates[0] - recipe.learning_rate / 10.0).abs() < 1e-12);
        assert!((rates[9] - recipe.learning_rate).abs() < 1e-12);
        assert!(rates[..10].is_sorted() && rates[9..].is_sorted_by(|a, b| a > b));
        assert!(rates[99].abs() < 1e-12);
    }

    #[test]
    fn the_average_follows_closely_at_first_and_without_averaging_is_the_last_step() {
        let recipe = Recipe { averaging: 0.9, ..Recipe::default() };
        let shares: Vec<f64> = (1..200).map(|step| recipe.averaged_share(step)).collect();
        assert!(shares[0] > 0.5 && shares.is_sorted_by(|a, b| a >= b));
        assert!((shares[198] - 0.1).abs() < 1e-12);
        let last = Recipe { averaging: 0.0, ..Recipe::default() };
        assert!([1, 7, 1000].iter().all(|step| last.averaged_share(*step) == 1.0));
    }

    #[test]
    fn a_pass_meets_every_example_once_and_depends_on_seed_and_epoch() {
        let recipe = Recipe { batch_texts: 4, ..Recipe::default() };
        let batches = recipe.batches(10, 0, 7);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_eq!(batches, recipe.batches(10, 0, 7));
        assert_ne!(batches, recipe.batches(10, 1, 7));
        assert_ne!(batches, recipe.batches(10, 0, 8));
    }

    #[test]
    fn a_recipe_that_cannot_be_followed_names_the_field() {
        let wrong = [
            Recipe { rank: 0, ..Recipe::default() },
            Recipe { warmup_share: 1.0, ..Recipe::default() },
            Recipe { learning_rate: f64::NAN, ..Recipe::default() },
            Recipe { weight_decay: -1.0, ..Recipe::default() },
        ];
        for (recipe, field) in wrong.iter().zip(["rank", "warmup_share", "learning_rate", "weight_decay"]) {
            let message = recipe.check().unwrap_err().to_string();
            assert!(message.contains(field), "{message}");
        }
        Recipe::default().check().unwrap();
    }
}
