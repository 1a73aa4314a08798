//! Items laid out for search: in clusters, in blocks of these, as levels, with bounds.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, ScreenItems, ScreenRows, gemm_f32, huge_vec};

use super::Allowed;
use super::bound::{Cone, Cones, Grid, split};
use super::cluster::{Clusters, cluster};
use super::head::{Axes, Heads};
use super::supports::{Supports, Table};

/// Items in a panel of the screen.
pub(super) const PANEL: usize = 16;
/// Items in a block: few, so that one far from its direction spoils the bound of few.
const BLOCK: usize = 64;
/// Items in a segment: places are u32, and padding needs some of them.
pub(super) const ITEMS_MAX: usize = 1 << 30;
/// A place that holds no item, where a block ends before its last panel does.
pub(super) const HOLE: u32 = u32::MAX;

/// Items laid out for search, all of a segment's or some. An item has a *place* here, and a *row* that the caller numbers
/// it by.
#[derive(Debug)]
pub(super) struct Layout {
    pub isa: Isa,
    pub width: usize,
    pub items: usize,
    /// By place.
    pub rows: Arc<Vec<u32>>,
    /// By place, f32; in a subset by the place that the item has among all.
    pub vectors: Arc<Vec<f32>>,
    /// That place, in a subset.
    homes: Option<Vec<u32>>,
    /// By place, int8: heads where there are any, else whole items.
    pub screened: ScreenItems,
    /// Where the vectors are wide and heads say much.
    pub heads: Option<Heads>,
    pub blocks: Vec<Block>,
    pub clusters: Vec<Cluster>,
    /// By block.
    pub cones: Cones,
    /// By cluster.
    pub around: Cones,
    /// Of the clusters: unit vectors. Each is a landmark, too.
    pub directions: Vec<f32>,
    /// The same, to be multiplied with.
    packed: PackedF32,
    pub supports: Supports,
}

/// Neighbours that follow one direction.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub blocks: Range<usize>,
}

/// Neighbours of one cluster that share a scale, and a cone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub first_panel: u32,
    pub end_panel: u32,
    /// Of what is screened.
    pub grid: Grid,
}

impl Block {
    pub(super) fn panels(&self) -> Range<usize> {
        self.first_panel as usize..self.end_panel as usize
    }

    /// How many places it has.
    pub(super) fn places(&self) -> u32 {
        (self.end_panel - self.first_panel) * PANEL as u32
    }
}

impl Layout {
    /// Lays out items that have been checked.
    pub(super) fn build(isa: Isa, vectors: Cow<'_, [f32]>, width: usize, rows: &[u32], threads: usize) -> Self {
        let arrangement = Arrangement::of(isa, &vectors, width, rows, threads);
        drop(vectors);
        arrangement.finish(isa, None, threads)
    }

    /// The same with heads of so many values, be they worth it or not.
    #[cfg(test)]
    pub(super) fn with_heads(vectors: &[f32], width: usize, rows: &[u32], heads: usize) -> Self {
        let isa = Isa::active().expect("checked at start");
        let axes = |vectors: &[f32]| Axes::of(isa, vectors, width, heads);
        Arrangement::of(isa, vectors, width, rows, 1).lay_out(isa, None, axes, 1)
    }

    /// Lays out the items at some places for themselves, all but their vectors: in the same clusters, and in blocks of
    /// their own.
    pub(super) fn subset(&self, places: &Allowed) -> Self {
        let (mut arrangement, mut homes) = (Arrangement { width: self.width, ..Arrangement::default() }, Vec::new());
        for (number, cluster) in self.clusters.iter().enumerate() {
            let holds = |place: &u32| places.contains(*place) && self.rows[*place as usize] != HOLE;
            let here: Vec<u32> = self.places_of(cluster).map(|place| place as u32).filter(holds).collect();
            let item = |&place: &u32| (self.rows[place as usize], self.vector(place as usize));
            arrangement.push(self.direction(number), here.iter().map(item));
            homes.extend(&here);
            // Something must be at a hole's home, too.
            homes.resize(arrangement.rows.len(), homes.last().copied().unwrap_or_default());
        }
        let axes = |_: &[f32]| self.heads.as_ref().map(|heads| heads.axes.clone());
        let layout = arrangement.lay_out(self.isa, None, axes, 1);
        Self { vectors: Arc::clone(&self.vectors), homes: Some(homes), ..layout }
    }

