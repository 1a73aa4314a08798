//! Every tile instruction of the crate: configure, multiply a 32 x 32 block, release.
//!
//! A block is 2 x 2 tiles, because that reads two tiles of each operand for four products: 32 cycles of loading under 64
//! cycles of multiplying. Tiles 0..=3 are sums, 4 and 5 rows, 6 and 7 weights.
//!
//! One block is one piece of assembly, from clearing the sums to storing them, so no tile register has to keep its value
//! between two of them, which the compiler does not promise. Only the configuration lasts, in [`Configured`].

use super::super::lines::{LANES, Line};
use std::arch::asm;
use std::marker::PhantomData;

/// Rows and columns of the result that one call computes.
pub(crate) const BLOCK: usize = 2 * LANES;

/// Bytes from one row of a stored block to the next.
const SUMS_STRIDE: usize = BLOCK * size_of::<f32>();

/// The operand of `ldtilecfg`: palette 1, and the shape of each tile.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// While this lives, all eight tiles of this thread are 16 rows of 64 bytes. Released on drop, so that the system need not
/// save 8 KiB of tiles for a thread that is doing something else.
pub(crate) struct Configured {
    /// Tiles belong to the thread.
    _not_send: PhantomData<*const ()>,
}

impl Configured {
    /// # Safety
    /// AMX must be available (`super::is_available`), and no other `Configured` alive on this thread.
    pub(crate) unsafe fn new() -> Self {
        let mut config = TileConfig { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].fill(16);
        // SAFETY: AMX is there, says the caller; the operand is 64 readable bytes in the documented form.
        unsafe {
            asm!("ldtilecfg [{config}]", config = in(reg) &raw const config, options(nostack, preserves_flags, readonly),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
        Configured { _not_send: PhantomData }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: a Configured only exists where AMX does.
        unsafe {
            asm!("tilerelease", options(nostack, preserves_flags, nomem),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
    }
}

/// Both operands of a block. Rows: two runs of 16 rows, `row_stride` lines apart. Panels: two of them.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) rows: [*const Line; 2],
    pub(crate) row_stride: usize,
    pub(crate) panels: [*const Line; 2],
    /// Lines of a row, and sixteenths of a panel: how many tiles lie along the summed dimension. Not zero.
    pub(crate) depth: usize,
}

macro_rules! block_product {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Tiles must be configured on this thread, `operands.depth` lines readable at each of the 32 rows and 16 times as
        /// many at both panels, and `sums` writable for 32 x 32 values.
        pub(crate) unsafe fn $name(_: &Configured, operands: Operands, sums: *mut [f32; BLOCK]) {
            // SAFETY: the tile loads read exactly what the caller vouches for: per step one line of each of 32 rows and 16
            // lines of both panels, `depth` times; the stores write 32 rows of 128 bytes.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{rows0} + {row_stride}]",
                    "tileloadd tmm6, [{panel0} + {panel_stride}]",
                    "tileloadd tmm5, [{rows1} + {row_stride}]",
                    "tileloadd tmm7, [{panel1} + {panel_stride}]",
                    concat!($instruction, " tmm0, tmm4, tmm6"),
                    concat!($instruction, " tmm2, tmm5, tmm6"),
                    concat!($instruction, " tmm1, tmm4, tmm7"),
                    concat!($instruction, " tmm3, tmm5, tmm7"),
                    "add {rows0}, 64",
                    "add {rows1}, 64",
                    "add {panel0}, 1024",
                    "add {panel1}, 1024",
                    "dec {depth}",
                    "jnz 2b",
                    "tilestored [{sums} + {sums_stride}], tmm0",
                    "tilestored [{sums} + {sums_stride} + 64], tmm1",
                    "tilestored [{sums} + {sums_stride} + 2048], tmm2",
                    "tilestored [{sums} + {sums_stride} + 2112], tmm3",
                    rows0 = inout(reg) operands.rows[0] => _,
                    rows1 = inout(reg) operands.rows[1] => _,
                    panel0 = inout(reg) operands.panels[0] => _,
                    panel1 = inout(reg) operands.panels[1] => _,
                    depth = inout(reg) operands.depth => _,
                    row_stride = in(reg) operands.row_stride * size_of::<Line>(),
                    panel_stride = in(reg) size_of::<Line>(),
                    sums = in(reg) sums,
                    sums_stride = in(reg) SUMS_STRIDE,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

block_product!(
    /// f32 sums of products of bf16 pairs.
    multiply_bf16,
    "tdpbf16ps"
);
block_product!(
    /// i32 sums of unsigned bytes (rows) times signed bytes (panels), stored as their bits.
    multiply_int8,
    "tdpbusd"
);

/// Which product [`saturate`] repeats.
type BlockProduct = unsafe fn(&Configured, Operands, *mut [f32; BLOCK]);

/// Block products on operands in the first-level cache, for [`crate::cpu::limits`]; gives the number of tile products.
///
/// # Panics
/// If this process may not use AMX.
fn saturate(rounds: usize, product: BlockProduct) -> usize {
    const DEPTH: usize = 8;
    assert!(super::is_available(), "this process may not use AMX");
    let rows = vec![Line::ZERO; BLOCK * (DEPTH + 1)];
    let panels = vec![Line::ZERO; 2 * LANES * DEPTH];
    let operands = Operands {
        rows: [rows.as_ptr(), rows[LANES * (DEPTH + 1)..].as_ptr()],
        row_stride: DEPTH + 1,
        panels: [panels.as_ptr(), panels[LANES * DEPTH..].as_ptr()],
        depth: DEPTH,
    };
    let mut sums = [[0.0; BLOCK]; BLOCK];
    // SAFETY: AMX is available, and nothing else on this thread uses tiles meanwhile.
    let tiles = unsafe { Configured::new() };
    for _ in 0..rounds.div_ceil(DEPTH) {
        // SAFETY: both operands are as long as their shapes say, and so are the sums.
        unsafe { product(&tiles, operands, sums.as_mut_ptr()) };
    }
    rounds.div_ceil(DEPTH) * DEPTH * 4
}

/// [`saturate`] with bf16, in operations.
pub(crate) fn saturate_bf16(rounds: usize) -> usize {
    saturate(rounds, multiply_bf16) * LANES * LANES * 32 * 2
}

/// [`saturate`] with int8, in operations.
pub(crate) fn saturate_int8(rounds: usize) -> usize {
    saturate(rounds, multiply_int8) * LANES * LANES * 64 * 2
}
