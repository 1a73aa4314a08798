//! Which items a query may have.

use std::sync::Arc;

use roaring::RoaringBitmap;

/// A set of places in a segment, or of rows, one bit each. Clones share the bits until one changes, and are equal at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    words: Arc<Vec<u64>>,
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
        Self { words: words.into() }
    }

    /// The set whose bits are in these words, if they have none beyond `places`.
    pub(super) fn from_words(words: Vec<u64>, places: usize) -> Option<Self> {
        let spare = words.len() == places.div_ceil(64)
            && words.last().is_none_or(|last| places.is_multiple_of(64) || last >> (places % 64) == 0);
        spare.then(|| Self { words: words.into() })
    }

    /// A bit for each place, 64 a word, the first lowest.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Takes a place out; whether it was in.
    pub(super) fn remove(&mut self, place: u32) -> bool {
        let (word, bit) = (&mut Arc::make_mut(&mut self.words)[place as usize / 64], 1 << (place % 64));
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    /// Whether a place is in; one beyond all is not.
    pub fn contains(&self, place: u32) -> bool {
        self.words.get(place as usize / 64).is_some_and(|word| word & 1 << (place % 64) != 0)
    }

    /// The places, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&*self.words).filter(|(_, bits)| **bits != 0).flat_map(|(word, bits)| {
            let rest = std::iter::successors(Some(*bits), |bits| Some(bits & bits.wrapping_sub(1)));
            rest.take_while(|bits| *bits != 0).map(move |bits| 64 * word + bits.trailing_zeros())
        })
    }

    /// Those whose row is in a set, as `rows` says by place.
    pub(super) fn and_rows(&self, set: &Self, rows: &[u32]) -> Self {
        let kept = |rows: &[u32]| rows.iter().rev().fold(0, |kept, row| kept << 1 | u64::from(set.contains(*row)));
        let words = self.words.iter().zip(rows.chunks(64)).map(|(word, rows)| word & kept(rows));
        Self { words: Arc::new(words.collect()) }
    }

    /// Those that are here and there.
    pub(super) fn and(&self, places: &RoaringBitmap) -> Self {
        let mut words = vec![0; self.words.len()];
        for place in places.iter().take_while(|place| (*place as usize) < 64 * self.words.len()) {
            words[place as usize / 64] |= self.words[place as usize / 64] & 1 << (place % 64);
        }
        Self { words: words.into() }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The bits of 1 to 64 places from `first` on; those beyond all are not in.
    pub(super) fn bits(&self, first: usize, places: u32) -> u64 {
        let (word, shift) = (first / 64, first % 64);
        let part = |word: usize| self.words.get(word).copied().unwrap_or(0);
        let bits = if shift == 0 { part(word) } else { part(word) >> shift | part(word + 1) << (64 - shift) };
        bits & u64::MAX >> (64 - places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_by_their_rows() {
        let rows: Vec<u32> = (0..100).map(|place| 99 - place).collect();
        let (places, kept) = (Allowed::new(100, [0, 17, 31, 64, 99]), Allowed::new(90, [82, 68, 0, 1]));
        assert_eq!(places.and_rows(&kept, &rows), Allowed::new(100, [17, 31, 99]));
    }

    #[test]
    fn a_set_has_the_bits_of_its_places() {
        let allowed = Allowed::new(100, [0, 17, 31, 64, 99]);
        assert_eq!(allowed.count(), 5);
        assert_eq!(allowed.iter().collect::<Vec<u32>>(), [0, 17, 31, 64, 99]);
        assert!(allowed.contains(99) && !allowed.contains(98) && !allowed.contains(1_000));
        assert_eq!(allowed.bits(0, 64), 1 | 1 << 17 | 1 << 31);
        assert_eq!((allowed.bits(16, 16), allowed.bits(16, 15)), (1 << 1 | 1 << 15, 1 << 1));
        assert_eq!(allowed.bits(48, 64), 1 << 16 | 1 << 51, "from two words");
        assert_eq!((allowed.bits(96, 64), allowed.bits(640, 64)), (1 << 3, 0), "beyond the last");
    }
}