    /// Bytes held; in a subset without the vectors, which are not its own.
    pub(super) fn bytes(&self) -> usize {
        let cones = self.cones.bytes() + self.around.bytes() + self.supports.bytes();
        let blocks = size_of_val(&self.blocks[..]) + size_of_val(&self.clusters[..]) + cones;
        let vectors = self.homes.as_ref().map_or(size_of_val(&self.vectors[..]), |homes| size_of_val(&homes[..]));
        let directions = size_of_val(&self.directions[..]) + self.packed.bytes();
        let screened = self.screened.bytes() + self.heads.as_ref().map_or(0, Heads::bytes);
        size_of_val(&self.rows[..]) + vectors + directions + screened + blocks
    }

    /// The place that an item has among all of the segment.
    pub(super) fn home(&self, place: usize) -> usize {
        self.homes.as_ref().map_or(place, |homes| homes[place] as usize)
    }

    pub(super) fn vector(&self, place: usize) -> &[f32] {
        &self.vectors[self.home(place) * self.width..][..self.width]
    }

    fn places_of(&self, cluster: &Cluster) -> Range<usize> {
        let panels = self.blocks[cluster.blocks.start].panels().start..self.blocks[cluster.blocks.end - 1].panels().end;
        panels.start * PANEL..panels.end * PANEL
    }

    /// How many items a cluster has.
    pub(super) fn items_of(&self, cluster: &Cluster) -> usize {
        self.rows[self.places_of(cluster)].iter().filter(|row| **row != HOLE).count()
    }

    /// Writes the inner products of queries with all directions, query by query.
    pub(super) fn along(&self, queries: &[f32], along: &mut [f32], scratch: &mut Scratch) {
        if !along.is_empty() {
            gemm_f32(&self.packed, queries, queries.len() / self.width, Epilogue::default(), along, scratch);
        }
    }

    pub(super) fn direction(&self, cluster: usize) -> &[f32] {
        &self.directions[cluster * self.width..][..self.width]
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

/// What a layout is made of: all else follows from it.
#[derive(Debug, Default)]
pub(super) struct Arrangement {
    pub width: usize,
    pub directions: Vec<f32>,
    /// By place: clusters one after the other, each from the start of a panel.
    pub rows: Vec<u32>,
    pub vectors: Vec<f32>,
    /// By cluster.
    pub items: Vec<u32>,
}

impl Arrangement {
    /// Of items that have been checked.
    fn of(isa: Isa, vectors: &[f32], width: usize, rows: &[u32], threads: usize) -> Self {
        let Clusters { directions, of } = cluster(isa, vectors, width, threads);
        let members = members(&of, directions.len() / width);
        let places: usize = members.iter().map(|members| members.len().next_multiple_of(PANEL)).sum();
        let mut arrangement = Self { width, vectors: huge_vec(places * width), ..Self::default() };
        for (members, direction) in members.into_iter().zip(directions.chunks_exact(width)) {
            let members = nearest_first(members, vectors, direction);
            arrangement
                .push(direction, members.iter().map(|&item| (rows[item as usize], vector(vectors, width, item))));
        }
        arrangement
    }

    /// Adds the items of the next cluster, if there are any.
    fn push<'a>(&mut self, direction: &[f32], items: impl ExactSizeIterator<Item = (u32, &'a [f32])>) {
        if items.len() == 0 {
            return;
        }
        self.directions.extend_from_slice(direction);
        self.items.push(items.len() as u32);
        for (row, vector) in items {
            self.rows.push(row);
            self.vectors.extend_from_slice(vector);
        }
        self.rows.resize(self.rows.len().next_multiple_of(PANEL), HOLE);
        self.vectors.resize(self.rows.len() * self.width, 0.0);
    }

    /// Whether holes are where clusters end before their last panel, and nowhere else.
    pub(super) fn holes_are_in_place(&self) -> bool {
        let mut rest = &self.rows[..];
        self.items.iter().all(|&items| {
            let (cluster, others) = rest.split_at((items as usize).next_multiple_of(PANEL));
            rest = others;
            cluster.iter().enumerate().all(|(place, &row)| (row == HOLE) == (place >= items as usize))
        })
    }

    /// Quantises and bounds what is there; `supports` of its blocks, if they are known.
    pub(super) fn finish(self, isa: Isa, supports: Option<Table>, threads: usize) -> Layout {
        let width = self.width;
        self.lay_out(isa, supports, |vectors| Axes::find(isa, vectors, width), threads)
    }

