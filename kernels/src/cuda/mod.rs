//! Kernels on a GPU, or on its emulation.
//!
//! Nothing of CUDA is needed to build or to start: the driver and NVRTC are opened at run time, and that they are absent is a
//! value ([`probe`]). What runs a kernel is a [`Device`]: a card, or an emulated one, which compiles the very same sources
//! with a C++ compiler and runs the blocks one after the other. So a kernel's arithmetic and its indices are tested on
//! machines without a GPU; what the emulation cannot tell is speed, and whether the dozen instructions of `ptx.cuh` do what
//! `emulated.hpp` says.
//!
//! ```text
//! probe -> choose -> Device (module: NVRTC and its cache, or embedded PTX) -> Stream (one a worker) -> launches
//! ```
//!
//! Memory is taken when an engine starts and not while it runs. Launches are safe functions: they hold the lengths of the
//! buffers against the sizes, and indices that a kernel follows (tokens, offsets) only ever come from a checked
//! [`BatchPlan`].

pub mod check;
mod choice;
mod device;
mod emulator;
mod error;
mod gpu;
mod guard;
mod launch;
mod memory;
mod modules;
mod nvrtc;
mod plan;
mod probe;
mod sources;
mod stream;
mod topk;

pub use choice::{ChoiceError, Chosen, DeviceChoice, choose};
pub use device::Device;
pub use emulator::ThreadOrder;
pub use error::CudaError;
pub use guard::{CardState, Guarded, OnDevice, Reopen};
pub use launch::{AttentionSize, NormWeights, PoolKind, Projection};
pub use memory::{Buffer, Element};
pub use modules::ModuleOrigin;
pub use plan::{BatchPlan, Bucket, HEAD_WIDTHS, PlanError, Tiling, WIDTH_MAX, check_widths};
pub use probe::{Absence, Card, Probe, Version, probe};
pub use sources::{ARCHITECTURES, Arithmetic};
pub use stream::{Recording, Stream, StreamSize};
pub use topk::{
    Found, GuardedItems, ItemTable, Items, NO_ROW, TOPK_MAX, TOPK_QUERIES_MAX, TOPK_WANTED_MAX, TOPK_WIDTH_MAX,
    TopkPass, TopkQuery, TopkWorker,
};

pub use nvrtc::Compiler;
