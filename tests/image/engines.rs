//! The image in Docker and in podman, which has skopeo's libraries. containerd runs it in `privileges.rs`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::podman::Podman;
use serde_json::Value;

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn version() -> String {
    format!("castoff {}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn docker_loads_and_runs_the_image() -> Result<()> {
    let image = Image::of_this_tree()?;
    let docker = Docker::start()?;
    output(docker.client()?.arg("load").arg("--input").arg(&image.archive))?;
    let run = |options: &[&str], arguments: &[&str]| -> Result<std::process::Output> {
        let mut command = docker.client()?;
        command
            .args(["run", "--rm", "--network=none"])
            .args(options)
            .arg(&image.tag)
            .args(arguments);
        command.output().context("docker run")
    };
    assert_eq!(String::from_utf8(run(&[], &["--version"])?.stdout)?.trim(), version());

    let rights = ["SYS_PTRACE", "SYS_ADMIN", "DAC_READ_SEARCH"].map(|right| format!("--cap-add={right}"));
    let mut options = vec![
        "--pid=host",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ];
    options.extend(rights.iter().map(String::as_str));
    let checked = run(&options, &["check", "-o", "json"])?;
    let seen: Value = serde_json::from_slice(&checked.stdout)
        .with_context(|| String::from_utf8_lossy(&checked.stderr).into_owned())?;
    let engines = seen["engines"]["value"].as_array().context("engines")?;
    let listens = |engine: &Value| {
        let listeners = engine["listeners"].as_array().into_iter().flatten();
        let mut names = listeners.filter_map(|listener| listener["name"]["path"].as_str());
        names.any(|path| Path::new(path) == docker.socket())
    };
    assert!(engines.iter().any(listens), "{engines:#?}");
    Ok(())
}

/// The Containerfile makes the same image as the script, as Docker shows it.
#[test]
fn the_containerfile_makes_the_same_image() -> Result<()> {
    let image = Image::of_this_tree()?;
    let docker = Docker::start()?;
    output(docker.client()?.arg("load").arg("--input").arg(&image.archive))?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/image/Containerfile");
    let context = tempfile::tempdir()?;
    for path in [image.program(), image.sbom()] {
        let name = path.file_name().context("a name")?;
        std::fs::copy(&path, context.path().join(name))?;
    }
    let mut build = docker.client()?;
    build
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--network=none", "--tag", "registry.test/built:1"]);
    build
        .arg(format!("--build-arg=VERSION={}", env!("CARGO_PKG_VERSION")))
        .arg("--file")
        .arg(file);
    output(build.arg(context.path()))?;
    let inspected = |image: &str| -> Result<Value> {
        let text = docker.ask(["image", "inspect", image])?;
        Ok(serde_json::from_str::<Value>(&text)?[0].take())
    };
    let (ours, theirs) = (inspected(&image.tag)?, inspected("registry.test/built:1")?);
    for field in ["User", "WorkingDir", "Entrypoint", "Cmd", "Labels"] {
        assert_eq!(ours["Config"][field], theirs["Config"][field], "{field}");
    }
    // Docker adds a PATH.
    let has = |environment: &Value| {
        let variables = environment.as_array().into_iter().flatten();
        variables.clone().any(|variable| *variable == ours["Config"]["Env"][0])
    };
    assert!(has(&theirs["Config"]["Env"]), "{}", theirs["Config"]["Env"]);
    assert_eq!(ours["Architecture"], theirs["Architecture"]);
    assert_eq!(
        docker.ask(["run", "--rm", "--network=none", "registry.test/built:1", "--version"])?,
        version()
    );
    Ok(())
}

#[test]
fn podman_loads_the_image_with_skopeos_library() -> Result<()> {
    let image = Image::of_this_tree()?;
    let podman = Podman::start()?;
    let policy = tempfile::NamedTempFile::new()?;
    std::fs::write(&policy, r#"{ "default": [{ "type": "insecureAcceptAnything" }] }"#)?;
    let mut load = podman.client()?;
    load.args(["load", "--quiet", "--signature-policy"]).arg(policy.path());
    output(load.arg("--input").arg(&image.archive))?;
    let format = "{{.User}} {{.Architecture}} {{index .Labels \"org.opencontainers.image.title\"}}";
    let inspected = output(
        podman
            .client()?
            .args(["image", "inspect", "--format", format, &image.tag]),
    )?;
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(inspected, format!("0:0 {architecture} castoff"));
    Ok(())
}
