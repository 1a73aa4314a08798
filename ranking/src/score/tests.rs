use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::newton::probability;
use super::*;
use crate::index::Scored;
use crate::retrieve::{Outcome, SourceError, Union};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Outcomes drawn from a known law: log-odds `2 a - b - 1`, in units of their own; a third feature is noise. Every third
/// `b` is missing unless all are `known`.
fn examples(count: usize, seed: u64, known: bool) -> Examples {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut examples = Examples::new(&names(&["a", "b", "noise", "constant"]));
    for example in 0..count {
        let (a, b): (f64, f64) = (random.random_range(-1.0..1.0), random.random_range(-1.0..1.0));
        let acted = random.random::<f64>() < probability(2.0 * a - b - 1.0);
        let known_b = if example % 3 == 0 && !known { f32::NAN } else { (100.0 * b) as f32 };
        let row = [a as f32 + 7.0, known_b, random.random_range(-1.0_f32..1.0), 3.0];
        examples.push(&row, acted, example as u64 / 10, 1.0).unwrap();
    }
    examples
}

fn train(examples: &Examples) -> (LogisticBlend, Fit) {
    LogisticBlend::train("v1", examples, &LogisticOptions::default()).unwrap()
}

/// A blend asked about one row of features.
fn ask(model: &LogisticBlend, row: &[f32]) -> (f32, f32) {
    let layout = FeatureLayout::new([], model.names().iter().map(String::as_str));
    let union = Union::new(&[], &[0]);
    let extras: Vec<Extra<'_>> =
        model.names().iter().zip(row.chunks(1)).map(|(name, values)| Extra { name, values }).collect();
    let features = layout.fill(&union, &[], 0, &extras).unwrap();
    let blend = Blend::logistic(Arc::new(model.clone()), &layout).unwrap();
    let scores = blend.score(&union, &features, true);
    let explained: f32 = blend.explain(&union, &features, 0).iter().map(|share| share.value).sum();
    let log_odds = (scores.scores[0] / (1.0 - scores.scores[0])).ln();
    assert!((explained - log_odds).abs() < 1e-3, "contributions add up: {explained} {log_odds}");
    (scores.scores[0], scores.deviations[0])
}

#[test]
fn the_law_behind_the_examples_is_found_and_probabilities_are_calibrated() {
    let (model, fit) = train(&examples(20_000, 1, true));
    for (a, b) in [(0.0, 0.0), (0.9, -0.9), (-0.5, 0.5)] {
        let (found, _) = ask(&model, &[a + 7.0, 100.0 * b, 0.0, 3.0]);
        let need = probability(f64::from(2.0 * a - b - 1.0)) as f32;
        assert!((found - need).abs() < 0.03, "{a} {b}: {found} {need}");
    }
    assert!(fit.calibration_error.unwrap() < 0.02, "{fit:?}");
    assert!(fit.log_loss.unwrap() < 0.95 * fit.log_loss_of_mean.unwrap(), "{fit:?}");
    assert!((fit.held_out as f64 / 20_000.0 - 0.2).abs() < 0.02, "{fit:?}");
}

#[test]
fn what_is_missing_is_neither_for_nor_against() {
    let (model, _) = train(&examples(20_000, 2, false));
    let (missing, _) = ask(&model, &[7.0, f32::NAN, f32::NAN, f32::NAN]);
    let (mean, _) = ask(&model, &[7.0, 0.0, 0.0, 3.0]);
    assert!((missing - mean).abs() < 0.01, "{missing} {mean}");
}

#[test]
fn few_examples_leave_more_doubt_and_what_is_far_out_too() {
    let ((few, _), (many, _)) = (train(&examples(200, 3, true)), train(&examples(20_000, 3, true)));
    let row = [7.2, 10.0, 0.0, 3.0];
    assert!(ask(&few, &row).1 > 3.0 * ask(&many, &row).1);
    assert!(ask(&many, &[9.0, 10.0, 0.0, 3.0]).1 > ask(&many, &[7.0, 0.0, 0.0, 3.0]).1);
}

#[test]
fn the_same_examples_give_the_same_model_and_it_is_plain_data() {
    let examples = examples(500, 4, false);
    let (model, fit) = train(&examples);
    assert_eq!(train(&examples), (model.clone(), fit));
    let text = serde_json::to_string(&examples).unwrap();
    assert_eq!(serde_json::from_str::<Examples>(&text).unwrap(), examples);
    let text = serde_json::to_string(&model).unwrap();
    let read: LogisticBlend = serde_json::from_str(&text).unwrap();
    assert_eq!((read.check(), &read), (Ok(()), &model));
    let cut = text.replacen("\"names\":[\"a\",", "\"names\":[", 1);
    assert!(serde_json::from_str::<LogisticBlend>(&cut).unwrap().check().is_err());
}

