//! The files of a release: their names, their contents, and that a second run gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::{Helm, Tools};
use castoff_tests::lab::image::Image;
use castoff_tests::lab::packages::{output, run};
use castoff_tests::lab::rooms::copy_program;
use castoff_tests::lab::skopeo::skopeo;
use serde_json::Value;
use tempfile::TempDir;

use crate::tree::{CHANGELOG, TIME, Tree, VERSION};

/// `e_machine` in an ELF header, and its value for arm64 (elf.h).
const MACHINE: usize = 18;
const AARCH64: u8 = 183;

/// Returns a directory with both programs. The one for arm64 only says so in its header: packing runs neither of the
/// programs of another architecture. `arm64.rs` builds a real one.
fn programs() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let at = |architecture: &str| folder.path().join(architecture).join("castoff");
    for architecture in ["amd64", "arm64"] {
        fs::create_dir(folder.path().join(architecture))?;
    }
    let program = Image::of_this_tree()?.program();
    copy_program(&program, &at("amd64"))?;
    let mut bytes = fs::read(&program)?;
    bytes[MACHINE] = AARCH64;
    fs::write(at("arm64"), bytes)?;
    fs::set_permissions(at("arm64"), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// Returns the script that makes a release of these programs in a directory.
fn script(tree: &Tree, programs: &Path, to: &Path) -> Command {
    let mut script = tree.script("build", &["--programs"]);
    script.arg(programs).arg("--output").arg(to);
    script
}

/// A release that is made, and the tree that it is of.
struct Release {
    tree: Tree,
    programs: TempDir,
    folder: TempDir,
}

impl Release {
    fn made() -> Result<Self> {
        let release = Self {
            tree: Tree::of_a_release()?,
            programs: programs()?,
            folder: tempfile::tempdir()?,
        };
        let said = output(&mut script(&release.tree, release.programs.path(), release.path()))?;
        ensure!(Path::new(&said) == release.path(), "{said}");
        Ok(release)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sums(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path().join("SHA256SUMS"))?)
    }

    /// Unpacks one of its archives.
    fn unpacked(&self, name: &str) -> Result<TempDir> {
        unpacked(&self.path().join(name))
    }
}

fn unpacked(archive: &Path) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()))?;
    Ok(folder)
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

#[test]
fn a_release_has_its_files_and_their_checksums() -> Result<()> {
    let release = Release::made()?;
    let mut wanted = [
        "-changes.md",
        "-image-amd64.tar",
        "-image-arm64.tar",
        "-image.tar",
        "-linux-amd64.cdx.json",
        "-linux-amd64.tar.gz",
        "-linux-arm64.cdx.json",
        "-linux-arm64.tar.gz",
        ".tgz",
    ]
    .map(|end| format!("castoff-{VERSION}{end}"))
    .to_vec();
    let summed: Vec<_> = release.sums()?.lines().map(|line| line[66..].to_owned()).collect();
    assert_eq!(summed, wanted);
    wanted.insert(0, "SHA256SUMS".to_owned());
    assert_eq!(release.names()?, wanted);
    let check = |folder: &Path| {
        let mut sums = Command::new("sha256sum");
        sums.args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .current_dir(folder);
        Ok::<_, anyhow::Error>(sums.output()?.status.success())
    };
    assert!(check(release.path())?);
    let notes = release.path().join(&summed[0]);
    let changes = fs::read_to_string(&notes)?;
    let changelog = release.tree.read(CHANGELOG)?;
    ensure!(changes.starts_with("- ") && !changes.contains("\n## "), "{changes}");
    let (_, section) = changelog
        .split_once(&format!("## {VERSION} ("))
        .context("the section")?;
    let (_, section) = section.split_once("\n\n").context("its entries")?;
    ensure!(section.starts_with(changes.trim_end()), "{changes}");
    fs::write(&notes, "other\n")?;
    assert!(!check(release.path())?, "a changed file is found");
    Ok(())
}

#[test]
fn the_same_commit_gives_the_same_bytes_in_another_directory() -> Result<()> {
    let release = Release::made()?;
    let other = Tree::of_a_release()?;
    assert_ne!(other.path(), release.tree.path());
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("made here");
    // Other settings of the user who builds, and no time set: the commit's counts.
    let mut shell = Command::new("bash");
    shell.args(["-c", "umask 077; exec \"$@\"", "bash"]);
    let again = script(&other, release.programs.path(), &to);
    shell.arg(again.get_program()).args(again.get_args());
    shell
        .env_remove("SOURCE_DATE_EPOCH")
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "C.UTF-8");
    run(&mut shell)?;
    assert_eq!(fs::read_to_string(to.join("SHA256SUMS"))?, release.sums()?);
    Ok(())
}

