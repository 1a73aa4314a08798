//! Files that are cut, flipped, swapped or missing: an error that names the file, and never a panic.

use std::fs;
use std::path::Path;

use attune_inference::testing::{write_tiny_adapter, write_tiny_model};
use attune_inference::{Inference, InferenceConfig, ModelSpec};
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
    let wider = load_after(resize("\"intermediate_size\":64", "\"intermediate_size\":96"));
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
