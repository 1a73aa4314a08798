//! A tiny model on disk for tests: random weights from a seed, a small vocabulary, every file a real folder has.
//!
//! It computes nothing of meaning, and it loads, tokenises, batches and fails exactly as a real one, in milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::model::{Adapter, AdapterConfig};

/// Width of the tiny model's states.
pub const HIDDEN: usize = 64;
/// Width of a head: the narrowest that GPU kernels take.
const HEAD_WIDTH: usize = 32;
/// Its layers.
pub const LAYERS: usize = 2;
/// Width inside its feed-forward part.
pub const INTERMEDIATE: usize = 96;
/// Its longest text in tokens.
pub const POSITIONS: usize = 64;

const WORDS: &[&str] = &[
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "is", "it", "not", "good", "bad", "film", "was", "very",
    "happy", "sad", "dog", "person", "##s", "##ing", "hello", "world", ".", ",", "!", "?",
];

/// Sizes of a model without meaning; its heads are 32 wide and its vocabulary is the tiny one's.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Width of the states.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Longest text in tokens.
    pub positions: usize,
}

/// Writes a model folder with weights from `seed`.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_tiny_model(folder: &Path, seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    write_model(folder, seed, Size { hidden: HIDDEN, layers: LAYERS, intermediate: INTERMEDIATE, positions: POSITIONS })
}

/// Writes a model folder of some size with weights from `seed`, as large as keeps a state's scale.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_model(folder: &Path, seed: u64, size: Size) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder.join("1_Pooling"))?;
    let config = json!({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": size.hidden,
        "num_hidden_layers": size.layers, "num_attention_heads": size.hidden / HEAD_WIDTH,
        "intermediate_size": size.intermediate,
        "vocab_size": WORDS.len(), "max_position_embeddings": size.positions, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
    });
    fs::write(folder.join("config.json"), config.to_string())?;
    fs::write(folder.join("1_Pooling/config.json"), json!({"pooling_mode_mean_tokens": true}).to_string())?;
    fs::write(folder.join("tokenizer.json"), tokenizer().to_string())?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    candle_core::safetensors::save(&weights(&mut random, size)?, folder.join("model.safetensors"))?;
    Ok(())
}

/// Writes a LoRA adapter with a classification head of three labels for the tiny model.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_tiny_adapter(folder: &Path, seed: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let rank = 2;
    let mut pairs = BTreeMap::new();
    for layer in 0..LAYERS {
        for part in ["query", "value"] {
            let sides = (tensor(&mut random, &[rank, HIDDEN], 0.2)?, tensor(&mut random, &[HIDDEN, rank], 0.2)?);
            pairs.insert(format!("encoder.layer.{layer}.attention.self.{part}"), sides);
        }
    }
    let saved = HashMap::from([
        ("classifier.weight".to_owned(), tensor(&mut random, &[3, HIDDEN], 0.5)?),
        ("classifier.bias".to_owned(), tensor(&mut random, &[3], 0.5)?),
    ]);
    let labels = ["negative", "neutral", "positive"];
    let config = AdapterConfig {
        peft_type: "LORA".into(),
        task_type: Some("SEQ_CLS".into()),
        base_model_name_or_path: Some("tiny".into()),
        r: rank,
        lora_alpha: 4.0,
        use_rslora: false,
        target_modules: vec!["query".into(), "value".into()],
        modules_to_save: Some(vec!["classifier".into()]),
        id2label: labels.iter().map(|label| (*label).to_owned()).enumerate().collect(),
    };
    Adapter::new(config, pairs, saved).write(folder)?;
    Ok(())
}

fn tensor(random: &mut impl Rng, shape: &[usize], spread: f32) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-spread..spread)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn weights(random: &mut impl Rng, size: Size) -> candle_core::Result<HashMap<String, Tensor>> {
    let Size { hidden, layers, intermediate, positions } = size;
    let mut tensors = HashMap::new();
    // 0.3 at the tiny width; a sum of more terms wants smaller ones.
    let spread = 0.3 * (HIDDEN as f32 / hidden as f32).sqrt();
    let mut matrix = |name: String, shape: &[usize]| tensor(random, shape, spread).map(|matrix| (name, matrix));
    for (name, rows) in [("word", WORDS.len()), ("position", positions), ("token_type", 2)] {
        tensors.extend([matrix(format!("embeddings.{name}_embeddings.weight"), &[rows, hidden])?]);
    }
    for layer in 0..layers {
        let square = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"];
        let shapes = square.map(|name| (name, hidden, hidden)).into_iter();
        let shapes =
            shapes.chain([("intermediate.dense", intermediate, hidden), ("output.dense", hidden, intermediate)]);
        for (name, rows, columns) in shapes {
            let name = format!("encoder.layer.{layer}.{name}");
            tensors.extend([
                matrix(format!("{name}.weight"), &[rows, columns])?,
                matrix(format!("{name}.bias"), &[rows])?,
            ]);
        }
    }
    let layers = (0..layers)
        .flat_map(|layer| ["attention.output", "output"].map(|part| format!("encoder.layer.{layer}.{part}")));
    for part in layers.chain(["embeddings".to_owned()]) {
        tensors
            .insert(format!("{part}.LayerNorm.weight"), Tensor::ones(hidden, candle_core::DType::F32, &Device::Cpu)?);
        tensors.insert(format!("{part}.LayerNorm.bias"), Tensor::zeros(hidden, candle_core::DType::F32, &Device::Cpu)?);
    }
    Ok(tensors)
}

/// A WordPiece tokenizer that bakes in a short truncation and a fixed padding, as real files do.
fn tokenizer() -> serde_json::Value {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let special = |id: usize| json!({"id": WORDS[id], "ids": [id], "tokens": [WORDS[id]]});
    let added = |id: usize| {
        json!({"id": id, "content": WORDS[id], "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": (0..5).map(added).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {"[CLS]": special(2), "[SEP]": special(3)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}
