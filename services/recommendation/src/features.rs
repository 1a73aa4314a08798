//! Numbers that items have: what became of them as things that were shown before, and what their reviews say. They are
//! features of every pipeline, logged with each list, so that a blend can be learned from what came of it.

use attune_ranking::index::View;
use attune_ranking::pipeline::PipelineSpec;

use crate::fold::{Rates, State};

/// Clicks for each time that an item was shown.
const CLICK_RATE: &str = "click_rate";
/// Conversions for each time.
const CONVERSION_RATE: &str = "conversion_rate";
/// How often, as a logarithm.
const SHOWN: &str = "shown";
/// How many reviews an item has, as a logarithm.
const REVIEW_COUNT: &str = "review_count";
/// What they say, from -1 to 1: the catalogue's attribute of this name, in which few reviews count less than many.
pub const SENTIMENT: &str = "sentiment";
/// How much better the latest of them are than all.
const SENTIMENT_TREND: &str = "sentiment_trend";
/// All of them. Rates are those on the surface of the request where that is said, else everywhere, and missing where an item
/// was not shown yet; what reviews say is missing where there are none.
pub const NAMES: [&str; 6] = [CLICK_RATE, CONVERSION_RATE, SHOWN, REVIEW_COUNT, SENTIMENT, SENTIMENT_TREND];
/// Those that lists are rehearsed with, and what they weigh beside the ranks of the sources where nothing was learned: a
/// sentiment of 1 moves an item as far as a source of this weight does that has it first, and not in the middle.
pub const WEIGHED: [(&str, f32); 1] = [(SENTIMENT, 0.2)];

/// Those that follow from how often an item was shown; the others are attributes of items.
const OF_SHOWINGS: [&str; 3] = [CLICK_RATE, CONVERSION_RATE, SHOWN];

/// The names of a pipeline that nobody here knows, if there is one.
pub fn unknown(spec: &PipelineSpec) -> Option<&str> {
    spec.features.iter().map(String::as_str).find(|name| !NAMES.contains(name))
}

/// The numbers of the rows, by name; NaN where they are missing.
pub fn columns(
    names: &[String],
    rows: &[u32],
    catalogue: &View,
    state: &State,
    surface: Option<&str>,
) -> Vec<Vec<f32>> {
    let surface = surface.and_then(|name| state.surface_number(name));
    let shown: Vec<(Option<Rates>, u64)> = rows.iter().map(|row| state.stats().shown(*row, surface)).collect();
    let rate = |rate: fn(&Rates) -> f64| -> Vec<f32> {
        shown.iter().map(|(rates, _)| rates.as_ref().map_or(f32::NAN, |rates| rate(rates) as f32)).collect()
    };
    let of_items: Vec<&str> = names.iter().map(String::as_str).filter(|name| !OF_SHOWINGS.contains(name)).collect();
    let mut of_items = catalogue.numbers(&of_items, rows).into_iter();
    let mut column = |name: &String| match name.as_str() {
        CLICK_RATE => rate(|rates| rates.click),
        CONVERSION_RATE => rate(|rates| rates.conversion),
        SHOWN => shown.iter().map(|(_, shown)| (*shown as f32).ln_1p()).collect(),
        name => {
            let numbers = of_items.next().unwrap_or_default().into_iter().map(|number| number as f32);
            if name == REVIEW_COUNT { numbers.map(f32::ln_1p).collect() } else { numbers.collect() }
        }
    };
    names.iter().map(&mut column).collect()
}
