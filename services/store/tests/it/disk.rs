//! A disk in memory whose power can be cut before any step, whose syncs and writes can be made to fail, and which fills up.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use attune_store::embedded::disk::{Disk, Entry, ReadFile, WriteFile};

/// What a loss of power leaves of bytes that were written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// All of them: the process was killed, and the power stayed on.
    Kept,
    /// None.
    Gone,
    /// The first half.
    Torn,
    /// Their number, and zeros in the place of the first half: pages reach a disk in any order.
    Holed,
}

pub const ALL_UNSYNCED: [Unsynced; 4] = [Unsynced::Kept, Unsynced::Gone, Unsynced::Torn, Unsynced::Holed];

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    opened: Arc<Condvar>,
}

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    /// Those that a loss of power leaves.
    durable_names: BTreeMap<String, usize>,
    durable_folders: BTreeSet<String>,
    /// Steps that change something, since the start.
    steps: usize,
    power_ends_before: Option<usize>,
    /// Syncs of files, since the start.
    syncs: usize,
    /// Of these syncs, the one that fails.
    failing_sync: Option<usize>,
    /// Bytes that fit.
    room: Option<usize>,
    /// Syncs wait while this is so.
    syncs_wait: bool,
    syncs_waiting: usize,
}

#[derive(Default)]
struct Contents {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// What a failed sync dropped, and the system believes to be on the disk.
    dropped: Vec<std::ops::Range<usize>>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A new process; its power ends before this step.
    pub fn start(&self, power_ends_before: Option<usize>) {
        let mut state = self.state();
        (state.steps, state.syncs, state.power_ends_before, state.failing_sync) = (0, 0, power_ends_before, None);
    }

    /// Steps since the start.
    pub fn steps(&self) -> usize {
        self.state().steps
    }

    /// Syncs of files since the start.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// The sync that fails, counted from the start.
    pub fn fail_sync(&self, sync: usize) {
        self.state().failing_sync = Some(sync);
    }

    /// So many bytes fit from now on.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// All bytes in files.
    pub fn used(&self) -> usize {
        self.state().used()
    }

    /// Syncs wait from now on, or do not.
    pub fn hold_syncs(&self, wait: bool) {
        self.state().syncs_wait = wait;
        self.opened.notify_all();
    }

    /// How many syncs wait.
    pub fn syncs_waiting(&self) -> usize {
        self.state().syncs_waiting
    }

    /// The process ends, and the power, unless all is kept.
    pub fn crash(&self, unsynced: Unsynced) {
        let mut state = self.state();
        if unsynced == Unsynced::Kept {
            return;
        }
        state.folders = state.durable_folders.clone();
        let folders = state.folders.clone();
        let is_there = |name: &str| name.rsplit_once('/').is_none_or(|(folder, _)| folders.contains(folder));
        state.names = state.durable_names.clone().into_iter().filter(|(name, _)| is_there(name)).collect();
        state.files.iter_mut().for_each(|file| file.lose(unsynced));
    }

    /// Whether a loss of power now would leave these bytes in some file.
    pub fn has_durable(&self, bytes: &[u8]) -> bool {
        let state = self.state();
        state
            .durable_names
            .values()
            .any(|&file| state.files[file].durable.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Changes a byte of a file for good.
    pub fn flip(&self, name: &str, at: usize) {
        let mut state = self.state();
        let file = state.names[name];
        let Contents { written, durable, .. } = &mut state.files[file];
        written[at] ^= 0x10;
        // A file need not have been synced.
        durable.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10);
    }

    /// All files and how long they are.
    pub fn lengths(&self) -> BTreeMap<String, usize> {
        let state = self.state();
        state.names.iter().map(|(name, &file)| (name.clone(), state.files[file].written.len())).collect()
    }

    /// A copy with its own future, as it is now, with the power on.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let files = state.files.iter().map(|file| Contents {
            written: file.written.clone(),
            durable: file.durable.clone(),
            dropped: file.dropped.clone(),
        });
        let copy = State {
            files: files.collect(),
            names: state.names.clone(),
            folders: state.folders.clone(),
            durable_names: state.durable_names.clone(),
            durable_folders: state.durable_folders.clone(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copy)), opened: Arc::default() }
    }
}

impl Contents {
    fn lose(&mut self, unsynced: Unsynced) {
        let kept = self.durable.len().min(self.written.len());
        let new = self.written.len() - kept;
        let half = kept + new / 2;
        let mut left = self.durable.clone();
        match unsynced {
            Unsynced::Torn => left.extend_from_slice(&self.written[kept..half]),
            Unsynced::Holed => {
                left.resize(half, 0);
                left.extend_from_slice(&self.written[half..]);
            }
            Unsynced::Kept | Unsynced::Gone => {}
        }
        (self.written, self.durable) = (left.clone(), left);
        self.dropped.clear();
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if self.power_ends_before.is_some_and(|step| self.steps >= step) {
            return Err(io::Error::other("the power is off"));
        }
        self.steps += 1;
        Ok(())
    }

