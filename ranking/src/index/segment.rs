//! Items that do not change any more, laid out for search.

use attune_kernels::{Isa, ScreenItems};

use super::bound::{Ball, split};
use super::cluster::{Clusters, cluster};
use super::error::{IndexError, check};

/// Items in a panel of the screen.
const PANEL: usize = 16;
/// Items in a block: few, so that one far from its direction spoils the bound of few.
const BLOCK: usize = 64;
/// Items in a segment: places are u32, and padding needs some of them.
const ITEMS_MAX: usize = 1 << 30;
/// A place that holds no item, where a block ends before its last panel does.
pub(super) const HOLE: u32 = u32::MAX;

/// Items that do not change any more. An item has a *place* here, and a *row* that the caller numbers it by.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(super) isa: Isa,
    pub(super) width: usize,
    /// By place.
    pub(super) rows: Vec<u32>,
    /// By place, f32.
    pub(super) vectors: Vec<f32>,
    /// By place, int8.
    pub(super) screened: ScreenItems,
    pub(super) blocks: Vec<Block>,
    /// Of the clusters: unit vectors.
    pub(super) directions: Vec<f32>,
    items: usize,
}

/// Neighbours of one cluster that share a scale and a bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub first_panel: u32,
    pub end_panel: u32,
    pub cluster: u32,
    pub ball: Ball,
}

impl Segment {
    /// Lays out `rows.len()` items, `vectors` row-major; `rows` are the caller's numbers, below `u32::MAX`.
    ///
    /// Takes as long as some hundred scans: about 4 s for a million items of 64 values on two threads.
    ///
    /// # Errors
    /// [`IndexError`] names the vector at fault.
    ///
    /// # Panics
    /// If the instruction set that the environment forces is none that this machine can run; a start checks that.
    pub fn build(vectors: &[f32], width: usize, rows: &[u32], threads: usize) -> Result<Self, IndexError> {
        check(vectors, rows.len(), width)?;
        if rows.len() > ITEMS_MAX {
            return Err(IndexError::TooMany { items: rows.len(), max: ITEMS_MAX });
        }
        let isa = Isa::active().expect("checked at start");
        let Clusters { directions, of } = cluster(isa, vectors, width, threads);
        let mut layout = Layout { rows: Vec::new(), vectors: Vec::new(), levels: Vec::new(), blocks: Vec::new() };
        for (number, members) in members(&of, directions.len() / width).into_iter().enumerate() {
            let direction = &directions[number * width..][..width];
            let members = nearest_first(members, vectors, direction);
            for members in members.chunks(BLOCK) {
                let chosen = members.iter().map(|&item| (rows[item as usize], vector(vectors, width, item)));
                layout.push_block(number, direction, chosen);
            }
        }
        let screened = ScreenItems::pack(isa, &layout.levels, width);
        let Layout { rows: places, vectors, blocks, .. } = layout;
        Ok(Self { isa, width, rows: places, vectors, screened, blocks, directions, items: rows.len() })
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Values a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The caller's row at each place; `None` at a place that holds no item.
    pub fn places(&self) -> impl ExactSizeIterator<Item = Option<u32>> {
        self.rows.iter().map(|&row| (row != HOLE).then_some(row))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let blocks = size_of_val(&self.blocks[..]) + size_of_val(&self.directions[..]);
        size_of_val(&self.rows[..]) + size_of_val(&self.vectors[..]) + self.screened.bytes() + blocks
    }

    pub(super) fn vector(&self, place: usize) -> &[f32] {
        &self.vectors[place * self.width..][..self.width]
    }
}

fn vector(vectors: &[f32], width: usize, item: u32) -> &[f32] {
    &vectors[item as usize * width..][..width]
}

/// The items of each cluster, in their order.
fn members(of: &[u32], clusters: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); clusters];
    for (item, &cluster) in of.iter().enumerate() {
        members[cluster as usize].push(item as u32);
    }
    members
}

/// Sorted by the length across the direction, so that each block has items of similar bounds.
fn nearest_first(mut members: Vec<u32>, vectors: &[f32], direction: &[f32]) -> Vec<u32> {
    members.sort_by_cached_key(|&item| (split(vector(vectors, direction.len(), item), direction).1.to_bits(), item));
    members
}

/// A segment in the making.
struct Layout {
    rows: Vec<u32>,
    vectors: Vec<f32>,
    levels: Vec<i8>,
    blocks: Vec<Block>,
}

impl Layout {
    fn push_block<'a>(&mut self, cluster: usize, direction: &[f32], items: impl Iterator<Item = (u32, &'a [f32])>) {
        let (first, width) = (self.rows.len(), direction.len());
        for (row, vector) in items {
            self.rows.push(row);
            self.vectors.extend_from_slice(vector);
        }
        let end = self.rows.len().next_multiple_of(PANEL);
        self.levels.resize(end * width, 0);
        let items = first * width..self.rows.len() * width;
        let ball = Ball::quantise(&self.vectors[items.clone()], direction, &mut self.levels[items]);
        self.rows.resize(end, HOLE);
        self.vectors.resize(end * width, 0.0);
        let panel = |place: usize| (place / PANEL) as u32;
        self.blocks.push(Block { first_panel: panel(first), end_panel: panel(end), cluster: cluster as u32, ball });
    }
}
