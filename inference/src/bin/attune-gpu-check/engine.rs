//! The engine against the CPU's, and what happens when a card fails.

use std::sync::Arc;
use std::time::Instant;

use attune_inference::Precision;
use attune_inference::engine::cpu::{CpuEngine, CpuModel};
use attune_inference::engine::cuda::guard::{GuardedEngine, GuardedModel};
use attune_inference::engine::cuda::{CudaEngine, CudaModel};
use attune_inference::engine::{Engine, FlatBatch};
use attune_inference::model::{Architecture, Checkpoint, ModelConfig};
use attune_inference::testing::{Size, write_model};
use attune_kernels::Isa;
use attune_kernels::cuda::Arithmetic;
use serde_json::{Value, json};

use crate::Open;

/// The sizes of all-MiniLM-L6-v2.
pub(crate) const MINI_LM: Size = Size { hidden: 384, layers: 6, intermediate: 1536, positions: 512 };
/// What an emulated card can do in seconds.
const SMALL: Size = Size { hidden: 64, layers: 2, intermediate: 96, positions: 256 };
/// The lowest cosine between a row of the card and one of the CPU in f32.
const LOWEST: [(Arithmetic, f64); 3] =
    [(Arithmetic::F32, 0.999_99), (Arithmetic::Bf16, 0.995), (Arithmetic::F16, 0.999)];

/// A model of some size with random weights, in memory.
pub(crate) struct Model {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) architecture: Architecture,
}

impl Model {
    pub(crate) fn random(size: Size) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("attune-gpu-check-{}", std::process::id()));
        let read = || -> Result<Self, Box<dyn std::error::Error>> {
            write_model(&folder, 1, size)?;
            let architecture = ModelConfig::read(&folder)?.architecture;
            Ok(Self { checkpoint: Checkpoint::read(&folder)?, architecture })
        };
        let model = read().map_err(|error| format!("cannot make the test model: {error}"));
        let _ = std::fs::remove_dir_all(&folder);
        model
    }

    pub(crate) fn cuda(&self, open: Open<'_>, arithmetic: Arithmetic, capacity: usize) -> Result<CudaModel, String> {
        let device = open(arithmetic).map_err(|error| error.to_string())?;
        CudaModel::new(&device, &self.checkpoint, &self.architecture, 0, capacity).map_err(|error| error.to_string())
    }

    fn cpu(&self, capacity: usize) -> Result<CpuEngine, String> {
        let isa = Isa::active().map_err(|error| error.to_string())?;
        let model = CpuModel::new(&self.checkpoint, &self.architecture, isa, Precision::F32, 0, capacity);
        model.map(|model| CpuEngine::new(Arc::new(model))).map_err(|error| error.to_string())
    }
}

/// Token ids and offsets of texts of these lengths.
pub(crate) fn texts(lengths: &[usize], vocabulary: usize) -> (Vec<u32>, Vec<usize>) {
    let mut offsets = vec![0];
    let mut tokens = Vec::new();
    for (text, &length) in lengths.iter().enumerate() {
        tokens.extend((0..length).map(|place| ((place * 7 + text * 13) % vocabulary) as u32));
        offsets.push(tokens.len());
    }
    (tokens, offsets)
}

