//! Items on a device.

use std::sync::Arc;

use super::super::device::Device;
use super::super::memory::{Buffer, Cell, Element};
use super::super::stream::{Stream, StreamSize};
use super::super::{Arithmetic, CudaError};
use super::NO_ROW;
use super::bounds::{Bounds, Rounded, round_rows};
use super::plan::{self, TOPK_WIDTH_MAX};

/// Bytes of f32 rows that are brought into order and sent at a time.
const PIECE_BYTES: usize = 4 << 20;
/// The most items: indices are 32 bits with a sign.
const ITEMS_MAX: usize = 1 << 30;

/// Items that do not change any more, on a device: in bf16 and as levels to be screened, in f32 to be scored. Shared by
/// workers.
#[derive(Debug)]
pub struct ItemTable {
    pub(super) device: Device,
    pub(super) width: usize,
    pub(super) padded: usize,
    pub(super) count: usize,
    /// In bf16, by item rows of `padded` values.
    pub(super) rounded: Buffer<Element>,
    pub(super) rounded_bounds: Bounds,
    /// As levels, by item rows of `padded` values, four a word; and by item, what a level is worth.
    pub(super) levels: Buffer<u32>,
    pub(super) steps: Buffer<f32>,
    pub(super) level_bounds: Bounds,
    /// By item, rows of `width` values.
    pub(super) exact: Buffer<f32>,
    /// By item, what the caller calls it.
    pub(super) rows: Buffer<u32>,
    /// By item, its place in what the table was made from.
    pub(super) places: Buffer<u32>,
    /// By place in what it was made from, a bit each: whether there is an item.
    pub(super) present: Vec<u64>,
}

impl ItemTable {
    /// Puts items on a device: `vectors` by rows of `width` values, which are numbers of a magnitude of 1e15 at most; `rows`
    /// is what the caller calls them, [`NO_ROW`] where there is none.
    ///
    /// # Errors
    /// [`CudaError::NoModule`] where the device has no bf16 or no kernel is as wide as the items;
    /// [`CudaError::Memory`] where they do not fit; else what the device said.
    ///
    /// # Panics
    /// If `vectors` has not a row of `width` values for each of `rows`.
    pub fn new(device: &Device, vectors: &[f32], width: usize, rows: &[u32]) -> Result<Arc<Self>, CudaError> {
        assert_eq!(vectors.len(), rows.len() * width, "vectors: {} x {width}", rows.len());
        let padded = Self::supports(device, width)?;
        let places = in_even_order(rows);
        let count = places.len();
        if count > ITEMS_MAX {
            return Err(CudaError::Capacity { what: "items of a table", asked: count, limit: ITEMS_MAX });
        }
        Self::check_memory(device, count, width)?;
        let row = |item: usize| &vectors[places[item] as usize * width..][..width];
        let mut stream = Stream::open(device, StreamSize { upload_bytes: PIECE_BYTES, ..StreamSize::default() })?;
        let Rounded { values, bounds: rounded_bounds, .. } = round_rows::<u16>(count, width, padded, row);
        let rounded = filled(device, &mut stream, &values, values.len())?;
        drop(values);
        let Rounded { values, steps, bounds: level_bounds } = round_rows::<i8>(count, width, padded, row);
        let levels = filled(device, &mut stream, &values, values.len() / 4)?;
        drop(values);
        let steps = filled(device, &mut stream, &steps, count)?;
        let exact = device.allocate::<f32>(count * width)?;
        let rows_a_piece = (PIECE_BYTES / (4 * width)).max(1);
        let mut piece = Vec::with_capacity(rows_a_piece * width);
        for first in (0..count).step_by(rows_a_piece) {
            piece.clear();
            (first..count.min(first + rows_a_piece)).for_each(|item| piece.extend_from_slice(row(item)));
            stream.fill_at(&exact, first * width * 4, bytes_of(&piece))?;
        }
        let names: Vec<u32> = places.iter().map(|&place| rows[place as usize]).collect();
        let mut present = vec![0_u64; rows.len().div_ceil(64)];
        places.iter().for_each(|&place| present[place as usize / 64] |= 1 << (place % 64));
        let rows = filled(device, &mut stream, &names, count)?;
        let places = filled(device, &mut stream, &places, count)?;
        let device = device.clone();
        Ok(Arc::new(Self {
            device,
            width,
            padded,
            count,
            rounded,
            rounded_bounds,
            levels,
            steps,
            level_bounds,
            exact,
            rows,
            places,
            present,
        }))
    }