#[test]
fn an_archive_has_the_program_its_pages_and_the_unit() -> Result<()> {
    let release = Release::made()?;
    for architecture in ["amd64", "arm64"] {
        let name = format!("castoff-{VERSION}-linux-{architecture}");
        let unpacked = release.unpacked(&format!("{name}.tar.gz"))?;
        let inside = unpacked.path().join(&name);
        let given = release.programs.path().join(architecture).join("castoff");
        assert_eq!(fs::read(inside.join("castoff"))?, fs::read(given)?);
        assert_eq!(
            fs::metadata(inside.join("castoff"))?.permissions().mode() & 0o7777,
            0o755
        );
        for (file, source) in [
            ("LICENSE", "LICENSE"),
            ("README.md", "README.md"),
            ("CHANGELOG.md", CHANGELOG),
            ("castoff.service", "deploy/castoff.service"),
        ] {
            assert_eq!(
                fs::read_to_string(inside.join(file))?,
                release.tree.read(source)?,
                "{file}"
            );
        }
        let page = fs::read_to_string(inside.join("man/man1/castoff-check.1"))?;
        ensure!(page.contains(".TH castoff-check 1"), "{page:.300}");
        for shell in ["castoff.bash", "_castoff", "castoff.fish"] {
            let text = fs::read_to_string(inside.join("completions").join(shell))?;
            ensure!(text.contains("explain"), "{shell}: {text:.300}");
        }
        let listed = output(
            Command::new("tar")
                .env("TZ", "UTC")
                .args(["--full-time", "--numeric-owner", "-tvzf"])
                .arg(release.path().join(format!("{name}.tar.gz"))),
        )?;
        let foreign: Vec<_> = listed
            .lines()
            .filter(|line| !(line.contains(" 0/0 ") && line.contains(" 2023-11-14 22:13:20 ")))
            .collect();
        assert_eq!(foreign, [""; 0], "{TIME} is the time of all");
    }
    Ok(())
}

/// Returns the descriptors of an image's index, by architecture.
fn platforms(folder: &Path) -> Result<BTreeMap<String, Value>> {
    let outer = read_json(&folder.join("index.json"))?;
    let listed = outer["manifests"].as_array().context("manifests")?;
    ensure!(listed.len() == 1, "{outer}");
    let tag = format!("ghcr.io/castoff/castoff:{VERSION}");
    assert_eq!(listed[0]["annotations"]["io.containerd.image.name"], tag.as_str());
    let inner = read_json(&blob(folder, &listed[0])?)?;
    let manifests = inner["manifests"].as_array().context("manifests")?;
    let named = |one: &Value| Some((one["platform"]["architecture"].as_str()?.to_owned(), one.clone()));
    manifests
        .iter()
        .map(|one| named(one).context("an architecture"))
        .collect()
}

/// Returns the file that a descriptor names, and checks its digest and its size.
fn blob(folder: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a digest")?;
    let hex = digest.strip_prefix("sha256:").context("a digest")?;
    let path = folder.join("blobs/sha256").join(hex);
    let sum = output(Command::new("sha256sum").arg(&path))?;
    ensure!(sum.starts_with(hex), "{sum}");
    ensure!(fs::metadata(&path)?.len() == descriptor["size"], "{descriptor}");
    Ok(path)
}

#[test]
fn the_index_has_the_images_of_both_architectures_and_skopeo_copies_both() -> Result<()> {
    let release = Release::made()?;
    let archive = release.path().join(format!("castoff-{VERSION}-image.tar"));
    let index = unpacked(&archive)?;
    let platforms = platforms(index.path())?;
    assert_eq!(platforms.keys().collect::<Vec<_>>(), ["amd64", "arm64"]);
    for (architecture, descriptor) in &platforms {
        let alone = release.unpacked(&format!("castoff-{VERSION}-image-{architecture}.tar"))?;
        let own = read_json(&alone.path().join("index.json"))?;
        assert_eq!(own["manifests"][0]["digest"], descriptor["digest"], "{architecture}");
        let manifest = read_json(&blob(index.path(), descriptor)?)?;
        let config = read_json(&blob(index.path(), &manifest["config"])?)?;
        assert_eq!(config["architecture"], architecture.as_str());
        blob(index.path(), &manifest["layers"][0])?;
    }
    // As the workflow copies it to a registry.
    let copy = tempfile::tempdir()?;
    let mut copied = skopeo()?;
    copied.args(["copy", "--quiet", "--all", "--preserve-digests"]);
    copied.arg(format!("oci-archive:{}", archive.display()));
    run(copied.arg(format!("dir:{}", copy.path().display())))?;
    for descriptor in platforms.values() {
        let digest = descriptor["digest"]
            .as_str()
            .context("a digest")?
            .replace("sha256:", "");
        let manifest = copy.path().join(format!("{digest}.manifest.json"));
        ensure!(manifest.exists(), "{} is not there", manifest.display());
    }
    Ok(())
}

