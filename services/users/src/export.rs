//! Records of the log that are about somebody.
//!
//! The log is read from one end to the other for that, which takes as long as the log is long: it is made for consumers,
//! and an index of people would be one more place to forget them in.

use std::time::Duration;

use attune_api::log::Record;
use attune_api::{ApiError, ErrorCode};
use attune_store::events::{Event, EventLog, PAGE_MAX, Position, partition_of};
use attune_store::{StoreError, Tenant};

/// How long a partition must be silent to be at its end.
const SILENCE: Duration = Duration::from_millis(300);

/// Where a page of an export begins: at an offset of the records of one of somebody's subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub subject: usize,
    pub offset: u64,
}

impl Place {
    /// Reads what [`Place::cursor`] wrote.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn read(cursor: Option<&str>) -> Result<Self, ApiError> {
        let Some(cursor) = cursor else { return Ok(Self::default()) };
        let read = || {
            let (subject, offset) = cursor.split_once('-')?;
            Some(Self { subject: subject.parse().ok()?, offset: offset.parse().ok()? })
        };
        let detail = "this is no cursor: give the `next_cursor` of the page before, or none to begin";
        read().ok_or_else(|| ApiError::at(ErrorCode::Invalid, "/cursor", detail))
    }

    pub fn cursor(self) -> String {
        format!("{}-{}", self.subject, self.offset)
    }
}

/// Shows `take` every event of a subject from an offset on, and ends early where it says false.
pub(crate) async fn scan(
    log: &dyn EventLog,
    tenant: &Tenant,
    subject: &str,
    offset: u64,
    mut take: impl FnMut(&Event) -> bool + Send,
) -> Result<(), StoreError> {
    let bounds = log.bounds(tenant).await?;
    if bounds.is_empty() {
        return Ok(());
    }
    let partition = partition_of(tenant, subject, bounds.len() as u32);
    let Some(bounds) = bounds.into_iter().find(|one| one.partition == partition) else { return Ok(()) };
    let offset = offset.max(bounds.first);
    let mut reader = log.read(tenant, &[Position { partition, offset }]).await?;
    loop {
        let events = reader.poll(PAGE_MAX, SILENCE).await?;
        let is_over = events.last().is_none_or(|event| event.position.offset + 1 >= bounds.next);
        for event in events.iter().filter(|event| event.subject == subject) {
            if !take(event) {
                return Ok(());
            }
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Up to `max` records of these subjects from a place on, and where the next ones are.
pub(crate) async fn records(
    log: &dyn EventLog,
    tenant: &Tenant,
    subjects: &[String],
    from: Place,
    max: usize,
) -> Result<(Vec<Record>, Option<Place>), StoreError> {
    let mut records = Vec::new();
    let mut next = None;
    for (place, subject) in subjects.iter().enumerate().skip(from.subject) {
        let offset = if place == from.subject { from.offset } else { 0 };
        let take = |event: &Event| {
            if records.len() == max {
                next = Some(Place { subject: place, offset: event.position.offset });
                return false;
            }
            records.extend(Record::read(&event.payload).ok());
            true
        };
        scan(log, tenant, subject, offset, take).await?;
        if next.is_some() {
            break;
        }
    }
    Ok((records, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_again() {
        let place = Place { subject: 2, offset: 77 };
        assert_eq!(Place::read(Some(&place.cursor())), Ok(place));
        for nonsense in ["", "2", "-", "a-1", "1-", "1-2-3"] {
            assert!(Place::read(Some(nonsense)).is_err(), "{nonsense:?}");
        }
    }
}
