//! How a batch becomes launches: tiles, grids, bounds. Pure.

use super::Arithmetic;
use super::launch::Kernel;

/// Queries of one text that a block of the attention kernels takes.
const QUERIES: usize = 64;
/// The widest row that the norms hold in registers.
pub const WIDTH_MAX: usize = 1024;
/// Widths of an attention head that have a kernel.
pub const HEAD_WIDTHS: [usize; 3] = [32, 64, 128];
/// Rows, and outputs, of a matrix have to be whole runs of 16 bytes at 2 bytes a number.
const GRAIN: usize = 8;

/// Inputs of which `project_resident` holds all, as `hopper.cuh` says.
const RESIDENT_INPUTS: usize = 384;
/// Its shared memory: 128 rows of them, five stages of 192 x 64, and what says that they have come or are free.
const RESIDENT_BYTES: u32 = (128 * RESIDENT_INPUTS * 2 + 5 * 192 * 128 + (6 + 5 + 5 + 1) * 8) as u32;
/// The width that `project_norm` is for, and its shared memory: three stages of 128 rows and all outputs.
const NORM_WIDTH: usize = 384;
const PROJECT_NORM_BYTES: u32 = (3 * (128 + NORM_WIDTH) * 128 + (3 + 1) * 8) as u32;

/// A batch or a model that the kernels do not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The batch contradicts itself or the model.
    #[error("bad batch: {0}")]
    Batch(&'static str),
    /// The model has sizes without a kernel.
    #[error("no GPU kernel for {0}")]
    Widths(String),
}

/// Holds a model's sizes against what the kernels can do.
///
/// # Errors
/// [`PlanError::Widths`] naming the size.
pub fn check_widths(hidden: usize, heads: usize, intermediate: usize) -> Result<(), PlanError> {
    let refuse = |what: String| Err(PlanError::Widths(what));
    if hidden == 0 || heads == 0 || !hidden.is_multiple_of(heads) || !HEAD_WIDTHS.contains(&(hidden / heads)) {
        return refuse(format!("{heads} heads in a width of {hidden}: a head is 32, 64 or 128 wide"));
    }
    if hidden > WIDTH_MAX {
        return refuse(format!("a width of {hidden}: {WIDTH_MAX} is the widest"));
    }
    match intermediate > 0 && intermediate.is_multiple_of(GRAIN) {
        true => Ok(()),
        false => refuse(format!("an inner width of {intermediate}: a multiple of {GRAIN} is needed")),
    }
}

/// A batch as the kernels read it, checked: what it names is there. Reused from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct BatchPlan {
    /// Attention tiles, four words each; tokens; places within the text; offsets.
    pub(super) words: Vec<u32>,
    pub(super) tiles: usize,
    pub(super) tokens: usize,
    pub(super) rows: usize,
    /// Token ids are below this, and texts no longer than that.
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
}

impl BatchPlan {
    /// Lays out texts of `tokens` that begin and end at `offsets`, for tables of `vocabulary` tokens and `positions`
    /// positions. With a bucket, what is missing to its sizes is filled with tokens of no text and texts without tokens.
    ///
    /// # Errors
    /// [`PlanError::Batch`] when the offsets do not rise from 0 to the number of tokens, or name what the tables lack.
    pub fn lay_out(
        &mut self,
        tokens: &[u32],
        offsets: &[usize],
        vocabulary: usize,
        positions: usize,
        bucket: Option<Bucket>,
    ) -> Result<(), PlanError> {
        check_batch(tokens, offsets, vocabulary, positions)?;
        let texts = || offsets.windows(2).map(|text| text[0]..text[1]);
        self.words.clear();
        for text in texts() {
            let tile = |query: usize| [text.start as u32, text.len() as u32, query as u32, 0];
            self.words.extend((0..text.len()).step_by(QUERIES).flat_map(tile));
        }
        let tiles = self.words.len() / 4;
        let exact = Bucket { tokens: tokens.len(), rows: offsets.len() - 1 };
        let Bucket { tokens: tokens_there, rows } = bucket.unwrap_or(exact);
        assert!(tokens_there >= exact.tokens && rows >= exact.rows, "a batch of {exact:?} in {bucket:?}");
        self.tiles = bucket.map_or(tiles, Bucket::tiles_max);
        (self.tokens, self.rows) = (tokens_there, rows);
        (self.vocabulary, self.positions) = (vocabulary, positions);
        let mut part = |end: usize, values: &mut dyn Iterator<Item = u32>, filler: u32| {
            self.words.extend(values);
            self.words.resize(end, filler);
            end
        };
        let end = part(4 * self.tiles, &mut std::iter::empty(), 0);
        let end = part(end + tokens_there, &mut tokens.iter().copied(), 0);
        let end = part(end + tokens_there, &mut texts().flat_map(|text| 0..text.len() as u32), 0);
        part(end + rows + 1, &mut offsets.iter().map(|&offset| offset as u32), tokens.len() as u32);
        Ok(())
    }

