//! What a start makes of the files that it finds.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::scan::{Scan, Step};
use super::segment::{self, Extent, SEGMENT_HEAD_BYTES, Segment};
use crate::embedded::disk::{Disk, ReadFile};
use crate::events::Damage;

/// Where the bytes go that are cut off.
const ASIDE: &str = "torn";
/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What was found.
pub(super) struct Found {
    /// In order; the last one may be written on.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The sequence number of the next event.
    pub(super) next: u64,
    pub(super) damage: Vec<Damage>,
}

/// Looks at every segment of a folder, and cuts off what is not whole at the end of one.
///
/// # Errors
/// The disk; [`io::ErrorKind::Unsupported`] where a newer program wrote there.
pub(super) fn recover(disk: &dyn Disk, folder: &str) -> io::Result<Found> {
    let names = disk.list(folder)?.into_iter().map(|entry| entry.name);
    let mut bases: Vec<u64> = names.filter_map(|name| segment::base_of(&name)).collect();
    bases.sort_unstable();
    let mut found = Found { segments: Vec::new(), next: 0, damage: Vec::new() };
    for (place, &base) in bases.iter().enumerate() {
        if place > 0 && base > found.next {
            found.damage.push(missing(folder, found.next..base));
        }
        let limit = bases.get(place + 1).copied();
        let extent = whole_extent(disk, folder, base, limit, &mut found.damage)?;
        found.next = extent.next.max(base);
        found.segments.push(Arc::new(Segment::new(folder, base, extent)));
    }
    Ok(found)
}

/// Events between what is there before and behind them.
pub(super) fn missing(folder: &str, lost: Range<u64>) -> Damage {
    let detail = format!("{folder}: the events {} to {} are not there", lost.start, lost.end - 1);
    Damage { detail, lost: Some(lost), set_aside: None }
}

/// How far a segment goes. Events from `limit` on are in the next one: where it has them too, they are what was not yet
/// on the disk when a sync failed, and nobody was told that they are.
fn whole_extent(
    disk: &dyn Disk,
    folder: &str,
    base: u64,
    limit: Option<u64>,
    damage: &mut Vec<Damage>,
) -> io::Result<Extent> {
    let name = format!("{folder}/{}", segment::file_name(base));
    let Some(file) = disk.open(&name)? else { return Ok(Extent::new(base)) };
    check_head(&*file, &name, damage)?;
    if let Some(extent) = segment::read_index(disk, &name)? {
        return Ok(extent);
    }
    let bytes = file.bytes()?;
    let (extent, tail) = scanned(file, base, bytes, limit, &name, damage)?;
    let is_torn = tail.is_some_and(|tail| tail < bytes);
    if bytes > extent.bytes {
        let set_aside = if is_torn { Some(set_aside(disk, folder, &name, extent.bytes, bytes)?) } else { None };
        // A segment that has not even a head is made anew by the first who writes to it.
        disk.append(&name, extent.bytes.min(bytes))?.sync()?;
        if is_torn {
            let detail = format!("{name}: {} bytes from {} on are no whole batch", bytes - extent.bytes, extent.bytes);
            damage.push(Damage { detail, lost: None, set_aside });
        }
    }
    Ok(extent)
}

fn check_head(file: &dyn ReadFile, name: &str, damage: &mut Vec<Damage>) -> io::Result<()> {
    let mut head = [0; SEGMENT_HEAD_BYTES as usize];
    let read = file.read_at(&mut head, 0)?;
    match segment::format_of(&head[..read]) {
        Some(format) if format > segment::FORMAT => {
            let detail = format!(
                "{name} has format {format}, this program reads up to {}: start the newer one",
                segment::FORMAT
            );
            Err(io::Error::new(io::ErrorKind::Unsupported, detail))
        }
        None if file.bytes()? > SEGMENT_HEAD_BYTES => {
            let detail = format!("{name}: the head is damaged, the frames behind it are read");
            damage.push(Damage { detail, lost: None, set_aside: None });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads all frames. Says where the tail begins that is none, if there is one.
fn scanned(
    file: Box<dyn ReadFile>,
    base: u64,
    bytes: u64,
    limit: Option<u64>,
    name: &str,
    damage: &mut Vec<Damage>,
) -> io::Result<(Extent, Option<u64>)> {
    let mut extent = Extent::new(base);
    let mut scan = Scan::new(file, SEGMENT_HEAD_BYTES, base);
    loop {
        match scan.step(bytes, 0)? {
            Step::Frame(_, head, _) if limit.is_some_and(|limit| head.first >= limit) => return Ok((extent, None)),
            Step::Frame(at, head, _) => {
                let end = at + super::frame::HEAD_BYTES as u64 + u64::from(head.body_bytes);
                extent.add(head.first, head.next(), at, end, head.appended_ms);
            }
            Step::Damaged(range, lost) if range.end == bytes => {
                // Its numbers are not given out again: somebody may have seen them.
                let seen = lost.map_or(extent.next, |lost| lost.end.min(limit.unwrap_or(u64::MAX)));
                extent.next = extent.next.max(seen);
                return Ok((extent, Some(range.start)));
            }
            Step::Damaged(range, lost) => damage.push(unreadable(name, range, lost)),
            Step::End => return Ok((extent, None)),
        }
    }
}

/// Damage that is left where it is.
pub(super) fn unreadable(name: &str, range: Range<u64>, lost: Option<Range<u64>>) -> Damage {
    let detail = format!("{name}: the bytes {} to {} are damaged", range.start, range.end);
    Damage { detail, lost, set_aside: None }
}

fn set_aside(disk: &dyn Disk, folder: &str, name: &str, from: u64, to: u64) -> io::Result<String> {
    let aside = format!("{folder}/{ASIDE}");
    disk.make_folder(&aside)?;
    let short = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".log");
    let copy = format!("{aside}/{short}-{from}");
    let Some(file) = disk.open(name)? else { return Ok(copy) };
    let mut target = disk.create(&copy)?;
    let mut at = from.min(to);
    let mut buffer = vec![0; COPY_BYTES];
    while at < to {
        let wanted = COPY_BYTES.min((to - at) as usize);
        let read = file.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        target.write_all(&buffer[..read])?;
        at += read as u64;
    }
    target.sync()?;
    disk.sync_folder(&aside)?;
    disk.sync_folder(folder)?;
    Ok(copy)
}
