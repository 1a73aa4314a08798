//! A catalogue as lists have it, for whoever makes lists of his own over it.

use std::sync::Arc;

use attune_api::catalogue::{AttributeKind, Entry};

use crate::RecommendationConfig;
use crate::fold::Names;
use crate::shelf::{STOCKED_AT_ONCE, ShelfError, Stocking};
use crate::stock::Stock;

/// Items with their rows, laid out. A clone shares the vectors.
#[derive(Clone)]
pub struct Layout {
    pub(crate) items: Names,
    pub(crate) stock: Arc<Stock>,
}

impl Layout {
    /// Lays out a catalogue that is read a page at a time.
    ///
    /// # Errors
    /// In words: that of a page, or its items make no catalogue.
    pub fn of(
        kinds: Vec<(String, AttributeKind)>,
        pages: impl IntoIterator<Item = Result<Vec<Entry>, String>>,
        config: &RecommendationConfig,
    ) -> Result<Self, String> {
        let (mut items, mut stocking, mut waiting) = (Names::default(), Stocking::new(kinds), Vec::new());
        let told = |error: ShelfError| error.to_string();
        for page in pages {
            let with_row = |entry: Entry| Some((items.row_or_new(&entry.item_id, config.items_max)?, entry));
            waiting.extend(page?.into_iter().filter_map(with_row));
            if waiting.len() >= STOCKED_AT_ONCE {
                stocking.put(std::mem::take(&mut waiting)).map_err(told)?;
            }
        }
        stocking.put(waiting).map_err(told)?;
        let stock = Stock::of(&stocking.finish().map_err(told)?, config.latest_half_life_days, None);
        Ok(Self { items, stock })
    }
}
