//! The trainer on a tiny BERT that is drawn at random.

use std::path::Path;

use candle_core::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::{Example, Recipe, Snapshot, TARGETS, TrainError, Trainer};
use crate::engine::reference::{ReferenceEngine, ReferenceModel};
use crate::engine::{Engine, FlatBatch};
use crate::model::{Adapter, Checkpoint, LoadError, ModelConfig};
use crate::task::classify::probabilities;
use crate::testing::{LAYERS, POSITIONS, write_tiny_model};

const LABELS: [&str; 3] = ["no", "perhaps", "yes"];

/// Ids of the tiny vocabulary that are words.
const FIRST_WORD: u32 = 5;
const WORDS: u32 = 22;

/// A folder with a model of random weights.
fn base() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_tiny_model(folder.path(), 5).unwrap();
    folder
}

fn one_hot(label: usize) -> Vec<f32> {
    (0..LABELS.len()).map(|at| if at == label { 1.0 } else { 0.0 }).collect()
}

/// Texts of 3 to 9 words whose class is that of the word in their middle.
fn examples() -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let text = |_| {
        let word = |rng: &mut ChaCha8Rng| FIRST_WORD + 3 + rng.random_range(0..WORDS - 3);
        let mut tokens: Vec<u32> = (0..rng.random_range(3..10)).map(|_| word(&mut rng)).collect();
        let label = rng.random_range(0..LABELS.len());
        let middle = tokens.len() / 2;
        tokens[middle] = FIRST_WORD + label as u32;
        Example { tokens, target: one_hot(label) }
    };
    (0..48).map(text).collect()
}

fn recipe() -> Recipe {
    Recipe {
        rank: 4,
        alpha: 8.0,
        learning_rate: 0.01,
        batch_texts: 8,
        dropout: 0.0,
        averaging: 0.9,
        ..Recipe::default()
    }
}

/// What the reference engine makes of the base with an adapter merged in.
fn reference(base: &Path, adapter: &Adapter, tokens: &[u32]) -> Vec<f32> {
    let architecture = ModelConfig::read(base).unwrap().architecture;
    let merged = Checkpoint::read(base).unwrap().merged(adapter).unwrap();
    let model = ReferenceModel::new(&merged, &architecture, LABELS.len(), POSITIONS).unwrap();
    let mut logits = vec![0.0; LABELS.len()];
    let offsets = [0, tokens.len()];
    let batch = FlatBatch::new(tokens, &offsets).unwrap();
    ReferenceEngine(model.into()).run(batch, &|| false, &mut logits).unwrap();
    probabilities(&logits, LABELS.len())
}

/// Trains for some passes; answers the trainer and the mean loss of each pass.
fn train(base: &Path, recipe: &Recipe, seed: u64, passes: usize) -> (Trainer, Vec<f32>) {
    let examples = examples();
    let mut trainer = Trainer::new(base, 3, recipe, seed).unwrap();
    let mut losses = Vec::new();
    for pass in 0..passes {
        let batches = recipe.batches(examples.len(), pass, seed);
        let mut sum = 0.0;
        for batch in &batches {
            let batch: Vec<&Example> = batch.iter().map(|at| &examples[*at]).collect();
            sum += trainer.step(&batch, recipe.learning_rate).unwrap();
        }
        losses.push(sum / batches.len() as f32);
    }
    (trainer, losses)
}

fn values(snapshot: &Snapshot) -> Vec<(String, Vec<f32>)> {
    let floats = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    snapshot.iter().map(|(name, tensor)| (name.clone(), floats(tensor))).collect()
}

#[test]
fn training_lowers_the_loss_and_moves_every_parameter_down_to_the_lowest_layer() {
    let base = base();
    let before = values(&Trainer::new(base.path(), 3, &recipe(), 1).unwrap().snapshot().unwrap());
    let (trainer, losses) = train(base.path(), &recipe(), 1, 20);
    assert!(losses[19] < 0.5 * losses[0], "{losses:?}");
    let after = values(&trainer.snapshot().unwrap());
    assert_eq!(after.len(), LAYERS * 2 * TARGETS.len() + 2);
    assert_eq!(after[0].0, "encoder.layer.0.attention.self.query.lora_A");
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert_ne!(before, after, "{name} did not move");
    }
    let examples = examples();
    let texts: Vec<&[u32]> = examples.iter().map(|example| example.tokens.as_slice()).collect();
    let best = |row: &Vec<f32>| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let right = trainer
        .predict(&texts)
        .unwrap()
        .iter()
        .zip(&examples)
        .filter(|(row, one)| one.target[best(row)] == 1.0)
        .count();
    assert!(right >= 44, "{right} of 48 learnt");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let base = base();
    let recipe = Recipe { dropout: 0.2, ..recipe() };
    let [first, again, other] =
        [1, 1, 2].map(|seed| values(&train(base.path(), &recipe, seed, 2).0.snapshot().unwrap()));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn what_is_kept_is_the_running_average_of_what_each_step_made() {
    let base = base();
    let examples = examples();
    let batch: Vec<&Example> = examples.iter().take(8).collect();
    let averaged = recipe();
    let last = Recipe { averaging: 0.0, ..recipe() };
    let [mut kept, mut made] = [&averaged, &last].map(|recipe| Trainer::new(base.path(), 3, recipe, 1).unwrap());
    let mut expected = values(&made.snapshot().unwrap());
    for step in 1..=4 {
        kept.step(&batch, 0.01).unwrap();
        made.step(&batch, 0.01).unwrap();
        let share = averaged.averaged_share(step) as f32;
        for ((_, average), (_, now)) in expected.iter_mut().zip(values(&made.snapshot().unwrap())) {
            average.iter_mut().zip(now).for_each(|(average, now)| *average += share * (now - *average));
        }
    }
    for ((name, kept), (_, expected)) in values(&kept.snapshot().unwrap()).iter().zip(&expected) {
        let off = kept.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{name} is {off} off");
    }
}

