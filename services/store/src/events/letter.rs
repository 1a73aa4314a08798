//! How dead letters are kept, in every backend: as entries of a log of their own, each a letter or the end of one.
//!
//! Letters go one by one, out of order, which a log cannot do. So an end is an entry that names the letter; a reader
//! takes both, and a backend that can compact drops both.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{DeadLetter, DeadLetterPage, NewDeadLetter, Position, REASON_BYTES_MAX};

/// The subject of an entry is the letter's id; its payload is this head as JSON, a line feed, and the letter's payload.
/// An end has no payload at all.
#[derive(Serialize, Deserialize)]
struct Head {
    buried_ms: i64,
    subject: String,
    reason: String,
    origin: Option<(u32, u64)>,
}

/// A new letter's id: its time, then chance, so that ids sort about as letters came.
pub(crate) fn new_id(now_ms: i64) -> String {
    format!("{now_ms:012x}{:016x}", rand::random::<u64>())
}

/// The payload of a letter's entry.
pub(crate) fn encode(letter: &NewDeadLetter, buried_ms: i64) -> Vec<u8> {
    let mut cut = letter.reason.len().min(REASON_BYTES_MAX);
    while !letter.reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let head = Head {
        buried_ms,
        subject: letter.subject.clone(),
        reason: letter.reason[..cut].to_owned(),
        origin: letter.origin.map(|at| (at.partition, at.offset)),
    };
    let mut bytes = serde_json::to_vec(&head).expect("strings and numbers are JSON");
    bytes.push(b'\n');
    bytes.extend_from_slice(&letter.payload);
    bytes
}

fn decode(id: String, entry: &bytes::Bytes) -> Option<DeadLetter> {
    let end = entry.iter().position(|&byte| byte == b'\n')?;
    let head: Head = serde_json::from_slice(&entry[..end]).ok()?;
    let origin = head.origin.map(|(partition, offset)| Position { partition, offset });
    let letter = NewDeadLetter { subject: head.subject, payload: entry.slice(end + 1..), reason: head.reason, origin };
    Some(DeadLetter { id, buried_ms: head.buried_ms, letter })
}

/// Letters that have ended, as far as entries were shown.
#[derive(Default)]
pub(crate) struct Ended(HashSet<String>);

impl Ended {
    /// Looks at one entry.
    pub(crate) fn see(&mut self, id: &str, entry: &[u8]) {
        if entry.is_empty() {
            self.0.insert(id.to_owned());
        }
    }
}

/// Collects a page out of entries in order.
pub(crate) struct Pager {
    ended: Ended,
    limit: usize,
    page: DeadLetterPage,
}

impl Pager {
    /// A page of up to `limit` letters, without those that have ended.
    pub(crate) fn new(ended: Ended, limit: usize) -> Self {
        Self { ended, limit, page: DeadLetterPage { letters: Vec::new(), next: None } }
    }

    /// Takes one entry; false when the page is full and needs no more of them.
    pub(crate) fn take(&mut self, offset: u64, id: &str, entry: &bytes::Bytes) -> bool {
        if entry.is_empty() || self.ended.0.contains(id) {
            return true;
        }
        if self.page.letters.len() == self.limit {
            self.page.next = Some(offset);
            return false;
        }
        self.page.letters.extend(decode(id.to_owned(), entry));
        true
    }

    /// The page.
    pub(crate) fn finish(self) -> DeadLetterPage {
        self.page
    }
}
