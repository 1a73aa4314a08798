//! Numbers that items have as things that were shown before: features of every pipeline, logged with each list, so that a
//! blend can be learned from what came of it.

use attune_ranking::pipeline::PipelineSpec;

use crate::fold::State;

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
    let stats = state.stats();
    let value = |name: &str, row: u32| match name {
        CLICK_RATE => stats.rates(row, surface).map(|rates| rates.click),
        CONVERSION_RATE => stats.rates(row, surface).map(|rates| rates.conversion),
        SHOWN => Some((stats.counts(row, surface).shown() as f64).ln_1p()),
        _ => None,
    };
    let column =
        |name: &String| rows.iter().map(|row| value(name, *row).map_or(f32::NAN, |value| value as f32)).collect();
    names.iter().map(column).collect()
}
