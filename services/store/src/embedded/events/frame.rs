//! How events lie in a file: one frame a batch.
//!
//! | bytes | of the head |
//! |---|---|
//! | 0..4 | `AtFr`, by which a reader that lost its way finds the next frame |
//! | 4..8 | length of the body |
//! | 8..16 | sequence number of the first event |
//! | 16..20 | number of events |
//! | 20..28 | when they were appended, milliseconds since 1970 |
//! | 28..32 | CRC-32 of the body |
//! | 32..36 | CRC-32 of the bytes above: a length is believed only with it |
//!
//! The body is, per event, the length of the subject, the subject, the length of the payload, the payload; lengths are
//! LEB128. All numbers are little-endian. An event without a subject holds a place and nothing else, which is what
//! erasure leaves.

use bytes::Bytes;

use crate::events::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};

/// Length of the head.
pub(super) const HEAD_BYTES: usize = 36;
/// Where every frame begins.
pub(super) const MARK: [u8; 4] = *b"AtFr";
/// No body is longer: what a batch may hold, and ten bytes a length.
const BODY_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX + 20 * BATCH_EVENTS_MAX;

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body_bytes: u32,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) appended_ms: i64,
    pub(super) body_crc: u32,
}

impl Head {
    /// The sequence number behind the last event.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&MARK);
        bytes[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.count.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.appended_ms.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` where these bytes are no head.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..4] != MARK || u32_at(32) != crc32fast::hash(&bytes[..32]) || u32_at(4) as usize > BODY_BYTES_MAX {
            return None;
        }
        Some(Self {
            body_bytes: u32_at(4),
            first: u64_at(8),
            count: u32_at(16),
            appended_ms: u64_at(20) as i64,
            body_crc: u32_at(28),
        })
    }
}

/// A body that is being made.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
}

impl Body {
    pub(super) fn push(&mut self, subject: &str, payload: &[u8]) {
        for part in [subject.as_bytes(), payload] {
            put_length(&mut self.bytes, part.len());
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }
}

/// An event of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) appended_ms: i64,
    /// Text. Empty where the event was erased.
    pub(super) subject: Bytes,
    pub(super) payload: Bytes,
}

/// A frame that is being taken apart. Its checksum was right.
#[derive(Clone, Debug)]
pub(super) struct Events {
    body: Bytes,
    at: usize,
    sequence: u64,
    next: u64,
    appended_ms: i64,
}

impl Events {
    pub(super) fn new(head: &Head, body: Bytes) -> Self {
        Self { body, at: 0, sequence: head.first, next: head.next(), appended_ms: head.appended_ms }
    }

    fn part(&mut self) -> Option<Bytes> {
        let (bytes, used) = get_length(&self.body[self.at..])?;
        let from = self.at + used;
        let to = from.checked_add(bytes).filter(|&to| to <= self.body.len())?;
        self.at = to;
        Some(self.body.slice(from..to))
    }
}

impl Iterator for Events {
    type Item = Stored;

    /// Ends early where the frame does not hold what its head says, which its checksum rules out.
    fn next(&mut self) -> Option<Stored> {
        if self.sequence == self.next {
            return None;
        }
        let (subject, payload) = (self.part()?, self.part()?);
        let sequence = self.sequence;
        self.sequence += 1;
        Some(Stored { sequence, appended_ms: self.appended_ms, subject, payload })
    }
}

fn put_length(into: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}

fn get_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, &byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some((length, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            events in prop::collection::vec((".{0,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..30),
        ) {
            let mut body = Body::default();
            events.iter().for_each(|(subject, payload)| body.push(subject, payload));
            let head = Head {
                body_bytes: body.bytes.len() as u32,
                first: 7,
                count: body.count,
                appended_ms: -3,
                body_crc: crc32fast::hash(&body.bytes),
            };
            prop_assert_eq!(Head::decode(&head.encode()), Some(head));
            let found: Vec<_> = Events::new(&head, body.bytes.into()).collect();
            prop_assert_eq!(found.len(), events.len());
            for (place, (stored, (subject, payload))) in found.iter().zip(&events).enumerate() {
                prop_assert_eq!((stored.sequence, stored.appended_ms), (7 + place as u64, -3));
                prop_assert_eq!((&stored.subject[..], &stored.payload[..]), (subject.as_bytes(), &payload[..]));
            }
        }

        #[test]
        fn a_changed_head_is_none(at in 0..HEAD_BYTES, bit in 0..8) {
            let head = Head { body_bytes: 10, first: 1, count: 2, appended_ms: 3, body_crc: 4 };
            let mut bytes = head.encode();
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(Head::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_taken_apart_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            count in 0_u32..50,
        ) {
            let (body_bytes, first) = (bytes.len() as u32, u64::MAX - 100);
            let head = Head { body_bytes, first, count, appended_ms: 0, body_crc: 0 };
            prop_assert!(Events::new(&head, bytes.into()).count() <= count as usize);
        }
    }
}
