//! Files that are cut, flipped, swapped or missing: an error that names the file, and never a panic.

use std::fs;
use std::path::Path;

use attune_inference::testing::{write_tiny_adapter, write_tiny_model};
use attune_inference::{Inference, InferenceConfig, ModelSpec};
use serde_json::json;
use tempfile::TempDir;

/// Writes a sound model and adapter, lets `harm` at them, and gives what the load says.
fn load_after(harm: impl FnOnce(&Path)) -> String {
    let folder = TempDir::new().unwrap();
    let (path, adapter) = (folder.path().join("tiny"), folder.path().join("mood"));
    write_tiny_model(&path, 1).unwrap();
    write_tiny_adapter(&adapter, 2).unwrap();
    harm(folder.path());
    let spec = ModelSpec {
        name: "mood".into(),
        aliases: Vec::new(),
        path,
        adapter: Some(adapter),
        precision: None,
        max_tokens: None,
    };
    match Inference::start(InferenceConfig::default(), vec![spec]) {
        Ok(_) => "loaded".into(),
        Err(error) => error.to_string(),
    }
}

fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_sound_folder_loads() {
    assert_eq!(load_after(|_| ()), "loaded");
}

#[test]
fn every_file_that_is_cut_or_missing_is_named() {
    let files = [
        "tiny/config.json",
        "tiny/tokenizer.json",
        "tiny/model.safetensors",
        "mood/adapter_config.json",
        "mood/adapter_model.safetensors",
    ];
    for file in files {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let missing = load_after(|folder| fs::remove_file(folder.join(file)).unwrap());
        assert!(missing.contains(name) && missing.contains("cannot access"), "{file} missing: {missing}");
        for keep in [0, 1, 7, 100] {
            let cut = load_after(|folder| edit(&folder.join(file), |bytes| bytes.truncate(keep)));
            assert!(cut.contains(name) && cut.contains("damaged"), "{file} cut to {keep} bytes: {cut}");
        }
    }
}

#[test]
fn weights_cut_anywhere_are_refused() {
    for percent in [10, 50, 99] {
        let cut = load_after(|folder| {
            edit(&folder.join("tiny/model.safetensors"), |bytes| bytes.truncate(bytes.len() * percent / 100));
        });
        assert!(cut.contains("model.safetensors") && cut.contains("damaged"), "{percent}%: {cut}");
    }
}

#[test]
fn parts_of_different_models_are_refused() {
    let resize = |from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let file = folder.join("tiny/config.json");
            let text = fs::read_to_string(&file).unwrap().replace(from, to);
            fs::write(file, text).unwrap();
        }
    };
    let wider = load_after(resize("\"intermediate_size\":96", "\"intermediate_size\":64"));
    assert!(wider.contains("intermediate.dense") && wider.contains("shape"), "{wider}");
    let deeper = load_after(resize("\"num_hidden_layers\":2", "\"num_hidden_layers\":3"));
    assert!(deeper.contains("no tensor encoder.layer.2"), "{deeper}");
    let smaller = load_after(resize("\"vocab_size\":27", "\"vocab_size\":9"));
    assert!(smaller.contains("tokenizer.json") || smaller.contains("word_embeddings"), "{smaller}");
    let family = load_after(resize("\"model_type\":\"bert\"", "\"model_type\":\"mamba\""));
    assert!(family.contains("\"mamba\" is not supported"), "{family}");
    let rank = load_after(|folder| {
        let file = folder.join("mood/adapter_config.json");
        let text = fs::read_to_string(&file).unwrap().replace("\"r\": 2", "\"r\": 4");
        fs::write(file, text).unwrap();
    });
    assert!(rank.contains("adapter_model.safetensors") && rank.contains("shape"), "{rank}");
}

/// Puts one value into the JSON object of a file.
fn set(file: &'static str, key: &'static str, value: serde_json::Value) -> impl FnOnce(&Path) {
    move |folder| {
        let path = folder.join(file);
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        json[key] = value;
        fs::write(path, json.to_string()).unwrap();
    }
}

#[test]
fn what_would_be_computed_wrongly_is_refused() {
    let cases = [
        ("tiny/config.json", "layer_norm_eps", json!(-1.0), "layer_norm_eps is -1"),
        ("mood/adapter_config.json", "use_dora", json!(true), "use_dora"),
        ("mood/adapter_config.json", "fan_in_fan_out", json!(true), "fan_in_fan_out"),
        ("mood/adapter_config.json", "bias", json!("all"), "bias"),
        ("mood/adapter_config.json", "rank_pattern", json!({"query": 4}), "rank_pattern"),
        ("mood/adapter_config.json", "alpha_pattern", json!({"query": 64.0}), "alpha_pattern"),
        ("mood/adapter_config.json", "id2label", json!({"0": "good", "1": "bad", "2": "good"}), "two classes"),
    ];
    for (file, key, value, says) in cases {
        let refused = load_after(set(file, key, value));
        assert!(
            refused.contains(says) && refused.contains(Path::new(file).file_name().unwrap().to_str().unwrap()),
            "{refused}"
        );
    }
    // What PEFT writes for a plain adapter.
    for (key, value) in [("bias", json!("none")), ("rank_pattern", json!({})), ("use_dora", json!(false))] {
        assert_eq!(load_after(set("mood/adapter_config.json", key, value)), "loaded", "{key}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    for value in [f32::NAN, f32::INFINITY] {
        let refused = load_after(|folder| {
            edit(&folder.join("tiny/model.safetensors"), |bytes| {
                let end = bytes.len();
                bytes[end - 4..].copy_from_slice(&value.to_le_bytes());
            });
        });
        assert!(refused.contains("model.safetensors") && refused.contains("no numbers"), "{refused}");
    }
}

#[test]
fn a_token_beyond_the_vectors_of_the_model_is_refused() {
    let refused = load_after(|folder| {
        let file = folder.join("tiny/tokenizer.json");
        let text = fs::read_to_string(&file).unwrap().replace("\"happy\":15", "\"happy\":5000");
        fs::write(file, text).unwrap();
    });
    assert!(refused.contains("token 5000"), "{refused}");
}

#[test]
fn a_tensor_that_belongs_to_nothing_is_refused() {
    let refused = load_after(|folder| {
        let file = folder.join("mood/adapter_model.safetensors");
        let mut tensors = candle_core::safetensors::load(&file, &candle_core::Device::Cpu).unwrap();
        let magnitude = tensors["base_model.model.classifier.bias"].clone();
        tensors.insert("base_model.model.encoder.layer.0.attention.self.query.lora_magnitude_vector".into(), magnitude);
        candle_core::safetensors::save(&tensors, &file).unwrap();
    });
    assert!(refused.contains("lora_magnitude_vector belongs to nothing"), "{refused}");
}
