//! A GPU that is not there: the kernels as C++ on this processor, one block after the other.
//!
//! The library is built with the machine's C++ compiler when it is first asked for and kept in the cache by the hash of its
//! source. Device memory is memory of ours with a margin on both sides that nobody may write to, and starts as NaN.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::{fs, io};

use super::device::{Argument, Machine, TileMap};
use super::launch::Kernel;
use super::modules::cache_folder;
use super::plan::Shape;
use super::sources::{EMULATED_SOURCE, hash};
use super::{Arithmetic, CudaError};

/// Bytes on both sides of an allocation that stay as they are.
const MARGIN_BYTES: usize = 256;
const MARGIN: u8 = 0xa5;

/// What a mistake may hide behind: the emulation does it both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadOrder {
    /// Threads of a block run from the last to the first.
    pub falling: bool,
    /// Asynchronous copies land at once, instead of as late as the waits allow.
    pub copies_at_once: bool,
}

impl ThreadOrder {
    /// Every combination.
    pub const ALL: [Self; 4] = [
        Self { falling: false, copies_at_once: false },
        Self { falling: true, copies_at_once: false },
        Self { falling: false, copies_at_once: true },
        Self { falling: true, copies_at_once: true },
    ];
}

type Emulate = unsafe extern "C" fn(*const c_char, *const u32, c_uint, *mut *mut c_void, c_uint) -> c_int;

/// The kernels of one arithmetic as a library.
pub(super) struct Emulator {
    emulate: Emulate,
    order: ThreadOrder,
    kernels: Vec<Kernel>,
    recorded: Mutex<Recorded>,
    /// Memory by the device address of its first byte behind the margin.
    memory: Mutex<HashMap<u64, Vec<Aligned>>>,
}

/// A launch that was written down.
type Launch = (Shape, Vec<Value>);

/// Launches that were written down.
#[derive(Default)]
struct Recorded {
    /// By stream.
    open: HashMap<u64, Vec<Launch>>,
    /// By handle.
    ready: HashMap<u64, Arc<Vec<Launch>>>,
    handle_last: u64,
}

impl Recorded {
    fn next_handle(&mut self) -> u64 {
        self.handle_last += 1;
        self.handle_last
    }
}

/// An argument's own copy; none is larger or more strictly aligned than a tile map.
#[derive(Clone)]
#[repr(align(64))]
struct Value([u8; 128]);

impl Value {
    /// # Safety
    /// The argument points to as many bytes as it says.
    unsafe fn copied(argument: &Argument) -> Self {
        let mut value = Self([0; 128]);
        assert!(argument.bytes <= value.0.len(), "an argument of {} bytes", argument.bytes);
        // SAFETY: both have the bytes; the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(argument.value.cast(), value.0.as_mut_ptr(), argument.bytes) };
        value
    }
}

/// Device memory is aligned to 256 bytes.
#[derive(Clone)]
#[repr(align(256))]
struct Aligned([u8; 256]);

/// The library has one block at a time in its static memory.
static ONE_LAUNCH_AT_A_TIME: Mutex<()> = Mutex::new(());
/// Two threads that build the same library would write one file.
static ONE_BUILD_AT_A_TIME: Mutex<()> = Mutex::new(());
static SOURCE_HASH: LazyLock<String> = LazyLock::new(|| hash(EMULATED_SOURCE));

impl Emulator {
    /// What it says it has.
    pub(super) const MEMORY_BYTES: usize = 1 << 30;

    pub(super) fn build(arithmetic: Arithmetic, order: ThreadOrder) -> Result<Self, CudaError> {
        let _one = ONE_BUILD_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = cache_folder().unwrap_or_else(std::env::temp_dir);
        let library = folder.join(format!("emulated-{}-{arithmetic}.so", &SOURCE_HASH[..16]));
        if !library.exists() {
            compile(arithmetic, &library).map_err(CudaError::Emulation)?;
        }
        let mut kernels = Kernel::of(arithmetic);
        if arithmetic != Arithmetic::F32 {
            kernels.extend(Kernel::HOPPER);
        }
        let emulate = load(&library).map_err(CudaError::Emulation)?;
        Ok(Self { emulate, order, kernels, recorded: Mutex::default(), memory: Mutex::default() })
    }

    /// Panics unless every margin is as it was: a kernel wrote outside of its memory.
    fn check_margins(&self) -> Result<(), CudaError> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |blocks: &[Aligned]| {
            let margins = [blocks.first(), blocks.last()];
            margins.into_iter().flatten().all(|block| block.0.iter().all(|&byte| byte == MARGIN))
        };
        match memory.values().all(|blocks| whole(blocks)) {
            true => Ok(()),
            false => Err(CudaError::Emulation("a kernel wrote beside its memory".into())),
        }
    }
}

