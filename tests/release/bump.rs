//! The version, which one command sets in every place.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::packages::{output, run};

use crate::tree::{CHANGELOG, Tree, VERSION};

/// A version after every release.
const NEXT: &str = "987.65.43";

/// Returns the versions that the tree's places have.
fn versions(tree: &Tree) -> Result<Vec<String>> {
    let listed = output(&mut tree.script("versions", &[]))?;
    let last = |line: &str| line.rsplit(' ').next().map(str::to_owned);
    listed
        .lines()
        .map(|line| last(line).with_context(|| line.to_owned()))
        .collect()
}

/// Returns the files below a path that contain a text.
fn with_text(path: &Path, text: &str, found: &mut Vec<String>) -> Result<()> {
    if path.is_dir() {
        // Series in the alerts' unit tests have a version of their own.
        if path.ends_with("alerts/tests") {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            with_text(&entry?.path(), text, found)?;
        }
    } else if fs::read_to_string(path).is_ok_and(|content| content.contains(text)) {
        found.push(path.display().to_string());
    }
    Ok(())
}

#[test]
fn a_bump_sets_the_version_in_every_place_and_dates_the_changelog() -> Result<()> {
    let tree = Tree::copied()?;
    let before = versions(&tree)?;
    assert!(
        before.len() > 20 && before.iter().all(|version| version == VERSION),
        "{before:?}"
    );
    run(&mut tree.script("bump", &[NEXT]))?;
    assert_eq!(versions(&tree)?, vec![NEXT.to_owned(); before.len()]);

    let mut stale = Vec::new();
    for path in ["README.md", ".github", "charts", "deploy", "Cargo.toml"] {
        with_text(
            &tree.path().join(path),
            &format!(r#"version = "{VERSION}""#),
            &mut stale,
        )?;
        with_text(&tree.path().join(path), &format!("castoff:{VERSION}"), &mut stale)?;
        with_text(&tree.path().join(path), &format!(": {VERSION}\n"), &mut stale)?;
        with_text(&tree.path().join(path), &format!("\"{VERSION}\""), &mut stale)?;
    }
    assert_eq!(stale, [""; 0], "these have the old version");
    let dated = format!("\n## Unreleased\n\n## {NEXT} (2023-11-14)\n\n- ");
    ensure!(tree.read(CHANGELOG)?.contains(&dated), "{}", tree.read(CHANGELOG)?);
    // cargo reads the lock, and wants no change of it.
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1"]);
    let metadata = output(metadata.current_dir(tree.path()))?;
    ensure!(
        metadata.contains(&format!(r#""name":"castoff","version":"{NEXT}""#)),
        "{metadata:.200}"
    );
    Ok(())
}

#[test]
fn a_place_with_another_version_is_named() -> Result<()> {
    let tree = Tree::copied()?;
    let chart = tree.read("charts/castoff/Chart.yaml")?;
    let other = chart.replace(&format!("appVersion: {VERSION}"), "appVersion: 0.0.9");
    tree.write("charts/castoff/Chart.yaml", &other)?;
    let said = tree.script("versions", &[]).output()?;
    assert_eq!(said.status.code(), Some(65));
    let said = String::from_utf8(said.stderr)?;
    ensure!(
        said.contains("and these places another:\ncharts/castoff/Chart.yaml:6 0.0.9\n"),
        "{said}"
    );
    tree.commit()?;
    let (code, said) = tree.refusal(&mut tree.script("bump", &[NEXT]))?;
    assert_eq!(code, Some(65));
    ensure!(said.contains("the places above must have one version first"), "{said}");
    Ok(())
}

#[test]
fn an_invalid_or_not_greater_version_is_refused() -> Result<()> {
    let tree = Tree::of_a_release()?;
    let newest = format!("{VERSION} is not greater than the newest release in agent/CHANGELOG.md, {VERSION}");
    for (arguments, code, part) in [
        (&["1.2"][..], 64, "'1.2' is not a version"),
        (&["v1.2.3"], 64, "'v1.2.3' is not a version"),
        (&["01.2.3"], 64, "'01.2.3' is not a version"),
        (&["1.2.3-rc.1"], 64, "'1.2.3-rc.1' is not a version"),
        (&[], 64, "expected one version"),
        (&["1.2.3", "1.2.4"], 64, "expected one version"),
        (&["0.0.9"], 65, "0.0.9 is older than the tree's own version"),
        (&[VERSION], 65, &newest),
    ] {
        let (exit, said) = tree.refusal(&mut tree.script("bump", arguments))?;
        assert_eq!(exit, Some(code), "{said}");
        ensure!(said.contains(part), "{part} in {said}");
    }
    Ok(())
}

#[test]
fn a_changed_tree_and_a_changelog_without_entries_are_refused() -> Result<()> {
    let tree = Tree::copied()?;
    let readme = tree.read("README.md")?;
    tree.write("README.md", "changed\n")?;
    let (code, said) = tree.refusal(&mut tree.script("bump", &[NEXT]))?;
    assert_eq!(code, Some(65));
    ensure!(
        said.contains("not committed; commit or stash them:\n M README.md"),
        "{said}"
    );
    tree.write("README.md", &readme)?;

    for (text, part) in [
        (
            "# Changelog\n\n## Unreleased\n\n## 0.0.1 (2020-01-01)\n\n- One.\n",
            "lists no change under '## Unreleased'",
        ),
        (
            "# Changelog\n\n## 0.0.1 (2020-01-01)\n\n- One.\n",
            "has no section '## Unreleased'",
        ),
    ] {
        tree.write(CHANGELOG, text)?;
        tree.commit()?;
        let (code, said) = tree.refusal(&mut tree.script("bump", &[NEXT]))?;
        assert_eq!(code, Some(65));
        ensure!(said.contains(part), "{part} in {said}");
    }
    fs::remove_dir_all(tree.path().join(".git"))?;
    let said = tree.script("bump", &[NEXT]).output()?;
    assert_eq!(said.status.code(), Some(69));
    ensure!(String::from_utf8(said.stderr)?.contains("the tree's state is not known"));
    Ok(())
}
