//! The linters of both helms, and both helms' output, which is the same for a directory and a package.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::{Helm, Tools};

use crate::render::{Rendering, chart, objects, of_kind, read, scenarios, the};

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().context("start helm")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    Ok(text)
}

#[test]
fn helm_lints_every_scenario_without_a_warning() -> Result<()> {
    let tools = Tools::fetched()?;
    for helm in Helm::ALL {
        for scenario in scenarios()? {
            let mut lint = tools.helm(helm);
            lint.args(["lint", "--strict", "--values"]).arg(&scenario).arg(chart());
            let text = said(&mut lint)?;
            ensure!(text.contains("1 chart(s) linted, 0 chart(s) failed"), "{text}");
        }
    }
    Ok(())
}

#[test]
fn both_helms_make_the_same_objects() -> Result<()> {
    for scenario in scenarios()? {
        let by = |helm| Rendering::new().by(helm).values(&scenario).objects();
        assert_eq!(by(Helm::Three)?, by(Helm::Four)?, "{}", scenario.display());
    }
    Ok(())
}

#[test]
fn the_package_is_the_chart_without_its_tests() -> Result<()> {
    let tools = Tools::fetched()?;
    let everything = chart().join("ci/everything-values.yaml");
    for helm in Helm::ALL {
        let folder = tempfile::tempdir()?;
        let mut package = tools.helm(helm);
        said(
            package
                .arg("package")
                .arg(chart())
                .arg("--destination")
                .arg(folder.path()),
        )?;
        let archive = fs::read_dir(folder.path())?.next().context("one archive")??.path();
        let list = said(Command::new("tar").arg("-tzf").arg(&archive))?;
        ensure!(!list.contains("/ci/"), "{list}");
        let rendering = Rendering::new().by(helm).values(&everything);
        assert_eq!(rendering.clone().chart(&archive).objects()?, rendering.objects()?);
    }
    Ok(())
}

/// A parent chart may pass values that are meant for others, but misspelt values of this chart are refused.
#[test]
fn it_can_be_a_subchart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("charts"))?;
    std::os::unix::fs::symlink(chart().canonicalize()?, at("charts/castoff"))?;
    let parent = "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n  - name: castoff\n    version: \">=0\"\n    condition: castoff.enabled\n";
    fs::write(at("Chart.yaml"), parent)?;
    let values = "global:\n  imageRegistry: registry.example\n  somebodyElses: 1\ncastoff:\n  enabled: true\n";
    fs::write(at("values.yaml"), values)?;
    for helm in Helm::ALL {
        // helm warns about the link that replaces a copy here.
        let rendering = Rendering::new().by(helm).chart(folder.path());
        let packaged = tempfile::tempdir()?;
        let mut package = Tools::fetched()?.helm(helm);
        said(
            package
                .arg("package")
                .arg(folder.path())
                .arg("--destination")
                .arg(packaged.path()),
        )?;
        let archive = packaged.path().join("platform-1.0.0.tgz");
        let made = rendering.clone().chart(&archive).objects()?;
        let agent = the(&made, "DaemonSet", "castoff")?;
        let image = &agent["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(
            image
                .as_str()
                .is_some_and(|image| image.starts_with("registry.example/castoff/castoff:")),
            "{image}"
        );
        let without = rendering
            .clone()
            .chart(&archive)
            .set("castoff.enabled=false")
            .objects()?;
        ensure!(of_kind(&without, "DaemonSet").is_empty(), "it is not wanted");
        let refusal = rendering.chart(&archive).set("castoff.perod=1m").refusal()?;
        ensure!(refusal.contains("perod"), "{refusal}");
    }
    Ok(())
}

#[test]
fn chart_and_agent_have_one_version() -> Result<()> {
    let chart = &objects(&read("charts/castoff/Chart.yaml")?)?[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}
