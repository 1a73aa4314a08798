//! A pass over blocks: which of them may hold something, and what they hold.

use std::ops::Range;

use attune_kernels::{Hit, ScreenItems, Wanted, prefetch_row, screen};

use super::Group;
use crate::index::Scored;
use crate::index::bound::score;
use crate::index::layout::{HOLE, Layout, PANEL};
use crate::index::top::Top;

/// Blocks that are chosen before they are scanned, each of which is then fetched while the one before is scanned.
const PLANNED: usize = 64;
/// So few pairs of a query and an allowed item in a block are not screened but scored at once: a vector that is not in the
/// cache costs as much as some panels, which come one after the other.
const FEW_PAIRS: usize = 3;
/// So many queries are worth gathering items for.
const GATHERING: usize = 3;
/// Where there are heads, fewer queries look at wholes at once where no more than one in so many places is allowed: a whole
/// is a few heads long.
const FEW_WHOLES: u32 = 4;

/// A query that may find something in a block.
struct Aim {
    query: u32,
    /// No score is above.
    bound: f32,
}

/// A block that will be scanned.
struct Planned {
    block: usize,
    /// The places in it that may be found, the first lowest.
    allowed: u64,
    /// Its aims.
    aims: Range<usize>,
}

/// How a block is scanned: the fewer of its items are allowed, the less of it is worth reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All of it is screened.
    Whole,
    /// The allowed items are gathered, and these are screened.
    Gathered,
    /// The allowed items are looked at one by one: scored, or screened as wholes where there are heads.
    Each,
}

/// A pass over blocks, on one thread, and its memory.
pub(super) struct Sweep {
    /// The queries that a cluster may have something for, with their thresholds.
    asking: Vec<(u32, f32)>,
    /// By asking query, of all blocks of the cluster.
    bounds: Vec<f32>,
    planned: Vec<Planned>,
    aims: Vec<Aim>,
    wanted: Vec<Wanted>,
    /// Places of a block that are allowed, and the items at them.
    picked: Vec<u32>,
    gathered: ScreenItems,
    among_picked: Vec<Hit>,
    hits: Vec<Hit>,
    /// Where there are heads: what the screen let through in the block before, and that block. Its rows are on their way from
    /// memory.
    again: Vec<Hit>,
    again_block: usize,
    products: Vec<i32>,
    /// What passed the screen of the block before: its vectors are on their way from memory, and it has no score yet.
    coming: Vec<Hit>,
}

