//! The bytes of a text file, unpacked where it is gzip, and how far into the file they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 1 << 18;

/// Longest row of a text file in bytes: the longest text with many of its characters escaped, and more columns.
pub const ROW_BYTES_MAX: usize = 4 << 20;

/// A text file that is read once, from its beginning.
pub(super) struct TextFile {
    inner: Box<dyn BufRead + Send>,
    file_bytes: Arc<AtomicU64>,
}

impl TextFile {
    /// Opens a file; `.gz` is unpacked while it is read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file_bytes = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: File::open(path)?, bytes: Arc::clone(&file_bytes) };
        let plain = BufReader::with_capacity(BUFFER_BYTES, counting);
        let inner: Box<dyn BufRead + Send> = match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz")) {
            true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(plain))),
            false => Box::new(plain),
        };
        Ok(Self { inner, file_bytes })
    }

    /// Bytes read of the file, packed ones where it is packed.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }
}

impl Read for TextFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for TextFile {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
    }
}

struct Counting<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// What [`read_line`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole,
    /// A line of more than [`ROW_BYTES_MAX`] bytes, skipped.
    TooLong,
    /// Nothing more.
    End,
}

/// Reads the next line into `line`, never more of it than [`ROW_BYTES_MAX`].
pub(super) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let (mut is_too_long, mut is_there) = (false, false);
    loop {
        let chunk = input.fill_buf()?;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        is_there |= !chunk.is_empty();
        is_too_long |= line.len() + part.len() > ROW_BYTES_MAX;
        if !is_too_long {
            line.extend_from_slice(part);
        }
        let (used, is_last) = (part.len() + usize::from(end.is_some()), end.is_some() || chunk.is_empty());
        input.consume(used);
        if is_last {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(match (is_there, is_too_long) {
        (false, _) => Line::End,
        (true, true) => Line::TooLong,
        (true, false) => Line::Whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_either_kind_of_end_and_at_the_last() {
        let mut input = BufReader::with_capacity(3, &b"one\r\n\ntwo two two\nlast"[..]);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while read_line(&mut input, &mut line).unwrap() == Line::Whole {
            lines.push(String::from_utf8(line.clone()).unwrap());
        }
        assert_eq!(lines, ["one", "", "two two two", "last"]);
    }

    #[test]
    fn a_line_that_is_too_long_takes_no_memory_and_the_next_one_is_read() {
        let long = io::repeat(b'x').take(3 * ROW_BYTES_MAX as u64);
        let mut input = BufReader::new(long.chain(&b"\nshort\n"[..]));
        let mut line = Vec::new();
        assert_eq!(read_line(&mut input, &mut line).unwrap(), Line::TooLong);
        assert!(line.capacity() <= 2 * ROW_BYTES_MAX);
        assert_eq!(read_line(&mut input, &mut line).unwrap(), Line::Whole);
        assert_eq!(line, b"short");
        assert_eq!(read_line(&mut input, &mut line).unwrap(), Line::End);
    }
}
