//! The items that may be shown, at one moment, with what follows from them alone: it is made when items change, and not
//! with every world.

use std::sync::Arc;

use attune_ranking::attributes::Schema;
use attune_ranking::filter::{Filter, FilterError, parse};
use attune_ranking::index::{Allowed, View};
use attune_ranking::retrieve::{
    Batch, Checked, Latest, Proposals, Reason, Scratch, Semantic, SemanticOptions, Source, SourceError,
};
use moka::sync::Cache;

use crate::shelf::Shelf;

/// Bytes of filters that are remembered, each with its rows, a bit an item: applications ask with the same few again and
/// again.
const SELECTED_BYTES_MAX: u64 = 16 << 20;

/// Items that may be shown.
pub struct Stock {
    /// Their attributes and vectors.
    pub catalogue: View,
    /// The attributes there are.
    pub schema: Schema,
    /// Their rows.
    pub visible: Allowed,
    /// How many they are.
    pub items: usize,
    /// New ones first.
    pub latest: Arc<dyn Source>,
    /// Those that read alike.
    pub semantic: Arc<dyn Source>,
    /// Rows by the text of a filter.
    selected: Cache<String, Arc<Allowed>>,
}

impl Stock {
    /// What is on the shelf; `before` itself if that is the same.
    pub fn of(shelf: &Shelf, latest_half_life_days: f32, before: Option<&Arc<Self>>) -> Arc<Self> {
        let catalogue = shelf.view();
        if let Some(before) = before.filter(|before| before.catalogue.is_same(&catalogue)) {
            return Arc::clone(before);
        }
        let semantic = Alike(Semantic::new(catalogue.clone(), SemanticOptions::default()));
        Arc::new(Self {
            schema: shelf.schema().clone(),
            visible: catalogue.rows(None),
            items: catalogue.items(),
            latest: Arc::new(Latest::new(shelf.published(), latest_half_life_days)),
            semantic: Arc::new(semantic),
            selected: Cache::builder()
                .weigher(|text: &String, rows: &Arc<Allowed>| bytes(text, rows))
                .max_capacity(SELECTED_BYTES_MAX)
                .build(),
            catalogue,
        })
    }

    /// The rows of the items that fulfil a filter.
    ///
    /// # Errors
    /// [`FilterError`] says where the text makes no sense.
    pub fn select(&self, text: &str) -> Result<Arc<Allowed>, FilterError> {
        if let Some(rows) = self.selected.get(text) {
            return Ok(rows);
        }
        let filter = Filter::check(&parse(text)?, &self.schema)?;
        let rows = Arc::new(self.catalogue.rows(Some(&filter)));
        self.selected.insert(text.to_owned(), Arc::clone(&rows));
        Ok(rows)
    }
}

fn bytes(text: &str, rows: &Allowed) -> u32 {
    u32::try_from(text.len() + size_of_val(rows.words())).unwrap_or(u32::MAX)
}

/// What reads alike, without what is not alike at all: items without a vector among them.
struct Alike(Semantic);

impl Source for Alike {
    fn propose(&self, batch: &Batch<'_>, scratch: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut found = self.0.propose(batch, scratch)?;
        found.iter_mut().flatten().for_each(|proposals| proposals.retain(|proposal| proposal.score > 0.0));
        Ok(found)
    }

    fn reason(&self, request: &Checked, row: u32) -> Reason {
        self.0.reason(request, row)
    }
}

#[cfg(test)]
mod tests {
    use attune_api::catalogue::{AttributeKind, Entry};
    use serde_json::json;

    use super::*;

    fn entry(id: &str, price: i32) -> Entry {
        let attributes = json!({"price": price}).as_object().unwrap().clone();
        Entry { item_id: id.into(), vector: Some(vec![1.0, 0.0]), attributes, ..Entry::default() }
    }

    #[test]
    fn a_filter_is_about_the_items_of_its_moment() {
        let mut shelf = Shelf::new(vec![("price".into(), AttributeKind::Number)], 2).unwrap();
        shelf.put(vec![(0, entry("a", 5)), (1, entry("b", 50))]).unwrap();
        let stock = Stock::of(&shelf, 7.0, None);
        let rows = |stock: &Stock| stock.select("price < 20").unwrap().iter().collect::<Vec<u32>>();
        assert_eq!((rows(&stock), rows(&stock)), (vec![0], vec![0]), "the second time it is remembered");
        assert!(stock.select("prize < 20").is_err());

        assert!(Arc::ptr_eq(&stock, &Stock::of(&shelf, 7.0, Some(&stock))), "nothing has changed");
        shelf.put(vec![(1, Entry { version: 1, ..entry("b", 10) })]).unwrap();
        let later = Stock::of(&shelf, 7.0, Some(&stock));
        assert_eq!((rows(&later), rows(&stock)), (vec![0, 1], vec![0]));
    }
}
