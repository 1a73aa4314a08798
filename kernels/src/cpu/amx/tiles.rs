//! Every tile instruction of the crate: configure, multiply a 32 x 32 block, release.
//!
//! A block is 2 x 2 tiles, because that reads two tiles of each operand for four products: 32 cycles of loading under 64
//! cycles of multiplying. Tiles 0..=3 are sums, 4 and 5 rows, 6 and 7 weights.
//!
//! One block is one piece of assembly, from clearing the sums to storing them, so no tile register has to keep its value
//! between two of them, which the compiler does not promise. Only the configuration lasts, in [`Configured`].

use crate::cpu::lines::{LANES, Line};
use crate::cpu::tiled::{Operands, Tile};
use std::arch::asm;
use std::marker::PhantomData;
use std::ops::Range;

/// Rows and columns of the result that one call computes.
pub(super) const BLOCK: usize = 2 * LANES;

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
pub(super) struct Configured {
    /// Tiles belong to the thread.
    _not_send: PhantomData<*const ()>,
}

impl Configured {
    /// # Panics
    /// If this process may not use AMX.
    pub(super) fn new() -> Self {
        assert!(super::is_available(), "this process may not use AMX");
        // SAFETY: just checked.
        unsafe { Self::assume() }
    }

    /// # Safety
    /// Tile instructions must work, or be emulated.
    pub(super) unsafe fn assume() -> Self {
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
pub(super) struct BlockOperands {
    rows: [*const Line; 2],
    row_stride: usize,
    panels: [*const Line; 2],
    /// Lines of a row, and sixteenths of a panel: how many tiles lie along the summed dimension. Not zero.
    depth: usize,
}

impl BlockOperands {
    /// `rows` are the lines of 32 rows, `panels` those of one panel or two: where there is but one, at the right edge, it
    /// stands for both, and what that computes is not looked at.
    fn new(rows: &[Line], panels: &[Line], depth: usize) -> Self {
        let row_stride = rows.len() / BLOCK;
        let panel_lines = depth * LANES;
        assert!(depth > 0 && depth <= row_stride && [1, 2].contains(&(panels.len() / panel_lines)));
        BlockOperands {
            rows: [rows.as_ptr(), rows[LANES * row_stride..].as_ptr()],
            row_stride,
            panels: [panels.as_ptr(), panels[panels.len() - panel_lines..].as_ptr()],
            depth,
        }
    }
}

/// One instruction's block product.
pub(super) type BlockProduct = unsafe fn(&Configured, BlockOperands, *mut [f32; BLOCK]);

/// Computes 32 x 32 sums. There may be fewer rows: [`RowLines`](super::super::lines::RowLines) keeps space for 32.
pub(super) fn multiply_block(
    tiles: &Configured,
    operands: Operands<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    tile: &mut Tile<BLOCK>,
    product: BlockProduct,
) {
    let (rows, panels) = operands.lines(&(rows.start..rows.start + BLOCK), &panels);
    let operands = BlockOperands::new(rows, panels, operands.rows.depth());
    // SAFETY: tiles are configured, the operands are as long as `BlockOperands::new` makes sure of, and a Tile has 32 rows.
    unsafe { product(tiles, operands, tile.0.as_mut_ptr()) }
}

/// Repeats block products on operands in the first-level cache, and gives the number of products of a row, a column and one
/// line of each.
pub(super) fn saturate(rounds: usize, tiles: &Configured, product: BlockProduct) -> usize {
    const DEPTH: usize = 8;
    let (rows, panels) = ([Line::ZERO; BLOCK * (DEPTH + 1)], [Line::ZERO; BLOCK * DEPTH]);
    let mut sums = [[0.0; BLOCK]; BLOCK];
    for _ in 0..rounds.div_ceil(DEPTH) {
        // SAFETY: as for `multiply_block`.
        unsafe { product(tiles, BlockOperands::new(&rows, &panels, DEPTH), sums.as_mut_ptr()) };
    }
    rounds.div_ceil(DEPTH) * DEPTH * BLOCK * BLOCK
}

macro_rules! block_product {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// Tiles must be configured on this thread, `operands.depth` lines readable at each of the 32 rows and 16 times as
        /// many at both panels, and `sums` writable for 32 x 32 values.
        pub(super) unsafe fn $name(_: &Configured, operands: BlockOperands, sums: *mut [f32; BLOCK]) {
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
