//! A file of the log, and what is known of it.
//!
//! Its name is the sequence number from which it holds events. It begins with a head (`AtSegmnt`, the format, that
//! number, a CRC-32); frames follow. One that is full has an index beside it, so that a start need not read it: how far
//! it goes, and where every so many bytes a frame begins. An index that is missing or damaged is made again.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::embedded::disk::Disk;

/// Length of a segment's head.
pub(super) const SEGMENT_HEAD_BYTES: u64 = 24;
/// The format of segments and indices that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"AtSegmnt";
const INDEX_MAGIC: [u8; 8] = *b"AtSegIdx";
const INDEX_HEAD_BYTES: usize = 40;
/// A frame is marked when it begins this many bytes behind the last that was. A reader that seeks passes over half as
/// many on average; a mark takes 16 bytes of memory, so 100 GB of log take 6 MB.
const MARK_EVERY_BYTES: u64 = 256 << 10;

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) at: u64,
}

/// How far a segment goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// All bytes before this one are durable and may be read.
    pub(super) bytes: u64,
    /// The sequence number behind its last event.
    pub(super) next: u64,
    /// When its newest event was appended.
    pub(super) newest_ms: i64,
    places: Vec<Place>,
}

impl Extent {
    /// That of a segment without frames.
    pub(super) fn new(base: u64) -> Self {
        Self { bytes: SEGMENT_HEAD_BYTES, next: base, newest_ms: i64::MIN, places: Vec::new() }
    }

    /// Takes in a frame that begins at `at` and ends before `end`.
    pub(super) fn add(&mut self, first: u64, next: u64, at: u64, end: u64, appended_ms: i64) {
        if self.places.last().is_none_or(|last| at >= last.at + MARK_EVERY_BYTES) {
            self.places.push(Place { sequence: first, at });
        }
        (self.bytes, self.next) = (end, next);
        self.newest_ms = self.newest_ms.max(appended_ms);
    }

    /// The last marked frame that begins at or before an event.
    pub(super) fn before(&self, sequence: u64, base: u64) -> Place {
        let behind = self.places.partition_point(|place| place.sequence <= sequence);
        let start = Place { sequence: base, at: SEGMENT_HEAD_BYTES };
        behind.checked_sub(1).map_or(start, |place| self.places[place])
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = INDEX_MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((self.places.len() as u32).to_le_bytes());
        for number in [self.bytes, self.next, self.newest_ms as u64] {
            bytes.extend(number.to_le_bytes());
        }
        for place in &self.places {
            bytes.extend(place.sequence.to_le_bytes());
            bytes.extend(place.at.to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` where this is no index, or a damaged one.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (said, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let is_whole = said.len() >= INDEX_HEAD_BYTES && crc == crc32fast::hash(said).to_le_bytes();
        if !is_whole || said[..8] != INDEX_MAGIC || said[8..12] != FORMAT.to_le_bytes() {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(said[at..at + 8].try_into().expect("eight bytes"));
        let places = said[INDEX_HEAD_BYTES..].chunks_exact(16);
        let number_in = |place: &[u8]| u64::from_le_bytes(place.try_into().expect("eight bytes"));
        let place = |place: &[u8]| Place { sequence: number_in(&place[..8]), at: number_in(&place[8..]) };
        Some(Self {
            bytes: number(16),
            next: number(24),
            newest_ms: number(32) as i64,
            places: places.map(place).collect(),
        })
    }
}

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// The sequence number from which it holds events.
    pub(super) base: u64,
    /// Its path.
    pub(super) name: String,
    extent: Mutex<Extent>,
}

impl Segment {
    pub(super) fn new(folder: &str, base: u64, extent: Extent) -> Self {
        Self { base, name: format!("{folder}/{}", file_name(base)), extent: Mutex::new(extent) }
    }

    pub(super) fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the index. It is checked when it is read, so nobody waits until it is on the disk.
    pub(super) fn write_index(&self, disk: &dyn Disk) -> io::Result<()> {
        let bytes = self.extent().encode();
        disk.create(&index_name(&self.name))?.write_all(&bytes)
    }
}

/// What the index of a segment says; `None` where there is none to be trusted.
pub(super) fn read_index(disk: &dyn Disk, segment: &str) -> io::Result<Option<Extent>> {
    Ok(disk.read(&index_name(segment))?.and_then(|bytes| Extent::decode(&bytes)))
}

/// The index of a segment.
pub(super) fn index_name(segment: &str) -> String {
    format!("{}.index", segment.strip_suffix(".log").unwrap_or(segment))
}

/// The segment from a sequence number on: names in order are segments in order.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// The sequence number in a segment's name; `None` for other files.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits.parse().ok()
}

/// The bytes with which a segment begins.
pub(super) fn head(base: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(base.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The format that a segment's head names; `None` where it is none, or a damaged one.
pub(super) fn format_of(head: &[u8]) -> Option<u32> {
    let (said, crc) = head.split_at_checked(20)?;
    let is_whole = said[..8] == MAGIC && *crc == crc32fast::hash(said).to_le_bytes();
    is_whole.then(|| u32::from_le_bytes(said[8..12].try_into().expect("four bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent() -> Extent {
        let mut extent = Extent::new(10);
        for frame in 0..20 {
            let at = SEGMENT_HEAD_BYTES + frame * 100_000;
            extent.add(10 + frame * 5, 15 + frame * 5, at, at + 100_000, 1_000 + frame as i64);
        }
        extent
    }

    #[test]
    fn an_index_comes_back_and_a_changed_one_does_not() {
        let bytes = extent().encode();
        assert_eq!(Extent::decode(&bytes), Some(extent()));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert_eq!(Extent::decode(&changed), None);
            assert_eq!(Extent::decode(&bytes[..at]), None);
        }
    }

    #[test]
    fn a_place_is_at_or_before_the_event() {
        let extent = extent();
        assert_eq!(extent.before(3, 10), Place { sequence: 10, at: SEGMENT_HEAD_BYTES });
        for sequence in 10..extent.next {
            let place = extent.before(sequence, 10);
            assert!(place.sequence <= sequence && sequence - place.sequence < 15, "{place:?} for {sequence}");
        }
    }

    #[test]
    fn heads_and_names_are_read_as_they_are_written() {
        assert_eq!(format_of(&head(7)), Some(FORMAT));
        assert_eq!(base_of(&file_name(u64::MAX)), Some(u64::MAX));
        for name in ["1.log", "00000000000000000001.index", "x0000000000000000001.log"] {
            assert_eq!(base_of(name), None);
        }
        let mut changed = head(7);
        changed[9] ^= 1;
        assert_eq!(format_of(&changed), None);
    }
}
