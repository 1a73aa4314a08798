//! LoRA adapters in PEFT's own file format: read, merged at load, and written by the trainer.
//!
//! An adapter folder holds `adapter_config.json` and `adapter_model.safetensors` with tensors named
//! `base_model.model.{module}.lora_A.weight` (rank x in) and `.lora_B.weight` (out x rank); modules trained whole
//! (`modules_to_save`, the classification head) are there under their own names. A merged matrix is
//! `W + scale B A` with `scale = alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised adapters (Hu et al., 2021;
//! Kalajdzievski, 2023).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{labels, parse};
use super::error::LoadError;
use super::weights::{read_tensors, strip_family};

const PREFIX: &str = "base_model.model.";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";
const CONFIG_FILE: &str = "adapter_config.json";

/// The keys of `adapter_config.json` that decide what is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// `SEQ_CLS` for a classification head.
    #[serde(default)]
    pub task_type: Option<String>,
    /// The model it was trained on, by name.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank.
    pub r: usize,
    /// Numerator of the scale.
    pub lora_alpha: f64,
    /// Divide by the root of the rank instead of the rank.
    #[serde(default)]
    pub use_rslora: bool,
    /// Suffixes of the names of adapted modules.
    pub target_modules: Vec<String>,
    /// Modules trained whole.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Labels of the head. An addition to PEFT's keys: it keeps labels in the base's configuration, and an embedding
    /// model has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id2label: BTreeMap<usize, String>,
}

/// PEFT's keys for variants of LoRA that compute something else; none is supported.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variants {
    use_dora: bool,
    fan_in_fan_out: bool,
    bias: Option<String>,
    rank_pattern: Option<BTreeMap<String, usize>>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
}

impl Variants {
    /// The first key that asks for something else than plain LoRA.
    fn unsupported(&self) -> Option<&'static str> {
        let asked = [
            ("use_dora", self.use_dora),
            ("fan_in_fan_out", self.fan_in_fan_out),
            ("bias", self.bias.as_deref().is_some_and(|bias| bias != "none")),
            ("rank_pattern", self.rank_pattern.as_ref().is_some_and(|pattern| !pattern.is_empty())),
            ("alpha_pattern", self.alpha_pattern.as_ref().is_some_and(|pattern| !pattern.is_empty())),
        ];
        asked.into_iter().find(|(_, asked)| *asked).map(|(key, _)| key)
    }
}

impl AdapterConfig {
    /// What `B A` is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// An adapter in memory.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its configuration.
    pub config: AdapterConfig,
    path: PathBuf,
    /// A and B by module.
    pairs: BTreeMap<String, (Tensor, Tensor)>,
    saved: HashMap<String, Tensor>,
}

impl Adapter {
    /// Puts a trained adapter together: (A, B) by module name, and whole tensors by their full name.
    pub fn new(
        config: AdapterConfig,
        pairs: BTreeMap<String, (Tensor, Tensor)>,
        saved: HashMap<String, Tensor>,
    ) -> Self {
        Self { config, path: PathBuf::from(WEIGHTS_FILE), pairs, saved }
    }

