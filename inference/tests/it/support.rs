//! Folders, engines and texts that several tests need.

use std::path::PathBuf;
use std::sync::Arc;

use attune_inference::engine::cpu::{CpuEngine, CpuModel};
use attune_inference::engine::cuda::{CudaEngine, CudaModel};
use attune_inference::engine::reference::{ReferenceEngine, ReferenceModel};
use attune_inference::engine::{Engine, FlatBatch, Precision};
use attune_inference::model::{Checkpoint, ModelConfig};
use attune_inference::tokenize::TextTokenizer;
use attune_kernels::Isa;
use attune_kernels::cuda::Device;

/// The folder of fetched models.
pub fn models() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/models");
    let folder = std::env::var_os("ATTUNE_MODELS_DIR").map_or(default, PathBuf::from);
    assert!(folder.join("all-MiniLM-L6-v2").is_dir(), "no models in {}: run `make models` first", folder.display());
    folder
}

/// MiniLM in memory, ready for engines of any kind.
pub struct MiniLm {
    config: ModelConfig,
    checkpoint: Checkpoint,
    tokenizer: TextTokenizer,
}

impl MiniLm {
    pub fn read() -> Self {
        let folder = models().join("all-MiniLM-L6-v2");
        let config = ModelConfig::read(&folder).unwrap();
        let vocabulary = config.architecture.vocabulary;
        Self {
            checkpoint: Checkpoint::read(&folder).unwrap(),
            tokenizer: TextTokenizer::read(&folder, config.architecture.positions_max(), vocabulary).unwrap(),
            config,
        }
    }

    pub fn cpu(&self, isa: Isa, precision: Precision) -> CpuEngine {
        let model = CpuModel::new(&self.checkpoint, &self.config.architecture, isa, precision, 0, 8192).unwrap();
        CpuEngine::new(Arc::new(model))
    }

    pub fn reference(&self) -> ReferenceEngine {
        ReferenceEngine(Arc::new(ReferenceModel::new(&self.checkpoint, &self.config.architecture, 0, 8192).unwrap()))
    }

    pub fn cuda(&self, device: &Device) -> CudaEngine {
        let model = CudaModel::new(device, &self.checkpoint, &self.config.architecture, 0, 512).unwrap();
        CudaEngine::new(Arc::new(model)).unwrap()
    }

    pub fn ids<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Vec<u32>> {
        texts.iter().map(|text| self.tokenizer.encode(text.as_ref()).unwrap().ids).collect()
    }
}

/// Runs texts as one batch.
pub fn run(engine: &mut dyn Engine, texts: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let tokens = texts.concat();
    let ends = texts.iter().scan(0, |end, text| {
        *end += text.len();
        Some(*end)
    });
    let offsets: Vec<usize> = std::iter::once(0).chain(ends).collect();
    let width = engine.width();
    let mut out = vec![f32::NAN; texts.len() * width];
    engine.run(FlatBatch::new(&tokens, &offsets).unwrap(), &|| false, &mut out).unwrap();
    out.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// Sentences from the labelled data, every `step`-th of the tweets and the editorials: short ones and long ones.
pub fn sentences(step: usize) -> Vec<String> {
    let folder = models().join("sentiment-data");
    let read = |name: &str| {
        let path = folder.join(format!("{name}_GroundTruth.txt"));
        let bytes = std::fs::read(&path).unwrap_or_else(|_| panic!("no {}: run `make models` first", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let both = read("tweets") + &read("nytEditorialSnippets");
    both.lines().step_by(step).filter_map(|line| line.split('\t').nth(2)).map(str::to_owned).collect()
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
