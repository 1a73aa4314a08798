//! Groups items that point in a similar direction, so that one bound serves many of them.
//!
//! Spherical k-means (Dhillon and Modha 2001) on a sample, then one pass over all items. A group that holds two bunches is
//! bounded by neither, and k-means does not get out of that by itself. So it starts from several times too many directions,
//! learns a while, begins anew where items are served worst, and drops what others say already: a direction that has
//! another one nearer to it than its own items are. What is left has about one direction a bunch, however many there are.
//!
//! Where items do not cluster, the groups are of no use and of no harm: bounds are then too wide to skip a block, and every
//! block is screened.

use std::thread;

use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, gemm_f32, l2_normalize};

/// Items in a cluster on average, at least.
const ITEMS_A_CLUSTER: usize = 512;
const CLUSTERS_MAX: usize = 8_192;
/// A landmark's share of the index grows with their number, a vector with its width: so that the share stays below an
/// eighth of the vectors' own bytes.
const CLUSTERS_A_VALUE: usize = 32;
/// Directions that learning starts from, for each that may stay.
const SEEDS_A_CLUSTER: usize = 2;
/// Items that a direction is learnt from.
const SAMPLES_A_SEED: usize = 32;
/// Rounds of learning before directions are dropped, and after.
const ROUNDS: usize = 2;
/// A direction that serves fewer items of the sample is dropped: it would be that of one odd item.
const MEMBERS_MIN: usize = SAMPLES_A_SEED / 4;
/// How often more directions begin.
const RENEWALS: usize = 2;
/// The share of the sample that is served worst, among which more directions begin.
const WORST: usize = 16;
/// Between cosines that are equal but for rounding.
const ROUNDING: f32 = 1e-5;
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
    let most = CLUSTERS_MAX.min(CLUSTERS_A_VALUE * width);
    let count = items.div_ceil(ITEMS_A_CLUSTER).clamp(1, most);
    let mut sample = sample(vectors, width, SEEDS_A_CLUSTER * count * SAMPLES_A_SEED);
    l2_normalize(isa, &mut sample, width);
    let learner = Learner { isa, sample: &sample, width, threads };
    let mut directions = learner.learn(spread(&sample, width, SEEDS_A_CLUSTER * count), count);
    for _ in 0..RENEWALS {
        let more = spread(&learner.worst(&directions), width, (count / 4).max(1));
        directions = learner.learn([directions, more].concat(), count);
    }
    let of = nearest(isa, &directions, vectors, width, threads).into_iter().map(|(direction, _)| direction).collect();
    Clusters { directions, of }
}

/// Learns directions from a sample.
struct Learner<'a> {
    isa: Isa,
    /// Unit vectors, or zero.
    sample: &'a [f32],
    width: usize,
    threads: usize,
}

impl Learner<'_> {
    /// Moves directions to where items are, drops those that say what others say, so that at most `count` are left, and
    /// moves these once more.
    fn learn(&self, mut directions: Vec<f32>, count: usize) -> Vec<f32> {
        l2_normalize(self.isa, &mut directions, self.width);
        (0..ROUNDS).for_each(|_| self.round(&mut directions));
        let served = nearest(self.isa, &directions, self.sample, self.width, self.threads);
        let mut directions = self.tell_apart(&directions, &served, count);
        (0..ROUNDS).for_each(|_| self.round(&mut directions));
        directions
    }

    /// Each direction becomes that of the sum of its members; one without members stays.
    fn round(&self, directions: &mut [f32]) {
        let served = nearest(self.isa, directions, self.sample, self.width, self.threads);
        let mut sums = vec![0.0_f32; directions.len()];
        for (vector, (cluster, _)) in self.sample.chunks_exact(self.width).zip(served) {
            let sum = &mut sums[cluster as usize * self.width..][..self.width];
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
        for (sum, direction) in sums.chunks_exact(self.width).zip(directions.chunks_exact_mut(self.width)) {
            if sum.iter().any(|&value| value != 0.0) {
                direction.copy_from_slice(sum);
            }
        }
        l2_normalize(self.isa, directions, self.width);
    }

    /// At most `count` of the directions: those with the most members first, and of two that are nearer to each other than
    /// the second is to its members only the first.
    fn tell_apart(&self, directions: &[f32], served: &[(u32, f32)], count: usize) -> Vec<f32> {
        let mut members = vec![(0_usize, 0.0_f64); directions.len() / self.width];
        for &(cluster, cosine) in served {
            let (number, sum) = &mut members[cluster as usize];
            (*number, *sum) = (*number + 1, *sum + f64::from(cosine));
        }
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|&direction| std::cmp::Reverse(members[direction].0));
        let mut kept: Vec<f32> = Vec::new();
        let mut cosines = vec![0.0; count];
        for direction in order {
            let (number, sum) = members[direction];
            let vector = &directions[direction * self.width..][..self.width];
            let cosines = &mut cosines[..kept.len() / self.width];
            attune_kernels::inner_products(self.isa, vector, &kept, cosines);
            let own = (sum / number.max(1) as f64) as f32 - ROUNDING;
            if kept.is_empty() || number >= MEMBERS_MIN && cosines.iter().all(|&cosine| cosine < own) {
                kept.extend_from_slice(vector);
            }
            if kept.len() == count * self.width {
                break;
            }
        }
        kept
    }

    /// The vectors of the sample that are furthest from every direction.
    fn worst(&self, directions: &[f32]) -> Vec<f32> {
        let served = nearest(self.isa, directions, self.sample, self.width, self.threads);
        let mut order: Vec<u32> = (0..served.len() as u32).collect();
        order.sort_by(|&left, &right| served[left as usize].1.total_cmp(&served[right as usize].1));
        order.truncate(served.len().div_ceil(WORST));
        let vector = |&number: &u32| &self.sample[number as usize * self.width..][..self.width];
        order.iter().flat_map(vector).copied().collect()
    }
}

