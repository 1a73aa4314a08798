//! Items and queries, made here or read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, gemm_f32, l2_normalize};
use clap::ValueEnum;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const CENTRES: usize = 1_000;
const NOISE: f32 = 0.7;
/// Queries that are made.
const QUERIES: usize = 1_024;

/// How vectors are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Around a thousand centres
    Clustered,
    /// Without structure
    Gaussian,
    /// As embeddings of texts are spread
    Embedded,
}

/// Items and queries, row-major.
pub struct Vectors {
    /// What is searched.
    pub items: Vec<f32>,
    /// What is searched for.
    pub queries: Vec<f32>,
}

impl Vectors {
    /// Vectors of length 1, the same on every machine.
    pub fn make(shape: Shape, items: usize, width: usize) -> Result<Self> {
        ensure!(items > 0 && width > 0, "items and width must be above 0");
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut normal = |count: usize| -> Vec<f32> { StandardNormal.sample_iter(&mut random).take(count).collect() };
        let centres = normal(CENTRES * width);
        let mut make = |count: usize| -> Result<Vec<f32>> {
            let mut values = normal(count * width);
            match shape {
                Shape::Gaussian => {}
                Shape::Embedded => values = embedded(values, width)?,
                Shape::Clustered => {
                    for (item, vector) in values.chunks_exact_mut(width).enumerate() {
                        let centre = &centres[item.wrapping_mul(7_919) % CENTRES * width..][..width];
                        vector.iter_mut().zip(centre).for_each(|(value, centre)| *value = centre + NOISE * *value);
                    }
                }
            }
            l2_normalize(Isa::active()?, &mut values, width);
            Ok(values)
        };
        Ok(Self { items: make(items)?, queries: make(QUERIES)? })
    }

    /// Vectors from two files of little-endian f32.
    pub fn read(items: &Path, queries: &Path, width: usize) -> Result<Self> {
        Ok(Self { items: read(items, width)?, queries: read(queries, width)? })
    }
}

/// Spreads normal values as those of 17,472 films are whose titles, genres and people all-MiniLM-L6-v2 embedded at 384 values:
/// three eighths of a vector's squared length are what all have in common, and an axis has less the later it comes. The axes
/// are those of a cosine transform (DCT-II), so that they are not those of the values.
fn embedded(mut values: Vec<f32>, width: usize) -> Result<Vec<f32>> {
    let variance = |axis: usize| {
        let axis = 384.0 * axis as f64 / width as f64;
        0.0075 * (-axis / 75.0).exp() + 0.02 * (-axis / 5.0).exp()
    };
    let spreads: Vec<f32> = (0..width).map(|axis| variance(axis).sqrt() as f32).collect();
    for vector in values.chunks_exact_mut(width) {
        vector.iter_mut().zip(&spreads).for_each(|(value, spread)| *value *= spread);
        vector[0] += 0.6;
    }
    let cosine = |value: usize, axis: usize| {
        let scale = if axis == 0 { 1.0 } else { 2.0 };
        let angle = std::f64::consts::PI / width as f64 * (value as f64 + 0.5) * axis as f64;
        ((scale / width as f64).sqrt() * angle.cos()) as f32
    };
    let turn: Vec<f32> = (0..width * width).map(|place| cosine(place / width, place % width)).collect();
    let turn = PackedF32::pack(Isa::active()?, &turn, width, width);
    let mut turned = vec![0.0; values.len()];
    gemm_f32(&turn, &values, values.len() / width, Epilogue::default(), &mut turned, &mut Scratch::default());
    Ok(turned)
}

fn read(path: &Path, width: usize) -> Result<Vec<f32>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (values, rest) = bytes.as_chunks::<4>();
    ensure!(
        width > 0 && !values.is_empty() && rest.is_empty() && values.len().is_multiple_of(width),
        "{}: {} bytes are no whole rows of {width} f32; is --width right?",
        path.display(),
        bytes.len(),
    );
    Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}