    /// Words of the largest batch of so many tokens, in a bucket or not.
    pub(super) fn words_max(tokens: usize) -> usize {
        // Never more texts than tokens.
        4 * Bucket { tokens, rows: tokens }.tiles_max() + 2 * tokens + tokens + 1
    }
}

/// Sizes that batches are filled up to, so that launches which were written down for one serve all of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    tokens: usize,
    rows: usize,
}

impl Bucket {
    /// Tokens of the largest: beyond that a batch takes so long that launches are queued while others run.
    pub const TOKENS_MAX: usize = 4096;
    const TOKENS_MIN: usize = 64;

    /// The smallest for a batch, within `capacity` tokens; `None` when there is none. At most a quarter of it is filler,
    /// except where there are less than 64 tokens.
    pub fn of(tokens: usize, rows: usize, capacity: usize) -> Option<Self> {
        let step = (tokens.next_power_of_two() / 8).max(Self::TOKENS_MIN / 4);
        let tokens = tokens.next_multiple_of(step).max(Self::TOKENS_MIN);
        let rows = rows.next_power_of_two().min(tokens);
        (tokens <= capacity.min(Self::TOKENS_MAX)).then_some(Self { tokens, rows })
    }

    /// A text of t tokens has t / 64 tiles, rounded up.
    fn tiles_max(self) -> usize {
        self.tokens / QUERIES + self.rows
    }
}

fn check_batch(tokens: &[u32], offsets: &[usize], vocabulary: usize, positions: usize) -> Result<(), PlanError> {
    let bounded = offsets.first() == Some(&0) && offsets.last() == Some(&tokens.len());
    if !bounded || offsets.windows(2).any(|pair| pair[0] >= pair[1]) || offsets.len() < 2 {
        return Err(PlanError::Batch("offsets must rise from 0 to the number of tokens, without an empty text"));
    }
    // Indices in the kernels are 32 bits, tokens x 3 hidden among them before they are widened.
    if tokens.len() > i32::MAX as usize / (3 * WIDTH_MAX) {
        return Err(PlanError::Batch("more tokens than indices reach"));
    }
    if tokens.iter().any(|&token| token as usize >= vocabulary) {
        return Err(PlanError::Batch("a token outside the vocabulary"));
    }
    match offsets.windows(2).any(|pair| pair[1] - pair[0] > positions) {
        true => Err(PlanError::Batch("a text longer than the model has positions")),
        false => Ok(()),
    }
}

/// A kernel and the blocks and threads to run it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) kernel: Kernel,
    pub(super) grid: [u32; 3],
    pub(super) threads: u32,
    /// Bytes of shared memory beyond what the kernel says itself.
    pub(super) shared_bytes: u32,
}

/// What the choice of a kernel depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceKind {
    pub(super) arithmetic: Arithmetic,
    pub(super) has_hopper: bool,
    pub(super) multiprocessors: u32,
}

