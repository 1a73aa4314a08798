//! Weights as int8: symmetric, one scale per output column.

use super::{DEPTH_MAX, LEVEL_MAX, Path};
use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Panels};
use crate::cpu::tiled::TILE_PANELS_MAX;

/// Weights as int8, one scale per output column, packed once for one instruction set.
#[derive(Clone, Debug)]
pub struct PackedI8 {
    isa: Isa,
    path: Path,
    panels: Panels,
    /// By panel, and padded so that a tile at the right edge may read past the last one.
    scales: Vec<[f32; LANES]>,
    /// `sum_k weight[n,k]`, in the same places.
    sums: Vec<[i32; LANES]>,
    out_features: usize,
    in_features: usize,
}

impl PackedI8 {
    /// Quantises and packs `weights` (`out_features` x `in_features`, row-major).
    ///
    /// # Panics
    /// If the length is not `out_features * in_features`, `in_features` is zero or over [`DEPTH_MAX`], or this machine does
    /// not support `isa`.
    pub fn pack(isa: Isa, weights: &[f32], out_features: usize, in_features: usize) -> Self {
        let path = Path::of(isa);
        assert_eq!(weights.len(), out_features * in_features, "weights must be {out_features} x {in_features}");
        assert!(
            (1..=DEPTH_MAX).contains(&in_features),
            "{in_features} inputs: int8 products sum over 1 to {DEPTH_MAX}"
        );
        let padded = out_features.div_ceil(LANES) + TILE_PANELS_MAX - 1;
        let (mut scales, mut sums) = (vec![[0.0; LANES]; padded], vec![[0; LANES]; padded]);
        let mut levels = vec![0i8; weights.len()];
        let columns = weights.chunks_exact(in_features).zip(levels.chunks_exact_mut(in_features));
        for (n, (column, levels)) in columns.enumerate() {
            let scale = quantise_column(column, levels);
            scales[n / LANES][n % LANES] = scale;
            sums[n / LANES][n % LANES] = levels.iter().map(|&level| i32::from(level)).sum();
        }
        let panels = Panels::pack(out_features, in_features, |n, k| levels[n * in_features + k].to_ne_bytes());
        PackedI8 { isa, path, panels, scales, sums, out_features, in_features }
    }

    /// Columns of the result.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Values summed over.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + size_of_val(&self.scales[..]) + size_of_val(&self.sums[..])
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }

    pub(super) fn scales(&self) -> &[[f32; LANES]] {
        &self.scales
    }

    pub(super) fn sums(&self) -> &[[i32; LANES]] {
        &self.sums
    }
}

/// Quantises one column so that its largest magnitude becomes 127, and gives the step: NaN (and levels of zero) if any
/// weight is not finite, zero if all are (almost) zero.
fn quantise_column(weights: &[f32], levels: &mut [i8]) -> f32 {
    if weights.iter().any(|w| !w.is_finite()) {
        return f32::NAN;
    }
    let limit = LEVEL_MAX as f32;
    let scale = weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs())) / limit;
    if scale < f32::MIN_POSITIVE {
        return 0.0;
    }
    for (level, weight) in levels.iter_mut().zip(weights) {
        *level = (weight / scale).round_ties_even().clamp(-limit, limit) as i8;
    }
    scale
}
