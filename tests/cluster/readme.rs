//! The README's commands for a cluster, run as they are written.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::packages;
use castoff_tests::wait;

use crate::site::{NODE, PATIENCE, on_a_cluster_without_the_image};
use crate::typed::{ROOT, programs, shell};

/// The last command that changes something; those after it show the result.
const LAST_STEP: &str = "kubectl -n castoff rollout status";

/// Returns the commands: the lines after a prompt in the first block of a section.
fn lines_of(section: &str) -> Result<Vec<String>> {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).context("read the README")?;
    let heading = format!("\n## {section}\n");
    let (_, rest) = readme.split_once(&heading).with_context(|| section.to_owned())?;
    let (_, rest) = rest.split_once("```console\n").context("a block of lines")?;
    let (block, _) = rest.split_once("```").context("the end of the block")?;
    Ok(block
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .map(str::to_owned)
        .collect())
}

#[test]
fn the_commands_of_the_readme_give_labels_and_the_fleet() -> Result<()> {
    on_a_cluster_without_the_image(|site| {
        let lines = lines_of("On a cluster")?;
        let programs = programs(site)?;
        let last = lines
            .iter()
            .position(|line| line.starts_with(LAST_STEP))
            .context(LAST_STEP)?;
        let (steps, shown) = lines.split_at(last + 1);
        ensure!(steps.len() > 2 && shown.len() > 1, "{lines:#?}");
        packages::output(&mut shell(site, programs.path(), &steps.join("\n"))?)?;
        for line in shown {
            wait::until("the node and its verdict", PATIENCE, || {
                let said = packages::output(&mut shell(site, programs.path(), line)?)?;
                let row = said.lines().find(|row| row.contains(NODE));
                ensure!(row.is_some_and(|row| row.contains("clear")), "{line}: {said}");
                Ok(())
            })?;
        }
        Ok(())
    })
}
