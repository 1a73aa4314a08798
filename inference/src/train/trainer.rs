//! One step after another: shards, gradients, clipping, AdamW.

use std::path::Path;
use std::result::Result as Outcome;
use std::thread;

use candle_core::backprop::GradStore;
use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::{log_softmax, softmax};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::adapter::{Parameters, Snapshot};
use super::encoder::{Drop, Encoder, Merged, Texts};
use super::ops::dropout;
use super::{Recipe, TARGETS, TrainError};
use crate::model::{Adapter, AdapterConfig};

/// How many parameters come before the second layer's: A and B of each target.
const LOWEST_LAYER: usize = 2 * TARGETS.len();

/// The first random stream of dropout; those below belong to the order of the passes.
const DROPOUT_STREAM: u64 = 1 << 32;

/// Texts of one shard at most when predicting.
const PREDICT_TEXTS: usize = 32;

/// How far a target may be from adding up to 1.
const TARGET_SUM_ERROR: f32 = 1e-3;

/// One labelled text.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Token ids, special tokens included.
    pub tokens: Vec<u32>,
    /// The probability that each label should get; they add up to 1. All on one label where nothing is in doubt.
    pub target: Vec<f32>,
}

/// The parameters in training, their running average, and their optimizer.
pub struct Trainer {
    encoder: Encoder,
    parameters: Parameters,
    /// What is predicted with and kept: see [`Recipe::averaging`].
    average: Parameters,
    optimizer: AdamW,
    recipe: Recipe,
    labels: usize,
    seed: u64,
    steps: usize,
}

impl Trainer {
    /// Loads the base model and draws fresh parameters from `seed`.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] for a recipe that contradicts itself, [`TrainError::Model`] for a base that cannot be
    /// read or is not of a kind that can be trained.
    pub fn new(base: &Path, labels: usize, recipe: &Recipe, seed: u64) -> Outcome<Self, TrainError> {
        recipe.check()?;
        let encoder = Encoder::load(base)?;
        if labels < 2 {
            return Err(TrainError::Recipe(format!("{labels} labels, a classifier needs at least 2")));
        }
        let fresh = || Parameters::new(&encoder.linears(), recipe.rank, labels, encoder.architecture().hidden, seed);
        let (parameters, average) = (fresh()?, fresh()?);
        let variables = parameters.named().into_iter().map(|(_, variable)| variable.clone()).collect();
        let settings = ParamsAdamW { weight_decay: recipe.weight_decay, ..ParamsAdamW::default() };
        let optimizer = AdamW::new(variables, settings)?;
        Ok(Self { encoder, parameters, average, optimizer, recipe: recipe.clone(), labels, seed, steps: 0 })
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters.named().iter().map(|(_, variable)| variable.elem_count()).sum()
    }

    /// Learns from one batch; answers its mean loss before the step.
    ///
    /// # Errors
    /// [`TrainError::Example`] for a text without tokens, with too many, outside the vocabulary, or with a target that
    /// is no distribution over the labels; [`TrainError::NoGradient`] when a parameter got none;
    /// [`TrainError::Diverged`] when the loss is not finite. The parameters are unchanged then.
    pub fn step(&mut self, batch: &[&Example], learning_rate: f64) -> Outcome<f32, TrainError> {
        for (index, example) in batch.iter().enumerate() {
            self.check(&example.tokens, Some(&example.target))
                .map_err(|detail| TrainError::Example { index, detail })?;
        }
        if batch.is_empty() {
            return Err(TrainError::Recipe("a batch without examples teaches nothing".to_string()));
        }
        let merged = self.merge(&self.parameters)?;
        let shards: Vec<_> = deal(batch, self.recipe.batch_shards).into_iter().enumerate().collect();
        let results = in_parallel(&shards, |(at, shard)| {
            self.shard_gradients(&merged, shard, batch.len(), self.dropout_rng(*at))
        })?;
        let loss: f32 = results.iter().map(|(loss, _)| loss).sum();
        if !loss.is_finite() {
            return Err(TrainError::Diverged { steps: self.steps, loss });
        }
        let gradients = self.combine(results.into_iter().map(|(_, gradients)| gradients).collect())?;
        self.optimizer.set_learning_rate(learning_rate);
        self.optimizer.step(&gradients)?;
        self.steps += 1;
        self.average.approach(&self.parameters, self.recipe.averaged_share(self.steps))?;
        Ok(loss)
    }

