//! Items and queries, made here or read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use attune_kernels::{Isa, l2_normalize};
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
            if shape == Shape::Clustered {
                for (item, vector) in values.chunks_exact_mut(width).enumerate() {
                    let centre = &centres[item.wrapping_mul(7_919) % CENTRES * width..][..width];
                    vector.iter_mut().zip(centre).for_each(|(value, centre)| *value = centre + NOISE * *value);
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