impl Sweep {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            asking: Vec::new(),
            bounds: Vec::new(),
            planned: Vec::new(),
            aims: Vec::new(),
            wanted: Vec::new(),
            picked: Vec::new(),
            gathered: layout.screened.none(),
            among_picked: Vec::new(),
            hits: Vec::new(),
            again: Vec::new(),
            again_block: 0,
            products: Vec::new(),
            coming: Vec::new(),
        }
    }

    /// Scans what may hold something for a query.
    pub(super) fn run(&mut self, group: &Group<'_>, clusters: impl Iterator<Item = usize>, tops: &mut [Top]) {
        for cluster in clusters {
            self.plan(group, cluster, 0..tops.len(), tops);
            if self.planned.len() >= PLANNED {
                self.carry_out(group, tops);
            }
        }
        self.carry_out(group, tops);
    }

    /// Plans all clusters, if that comes to no more than so many blocks; otherwise nothing.
    pub(super) fn plan_up_to(&mut self, most: usize, group: &Group<'_>, clusters: &[usize], tops: &[Top]) -> bool {
        for &cluster in clusters {
            self.plan(group, cluster, 0..tops.len(), tops);
            if self.planned.len() > most {
                self.clear();
                return false;
            }
        }
        true
    }

    /// Chooses the blocks of a cluster that may hold something for one of the queries.
    pub(super) fn plan(&mut self, group: &Group<'_>, cluster: usize, queries: Range<usize>, tops: &[Top]) {
        let layout = group.layout;
        let blocks = &layout.clusters[cluster].blocks;
        self.asking.clear();
        self.bounds.clear();
        for query in queries {
            let (bound, threshold) = (group.bounds(query)[cluster], tops[query].threshold());
            if bound >= threshold && bound > f32::NEG_INFINITY {
                self.asking.push((query as u32, threshold));
                group.prepared.before(layout, query, cluster).bounds(layout, blocks.clone(), &mut self.bounds);
            }
        }
        if self.asking.is_empty() {
            return;
        }
        for (place, block) in blocks.clone().enumerate() {
            let before = self.aims.len();
            let bounds = self.bounds[place..].iter().step_by(blocks.len());
            for (&(query, threshold), &bound) in self.asking.iter().zip(bounds) {
                if bound >= threshold {
                    self.aims.push(Aim { query, bound });
                }
            }
            if self.aims.len() > before {
                match group.mask.of(layout, &layout.blocks[block]) {
                    0 => self.aims.truncate(before),
                    allowed => self.planned.push(Planned { block, allowed, aims: before..self.aims.len() }),
                }
            }
        }
    }

    /// Allowed items in all that is planned.
    pub(super) fn items(&self) -> usize {
        self.planned.iter().map(|one| one.allowed.count_ones() as usize).sum()
    }

    /// Scans what is planned.
    pub(super) fn carry_out(&mut self, group: &Group<'_>, tops: &mut [Top]) {
        let (planned, aims) = (std::mem::take(&mut self.planned), std::mem::take(&mut self.aims));
        for (number, one) in planned.iter().enumerate() {
            if let Some(next) = planned.get(number + 1) {
                group.fetch(next);
            }
            self.scan(group, one, &aims[one.aims.clone()], tops);
        }
        self.look_again(group, 0, tops);
        self.pass(group, tops);
        self.score(group, tops);
        (self.planned, self.aims) = (planned, aims);
        self.clear();
    }

    fn clear(&mut self) {
        self.planned.clear();
        self.aims.clear();
    }

    /// Scans one block, and goes on with what passed in those before.
    fn scan(&mut self, group: &Group<'_>, planned: &Planned, aims: &[Aim], tops: &mut [Top]) {
        let (layout, block) = (group.layout, &group.layout.blocks[planned.block]);
        self.wanted.clear();
        for aim in aims {
            let threshold = tops[aim.query as usize].threshold();
            if aim.bound >= threshold {
                let at_least = block.grid.at_least(&group.prepared.screened_reach[aim.query as usize], threshold);
                self.wanted.push(Wanted { query: aim.query, at_least });
            }
        }
        match planned.way(layout, self.wanted.len()) {
            Way::Each => {
                for (panel, lanes) in planned.panels(block.first_panel) {
                    self.hits.extend(self.wanted.iter().map(|wanted| Hit { panel, query: wanted.query, lanes }));
                }
            }
            Way::Gathered => self.screen_gathered(group, planned),
            Way::Whole => {
                screen(&layout.screened, block.panels(), &group.prepared.screened, &self.wanted, &mut self.hits);
                let allowed = |panel: u32| (planned.allowed >> ((panel - block.first_panel) * PANEL as u32)) as u16;
                self.hits.iter_mut().for_each(|hit| hit.lanes &= allowed(hit.panel));
            }
        }
        self.look_again(group, planned.block, tops);
        self.pass(group, tops);
    }

    /// Where there are heads: leaves what passed the screen for the next time, and in its place what passes of the time
    /// before, once it is looked at whole.
    fn look_again(&mut self, group: &Group<'_>, block: usize, tops: &[Top]) {
        let Some(heads) = &group.layout.heads else { return };
        self.hits.iter().for_each(|hit| places(*hit).for_each(|place| heads.whole.prefetch(place)));
        std::mem::swap(&mut self.hits, &mut self.again);
        let grid = &heads.grids[std::mem::replace(&mut self.again_block, block)];
        for hit in &mut self.hits {
            self.picked.clear();
            self.picked.extend(places(*hit).map(|place| place as u32));
            self.products.resize(self.picked.len(), 0);
            let query = hit.query as usize;
            heads.whole.products(&group.prepared.whole, query, &self.picked, &mut self.products);
            let at_least = grid.at_least(&group.prepared.reach[query], tops[query].threshold());
            let passes = |(place, product): (&u32, &i32)| u16::from(*product >= at_least) << (place % PANEL as u32);
            hit.lanes = self.picked.iter().zip(&self.products).map(passes).sum();
        }
    }

    /// Lets the vectors of what passed come, and scores what passed before.
    fn pass(&mut self, group: &Group<'_>, tops: &mut [Top]) {
        let layout = group.layout;
        self.hits.iter().for_each(|hit| places(*hit).for_each(|place| prefetch_row(layout.vector(place))));
        self.score(group, tops);
        std::mem::swap(&mut self.hits, &mut self.coming);
    }

    /// Screens the allowed items of a block and no others.
    fn screen_gathered(&mut self, group: &Group<'_>, planned: &Planned) {
        let (layout, first) = (group.layout, group.layout.blocks[planned.block].panels().start * PANEL);
        self.picked.clear();
        self.picked.extend(ones(planned.allowed).map(|bit| first as u32 + bit));
        self.gathered.gather(&layout.screened, &self.picked);
        let panels = 0..self.gathered.panels();
        screen(&self.gathered, panels, &group.prepared.screened, &self.wanted, &mut self.among_picked);
        for hit in self.among_picked.drain(..) {
            let picked = places(hit).map(|number| self.picked[number]);
            self.hits.extend(picked.map(|place| Hit {
                panel: place / PANEL as u32,
                query: hit.query,
                lanes: 1 << (place % PANEL as u32),
            }));
        }
    }

    /// Scores what passed the screen.
    fn score(&mut self, group: &Group<'_>, tops: &mut [Top]) {
        let layout = group.layout;
        for hit in self.coming.drain(..) {
            let number = hit.query as usize;
            let excluded = group.excluded(number);
            for place in places(hit) {
                let row = layout.rows[place];
                if row != HOLE && group.mask.admits(layout, place) && excluded.binary_search(&row).is_err() {
                    let score = score(layout.isa, group.query(number), layout.vector(place));
                    tops[number].show(Scored { row, score });
                }
            }
        }
    }
}

