//! Little-endian values from and into bytes. Nothing is allocated for what the bytes do not hold.

use roaring::RoaringBitmap;
use thiserror::Error;

/// Why bytes are not columns.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Written in a form that this program does not know.
    #[error("attribute columns are of version {version}, this program reads version {known}: build the index anew")]
    Version {
        /// The version found.
        version: u8,
        /// The version that can be read.
        known: u8,
    },
    /// Not what was written.
    #[error("attribute columns are damaged at byte {offset}: {what}; take the index from a copy or build it anew")]
    Damaged {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads from the front of a slice.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, bytes: bytes.len() }
    }

    /// An error at the present place.
    pub(super) fn damaged(&self, what: &'static str) -> DecodeError {
        DecodeError::Damaged { offset: self.bytes - self.rest.len(), what }
    }

    /// Refuses what does not hold.
    pub(super) fn ensure(&self, holds: bool, what: &'static str) -> Result<(), DecodeError> {
        if holds { Ok(()) } else { Err(self.damaged(what)) }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or_else(|| self.damaged("the bytes end too soon"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged("the bytes end too soon"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u32s(&mut self, count: usize) -> Result<Vec<u32>, DecodeError> {
        let bytes = count.checked_mul(size_of::<u32>()).ok_or_else(|| self.damaged("a count is too large"))?;
        let (chunks, _) = self.take(bytes)?.as_chunks();
        Ok(chunks.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect())
    }

    pub(super) fn text(&mut self, bytes: usize) -> Result<&'a str, DecodeError> {
        let taken = self.take(bytes)?;
        std::str::from_utf8(taken).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    /// A set of rows below `rows`, one bit each.
    pub(super) fn rows(&mut self, rows: u32) -> Result<RoaringBitmap, DecodeError> {
        let bytes = self.take(rows.div_ceil(u8::BITS) as usize)?;
        let bit = |row: &u32| (bytes[(row / u8::BITS) as usize] >> (row % u8::BITS)) & 1 == 1;
        let spare = (rows..bytes.len() as u32 * u8::BITS).any(|row| bit(&row));
        self.ensure(!spare, "a row beyond the last has a value")?;
        Ok(RoaringBitmap::from_sorted_iter((0..rows).filter(bit)).expect("rows that rise"))
    }

    pub(super) fn end(&self) -> Result<(), DecodeError> {
        self.ensure(self.rest.is_empty(), "more bytes follow than belong to it")
    }
}

/// Writes a set of rows below `rows` as [`Reader::rows`] reads it.
pub(super) fn put_rows(out: &mut Vec<u8>, set: &RoaringBitmap, rows: u32) {
    let start = out.len();
    out.resize(start + rows.div_ceil(u8::BITS) as usize, 0);
    for row in set {
        out[start + (row / u8::BITS) as usize] |= 1 << (row % u8::BITS);
    }
}

pub(super) fn put_u32s(out: &mut Vec<u8>, values: &[u32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}
