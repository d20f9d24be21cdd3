//! The image's SBOM is valid, and has every crate that left a trace in the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::image::Image;
use serde_json::Value;

fn read() -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(Image::of_this_tree()?.sbom())?)?)
}

fn components(sbom: &Value) -> Result<BTreeSet<String>> {
    let all = sbom["components"].as_array().context("components")?;
    let named = |one: &Value| Some(format!("{}-{}", one["name"].as_str()?, one["version"].as_str()?));
    Ok(all.iter().filter_map(named).collect())
}

/// If a crate can panic, its sources' path is in the program: `/crates/NAME-VERSION/src/…`.
#[test]
fn every_crate_that_left_its_name_in_the_program_is_listed() -> Result<()> {
    let program = fs::read(Image::of_this_tree()?.program())?;
    let listed = components(&read()?)?;
    let prefix = b"/crates/";
    let mut seen = BTreeSet::new();
    for (at, _) in program
        .windows(prefix.len())
        .enumerate()
        .filter(|(_, part)| part == prefix)
    {
        let name = program[at + prefix.len()..].iter().take_while(|byte| **byte != b'/');
        seen.insert(String::from_utf8(name.copied().collect())?);
    }
    ensure!(
        seen.len() > 20,
        "the program names its crates otherwise than was thought: {seen:?}"
    );
    let missing: Vec<_> = seen.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

#[test]
fn no_tool_of_the_build_is_listed_and_every_crate_has_its_checksum() -> Result<()> {
    let sbom = read()?;
    assert_eq!(sbom["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    for component in sbom["components"].as_array().context("components")? {
        let name = component["name"].as_str().context("a name")?;
        assert!(
            !["protox", "prost-build", "syn", "serde_derive", "cc", "tempfile"].contains(&name),
            "{name}"
        );
        let outside = ["castoff-cri", "glibc", "rust-std"].contains(&name);
        assert_eq!(component["hashes"].is_array(), !outside, "{name}");
    }
    Ok(())
}

/// The directory of the published schemas is in `$CASTOFF_CYCLONEDX`, which `tests/run` sets.
#[test]
#[ignore = "needs the published schema"]
fn the_sbom_is_valid_by_the_published_schema() -> Result<()> {
    let folder = PathBuf::from(std::env::var_os("CASTOFF_CYCLONEDX").context("CASTOFF_CYCLONEDX")?);
    let schema = |name: &str| -> Result<Value> {
        let path = folder.join(name);
        Ok(serde_json::from_slice(
            &fs::read(&path).context(path.display().to_string())?,
        )?)
    };
    let base = "http://cyclonedx.org/schema";
    let registry = jsonschema::Registry::new()
        .add(
            format!("{base}/spdx.SNAPSHOT.schema.json"),
            schema("spdx.SNAPSHOT.schema.json")?,
        )?
        .add(
            format!("{base}/jsf-0.82.SNAPSHOT.schema.json"),
            schema("jsf-0.82.SNAPSHOT.schema.json")?,
        )?
        .prepare()?;
    let bom = schema("bom-1.6.SNAPSHOT.schema.json")?;
    let validator = jsonschema::options().with_registry(&registry).build(&bom)?;
    let sbom = read()?;
    let errors: Vec<_> = validator
        .iter_errors(&sbom)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // An invalid document is refused.
    let mut wrong = sbom;
    wrong["components"][0]["type"] = "crate".into();
    assert!(!validator.is_valid(&wrong));
    Ok(())
}
