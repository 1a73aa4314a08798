//! A real card, through the driver.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::sys;

use super::device::{Argument, Machine, TileMap};
use super::error::checked;
use super::launch::Kernel;
use super::modules::{Image, ModuleOrigin, embedded};
use super::plan::{Shape, hopper_shapes};
use super::{Arithmetic, Card, CudaError};

/// The most arguments that a kernel has.
const ARGUMENTS_MAX: usize = 24;

/// A context of a card, with the kernels loaded. A context of our own and not the shared primary one: after a failure it is
/// given up and a new one opened, whatever else this process does with the card.
pub(super) struct Gpu {
    context: sys::CUcontext,
    functions: Vec<(Kernel, sys::CUfunction)>,
    abandoned: AtomicBool,
}

// SAFETY: contexts and functions are handles that the driver lets any thread use; each call makes the context current first.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    pub(super) fn open(
        card: &Card,
        arithmetic: Arithmetic,
        native: Option<Image>,
    ) -> Result<(Self, ModuleOrigin), CudaError> {
        let (mut device, mut context) = (0, std::ptr::null_mut());
        // SAFETY: the probe started the driver and found this card; both are places for one handle.
        unsafe {
            checked("cuDeviceGet", sys::cuDeviceGet(&mut device, card.index as i32))?;
            let flags = sys::CUctx_flags_enum::CU_CTX_SCHED_YIELD as u32;
            checked("cuCtxCreate", sys::cuCtxCreate_v4(&mut context, std::ptr::null_mut(), flags, device))?;
        }
        let mut gpu = Self { context, functions: Vec::new(), abandoned: AtomicBool::new(false) };
        if let Some(image) = native {
            match gpu.load(&image, arithmetic) {
                Ok(()) => return Ok((gpu, image.origin)),
                Err(error) => {
                    tracing::warn!(%error, "the driver refuses the compiled kernels: the embedded ones are used")
                }
            }
        }
        let image = embedded(arithmetic, card.capability);
        gpu.load(&image, arithmetic).map_err(|error| CudaError::NoModule(error.to_string()))?;
        Ok((gpu, image.origin))
    }

    /// Loads a module and finds its kernels. The module stays until the context goes.
    fn load(&mut self, image: &Image, arithmetic: Arithmetic) -> Result<(), CudaError> {
        self.enter()?;
        let mut module = std::ptr::null_mut();
        // SAFETY: machine code of NVRTC's, or PTX that ends in a zero.
        checked("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&mut module, image.bytes.as_ptr().cast()) })?;
        let find = |kernel: Kernel| {
            let mut function = std::ptr::null_mut();
            // SAFETY: the module is loaded; the name ends in a zero.
            let code = unsafe { sys::cuModuleGetFunction(&mut function, module, kernel.c_name().as_ptr()) };
            checked("cuModuleGetFunction", code).map(|()| (kernel, function))
        };
        self.functions = Kernel::of(arithmetic).into_iter().map(find).collect::<Result<_, _>>()?;
        if !image.has_hopper {
            return Ok(());
        }
        let hopper = Kernel::HOPPER.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
        self.functions.extend(hopper);
        hopper_shapes().into_iter().try_for_each(|shape| self.allow_shared(shape))
    }

    /// Lets a kernel have the shared memory that it is launched with: more than 48 KiB has to be asked for.
    fn allow_shared(&self, Shape { kernel, shared_bytes, .. }: Shape) -> Result<(), CudaError> {
        let function = self.function(kernel)?;
        let what = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: a function of a loaded module.
        checked("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function, what, shared_bytes as i32) })
    }

    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as this.
        checked("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    fn function(&self, kernel: Kernel) -> Result<sys::CUfunction, CudaError> {
        let found = self.functions.iter().find(|(loaded, _)| *loaded == kernel);
        found.map(|(_, function)| *function).ok_or_else(|| CudaError::NoModule(kernel.name().to_owned()))
    }
}

impl Machine for Gpu {
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: `address` is a place for one device pointer.
        match unsafe { sys::cuMemAlloc_v2(&mut address, bytes) } {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = self.memory()?;
                let [needed_mib, free_mib, total_mib] = [bytes, free, total].map(|bytes| bytes.div_ceil(1 << 20));
                Err(CudaError::Memory { needed_mib, free_mib, total_mib })
            }
            code => checked("cuMemAlloc", code).map(|()| address),
        }
    }

    fn free(&self, address: u64) {
        // SAFETY: given by `allocate` and freed once, by the buffer that owns it.
        let freed = self.enter().and_then(|()| checked("cuMemFree", unsafe { sys::cuMemFree_v2(address) }));
        let _ = freed.inspect_err(|error| tracing::warn!(%error, "GPU memory is not given back"));
    }

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>, CudaError> {
        self.enter()?;
        let mut memory = std::ptr::null_mut();
        // SAFETY: `memory` is a place for one pointer.
        checked("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&mut memory, bytes, 0) })?;
        NonNull::new(memory.cast()).ok_or(CudaError::Lost)
    }

    fn unpin(&self, memory: NonNull<u8>, _: usize) {
        // SAFETY: given by `pin` and freed once, by the stream that owns it.
        let freed =
            self.enter().and_then(|()| checked("cuMemFreeHost", unsafe { sys::cuMemFreeHost(memory.as_ptr().cast()) }));
        let _ = freed.inspect_err(|error| tracing::warn!(%error, "pinned memory is not given back"));
    }

    fn open_stream(&self) -> Result<u64, CudaError> {
        self.enter()?;
        let mut stream = std::ptr::null_mut();
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: `stream` is a place for one handle.
        checked("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut stream, flags) })?;
        Ok(stream as u64)
    }

    fn close_stream(&self, stream: u64) {
        // SAFETY: given by `open_stream` and closed once; the driver finishes its work first.
        let closed = self
            .enter()
            .and_then(|()| checked("cuStreamDestroy", unsafe { sys::cuStreamDestroy_v2(stream as sys::CUstream) }));
        let _ = closed.inspect_err(|error| tracing::warn!(%error, "a stream is not given back"));
    }

    fn is_done(&self, stream: u64) -> Result<bool, CudaError> {
        self.enter()?;
        // SAFETY: a stream of this context's.
        match unsafe { sys::cuStreamQuery(stream as sys::CUstream) } {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => checked("cuStreamQuery", code).map(|()| true),
        }
    }

    unsafe fn upload(&self, stream: u64, to: u64, from: *const u8, bytes: usize) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the caller's promise.
        checked("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, stream as sys::CUstream)
        })
    }

    unsafe fn download(&self, stream: u64, to: *mut u8, from: u64, bytes: usize) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the caller's promise.
        checked("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, stream as sys::CUstream)
        })
    }

    fn has(&self, kernel: Kernel) -> bool {
        self.function(kernel).is_ok()
    }

    fn tile_map(
        &self,
        arithmetic: Arithmetic,
        address: u64,
        [rows, columns]: [usize; 2],
        tile_rows: usize,
    ) -> Result<TileMap, CudaError> {
        let kind = match arithmetic {
            Arithmetic::F16 => sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            _ => sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        };
        let (sizes, pitch) = ([columns as u64, rows as u64], (columns * arithmetic.bytes()) as u64);
        let (tile, steps) = ([64, tile_rows as u32], [1, 1]);
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: each array has an entry for each of two dimensions, the pitch one for the outer of them. Nothing is read
        // at the address.
        let code = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map,
                kind,
                2,
                address as *mut c_void,
                sizes.as_ptr(),
                &pitch,
                tile.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        checked("cuTensorMapEncodeTiled", code).map(|()| TileMap(map.opaque))
    }

    unsafe fn launch(&self, stream: u64, shape: Shape, arguments: &mut [Argument]) -> Result<(), CudaError> {
        self.enter()?;
        let mut values = [std::ptr::null_mut(); ARGUMENTS_MAX];
        values[..arguments.len()].iter_mut().zip(&*arguments).for_each(|(value, argument)| *value = argument.value);
        let Shape { kernel, grid: [x, y, z], threads, shared_bytes } = shape;
        let (function, stream, extra) = (self.function(kernel)?, stream as sys::CUstream, std::ptr::null_mut());
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        let code = unsafe {
            sys::cuLaunchKernel(function, x, y, z, threads, 1, 1, shared_bytes, stream, values.as_mut_ptr(), extra)
        };
        checked("cuLaunchKernel", code)
    }

    fn start_recording(&self, stream: u64) -> Result<(), CudaError> {
        self.enter()?;
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: a stream of this context's.
        checked("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(stream as sys::CUstream, mode) })
    }

    fn end_recording(&self, stream: u64) -> Result<u64, CudaError> {
        self.enter()?;
        let (mut graph, mut ready) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a stream of this context's that records; each is a place for one handle, and the graph is destroyed once.
        unsafe {
            checked("cuStreamEndCapture", sys::cuStreamEndCapture(stream as sys::CUstream, &mut graph))?;
            let code = sys::cuGraphInstantiateWithFlags(&mut ready, graph, 0);
            let destroyed = checked("cuGraphDestroy", sys::cuGraphDestroy(graph));
            checked("cuGraphInstantiate", code).and(destroyed)?;
        }
        Ok(ready as u64)
    }

    unsafe fn replay(&self, stream: u64, recording: u64) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: given by `end_recording` and not forgotten yet; the caller's promise.
        checked("cuGraphLaunch", unsafe { sys::cuGraphLaunch(recording as sys::CUgraphExec, stream as sys::CUstream) })
    }

    fn forget(&self, recording: u64) {
        let destroyed = self.enter().and_then(|()| {
            // SAFETY: given by `end_recording` and forgotten once.
            checked("cuGraphExecDestroy", unsafe { sys::cuGraphExecDestroy(recording as sys::CUgraphExec) })
        });
        let _ = destroyed.inspect_err(|error| tracing::warn!(%error, "a recording is not given back"));
    }

    fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: each is a place for one size.
        checked("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free, total))
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // To destroy a context waits for its kernels. One that hangs would take this thread with it: then the context, and the
        // memory in it, are left to the end of the process.
        if !self.abandoned.load(Ordering::Acquire) {
            // SAFETY: nothing uses it any more: buffers and streams hold this machine alive.
            let code = unsafe { sys::cuCtxDestroy_v2(self.context) };
            let _ = checked("cuCtxDestroy", code)
                .inspect_err(|error| tracing::warn!(%error, "a context is not given back"));
        }
    }
}