/// At most so many rows, evenly spread.
fn sample(vectors: &[f32], width: usize, rows_max: usize) -> Vec<f32> {
    let rows = vectors.len() / width;
    if rows <= rows_max { vectors.to_vec() } else { spread(vectors, width, rows_max) }
}

/// Exactly so many rows, evenly spread; zeros where there are none.
pub(super) fn spread(vectors: &[f32], width: usize, count: usize) -> Vec<f32> {
    let rows = vectors.len() / width;
    let mut spread = vec![0.0; count * width];
    for (number, to) in spread.chunks_exact_mut(width).enumerate().take(if rows == 0 { 0 } else { count }) {
        to.copy_from_slice(&vectors[number * rows / count * width..][..width]);
    }
    spread
}

/// The direction with the largest inner product, the first of equals, and that product, for each row.
fn nearest(isa: Isa, directions: &[f32], vectors: &[f32], width: usize, threads: usize) -> Vec<(u32, f32)> {
    let (rows, count) = (vectors.len() / width, directions.len() / width);
    let packed = PackedF32::pack(isa, directions, count, width);
    let mut of = vec![(0, 0.0); rows];
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
                        *of = largest(products);
                    }
                }
            });
        }
    });
    of
}

/// Place and value of the largest. Two passes, each of which the compiler turns into vector instructions; one that keeps
/// value and place it does not.
pub(super) fn largest(values: &[f32]) -> (u32, f32) {
    const LANES: usize = 16;
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for values in whole {
        for (largest, &value) in largest.iter_mut().zip(values) {
            *largest = if value > *largest { value } else { *largest };
        }
    }
    let largest = largest.iter().chain(rest).fold(f32::NEG_INFINITY, |largest, &value| largest.max(value));
    (values.iter().position(|&value| value == largest).unwrap_or(0) as u32, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_follow_the_direction_they_point_in() {
        let isa = Isa::active().unwrap();
        // More than one cluster's worth, in two directions that alternate.
        let vectors: Vec<f32> =
            (0..1_200).flat_map(|i| if i % 2 == 0 { [3.0, 0.1, 0.0] } else { [0.0, 0.1, 0.5] }).collect();
        for threads in [1, 2, 5] {
            let clusters = cluster(isa, &vectors, 3, threads);
            assert_eq!((clusters.directions.len(), clusters.of.len()), (6, 1_200), "two bunches, two directions");
            let of = |item: usize| &clusters.directions[clusters.of[item] as usize * 3..][..3];
            assert!((0..1_200).all(|item| of(item)[if item % 2 == 0 { 0 } else { 2 }] > 0.9), "{clusters:?}");
        }
    }

    /// Bunches of which no seed knows are found, and none is told twice.
    #[test]
    fn no_direction_serves_two_bunches_and_few_serve_one() {
        let isa = Isa::active().unwrap();
        let (width, bunches) = (16, 30);
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let centres: Vec<f32> = (0..bunches * width).map(|_| next()).collect();
        // Sorted, so that most neighbours are of one bunch; the first is as large as all others together.
        let bunch = |item: usize| (item.saturating_sub(15_000) / 500).min(bunches - 1);
        let vectors: Vec<f32> = (0..30_000)
            .flat_map(|item| centres[bunch(item) * width..][..width].to_vec())
            .map(|value| value + 0.2 * next())
            .collect();
        let clusters = cluster(isa, &vectors, width, 2);
        let mut of: Vec<(usize, u32)> = clusters.of.iter().enumerate().map(|(item, &of)| (bunch(item), of)).collect();
        of.sort_unstable();
        of.dedup();
        // Those of the largest bunch may be two: its sample is half of everything.
        let directions = clusters.directions.len() / width;
        assert!(of.len() == directions && (bunches..bunches + 3).contains(&directions), "{of:?}");
    }

    #[test]
    fn nothing_and_zeros_have_a_cluster_too() {
        let isa = Isa::active().unwrap();
        assert!(cluster(isa, &[], 4, 2).of.is_empty());
        assert_eq!(cluster(isa, &[0.0; 40], 4, 2).of, [0; 10]);
    }
}
