//! `config.json` and its companions, mapped to an [`Architecture`]; one function a family.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::architecture::{Activation, Architecture, Attention, Norm, NormPlace, Pooling, Positions};
use super::error::{LoadError, read};

/// What the configuration files of a model folder say.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What to compute.
    pub architecture: Architecture,
    /// Labels of a classification head, by class number. Empty: an embedding model.
    pub labels: Vec<String>,
}

/// The keys of `config.json` that a BERT has.
#[derive(Debug, Deserialize)]
struct BertConfig {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
    hidden_act: String,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    id2label: BTreeMap<usize, String>,
}

fn default_epsilon() -> f32 {
    1e-12
}

fn default_positions() -> String {
    "absolute".into()
}

#[derive(Debug, Deserialize)]
struct Family {
    model_type: String,
}

/// `1_Pooling/config.json` of sentence-transformers.
#[derive(Debug, Default, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

impl ModelConfig {
    /// Reads `config.json` and, where it is there, `1_Pooling/config.json` of a model folder.
    ///
    /// # Errors
    /// [`LoadError`] naming the file: missing, not JSON, a family or a variant that no engine runs.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("config.json");
        let family: Family = parse(&path)?;
        match family.model_type.as_str() {
            "bert" => bert(&path, read_pooling(folder)?),
            other => Err(LoadError::unsupported(&path, format!("model_type {other:?} is not supported; bert is"))),
        }
    }
}

fn bert(path: &Path, pooling: Pooling) -> Result<ModelConfig, LoadError> {
    let config: BertConfig = parse(path)?;
    check_bert(&config).map_err(|detail| LoadError::unsupported(path, detail))?;
    let classifies = config.architectures.iter().any(|name| name.ends_with("ForSequenceClassification"));
    Ok(ModelConfig {
        architecture: Architecture {
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            vocabulary: config.vocab_size,
            positions: Positions::Learned { count: config.max_position_embeddings },
            norm: Norm { place: NormPlace::After, epsilon: config.layer_norm_eps },
            activation: Activation::GeluErf,
            attention: Attention::Full,
            pooling,
        },
        labels: if classifies { labels(path, config.id2label)? } else { Vec::new() },
    })
}

fn check_bert(config: &BertConfig) -> Result<(), String> {
    let BertConfig { hidden_size, num_attention_heads, hidden_act, position_embedding_type, .. } = config;
    let sizes = [*hidden_size, config.num_hidden_layers, *num_attention_heads, config.intermediate_size];
    if sizes.contains(&0) || config.vocab_size == 0 || config.max_position_embeddings < 2 {
        return Err("a size of 0 describes no model".into());
    }
    if hidden_size % num_attention_heads != 0 {
        return Err(format!("hidden_size {hidden_size} is not a multiple of {num_attention_heads} heads"));
    }
    if hidden_act != "gelu" {
        return Err(format!("hidden_act {hidden_act:?} is not supported; gelu is"));
    }
    if !(config.layer_norm_eps > 0.0 && config.layer_norm_eps.is_finite()) {
        return Err(format!("layer_norm_eps is {}, it must be above 0", config.layer_norm_eps));
    }
    if position_embedding_type != "absolute" {
        return Err(format!("positions {position_embedding_type:?} are not supported; absolute is"));
    }
    Ok(())
}

/// Labels by class number, which must run from 0 without a gap.
pub(super) fn labels(path: &Path, id2label: BTreeMap<usize, String>) -> Result<Vec<String>, LoadError> {
    if id2label.is_empty() || id2label.keys().enumerate().any(|(place, class)| place != *class) {
        return Err(LoadError::unsupported(path, "a classification head needs id2label with classes 0, 1, 2, ..."));
    }
    let labels: Vec<String> = id2label.into_values().collect();
    match labels.iter().enumerate().find(|(place, label)| labels[..*place].contains(label)) {
        Some((_, twice)) => Err(LoadError::unsupported(path, format!("two classes are labelled {twice:?}"))),
        None => Ok(labels),
    }
}

fn read_pooling(folder: &Path) -> Result<Pooling, LoadError> {
    let path = folder.join("1_Pooling/config.json");
    if !path.exists() {
        return Ok(Pooling::Mean);
    }
    let config: PoolingConfig = parse(&path)?;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, config.pooling_mode_lasttoken) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::First),
        (false, false, true) => Ok(Pooling::Last),
        _ => Err(LoadError::unsupported(&path, "exactly one of mean, cls and last-token pooling is supported")),
    }
}

/// Reads one JSON file into `T`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    serde_json::from_slice(&read(path)?).map_err(|error| LoadError::damaged(path, error))
}
