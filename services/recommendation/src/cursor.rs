//! Where a feed goes on: the cursor itself says what was served, so that every replica understands it, nothing has to be
//! kept, and no item comes twice whatever happens meanwhile.
//!
//! An item is named by the hash of its id. A cursor that somebody made up hides items from himself and from nobody else;
//! its checksum only tells him that it was cut or changed.

use attune_api::{ApiError, ErrorCode};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Items of one feed; the page that reaches it is the last.
pub const FEED_ITEMS_MAX: usize = 2_000;
const VERSION: u8 = 1;

/// What a feed has served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Hashes of the items.
    pub hashes: Vec<u64>,
}

impl Served {
    /// As text for the client.
    pub fn cursor(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// From the text.
    ///
    /// # Errors
    /// It is none that this server gave.
    pub fn parse(cursor: &str) -> Result<Self, ApiError> {
        let wrong = || {
            let detail = "the cursor is not one that this server gave: begin again without";
            ApiError::at(ErrorCode::Invalid, "/cursor", detail)
        };
        let bytes_max = 1 + 8 * FEED_ITEMS_MAX + 4;
        if cursor.len() > bytes_max * 4 / 3 + 4 {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
        let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or_else(wrong)?;
        let hashes = match bytes {
            [VERSION, hashes @ ..] if *sum == crc32fast::hash(bytes).to_le_bytes() => hashes,
            _ => return Err(wrong()),
        };
        let (hashes, rest) = hashes.as_chunks::<8>();
        let fits = rest.is_empty() && hashes.len() <= FEED_ITEMS_MAX;
        let hashes = hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        fits.then_some(Self { hashes }).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_a_changed_one_does_not() {
        let served = Served { hashes: (0..500).map(|number| number << 40 | 7).collect() };
        let cursor = served.cursor();
        assert_eq!(Served::parse(&cursor).unwrap(), served);
        assert_eq!(Served::parse(&Served::default().cursor()).unwrap(), Served::default());
        let changed = cursor.replacen('A', "B", 1);
        let long = Served { hashes: vec![1; FEED_ITEMS_MAX + 1] }.cursor();
        for wrong in ["", "x", "AQ", &cursor[1..], &cursor[..40], &changed, &long, "ö", &"A".repeat(1 << 20)] {
            assert_eq!(Served::parse(wrong).unwrap_err().fields[0].pointer, "/cursor", "{wrong:.40}");
        }
    }
}
