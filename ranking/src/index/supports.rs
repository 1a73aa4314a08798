//! How far each block reaches towards each direction: what the bounds of landmarks need ([`super::bound`]).
//!
//! One byte for each block and direction, of which a query reads those of one direction. Tables of distances to pivots are
//! an old way to search a metric space exactly (Mico, Oncina and Vidal 1994, LAESA); here they are inner products, by
//! block, and sharpen a bound that holds without them.

use std::thread;

use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, gemm_f32, huge_vec};

use super::bound::{Cone, Support};
use super::layout::{Block, Cluster, PANEL};

/// How far blocks and clusters reach.
#[derive(Clone, Debug)]
pub(super) struct Supports {
    pub of_blocks: Table,
    /// Follows from that of the blocks.
    pub of_clusters: Table,
}

impl Supports {
    /// `cones` are those of the blocks, `around` those of the clusters.
    pub(super) fn of(of_blocks: Table, cones: &[Cone], clusters: &[Cluster], around: &[Cone]) -> Self {
        let mut levels = Vec::with_capacity(clusters.len() * clusters.len());
        for direction in 0..clusters.len() {
            let towards = of_blocks.towards(direction);
            levels.extend(clusters.iter().zip(around).map(|(cluster, around)| {
                let parts = cluster.blocks.clone().map(|block| (Support(towards[block]), &cones[block]));
                Support::of_all(parts, around).0
            }));
        }
        Self { of_blocks, of_clusters: Table::new(levels, clusters.len()) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.of_blocks.levels[..]) + size_of_val(&self.of_clusters.levels[..])
    }
}

/// Supports, row by row one direction's.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    levels: Vec<i8>,
    columns: usize,
}

impl Table {
    /// Of so many directions.
    pub(super) fn new(levels: Vec<i8>, directions: usize) -> Self {
        let columns = levels.len().checked_div(directions).unwrap_or(0);
        Self { levels, columns }
    }

    /// Of blocks, with their cones. `vectors` are by place, `directions` unit vectors, both row-major of `width`.
    pub(super) fn of_blocks(
        isa: Isa,
        blocks: &[(Block, Cone)],
        vectors: &[f32],
        directions: &[f32],
        width: usize,
        threads: usize,
    ) -> Self {
        let landmarks = directions.len() / width;
        if landmarks == 0 {
            return Self::default();
        }
        let packed = PackedF32::pack(isa, directions, landmarks, width);
        let mut by_block = vec![0; blocks.len() * landmarks];
        let share = blocks.len().div_ceil(threads.max(1)).max(1);
        thread::scope(|scope| {
            for (blocks, levels) in blocks.chunks(share).zip(by_block.chunks_mut(share * landmarks)) {
                let packed = &packed;
                scope.spawn(move || {
                    let mut scratch = Supporting::default();
                    blocks.iter().zip(levels.chunks_exact_mut(landmarks)).for_each(|(block, levels)| {
                        scratch.write(packed, block, vectors, levels);
                    });
                });
            }
        });
        Self::new(turned(&by_block, landmarks), landmarks)
    }

    /// Those of one direction.
    pub(super) fn towards(&self, direction: usize) -> &[i8] {
        &self.levels[direction * self.columns..][..self.columns]
    }

    pub(super) fn levels(&self) -> &[i8] {
        &self.levels
    }
}

/// Rows become columns; some rows at a time, so that both are near.
fn turned(rows: &[i8], width: usize) -> Vec<i8> {
    const ROWS: usize = 64;
    let count = rows.len() / width;
    let mut turned = huge_vec(rows.len());
    turned.resize(rows.len(), 0);
    for (number, rows) in rows.chunks(ROWS * width).enumerate() {
        for column in 0..width {
            let to = turned[column * count + number * ROWS..].iter_mut();
            to.zip(rows.iter().skip(column).step_by(width)).for_each(|(to, from)| *to = *from);
        }
    }
    turned
}

/// The memory of one thread.
#[derive(Default)]
struct Supporting {
    scratch: Scratch,
    products: Vec<f32>,
    largest: Vec<f32>,
}

impl Supporting {
    /// Writes how far a block reaches towards each direction.
    fn write(&mut self, directions: &PackedF32, (block, cone): &(Block, Cone), vectors: &[f32], levels: &mut [i8]) {
        let (landmarks, width) = (directions.out_features(), directions.in_features());
        self.largest.clear();
        self.largest.resize(landmarks, f32::NEG_INFINITY);
        self.products.resize(PANEL * landmarks, 0.0);
        let panels = block.panels();
        for panel in vectors[panels.start * PANEL * width..panels.end * PANEL * width].chunks_exact(PANEL * width) {
            gemm_f32(directions, panel, PANEL, Epilogue::default(), &mut self.products, &mut self.scratch);
            for products in self.products.chunks_exact(landmarks) {
                for (largest, &product) in self.largest.iter_mut().zip(products) {
                    *largest = if product > *largest { product } else { *largest };
                }
            }
        }
        for (level, &largest) in levels.iter_mut().zip(&self.largest) {
            *level = Support::new(largest, cone, width).0;
        }
    }
}
