//! Which items a query may have.

use std::ops::Range;

use roaring::RoaringBitmap;

/// A set of places in a segment, or of rows, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    words: Vec<u64>,
}

impl Allowed {
    /// The set of these places, out of `places`.
    ///
    /// # Panics
    /// If a place is beyond.
    pub fn new(places: usize, allowed: impl IntoIterator<Item = u32>) -> Self {
        let mut words = vec![0_u64; places.div_ceil(64)];
        for place in allowed {
            assert!((place as usize) < places, "place {place} of {places}");
            words[place as usize / 64] |= 1 << (place % 64);
        }
        Self { words }
    }

    /// The set whose bits are in these words, if they have none beyond `places`.
    pub(super) fn from_words(words: Vec<u64>, places: usize) -> Option<Self> {
        let spare = words.len() == places.div_ceil(64)
            && words.last().is_none_or(|last| places.is_multiple_of(64) || last >> (places % 64) == 0);
        spare.then_some(Self { words })
    }

    /// A bit for each place, 64 a word, the first lowest.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Takes a place out; whether it was in.
    pub(super) fn remove(&mut self, place: u32) -> bool {
        let (word, bit) = (&mut self.words[place as usize / 64], 1 << (place % 64));
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    /// Puts a place in.
    pub(super) fn insert(&mut self, place: u32) {
        self.words[place as usize / 64] |= 1 << (place % 64);
    }

    /// Whether a place is in; one beyond all is not.
    pub fn contains(&self, place: u32) -> bool {
        self.words.get(place as usize / 64).is_some_and(|word| word & 1 << (place % 64) != 0)
    }

    /// The places, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.words).flat_map(|(word, bits)| {
            let rest = std::iter::successors(Some(*bits), |bits| Some(bits & bits.wrapping_sub(1)));
            rest.take_while(|bits| *bits != 0).map(move |bits| 64 * word + bits.trailing_zeros())
        })
    }

    /// Those for which `kept` says so, one answer a place.
    pub(super) fn and_each(&self, kept: impl Iterator<Item = bool>) -> Self {
        let mut words = self.words.clone();
        let mut kept = kept.fuse();
        for word in &mut words {
            *word &= (0..64).fold(0, |mask, bit| mask | u64::from(kept.next().unwrap_or(false)) << bit);
        }
        Self { words }
    }

    /// Those that are here and there.
    pub(super) fn and(&self, places: &RoaringBitmap) -> Self {
        let mut words = vec![0; self.words.len()];
        for place in places.iter().take_while(|place| (*place as usize) < 64 * self.words.len()) {
            words[place as usize / 64] |= self.words[place as usize / 64] & 1 << (place % 64);
        }
        Self { words }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many there are in some panels.
    pub(super) fn count_in(&self, panels: Range<usize>) -> u32 {
        panels.map(|panel| self.lanes(panel as u32).count_ones()).sum()
    }

    /// The bits of one panel of 16.
    pub(super) fn lanes(&self, panel: u32) -> u16 {
        (self.words[panel as usize / 4] >> (panel % 4 * 16)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_has_the_bits_of_its_places() {
        let allowed = Allowed::new(100, [0, 17, 31, 64, 99]);
        assert_eq!(allowed.count(), 5);
        assert_eq!(allowed.iter().collect::<Vec<u32>>(), [0, 17, 31, 64, 99]);
        assert!(allowed.contains(99) && !allowed.contains(98) && !allowed.contains(1_000));
        assert_eq!(allowed.and_each((0..100).map(|place| place % 2 == 1)), Allowed::new(100, [17, 31, 99]));
        let lanes: Vec<_> = (0..7).map(|panel| allowed.lanes(panel)).collect();
        assert_eq!(lanes, [1, 1 << 1 | 1 << 15, 0, 0, 1, 0, 1 << 3]);
    }
}