impl Planned {
    /// The way for so many queries.
    fn way(&self, layout: &Layout, queries: usize) -> Way {
        let (items, places) = (self.allowed.count_ones(), layout.blocks[self.block].places());
        let few_wholes = layout.heads.is_some() && queries < GATHERING && FEW_WHOLES * items <= places;
        if few_wholes || items as usize * queries <= FEW_PAIRS {
            Way::Each
        } else if queries >= GATHERING && 2 * items <= places {
            Way::Gathered
        } else {
            Way::Whole
        }
    }

    /// Its panels that have allowed items, counted from the first, with the lanes of these.
    fn panels(&self, first: u32) -> impl Iterator<Item = (u32, u16)> {
        let allowed = self.allowed;
        let lanes = move |panel: u32| (allowed >> (panel * PANEL as u32)) as u16;
        (0..u64::BITS / PANEL as u32).map(move |panel| (first + panel, lanes(panel))).filter(|(_, lanes)| *lanes != 0)
    }
}

impl Layout {
    /// Asks for an item that will be looked at alone.
    fn prefetch(&self, place: usize) {
        match &self.heads {
            Some(heads) => heads.whole.prefetch(place),
            None => prefetch_row(self.vector(place)),
        }
    }
}

impl Group<'_> {
    /// Asks for what a scan of a block reads first.
    fn fetch(&self, next: &Planned) {
        let (layout, block) = (self.layout, &self.layout.blocks[next.block]);
        match next.way(layout, next.aims.len()) {
            Way::Each => {
                let first = block.panels().start * PANEL;
                ones(next.allowed).for_each(|bit| layout.prefetch(first + bit as usize));
            }
            Way::Gathered => {
                let panels = next.panels(block.first_panel).map(|(panel, _)| panel as usize);
                panels.for_each(|panel| layout.screened.prefetch(panel..panel + 1));
            }
            Way::Whole => layout.screened.prefetch(block.panels()),
        }
    }
}

/// The places of a hit, in order.
fn places(hit: Hit) -> impl Iterator<Item = usize> {
    let first = hit.panel as usize * PANEL;
    ones(hit.lanes.into()).map(move |lane| first + lane as usize)
}

/// The bits that are set, the lowest first.
fn ones(bits: u64) -> impl Iterator<Item = u32> {
    let rest = std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)));
    rest.take_while(|bits| *bits != 0).map(u64::trailing_zeros)
}
