//! The state as a file, with the places of the log that it goes up to: written whole or not at all, checked when it is
//! read. What is wrong with one costs a replay, no more.
//!
//! ```text
//! "attunerec3"  CRC-32 of the rest, u32 little endian  fingerprint, u64 little endian  state (postcard)
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::fold::{Rules, State};

const MAGIC: &[u8] = b"attunerec3";
/// What every version of the format begins with.
const KIND: &[u8] = b"attunerec";
const HEAD: usize = MAGIC.len() + 4 + 8;

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

/// The bytes of a snapshot.
pub fn write(state: &State, rules: &Rules) -> Vec<u8> {
    let head = [MAGIC, &[0; 4], &rules.fingerprint().to_le_bytes()].concat();
    let mut bytes = postcard::to_extend(state, head).expect("memory takes all that is written to it");
    let sum = crc32fast::hash(&bytes[MAGIC.len() + 4..]);
    bytes[MAGIC.len()..][..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Puts bytes in the place of a file: after a loss of power the old or the new ones are there.
///
/// # Errors
/// The disk's own; the old file is still there then.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// Reads a snapshot that was made by the same rules.
///
/// # Errors
/// [`SnapshotError`] says why it is of no use.
pub fn read(path: &Path, rules: &Rules) -> Result<State, SnapshotError> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::Absent,
        _ => SnapshotError::Io(error),
    })?;
    if bytes.starts_with(KIND) && !bytes.starts_with(MAGIC) && bytes.len() >= HEAD {
        return Err(SnapshotError::Foreign);
    }
    if bytes.len() < HEAD || !bytes.starts_with(MAGIC) {
        return Err(SnapshotError::Damaged);
    }
    let (sum, rest) = bytes[MAGIC.len()..].split_at(4);
    if sum != crc32fast::hash(rest).to_le_bytes() {
        return Err(SnapshotError::Damaged);
    }
    if rest[..8] != rules.fingerprint().to_le_bytes() {
        return Err(SnapshotError::Outdated);
    }
    postcard::from_bytes(&rest[8..]).map_err(|_| SnapshotError::Damaged)
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
        for number in 0..50_u64 {
            let subject = format!("{:032x}", number % 5);
            let (event_id, item_id) = (number.to_string(), Some(format!("i{}", number % 7)));
            let event = Event { event_id, r#type: "click".into(), item_id, time_ms: 1_000, ..Event::default() };
            state.apply(&subject, Record::Event(event), &rules);
        }
        state.advance([(0, 50)]);
        assert!(matches!(read(&path, &rules), Err(SnapshotError::Absent)));
        let bytes = write(&state, &rules);
        put(&path, &bytes).unwrap();
        assert_eq!(read(&path, &rules).unwrap(), state);

        for place in [0, MAGIC.len(), HEAD - 1, HEAD + 3, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 4;
            put(&path, &bytes).unwrap();
            assert!(matches!(read(&path, &rules), Err(SnapshotError::Damaged)), "{place}");
        }
        put(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert!(matches!(read(&path, &rules), Err(SnapshotError::Damaged)));
        put(&path, &bytes).unwrap();
        let older = [b"attunerec1", &bytes[MAGIC.len()..]].concat();
        put(&path, &older).unwrap();
        assert!(matches!(read(&path, &rules), Err(SnapshotError::Foreign)));
        put(&path, &bytes).unwrap();
        let other = Rules::new(&RecommendationConfig::default(), Worth::alike());
        assert!(matches!(read(&path, &other), Err(SnapshotError::Outdated)));
    }
}
