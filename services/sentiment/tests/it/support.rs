//! A corpus and a model small enough to train on in a second.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use attune_inference::testing::{write_tiny_adapter, write_tiny_model};
use attune_inference::train::Recipe;
use attune_inference::{Inference, InferenceConfig, ModelSpec};
use attune_sentiment::data::SOURCES;
use attune_sentiment::train::TrainOptions;
use tempfile::TempDir;

/// The folder of fetched models and data.
pub fn models() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/models");
    let folder = std::env::var_os("ATTUNE_MODELS_DIR").map_or(default, PathBuf::from);
    assert!(folder.join("sentiment-data").is_dir(), "no data in {}: run `make models` first", folder.display());
    folder
}

/// A folder with a tiny base model, an adapter for it, and rated sentences whose words give them away.
pub struct Fixture(TempDir);

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self(folder);
        write_tiny_model(&fixture.base(), 3).unwrap();
        write_tiny_adapter(&fixture.path("adapter"), 4).unwrap();
        std::fs::create_dir(fixture.data()).unwrap();
        for source in SOURCES {
            fixture.write_source(source, &rows(|n| n % 3));
        }
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn base(&self) -> PathBuf {
        self.path("tiny")
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write_source(&self, source: &str, rows: &str) {
        std::fs::write(self.data().join(format!("{source}_GroundTruth.txt")), rows).unwrap();
    }

    pub fn options(&self) -> TrainOptions {
        let recipe =
            Recipe { rank: 4, alpha: 8.0, learning_rate: 0.02, batch_texts: 16, epochs: 4, ..Recipe::default() };
        TrainOptions {
            base: self.base(),
            base_name: "tiny".into(),
            data: self.data(),
            out: self.path("trained"),
            recipe,
            ..TrainOptions::default()
        }
    }

    /// The core with the base as `tiny` and the adapter in `adapter` as `mood`.
    pub fn inference(&self, adapter: &Path) -> Inference {
        let spec = |name: &str, adapter: Option<&Path>| ModelSpec {
            name: name.into(),
            aliases: vec![format!("{name}-alias")],
            path: self.base(),
            adapter: adapter.map(Path::to_path_buf),
            precision: None,
            max_tokens: None,
        };
        let config = InferenceConfig { workers: Some(1), ..InferenceConfig::default() };
        Inference::start(config, vec![spec("tiny", None), spec("mood", Some(adapter))]).unwrap()
    }
}

/// Ninety rated sentences, ended as the real files are; `kind` is 0 for negative, 1 for neutral, 2 for positive.
pub fn rows(kind: impl Fn(usize) -> usize) -> String {
    const WORDS: [&str; 3] = ["bad sad", "a person", "good happy"];
    const RATINGS: [f64; 3] = [-2.1, 0.1, 2.2];
    (0..90).fold(String::new(), |mut rows, n| {
        let kind = kind(n);
        write!(rows, "{n}_1\t{}\tthe film was {} {}\r\n", RATINGS[kind], WORDS[kind], "very ".repeat(n % 5)).unwrap();
        rows
    })
}
