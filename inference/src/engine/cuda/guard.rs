//! An engine on a GPU that may fail: a batch it does not answer is answered by the CPU, and the card is tried again later.
//! When a whole model is on the card again, the next batch of each worker goes there.

use std::sync::Arc;

use attune_kernels::cuda::{Device, Guarded, OnDevice};

use super::{CudaEngine, CudaModel};
use crate::engine::{Engine, EngineError, EngineInfo, FlatBatch, Stop};

/// Opens the card and puts the model on it.
pub type Reopen = attune_kernels::cuda::Reopen<CudaModel>;
/// One model on one card, or the reason why it is not there.
pub type GuardedModel = Guarded<CudaModel>;

impl OnDevice for CudaModel {
    fn device(&self) -> &Device {
        Self::device(self)
    }
}

/// A worker's engine on a card, with the CPU's engine behind it.
#[derive(Debug)]
pub struct GuardedEngine<Fallback> {
    guarded: Arc<GuardedModel>,
    /// On the model that was in use when it was made.
    gpu: Option<CudaEngine>,
    cpu: Fallback,
    info: EngineInfo,
}

impl<Fallback: Engine> GuardedEngine<Fallback> {
    /// An engine over a guarded model. `cpu` has the same width and at least the same capacity.
    pub fn new(guarded: Arc<GuardedModel>, cpu: Fallback) -> Self {
        let info = guarded.current().map_or_else(|| cpu.info(), |model| model.info());
        Self { guarded, gpu: None, cpu, info }
    }

    /// This worker's engine on the card, made anew when the model was opened anew; `None` while the card is out of use.
    fn gpu(&mut self) -> Option<&mut CudaEngine> {
        let model = self.guarded.current();
        let is_current = match (&self.gpu, &model) {
            (Some(engine), Some(model)) => Arc::ptr_eq(&engine.model, model),
            (None, None) => true,
            _ => false,
        };
        if !is_current {
            self.gpu = model.and_then(|model| match CudaEngine::new(Arc::clone(&model)) {
                Ok(engine) => Some(engine),
                Err(error) => {
                    self.guarded.retire(&model, &error.to_string());
                    None
                }
            });
        }
        self.gpu.as_mut()
    }
}

impl<Fallback: Engine> Engine for GuardedEngine<Fallback> {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn width(&self) -> usize {
        self.cpu.width()
    }

    fn capacity_tokens(&self) -> usize {
        self.cpu.capacity_tokens()
    }

    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        if let Some(engine) = self.gpu() {
            let model = Arc::clone(&engine.model);
            match engine.run(batch, stop, out) {
                Err(EngineError::Compute(reason)) => {
                    self.guarded.retire(&model, &reason);
                    self.gpu = None;
                }
                answer => {
                    if answer.is_ok() {
                        self.guarded.answered();
                    }
                    return answer;
                }
            }
        }
        self.cpu.run(batch, stop, out)
    }
}
