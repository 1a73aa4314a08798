//! The hash that is stored and that cursors and partitions hang on: it must not change.

use std::hash::Hasher;

use fnv::FnvHasher;

/// 64-bit FNV-1a of parts, one after the other, mixed by the finaliser of MurmurHash3: FNV's low bits alone are uneven,
/// and those of names that follow each other are in the names' order.
pub(crate) fn spread<'p>(parts: impl IntoIterator<Item = &'p str>) -> u64 {
    let mut hasher = FnvHasher::default();
    parts.into_iter().for_each(|part| hasher.write(part.as_bytes()));
    let mut hash = hasher.finish();
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