pub(crate) fn rows(engine: &mut dyn Engine, tokens: &[u32], offsets: &[usize]) -> Result<Vec<f32>, String> {
    let mut out = vec![f32::NAN; (offsets.len() - 1) * engine.width()];
    let batch = FlatBatch::new(tokens, offsets).map_err(|error| error.to_string())?;
    engine.run(batch, &|| false, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// Parity at each precision, and the way back to the CPU.
pub(crate) fn check(open: Open<'_>, emulated: bool) -> (Value, usize) {
    let mut wrong = 0;
    let mut answers = serde_json::Map::new();
    let size = if emulated { SMALL } else { MINI_LM };
    for (arithmetic, lowest) in LOWEST {
        let answer =
            parity(open, size, arithmetic).map(|(cosine, company)| (cosine >= lowest && company, cosine, company));
        let (passed, value) = match answer {
            Ok((passed, cosine, company)) => (passed, json!({"lowest_cosine": cosine, "same_bits_alone": company})),
            Err(error) => (false, json!({"error": error})),
        };
        println!("engine {arithmetic}: {value}{}", if passed { "" } else { " WRONG" });
        wrong += usize::from(!passed);
        answers.insert(arithmetic.to_string(), value);
    }
    if !emulated {
        let (passed, value) = match together(open) {
            Ok(differ) => (differ == 0, json!({"batches_that_differ": differ})),
            Err(error) => (false, json!({"error": error})),
        };
        println!("two workers, large batches: {value}{}", if passed { "" } else { " WRONG" });
        answers.insert("together".into(), value);
        wrong += usize::from(!passed);
    }
    let (passed, value) = match fallback(open, size) {
        Ok(ms) => (ms < 1000.0, json!({"answered_by_cpu_ms": ms})),
        Err(error) => (false, json!({"error": error})),
    };
    println!("a card that fails: {value}{}", if passed { "" } else { " WRONG" });
    answers.insert("failure".into(), value);
    (Value::Object(answers), wrong + usize::from(!passed))
}

/// Two workers at the same time, many batches each of more texts than small tiles are for: rows have the same bits as alone,
/// every time. What waits for the wrong thing shows here, if anywhere.
fn together(open: Open<'_>) -> Result<usize, String> {
    const BATCHES: usize = 100;
    let model = Model::random(MINI_LM)?;
    let lengths: Vec<usize> = (0..300).map(|text| 1 + text * 37 % 190).collect();
    let (tokens, offsets) = texts(&lengths, model.architecture.vocabulary);
    let on_card = Arc::new(model.cuda(open, Arithmetic::Bf16, tokens.len())?);
    let mut engine = CudaEngine::new(Arc::clone(&on_card)).map_err(|error| error.to_string())?;
    let mut expected = Vec::new();
    for text in offsets.windows(2) {
        expected.extend(rows(&mut engine, &tokens[text[0]..text[1]], &[0, text[1] - text[0]])?);
    }
    let work = || -> Result<usize, String> {
        let mut engine = CudaEngine::new(Arc::clone(&on_card)).map_err(|error| error.to_string())?;
        let mut differ = 0;
        for _ in 0..BATCHES {
            differ += usize::from(rows(&mut engine, &tokens, &offsets)? != expected);
        }
        Ok(differ)
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let differ = workers.map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".into())));
        differ.into_iter().sum()
    })
}

/// The lowest cosine to the CPU's rows, and whether a row has the same bits alone.
fn parity(open: Open<'_>, size: Size, arithmetic: Arithmetic) -> Result<(f64, bool), String> {
    let model = Model::random(size)?;
    let lengths = [1, 2, 25, 63, 64, 65, 128, size.positions, 17, 130];
    let (tokens, offsets) = texts(&lengths, model.architecture.vocabulary);
    let mut engine =
        CudaEngine::new(Arc::new(model.cuda(open, arithmetic, 4096)?)).map_err(|error| error.to_string())?;
    let found = rows(&mut engine, &tokens, &offsets)?;
    let expected = rows(&mut model.cpu(4096)?, &tokens, &offsets)?;
    let width = engine.width();
    let cosines = found.chunks_exact(width).zip(expected.chunks_exact(width)).map(|(a, b)| cosine(a, b));
    let lowest = cosines.fold(1.0, |lowest: f64, cosine| if cosine >= lowest { lowest } else { cosine });
    let mut company = true;
    for (text, row) in offsets.windows(2).zip(found.chunks_exact(width)) {
        let alone = rows(&mut engine, &tokens[text[0]..text[1]], &[0, text[1] - text[0]])?;
        company &= alone == row;
    }
    Ok((lowest, company))
}

/// Milliseconds from a batch that finds the card lost to its rows.
fn fallback(open: Open<'_>, size: Size) -> Result<f64, String> {
    let model = Model::random(size)?;
    let (tokens, offsets) = texts(&[25; 32], model.architecture.vocabulary);
    let guarded =
        GuardedModel::new(model.cuda(open, Arithmetic::F32, 4096)?, Box::new(|| Err("not tried again".into())));
    let mut engine = GuardedEngine::new(Arc::clone(&guarded), model.cpu(4096)?);
    let before = rows(&mut engine, &tokens, &offsets)?;
    guarded.current().ok_or("the card is out of use already")?.device().retire();
    let started = Instant::now();
    let after = rows(&mut engine, &tokens, &offsets)?;
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    match !guarded.state().in_use && cosine(&before, &after) > 0.999_99 {
        true => Ok(elapsed),
        false => Err(format!("rows of the CPU differ, or the card is still in use: {:?}", guarded.state())),
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
