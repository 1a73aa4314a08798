//! Numbers that items have as things that were shown before: features of every pipeline, logged with each list, so that a
//! blend can be learned from what came of it.

use attune_ranking::pipeline::PipelineSpec;

use crate::fold::{Rates, State};

/// Clicks for each time that an item was shown.
const CLICK_RATE: &str = "click_rate";
/// Conversions for each time.
const CONVERSION_RATE: &str = "conversion_rate";
/// How often, as a logarithm.
const SHOWN: &str = "shown";
/// All of them, on the surface of the request where that is said, else everywhere. Missing where an item was not shown yet.
pub const NAMES: [&str; 3] = [CLICK_RATE, CONVERSION_RATE, SHOWN];

/// The names of a pipeline that nobody here knows, if there is one.
pub fn unknown(spec: &PipelineSpec) -> Option<&str> {
    spec.features.iter().map(String::as_str).find(|name| !NAMES.contains(name))
}

/// The numbers of the rows, by name; NaN where they are missing.
pub fn columns(names: &[String], rows: &[u32], state: &State, surface: Option<&str>) -> Vec<Vec<f32>> {
    let surface = surface.and_then(|name| state.surface_number(name));
    let known = |row: &u32| (state.stats().rates(*row, surface), state.stats().counts(*row, surface).shown());
    let known: Vec<(Option<Rates>, u64)> = rows.iter().map(known).collect();
    let column = |name: &String| {
        let value = |(rates, shown): &(Option<Rates>, u64)| match name.as_str() {
            CLICK_RATE => rates.map(|rates| rates.click),
            CONVERSION_RATE => rates.map(|rates| rates.conversion),
            SHOWN => Some((*shown as f64).ln_1p()),
            _ => None,
        };
        known.iter().map(|known| value(known).map_or(f32::NAN, |value| value as f32)).collect()
    };
    names.iter().map(column).collect()
}