/// How a product is cut into the tiles that blocks make: rows x outputs. Which it is changes no bit of the result, among
/// those with Hopper's products and among those without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// 64 x 64.
    Small,
    /// 128 x 128.
    Large,
    /// 64 x 64, by Hopper's products.
    HopperSmall,
    /// 128 x 128, by Hopper's products.
    HopperLarge,
    /// 128 x 192 one after the other, by Hopper's products, while the rows stay: for few inputs.
    HopperResident,
}

impl Tiling {
    /// Those that a device has.
    pub(super) fn of(arithmetic: Arithmetic, has_hopper: bool) -> &'static [Self] {
        match (arithmetic, has_hopper) {
            (Arithmetic::F32, _) => &[Self::Small],
            (_, false) => &[Self::Small, Self::Large],
            (_, true) => &[Self::Small, Self::Large, Self::HopperSmall, Self::HopperLarge, Self::HopperResident],
        }
    }

    /// Whether it can be used for a matrix of these sizes.
    pub fn takes(self, outputs: usize, inputs: usize) -> bool {
        self != Self::HopperResident || inputs <= RESIDENT_INPUTS && outputs.is_multiple_of(192)
    }

    /// Rows and outputs of a tile.
    pub(super) fn sides(self) -> [usize; 2] {
        match self {
            Self::Small | Self::HopperSmall => [64, 64],
            Self::Large | Self::HopperLarge => [128, 128],
            Self::HopperResident => [128, 192],
        }
    }

    pub(super) fn is_hopper(self) -> bool {
        !matches!(self, Self::Small | Self::Large)
    }

    fn blocks(self, rows: usize, outputs: usize) -> [u32; 3] {
        let [high, wide] = self.sides();
        [outputs.div_ceil(wide) as u32, rows.div_ceil(high) as u32, 1]
    }
}

/// For a product of rows, outputs and inputs: large tiles where they give every multiprocessor a block, small ones where they
/// do not.
pub(super) fn tiling(kind: DeviceKind, [rows, outputs, inputs]: [usize; 3]) -> Tiling {
    let large = match (kind.arithmetic, kind.has_hopper) {
        (Arithmetic::F32, _) => return Tiling::Small,
        (_, false) => Tiling::Large,
        (_, true) if Tiling::HopperResident.takes(outputs, inputs) => Tiling::HopperResident,
        (_, true) => Tiling::HopperLarge,
    };
    let [x, y, _] = large.blocks(rows, outputs);
    match x * y >= kind.multiprocessors {
        true => large,
        false if large.is_hopper() => Tiling::HopperSmall,
        false => Tiling::Small,
    }
}

/// For a product of rows and outputs in tiles.
pub(super) fn projection(tiling: Tiling, kind: DeviceKind, [rows, outputs]: [usize; 2]) -> Shape {
    /// Bytes of `stages` stages of tiles, 64 elements of each row, and what says that one has come.
    fn stages(tiling: Tiling, stages: usize) -> u32 {
        (stages * (tiling.sides().iter().sum::<usize>() * 128 + 8)) as u32
    }
    let (kernel, threads, shared_bytes) = match tiling {
        Tiling::Small if kind.arithmetic == Arithmetic::F32 => (Kernel::Project64, 256, 0),
        Tiling::Small => (Kernel::Project64, 128, 0),
        Tiling::Large => (Kernel::Project128, 256, 0),
        Tiling::HopperSmall => (Kernel::ProjectHopper64, 128, stages(tiling, 4)),
        Tiling::HopperLarge => (Kernel::ProjectHopper128, 256, stages(tiling, 3)),
        Tiling::HopperResident => (Kernel::ProjectResident, 288, RESIDENT_BYTES),
    };
    let grid = match (tiling.blocks(rows, outputs), tiling) {
        ([x, y, _], Tiling::HopperResident) => [(x * y).min(kind.multiprocessors), 1, 1],
        (grid, _) => grid,
    };
    Shape { kernel, grid, threads, shared_bytes }
}

