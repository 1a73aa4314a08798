//! Where an object lies: a folder for each part of its key but the last.
//!
//! `a` and `a/b` may both be objects, so a folder's name begins with `+` and a file's with `=`; nothing is escaped. The
//! order of keys is that of their bytes, in which the `/` counts: a folder sorts as its name with a `/` behind it.

use std::io;

use crate::Tenant;
use crate::embedded::disk::Disk;

/// The folder of an object, and its file in there.
pub(super) fn of(tenant: &Tenant, key: &str) -> (String, String) {
    let (above, last) = key.rsplit_once('/').unwrap_or(("", key));
    let mut folder = root_of(tenant);
    for part in above.split('/').filter(|part| !part.is_empty()) {
        folder.push_str("/+");
        folder.push_str(part);
    }
    let file = format!("{folder}/={last}");
    (folder, file)
}

/// The folder of a tenant's objects.
pub(super) fn root_of(tenant: &Tenant) -> String {
    format!("{tenant}/data")
}

/// Which keys are wanted.
pub(super) struct Wanted<'a> {
    pub(super) prefix: &'a str,
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
}

impl Wanted<'_> {
    fn takes(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// Whether a key that begins so can be wanted. All of them sort alike against a key that does not.
    fn may_be_below(&self, start: &str) -> bool {
        let can_match = start.starts_with(self.prefix) || self.prefix.starts_with(start);
        can_match && self.after.is_none_or(|after| start > after || after.starts_with(start))
    }
}

/// Adds the wanted keys below a folder, whose keys begin with `start`, in order.
pub(super) fn collect(
    disk: &dyn Disk,
    folder: &str,
    start: &str,
    wanted: &Wanted<'_>,
    found: &mut Vec<String>,
) -> io::Result<()> {
    let mut names: Vec<String> = disk.list(folder)?.into_iter().filter_map(|entry| marked(&entry.name)).collect();
    names.sort_unstable();
    for name in names {
        if found.len() == wanted.limit {
            return Ok(());
        }
        let key = format!("{start}{name}");
        match name.strip_suffix('/') {
            None if wanted.takes(&key) => found.push(key),
            Some(part) if wanted.may_be_below(&key) => {
                collect(disk, &format!("{folder}/+{part}"), &key, wanted, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A part of a key, with a `/` if it is a folder's; `None` for what is no object's.
fn marked(name: &str) -> Option<String> {
    match name.split_at_checked(1)? {
        ("=", part) => Some(part.to_owned()),
        ("+", part) => Some(format!("{part}/")),
        _ => None,
    }
}