    /// Whether so many items fit in what a device has free.
    pub(super) fn check_memory(device: &Device, items: usize, width: usize) -> Result<(), CudaError> {
        let (free, total) = device.memory()?;
        let needed = Self::bytes_of(items, width).unwrap_or(usize::MAX);
        let [needed_mib, free_mib, total_mib] = [needed, free, total].map(|bytes| bytes.div_ceil(1 << 20));
        if needed > free { Err(CudaError::Memory { needed_mib, free_mib, total_mib }) } else { Ok(()) }
    }

    /// Whether a device has kernels for items of `width` values, as the width that they are filled up to.
    fn supports(device: &Device, width: usize) -> Result<usize, CudaError> {
        if device.arithmetic() != Arithmetic::Bf16 {
            return Err(CudaError::NoModule(format!("top-k needs bf16, this device is in {}", device.arithmetic())));
        }
        let none = || CudaError::NoModule(format!("items of {width} values: 1 to {TOPK_WIDTH_MAX} have one"));
        plan::padded(width).ok_or_else(none)
    }

    /// Bytes on the device of so many items of `width` values; `None` when there is no kernel for the width.
    pub fn bytes_of(items: usize, width: usize) -> Option<usize> {
        // In bf16, as levels, in f32; what a level is worth, its row and its place.
        Some(items * (plan::padded(width)? * 3 + width * 4 + 12))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.count
    }

    /// Values an item.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many items the places with a bit are; bits past the last place are none.
    pub(super) fn allowed(&self, bits: &[u64]) -> usize {
        self.present.iter().zip(bits).map(|(present, bits)| (present & bits).count_ones() as usize).sum()
    }
}

fn filled<T: Copy + 'static, C: Cell>(
    device: &Device,
    stream: &mut Stream,
    values: &[T],
    cells: usize,
) -> Result<Buffer<C>, CudaError> {
    let buffer = device.allocate(cells)?;
    stream.fill_at(&buffer, 0, bytes_of(values))?;
    Ok(buffer)
}

/// Plain numbers as bytes.
pub(super) fn bytes_of<T: Copy + 'static>(values: &[T]) -> &[u8] {
    // SAFETY: called with f32, u32, u16 and i8 alone, which are bytes without gaps.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The places that hold items, in an order of which every part is like the whole: by steps of the golden ratio.
fn in_even_order(rows: &[u32]) -> Vec<u32> {
    let taken: Vec<u32> = (0..).zip(rows).filter_map(|(place, &row)| (row != NO_ROW).then_some(place)).collect();
    let count = taken.len();
    let mut step = (count as f64 * 0.618_033_988_749_894_9) as usize;
    while count > 1 && greatest_common_divisor(step.max(1), count) != 1 {
        step += 1;
    }
    let mut at = 0;
    let mut next = || {
        let place = taken[at];
        at = (at + step.max(1)) % count;
        place
    };
    (0..count).map(|_| next()).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_has_every_item_once() {
        for count in [0_u32, 1, 2, 3, 7, 64, 100, 1000, 46_368] {
            let rows: Vec<u32> = (0..count).map(|place| if place % 5 == 4 { NO_ROW } else { place + 7 }).collect();
            let mut order = in_even_order(&rows);
            order.sort_unstable();
            let expected: Vec<u32> = (0..count).filter(|place| place % 5 != 4).collect();
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn a_part_of_the_order_is_like_the_whole() {
        let order = in_even_order(&vec![1; 100_000]);
        for part in order.chunks_exact(1000) {
            let mut quarters = [0; 4];
            part.iter().for_each(|&place| quarters[place as usize / 25_000] += 1);
            assert!(quarters.iter().all(|&count| (245..=255).contains(&count)), "{quarters:?}");
        }
    }

    #[test]
    fn bytes_are_those_of_both_forms() {
        assert_eq!(ItemTable::bytes_of(1_000_000, 128), Some(1_000_000 * (256 + 128 + 512 + 12)));
        assert_eq!(ItemTable::bytes_of(10, 300), Some(10 * (384 * 3 + 300 * 4 + 12)));
        assert_eq!(ItemTable::bytes_of(10, 769), None);
    }
}
