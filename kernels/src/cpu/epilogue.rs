//! What is done to a product on its way to memory, while the block is still in the first-level cache.

/// A function applied to each value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `x/2 * (1 + erf(x / sqrt(2)))`, the exact GELU (Hendrycks and Gimpel, 2016), not its tanh approximation.
    GeluErf,
}

/// `y = activation(x w^T + bias) + residual`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value per output column.
    pub bias: Option<&'a [f32]>,
    /// Applied after the bias.
    pub activation: Activation,
    /// rows x out_features, laid out like the result; added last.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// # Panics
    /// If the bias is not `columns` long, or the residual not `rows * columns`.
    #[track_caller]
    pub(crate) fn check(&self, rows: usize, columns: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), columns, "bias: one value per output column");
        }
        if let Some(residual) = self.residual {
            assert_eq!(residual.len(), rows * columns, "residual: {rows} rows x {columns} columns");
        }
    }
}