/// Builds the library beside its place and renames it, so that nobody loads half of it.
fn compile(arithmetic: Arithmetic, library: &Path) -> Result<(), String> {
    let folder = library.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| failed("cannot make the cache folder", &error))?;
    let beside = |ending: &str| -> PathBuf { library.with_extension(format!("{}.{ending}", std::process::id())) };
    let (source, built) = (beside("cpp"), beside("part"));
    fs::write(&source, EMULATED_SOURCE).map_err(|error| failed("cannot write the source", &error))?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let output = Command::new(&compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-fPIC",
            "-shared",
            "-w",
            "-Wno-unknown-pragmas",
            "-Wno-psabi",
            arithmetic.define(),
        ])
        .arg(&source)
        .arg("-o")
        .arg(&built)
        .output()
        .map_err(|error| failed(&format!("needs a C++ compiler, and {compiler} cannot be run"), &error));
    let _ = fs::remove_file(&source);
    let output = output?;
    if !output.status.success() {
        return Err(format!("{compiler} refuses the kernels: {}", String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(&built, library).map_err(|error| failed("cannot keep the library", &error))
}

fn failed(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}

/// Opens the library, for the rest of the process.
fn load(library: &Path) -> Result<Emulate, String> {
    let path = CString::new(library.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a library of our own source, without initialisers of consequence.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        return Err(format!("cannot load {}", library.display()));
    }
    // SAFETY: the handle is open and stays so.
    let symbol = unsafe { libc::dlsym(handle, c"attune_emulate".as_ptr()) };
    match symbol.is_null() {
        true => Err(format!("{} has no attune_emulate", library.display())),
        // SAFETY: `emulated_launch.hpp` gives it this type.
        false => Ok(unsafe { std::mem::transmute::<*mut c_void, Emulate>(symbol) }),
    }
}

impl Machine for Emulator {
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        let blocks = bytes.div_ceil(MARGIN_BYTES);
        let mut all = vec![Aligned([MARGIN; 256])];
        all.resize(blocks + 1, Aligned([0xff; 256]));
        all.push(Aligned([MARGIN; 256]));
        let address = all.as_ptr() as u64 + MARGIN_BYTES as u64;
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(address, all);
        Ok(address)
    }

    fn free(&self, address: u64) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, CudaError> {
        let memory: Box<[u8]> = vec![0; bytes].into();
        NonNull::new(Box::into_raw(memory).cast()).ok_or(CudaError::Lost)
    }

    fn unpin(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: a boxed slice of this length, taken apart by `pin`.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory.as_ptr(), bytes)) });
    }

    fn open_stream(&self) -> Result<u64, CudaError> {
        Ok(self.recorded.lock().unwrap_or_else(PoisonError::into_inner).next_handle())
    }

    fn close_stream(&self, _: u64) {}

    fn is_done(&self, _: u64) -> Result<bool, CudaError> {
        self.check_margins().map(|()| true)
    }

    unsafe fn upload(&self, _: u64, to: u64, from: *const u8, bytes: usize) -> Result<(), CudaError> {
        // SAFETY: the caller's promise; device memory is memory of ours.
        unsafe { std::ptr::copy_nonoverlapping(from, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn download(&self, _: u64, to: *mut u8, from: u64, bytes: usize) -> Result<(), CudaError> {
        // SAFETY: the caller's promise; device memory is memory of ours.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to, bytes) };
        Ok(())
    }

    fn has(&self, kernel: Kernel) -> bool {
        self.kernels.contains(&kernel)
    }

    fn tile_map(
        &self,
        _: Arithmetic,
        address: u64,
        [rows, columns]: [usize; 2],
        tile_rows: usize,
    ) -> Result<TileMap, CudaError> {
        let mut words = [0; 16];
        words[..4].copy_from_slice(&[address, columns as u64, rows as u64, tile_rows as u64]);
        Ok(TileMap(words))
    }

    unsafe fn launch(&self, stream: u64, shape: Shape, arguments: &mut [Argument]) -> Result<(), CudaError> {
        if let Some(recorded) = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).open.get_mut(&stream) {
            // SAFETY: the caller's promise.
            recorded.push((shape, arguments.iter().map(|argument| unsafe { Value::copied(argument) }).collect()));
            return Ok(());
        }
        let mut values: Vec<*mut c_void> = arguments.iter().map(|argument| argument.value).collect();
        let Shape { kernel, grid, threads, .. } = shape;
        let order = u32::from(self.order.falling) | u32::from(self.order.copies_at_once) << 1;
        let _one = ONE_LAUNCH_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller's promise about the arguments; one launch at a time.
        let code =
            unsafe { (self.emulate)(kernel.c_name().as_ptr(), grid.as_ptr(), threads, values.as_mut_ptr(), order) };
        match code {
            0 => Ok(()),
            1 => Err(CudaError::Emulation(format!("no kernel {} for {threads} threads", kernel.name()))),
            _ => Err(CudaError::Emulation(format!("the threads of {} wait for each other", kernel.name()))),
        }
    }

    fn start_recording(&self, stream: u64) -> Result<(), CudaError> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).open.insert(stream, Vec::new());
        Ok(())
    }

    fn end_recording(&self, stream: u64) -> Result<u64, CudaError> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let launches = recorded.open.remove(&stream).ok_or(CudaError::Lost)?;
        let handle = recorded.next_handle();
        recorded.ready.insert(handle, Arc::new(launches));
        Ok(handle)
    }

    unsafe fn replay(&self, stream: u64, recording: u64) -> Result<(), CudaError> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).ready.get(&recording).cloned();
        for (shape, values) in recorded.ok_or(CudaError::Lost)?.iter() {
            let mut values = values.clone();
            let argument = |value: &mut Value| Argument { value: value.0.as_mut_ptr().cast(), bytes: value.0.len() };
            let mut arguments: Vec<Argument> = values.iter_mut().map(argument).collect();
            // SAFETY: the caller's promise.
            unsafe { self.launch(stream, *shape, &mut arguments)? };
        }
        Ok(())
    }

    fn forget(&self, recording: u64) {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner).ready.remove(&recording);
    }

    fn memory(&self) -> Result<(usize, usize), CudaError> {
        Ok((Self::MEMORY_BYTES, Self::MEMORY_BYTES))
    }

    fn abandon(&self) {}
}
