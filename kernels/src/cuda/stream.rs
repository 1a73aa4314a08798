//! A queue of work with the memory that batches pass through on their way in and out.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::device::{Argument, Shared, TileMap};
use super::memory::{Cell, Element, Memory};
use super::plan::Shape;
use super::{Arithmetic, BatchPlan, Buffer, CudaError, Device};

/// Bytes of a piece when something larger than the staging memory is filled.
const PIECE_BYTES: usize = 4 << 20;
/// How long a thread asks again and again before it lets others run in between: most batches of few texts are done by then.
const SPIN: Duration = Duration::from_micros(100);
/// How long it does so, if nobody else has work for the processor, before it sleeps: a sleep takes twice what it is asked to.
const YIELD: Duration = Duration::from_millis(1);
/// How long it sleeps between questions after that.
const NAP: Duration = Duration::from_micros(50);
/// How long filling memory may take.
const FILL_MAX: Duration = Duration::from_secs(10);

/// What a stream's memory is made for. It never grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamSize {
    /// Tokens of a batch at most.
    pub tokens: usize,
    /// Bytes of a batch's results at most.
    pub download_bytes: usize,
    /// Bytes of other uploads.
    pub upload_bytes: usize,
}

/// A queue of work of one worker: what is queued runs in order, beside the work of other streams.
pub struct Stream {
    pub(super) shared: Arc<Shared>,
    handle: u64,
    upload: Pinned,
    download: Pinned,
    /// The batch that kernels read, as [`BatchPlan`] lays it out.
    words: Buffer<u32>,
    pub(super) batch: Current,
    /// While launches are written down: the memory that they name.
    recording: Option<Vec<Arc<Memory>>>,
}

/// Launches that were written down once and can be queued together, at a fraction of the cost of one after the other. They
/// read the batch that their stream has then.
pub struct Recording {
    shared: Arc<Shared>,
    handle: u64,
    stream: u64,
    batch: Current,
    /// What the launches name stays as long as this does.
    _memory: Vec<Arc<Memory>>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.shared.is_lost() {
            self.shared.machine.forget(self.handle);
        }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({:?})", self.batch)
    }
}

/// The batch that is on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) tiles: usize,
    pub(super) tokens: usize,
    pub(super) rows: usize,
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
}

/// Host memory that a device reads and writes on its own.
struct Pinned {
    shared: Arc<Shared>,
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(shared: &Arc<Shared>, bytes: usize) -> Result<Self, CudaError> {
        let bytes = bytes.max(1);
        let memory = shared.watched(|machine| machine.pin(bytes))?;
        // SAFETY: `bytes` bytes of ours; the device has no work with them yet. A slice has to be initialised.
        unsafe { memory.as_ptr().write_bytes(0, bytes) };
        Ok(Self { shared: Arc::clone(shared), memory, bytes })
    }

    /// The first `count` bytes; `what` names them when there are fewer.
    fn bytes(&mut self, what: &'static str, count: usize) -> Result<&mut [u8], CudaError> {
        if count > self.bytes {
            return Err(CudaError::Capacity { what, asked: count, limit: self.bytes });
        }
        // SAFETY: ours, initialised, and no copy is under way: the stream calls this only when it is done.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), count) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A lost device may still write to it: then it is left alone.
        if !self.shared.is_lost() {
            self.shared.machine.unpin(self.memory, self.bytes);
        }
    }
}

impl Stream {
    pub(super) fn open(device: &Device, size: StreamSize) -> Result<Self, CudaError> {
        let shared = &device.0;
        let words = BatchPlan::words_max(size.tokens);
        let upload_bytes = (words * 4).max(size.upload_bytes.min(PIECE_BYTES));
        let (upload, download) = (Pinned::new(shared, upload_bytes)?, Pinned::new(shared, size.download_bytes)?);
        let (words, shared) = (Buffer::allocate(shared, words)?, Arc::clone(shared));
        let handle = shared.watched(|machine| machine.open_stream())?;
        Ok(Self { shared, handle, upload, download, words, batch: Current::default(), recording: None })
    }

