//! Weights as bf16.

use super::Path;
use super::activations::round;
use crate::cpu::Isa;
use crate::cpu::lines::Panels;
use crate::cpu::scalar::Plain;

/// Weights as bf16, packed once for one instruction set.
#[derive(Clone, Debug)]
pub struct PackedBf16 {
    isa: Isa,
    path: Path,
    panels: Panels,
    out_features: usize,
    in_features: usize,
}

impl PackedBf16 {
    /// Rounds and packs `weights` (`out_features` x `in_features`, row-major).
    ///
    /// # Panics
    /// If the length is not `out_features * in_features`, `in_features` is zero, or this machine does not support `isa`.
    pub fn pack(isa: Isa, weights: &[f32], out_features: usize, in_features: usize) -> Self {
        let path = Path::of(isa);
        assert_eq!(weights.len(), out_features * in_features, "weights must be {out_features} x {in_features}");
        assert!(in_features > 0, "weights must have inputs");
        let mut rounded = vec![0; weights.len()];
        round(Plain, weights, &mut rounded);
        let panels = Panels::pack(out_features, in_features, |n, k| rounded[n * in_features + k].to_ne_bytes());
        PackedBf16 { isa, path, panels, out_features, in_features }
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
        self.panels.bytes()
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }
}