    /// Reads an adapter folder.
    ///
    /// # Errors
    /// [`LoadError`] naming the file: missing, damaged, not LoRA, a tensor without its pair.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let config_path = folder.join(CONFIG_FILE);
        let config: AdapterConfig = parse(&config_path)?;
        if config.peft_type != "LORA" || config.r == 0 {
            return Err(LoadError::unsupported(&config_path, "only LoRA adapters of rank 1 and more are supported"));
        }
        if let Some(key) = parse::<Variants>(&config_path)?.unsupported() {
            let detail = format!("{key} asks for a variant of LoRA; only the plain one is supported");
            return Err(LoadError::unsupported(&config_path, detail));
        }
        let path = folder.join(WEIGHTS_FILE);
        let mut sides: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
        let mut saved = HashMap::new();
        for (name, tensor) in read_tensors(&path)? {
            let name = strip_family(name.strip_prefix(PREFIX).unwrap_or(&name));
            if let Some(module) = name.strip_suffix(".lora_A.weight") {
                sides.entry(module.to_owned()).or_default()[0] = Some(tensor);
            } else if let Some(module) = name.strip_suffix(".lora_B.weight") {
                sides.entry(module.to_owned()).or_default()[1] = Some(tensor);
            } else {
                saved.insert(name.replace(".modules_to_save.default", ""), tensor);
            }
        }
        let pair = |(module, sides): (String, [Option<Tensor>; 2])| match sides {
            [Some(a), Some(b)] => Ok((module, (a, b))),
            _ => Err(LoadError::damaged(&path, format!("{module} has only one of lora_A and lora_B"))),
        };
        let pairs = sides.into_iter().map(pair).collect::<Result<_, _>>()?;
        Ok(Self { config, path, pairs, saved })
    }

    /// Writes the folder, weights in half precision: 11 bits are more than an adapter's noise, at half the size.
    ///
    /// # Errors
    /// [`LoadError`] when the folder cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), LoadError> {
        std::fs::create_dir_all(folder).map_err(LoadError::io(folder))?;
        let path = folder.join(WEIGHTS_FILE);
        let tensors = self.named().map_err(|error| LoadError::damaged(&path, error))?;
        candle_core::safetensors::save(&tensors, &path).map_err(|error| LoadError::damaged(&path, error))?;
        let path = folder.join(CONFIG_FILE);
        let json = serde_json::to_string_pretty(&self.config).map_err(|error| LoadError::damaged(&path, error))?;
        std::fs::write(&path, json + "\n").map_err(LoadError::io(&path))
    }

    /// All tensors under the names PEFT gives them, in half precision.
    fn named(&self) -> candle_core::Result<HashMap<String, Tensor>> {
        let sides = self.pairs.iter().flat_map(|(module, (a, b))| {
            [(format!("{PREFIX}{module}.lora_A.weight"), a), (format!("{PREFIX}{module}.lora_B.weight"), b)]
        });
        let saved = self.saved.iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor));
        sides.chain(saved).map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F16)?.contiguous()?))).collect()
    }

    /// The file its tensors came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the adapted modules.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    /// Whether a module's matrix changes.
    pub fn touches(&self, module: &str) -> bool {
        self.pairs.contains_key(module)
    }

    /// Tensors of modules trained whole.
    pub fn saved(&self) -> &HashMap<String, Tensor> {
        &self.saved
    }

    /// Labels of its head; empty where it has none.
    ///
    /// # Errors
    /// [`LoadError`] when class numbers have gaps.
    pub fn labels(&self) -> Result<Vec<String>, LoadError> {
        match self.config.id2label.is_empty() {
            true => Ok(Vec::new()),
            false => labels(&self.path.with_file_name(CONFIG_FILE), self.config.id2label.clone()),
        }
    }

    /// `base + scale B A` for one module.
    ///
    /// # Errors
    /// [`LoadError::Shape`] when the pair does not fit the base.
    pub fn merge(&self, module: &str, base: &Tensor) -> Result<Tensor, LoadError> {
        let (a, b) = &self.pairs[module];
        let (rank, expected) = (self.config.r, base.dims().to_vec());
        let fits = expected.len() == 2 && a.dims() == [rank, expected[1]] && b.dims() == [expected[0], rank];
        if !fits {
            let found = b.dims().iter().chain(a.dims()).copied().collect();
            let tensor = format!("{module}.lora_B, lora_A");
            return Err(LoadError::Shape { path: self.path.clone(), tensor, found, expected });
        }
        let delta = b.matmul(a).and_then(|delta| delta * self.config.scale());
        delta.and_then(|delta| base + delta).map_err(|error| LoadError::damaged(&self.path, error))
    }
}
