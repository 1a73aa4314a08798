//! The best of all items by their scores, for models that score them all.

use attune_ranking::index::{Scored, keep_best};

/// The best `k` of the items that are allowed and not excluded (`excluded` rises), best first, equal scores by row. What
/// is not a number is never among them.
pub(super) fn best(
    scores: &[f32],
    k: usize,
    allowed: Option<&[bool]>,
    excluded: &[u32],
    candidates: &mut Vec<Scored>,
) -> Vec<Scored> {
    candidates.clear();
    let mut excluded = excluded.iter().copied().peekable();
    for (row, &score) in (0..).zip(scores) {
        while excluded.next_if(|&excluded| excluded < row).is_some() {}
        let is_in = allowed.is_none_or(|allowed| allowed[row as usize]);
        if is_in && excluded.peek() != Some(&row) && !score.is_nan() {
            candidates.push(Scored { row, score });
        }
    }
    keep_best(candidates, k);
    candidates.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_those_of_a_sort() {
        let scores: Vec<f32> = (0..60_u32).map(|row| ((row * 37) % 11) as f32).collect();
        let allowed: Vec<bool> = (0..60).map(|row| row % 3 != 1).collect();
        let excluded = [0, 5, 6, 33, 59];
        let mut need: Vec<Scored> = (0..60)
            .filter(|row| allowed[*row as usize] && !excluded.contains(row))
            .map(|row| Scored { row, score: scores[row as usize] })
            .collect();
        need.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
        for k in [1, 7, 100] {
            let found = best(&scores, k, Some(&allowed), &excluded, &mut Vec::new());
            assert_eq!(found, need[..k.min(need.len())]);
        }
        assert_eq!(best(&[f32::NAN, 1.0], 2, None, &[], &mut Vec::new()), [Scored { row: 1, score: 1.0 }]);
    }
}
