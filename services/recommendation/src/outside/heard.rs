//! From a service's answer to candidates: ids become rows, and what cannot be shown goes.

use std::collections::HashSet;

use attune_api::rest::outside::OutsideItem;
use attune_ranking::index::Scored;

/// What is left of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Best first; equals in the order of the answer.
    pub proposals: Vec<Scored>,
    /// What was said of them, by row.
    pub reasons: Vec<(u32, String)>,
    /// Items that are unknown here.
    pub unknown: usize,
}

/// The best `k` of an answer, among those that are known and admitted, each once: the first time counts.
pub fn judge(
    items: Vec<OutsideItem>,
    k: usize,
    row: impl Fn(&str) -> Option<u32>,
    admits: impl Fn(u32) -> bool,
) -> Heard {
    let (mut heard, mut rows) = (Heard::default(), HashSet::new());
    let (mut twice, mut left_out) = (0, 0);
    for OutsideItem { item_id, score, reason } in items {
        match row(&item_id) {
            None => heard.unknown += 1,
            Some(row) if !rows.insert(row) => twice += 1,
            Some(row) if !admits(row) => left_out += 1,
            Some(row) => {
                heard.proposals.push(Scored { row, score: score as f32 });
                heard.reasons.extend(reason.map(|reason| (row, reason)));
            }
        }
    }
    for (count, why) in [(heard.unknown, "unknown"), (twice, "twice"), (left_out, "not_to_be_shown")] {
        metrics::counter!("attune_outside_items_dropped_total", "reason" => why).increment(count as u64);
    }
    heard.proposals.sort_by(|left, right| right.score.total_cmp(&left.score));
    heard.proposals.truncate(k);
    heard
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn item(id: &str, score: f64) -> OutsideItem {
        OutsideItem { item_id: id.into(), score, reason: Some(format!("because {id}")) }
    }

    fn row(id: &str) -> Option<u32> {
        id.strip_prefix('i')?.parse().ok()
    }

    #[test]
    fn what_is_known_and_may_be_shown_is_left_best_first() {
        let items =
            vec![item("i1", 0.5), item("x", 9.0), item("i2", 0.7), item("i1", 3.0), item("i9", 4.0), item("i3", 0.7)];
        let heard = judge(items.clone(), 10, row, |row| row < 9);
        let rows: Vec<u32> = heard.proposals.iter().map(|proposal| proposal.row).collect();
        assert_eq!((rows, heard.unknown), (vec![2, 3, 1], 1));
        assert!(heard.reasons.contains(&(1, "because i1".to_owned())));
        assert_eq!(judge(items, 2, row, |row| row < 9).proposals.len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_item_is_proposed_once_or_left_out(
            items in vec((0_u32..40, -1e6_f64..1e6), 0..100),
            k in 1_usize..50,
        ) {
            let said = items.iter().map(|(id, score)| item(&format!("{}{id}", if id % 4 == 0 { "x" } else { "i" }), *score));
            let heard = judge(said.collect(), k, row, |row| row % 3 > 0);
            let rows: HashSet<u32> = heard.proposals.iter().map(|proposal| proposal.row).collect();
            prop_assert_eq!(rows.len(), heard.proposals.len());
            prop_assert!(rows.iter().all(|row| row % 3 > 0 && row % 4 > 0) && rows.len() <= k);
            prop_assert!(heard.proposals.is_sorted_by(|left, right| left.score >= right.score));
            prop_assert_eq!(heard.unknown, items.iter().filter(|(id, _)| id % 4 == 0).count());
        }
    }
}
