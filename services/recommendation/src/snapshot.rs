//! The state as a file, with the places of the log that it goes up to: written whole or not at all, checked when it is
//! read. What is wrong with one costs a replay, no more.
//!
//! ```text
//! "attunerec4"  CRC-32 of the rest, u32 little endian  fingerprint, u64 little endian  state (postcard)
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use postcard::{Deserializer, de_flavors, ser_flavors};
use serde::Deserialize;

use crate::fold::{Rules, State};

const MAGIC: &[u8] = b"attunerec4";
/// What every version of the format begins with.
const KIND: &[u8] = b"attunerec";
const HEAD: usize = MAGIC.len() + 4 + 8;
/// What is written or read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is none.
    #[error("there is none yet")]
    Absent,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// It is cut off, or its bytes have changed.
    #[error("it is damaged")]
    Damaged,
    /// It has another format.
    #[error("another version of the program has written it")]
    Foreign,
    /// Events counted otherwise when it was made.
    #[error("what events are worth has changed since")]
    Outdated,
}

/// Writes a snapshot in the place of a file: after a loss of power the old or the new one is there. It takes a piece of
/// memory and not as much as the state has.
///
/// # Errors
/// The disk's own; the old file is still there then.
pub fn write(path: &Path, state: &State, rules: &Rules) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&[MAGIC, &[0; 4]].concat())?;
    let mut pieces = Pieces::to(file);
    pieces.piece.extend(rules.fingerprint().to_le_bytes());
    let written = postcard::serialize_with_flavor(state, &mut pieces);
    let (file, sum) = pieces.end(written)?;
    file.write_all_at(&sum.to_le_bytes(), MAGIC.len() as u64)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// A file that is written a piece at a time, with the sum of all of them.
struct Pieces {
    file: File,
    piece: Vec<u8>,
    sum: crc32fast::Hasher,
    /// Why it cannot be written, which postcard has no words for.
    fault: Option<io::Error>,
}

impl Pieces {
    fn to(file: File) -> Self {
        Self { file, piece: Vec::with_capacity(PIECE_BYTES), sum: crc32fast::Hasher::new(), fault: None }
    }

    fn put(&mut self) -> io::Result<()> {
        self.sum.update(&self.piece);
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn end(mut self, written: postcard::Result<()>) -> io::Result<(File, u32)> {
        self.fault.take().map_or(Ok(()), Err)?;
        written.map_err(io::Error::other)?;
        self.put()?;
        Ok((self.file, self.sum.finalize()))
    }
}

impl ser_flavors::Flavor for &mut Pieces {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() < PIECE_BYTES {
            return Ok(());
        }
        self.put().map_err(|fault| {
            self.fault = Some(fault);
            postcard::Error::SerializeBufferFull
        })
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads a snapshot that was made by the same rules. It is gone through twice, first for its sum and then for what it says,
/// with a piece of it in memory: the whole of it beside the state would be nearly as large as that.
///
/// # Errors
/// [`SnapshotError`] says why it is of no use.
pub fn read(path: &Path, rules: &Rules) -> Result<State, SnapshotError> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::Absent,
        _ => SnapshotError::Io(error),
    })?;
    let mut head = [0; HEAD];
    file.read_exact(&mut head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Damaged,
        _ => SnapshotError::Io(error),
    })?;
    let (magic, rest) = head.split_at(MAGIC.len());
    let (sum, fingerprint) = rest.split_at(4);
    if magic != MAGIC {
        return Err(if magic.starts_with(KIND) { SnapshotError::Foreign } else { SnapshotError::Damaged });
    }
    if sum != sum_of(fingerprint, &file).map_err(SnapshotError::Io)?.to_le_bytes() {
        return Err(SnapshotError::Damaged);
    }
    if fingerprint != rules.fingerprint().to_le_bytes() {
        return Err(SnapshotError::Outdated);
    }
    file.seek(SeekFrom::Start(HEAD as u64)).map_err(SnapshotError::Io)?;
    let mut pieces = Deserializer::from_flavor(Source::of(file));
    State::deserialize(&mut pieces).map_err(|_| SnapshotError::Damaged)
}

/// The next piece of a file; nothing at its end.
fn next(file: &File, piece: &mut Vec<u8>) -> io::Result<()> {
    piece.clear();
    file.take(PIECE_BYTES as u64).read_to_end(piece).map(drop)
}

