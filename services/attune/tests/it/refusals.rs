//! What must not start, does not, with an exit status and a sentence that says what, where and what to do.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::server::{attune, config, config_with, models, run};

fn serve(config: &Path, data: &Path, flags: &[&str]) -> Output {
    let fixed = ["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let listen = ["--listen", "127.0.0.1:0"];
    let listen = if flags.contains(&"--listen") { &[][..] } else { &listen };
    run(&[&fixed, listen, flags].concat())
}

fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error:"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The real model with one file replaced: links, so that 90 MB are not copied for each case.
fn model_but(folder: &Path, file: &str, content: &[u8]) -> PathBuf {
    let real = models().join("all-MiniLM-L6-v2");
    let copy = folder.join("model");
    fs::create_dir_all(copy.join("1_Pooling")).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        if name == file {
            fs::write(copy.join(name), content).unwrap();
        } else {
            std::os::unix::fs::symlink(real.join(name).canonicalize().unwrap(), copy.join(name)).unwrap();
        }
    }
    copy
}

fn refused_model(file: &str, content: &[u8], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let model = model_but(folder.path(), file, content);
    let config = config_with(folder.path(), &model, "sentiment");
    assert_refused(&serve(&config, &folder.path().join("data"), &[]), words);
}

fn real(file: &str) -> Vec<u8> {
    fs::read(models().join("all-MiniLM-L6-v2").join(file)).unwrap()
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(&config(folder.path()), &folder.path().join("data"), &["--listen", &address]);
    assert_refused(&output, &[&address, "in use", "--listen"]);
}

/// Stacks beyond all memory stand for a limit of tasks, which does not bind root: no thread can be started with either.
#[test]
fn a_system_that_refuses_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (config(folder.path()), folder.path().join("data"));
    let words = ["serve", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let mut command = attune(&words);
    let output = command.args(["--listen", "127.0.0.1:0"]).env("RUST_MIN_STACK", (1_u64 << 60).to_string()).output();
    assert_refused(&output.unwrap(), &["refuses threads", "TasksMax", "ulimit -u"]);
}

#[test]
fn an_address_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = serve(&config(folder.path()), &folder.path().join("data"), &["--listen", "nowhere"]);
    assert_refused(&output, &["nowhere"]);
}

#[test]
fn a_demo_on_a_public_address() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--demo", "--listen", "0.0.0.0:0"];
    assert_refused(&serve(&config(folder.path()), &folder.path().join("data"), &flags), &["--demo", "loopback"]);
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    // Below a file: not even root can make a folder there.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let output = serve(&config(folder.path()), &file.join("data"), &[]);
    assert_refused(&output, &[file.to_str().unwrap(), "data folder"]);
}

#[test]
fn a_model_that_was_never_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.toml");
    fs::write(&empty, "").unwrap();
    let output = serve(&empty, &folder.path().join("data"), &[]);
    assert_refused(&output, &["all-MiniLM-L6-v2", "attune models pull"]);
}

#[test]
fn damaged_weights() {
    let weights = real("model.safetensors");
    refused_model("model.safetensors", &weights[..weights.len() / 2], &["model.safetensors"]);
    refused_model("model.safetensors", b"not weights at all", &["model.safetensors"]);
    refused_model("model.safetensors", b"", &["model.safetensors"]);
}

#[test]
fn a_damaged_tokenizer_or_configuration() {
    refused_model("tokenizer.json", b"{\"version\": \"1.0\"", &["tokenizer.json"]);
    refused_model("config.json", b"{", &["config.json"]);
    refused_model("config.json", b"{\"model_type\": \"unheard-of\"}", &["config.json", "unheard-of"]);
}

#[test]
fn a_configuration_of_another_model() {
    let text = String::from_utf8(real("config.json")).unwrap();
    let wider = text.replace("\"hidden_size\": 384", "\"hidden_size\": 768");
    assert_ne!(wider, text);
    refused_model("config.json", wider.as_bytes(), &["model.safetensors"]);
}

#[test]
fn a_tokenizer_of_another_model() {
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&real("tokenizer.json")).unwrap();
    tokenizer["model"]["vocab"]["a-token-too-many"] = 40_000.into();
    refused_model("tokenizer.json", &serde_json::to_vec(&tokenizer).unwrap(), &["tokenizer.json"]);
}

#[test]
fn an_adapter_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let model = models().join("all-MiniLM-L6-v2");
    let config = config_with(folder.path(), &model, adapter.to_str().unwrap());
    assert_refused(&serve(&config, &folder.path().join("data"), &[]), &["adapter_config.json"]);
}

#[test]
fn a_file_that_changed_since_it_was_installed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let source = format!("file:{}", models().join("all-MiniLM-L6-v2").display());
    let output = run(&["--data", data.to_str().unwrap(), "models", "pull", &source, "--name", "mine"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weights = data.join("models/mine/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let config = folder.path().join("mine.toml");
    fs::write(&config, "[[models]]\nname = \"mine\"\nmodel = \"mine\"\n").unwrap();
    assert_refused(&serve(&config, &data, &[]), &["model.safetensors", "damaged", "attune models pull"]);
}

#[test]
fn an_unknown_key_and_an_unknown_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("typo.toml");
    fs::write(&path, "[server]\n\nlissten = \"127.0.0.1:0\"\n").unwrap();
    assert_refused(&serve(&path, folder.path(), &[]), &["line 3", "lissten", "typo.toml"]);
    let output = run(&["serve", "--lissten", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--listen"));
}
