//! Files that the chart must have in its own directory and whose source is elsewhere. They are copies, because a link
//! that leads out of the directory is lost silently when the chart is deployed from a repository's archive.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;
use castoff::sinks::golden;

use crate::render::{place, read};

fn hold(copy: &str, source: &str) -> Result<()> {
    let place = place(copy);
    golden::hold(&place.to_string_lossy(), &read(source)?);
    Ok(())
}

#[test]
fn alerts_are_the_ones_that_are_tested() -> Result<()> {
    hold(
        "charts/castoff/files/castoff.rules.yaml",
        "deploy/alerts/castoff.rules.yaml",
    )
}

#[test]
fn dashboards_are_the_ones_that_are_tested() -> Result<()> {
    let names = |folder: &str| -> Result<BTreeSet<String>> {
        let entries = fs::read_dir(place(folder))?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    for name in names("deploy/dashboards")? {
        hold(
            &format!("charts/castoff/files/dashboards/{name}"),
            &format!("deploy/dashboards/{name}"),
        )?;
    }
    assert_eq!(names("charts/castoff/files/dashboards")?, names("deploy/dashboards")?);
    Ok(())
}
