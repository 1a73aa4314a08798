//! What the container images are made of and run exists. They are not built here.

use std::path::Path;

use crate::server::attune;
use crate::workspace::{read, root, toml};

/// What is said of a variable that is no key of the configuration.
const NO_KEY: &str = "is no key of the configuration";
const IMAGES: [&str; 2] = ["docker/Dockerfile", "docker/Dockerfile.cuda"];

/// The instructions of a Dockerfile, each in one line.
fn instructions(image: &str) -> Vec<(String, String)> {
    let text: String = read(&root().join(image)).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

/// The words of an instruction in JSON, of the last stage that has it.
fn words(image: &str, instruction: &str) -> Vec<String> {
    let all = instructions(image);
    let (_, words) = all.iter().rfind(|(name, _)| name == instruction).unwrap();
    serde_json::from_str(words).unwrap()
}

fn stages(image: &str) -> Vec<String> {
    let all = instructions(image);
    let named = all.iter().filter(|(name, _)| name == "FROM").filter_map(|(_, rest)| rest.split_once(" AS "));
    named.map(|(_, stage)| stage.to_owned()).collect()
}

#[test]
fn what_images_copy_is_there() {
    for image in IMAGES {
        let stages = stages(image);
        let mut copied = 0;
        for (_, rest) in instructions(image).iter().filter(|(name, _)| name == "COPY") {
            match rest.strip_prefix("--from=").and_then(|rest| rest.split(' ').next()) {
                Some(stage) => assert!(stages.iter().any(|one| one == stage), "{image}: {rest}: {stages:?}"),
                None => assert!(root().join(rest.split(' ').next().unwrap()).exists(), "{image}: {rest}"),
            }
            copied += 1;
        }
        assert!(copied > 0, "{image} copies nothing");
    }
}

#[test]
fn images_are_built_with_the_rust_of_the_workspace() {
    let version = toml(&root().join("Cargo.toml"))["workspace"]["package"]["rust-version"].as_str().unwrap().to_owned();
    let from = instructions(IMAGES[0]).into_iter().find(|(name, _)| name == "FROM").unwrap().1;
    assert!(from.starts_with(&format!("rust:{version}-")), "{from}");
}

#[test]
fn what_images_run_is_understood() {
    let data = tempfile::tempdir().unwrap();
    for image in IMAGES {
        assert_eq!(words(image, "ENTRYPOINT"), ["attune"]);
        let commands = instructions(image).into_iter().filter(|(name, _)| name == "CMD");
        for command in commands.map(|(_, words)| serde_json::from_str::<Vec<String>>(&words).unwrap()) {
            let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
            let output = attune(&arguments).output().unwrap();
            assert!(output.status.success(), "{image}: {command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let all = instructions(image);
        let variables: Vec<(&str, &str)> = all
            .iter()
            .filter(|(name, _)| name == "ENV")
            .flat_map(|(_, rest)| rest.split(' ').map(|one| one.split_once('=').unwrap()))
            .collect();
        assert!(variables.iter().any(|(name, _)| *name == "ATTUNE_SERVER_LISTEN"), "{image}: {variables:?}");
        let output = attune(&["models", "list"]).envs(variables).env("ATTUNE_DATA", data.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains(NO_KEY), "{image}: {said}");
    }
    let wrong = attune(&["models", "list"]).env("ATTUNE_SERVER_LISTENS", "x").output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains(NO_KEY), "a wrong variable is told");
}

#[test]
fn compose_builds_what_there_is() {
    let path = Path::new("docker/attune.yaml");
    let text = read(&root().join(path));
    let builds: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("build: {")).collect();
    assert_eq!(builds.len(), 2);
    for build in builds {
        let value = |key: &str| build.split([',', '}']).find_map(|part| part.trim().strip_prefix(key)).map(str::trim);
        let context = root().join(path.parent().unwrap()).join(value("context:").unwrap());
        let image = value("dockerfile:").unwrap();
        assert!(context.join(image).is_file(), "{build}");
        assert!(value("target:").is_none_or(|target| stages(image).iter().any(|stage| stage == target)), "{build}");
    }
}
