//! A device: what memory, streams and launches are made on.

use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::emulator::{Emulator, ThreadOrder};
use super::gpu::Gpu;
use super::launch::Kernel;
use super::memory::{Buffer, Cell, Element};
use super::modules::{Image, ModuleOrigin, cache_folder, native};
use super::plan::{Shape, Tiling};
use super::{Arithmetic, Card, CudaError, Probe, Stream, StreamSize};

/// What a card and its emulation have in common: raw memory and raw launches. Addresses are the device's.
pub(super) trait Machine: Send + Sync {
    /// Memory of `bytes` bytes, aligned to 256.
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError>;
    /// Gives back what `allocate` gave.
    fn free(&self, address: u64);
    /// Host memory that the device can copy from and to on its own.
    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, CudaError>;
    /// Gives back what `pin` gave.
    fn unpin(&self, memory: NonNull<u8>, bytes: usize);
    /// A queue of work.
    fn open_stream(&self) -> Result<u64, CudaError>;
    /// Ends what `open_stream` began.
    fn close_stream(&self, stream: u64);
    /// Whether all that was queued is done; an error if any of it failed.
    fn is_done(&self, stream: u64) -> Result<bool, CudaError>;
    /// Queues a copy to the device.
    ///
    /// # Safety
    /// Both places have `bytes` bytes and stay, untouched, until the stream is done.
    unsafe fn upload(&self, stream: u64, to: u64, from: *const u8, bytes: usize) -> Result<(), CudaError>;
    /// Queues a copy from the device.
    ///
    /// # Safety
    /// As `upload`.
    unsafe fn download(&self, stream: u64, to: *mut u8, from: u64, bytes: usize) -> Result<(), CudaError>;
    /// Whether a kernel is loaded.
    fn has(&self, kernel: Kernel) -> bool;
    /// A matrix of `rows` x `columns` as the copy engine sees it, in tiles of `tile_rows` x 64 elements.
    fn tile_map(
        &self,
        arithmetic: Arithmetic,
        address: u64,
        size: [usize; 2],
        tile_rows: usize,
    ) -> Result<TileMap, CudaError>;
    /// Queues a kernel.
    ///
    /// # Safety
    /// `arguments` point to values of the kernel's parameter types, and the addresses among them to memory that is large
    /// enough and stays until the stream is done.
    unsafe fn launch(&self, stream: u64, shape: Shape, arguments: &mut [Argument]) -> Result<(), CudaError>;
    /// From now on launches of a stream are written down instead of queued.
    fn start_recording(&self, stream: u64) -> Result<(), CudaError>;
    /// What was written down since.
    fn end_recording(&self, stream: u64) -> Result<u64, CudaError>;
    /// Queues what was written down.
    ///
    /// # Safety
    /// As `launch`, for each launch in it.
    unsafe fn replay(&self, stream: u64, recording: u64) -> Result<(), CudaError>;
    /// Forgets what was written down.
    fn forget(&self, recording: u64);
    /// Bytes free, and in all.
    fn memory(&self) -> Result<(usize, usize), CudaError>;
    /// Work on it never ends: nothing is to be waited for when it is given back.
    fn abandon(&self);
}

/// An argument of a kernel: a value that is copied before the launch returns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument {
    pub(super) value: *mut c_void,
    pub(super) bytes: usize,
}

/// What a kernel needs to know of a matrix that the copy engine reads: the driver's own words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct TileMap(pub(super) [u64; 16]);

/// A device with its kernels loaded, shared by all who use it.
#[derive(Clone)]
pub struct Device(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) machine: Box<dyn Machine>,
    pub(super) card: Card,
    pub(super) arithmetic: Arithmetic,
    /// Whether it has the kernels that only Hopper runs.
    pub(super) has_hopper: bool,
    origin: ModuleOrigin,
    lost: AtomicBool,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({}, {})", self.0.card, self.0.arithmetic)
    }
}

impl Device {
    /// Opens a card that [`probe`](super::probe) found and loads the kernels, compiling them if need be (seconds, once).
    ///
    /// # Errors
    /// [`CudaError::NoModule`] when the card lacks the arithmetic; [`CudaError::Driver`] when the driver refuses.
    pub fn open(probe: &Probe, card: &Card, arithmetic: Arithmetic) -> Result<Self, CudaError> {
        let cache = cache_folder();
        Self::open_by(card, arithmetic, || native(&card.architecture(), arithmetic, probe.driver, cache.as_deref()))
    }

