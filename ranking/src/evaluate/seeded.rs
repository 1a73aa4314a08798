//! Random numbers that are the same on every machine and with every release of the `rand` crates: ChaCha8 is a published
//! function, and what is made of its words is written here.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws of one seed and stream; streams of one seed do not depend on each other.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `bound`. Its bias, at most bound / 2^64, is beyond measure.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fisher-Yates, from the end.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_never_change() {
        let mut draws = Draws::new(42, 7);
        let mut things: Vec<u32> = (0..10).collect();
        draws.shuffle(&mut things);
        assert_eq!(things, [7, 5, 6, 0, 9, 8, 3, 4, 2, 1]);
    }

    #[test]
    fn streams_differ_and_draws_stay_below_the_bound() {
        let drawn = |stream| {
            let mut draws = Draws::new(1, stream);
            (0..1000).map(|_| draws.below(3)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0), drawn(0));
        assert_ne!(drawn(0), drawn(1));
        assert!((0..3).all(|value| (250..420).contains(&drawn(0).iter().filter(|&&drawn| drawn == value).count())));
    }
}