/// The sum of some bytes, and of all that a file still has behind them.
fn sum_of(first: &[u8], file: &File) -> io::Result<u32> {
    let (mut sum, mut piece) = (crc32fast::Hasher::new(), Vec::with_capacity(PIECE_BYTES));
    sum.update(first);
    loop {
        next(file, &mut piece)?;
        if piece.is_empty() {
            return Ok(sum.finalize());
        }
        sum.update(&piece);
    }
}

/// A file that is read a piece at a time.
struct Source {
    file: File,
    piece: Vec<u8>,
    /// How much of the piece is taken.
    taken: usize,
    /// What lies in two pieces or more, in one.
    joined: Vec<u8>,
}

impl Source {
    fn of(file: File) -> Self {
        Self { file, piece: Vec::with_capacity(PIECE_BYTES), taken: 0, joined: Vec::new() }
    }

    /// Sees to it that something is left of the piece.
    #[inline]
    fn fill(&mut self) -> postcard::Result<()> {
        if self.taken == self.piece.len() {
            self.taken = 0;
            // What cannot be read is as good as cut off.
            let read = next(&self.file, &mut self.piece);
            if read.is_err() || self.piece.is_empty() {
                return Err(postcard::Error::DeserializeUnexpectedEnd);
            }
        }
        Ok(())
    }
}

impl<'de> de_flavors::Flavor<'de> for Source {
    type Remainder = ();
    type Source = ();

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        self.fill()?;
        self.taken += 1;
        Ok(self.piece[self.taken - 1])
    }

    /// Nothing of a state borrows from where it was read.
    fn try_take_n(&mut self, _: usize) -> postcard::Result<&'de [u8]> {
        Err(postcard::Error::WontImplement)
    }

    #[inline]
    fn try_take_n_temp<'a>(&'a mut self, count: usize) -> postcard::Result<&'a [u8]>
    where
        'de: 'a,
    {
        if count <= self.piece.len() - self.taken {
            self.taken += count;
            return Ok(&self.piece[self.taken - count..self.taken]);
        }
        self.joined.clear();
        while self.joined.len() < count {
            self.fill()?;
            let some = (count - self.joined.len()).min(self.piece.len() - self.taken);
            self.joined.extend_from_slice(&self.piece[self.taken..self.taken + some]);
            self.taken += some;
        }
        Ok(&self.joined)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use attune_api::log::{Event, Record};
    use attune_ranking::data::Worth;

    use super::*;
    use crate::RecommendationConfig;

    #[test]
    fn a_state_comes_back_as_it_was_and_a_changed_byte_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop/state.bin");
        let rules = Rules::new(&RecommendationConfig::default(), Worth::default());
        let mut state = State::new(&rules);
        for number in 0..10_000_u64 {
            let subject = format!("{:032x}", number % 500);
            let (event_id, item_id) = (number.to_string(), Some(format!("i{}", number % 700)));
            let event = Event { event_id, r#type: "click".into(), item_id, time_ms: 1_000, ..Event::default() };
            state.apply(&subject, Record::Event(event), &rules);
        }
        state.advance([(0, 10_000)]);
        assert!(matches!(read(&path, &rules), Err(SnapshotError::Absent)));
        write(&path, &state, &rules).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() > PIECE_BYTES, "more than one piece: {}", bytes.len());
        let put = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path, &rules).unwrap(), state);

        for place in [0, MAGIC.len(), HEAD - 1, HEAD + 3, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 4;
            put(&bytes);
            assert!(matches!(read(&path, &rules), Err(SnapshotError::Damaged)), "{place}");
        }
        for end in [0, MAGIC.len() + 1, HEAD, PIECE_BYTES, bytes.len() - 9] {
            put(&bytes[..end]);
            assert!(matches!(read(&path, &rules), Err(SnapshotError::Damaged)), "{end}");
        }
        let older = [b"attunerec2", &bytes[MAGIC.len()..]].concat();
        put(&older);
        assert!(matches!(read(&path, &rules), Err(SnapshotError::Foreign)));
        put(&bytes);
        let other = Rules::new(&RecommendationConfig::default(), Worth::alike());
        assert!(matches!(read(&path, &other), Err(SnapshotError::Outdated)));
    }
}
