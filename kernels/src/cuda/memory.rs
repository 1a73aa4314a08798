//! Device memory of a type and a length.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::device::Shared;
use super::{Arithmetic, CudaError};

/// A value of the device's [`Arithmetic`].
#[derive(Clone, Copy, Debug)]
pub enum Element {}

/// What a buffer can hold.
pub trait Cell: Send + Sync + 'static {
    /// Bytes of one at an arithmetic.
    fn bytes(arithmetic: Arithmetic) -> usize;
}

impl Cell for Element {
    fn bytes(arithmetic: Arithmetic) -> usize {
        arithmetic.bytes()
    }
}

impl Cell for f32 {
    fn bytes(_: Arithmetic) -> usize {
        4
    }
}

impl Cell for u32 {
    fn bytes(_: Arithmetic) -> usize {
        4
    }
}

impl Cell for u64 {
    fn bytes(_: Arithmetic) -> usize {
        8
    }
}

/// Bytes on a device, given back when nobody has them any more.
pub(super) struct Memory {
    shared: Arc<Shared>,
    address: u64,
}

/// Memory on a device for values of one type.
pub struct Buffer<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) address: u64,
    /// A recording that names the address holds it too.
    pub(super) memory: Arc<Memory>,
    count: usize,
    cells: PhantomData<T>,
}

impl<T: Cell> Buffer<T> {
    pub(super) fn allocate(shared: &Arc<Shared>, count: usize) -> Result<Self, CudaError> {
        let bytes = (count * T::bytes(shared.arithmetic)).max(1);
        let address = shared.watched(|machine| machine.allocate(bytes))?;
        let memory = Arc::new(Memory { shared: Arc::clone(shared), address });
        Ok(Self { shared: Arc::clone(shared), address, memory, count, cells: PhantomData })
    }

    /// Bytes of its cells.
    pub(super) fn bytes(&self) -> usize {
        self.count * T::bytes(self.shared.arithmetic)
    }
}

impl<T> Buffer<T> {
    /// How many cells.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // To free memory may wait for what runs, and what runs on a lost device may never end.
        if !self.shared.is_lost() {
            self.shared.machine.free(self.address);
        }
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} cells)", self.count)
    }
}