    /// The probability of each label for each text, in its order, by the averaged parameters.
    ///
    /// # Errors
    /// [`TrainError::Example`] for a text that cannot be run.
    pub fn predict(&self, texts: &[&[u32]]) -> Outcome<Vec<Vec<f32>>, TrainError> {
        for (index, tokens) in texts.iter().enumerate() {
            self.check(tokens, None).map_err(|detail| TrainError::Example { index, detail })?;
        }
        let merged = self.merge(&self.average)?;
        let mut out = Vec::with_capacity(texts.len());
        for part in texts.chunks(PREDICT_TEXTS * self.recipe.batch_shards) {
            let shards: Vec<_> = part.chunks(PREDICT_TEXTS).collect();
            for rows in in_parallel(&shards, |shard| {
                let texts = Texts::new(shard.iter().copied());
                let logits = self.logits(&merged, &self.average, &texts, &mut |x| Ok(x.clone()))?;
                softmax(&logits.detach(), D::Minus1)?.to_vec2::<f32>()
            })? {
                out.extend(rows);
            }
        }
        Ok(out)
    }

    /// A copy of the averaged parameters, lowest layer first, under their names in PEFT's file.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn snapshot(&self) -> Outcome<Snapshot, TrainError> {
        Ok(self.average.snapshot()?)
    }

    /// Goes back to a snapshot of this trainer; the optimizer's moments stay.
    ///
    /// # Errors
    /// When it is another trainer's, of other shapes.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Outcome<(), TrainError> {
        self.average.restore(snapshot)?;
        Ok(self.parameters.restore(snapshot)?)
    }

    /// The trained adapter, to be written or measured: its labels name the classes in their order.
    ///
    /// # Errors
    /// When the backend fails.
    pub fn adapter(&self, base: &str, labels: &[&str]) -> Outcome<Adapter, TrainError> {
        let config = AdapterConfig {
            peft_type: "LORA".to_string(),
            task_type: Some("SEQ_CLS".to_string()),
            base_model_name_or_path: Some(base.to_string()),
            r: self.recipe.rank,
            lora_alpha: self.recipe.alpha,
            use_rslora: false,
            // PEFT adapts every module whose path ends in one of these; "dense" alone would take the pooler too.
            target_modules: ["query", "key", "value", "intermediate.dense", "output.dense"].map(String::from).to_vec(),
            modules_to_save: Some(vec!["classifier".to_string()]),
            id2label: labels.iter().map(|label| label.to_string()).enumerate().collect(),
        };
        Ok(self.average.adapter(config)?)
    }

    fn check(&self, tokens: &[u32], target: Option<&[f32]>) -> Outcome<(), String> {
        let (most, vocabulary) = (self.encoder.architecture().positions_max(), self.encoder.architecture().vocabulary);
        if tokens.is_empty() || tokens.len() > most {
            return Err(format!("{} tokens, the model takes 1 to {most}", tokens.len()));
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
            return Err(format!("token {token} is outside the vocabulary of {vocabulary}"));
        }
        let sums_to_1 = |target: &[f32]| (target.iter().sum::<f32>() - 1.0).abs() <= TARGET_SUM_ERROR;
        match target {
            Some(target) if target.len() != self.labels => {
                Err(format!("a target of {} probabilities, but there are {} labels", target.len(), self.labels))
            }
            Some(target) if !sums_to_1(target) || target.iter().any(|share| *share < 0.0) => {
                Err(format!("the target {target:?} is no distribution: shares of at least 0 that add up to 1"))
            }
            _ => Ok(()),
        }
    }

    fn merge(&self, parameters: &Parameters) -> Result<Merged> {
        self.encoder.merge(parameters, self.recipe.alpha / self.recipe.rank as f64)
    }

    /// texts x labels.
    fn logits(&self, merged: &Merged, parameters: &Parameters, texts: &Texts, drop: &mut Drop<'_>) -> Result<Tensor> {
        let pooled = self.encoder.forward(merged, parameters, texts, drop)?;
        pooled.matmul(&parameters.head.weight.t()?)?.broadcast_add(&parameters.head.bias)
    }

    /// Numbers of their own for each shard of each step.
    fn dropout_rng(&self, shard: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(DROPOUT_STREAM + (self.steps * self.recipe.batch_shards + shard) as u64);
        rng
    }

    /// The shard's part of the batch's mean loss, and its gradients.
    fn shard_gradients(
        &self,
        merged: &Merged,
        shard: &[&Example],
        batch_texts: usize,
        mut rng: ChaCha8Rng,
    ) -> Result<(f32, GradStore)> {
        let texts = Texts::new(shard.iter().map(|example| example.tokens.as_slice()));
        let targets = self.targets(shard)?;
        let mut drop = |x: &Tensor| dropout(x, self.recipe.dropout, &mut rng);
        let log_probabilities = log_softmax(&self.logits(merged, &self.parameters, &texts, &mut drop)?, D::Minus1)?;
        let loss = ((log_probabilities * targets)?.sum_all()? * (-1.0 / batch_texts as f64))?;
        Ok((loss.to_scalar()?, loss.backward()?))
    }

    /// texts x labels: the smoothed distribution that each text should have.
    fn targets(&self, shard: &[&Example]) -> Result<Tensor> {
        let smoothing = self.recipe.label_smoothing as f32;
        let spread = smoothing / self.labels as f32;
        let shares = shard.iter().flat_map(|example| &example.target);
        let targets = shares.map(|share| (1.0 - smoothing) * share + spread).collect::<Vec<_>>();
        Tensor::from_vec(targets, (shard.len(), self.labels), &Device::Cpu)
    }

    /// Adds the shards' gradients in their order and scales them down to the largest norm allowed.
    fn combine(&self, mut shards: Vec<GradStore>) -> Outcome<GradStore, TrainError> {
        let mut total = shards.remove(0);
        let (mut norm_squared, mut lowest_layer) = (0.0f64, 0.0f64);
        let mut sums = Vec::new();
        for (at, (name, variable)) in self.parameters.named().into_iter().enumerate() {
            let missing = || TrainError::NoGradient { parameter: name.clone() };
            let mut sum = total.remove(variable).ok_or_else(missing)?;
            for shard in &shards {
                sum = (sum + shard.get(variable).ok_or_else(missing)?)?;
            }
            let squared = f64::from(sum.sqr()?.sum_all()?.to_scalar::<f32>()?);
            lowest_layer += if at < LOWEST_LAYER { squared } else { 0.0 };
            norm_squared += squared;
            sums.push((variable, sum));
        }
        // A gradient that is exactly zero was cut, not small.
        if lowest_layer == 0.0 {
            return Err(TrainError::NoGradient { parameter: "the lowest layer's adapter".to_string() });
        }
        let factor = (self.recipe.gradient_norm_max / norm_squared.sqrt().max(f64::MIN_POSITIVE)).min(1.0);
        for (variable, sum) in sums {
            total.insert(variable, (sum * factor)?.detach());
        }
        Ok(total)
    }
}

/// Deals a batch into shards of like length: the longest texts first, each to the next shard, there and back again.
fn deal<'a>(batch: &[&'a Example], shards: usize) -> Vec<Vec<&'a Example>> {
    let mut longest_first = batch.to_vec();
    longest_first.sort_by_key(|example| std::cmp::Reverse(example.tokens.len()));
    let shards = shards.min(batch.len());
    let mut dealt = vec![Vec::new(); shards];
    for (round, examples) in longest_first.chunks(shards).enumerate() {
        for (at, example) in examples.iter().enumerate() {
            dealt[if round % 2 == 0 { at } else { shards - 1 - at }].push(*example);
        }
    }
    dealt
}

/// Runs `work` on every shard, each on its own thread; answers in the order of the shards.
fn in_parallel<S: Sync, R: Send>(shards: &[S], work: impl Fn(&S) -> Result<R> + Sync) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let running: Vec<_> = shards.iter().map(|shard| scope.spawn(|| work(shard))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