#[test]
fn what_the_trainer_predicts_is_what_the_engine_serves() {
    let base = base();
    let fresh = Trainer::new(base.path(), 3, &recipe(), 1).unwrap();
    let (trained, _) = train(base.path(), &recipe(), 1, 3);
    for trainer in [fresh, trained] {
        let adapter = trainer.adapter("tiny", &LABELS).unwrap();
        for example in &examples()[..8] {
            let predicted = trainer.predict(&[&example.tokens]).unwrap();
            let served = reference(base.path(), &adapter, &example.tokens);
            let off = predicted[0].iter().zip(&served).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{predicted:?} and {served:?}");
        }
    }
}

#[test]
fn bad_examples_and_recipes_are_refused_and_say_why() {
    let base = base();
    let mut trainer = Trainer::new(base.path(), 3, &recipe(), 1).unwrap();
    let example = |tokens: &[u32], target: &[f32]| Example { tokens: tokens.to_vec(), target: target.to_vec() };
    let sure = one_hot(0);
    let good = example(&[1, 2, 3], &sure);
    let bad = [
        (example(&[], &sure), "0 tokens"),
        (example(&[1; POSITIONS + 1], &sure), "65 tokens"),
        (example(&[27], &sure), "token 27"),
        (example(&[1], &[0.5, 0.5]), "2 probabilities"),
        (example(&[1], &[0.5, 0.5, 0.5]), "no distribution"),
        (example(&[1], &[1.5, -0.5, 0.0]), "no distribution"),
        (example(&[1], &[f32::NAN, 0.5, 0.5]), "no distribution"),
    ];
    for (example, says) in &bad {
        let error = trainer.step(&[&good, example], 0.1).unwrap_err();
        assert!(matches!(&error, TrainError::Example { index: 1, detail } if detail.contains(says)), "{error}");
    }
    assert!(matches!(trainer.step(&[], 0.1), Err(TrainError::Recipe(_))));
    assert!(matches!(Trainer::new(base.path(), 1, &recipe(), 1), Err(TrainError::Recipe(_))));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let base = base();
    let mut trainer = Trainer::new(base.path(), 3, &recipe(), 1).unwrap();
    let examples = examples();
    let batch: Vec<&Example> = examples[..8].iter().collect();
    trainer.step(&batch, 1e30).unwrap();
    assert!(matches!(trainer.step(&batch, 1e30), Err(TrainError::Diverged { steps: 1, .. })));
}

#[test]
fn a_base_that_cannot_be_loaded_or_trained_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let refusal = Trainer::new(empty.path(), 3, &recipe(), 1);
    assert!(matches!(refusal, Err(TrainError::Model(LoadError::Io { path, .. })) if path.ends_with("config.json")));
    let by_first_token = base();
    let pooling = by_first_token.path().join("1_Pooling/config.json");
    std::fs::write(pooling, r#"{"pooling_mode_cls_token": true}"#).unwrap();
    assert!(matches!(Trainer::new(by_first_token.path(), 3, &recipe(), 1), Err(TrainError::Recipe(_))));
}

#[test]
fn a_snapshot_brings_the_parameters_back() {
    let base = base();
    let (mut trainer, _) = train(base.path(), &recipe(), 1, 1);
    let kept = trainer.snapshot().unwrap();
    let before = values(&kept);
    let examples = examples();
    trainer.step(&examples.iter().collect::<Vec<_>>(), 0.01).unwrap();
    assert_ne!(before, values(&trainer.snapshot().unwrap()));
    trainer.restore(&kept).unwrap();
    assert_eq!(before, values(&trainer.snapshot().unwrap()));
}

#[test]
fn the_written_adapter_predicts_as_the_trainer_does_within_half_precision() {
    let base = base();
    let (trainer, _) = train(base.path(), &recipe(), 1, 5);
    let folder = tempfile::tempdir().unwrap();
    trainer.adapter("tiny", &LABELS).unwrap().write(folder.path()).unwrap();
    let adapter = Adapter::read(folder.path()).unwrap();
    assert_eq!(adapter.labels().unwrap(), LABELS);
    assert_eq!(adapter.modules().count(), LAYERS * TARGETS.len());
    for example in &examples()[..8] {
        let predicted = trainer.predict(&[&example.tokens]).unwrap();
        let served = reference(base.path(), &adapter, &example.tokens);
        let off = predicted[0].iter().zip(&served).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 2e-2, "{predicted:?} and {served:?}");
    }
}
