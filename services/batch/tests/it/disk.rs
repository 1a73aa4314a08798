//! A disk in memory that stops before any step it is told to, and forgets what was not synced when its power is cut.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use attune_batch::job::storage::{Storage, StoredFile};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// SIGKILL: what was written is there.
    Killed,
    /// Only what was synced is there.
    PowerCut,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Bytes>,
    names: BTreeMap<String, usize>,
    /// Those that a power cut leaves.
    durable_names: BTreeMap<String, usize>,
    /// Steps since the last start.
    steps: usize,
    /// All steps from this one on fail, the process having ended.
    ends_before: Option<usize>,
    /// Bytes that fit.
    room: Option<usize>,
}

#[derive(Default)]
struct Bytes {
    written: Vec<u8>,
    durable: Vec<u8>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next process ends before this step of its own.
    pub fn start(&self, ends_before: Option<usize>) {
        let mut state = self.state();
        (state.steps, state.ends_before) = (0, ends_before);
    }

    /// Steps since the start.
    pub fn steps(&self) -> usize {
        self.state().steps
    }

    /// So many bytes fit from now on.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// What is left when the process has ended so.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.state();
        if crash == Crash::PowerCut {
            state.names = state.durable_names.clone();
            state.files.iter_mut().for_each(|file| file.written = file.durable.clone());
        }
    }

    /// All files and what is in them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(name, &file)| (name.clone(), state.files[file].written.clone())).collect()
    }
}

impl State {
    fn is_dead(&self) -> bool {
        self.ends_before.is_some_and(|step| self.steps >= step)
    }

    fn step(&mut self) -> io::Result<()> {
        if self.is_dead() {
            return Err(io::Error::other("the process has ended"));
        }
        self.steps += 1;
        Ok(())
    }

    fn file(&mut self, name: &str) -> usize {
        let new = self.files.len();
        let file = *self.names.entry(name.to_owned()).or_insert(new);
        if file == new {
            self.files.push(Bytes::default());
        }
        file
    }

    fn bytes(&self) -> usize {
        self.names.values().map(|&file| self.files[file].written.len()).sum()
    }
}

impl Storage for Disk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.names.get(name).map(|&file| state.files[file].written.clone()))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let inside = |name: &str| name.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
        let files = state.names.iter().filter_map(|(name, &file)| Some((inside(name)?, file)));
        Ok(files.map(|(name, file)| (name, state.files[file].written.len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        self.append(name, 0)
    }

    fn append(&self, name: &str, keep_bytes: u64) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.state();
        state.step()?;
        let file = state.file(name);
        let written = &mut state.files[file].written;
        if (written.len() as u64) < keep_bytes {
            return Err(ErrorKind::InvalidData.into());
        }
        written.truncate(keep_bytes as usize);
        Ok(Box::new(Open { disk: self.clone(), file }))
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

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let is_in = |name: &str| name.rsplit_once('/').map_or("", |(folder, _)| folder) == folder;
        let now: Vec<_> = state.names.iter().filter(|(name, _)| is_in(name)).map(|(n, &f)| (n.clone(), f)).collect();
        state.durable_names.retain(|name, _| !is_in(name));
        state.durable_names.extend(now);
        Ok(())
    }
}

struct Open {
    disk: Disk,
    file: usize,
}

impl Write for Open {
    /// A process that ends here has written half; a full disk takes what fits and refuses the rest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fits = state.room.map_or(bytes.len(), |room| room.saturating_sub(state.bytes()).min(bytes.len()));
        if fits == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        let lives = state.step();
        let written = if lives.is_ok() { fits } else { fits / 2 };
        // The first step that fails is the one that the process ends in; after it, it writes nothing.
        let is_last = state.ends_before.is_some_and(|step| state.steps == step);
        if lives.is_ok() || is_last {
            state.files[self.file].written.extend_from_slice(&bytes[..written]);
            state.steps += usize::from(lives.is_err());
        }
        lives.map(|()| written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for Open {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let file = &mut state.files[self.file];
        file.durable = file.written.clone();
        Ok(())
    }
}