/// For a product with residual and norm behind it in one kernel; `None` where two are needed, or faster because there are
/// few rows.
pub(super) fn project_norm(kind: DeviceKind, [rows, outputs, inputs]: [usize; 3]) -> Option<Shape> {
    let blocks = rows.div_ceil(128) as u32;
    let fits = outputs == NORM_WIDTH && inputs > 2 * 64 && kind.arithmetic != Arithmetic::F32;
    (kind.has_hopper && fits && 2 * blocks >= kind.multiprocessors).then_some(Shape {
        kernel: Kernel::ProjectNorm,
        grid: [blocks, 1, 1],
        threads: 256,
        shared_bytes: PROJECT_NORM_BYTES,
    })
}

/// One launch of each kernel of [`Kernel::HOPPER`]: what shared memory they want.
pub(super) fn hopper_shapes() -> Vec<Shape> {
    let kind = DeviceKind { arithmetic: Arithmetic::Bf16, has_hopper: true, multiprocessors: 1 };
    let tilings = Tiling::of(Arithmetic::Bf16, true).iter().filter(|tiling| tiling.is_hopper());
    let products = tilings.map(|tiling| projection(*tiling, kind, [1, 192]));
    products.chain(project_norm(kind, [1, NORM_WIDTH, NORM_WIDTH])).collect()
}

/// For the norms: eight rows a block.
pub(super) fn norm(kernel: Kernel, rows: usize) -> Shape {
    Shape { kernel, grid: [rows.div_ceil(8) as u32, 1, 1], threads: 256, shared_bytes: 0 }
}

/// For attention, and how many heads a block has. `None` when no kernel is as wide as the head.
///
/// A block with several heads reads the next while it works on one; but every multiprocessor should have a dozen blocks to
/// take in turn, so there have to be many tiles.
pub(super) fn attention(kind: DeviceKind, tiles: usize, heads: usize, head_width: usize) -> Option<(Shape, usize)> {
    const BLOCKS_EACH: usize = 12;
    let kernel = match head_width {
        32 => Kernel::Attention32,
        64 => Kernel::Attention64,
        128 => Kernel::Attention128,
        _ => return None,
    };
    let blocks_min = BLOCKS_EACH * kind.multiprocessors as usize;
    let suits = |each: &usize| heads.is_multiple_of(*each) && tiles * heads / each >= blocks_min;
    let each = (2..=4).rev().find(suits).unwrap_or(1);
    let grid = [tiles as u32, (heads / each) as u32, 1];
    Some((Shape { kernel, grid, threads: 128, shared_bytes: 0 }, each))
}