#[test]
fn weights_count_as_so_many_examples() {
    let (mut once, mut twice) = (Examples::new(&names(&["x"])), Examples::new(&names(&["x"])));
    for example in 0..400_u64 {
        let (row, acted) = ([(example % 7) as f32], example % 7 > example % 4);
        once.push(&row, acted, example, 2.0).unwrap();
        twice.push(&row, acted, example, 1.0).unwrap();
        twice.push(&row, acted, example, 1.0).unwrap();
    }
    let (once, twice) = (train(&once).0, train(&twice).0);
    assert!((ask(&once, &[3.0]).0 - ask(&twice, &[3.0]).0).abs() < 1e-6);
}

#[test]
fn what_cannot_be_learnt_is_told() {
    let mut examples = Examples::new(&names(&["x"]));
    let error = |examples: &Examples| LogisticBlend::train("", examples, &LogisticOptions::default()).unwrap_err();
    assert_eq!(error(&examples), ScoreError::OneSided { examples: 0, acted: 0 });
    assert_eq!(examples.push(&[1.0, 2.0], true, 0, 1.0), Err(ScoreError::Width { len: 2, need: 1 }));
    assert!(matches!(examples.push(&[1.0], true, 0, f32::NAN), Err(ScoreError::Weight { example: 0, .. })));
    for list in 0..20 {
        examples.push(&[1.0], true, list, 1.0).unwrap();
    }
    assert!(matches!(error(&examples), ScoreError::OneSided { .. }));
    let text = serde_json::to_string(&examples).unwrap().replacen("\"lists\":[0,", "\"lists\":[", 1);
    assert!(matches!(error(&serde_json::from_str(&text).unwrap()), ScoreError::Width { .. }));
    let bad = LogisticOptions { regularisation: f64::NAN };
    assert!(matches!(LogisticBlend::train("", &examples, &bad), Err(ScoreError::Regularisation(_))));
}

fn found(rows: &[(u32, f32)]) -> Outcome {
    Outcome::Found(rows.iter().map(|(row, score)| Scored { row: *row, score: *score }).collect())
}

#[test]
fn features_tell_apart_why_a_score_is_missing() {
    let failed = Outcome::Failed(SourceError::Index(crate::index::IndexError::K { k: 0 }));
    let outcomes = [found(&[(3, 0.5)]), Outcome::Silent, failed];
    let union = Union::new(&outcomes, &[9]);
    let layout = FeatureLayout::new(["a", "b", "c"], ["price"]);
    let extra = [Extra { name: "price", values: &[5.0, f32::NAN] }];
    let features = layout.fill(&union, &outcomes, 0, &extra).unwrap();
    let known = |candidate| features.row(candidate).iter().map(|v| v.is_finite().then_some(*v)).collect::<Vec<_>>();
    let zero = Some(0.0);
    assert_eq!(known(0), [Some(0.5), zero, zero, None, zero, Some(1.0), None, None, None, zero, Some(5.0)]);
    assert_eq!(known(1), [None, Some(1.0), zero, None, zero, Some(1.0), None, None, None, zero, None]);
    assert_eq!(features.names()[1..3], ["a absent", "a silent"]);
    assert!(matches!(layout.fill(&union, &outcomes, 0, &[]), Err(ScoreError::Extra { len: 0, need: 2, .. })));
}

#[test]
fn ranks_are_joined_by_weight() {
    let outcomes = [found(&[(1, 9.0), (2, 8.0)]), found(&[(2, 0.1)]), Outcome::Late];
    let (union, sources) = (Union::new(&outcomes, &[]), names(&["a", "b", "c"]));
    let features = FeatureLayout::new(["a", "b", "c"], []).fill(&union, &outcomes, 0, &[]).unwrap();
    let alike = Blend::Ranks(RankFusion::new(&sources, &[], []).unwrap());
    let scores = alike.score(&union, &features, true).scores;
    assert!((scores[0] - 1.0 / 3.0).abs() < 1e-6 && (scores[1] - (61.0 / 62.0 + 1.0) / 3.0).abs() < 1e-6);
    let shares = alike.explain(&union, &features, 1);
    assert!((shares.iter().map(|share| share.value).sum::<f32>() - scores[1]).abs() < 1e-6);
    let first = Blend::Ranks(RankFusion::new(&sources, &[], [("a", 2.0)]).unwrap());
    assert_eq!(first.score(&union, &features, false).scores, [1.0, 61.0 / 62.0]);
    assert!(RankFusion::new(&sources, &[], [("d", 1.0)]).is_err());
    assert!(RankFusion::new(&sources, &[], [("a", 0.0)]).is_err());
    assert!(RankFusion::new(&sources, &[], [("a", f32::NAN)]).is_err());
    let layout = FeatureLayout::new(["a"], []);
    let unknown = Blend::logistic(Arc::new(train(&examples(500, 4, false)).0), &layout).unwrap_err();
    assert_eq!(unknown, ScoreError::Unknown { name: "b".into() });
}
