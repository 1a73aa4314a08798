//! Reads the frames of a file one after the other, and finds its way over damaged bytes to the next one.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::frame::{HEAD_BYTES, Head, MARK};
use crate::embedded::disk::ReadFile;

/// How much is read at once. Frames are slices of it, without a copy.
const CHUNK_BYTES: usize = 256 << 10;

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Step {
    /// A frame whose checksums are right, and where it begins.
    Frame(u64, Head, Bytes),
    /// Bytes that are none, and the sequence numbers they must have held, where that is known.
    Damaged(Range<u64>, Option<Range<u64>>),
    /// The end of what may be read.
    End,
}

/// A place in a file.
pub(super) struct Scan {
    file: Box<dyn ReadFile>,
    at: u64,
    /// The sequence number that comes next when nothing is missing.
    expected: u64,
    chunk: Bytes,
    chunk_at: u64,
}

impl Scan {
    /// Starts at a place where a frame begins, which holds the event `expected`.
    pub(super) fn new(file: Box<dyn ReadFile>, at: u64, expected: u64) -> Self {
        Self { file, at, expected, chunk: Bytes::new(), chunk_at: 0 }
    }

    /// Steps over one frame, or over damage; nothing at `end` or behind it is looked at. Bodies of frames that end
    /// before the event `from` are not read, and come back empty.
    pub(super) fn step(&mut self, end: u64, from: u64) -> io::Result<Step> {
        let start = self.at;
        if start >= end {
            return Ok(Step::End);
        }
        let Some(head) = self.head(start, end)? else { return self.step_over_damage(end) };
        let body_at = start + HEAD_BYTES as u64;
        let after = body_at + u64::from(head.body_bytes);
        if after > end {
            return self.step_over_damage(end);
        }
        let is_skipped = head.next() <= from;
        let body = if is_skipped { Bytes::new() } else { self.bytes(body_at, head.body_bytes as usize, end)? };
        self.at = after;
        self.expected = head.next();
        if is_skipped || (body.len() == head.body_bytes as usize && crc32fast::hash(&body) == head.body_crc) {
            return Ok(Step::Frame(start, head, body));
        }
        Ok(Step::Damaged(start..after, Some(head.first..head.next())))
    }

    fn step_over_damage(&mut self, end: u64) -> io::Result<Step> {
        let start = self.at;
        let found = self.find_head(start + 1, end)?;
        self.at = found.map_or(end, |(at, _)| at);
        let lost = found.map(|(_, head)| self.expected..head.first.max(self.expected));
        Ok(Step::Damaged(start..self.at, lost.filter(|lost| !lost.is_empty())))
    }

    /// The next place that holds a head, behind the sequence numbers that were read.
    fn find_head(&mut self, mut from: u64, end: u64) -> io::Result<Option<(u64, Head)>> {
        while from + (HEAD_BYTES as u64) <= end {
            let bytes = self.bytes(from, CHUNK_BYTES.min((end - from) as usize), end)?;
            if bytes.len() < HEAD_BYTES {
                return Ok(None);
            }
            let last = bytes.len() - HEAD_BYTES;
            let marks = (0..=last).filter(|&at| bytes[at..at + MARK.len()] == MARK);
            let heads = marks.filter_map(|at| Some((from + at as u64, Head::decode(&bytes[at..])?)));
            // A payload may hold a frame of old.
            if let Some(found) = heads.into_iter().find(|(_, head)| head.first >= self.expected) {
                return Ok(Some(found));
            }
            from += last as u64 + 1;
        }
        Ok(None)
    }

    fn head(&mut self, at: u64, end: u64) -> io::Result<Option<Head>> {
        if at + HEAD_BYTES as u64 > end {
            return Ok(None);
        }
        Ok(Head::decode(&self.bytes(at, HEAD_BYTES, end)?))
    }

    /// So many bytes from a place on, which all lie before `end`; fewer at the end of the file. What is behind `end`
    /// may be half written now and whole the next time: it is not kept.
    fn bytes(&mut self, at: u64, length: usize, end: u64) -> io::Result<Bytes> {
        let chunk = self.chunk_at..self.chunk_at + self.chunk.len() as u64;
        if at < chunk.start || at + length as u64 > chunk.end {
            let mut bytes = vec![0; length.max(CHUNK_BYTES.min((end - at) as usize))];
            let read = self.file.read_at(&mut bytes, at)?;
            bytes.truncate(read);
            (self.chunk, self.chunk_at) = (bytes.into(), at);
        }
        let from = (at - self.chunk_at) as usize;
        Ok(self.chunk.slice(from.min(self.chunk.len())..(from + length).min(self.chunk.len())))
    }
}
