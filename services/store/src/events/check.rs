//! What every backend asks of its callers, said once.

use super::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, GROUP_BYTES_MAX, NewDeadLetter, NewEvent, PAGE_MAX, PARTITIONS_MAX,
    PAYLOAD_BYTES_MAX, SUBJECT_BYTES_MAX,
};
use crate::{ErrorKind, StoreError, StoreKind};

/// An error of this store.
pub(crate) fn failure(call: &'static str, kind: ErrorKind, detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreKind::Events, call, kind, detail)
}

/// Whether a batch may be appended.
pub(crate) fn batch(events: &[NewEvent]) -> Result<(), StoreError> {
    let refuse = |kind, detail: String| Err(failure("append", kind, detail));
    if events.len() > BATCH_EVENTS_MAX {
        let detail = format!("{} events in one batch, {BATCH_EVENTS_MAX} are allowed", events.len());
        return refuse(ErrorKind::TooLarge, detail);
    }
    let mut bytes = 0;
    for (index, NewEvent { subject, payload }) in events.iter().enumerate() {
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX {
            let detail =
                format!("event {index}: a subject of {} bytes, 1 to {SUBJECT_BYTES_MAX} are allowed", subject.len());
            return refuse(ErrorKind::Invalid, detail);
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            let detail =
                format!("event {index}: a payload of {} bytes, {PAYLOAD_BYTES_MAX} are allowed", payload.len());
            return refuse(ErrorKind::TooLarge, detail);
        }
        bytes += subject.len() + payload.len();
    }
    if bytes > BATCH_BYTES_MAX {
        return refuse(ErrorKind::TooLarge, format!("a batch of {bytes} bytes, {BATCH_BYTES_MAX} are allowed"));
    }
    Ok(())
}

/// Whether letters may be buried.
pub(crate) fn letters(letters: &[NewDeadLetter]) -> Result<(), StoreError> {
    if letters.len() > BATCH_EVENTS_MAX {
        let detail = format!("{} dead letters in one batch, {BATCH_EVENTS_MAX} are allowed", letters.len());
        return Err(failure("bury", ErrorKind::TooLarge, detail));
    }
    let mut bytes = 0;
    for (index, letter) in letters.iter().enumerate() {
        if letter.subject.len() > SUBJECT_BYTES_MAX || letter.payload.len() > PAYLOAD_BYTES_MAX {
            let detail = format!(
                "dead letter {index}: {} bytes of subject and {} of payload, {SUBJECT_BYTES_MAX} and \
                 {PAYLOAD_BYTES_MAX} are allowed",
                letter.subject.len(),
                letter.payload.len()
            );
            return Err(failure("bury", ErrorKind::TooLarge, detail));
        }
        bytes += letter.subject.len() + letter.payload.len();
    }
    if bytes > BATCH_BYTES_MAX {
        let detail = format!("dead letters of {bytes} bytes, {BATCH_BYTES_MAX} are allowed");
        return Err(failure("bury", ErrorKind::TooLarge, detail));
    }
    Ok(())
}

/// Whether a group may be called so.
pub(crate) fn group(call: &'static str, name: &str) -> Result<(), StoreError> {
    let fits = (1..=GROUP_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        return Ok(());
    }
    let shown: String = name.chars().take(100).collect();
    let detail =
        format!("{shown:?} cannot be a group: 1 to {GROUP_BYTES_MAX} lower-case letters, digits and `-` are needed");
    Err(failure(call, ErrorKind::Invalid, detail))
}

/// Whether so many may be asked for at once.
pub(crate) fn page(call: &'static str, limit: usize) -> Result<(), StoreError> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(failure(call, ErrorKind::Invalid, format!("{limit} asked for, 1 to {PAGE_MAX} are possible")))
}

/// Whether a log may have so many partitions.
pub(crate) fn partitions(partitions: u32) -> Result<(), StoreError> {
    if (1..=PARTITIONS_MAX).contains(&partitions) {
        return Ok(());
    }
    let detail = format!("{partitions} partitions, 1 to {PARTITIONS_MAX} are possible");
    Err(failure("open", ErrorKind::Invalid, detail))
}
