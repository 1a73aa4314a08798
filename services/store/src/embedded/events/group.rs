//! Groups: who reads which partitions, and how far they are.
//!
//! Members live in this process. The offsets of a group lie in a file of their own, replaced as a whole, with a CRC-32:
//! one that is damaged counts as none, and the group reads everything again rather than skip anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::embedded::disk::{self, Disk};
use crate::events::Damage;

/// By partition, the offset from which the group goes on.
pub(super) type Offsets = BTreeMap<u32, u64>;

/// A group.
pub(super) struct Group {
    disk: Arc<dyn Disk>,
    folder: String,
    name: String,
    partitions: u32,
    state: Mutex<State>,
    /// Held while the offsets are written. The state is not: readers ask for it on threads that must not wait.
    writing: Mutex<()>,
    /// Changes when partitions change hands.
    revision: watch::Sender<u64>,
}

struct State {
    members: BTreeSet<u64>,
    members_ever: u64,
    committed: Offsets,
}

impl Group {
    /// The group of that name, with what it committed, but nothing from `next` on: those events are gone, and their
    /// numbers will be given to others.
    pub(super) fn load(
        disk: Arc<dyn Disk>,
        folder: &str,
        name: &str,
        partitions: u32,
        next: u64,
    ) -> io::Result<(Arc<Self>, Option<Damage>)> {
        let path = format!("{folder}/{name}");
        let bytes = disk.read(&path)?;
        let read = bytes.as_deref().map(decode);
        let damage = matches!(read, Some(None)).then(|| Damage {
            detail: format!("{path}: the offsets are damaged, the group begins again"),
            lost: None,
            set_aside: None,
        });
        let mut committed = read.flatten().unwrap_or_default();
        committed.values_mut().for_each(|offset| *offset = (*offset).min(next));
        let group = Self {
            disk,
            folder: folder.to_owned(),
            name: name.to_owned(),
            partitions,
            writing: Mutex::default(),
            state: Mutex::new(State { members: BTreeSet::new(), members_ever: 0, committed }),
            revision: watch::Sender::new(0),
        };
        Ok((Arc::new(group), damage))
    }

    /// A new member.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let mut state = self.state();
        state.members_ever += 1;
        let number = state.members_ever;
        state.members.insert(number);
        self.revision.send_modify(|revision| *revision += 1);
        Member { group: self.clone(), number, revision: self.revision.subscribe() }
    }

    /// What is committed.
    pub(super) fn committed(&self) -> Offsets {
        self.state().committed.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Every so many partitions, as many as there are members, one is a member's.
    fn owned(&self, number: u64, partitions: u32) -> Vec<u32> {
        let Some(rank) = self.members.iter().position(|&member| member == number) else { return Vec::new() };
        (0..partitions).skip(rank).step_by(self.members.len()).collect()
    }
}

/// A member of a group, until it is dropped.
pub(super) struct Member {
    group: Arc<Group>,
    number: u64,
    revision: watch::Receiver<u64>,
}

impl Member {
    /// Its partitions, and where the group is in each.
    pub(super) fn owned(&mut self) -> Offsets {
        self.revision.mark_unchanged();
        let state = self.group.state();
        let owned = state.owned(self.number, self.group.partitions);
        owned.into_iter().map(|partition| (partition, state.committed.get(&partition).copied().unwrap_or(0))).collect()
    }

    /// Whether partitions have changed hands since [`Member::owned`].
    pub(super) fn has_changed(&self) -> bool {
        self.revision.has_changed().unwrap_or(false)
    }

    /// Returns when they do.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the group, which lives as long as this member.
        let _ = self.revision.changed().await;
        self.revision.mark_changed();
    }

    /// A handle with which to commit on another thread.
    pub(super) fn committer(&self) -> Committer {
        Committer { group: self.group.clone(), number: self.number }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.group.state().members.remove(&self.number);
        self.group.revision.send_modify(|revision| *revision += 1);
    }
}

/// Commits for a member.
pub(super) struct Committer {
    group: Arc<Group>,
    number: u64,
}

impl Committer {
    /// Stores offsets of the member's partitions; `Some` with a partition that is another member's now, and nothing is
    /// stored.
    pub(super) fn commit(&self, offsets: &Offsets) -> io::Result<Option<u32>> {
        let group = &*self.group;
        let _turn = group.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (owned, before) = {
            let state = group.state();
            (state.owned(self.number, group.partitions), state.committed.clone())
        };
        if let Some(lost) = offsets.keys().find(|partition| !owned.contains(partition)) {
            return Ok(Some(*lost));
        }
        let mut committed = before.clone();
        committed.extend(offsets);
        if committed != before {
            disk::replace(&*group.disk, &group.folder, &group.name, &encode(&committed))?;
            group.state().committed = committed;
        }
        Ok(None)
    }
}

fn encode(offsets: &Offsets) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(offsets).expect("numbers are JSON");
    let crc = crc32fast::hash(&bytes);
    bytes.extend(format!("\n{crc:08x}\n").bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Offsets> {
    let (said, crc) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let is_whole = crc.trim_end() == format!("{:08x}", crc32fast::hash(said.as_bytes()));
    is_whole.then(|| serde_json::from_str(said).ok()).flatten()
}