    /// [`open`](Self::open) with the kernels that come with the program, as where NVRTC is missing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_embedded(card: &Card, arithmetic: Arithmetic) -> Result<Self, CudaError> {
        Self::open_by(card, arithmetic, || None)
    }

    fn open_by(card: &Card, arithmetic: Arithmetic, native: impl FnOnce() -> Option<Image>) -> Result<Self, CudaError> {
        let (major, minor) = arithmetic.capability_min();
        if card.capability < (major, minor) {
            return Err(CudaError::NoModule(format!("{arithmetic} needs compute {major}.{minor}, this is {card}")));
        }
        let (gpu, origin) = Gpu::open(card, arithmetic, native())?;
        Ok(Self::of(Box::new(gpu), card.clone(), arithmetic, origin))
    }

    /// A device without a GPU: the kernels compiled with the C++ compiler of this machine, for checking them.
    ///
    /// # Errors
    /// [`CudaError::Emulation`] when there is no C++ compiler, or it refuses.
    pub fn emulated(arithmetic: Arithmetic, order: ThreadOrder) -> Result<Self, CudaError> {
        let emulator = Emulator::build(arithmetic, order)?;
        let card = Card {
            index: 0,
            name: "emulated".into(),
            capability: (8, 0),
            memory_bytes: Emulator::MEMORY_BYTES,
            multiprocessors: 4,
        };
        Ok(Self::of(Box::new(emulator), card, arithmetic, ModuleOrigin::Emulated))
    }

    fn of(machine: Box<dyn Machine>, card: Card, arithmetic: Arithmetic, origin: ModuleOrigin) -> Self {
        let has_hopper = Kernel::HOPPER.iter().all(|kernel| machine.has(*kernel));
        Self(Arc::new(Shared { machine, card, arithmetic, has_hopper, origin, lost: AtomicBool::new(false) }))
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.0.card
    }

    /// What its kernels compute in.
    pub fn arithmetic(&self) -> Arithmetic {
        self.0.arithmetic
    }

    /// Where its kernels come from.
    pub fn origin(&self) -> ModuleOrigin {
        self.0.origin
    }

    /// How products can be cut here.
    pub fn tilings(&self) -> &'static [Tiling] {
        Tiling::of(self.arithmetic(), self.0.has_hopper)
    }

    /// Whether it is no card but its emulation.
    pub fn is_emulated(&self) -> bool {
        self.0.origin == ModuleOrigin::Emulated
    }

    /// Whether it failed. Nothing works on a lost device; open the card again.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// Takes it out of use, as a failure does.
    pub fn retire(&self) {
        self.0.lose();
    }

    /// Bytes of its memory that are free, and in all.
    ///
    /// # Errors
    /// [`CudaError`] when the driver does not say.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.0.watched(|machine| machine.memory())
    }

    /// A queue of work with memory for batches of some size: one for each worker.
    ///
    /// # Errors
    /// [`CudaError`] when memory runs out.
    pub fn stream(&self, size: StreamSize) -> Result<Stream, CudaError> {
        Stream::open(self, size)
    }

    /// Memory for `count` values, of unspecified content.
    ///
    /// # Errors
    /// [`CudaError::Memory`] when the card has too little left.
    pub fn allocate<T: Cell>(&self, count: usize) -> Result<Buffer<T>, CudaError> {
        Buffer::allocate(&self.0, count)
    }

    /// f32 values on the device.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn floats(&self, values: &[f32]) -> Result<Buffer<f32>, CudaError> {
        self.filled(bytes_of(values), values.len())
    }

    /// Values on the device, rounded to its arithmetic.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn elements(&self, values: &[f32]) -> Result<Buffer<Element>, CudaError> {
        let rounded: Vec<u16> = match self.arithmetic() {
            Arithmetic::F32 => return self.filled(bytes_of(values), values.len()),
            Arithmetic::Bf16 => values.iter().map(|&value| half::bf16::from_f32(value).to_bits()).collect(),
            Arithmetic::F16 => values.iter().map(|&value| half::f16::from_f32(value).to_bits()).collect(),
        };
        // SAFETY: any u16 is two bytes.
        let bytes = unsafe { std::slice::from_raw_parts(rounded.as_ptr().cast(), rounded.len() * 2) };
        self.filled(bytes, values.len())
    }

    fn filled<T: Cell>(&self, bytes: &[u8], count: usize) -> Result<Buffer<T>, CudaError> {
        let buffer = self.allocate(count)?;
        let mut stream = Stream::open(self, StreamSize { upload_bytes: bytes.len(), ..StreamSize::default() })?;
        stream.fill(&buffer, bytes)?;
        Ok(buffer)
    }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: any f32 is four bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

impl Shared {
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Does something on the machine unless it is lost; loses it when that fails, except for lack of memory.
    pub(super) fn watched<T>(&self, run: impl FnOnce(&dyn Machine) -> Result<T, CudaError>) -> Result<T, CudaError> {
        if self.is_lost() {
            return Err(CudaError::Lost);
        }
        run(&*self.machine).inspect_err(|error| match error {
            CudaError::Memory { .. } | CudaError::Capacity { .. } => {}
            CudaError::TimedOut(_) => {
                self.machine.abandon();
                self.lose();
            }
            _ => self.lose(),
        })
    }
}
