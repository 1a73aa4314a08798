//! The GPU engine without a GPU: on the emulated device, against candle and against the CPU that stands in for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attune_inference::Precision;
use attune_inference::engine::cpu::{CpuEngine, CpuModel};
use attune_inference::engine::cuda::guard::{GuardedEngine, GuardedModel};
use attune_inference::engine::cuda::{CudaEngine, CudaModel, CudaModelError};
use attune_inference::engine::reference::{ReferenceEngine, ReferenceModel};
use attune_inference::engine::{Engine, EngineError, FlatBatch};
use attune_inference::model::{Adapter, Architecture, Checkpoint, ModelConfig};
use attune_inference::testing::{write_tiny_adapter, write_tiny_model};
use attune_kernels::Isa;
use attune_kernels::cuda::{Arithmetic, Device, ThreadOrder};

use crate::support::{MiniLm, cosine, run};

const CAPACITY: usize = 512;

/// The emulated device; `None` where this machine has no C++ compiler, and says so.
fn emulated(arithmetic: Arithmetic) -> Option<Device> {
    Device::emulated(arithmetic, ThreadOrder::default()).inspect_err(|error| eprintln!("SKIPPED: {error}")).ok()
}

struct Tiny {
    checkpoint: Checkpoint,
    architecture: Architecture,
    adapter: Adapter,
}

impl Tiny {
    fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tiny_model(folder.path(), 7).unwrap();
        let adapter = folder.path().join("adapter");
        write_tiny_adapter(&adapter, 8).unwrap();
        Self {
            checkpoint: Checkpoint::read(folder.path()).unwrap(),
            architecture: ModelConfig::read(folder.path()).unwrap().architecture,
            adapter: Adapter::read(&adapter).unwrap(),
        }
    }

    fn on(&self, device: &Device) -> Result<CudaModel, CudaModelError> {
        CudaModel::new(device, &self.checkpoint, &self.architecture, 0, CAPACITY)
    }

    fn cpu(&self, precision: Precision) -> CpuEngine {
        let isa = Isa::active().unwrap();
        let model = CpuModel::new(&self.checkpoint, &self.architecture, isa, precision, 0, CAPACITY).unwrap();
        CpuEngine::new(Arc::new(model))
    }

    fn reference(&self, checkpoint: &Checkpoint, labels: usize) -> ReferenceEngine {
        ReferenceEngine(Arc::new(ReferenceModel::new(checkpoint, &self.architecture, labels, CAPACITY).unwrap()))
    }

    /// Texts of every length that positions allow, with the longest in the middle.
    fn texts(&self) -> Vec<Vec<u32>> {
        let longest = self.architecture.positions_max();
        let token = |place: usize| (place * 7 % self.architecture.vocabulary) as u32;
        [1, 2, 17, longest, 33, 5].map(|length| (0..length).map(|place| token(place + length)).collect()).into()
    }
}

fn assert_cosines(found: &[Vec<f32>], expected: &[Vec<f32>], lowest: f64, what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        let cosine = cosine(found, expected);
        assert!(cosine >= lowest, "{what}: cosine {cosine}");
    }
}

#[test]
fn rows_point_where_candles_do() {
    let tiny = Tiny::write();
    let texts = tiny.texts();
    let expected = run(&mut tiny.reference(&tiny.checkpoint, 0), &texts);
    for (arithmetic, lowest) in [(Arithmetic::F32, 0.999_999), (Arithmetic::Bf16, 0.999), (Arithmetic::F16, 0.999_9)] {
        let Some(device) = emulated(arithmetic) else { return };
        let mut engine = CudaEngine::new(Arc::new(tiny.on(&device).unwrap())).unwrap();
        let found = run(&mut engine, &texts);
        assert_cosines(&found, &expected, lowest, &arithmetic.to_string());
        for (text, row) in texts.iter().zip(&found) {
            assert!(run(&mut engine, std::slice::from_ref(text))[0] == *row, "{arithmetic}: a row differs alone");
        }
    }
}

#[test]
fn a_real_model_points_where_candle_does() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let model = MiniLm::read();
    let texts = model.ids(&["Not bad at all!", "The plot is thin, but the actors carry it well until the very end."]);
    let expected = run(&mut model.reference(), &texts);
    let found = run(&mut model.cuda(&device), &texts);
    assert_cosines(&found, &expected, 0.999, "MiniLM");
}

