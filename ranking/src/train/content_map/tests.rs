use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const WIDTH: usize = 6;
const FACTORS: usize = 3;

/// Content of `items`, and factors that are linear in it but for some noise.
fn linear(items: usize, noise: f32, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || random.random_range(-1.0_f32..1.0);
    let content: Vec<f32> = (0..items * WIDTH).map(|_| draw() + 0.5).collect();
    let mut factors = Vec::new();
    for row in content.chunks(WIDTH) {
        factors.extend((0..FACTORS).map(|factor| 2.0 + row[factor] - 3.0 * row[factor + 2] + noise * draw()));
    }
    (content, factors)
}

fn rows<'a>(content: &'a [f32], factors: &'a [f32], evidence: &'a [f32]) -> ContentRows<'a> {
    ContentRows { content, width: WIDTH, factors, evidence }
}

fn strength(regularisation: f64) -> ContentMapOptions {
    ContentMapOptions { regularisation: Some(regularisation) }
}

fn error(map: &ContentMap, content: &[f32], factors: &[f32]) -> f32 {
    let mapped = map.map(content).unwrap();
    mapped.iter().zip(factors).map(|(one, two)| (one - two).powi(2)).sum::<f32>() / factors.len() as f32
}

#[test]
fn what_is_linear_is_found_for_items_that_were_not_learnt_from() {
    let ((content, factors), (new, expected)) = (linear(200, 0.0, 1), linear(20, 0.0, 2));
    let map = ContentMap::train(&rows(&content, &factors, &[1.0; 200]), &Default::default()).unwrap();
    assert!(error(&map, &new, &expected) < 1e-5);
    assert_eq!((map.width(), map.factors(), map.regularisation()), (WIDTH, FACTORS, STRENGTH_LEAST));
}

#[test]
fn the_solution_fulfils_the_normal_equations() {
    let (content, factors) = linear(700, 0.5, 3);
    let evidence: Vec<f32> = (0..700).map(|item| (item % 5) as f32).collect();
    let map = ContentMap::train(&rows(&content, &factors, &evidence), &strength(0.3)).unwrap();
    let sum: f64 = evidence.iter().map(|value| f64::from(*value)).sum();
    let mean = |at: usize| {
        let values = content.iter().skip(at).step_by(WIDTH).zip(&evidence);
        values.map(|(value, evidence)| f64::from(value * evidence)).sum::<f64>() / sum
    };
    let variance = |at: usize| {
        let values = content.iter().skip(at).step_by(WIDTH).zip(&evidence);
        values.map(|(value, evidence)| f64::from(*evidence) * (f64::from(*value) - mean(at)).powi(2)).sum::<f64>()
    };
    let ridge = 0.3 * (0..WIDTH).map(variance).sum::<f64>() / WIDTH as f64;
    let mapped = map.map(&content).unwrap();
    for at in 0..WIDTH {
        for factor in 0..FACTORS {
            let gradient: f64 = (0..700)
                .map(|item| {
                    let residual = f64::from(mapped[item * FACTORS + factor] - factors[item * FACTORS + factor]);
                    f64::from(evidence[item]) * (f64::from(content[item * WIDTH + at]) - mean(at)) * residual
                })
                .sum();
            let weight = f64::from(map.weights[at * FACTORS + factor]);
            assert!((gradient + ridge * weight).abs() < 0.01, "{at} {factor} {gradient} {}", ridge * weight);
        }
    }
}

#[test]
fn the_strength_that_is_found_is_good_for_new_items() {
    let ((content, factors), (new, expected)) = (linear(30, 4.0, 4), linear(500, 0.0, 5));
    let map = |options| ContentMap::train(&rows(&content, &factors, &[1.0; 30]), &options).unwrap();
    let found = map(Default::default());
    assert!(found.regularisation() > 10.0 * STRENGTH_LEAST, "{}", found.regularisation());
    let (of_found, of_weak) = (error(&found, &new, &expected), error(&map(strength(1e-6)), &new, &expected));
    let of_strong = error(&map(strength(1e6)), &new, &expected);
    assert!(of_found < of_weak && of_found < of_strong, "{of_found} {of_weak} {of_strong}");
}

#[test]
fn only_ratios_of_evidence_count_and_none_leaves_an_item_out() {
    let (mut content, mut factors) = linear(60, 1.0, 6);
    let evidence: Vec<f32> = (0..60).map(|item| (item % 4) as f32).collect();
    let doubled: Vec<f32> = evidence.iter().map(|value| 2.0 * value).collect();
    let once = ContentMap::train(&rows(&content, &factors, &evidence), &Default::default()).unwrap();
    assert_eq!(ContentMap::train(&rows(&content, &factors, &doubled), &Default::default()).unwrap(), once);
    content[..WIDTH].fill(99.0);
    factors[..FACTORS].fill(-99.0);
    assert_eq!(ContentMap::train(&rows(&content, &factors, &evidence), &Default::default()).unwrap(), once);
}

#[test]
fn items_that_are_all_alike_teach_their_mean() {
    let (content, factors) = ([1.0; 2 * WIDTH], [1.0, 2.0, 3.0, 3.0, 2.0, 1.0]);
    let map = ContentMap::train(&rows(&content, &factors, &[1.0, 1.0]), &Default::default()).unwrap();
    assert_eq!(map.map(&[7.0; WIDTH]).unwrap(), [2.0; 3]);
    let single = ContentMap::train(&rows(&content[..WIDTH], &factors[..3], &[5.0]), &Default::default()).unwrap();
    assert_eq!(single.map(&[7.0; WIDTH]).unwrap(), [1.0, 2.0, 3.0]);
    let parts = map.clone().into_parts();
    assert_eq!(ContentMap::from_parts(parts.0, parts.1, parts.2), Ok(map));
}

#[test]
fn what_cannot_be_learnt_or_mapped_is_told() {
    let (content, factors) = linear(2, 0.0, 7);
    let train = |content: &[f32], factors: &[f32], evidence: &[f32], options| {
        ContentMap::train(&rows(content, factors, evidence), &options).unwrap_err()
    };
    let none = Default::default;
    assert_eq!(train(&[], &[], &[], none()), TrainError::Empty { rows: 0, items: 0 });
    assert_eq!(train(&content, &factors, &[0.0; 2], none()), TrainError::Empty { rows: 2, items: 2 });
    assert!(matches!(train(&content[1..], &factors, &[1.0; 2], none()), TrainError::Parts { part: "content", .. }));
    assert!(matches!(train(&content, &factors[1..], &[1.0; 2], none()), TrainError::Parts { part: "factors", .. }));
    assert!(matches!(train(&content, &factors, &[1.0, -1.0], none()), TrainError::Option { name: "evidence", .. }));
    assert!(matches!(train(&content, &factors, &[1.0; 2], strength(0.0)), TrainError::Option { .. }));
    let mut broken = content.clone();
    broken[WIDTH] = f32::NAN;
    assert_eq!(train(&broken, &factors, &[1.0; 2], none()), TrainError::NotFinite { part: "content", row: 1 });
    let map = ContentMap::train(&rows(&content, &factors, &[1.0; 2]), &Default::default()).unwrap();
    assert!(matches!(map.map(&content[1..]), Err(TrainError::Parts { part: "content", .. })));
    assert_eq!(map.map(&broken), Err(TrainError::NotFinite { part: "content", row: 1 }));
    assert!(ContentMap::from_parts(vec![], vec![], 1.0).is_err());
    assert!(ContentMap::from_parts(vec![1.0; 3], vec![0.0; 2], 1.0).is_err());
}
