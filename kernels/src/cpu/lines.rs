//! How products lay out their operands: in cache lines, one layout for every precision and instruction set.
//!
//! The narrow dot-product instructions (`vpdpbusd`, `vdpbf16ps`, `vpmaddubsw`, and the tile products of AMX) all multiply
//! groups of 4 bytes, four int8 values or two bf16 values that are neighbours along the summed dimension, and add each
//! group to one 32-bit sum. An f32 is such a group by itself. So both operands are cut into 4-byte groups:
//!
//! * **Rows** (activations) keep their groups in order, 16 to a line; a kernel broadcasts one group to all lanes. Rows lie
//!   an odd number of lines apart, because 16 rows at a power-of-two distance would share one set of the first-level cache.
//! * **Panels** (weights) hold 16 output columns side by side: line `g` of a panel is group `g` of its 16 columns. That is
//!   one AVX-512 register, two AVX2 registers, or one row of an AMX tile.
//!
//! Both are padded with zeros to whole lines of rows (16 groups), so no kernel has a tail along the summed dimension. The
//! cost is at most 63 bytes a row; the alternative, a layout per instruction set, would need every packer and every test
//! three times over.

/// Columns in a panel, and 4-byte groups in a line.
pub(crate) const LANES: usize = 16;

/// Row blocks of the AMX kernels read this many rows at once, so storage for rows is padded to a multiple of it.
pub(crate) const ROW_PADDING: usize = 32;

/// 64 bytes at a 64-byte boundary: a cache line, an AVX-512 register, a row of an AMX tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

impl Line {
    pub(crate) const ZERO: Line = Line([0; 64]);
}

/// Numbers that rows are made of.
///
/// # Safety
/// Any bytes must be a valid value, and the alignment at most that of [`Line`].
pub(crate) unsafe trait Element: Copy {
    const ZERO: Self;
}

// SAFETY: all three are plain numbers.
unsafe impl Element for u8 {
    const ZERO: u8 = 0;
}
// SAFETY: as above.
unsafe impl Element for u16 {
    const ZERO: u16 = 0;
}
// SAFETY: as above.
unsafe impl Element for f32 {
    const ZERO: f32 = 0.0;
}

/// The elements of a run of lines.
pub(crate) fn elements<T: Element>(lines: &[Line]) -> &[T] {
    // SAFETY: these are all bytes of `lines`, valid as elements and aligned for them.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines) / size_of::<T>()) }
}

/// The elements of a run of lines, to be written.
pub(crate) fn elements_mut<T: Element>(lines: &mut [Line]) -> &mut [T] {
    // SAFETY: as in `elements`; any elements are valid bytes, and the borrow is passed on.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines) / size_of::<T>()) }
}

/// So many zero lines. A product streams its weights, and pages of 4 KiB cost it 4 to 8% where a text comes alone.
fn zeros(count: usize) -> Vec<Line> {
    let mut lines = huge_vec(count);
    lines.resize(count, Line::ZERO);
    lines
}

/// An empty vector with room for `capacity` values, in huge pages where that is large: for what is read in many places, each
/// of which would miss the address cache with pages of 4 KiB. Linux gives none unasked by default.
pub fn huge_vec<T>(capacity: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(capacity);
    #[cfg(target_os = "linux")]
    ask_for_huge_pages(values.spare_capacity_mut());
    values
}

/// Must come before the first write, which is when the system chooses. Its refusal changes nothing but speed.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    const HUGE_PAGE_BYTES: usize = 2 << 20;
    if size_of_val(memory) < HUGE_PAGE_BYTES {
        return;
    }
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1 << 12);
    let range = memory.as_mut_ptr_range();
    // The pages at both ends are ours in part; a huge page needs them whole.
    let (start, end) = (range.start.addr() / page * page, range.end.addr().next_multiple_of(page));
    // SAFETY: the pages are mapped, since each holds a part of `memory`, and the advice leaves their contents alone.
    unsafe { libc::madvise(range.start.with_addr(start).cast(), end - start, libc::MADV_HUGEPAGE) };
}

/// Asks for a cache line that will be read soon.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and does not fault; part of every x86-64 processor.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(place).cast());
    }
}

