//! The rules that no compiler checks: who may import whom, where unsafe code lives, and that the documents tell the
//! truth about paths and commands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ANY: &[&str] = &["*"];

/// The table of ARCHITECTURE.md, "Who may import whom": each crate and the crates of this workspace it may use.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("attune-kernels", &[]),
    ("attune-inference", &["attune-kernels"]),
    ("attune-ranking", &["attune-kernels"]),
    ("attune-api", &[]),
    ("attune-batch", &["attune-api", "attune-inference", "attune-ranking"]),
    ("attune-content", &["attune-api", "attune-inference", "attune-ranking", "attune-store"]),
    ("attune-doctor", &[]),
    ("attune-gateway", &["attune-api", "attune-inference", "attune-store"]),
    ("attune-recommendation", &["attune-api", "attune-ranking", "attune-store"]),
    ("attune-sentiment", &["attune-api", "attune-inference"]),
    ("attune-analytics", &["attune-api", "attune-lake", "attune-ranking", "attune-store"]),
    ("attune-lake", &["attune-api", "attune-store"]),
    ("attune-load", &["attune-api"]),
    ("attune-outside", &["attune-api", "attune-store"]),
    ("attune-store", &["attune-api", "attune-ranking"]),
    ("attune-tracking", &["attune-api", "attune-store"]),
    ("attune-trainer", &["attune-api", "attune-batch", "attune-lake", "attune-ranking", "attune-store"]),
    ("attune-users", &["attune-api", "attune-store"]),
    ("attune", ANY),
    ("attune-benches", ANY),
];
/// Nothing imports these.
const TOPS: [&str; 2] = ["attune", "attune-benches"];

/// Written in two parts: this file is searched too.
const UNSAFE: &str = concat!("un", "safe");

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn toml(path: &Path) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates of the workspace: name, folder, and the names of those of their dependencies that are crates of it too.
fn members() -> Vec<(String, PathBuf, Vec<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
            let local = package["dependencies"].as_array().unwrap().iter().filter(|one| !one["path"].is_null());
            (text(&package["name"]), folder, local.map(|one| text(&one["name"])).collect())
        })
        .collect()
}

#[test]
fn dependencies_point_down() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    for (name, _, dependencies) in members() {
        let allowed =
            table.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table: decide its place"));
        for dependency in dependencies {
            assert!(!TOPS.contains(&dependency.as_str()), "{name} may not import {dependency}: nothing may");
            let fine = *allowed == ANY || allowed.contains(&dependency.as_str());
            assert!(fine, "{name} may not import {dependency} (ARCHITECTURE.md, \"Who may import whom\")");
        }
    }
}

#[test]
fn a_folder_names_its_crate() {
    for (name, folder, _) in members() {
        let last = folder.file_name().unwrap().to_str().unwrap();
        assert!(name == format!("attune-{last}") || (name == "attune" && last == "attune"), "{name} in {last}");
    }
}

#[test]
fn every_crate_inherits_the_lints() {
    let workspace = toml(&root().join("Cargo.toml"))["workspace"]["lints"].clone();
    for (name, folder, _) in members() {
        let mut lints = toml(&folder.join("Cargo.toml"))["lints"].clone();
        if name != "attune-kernels" {
            assert_eq!(lints["workspace"].as_bool(), Some(true), "{name} does not inherit the workspace's lints");
            continue;
        }
        // The one exception repeats the table, since cargo cannot inherit all but one.
        let rust = lints["rust"].as_table_mut().unwrap();
        let code = format!("{UNSAFE}_code");
        assert_eq!(rust.insert(code.clone(), workspace["rust"][&code].clone()), Some("allow".into()));
        assert_eq!(rust.remove(&format!("{UNSAFE}_op_in_{UNSAFE}_fn")), Some("deny".into()));
        assert_eq!(lints, workspace, "the lints of kernels have drifted from the workspace's");
    }
}

