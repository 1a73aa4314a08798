//! How an object lies in a file: its bytes, then a checksum for each block of them, then a tail.
//!
//! The bytes stand at the beginning, so that a range is read where it is; the checksums are by block, so that a range
//! can be checked without reading the rest. The tail comes last because only then all is known; a file without a whole
//! one is no object.
//!
//! | bytes | of the tail |
//! |---|---|
//! | 0..8 | `AtObject` |
//! | 8..12 | the format |
//! | 12..16 | bytes of a block |
//! | 16..24 | bytes of the object |
//! | 24..32 | when it was put, milliseconds since 1970 |
//! | 32..48 | its version, drawn at random |
//! | 48..52 | CRC-32 of the blocks' checksums |
//! | 52..56 | CRC-32 of the bytes above |

use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::embedded::disk::{ReadFile, WriteFile};

/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"AtObject";
const BLOCK_BYTES: usize = 64 << 10;
const TAIL_BYTES: usize = 56;

/// What the tail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) bytes: u64,
    pub(super) modified_ms: i64,
    pub(super) version: u128,
    blocks_crc: u32,
}

impl Tail {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((BLOCK_BYTES as u32).to_le_bytes());
        bytes.extend(self.bytes.to_le_bytes());
        bytes.extend(self.modified_ms.to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.blocks_crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the tail of a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where it is damaged, [`io::ErrorKind::Unsupported`] where it is too new.
    pub(super) fn read(file: &dyn ReadFile) -> io::Result<Self> {
        let length = file.bytes()?;
        let at = length.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged("it has no tail"))?;
        let mut tail = [0; TAIL_BYTES];
        let read = file.read_at(&mut tail, at)?;
        let u32_at = |at: usize| u32::from_le_bytes(tail[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(tail[at..at + 8].try_into().expect("eight bytes"));
        if read < TAIL_BYTES || tail[..8] != MAGIC || u32_at(52) != crc32fast::hash(&tail[..52]) {
            return Err(damaged("its tail is damaged"));
        }
        if u32_at(8) > FORMAT {
            let detail = format!("it has format {}, this program reads up to {FORMAT}: start the newer one", u32_at(8));
            return Err(io::Error::new(io::ErrorKind::Unsupported, detail));
        }
        let found = Self {
            bytes: u64_at(16),
            modified_ms: u64_at(24) as i64,
            version: u128::from_le_bytes(tail[32..48].try_into().expect("sixteen bytes")),
            blocks_crc: u32_at(48),
        };
        let expected = found.bytes.checked_add(4 * blocks(found.bytes));
        if expected == Some(at) { Ok(found) } else { Err(damaged("its length is wrong")) }
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64)
}

fn damaged(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

/// A file that is becoming an object.
pub(super) struct Draft {
    file: Box<dyn WriteFile>,
    /// Bytes so far.
    pub(super) bytes: u64,
    sums: Vec<u8>,
    block: crc32fast::Hasher,
}

impl Draft {
    pub(super) fn new(file: Box<dyn WriteFile>) -> Self {
        Self { file, bytes: 0, sums: Vec::new(), block: crc32fast::Hasher::new() }
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        let mut rest = piece;
        while !rest.is_empty() {
            let room = BLOCK_BYTES - (self.bytes % BLOCK_BYTES as u64) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.update(now);
            self.bytes += now.len() as u64;
            if now.len() == room {
                self.end_block();
            }
            rest = later;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.sums.extend(block.finalize().to_le_bytes());
    }

    /// Ends the file, and returns when it is on the disk.
    pub(super) fn finish(mut self, modified_ms: i64, version: u128) -> io::Result<Tail> {
        if !self.bytes.is_multiple_of(BLOCK_BYTES as u64) {
            self.end_block();
        }
        let tail = Tail { bytes: self.bytes, modified_ms, version, blocks_crc: crc32fast::hash(&self.sums) };
        self.sums.extend(tail.encode());
        self.file.write_all(&self.sums)?;
        self.file.sync()?;
        Ok(tail)
    }
}

/// The checksums of the blocks of a file.
pub(super) fn read_sums(file: &dyn ReadFile, tail: &Tail) -> io::Result<Vec<u8>> {
    let mut sums = vec![0; 4 * blocks(tail.bytes) as usize];
    let read = file.read_at(&mut sums, tail.bytes)?;
    if read == sums.len() && crc32fast::hash(&sums) == tail.blocks_crc {
        return Ok(sums);
    }
    Err(damaged("the checksums of its blocks are damaged"))
}

/// Reads and checks the bytes of a range that is not empty, up to about `most` of them.
pub(super) fn read_piece(
    file: &dyn ReadFile,
    tail: &Tail,
    sums: &[u8],
    range: Range<u64>,
    most: usize,
) -> io::Result<Bytes> {
    let block = BLOCK_BYTES as u64;
    let first = range.start / block;
    let last = range.end.min(range.start + most as u64).div_ceil(block);
    let (from, to) = (first * block, (last * block).min(tail.bytes));
    let mut bytes = vec![0; (to - from) as usize];
    if file.read_at(&mut bytes, from)? < bytes.len() {
        return Err(damaged("it is shorter than its tail says"));
    }
    for (place, bytes) in bytes.chunks(BLOCK_BYTES).enumerate() {
        let sum = &sums[4 * (first as usize + place)..][..4];
        if *sum != crc32fast::hash(bytes).to_le_bytes() {
            let at = from + (place * BLOCK_BYTES) as u64;
            return Err(damaged(&format!("its bytes {at} to {} are damaged", at + bytes.len() as u64)));
        }
    }
    let bytes = Bytes::from(bytes);
    Ok(bytes.slice((range.start - from) as usize..(range.end.min(to) - from) as usize))
}