/// Asks for a cache line that will be written soon.
#[inline(always)]
pub(crate) fn prefetch_for_writing<T>(place: &T) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`; a processor that does not know the hint does nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(std::ptr::from_ref(place).cast());
    }
}

/// Activations: `rows` rows of `depth` lines each, reusable without allocation once it has grown to need.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowLines {
    lines: Vec<Line>,
    rows: usize,
    depth: usize,
}

impl RowLines {
    /// Makes room for `rows` rows of `row_bytes` bytes. The contents are unspecified until each row has been written.
    pub(crate) fn resize(&mut self, rows: usize, row_bytes: usize) {
        self.rows = rows;
        self.depth = row_bytes.div_ceil(size_of::<Line>());
        let needed = rows.next_multiple_of(ROW_PADDING) * self.stride();
        if self.lines.len() < needed {
            self.lines.resize(needed, Line::ZERO);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Lines that hold the values of one row.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Lines from the start of one row to the start of the next: odd.
    pub(crate) fn stride(&self) -> usize {
        self.depth | 1
    }

    /// Bytes held, used or not.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    /// The lines of one row.
    pub(crate) fn row(&self, row: usize) -> &[Line] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.lines[row * self.stride()..][..self.depth]
    }

    /// The first `count` elements of one row, to be written; the zero padding behind them is already in place.
    pub(crate) fn row_mut<T: Element>(&mut self, row: usize, count: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let start = row * self.stride();
        let (values, padding) = elements_mut(&mut self.lines[start..][..self.depth]).split_at_mut(count);
        padding.fill(T::ZERO);
        values
    }

    /// All lines from the start of `row` on, for a kernel that reads up to `count` rows from there. `count` may reach past
    /// the last row up to the next multiple of [`ROW_PADDING`]: there lie allocated lines whose contents mean nothing.
    pub(crate) fn rows_from(&self, row: usize, count: usize) -> &[Line] {
        &self.lines[row * self.stride()..][..count * self.stride()]
    }
}

/// Weights: panels of [`LANES`] columns, each `depth` lines long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    lines: Vec<Line>,
    depth: usize,
}

impl Panels {
    /// Packs a matrix of `out_features` x `in_features` elements of `N` bytes, each one as `element(column, k)` gives it.
    pub(crate) fn pack<const N: usize>(
        out_features: usize,
        in_features: usize,
        element: impl Fn(usize, usize) -> [u8; N],
    ) -> Self {
        let group = 4 / N;
        let panels = out_features.div_ceil(LANES);
        let depth = in_features.div_ceil(group).next_multiple_of(LANES);
        let mut lines = zeros(panels * depth);
        for column in 0..out_features {
            let panel = &mut lines[column / LANES * depth..][..depth];
            for k in 0..in_features {
                let at = column % LANES * 4 + k % group * N;
                panel[k / group].0[at..at + N].copy_from_slice(&element(column, k));
            }
        }
        Panels { lines, depth }
    }

    /// Replaces the columns by these of other panels. What the last panel has beyond them means nothing.
    pub(crate) fn gather(&mut self, from: &Panels, columns: &[u32]) {
        let depth = from.depth;
        self.depth = depth;
        self.lines.resize(columns.len().div_ceil(LANES) * depth, Line::ZERO);
        for (place, column) in columns.iter().map(|&column| column as usize).enumerate() {
            let to = elements_mut::<f32>(&mut self.lines[place / LANES * depth..][..depth]);
            let groups = elements::<f32>(&from.lines[column / LANES * depth..][..depth]);
            let groups = groups.as_chunks::<LANES>().0.iter().map(|line| line[column % LANES]);
            to.as_chunks_mut::<LANES>().0.iter_mut().zip(groups).for_each(|(line, group)| line[place % LANES] = group);
        }
    }

    /// How many panels.
    pub(crate) fn count(&self) -> usize {
        self.lines.len().checked_div(self.depth).unwrap_or(0)
    }

    /// Lines in a panel: a multiple of [`LANES`].
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// The lines of `count` neighbouring panels, one panel after the other.
    pub(crate) fn panels_from(&self, panel: usize, count: usize) -> &[Line] {
        &self.lines[panel * self.depth..][..count * self.depth]
    }
}