#[test]
fn kernels_holds_all_of_it() {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for (name, folder, _) in members().into_iter().filter(|(name, ..)| name != "attune-kernels") {
        for path in files_below(&folder, "rs") {
            for (number, line) in read(&path).lines().enumerate() {
                let code = line.split("//").next().unwrap();
                let found = code.split(|c| !is_word(c)).any(|word| word == UNSAFE);
                assert!(!found, "{name}: {}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// The words between single backquotes, outside fenced blocks.
fn code_spans(markdown: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

/// The lines of fenced blocks, without prompts and comments.
fn fenced_lines(markdown: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            lines.push(line.split(" #").next().unwrap().trim());
        }
    }
    lines
}

#[test]
fn every_path_that_the_map_names_exists() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let endings = [".rs", ".md", ".toml", ".proto", "Makefile", ".ci/run"];
    let is_path = |span: &&str| {
        !span.starts_with('/')
            && !span.contains([' ', '*', ':', '{', '<'])
            && (span.ends_with('/') || endings.iter().any(|end| span.ends_with(end)))
    };
    let paths: Vec<&str> = code_spans(&map).into_iter().filter(is_path).collect();
    assert!(paths.len() > 10, "the map names only {} paths: is it still a map?", paths.len());
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

#[test]
fn every_test_that_the_security_document_names_exists() {
    let document = read(&root().join("SECURITY.md"));
    let sources: Vec<String> = files_below(&root().join("services"), "rs").iter().map(|path| read(path)).collect();
    let is_test = |span: &&str| span.matches('_').count() > 2 && span.chars().all(|c| c.is_alphanumeric() || c == '_');
    let tests: Vec<&str> = code_spans(&document).into_iter().filter(is_test).collect();
    assert!(tests.len() > 8, "the document names only {} tests", tests.len());
    for test in tests {
        let name = format!("fn {test}(");
        assert!(sources.iter().any(|source| source.contains(&name)), "SECURITY.md names {test}, which does not exist");
    }
    for path in code_spans(&document).into_iter().filter(|span| span.starts_with("services/")) {
        assert!(root().join(path).exists(), "SECURITY.md names {path}, which does not exist");
    }
}

#[test]
fn every_make_target_that_the_documents_name_exists() {
    let makefile = read(&root().join("Makefile"));
    let targets: Vec<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.', ' ']))
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| !rest.starts_with('='))
        .map(|(target, _)| target)
        .collect();
    let mut named = 0;
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        let text = read(&root().join(document));
        for command in code_spans(&text).into_iter().chain(fenced_lines(&text)) {
            let Some(target) = command.strip_prefix("make ").and_then(|rest| rest.split(' ').next()) else { continue };
            assert!(targets.contains(&target), "{document} says `{command}`: the Makefile has no such target");
            named += 1;
        }
    }
    assert!(named > 2, "the documents name only {named} make commands");
}

#[test]
fn every_figure_that_the_alerts_watch_exists() {
    let rules = read(&root().join("docker/prometheus/alerts.yml"));
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let figures: std::collections::BTreeSet<&str> =
        rules.split(|c| !is_word(c)).filter(|word| word.starts_with("attune_")).collect();
    assert!(figures.len() > 2, "the alerts watch only {figures:?}");
    let sources: Vec<String> = files_below(&root().join("services"), "rs").iter().map(|path| read(path)).collect();
    for figure in figures {
        let named = format!("\"{figure}\"");
        assert!(sources.iter().any(|source| source.contains(&named)), "the alerts watch {figure}, which nobody sets");
    }
}

#[test]
fn every_attune_command_that_the_documents_name_exists() {
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        let text = read(&root().join(document));
        for command in code_spans(&text).into_iter().chain(fenced_lines(&text)) {
            let Some(words) = command.strip_prefix("attune ") else { continue };
            let words = words.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            let flags =
                command.split(' ').filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap());
            let help = Command::new(env!("CARGO_BIN_EXE_attune")).args(words).arg("--help").output().unwrap();
            assert!(help.status.success(), "{document} says `{command}`: {}", String::from_utf8_lossy(&help.stderr));
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in flags {
                assert!(help.contains(flag), "{document} says `{command}`: there is no {flag}");
            }
        }
    }
}