    /// `axes` may give those of heads, from the vectors by place.
    fn lay_out(
        self,
        isa: Isa,
        supports: Option<Table>,
        axes: impl FnOnce(&[f32]) -> Option<Axes>,
        threads: usize,
    ) -> Layout {
        let Self { width, directions, rows, vectors, items } = self;
        let (mut sketches, mut clusters, mut place) = (Vec::new(), Vec::new(), 0);
        for (cluster, &items) in items.iter().enumerate() {
            let (first, end) = (sketches.len(), place + items as usize);
            let block = |first: usize| Sketch { places: first..(first + BLOCK).min(end), cluster };
            sketches.extend((place..end).step_by(BLOCK).map(block));
            clusters.push(Cluster { blocks: first..sketches.len() });
            place = end.next_multiple_of(PANEL);
        }
        let mut levels = vec![0; vectors.len()];
        let blocks = quantise(&sketches, &vectors, &directions, width, &mut levels, threads);
        let reach = || Table::of_blocks(isa, &blocks, &vectors, &directions, width, threads);
        let towards = supports.unwrap_or_else(reach);
        let (mut blocks, cones): (Vec<Block>, Vec<Cone>) = blocks.into_iter().unzip();
        let (heads, screened) = match axes(&vectors) {
            None => (None, ScreenItems::pack(isa, &levels, width)),
            Some(axes) => {
                let whole = ScreenRows::pack(isa, &levels, width);
                let (heads, screened) = Heads::build(isa, axes, &rows, &vectors, whole, &mut blocks, threads);
                (Some(heads), screened)
            }
        };
        drop(levels);
        let join =
            |cluster: &Cluster| cones[cluster.blocks.clone()].iter().fold(Cone::EMPTY, |all, cone| all.with(cone));
        let around: Vec<Cone> = clusters.iter().map(join).collect();
        let supports = Supports::of(towards, &cones, &clusters, &around);
        let (cones, around) = (Cones::new(&cones, width), Cones::new(&around, width));
        let items = items.iter().map(|&items| items as usize).sum();
        let packed = PackedF32::pack(isa, &directions, clusters.len(), width);
        let (rows, vectors, homes) = (Arc::new(rows), Arc::new(vectors), None);
        Layout {
            isa,
            width,
            items,
            rows,
            vectors,
            homes,
            screened,
            heads,
            blocks,
            clusters,
            cones,
            around,
            directions,
            packed,
            supports,
        }
    }
}

/// How many blocks a cluster of so many items has.
pub(super) fn blocks(items: usize) -> usize {
    items.div_ceil(BLOCK)
}

/// A block in the making.
struct Sketch {
    places: Range<usize>,
    cluster: usize,
}

impl Sketch {
    /// `levels` are those of the places from `first` on.
    fn quantise(
        &self,
        vectors: &[f32],
        directions: &[f32],
        width: usize,
        levels: &mut [i8],
        first: usize,
    ) -> (Block, Cone) {
        let Range { start, end } = self.places;
        let direction = &directions[self.cluster * width..][..width];
        let levels = &mut levels[(start - first) * width..(end - first) * width];
        let (grid, cone) = Grid::quantise(&vectors[start * width..end * width], direction, levels);
        let panel = |place: usize| (place / PANEL) as u32;
        (Block { first_panel: panel(start), end_panel: panel(end.next_multiple_of(PANEL)), grid }, cone)
    }
}

/// Quantises all that is sketched.
fn quantise(
    sketches: &[Sketch],
    vectors: &[f32],
    directions: &[f32],
    width: usize,
    levels: &mut [i8],
    threads: usize,
) -> Vec<(Block, Cone)> {
    let share = sketches.len().div_ceil(threads.max(1)).max(1);
    thread::scope(|scope| {
        let (mut rest, mut workers) = (levels, Vec::new());
        for sketches in sketches.chunks(share) {
            let first = sketches[0].places.start;
            let end = sketches[sketches.len() - 1].places.end.next_multiple_of(PANEL);
            let (mine, others) = rest.split_at_mut((end - first) * width);
            rest = others;
            let block =
                move |sketch: &Sketch, mine: &mut [i8]| sketch.quantise(vectors, directions, width, mine, first);
            workers.push(scope.spawn(move || sketches.iter().map(|sketch| block(sketch, mine)).collect::<Vec<_>>()));
        }
        workers.into_iter().flat_map(|worker| worker.join().expect("quantising does not panic")).collect()
    })
}
