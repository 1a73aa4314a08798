//! Groups items that point in a similar direction, so that one bound serves many of them.
//!
//! Spherical k-means (Dhillon and Modha 2001) on a sample, then one pass over all items. Where items do not cluster, the
//! groups are of no use and of no harm: bounds are then too wide to skip a block, and every block is screened.

use std::thread;

use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, gemm_f32, l2_normalize};

/// Items in a cluster on average: about a block.
const ITEMS_A_CLUSTER: usize = 256;
const CLUSTERS_MAX: usize = 8_192;
/// Items that a direction is learnt from, and how often.
const SAMPLES_A_CLUSTER: usize = 32;
const ROUNDS: usize = 4;
/// Items compared with all directions at once: their products stay in the second-level cache.
const CHUNK: usize = 32;

/// Directions, and which one each item follows.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// Unit vectors, row by row; a zero vector where all items are zero.
    pub directions: Vec<f32>,
    /// By item.
    pub of: Vec<u32>,
}

/// Clusters `vectors` (rows of `width`).
pub(super) fn cluster(isa: Isa, vectors: &[f32], width: usize, threads: usize) -> Clusters {
    let items = vectors.len() / width;
    let count = items.div_ceil(ITEMS_A_CLUSTER).clamp(1, CLUSTERS_MAX);
    let sample = sample(vectors, width, count * SAMPLES_A_CLUSTER);
    let mut directions = spread(&sample, width, count);
    l2_normalize(isa, &mut directions, width);
    for _ in 0..ROUNDS {
        let of = nearest(isa, &directions, &sample, width, threads);
        move_to_members(isa, &mut directions, &sample, &of, width);
    }
    let of = nearest(isa, &directions, vectors, width, threads);
    Clusters { directions, of }
}

/// At most so many rows, evenly spread.
fn sample(vectors: &[f32], width: usize, rows_max: usize) -> Vec<f32> {
    let rows = vectors.len() / width;
    if rows <= rows_max { vectors.to_vec() } else { spread(vectors, width, rows_max) }
}

/// Exactly so many rows, evenly spread; zeros where there are none.
fn spread(vectors: &[f32], width: usize, count: usize) -> Vec<f32> {
    let rows = vectors.len() / width;
    let mut spread = vec![0.0; count * width];
    for (number, to) in spread.chunks_exact_mut(width).enumerate().take(if rows == 0 { 0 } else { count }) {
        to.copy_from_slice(&vectors[number * rows / count * width..][..width]);
    }
    spread
}

/// The direction with the largest inner product, for each row; the first of equals.
fn nearest(isa: Isa, directions: &[f32], vectors: &[f32], width: usize, threads: usize) -> Vec<u32> {
    let (rows, count) = (vectors.len() / width, directions.len() / width);
    let packed = PackedF32::pack(isa, directions, count, width);
    let mut of = vec![0; rows];
    let share = rows.div_ceil(threads.max(1)).next_multiple_of(CHUNK).max(CHUNK);
    thread::scope(|scope| {
        for (vectors, of) in vectors.chunks(share * width).zip(of.chunks_mut(share)) {
            let packed = &packed;
            scope.spawn(move || {
                let (mut scratch, mut products) = (Scratch::default(), vec![0.0; CHUNK * count]);
                for (vectors, of) in vectors.chunks(CHUNK * width).zip(of.chunks_mut(CHUNK)) {
                    let products = &mut products[..of.len() * count];
                    gemm_f32(packed, vectors, of.len(), Epilogue::default(), products, &mut scratch);
                    for (products, of) in products.chunks_exact(count).zip(of) {
                        *of = place_of_largest(products);
                    }
                }
            });
        }
    });
    of
}

/// Two passes, each of which the compiler turns into vector instructions; one that keeps value and place it does not.
fn place_of_largest(values: &[f32]) -> u32 {
    const LANES: usize = 16;
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for values in whole {
        for (largest, &value) in largest.iter_mut().zip(values) {
            *largest = if value > *largest { value } else { *largest };
        }
    }
    let largest = largest.iter().chain(rest).fold(f32::NEG_INFINITY, |largest, &value| largest.max(value));
    values.iter().position(|&value| value == largest).unwrap_or(0) as u32
}

/// Each direction becomes that of the sum of its members; one without members stays.
fn move_to_members(isa: Isa, directions: &mut [f32], vectors: &[f32], of: &[u32], width: usize) {
    let mut sums = vec![0.0_f32; directions.len()];
    for (vector, &cluster) in vectors.chunks_exact(width).zip(of) {
        let sum = &mut sums[cluster as usize * width..][..width];
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    for (sum, direction) in sums.chunks_exact(width).zip(directions.chunks_exact_mut(width)) {
        if sum.iter().any(|&value| value != 0.0) {
            direction.copy_from_slice(sum);
        }
    }
    l2_normalize(isa, directions, width);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_follow_the_direction_they_point_in() {
        let isa = Isa::active().unwrap();
        // More than one cluster's worth, in two directions that alternate.
        let vectors: Vec<f32> =
            (0..600).flat_map(|i| if i % 2 == 0 { [3.0, 0.1, 0.0] } else { [0.0, 0.1, 0.5] }).collect();
        for threads in [1, 2, 5] {
            let clusters = cluster(isa, &vectors, 3, threads);
            assert_eq!((clusters.directions.len(), clusters.of.len()), (9, 600));
            let of = |item: usize| &clusters.directions[clusters.of[item] as usize * 3..][..3];
            assert!((0..600).all(|item| of(item)[if item % 2 == 0 { 0 } else { 2 }] > 0.9), "{clusters:?}");
        }
    }

    #[test]
    fn nothing_and_zeros_have_a_cluster_too() {
        let isa = Isa::active().unwrap();
        assert!(cluster(isa, &[], 4, 2).of.is_empty());
        assert_eq!(cluster(isa, &[0.0; 40], 4, 2).of, [0; 10]);
    }
}
