//! One number for all that was folded, by names and not by rows: rows are numbered in the order in which items were heard
//! of, which another replica need not have. Of what goes with what, the links count and not their strength, whose sums
//! depend in their last bits on the order of partitions.

use std::{
    fmt::{self, Write},
    hash::Hasher,
};

use fnv::FnvHasher;

use super::{Names, State, User};

/// A hash of what is written to it.
#[derive(Default)]
struct Digest(FnvHasher);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        // A byte that no text has ends it.
        self.0.write_u8(0xff);
        Ok(())
    }
}

impl State {
    /// The same for the same users, counts and links, whatever their rows are.
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        self.describe(&mut digest).expect("a digest takes all that is written to it");
        digest.0.finish()
    }

    fn describe(&self, digest: &mut Digest) -> fmt::Result {
        write!(digest, "{}", self.events)?;
        let mut aliases: Vec<_> = self.aliases.iter().collect();
        aliases.sort_unstable();
        let mut forgotten: Vec<_> = self.forgotten.iter().collect();
        forgotten.sort_unstable();
        write!(digest, "{aliases:?} {forgotten:?}")?;
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(subject, _)| **subject);
        for (subject, user) in users {
            write!(digest, "{subject:x}")?;
            self.describe_user(user, digest)?;
        }
        let now = self.users.values().map(User::last).max().unwrap_or(0);
        for row in by_name(&self.items) {
            let popular = self.popular.get(row as usize).copied().unwrap_or(0.0);
            let trend = self.trends.at(row, now);
            if popular.abs() > 1e-6 || trend.abs() > 1e-6 {
                write!(digest, "{:?} {popular:.4e} {trend:.4e}", self.items.get(row))?;
            }
            for (surface, counts) in self.stats.of(row) {
                write!(digest, "{:?} {:?} {counts:?}", self.items.get(row), self.surfaces.get((*surface).into()))?;
            }
            let (total, links) = self.visits.of(row);
            if total > 0.0 {
                let mut links: Vec<_> = links.map(|other| self.items.get(other)).collect();
                links.sort_unstable();
                write!(digest, "{total} {links:?}")?;
            }
        }
        Ok(())
    }

    fn describe_user(&self, user: &User, digest: &mut Digest) -> fmt::Result {
        for deed in user.deeds() {
            let (item, kind, surface) = (self.items.get(deed.row), self.kind(deed), self.surface(deed));
            write!(digest, "{item:?} {kind} {surface:?} {} {} {:x}", deed.value, deed.weight, deed.id)?;
            write!(digest, "{}", deed.time())?;
        }
        let mut seen: Vec<_> = user.seen_at().map(|(row, time)| (self.items.get(row), time)).collect();
        seen.sort_unstable();
        write!(digest, "{seen:?} {:x?} {}", user.ids, user.last())
    }
}

/// Rows in the order of their names.
fn by_name(names: &Names) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..names.len() as u32).collect();
    rows.sort_unstable_by_key(|row| names.get(*row));
    rows
}
