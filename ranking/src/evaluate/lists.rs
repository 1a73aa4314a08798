//! What all lists of a run are like together: how much of the catalogue they show, how unknown it is, how varied.

/// Share of `items` items that are in at least one list (catalogue coverage: Ge, Delgado-Battenfeld and Jannach 2010).
/// 0 without items.
pub fn coverage<'a>(lists: impl IntoIterator<Item = &'a [u32]>, items: usize) -> f64 {
    let mut shown = vec![false; items];
    lists.into_iter().flatten().for_each(|&item| shown[item as usize] = true);
    mean(shown.into_iter().map(|shown| if shown { 1.0 } else { 0.0 }))
}

/// Mean self-information of the recommended items in bits: the mean over lists of the mean over items of
/// -log2(`seen_by[item] / users`), the share of users who had the item in training (Zhou et al. 2010). An item that
/// nobody had counts as had by one. 0 without lists; empty lists do not count.
pub fn novelty<'a>(lists: impl IntoIterator<Item = &'a [u32]>, seen_by: &[u32], users: usize) -> f64 {
    let information = |&item: &u32| (users.max(1) as f64 / f64::from(seen_by[item as usize].max(1))).log2();
    let filled = lists.into_iter().filter(|list| !list.is_empty());
    mean(filled.map(|list| mean(list.iter().map(information))))
}

/// Intra-list diversity: the mean over lists of the mean over pairs of 1 - `similarity` (Ziegler et al. 2005). The
/// similarity of two items is the caller's: the cosine of their vectors, the Jaccard index of their genres. Lists of
/// fewer than two items do not count; 0 without lists.
pub fn diversity<'a>(lists: impl IntoIterator<Item = &'a [u32]>, mut similarity: impl FnMut(u32, u32) -> f64) -> f64 {
    let pairs = lists.into_iter().filter(|list| list.len() > 1);
    mean(pairs.map(|list| {
        let pairs = (1..list.len()).flat_map(|right| (0..right).map(move |left| (list[left], list[right])));
        mean(pairs.map(|(left, right)| 1.0 - similarity(left, right)))
    }))
}

/// The mean, 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u64);
    values.for_each(|value| {
        sum += value;
        count += 1;
    });
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [&[u32]; 3] = [&[0, 1, 2], &[1, 3], &[]];

    #[test]
    fn coverage_counts_items_once() {
        assert_eq!(coverage(LISTS, 8), 0.5);
        assert_eq!(coverage([], 0), 0.0);
    }

    /// Of 8 users, 8, 4, 2 and none had items 0 to 3: 0, 1, 2 and (as one) 3 bits; the lists have 1 and 2 on average.
    #[test]
    fn novelty_is_self_information() {
        assert_eq!(novelty(LISTS, &[8, 4, 2, 0], 8), 1.5);
        assert_eq!(novelty([], &[], 8), 0.0);
    }

    /// Even items are alike, odd ones are alike: the first list has distances 1, 0, 1, the second 0.
    #[test]
    fn diversity_is_the_mean_distance_of_pairs() {
        let alike = |left: u32, right: u32| if left % 2 == right % 2 { 1.0 } else { 0.0 };
        assert!((diversity(LISTS, alike) - (2.0 / 3.0 + 0.0) / 2.0).abs() < 1e-12);
        assert_eq!(diversity([&[1_u32][..]], alike), 0.0);
    }
}