/// For pooling and the head: a block for each text.
pub(super) fn texts(kernel: Kernel, rows: usize) -> Shape {
    Shape { kernel, grid: [rows as u32, 1, 1], threads: 128, shared_bytes: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lengths: &[usize]) -> BatchPlan {
        let mut offsets = vec![0];
        offsets.extend(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }));
        let tokens: Vec<u32> = (0..*offsets.last().unwrap() as u32).collect();
        let mut plan = BatchPlan::default();
        plan.lay_out(&[1], &[0, 1], 2, 2, None).unwrap();
        plan.lay_out(&tokens, &offsets, 100_000, 512, None).unwrap();
        plan
    }

    #[test]
    fn tiles_cover_every_query_once_and_no_more() {
        for lengths in [&[1][..], &[64], &[65, 1, 128, 127, 129], &[512, 3, 3, 3], &[63; 40]] {
            let plan = plan(lengths);
            let mut seen = vec![0; lengths.iter().sum()];
            for tile in plan.words[..4 * plan.tiles].as_chunks::<4>().0 {
                let [start, length, query, _] = tile.map(|word| word as usize);
                assert!(query < length, "an empty tile");
                (query..length.min(query + QUERIES)).for_each(|query| seen[start + query] += 1);
            }
            assert!(seen.iter().all(|&times| times == 1), "{lengths:?}");
            assert!(plan.words.len() <= BatchPlan::words_max(plan.tokens), "{lengths:?}");
        }
    }

    #[test]
    fn words_hold_tokens_places_and_offsets_behind_the_tiles() {
        let plan = plan(&[2, 1, 3]);
        assert_eq!(plan.words[4 * plan.tiles..], [0, 1, 2, 3, 4, 5, 0, 1, 0, 0, 1, 2, 0, 2, 3, 6]);
    }

    #[test]
    fn a_bucket_is_filled_with_tokens_of_no_text_and_texts_without_tokens() {
        let mut plan = BatchPlan::default();
        let bucket = Bucket { tokens: 6, rows: 4 };
        plan.lay_out(&[7, 8, 9], &[0, 1, 3], 10, 5, Some(bucket)).unwrap();
        assert_eq!((plan.tiles, plan.tokens, plan.rows), (4, 6, 4));
        let tiles = [[0, 1, 0, 0], [1, 2, 0, 0], [0; 4], [0; 4]].concat();
        let (tokens, places, offsets) = ([7, 8, 9, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 1, 3, 3, 3]);
        assert_eq!(plan.words, [&tiles[..], &tokens, &places, &offsets].concat());
    }

    #[test]
    fn buckets_are_few_and_hold_their_batches() {
        let mut all = std::collections::HashSet::new();
        for tokens in 1..=Bucket::TOKENS_MAX {
            for rows in [1, 2, 3, tokens / 30 + 1, tokens].into_iter().filter(|rows| *rows <= tokens) {
                let bucket = Bucket::of(tokens, rows, usize::MAX).unwrap();
                assert!(bucket.tokens >= tokens && bucket.rows >= rows && bucket.rows <= bucket.tokens);
                assert!(tokens < 64 || bucket.tokens <= tokens + tokens / 4, "{tokens} in {bucket:?}");
                all.insert(bucket.tokens);
            }
        }
        assert!(all.len() < 40, "{}", all.len());
        assert_eq!(Bucket::of(Bucket::TOKENS_MAX + 1, 1, usize::MAX), None);
        assert_eq!(Bucket::of(100, 1, 100), None, "128 do not fit");
    }

    #[test]
    fn a_batch_that_names_what_is_not_there_is_refused() {
        let mut plan = BatchPlan::default();
        let mut refused = |tokens: &[u32], offsets: &[usize]| plan.lay_out(tokens, offsets, 10, 3, None).is_err();
        assert!(refused(&[10], &[0, 1]), "a token outside the vocabulary");
        assert!(refused(&[1; 4], &[0, 4]), "longer than the positions");
        assert!(refused(&[1, 1], &[0, 1]), "offsets that end early");
        assert!(refused(&[1, 1], &[1, 2]), "offsets that begin late");
        assert!(refused(&[1, 1], &[0, 2, 2]), "an empty text");
        assert!(refused(&[1, 1], &[0, 2, 1, 2]), "offsets that fall");
        assert!(refused(&[], &[0]) && refused(&[], &[]), "nothing");
        assert!(!refused(&[1, 9, 0], &[0, 3]));
    }

    fn kind(has_hopper: bool) -> DeviceKind {
        DeviceKind { arithmetic: Arithmetic::Bf16, has_hopper, multiprocessors: 132 }
    }

    #[test]
    fn large_tiles_wait_until_every_multiprocessor_has_one() {
        let chosen = |has_hopper, size| tiling(kind(has_hopper), size);
        assert_eq!(chosen(false, [25, 1152, 384]), Tiling::Small);
        assert_eq!(chosen(false, [1792, 1152, 384]), Tiling::Small, "9 x 14 = 126 blocks");
        assert_eq!(chosen(false, [1793, 1152, 384]), Tiling::Large);
        assert_eq!(chosen(true, [2688, 1152, 384]), Tiling::HopperSmall, "6 x 21 = 126 blocks");
        assert_eq!(chosen(true, [2689, 1152, 384]), Tiling::HopperResident);
        assert_eq!(chosen(true, [2689, 1152, 392]), Tiling::HopperLarge, "too many inputs to stay");
        assert_eq!(chosen(true, [2689, 1024, 384]), Tiling::HopperLarge, "192 does not divide it");
        let f32 = DeviceKind { arithmetic: Arithmetic::F32, ..kind(true) };
        assert_eq!(tiling(f32, [100_000, 1152, 384]), Tiling::Small);
    }

    #[test]
    fn blocks_cover_the_product() {
        let shape = |tiling, size| projection(tiling, kind(true), size);
        assert_eq!(shape(Tiling::Small, [25, 1152]).grid, [18, 1, 1]);
        assert_eq!(shape(Tiling::Large, [1793, 1152]).grid, [9, 15, 1]);
        assert_eq!(shape(Tiling::Large, [100_000, 1]).grid, [1, 782, 1]);
        assert_eq!(shape(Tiling::HopperLarge, [129, 200]).grid, [2, 2, 1]);
        assert_eq!(shape(Tiling::HopperResident, [129, 384]).grid, [4, 1, 1]);
        assert_eq!(shape(Tiling::HopperResident, [100_000, 384]).grid, [132, 1, 1], "each has many tiles");
    }

    #[test]
    fn blocks_fit_a_multiprocessor_as_many_as_are_meant_to() {
        const BYTES: u32 = 227 * 1024;
        for tiling in Tiling::of(Arithmetic::Bf16, true) {
            let together = if *tiling == Tiling::HopperResident { 1 } else { 2 };
            assert!(projection(*tiling, kind(true), [1, 192]).shared_bytes * together <= BYTES, "{tiling:?}");
        }
        let shapes = hopper_shapes();
        assert!(shapes.iter().all(|shape| shape.shared_bytes <= BYTES));
        assert!(Kernel::HOPPER.iter().all(|kernel| shapes.iter().any(|shape| shape.kernel == *kernel)));
    }

    #[test]
    fn blocks_have_several_heads_where_there_are_tiles_enough() {
        let each = |tiles, heads| attention(kind(false), tiles, heads, 32).map(|(shape, each)| (shape.grid[1], each));
        assert_eq!(each(1, 12), Some((12, 1)));
        assert_eq!(each(512, 12), Some((4, 3)), "2,048 blocks, where 4 heads would leave 1,536 of 1,584");
        assert_eq!(each(10_000, 12), Some((3, 4)));
        assert_eq!(each(10_000, 5), Some((5, 1)));
        assert!(attention(kind(false), 1, 12, 48).is_none());
    }

    #[test]
    fn product_and_norm_are_one_kernel_where_there_are_rows_enough() {
        let shape = |has_hopper, size| project_norm(kind(has_hopper), size).map(|shape| shape.grid[0]);
        assert_eq!(shape(true, [8449, 384, 1536]), Some(67));
        assert_eq!(shape(true, [8320, 384, 1536]), None, "65 blocks for 132 multiprocessors");
        assert_eq!(shape(true, [8449, 384, 128]), None, "fewer slices than stages");
        assert_eq!(shape(true, [8449, 768, 1536]), None);
        assert_eq!(shape(false, [8449, 384, 1536]), None);
    }

    #[test]
    fn models_without_a_kernel_are_refused_by_the_size_that_is_wrong() {
        assert_eq!(check_widths(384, 12, 1536), Ok(()));
        assert_eq!(check_widths(1024, 16, 4096), Ok(()));
        for (widths, named) in [
            ((400, 12, 1536), "12 heads in a width of 400"),
            ((384, 8, 1536), "8 heads in a width of 384"),
            ((2048, 16, 8192), "a width of 2048"),
            ((384, 12, 1530), "an inner width of 1530"),
            ((0, 0, 0), "0 heads"),
        ] {
            let refused = check_widths(widths.0, widths.1, widths.2).unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