#[test]
fn helm_takes_the_packed_chart_for_the_one_in_the_tree() -> Result<()> {
    let release = Release::made()?;
    let packed = release.path().join(format!("castoff-{VERSION}.tgz"));
    let tools = Tools::fetched()?;
    for helm in Helm::ALL {
        let rendered = |chart: &Path| {
            let mut render = tools.helm(helm);
            output(
                render
                    .args(["template", "castoff"])
                    .arg(chart)
                    .args(["--kube-version", "1.34.0"]),
            )
        };
        let text = rendered(&packed)?;
        ensure!(text.contains("kind: DaemonSet"), "{helm:?}: {text:.300}");
        assert_eq!(text, rendered(&release.tree.path().join("charts/castoff"))?, "{helm:?}");
        let shown = output(tools.helm(helm).args(["show", "chart"]).arg(&packed))?;
        ensure!(shown.contains(&format!("\nversion: {VERSION}")), "{helm:?}: {shown}");
        run(tools.helm(helm).args(["lint", "--strict"]).arg(&packed))?;
    }
    let unpacked = release.unpacked(&format!("castoff-{VERSION}.tgz"))?;
    assert!(
        !unpacked.path().join("castoff/ci").exists(),
        "the tests' scenarios are packed"
    );
    // The files that helm itself packs.
    let (ours, theirs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut package = tools.helm(Helm::Three);
    package.arg("package").arg(release.tree.path().join("charts/castoff"));
    run(package.arg("--destination").arg(theirs.path()))?;
    let list = |folder: &Path| {
        let mut tar = Command::new("tar");
        let text = output(tar.arg("-tzf").arg(folder.join(format!("castoff-{VERSION}.tgz"))))?;
        let mut names: Vec<_> = text
            .lines()
            .filter(|name| !name.ends_with('/'))
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok::<_, anyhow::Error>(names)
    };
    fs::copy(&packed, ours.path().join(packed.file_name().context("a name")?))?;
    assert_eq!(list(ours.path())?, list(theirs.path())?);
    Ok(())
}

#[test]
fn a_tree_or_programs_that_are_not_a_release_are_refused() -> Result<()> {
    let release = Release::made()?;
    let (tree, programs) = (&release.tree, release.programs.path());
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("release");
    let refused = |tree: &Tree, script: &mut Command, code: i32, part: &str| -> Result<()> {
        let (exit, said) = tree.refusal(script)?;
        ensure!(exit == Some(code) && said.contains(part), "{part}: {exit:?}, {said}");
        ensure!(!to.exists(), "{part}: it has made {}", to.display());
        Ok(())
    };
    let wanted = format!("--version 987.65.43: the tree has the version {VERSION}");
    refused(
        tree,
        script(tree, programs, &to).args(["--version", "987.65.43"]),
        65,
        &wanted,
    )?;
    refused(
        tree,
        script(tree, programs, &to).arg("--fast"),
        64,
        "unknown argument '--fast'",
    )?;
    refused(
        tree,
        &mut tree.script("build", &["--output"]),
        64,
        "--output needs a value",
    )?;
    refused(
        tree,
        &mut script(tree, programs, release.path()),
        73,
        "has files of another build",
    )?;
    refused(
        tree,
        &mut script(tree, Path::new("/nowhere"), &to),
        65,
        "/nowhere/arm64/castoff: no such file",
    )?;

    let old = programs.join("amd64/castoff");
    let kept = fs::read(&old)?;
    fs::copy("/bin/busybox", &old).or_else(|_| fs::copy("/bin/true", &old))?;
    let (exit, said) = tree.refusal(&mut script(tree, programs, &to))?;
    ensure!(exit == Some(65), "a program that is not castoff: {said}");
    fs::write(&old, kept)?;

    tree.write("README.md", "changed\n")?;
    refused(
        tree,
        &mut script(tree, programs, &to),
        65,
        "not committed, and no commit would have these files:\n M README.md",
    )?;
    tree.commit()?;
    let changelog = tree.read(CHANGELOG)?.replace(&format!("## {VERSION} ("), "## 0.0.1 (");
    tree.write(CHANGELOG, &changelog)?;
    tree.commit()?;
    let part = format!("agent/CHANGELOG.md has no section '## {VERSION} (DAY)': deploy/release/bump {VERSION}");
    refused(tree, &mut script(tree, programs, &to), 65, &part)
}
