//! Published similarities of all-MiniLM-L6-v2, through every engine and precision.

use attune_inference::Precision;
use attune_inference::engine::Engine;
use attune_kernels::Isa;

use crate::support::{MiniLm, cosine, run};

const TEXTS: [&str; 6] = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
    "A man is eating food.",
    "A man is eating a piece of bread.",
];

fn check(engine: &mut dyn Engine, texts: &[Vec<u32>], tolerance: f64) {
    let rows = run(engine, texts);
    let found = [(0, 1), (0, 2), (0, 3), (4, 5)].map(|(a, b)| cosine(&rows[a], &rows[b]));
    for (found, golden) in found.into_iter().zip([0.6946, 0.9429, 0.2569, 0.7553]) {
        assert!((found - golden).abs() <= tolerance, "{:?}: {found} is not {golden}", engine.info());
    }
    let length = cosine_length(&rows[4]);
    let leading = rows[4].iter().map(|value| f64::from(*value) / length);
    for (found, golden) in leading.zip([0.03324, 0.00441, -0.00628, 0.04838, -0.1387]) {
        assert!((found - golden).abs() <= tolerance, "{:?}: {found} is not {golden}", engine.info());
    }
}

fn cosine_length(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// Half a unit of the last published digit for f32, and the stated bounds of the coarser formats.
#[test]
fn every_engine_and_precision_gives_the_published_values() {
    let model = MiniLm::read();
    let texts = model.ids(&TEXTS);
    check(&mut model.reference(), &texts, 6e-5);
    for isa in Isa::supported() {
        check(&mut model.cpu(isa, Precision::F32), &texts, 6e-5);
        check(&mut model.cpu(isa, Precision::Bf16), &texts, 5e-3);
        check(&mut model.cpu(isa, Precision::Int8), &texts, 3e-2);
    }
}
