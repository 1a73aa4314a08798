//! The specification: plain loops in the order in which a reader would do the sums. Runs on every processor.

pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod gemm;
pub(crate) mod int8;
pub(crate) mod lanes;
pub(crate) mod layers;
pub(crate) mod pool;
pub(crate) mod screen;

use super::tier::{Kernel, Tier};

/// The tier that needs no instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Tier for Plain {
    type Lanes = lanes::Array;

    const TILE_ROWS: usize = 1;
    const TILE_PANELS: usize = 1;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}
