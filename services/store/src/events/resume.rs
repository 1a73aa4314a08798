//! Going on where one left off, for those who keep what they make of a log together with how far they have read it.

use std::collections::BTreeMap;

use super::{Bounds, EventLog, Position};
use crate::{StoreError, Tenant};

/// How far somebody has read, by partition: every event below the offset.
pub type Offsets = BTreeMap<u32, u64>;

/// A partition that ends before what somebody has read of it: files were deleted, or a backup is older than what was made
/// of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} of the log ends at {next}, and was read up to {reached}")]
pub struct LostEnd {
    /// Which one.
    pub partition: u32,
    /// Where it ends.
    pub next: u64,
    /// How far it was read.
    pub reached: u64,
}

impl LostEnd {
    /// The first of a log's partitions that has lost its end, if one has.
    pub fn of(bounds: &[Bounds], reached: &Offsets) -> Option<Self> {
        bounds.iter().find_map(|&Bounds { partition, next, .. }| {
            let reached = *reached.get(&partition)?;
            (reached > next).then_some(Self { partition, next, reached })
        })
    }
}

/// What a log holds for somebody who has read it so far: no new event of it gets a number that he knows already, or else he
/// is told what is lost.
///
/// # Errors
/// As [`EventLog::reserve`] and [`EventLog::bounds`].
pub async fn resume(
    log: &dyn EventLog,
    tenant: &Tenant,
    reached: &Offsets,
) -> Result<(Vec<Bounds>, Option<LostEnd>), StoreError> {
    let positions: Vec<Position> = reached.iter().map(|(&partition, &offset)| Position { partition, offset }).collect();
    log.reserve(tenant, &positions).await?;
    let bounds = log.bounds(tenant).await?;
    let lost = LostEnd::of(&bounds, reached);
    Ok((bounds, lost))
}

/// Where to read on: from the offset that `from` says of each partition, but not before what is kept.
pub fn places(bounds: &[Bounds], from: impl Fn(&Bounds) -> u64) -> Vec<Position> {
    let place = |bound: &Bounds| Position { partition: bound.partition, offset: from(bound).max(bound.first) };
    bounds.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_ends_before_what_was_read_of_it_has_lost_its_end() {
        let bounds = [(0, 2, 5), (1, 0, 0), (2, 0, 7)];
        let bounds = bounds.map(|(partition, first, next)| Bounds { partition, first, next });
        assert_eq!(LostEnd::of(&bounds, &Offsets::new()), None);
        assert_eq!(LostEnd::of(&bounds, &[(0, 5), (2, 7), (9, 1)].into()), None, "the ends themselves");
        let lost = LostEnd::of(&bounds, &[(0, 5), (2, 8)].into()).unwrap();
        assert_eq!(lost, LostEnd { partition: 2, next: 7, reached: 8 });
        assert_eq!(lost.to_string(), "partition 2 of the log ends at 7, and was read up to 8");
    }

    #[test]
    fn reading_goes_on_where_it_ended_or_at_the_first_event_that_is_kept() {
        let bounds = [Bounds { partition: 0, first: 2, next: 5 }, Bounds { partition: 1, first: 0, next: 9 }];
        let reached = Offsets::from([(1, 4)]);
        let from = |bound: &Bounds| reached.get(&bound.partition).copied().unwrap_or(0);
        let at = |partition, offset| Position { partition, offset };
        assert_eq!(places(&bounds, from), [at(0, 2), at(1, 4)]);
    }
}
