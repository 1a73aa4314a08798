//! A factor model that also knows the items that nobody has met, from what they are.

use super::content_map::{ContentMap, ContentMapOptions, ContentRows};
use super::error::length;
use super::{Als, TrainError};
use crate::data::Interactions;

/// Users whose word on an item counts half as much as that of very many.
const USERS_HALF: f32 = 10.0;

/// The same model, in which each item without any event has the factors that its content maps to. `table` is what the
/// model was trained on; `content` has `width` numbers for each of its items, row by row: an embedding, or a 1 for each
/// attribute that applies.
///
/// # Errors
/// [`TrainError`] where lengths contradict each other, a number is not finite, or no item has an event.
pub fn place_new_items(
    model: Als,
    table: &Interactions,
    content: &[f32],
    width: usize,
    options: &ContentMapOptions,
) -> Result<Als, TrainError> {
    let by_item = table.transpose();
    let factors = model.factors();
    let mut parts = model.into_parts();
    length("factors of items", parts.items.len(), by_item.rows() * factors)?;
    let users = |item: usize| by_item.row(item).0.len() as f32;
    let evidence: Vec<f32> = (0..by_item.rows()).map(|item| users(item) / (users(item) + USERS_HALF)).collect();
    let map = ContentMap::train(&ContentRows { content, width, factors: &parts.items, evidence: &evidence }, options)?;
    for (item, known) in evidence.iter().enumerate() {
        if *known == 0.0 {
            let placed = map.map(&content[item * width..][..width])?;
            parts.items[item * factors..][..factors].copy_from_slice(&placed);
        }
    }
    Als::from_parts(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{History, Scorer};
    use crate::train::AlsOptions;

    /// Two tastes; items 0 to 4 are of one kind, 5 to 9 of the other; 10 and 11 are new, one of each kind.
    fn table() -> (Interactions, Vec<f32>) {
        let entries: Vec<_> = (0..60_u32)
            .flat_map(|user| (0..3).map(move |at| (user, user % 2 * 5 + (user / 2 + at) % 5, 1.0)))
            .collect();
        let table = Interactions::from_entries(60, 12, &entries).unwrap();
        let kind = |item: usize| if item < 5 || item == 10 { [1.0, 0.0] } else { [0.0, 1.0] };
        (table, (0..12).flat_map(kind).collect())
    }

    #[test]
    fn a_new_item_is_liked_by_those_who_like_its_kind() {
        let (table, content) = table();
        let trained = Als::train(&table, &AlsOptions { factors: 8, threads: 1, ..AlsOptions::default() }).unwrap();
        let model = place_new_items(trained.clone(), &table, &content, 2, &ContentMapOptions::default()).unwrap();
        assert_eq!(model.item_factors()[..80], trained.item_factors()[..80], "known items stay where they are");
        let mut scores = [0.0; 12];
        for user in 0..60 {
            model.score(Some(user), History::default(), &mut scores);
            let (own, other) = if user % 2 == 0 { (10, 11) } else { (11, 10) };
            assert!(scores[own] > scores[other] + 0.1, "{user}: {scores:?}");
        }
    }

    #[test]
    fn content_of_another_length_is_told() {
        let (table, content) = table();
        let trained = Als::train(&table, &AlsOptions { factors: 2, threads: 1, ..AlsOptions::default() }).unwrap();
        let place = |table: &Interactions, content: &[f32]| {
            place_new_items(trained.clone(), table, content, 2, &ContentMapOptions::default()).unwrap_err()
        };
        assert!(matches!(place(&table, &content[2..]), TrainError::Parts { part: "content", .. }));
        let other = Interactions::from_entries(1, 3, &[(0, 0, 1.0)]).unwrap();
        assert!(matches!(place(&other, &content), TrainError::Parts { part: "factors of items", .. }));
    }
}
