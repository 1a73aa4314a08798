//! Exact top-k by inner product on a device: the same items, scores and order that a scan in f32 on the CPU gives.
//!
//! ```text
//! ItemTable (items in bf16 and f32, shared) -> TopkWorker (a stream and its memory, one a thread) -> search
//! ```
//!
//! Every item is screened on tensor cores in bf16; `kernels/cuda/topk.cuh` has the passes and why they lose nobody,
//! [`bounds`] how wrong the screen can be. A filter is a list of the items that it allows, made on the device from a bitmap, so
//! that a scan costs what it looks at. The alternatives: a matrix of scores and a selection behind it, which waits for the
//! memory that it writes; and approximate indexes, which lose items.
//!
//! Items are laid out in an order of which every part is like the whole: a prefix is a sample, and neighbours that are alike
//! are far apart.

mod bounds;
mod guarded;
mod plan;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::ffi::CStr;

pub use guarded::{GuardedItems, Items};
pub use plan::{TOPK_MAX, TOPK_QUERIES_MAX, TOPK_WANTED_MAX, TOPK_WIDTH_MAX};
pub use table::ItemTable;
pub use worker::{Found, TopkPass, TopkQuery, TopkWorker};

/// What a row is called that is none: at its place there is no item.
pub const NO_ROW: u32 = u32::MAX;

/// The kernels of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopkKernel {
    Prepare,
    List,
    Threshold,
    Narrow,
    Score,
    Finish,
    Screen64,
    Screen128,
    Screen256,
    Screen384,
    Screen512,
    Screen768,
    ScreenFew64,
    ScreenFew128,
    ScreenFew256,
    ScreenFew384,
    ScreenFew512,
    ScreenFew768,
}

impl TopkKernel {
    pub(super) const ALL: [Self; 18] = [
        Self::Prepare,
        Self::List,
        Self::Threshold,
        Self::Narrow,
        Self::Score,
        Self::Finish,
        Self::Screen64,
        Self::Screen128,
        Self::Screen256,
        Self::Screen384,
        Self::Screen512,
        Self::Screen768,
        Self::ScreenFew64,
        Self::ScreenFew128,
        Self::ScreenFew256,
        Self::ScreenFew384,
        Self::ScreenFew512,
        Self::ScreenFew768,
    ];

    pub(super) fn c_name(self) -> &'static CStr {
        match self {
            Self::Prepare => c"topk_prepare",
            Self::List => c"topk_list",
            Self::Threshold => c"topk_threshold",
            Self::Narrow => c"topk_narrow",
            Self::Score => c"topk_score",
            Self::Finish => c"topk_finish",
            Self::Screen64 => c"screen_64",
            Self::Screen128 => c"screen_128",
            Self::Screen256 => c"screen_256",
            Self::Screen384 => c"screen_384",
            Self::Screen512 => c"screen_512",
            Self::Screen768 => c"screen_768",
            Self::ScreenFew64 => c"screen_few_64",
            Self::ScreenFew128 => c"screen_few_128",
            Self::ScreenFew256 => c"screen_few_256",
            Self::ScreenFew384 => c"screen_few_384",
            Self::ScreenFew512 => c"screen_few_512",
            Self::ScreenFew768 => c"screen_few_768",
        }
    }
}
