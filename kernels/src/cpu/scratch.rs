//! Working memory that outlives a call: one per worker thread, so that the steady state allocates nothing.

use super::attention;
use super::bf16::RoundedRows;
use super::int8::QuantisedRows;
use super::lines::RowLines;

/// Buffers that kernels pack, quantise and score in. They grow to the largest batch seen and are then reused.
///
/// Contents carry nothing from one call to the next; one `Scratch` may serve any mix of shapes, tiers and models.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Activations of an int8 product.
    pub(crate) quantised: QuantisedRows,
    /// Activations of a bf16 product.
    pub(crate) rounded: RoundedRows,
    /// A block of activations of an f32 product.
    pub(crate) rows: RowLines,
    /// A block of rows of a product that is handed on as f32.
    pub(crate) block: Vec<f32>,
    /// Keys, values and scores.
    pub(crate) attention: attention::Buffers,
}

impl Scratch {
    /// No memory yet.
    pub fn new() -> Self {
        Self::default()
    }
}