    /// Puts a batch on the device: what is launched from now on works on it. Waits for what was queued before.
    ///
    /// # Errors
    /// [`CudaError::Capacity`] when the stream was made for fewer tokens; else what the device said.
    pub fn begin(&mut self, plan: &BatchPlan, limit: Duration) -> Result<(), CudaError> {
        self.finish(limit)?;
        let (asked, limit) = (plan.words.len(), self.words.len());
        if asked > limit {
            return Err(CudaError::Capacity { what: "words of a batch", asked, limit });
        }
        let staged = self.upload.bytes("bytes of a batch", asked * 4)?;
        for (bytes, word) in staged.chunks_exact_mut(4).zip(&plan.words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let BatchPlan { tiles, tokens, rows, vocabulary, positions, .. } = *plan;
        self.batch = Current { tiles, tokens, rows, vocabulary, positions };
        let (to, from) = (self.words.address, self.upload.memory.as_ptr());
        // SAFETY: both places have the bytes, belong to this stream, and are not touched before it is done.
        self.shared.watched(|machine| unsafe { machine.upload(self.handle, to, from, asked * 4) })
    }

    /// Waits until all that was queued is done.
    ///
    /// # Errors
    /// [`CudaError::TimedOut`] past the limit, else what the device said. Either loses the device.
    pub fn finish(&mut self, limit: Duration) -> Result<(), CudaError> {
        let started = Instant::now();
        loop {
            if self.shared.watched(|machine| machine.is_done(self.handle))? {
                return Ok(());
            }
            match started.elapsed() {
                waited if waited > limit => return self.shared.watched(|_| Err(CudaError::TimedOut(limit))),
                waited if waited > YIELD => std::thread::sleep(NAP),
                waited if waited > SPIN => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
    }

    /// Waits, and copies the first values of a buffer to `out`.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and [`CudaError::Capacity`] when the stream was made for fewer bytes.
    ///
    /// # Panics
    /// If the buffer has fewer values.
    pub fn finish_into(&mut self, from: &Buffer<f32>, out: &mut [f32], limit: Duration) -> Result<(), CudaError> {
        assert!(out.len() <= from.len(), "{} values of a buffer of {}", out.len(), from.len());
        self.own(from);
        let staged = self.read(from.address, size_of_val(out), limit)?;
        for (value, bytes) in out.iter_mut().zip(staged.as_chunks::<4>().0) {
            *value = f32::from_ne_bytes(*bytes);
        }
        Ok(())
    }

    /// Waits, and gives the first `count` elements of a buffer as f32.
    ///
    /// # Errors
    /// As [`finish_into`](Self::finish_into).
    ///
    /// # Panics
    /// If the buffer has fewer.
    pub fn finish_elements(
        &mut self,
        from: &Buffer<Element>,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<f32>, CudaError> {
        assert!(count <= from.len(), "{count} values of a buffer of {}", from.len());
        self.own(from);
        let arithmetic = self.shared.arithmetic;
        let staged = self.read(from.address, count * arithmetic.bytes(), limit)?;
        let halves = || staged.as_chunks::<2>().0.iter().map(|&bytes| u16::from_ne_bytes(bytes));
        Ok(match arithmetic {
            Arithmetic::F32 => staged.as_chunks::<4>().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect(),
            Arithmetic::Bf16 => halves().map(|bits| half::bf16::from_bits(bits).to_f32()).collect(),
            Arithmetic::F16 => halves().map(|bits| half::f16::from_bits(bits).to_f32()).collect(),
        })
    }

    /// Waits, and gives `bytes` bytes from an address inside of a buffer.
    pub(super) fn read(&mut self, from: u64, bytes: usize, limit: Duration) -> Result<&[u8], CudaError> {
        self.download.bytes("bytes of results", bytes)?;
        let to = self.download.memory.as_ptr();
        // SAFETY: both places have the bytes; the host's is this stream's and not touched before it is done.
        self.shared.watched(|machine| unsafe { machine.download(self.handle, to, from, bytes) })?;
        self.finish(limit)?;
        self.staged(bytes)
    }

    /// The first `bytes` bytes of what was read last. Nothing may have been queued since.
    pub(super) fn staged(&mut self, bytes: usize) -> Result<&[u8], CudaError> {
        Ok(self.download.bytes("bytes of results", bytes)?)
    }

    /// Copies `bytes`, all of a buffer, to the device, and waits.
    pub(super) fn fill<T: Cell>(&mut self, to: &Buffer<T>, bytes: &[u8]) -> Result<(), CudaError> {
        assert!(bytes.len() == to.bytes(), "{} bytes for a buffer of {}", bytes.len(), to.bytes());
        self.fill_at(to, 0, bytes)
    }

    /// Copies `bytes` to the device, from byte `start` of a buffer on, and waits.
    pub(super) fn fill_at<T: Cell>(&mut self, to: &Buffer<T>, start: usize, bytes: &[u8]) -> Result<(), CudaError> {
        assert!(start + bytes.len() <= to.bytes(), "{} bytes from {start} of {}", bytes.len(), to.bytes());
        self.own(to);
        self.put(to.address + start as u64, bytes, FILL_MAX)?;
        self.finish(FILL_MAX)
    }

    /// Queues a copy of `bytes` to the start of a buffer, behind all that was queued before: waits for that.
    pub(super) fn send<T: Cell>(&mut self, to: &Buffer<T>, bytes: &[u8], limit: Duration) -> Result<(), CudaError> {
        assert!(bytes.len() <= to.bytes(), "{} bytes for a buffer of {}", bytes.len(), to.bytes());
        self.own(to);
        self.put(to.address, bytes, limit)
    }

    /// Queues copies through the staging memory, which is waited for.
    fn put(&mut self, to: u64, bytes: &[u8], limit: Duration) -> Result<(), CudaError> {
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            self.finish(limit)?;
            self.upload.bytes("bytes of an upload", piece.len())?.copy_from_slice(piece);
            let (place, from) = (to + (number * PIECE_BYTES) as u64, self.upload.memory.as_ptr());
            // SAFETY: the piece lies inside the buffer, see the callers; the staging memory is this stream's and not touched
            // before it is done.
            self.shared.watched(|machine| unsafe { machine.upload(self.handle, place, from, piece.len()) })?;
        }
        Ok(())
    }

    /// Where parts of the current batch lie: tiles, tokens, places, offsets.
    pub(super) fn batch_addresses(&self) -> [u64; 4] {
        let Current { tiles, tokens, .. } = self.batch;
        [0, 4 * tiles, 4 * tiles + tokens, 4 * tiles + 2 * tokens].map(|words| self.words.address + 4 * words as u64)
    }

    /// Writes down what `queue` would queue.
    ///
    /// # Errors
    /// What the device said.
    pub fn record(&mut self, queue: impl FnOnce(&mut Self) -> Result<(), CudaError>) -> Result<Recording, CudaError> {
        self.shared.watched(|machine| machine.start_recording(self.handle))?;
        self.recording = Some(vec![Arc::clone(&self.words.memory)]);
        let queued = queue(self);
        let memory = self.recording.take().unwrap_or_default();
        let handle = self.shared.watched(|machine| machine.end_recording(self.handle))?;
        let (shared, stream, batch) = (Arc::clone(&self.shared), self.handle, self.batch);
        let recording = Recording { shared, handle, stream, batch, _memory: memory };
        queued.map(|()| recording)
    }

    /// Queues what was written down, for the batch that is on the device.
    ///
    /// # Errors
    /// What the device said.
    ///
    /// # Panics
    /// If it is another stream's, or was written down for a batch of other sizes.
    pub fn replay(&mut self, recording: &Recording) -> Result<(), CudaError> {
        let own = Arc::ptr_eq(&self.shared, &recording.shared) && self.handle == recording.stream;
        assert!(own && self.batch == recording.batch, "{recording:?} for {self:?}");
        // SAFETY: the recording holds all memory that its launches name, and their sizes are this batch's.
        self.shared.watched(|machine| unsafe { machine.replay(self.handle, recording.handle) })
    }

    /// Panics unless the buffer is this device's: an address means nothing on another.
    pub(super) fn own<T>(&mut self, buffer: &Buffer<T>) {
        assert!(Arc::ptr_eq(&self.shared, &buffer.shared), "a buffer of another device");
        if let Some(memory) = &mut self.recording {
            memory.push(Arc::clone(&buffer.memory));
        }
    }

    /// A matrix of `size` rows and columns at an address, as the copy engine sees it.
    pub(super) fn tile_map(&self, address: u64, size: [usize; 2], tile_rows: usize) -> Result<TileMap, CudaError> {
        self.shared.watched(|machine| machine.tile_map(self.shared.arithmetic, address, size, tile_rows))
    }

    /// Queues a kernel.
    ///
    /// # Safety
    /// As `Machine::launch`. That memory stays until the stream is done is the buffers' affair: to free device memory
    /// waits for the device.
    pub(super) unsafe fn launch(&mut self, shape: Shape, arguments: &mut [Argument]) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        self.shared.watched(|machine| unsafe { machine.launch(self.handle, shape, arguments) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The staging memory goes next, so nothing may be under way. What does not end loses the device.
        if self.finish(FILL_MAX).is_ok() {
            self.shared.machine.close_stream(self.handle);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.batch)
    }
}