    fn used(&self) -> usize {
        self.names.values().map(|&file| self.files[file].written.len()).sum()
    }

    fn new_file(&mut self, name: &str) -> io::Result<usize> {
        let folder = name.rsplit_once('/').map(|(folder, _)| folder);
        if folder.is_some_and(|folder| !self.folders.contains(folder)) {
            return Err(ErrorKind::NotFound.into());
        }
        self.files.push(Contents::default());
        self.names.insert(name.to_owned(), self.files.len() - 1);
        Ok(self.files.len() - 1)
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for SimDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.names.get(name).map(|&file| state.files[file].written.clone()))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn ReadFile>>> {
        let found = self.state().names.get(name).copied();
        Ok(found.map(|file| Box::new(Opened { disk: self.clone(), file }) as Box<dyn ReadFile>))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let name = |path: &str| path[folder_of(path).len()..].trim_start_matches('/').to_owned();
        let files = state.names.iter().filter(|(path, _)| folder_of(path) == folder);
        let files = files.map(|(path, &file)| Entry {
            name: name(path),
            bytes: state.files[file].written.len() as u64,
            is_folder: false,
        });
        let folders = state.folders.iter().filter(|path| folder_of(path) == folder);
        let folders = folders.map(|path| Entry { name: name(path), bytes: 0, is_folder: true });
        Ok(files.chain(folders).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.step()?;
        let file = state.new_file(name)?;
        Ok(Box::new(Opened { disk: self.clone(), file }))
    }

    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.step()?;
        let file = *state.names.get(name).ok_or(ErrorKind::NotFound)?;
        let written = &mut state.files[file].written;
        if (written.len() as u64) < keep_bytes {
            return Err(ErrorKind::InvalidData.into());
        }
        written.truncate(keep_bytes as usize);
        Ok(Box::new(Opened { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let file = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(name);
        Ok(())
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let above = folder_of(name);
        if !above.is_empty() && !state.folders.contains(above) {
            return Err(ErrorKind::NotFound.into());
        }
        state.folders.insert(name.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let names: Vec<_> =
            state.names.iter().filter(|(name, _)| folder_of(name) == folder).map(|(n, &f)| (n.clone(), f)).collect();
        state.durable_names.retain(|name, _| folder_of(name) != folder);
        state.durable_names.extend(names);
        let folders: Vec<_> = state.folders.iter().filter(|name| folder_of(name) == folder).cloned().collect();
        state.durable_folders.extend(folders);
        Ok(())
    }

    fn lock(&self, _: &str, _: bool) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }
}

struct Opened {
    disk: SimDisk,
    file: usize,
}

impl ReadFile for Opened {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].written.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let written = &state.files[self.file].written;
        let from = (offset as usize).min(written.len());
        let read = into.len().min(written.len() - from);
        into[..read].copy_from_slice(&written[from..from + read]);
        Ok(read)
    }
}

impl Write for Opened {
    /// A full disk takes what fits and refuses the rest; so does one whose power ends, with half of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fits = state.room.map_or(bytes.len(), |room| room.saturating_sub(state.used()).min(bytes.len()));
        if fits == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        let was_on = state.power_ends_before.is_none_or(|step| state.steps <= step);
        let lives = state.step();
        if lives.is_ok() || was_on {
            let written = if lives.is_ok() { fits } else { fits / 2 };
            state.files[self.file].written.extend_from_slice(&bytes[..written]);
            state.steps += usize::from(lives.is_err());
        }
        lives.map(|()| fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for Opened {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.syncs_waiting += 1;
        while state.syncs_wait {
            state = self.disk.opened.wait(state).unwrap();
        }
        state.syncs_waiting -= 1;
        state.step()?;
        state.syncs += 1;
        let fails = state.failing_sync == Some(state.syncs);
        let file = &mut state.files[self.file];
        let new = file.durable.len().min(file.written.len())..file.written.len();
        if fails {
            // As Linux does: the pages are dropped, and clean.
            file.dropped.push(new);
            return Err(io::Error::other("the disk failed"));
        }
        file.durable = file.written.clone();
        for dropped in &file.dropped {
            let end = dropped.end.min(file.durable.len());
            file.durable[dropped.start.min(end)..end].fill(0);
        }
        Ok(())
    }
}