#[test]
fn an_adapted_model_classifies_as_candles_does() {
    let tiny = Tiny::write();
    let merged = tiny.checkpoint.merged(&tiny.adapter).unwrap();
    let Some(device) = emulated(Arithmetic::F32) else { return };
    let base = tiny.on(&device).unwrap();
    let mut engine = CudaEngine::new(Arc::new(base.adapted(&merged, &tiny.adapter, 3).unwrap())).unwrap();
    let expected = run(&mut tiny.reference(&merged, 3), &tiny.texts());
    for (found, expected) in run(&mut engine, &tiny.texts()).iter().zip(&expected) {
        assert_eq!(found.len(), 3);
        let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 1e-4, "{found:?}, not {expected:?}");
    }
}

#[test]
fn a_model_without_kernels_is_refused_by_the_size_that_is_wrong() {
    let Some(device) = emulated(Arithmetic::F32) else { return };
    let mut tiny = Tiny::write();
    tiny.architecture.heads *= 2;
    let refused = tiny.on(&device).unwrap_err().to_string();
    assert!(refused.contains("heads in a width of"), "{refused}");
}

#[test]
fn a_batch_outside_the_contract_is_refused_and_harms_nothing() {
    let Some(device) = emulated(Arithmetic::F32) else { return };
    let tiny = Tiny::write();
    let mut engine = CudaEngine::new(Arc::new(tiny.on(&device).unwrap())).unwrap();
    let mut out = vec![0.0; engine.width()];
    let longest = tiny.architecture.positions_max();
    for tokens in [vec![u32::MAX], vec![1; longest + 1], vec![1; CAPACITY + 1]] {
        let offsets = [0, tokens.len()];
        let batch = FlatBatch::new(&tokens, &offsets).unwrap();
        assert!(matches!(engine.run(batch, &|| false, &mut out), Err(EngineError::Batch(_))));
    }
    let batch = FlatBatch::new(&[1, 2], &[0, 2]).unwrap();
    assert!(matches!(engine.run(batch, &|| true, &mut out), Err(EngineError::Stopped)));
    assert!(engine.run(batch, &|| false, &mut out).is_ok() && !device.is_lost());
}

#[test]
fn a_card_that_fails_is_replaced_by_the_cpu_and_comes_back() {
    let Some(device) = emulated(Arithmetic::F32) else { return };
    let tiny = Arc::new(Tiny::write());
    let texts = tiny.texts();
    let works = Arc::new(AtomicBool::new(false));
    let reopen = {
        let (tiny, works) = (Arc::clone(&tiny), Arc::clone(&works));
        move || match works.load(Ordering::Acquire) {
            true => {
                let device =
                    Device::emulated(Arithmetic::F32, ThreadOrder::default()).map_err(|error| error.to_string())?;
                tiny.on(&device).map_err(|error| error.to_string())
            }
            false => Err("the card has fallen off the bus".to_owned()),
        }
    };
    let guarded = GuardedModel::new(tiny.on(&device).unwrap(), Box::new(reopen));
    let mut engine = GuardedEngine::new(Arc::clone(&guarded), tiny.cpu(Precision::F32));
    let mut other = GuardedEngine::new(Arc::clone(&guarded), tiny.cpu(Precision::F32));
    let (from_card, from_cpu) = (run(&mut engine, &texts), run(&mut tiny.cpu(Precision::F32), &texts));
    assert_cosines(&from_card, &from_cpu, 0.999_999, "the card");
    assert!(from_card == run(&mut other, &texts) && from_card != from_cpu, "the two round differently");

    device.retire();
    assert!(run(&mut engine, &texts) == from_cpu, "the batch that finds the card lost is answered by the CPU");
    assert!(run(&mut other, &texts) == from_cpu, "and so is every worker's");
    let state = guarded.state();
    assert!(!state.in_use && state.failures >= 1 && state.reason.contains("failed before"), "{state:?}");

    wait_until("a second attempt has failed", || guarded.state().reason.contains("fallen off the bus"));
    works.store(true, Ordering::Release);
    wait_until("the card is back", || guarded.state().in_use);
    assert!(run(&mut engine, &texts) == from_card && run(&mut other, &texts) == from_card);
}

/// Waits far longer than any machine needs.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
